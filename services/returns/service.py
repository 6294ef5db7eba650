"""The wiring of returns."""

from __future__ import annotations

from schemas import topics
from schemas.forms import OrderAccepted, OrderChanged
from schemas.fulfilment import LinesHandedOver, ParcelCameBack, ParcelWasShipped
from schemas.orders import LinesCancelled
from schemas.returns import CancelReturn, GoodsInspected, GoodsReceived, RequestReturn
from services.returns.decide import KINDS, decide, find, keys
from shared.kernel.model import Service
from shared.kernel.views import Documents

service: Service[Documents] = Service(
    name="returns",
    reads={
        topics.RETURN_REQUESTS: (RequestReturn, CancelReturn),
        topics.RETURN_RECEIPTS: (GoodsReceived, GoodsInspected),
        topics.ORDER_EVENTS: (OrderAccepted, OrderChanged, LinesCancelled),
        topics.FULFILMENT_EVENTS: (LinesHandedOver, ParcelWasShipped, ParcelCameBack),
    },
    kinds=KINDS,
    unhurried=frozenset({OrderAccepted, OrderChanged, LinesCancelled, LinesHandedOver, ParcelWasShipped}),
    find=find,
    keys=keys,
    decide=decide,
    view=Documents,
    views=(topics.POLICIES, topics.LOCATIONS),
)
