"""The wiring of order capture."""

from __future__ import annotations

from schemas import topics
from schemas.channel import CancelOrder, ChangeOrder, HoldOrder, ResolveHold
from schemas.fulfilment import (
    CancellationAnswered,
    ChangeAnswered,
    LinesHandedOver,
    LinesNotCollected,
    ParcelCameBack,
    ParcelWasShipped,
)
from schemas.payments import PaymentAuthorised, PaymentCaptured, PaymentDeclined, PaymentRefunded, PaymentVoided
from schemas.placing import PlaceOrder
from schemas.reference import Channel, Item
from schemas.returns import CreditDue
from schemas.sourcing import CancellationPassedOn, ChangePassedOn, LinesUnfillable
from services.order_capture.awaiting import (
    Awaited,
    WaitBegan,
    WaitEnded,
    Waiter,
    WaitersCounted,
    evolve_awaited,
    evolve_waiter,
    new_waiter,
)
from services.order_capture.decide import decide, keys
from services.order_capture.events import ORDER_EVENTS, evolve
from services.order_capture.projection import Catalogue
from services.order_capture.state import Order
from shared.kernel.model import Kind, Service

service: Service[Catalogue] = Service(
    name="order_capture",
    reads={
        topics.CHANNEL_ORDERS: (PlaceOrder, ChangeOrder, CancelOrder, HoldOrder, ResolveHold),
        topics.PAYMENT_REPORTS: (
            PaymentAuthorised,
            PaymentDeclined,
            PaymentCaptured,
            PaymentVoided,
            PaymentRefunded,
        ),
        topics.SOURCING_DECISIONS: (LinesUnfillable, CancellationPassedOn, ChangePassedOn),
        topics.FULFILMENT_EVENTS: (
            ParcelWasShipped,
            LinesHandedOver,
            LinesNotCollected,
            ParcelCameBack,
            CancellationAnswered,
            ChangeAnswered,
        ),
        topics.RETURN_EVENTS: (CreditDue,),
        topics.ITEMS: (Item,),
        topics.CHANNELS: (Channel,),
    },
    kinds=(
        Kind("order", Order, initial=Order, evolve=evolve, events=ORDER_EVENTS),
        Kind("awaited", Awaited, initial=Awaited, evolve=evolve_awaited, events=(WaitersCounted,)),
        Kind(
            "waiter",
            Waiter,
            initial=new_waiter,
            evolve=evolve_waiter,
            events=(WaitBegan, WaitEnded),
            owner=lambda waiter: waiter.reference,
            rank=lambda waiter: waiter.order_id,
        ),
    ),
    keys=keys,
    decide=decide,
    view=Catalogue,
    views=(topics.ITEMS, topics.LOCATIONS, topics.POLICIES, topics.CHANNELS),
)
