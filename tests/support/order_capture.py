"""Orders, payments and neighbours' words for tests of order capture. Order `web:1`: two shirts of 10.00 and one mug of 5.01."""

from __future__ import annotations

from datetime import timedelta

from schemas.channel import (
    CancelLine,
    CancelOrder,
    ChangeOrder,
    Charge,
    Delivery,
    HoldOrder,
    Line,
    OrderContent,
    Party,
    Payment,
    PlaceOrder,
    ResolveHold,
    Totals,
)
from schemas.fulfilment import (
    CancellationAnswered,
    FactLine,
    LinesHandedOver,
    LinesNotCollected,
    ParcelCameBack,
    ParcelWasShipped,
)
from schemas.orders import LineQuantity
from schemas.payments import PaymentAuthorised, PaymentCaptured, PaymentRefunded, PaymentRequest, PaymentVoided
from schemas.reference import Channel, Item, Location
from schemas.returns import CreditDue
from schemas.sourcing import CancellationPassedOn, PassedLine
from services.order_capture.rules import sums_of
from services.order_capture.service import service
from tests.support.spec import START, Spec

ORDER = "web:1"
SHIRT, MUG = Item(sku="shirt", gtins=("4006381333931",), weight_g=200), Item(sku="mug", channel_skus={"web": "M-1"})
STORE = Location(
    location="paris-01",
    kind="store",
    zone="Europe/Paris",
    country="FR",
    postal_code="75001",
    latitude=48.86,
    longitude=2.34,
    methods=("home", "click_and_collect"),
)
ADDRESS = Party(name="A Buyer", street=("1 rue A",), postal_code="69001", city="Lyon", country="FR", email="a@example.org")
PAID_OUTSIDE = "on_account"


def capture(channel: Channel | None = None) -> Spec:
    """Order capture with channel `web`, a store, and two items."""
    return Spec(service).documents(channel or Channel(channel="web"), STORE, SHIRT, MUG)


def shirts(quantity: int = 2, unit_price_minor: int = 1000, **fields: object) -> Line:
    given = {"channel_line_ref": "shirts", "sku": "shirt", "quantity": quantity, "unit_price_minor": unit_price_minor}
    return Line.model_validate(given | fields)


def mug(quantity: int = 1, **fields: object) -> Line:
    return Line.model_validate({"channel_line_ref": "mug", "sku": "mug", "quantity": quantity, "unit_price_minor": 501} | fields)


def content(*lines: Line, **fields: object) -> OrderContent:
    """An order of these lines (else two shirts and a mug) to an address, on account, with the right totals."""
    given: dict[str, object] = {
        "lines": lines or (shirts(), mug()),
        "ship_to": ADDRESS,
        "payment_terms": PAID_OUTSIDE,
        "totals": Totals(lines_minor=0, total_minor=0),
    }
    drawn = OrderContent.model_validate(given | fields)
    return drawn if "totals" in fields else drawn.model_copy(update={"totals": Totals(**sums_of(drawn)._asdict())})


def paid(*lines: Line, status: str = "authorised", amount_minor: int | None = None, **fields: object) -> OrderContent:
    """The same, captured on shipment (or `payment_terms`), with one payment `card` over the whole."""
    terms = {"payment_terms": "capture_on_shipment"} | fields
    drawn = content(*lines, **terms)
    amount = drawn.totals.total_minor if amount_minor is None else amount_minor
    payment = Payment.model_validate({"payment_id": "card", "amount_minor": amount, "status": status})
    return drawn.model_copy(update={"payments": (payment,)})


def place(order: OrderContent | None = None, request_id: str = "place-1", **fields: object) -> PlaceOrder:
    given = {"request_id": request_id, "channel": "web", "channel_order_ref": "1", "placed_at": START}
    return PlaceOrder.model_validate(given | {"order": order or content()} | fields)


def change(order: OrderContent, request_id: str = "change-1") -> ChangeOrder:
    return ChangeOrder(request_id=request_id, channel="web", channel_order_ref="1", order=order)


def cancel(request_id: str = "cancel-1", **units: int) -> CancelOrder:
    lines = tuple(CancelLine(line_id=name, quantity=count) for name, count in units.items())
    return CancelOrder(request_id=request_id, channel="web", channel_order_ref="1", lines=lines)


def hold(hold_id: str = "fraud-1", request_id: str = "hold-1", hours: int | None = None) -> HoldOrder:
    deadline = None if hours is None else START + timedelta(hours=hours)
    return HoldOrder(
        request_id=request_id,
        channel="web",
        channel_order_ref="1",
        hold_id=hold_id,
        type="fraud",
        deadline=deadline,
    )


def resolve(hold_id: str = "fraud-1", resolution: str = "release", request_id: str = "resolve-1") -> ResolveHold:
    given = {"request_id": request_id, "channel": "web", "channel_order_ref": "1"}
    return ResolveHold.model_validate(given | {"hold_id": hold_id, "resolution": resolution})


def shipping(amount_minor: int) -> Charge:
    return Charge(amount_minor=amount_minor)


def collected_at(location: str, method: str = "click_and_collect") -> Delivery:
    return Delivery.model_validate({"method": method, "location": location})


def quantities(**units: int) -> tuple[LineQuantity, ...]:
    return tuple(LineQuantity(line_id=name, quantity=count) for name, count in units.items())


def passed_on(
    request_id: str = "cancel-1", cancelled: dict[str, int] | None = None, passed: dict[str, int] | None = None
) -> CancellationPassedOn:
    lines = (passed or {}).items()
    return CancellationPassedOn(
        order_id=ORDER,
        request_id=request_id,
        cancelled=quantities(**(cancelled or {})),
        passed_on=tuple(PassedLine(part_id=f"{ORDER}/1", line_id=name, quantity=count) for name, count in lines),
    )


def answered(request_id: str = "cancel-1", cancelled: dict[str, int] | None = None, **too_late: int) -> CancellationAnswered:
    return CancellationAnswered(
        order_id=ORDER,
        request_id=request_id,
        cancelled=quantities(**(cancelled or {})),
        too_late=quantities(**too_late),
    )


def shipped(**units: int) -> ParcelWasShipped:
    return ParcelWasShipped(
        order_id=ORDER,
        fulfilment_order_id=f"{ORDER}/1",
        location="paris-01",
        occurred_at=START,
        parcel_id="p-1",
        carrier="post",
        tracking_number="t-1",
        lines=_fact_lines(units),
    )


def handed_over(**units: int) -> LinesHandedOver:
    return LinesHandedOver(
        order_id=ORDER,
        fulfilment_order_id=f"{ORDER}/1",
        location="paris-01",
        occurred_at=START,
        lines=_fact_lines(units),
        how="delivered",
    )


def not_collected(**units: int) -> LinesNotCollected:
    return LinesNotCollected(
        order_id=ORDER,
        fulfilment_order_id=f"{ORDER}/1",
        location="paris-01",
        occurred_at=START,
        lines=_fact_lines(units),
    )


def came_back(**units: int) -> ParcelCameBack:
    return ParcelCameBack(
        order_id=ORDER,
        fulfilment_order_id=f"{ORDER}/1",
        location="paris-01",
        occurred_at=START,
        parcel_id="p-1",
        lines=_fact_lines(units),
    )


def credit_due(credit_id: str = "credit-1", **units: int) -> CreditDue:
    return CreditDue(order_id=ORDER, credit_id=credit_id, return_id="return-1", lines=quantities(**units))


def authorised(amount_minor: int, payment_id: str = "card", minute: int = 0) -> PaymentAuthorised:
    return PaymentAuthorised(
        order_id=ORDER,
        payment_id=payment_id,
        amount_minor=amount_minor,
        currency="EUR",
        occurred_at=START + timedelta(minutes=minute),
    )


def done(request: PaymentRequest) -> PaymentCaptured | PaymentRefunded | PaymentVoided:
    """The provider's report that it did as asked."""
    kinds = {"CapturePayment": PaymentCaptured, "RefundPayment": PaymentRefunded, "VoidPayment": PaymentVoided}
    report = kinds[type(request).__name__](
        order_id=ORDER,
        payment_id=request.payment_id,
        amount_minor=request.amount_minor,
        currency=request.currency,
        occurred_at=START,
        request_id=request.request_id,
    )
    assert isinstance(report, PaymentCaptured | PaymentRefunded | PaymentVoided)
    return report


def _fact_lines(units: dict[str, int]) -> tuple[FactLine, ...]:
    return tuple(FactLine(line_id=name, sku=name, quantity=count) for name, count in units.items())
