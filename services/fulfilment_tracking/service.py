"""The wiring of fulfilment tracking."""

from __future__ import annotations

from typing import get_args

from schemas import topics
from schemas.forms import OrderAccepted
from schemas.fulfilment import ParcelTracked
from services.fulfilment_tracking.decide import DECISIONS, ORDER_FACTS, REPORTS, RETURN_FACTS, decide, find, keys
from services.fulfilment_tracking.events import AnyEvent, LabelEvent
from services.fulfilment_tracking.evolve import evolve_label, evolve_order
from services.fulfilment_tracking.state import Label, Order
from services.fulfilment_tracking.status import render
from shared.kernel.model import Kind, Service, State
from shared.kernel.views import Documents

service: Service[Documents] = Service(
    name="fulfilment_tracking",
    reads={
        topics.SOURCING_DECISIONS: DECISIONS,
        topics.ORDER_EVENTS: ORDER_FACTS,
        topics.FULFILMENT_REPORTS: REPORTS,
        topics.CARRIER_REPORTS: (ParcelTracked,),
        topics.RETURN_EVENTS: RETURN_FACTS,
    },
    views=(topics.POLICIES,),
    kinds=(
        Kind("order", state=Order, initial=Order, evolve=evolve_order, events=get_args(AnyEvent)),
        Kind("parcel", state=Label, initial=Label, evolve=evolve_label, events=get_args(LabelEvent)),
    ),
    find=find,
    unhurried=frozenset({OrderAccepted}),
    keys=keys,
    decide=decide,
    view=Documents,
    states=(State(topics.ORDER_STATUS, "order", render),),
)
