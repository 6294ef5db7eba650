"""The wiring of sourcing."""

from __future__ import annotations

from schemas import topics
from schemas.forms import (
    Availability,
    ChangeRequested,
    OrderAccepted,
    OrderChanged,
    ReservationDeclined,
    ReservationReleased,
    ReservationShorted,
    StockChanged,
    StockReserved,
)
from schemas.fulfilment import (
    CancellationAnswered,
    ChangeAnswered,
    LinesHandedOver,
    LinesNotCollected,
    ParcelWasShipped,
)
from schemas.orders import CancellationRequested, OrderClosed
from services.sourcing.decide import decide, keys
from services.sourcing.events import AnyOrderEvent, AnyQueueEvent, AnyWaitingEvent
from services.sourcing.evolve import evolve_order, evolve_queue, evolve_waiting
from services.sourcing.projection import Network
from services.sourcing.state import Order, Queue, Waiting
from shared.kernel.model import Kind, Service

service: Service[Network] = Service(
    name="sourcing",
    reads={
        topics.ORDER_EVENTS: (OrderAccepted, OrderChanged, ChangeRequested, CancellationRequested, OrderClosed),
        topics.RESERVATIONS: (StockReserved, ReservationDeclined, ReservationReleased, ReservationShorted),
        topics.INVENTORY_EVENTS: (StockChanged,),
        topics.FULFILMENT_EVENTS: (
            ParcelWasShipped,
            LinesHandedOver,
            LinesNotCollected,
            CancellationAnswered,
            ChangeAnswered,
        ),
        topics.POLICIES: (),
        topics.CARRIERS: (),
    },
    views=(topics.AVAILABILITY, topics.LOCATIONS, topics.POLICIES, topics.CARRIERS),
    viewed={topics.AVAILABILITY: Availability},
    kinds=(
        Kind("order", Order, Order, evolve_order, AnyOrderEvent.__args__),
        Kind("queue", Queue, Queue, evolve_queue, AnyQueueEvent.__args__),
        Kind(
            "waiting",
            Waiting,
            Waiting,
            evolve_waiting,
            AnyWaitingEvent.__args__,
            owner=lambda waiting: waiting.sku or None,
            rank=lambda waiting: waiting.place.rank if waiting.place else "",
        ),
    ),
    keys=keys,
    decide=decide,
    view=Network,
    overlay=("order",),
)
