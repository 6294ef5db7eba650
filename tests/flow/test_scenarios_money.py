"""Money follows the goods: captured as they leave, given back as they return, the rest given up; never a cent too much."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from schemas import channel as ch
from schemas import fulfilment as ff
from schemas import payments as pay
from schemas.orders import HoldResolved, MoneyExceptionOpened, OrderAccepted, OrderInvoiced
from schemas.returns import CreditDue
from tests.support.desk import Desk, Place
from tests.support.steps import (
    answer_cancel,
    answered,
    ask,
    authorise_return,
    cancel,
    cancel_request,
    codes,
    collect,
    deliver,
    ended,
    inspected,
    left_clean,
    make_ready,
    obey,
    paid,
    received,
    shipped,
    track,
    tracking_number,
    words,
)

NewPlace = Callable[..., Awaitable[Place]]


def card(amount_minor: int, status: str = "authorised", payment_id: str = "card-1") -> ch.Payment:
    return ch.Payment.model_validate({"payment_id": payment_id, "amount_minor": amount_minor, "status": status})


def asked_for(desk: Desk, kind: type[pay.PaymentRequest], order_id: str) -> list[int]:
    """Amounts asked of the provider, in minor units."""
    return [asked.amount_minor for asked in desk.all(kind, order_id=order_id)]


async def test_capture_on_shipment_parcel_by_parcel_and_the_rest_is_voided(desk: Desk, place: NewPlace) -> None:
    """Each parcel's worth is captured when it leaves, the shipping charge with the first; what is not sent is given up."""
    here = await place(items=("a",), channel={"unpaid": "hold"})
    await here.stock("paris", a=3)
    totals = ch.Totals(lines_minor=4000, charges_minor=500, total_minor=4500)
    order = here.order(
        {"a": 4}, payment_terms="capture_on_shipment", payments=(card(4500, "pending"),), completeness="cancel_remainder",
        charges=(ch.Charge(amount_minor=500),), totals=totals,
    )  # fmt: skip
    answer = await ask(here, order)
    assert (answer.outcome, codes(answer)) == ("held", {"not_covered"})
    authorised = paid(pay.PaymentAuthorised, order.order_id, 4500)
    await desk.say(authorised)
    await desk.say(authorised)
    assert (await desk.see(HoldResolved, order_id=order.order_id)).resolution == "release"
    [work] = await here.instructed(order.order_id)
    assert asked_for(desk, pay.CapturePayment, order.order_id) == []
    await desk.say(shipped(here, work, "p1", a=2))
    first = await desk.see(pay.CapturePayment, order_id=order.order_id)
    assert (first.amount_minor, first.payment_id, first.currency) == (2500, "card-1", "EUR")
    await obey(here, first)
    await desk.say(shipped(here, work, "p2", a=1))
    second = (await desk.sees(pay.CapturePayment, 2, order_id=order.order_id))[-1]
    assert second.amount_minor == 1000
    assert second.request_id != first.request_id
    await obey(here, second)
    await track(here, tracking_number(work, "p1"), "delivered")
    await track(here, tracking_number(work, "p2"), "delivered")
    await ended(here, order.order_id, "partly_completed")
    rest = await desk.see(pay.VoidPayment, order_id=order.order_id)
    assert rest.amount_minor == 1000
    await obey(here, rest)
    await desk.rest()
    invoices = desk.all(OrderInvoiced, order_id=order.order_id)
    assert sorted(invoice.amount_minor for invoice in invoices) == [1000, 2500]
    assert sum(asked_for(desk, pay.CapturePayment, order.order_id)) == 3500
    assert asked_for(desk, pay.RefundPayment, order.order_id) == []
    assert desk.all(MoneyExceptionOpened, order_id=order.order_id) == []
    await left_clean(here)


async def test_scenario_11_partial_refunds_with_discount_and_tax_add_up(desk: Desk, place: NewPlace) -> None:
    """Three units for 1,078 cents come back one by one: what is given back is what was paid, to the cent, and never more."""
    here = await place(items=("a",), channel={"unpaid": "hold"})
    await here.stock("paris", a=5)
    sold = ch.Line(
        channel_line_ref="a", sku=here.sku("a"), quantity=3, unit_price_minor=333,
        discounts=(ch.Discount(amount_minor=101),), taxes=(ch.Tax(rate_ppm=200_000, amount_minor=180),),
    )  # fmt: skip
    totals = ch.Totals(lines_minor=999, discounts_minor=101, charges_minor=250, taxes_minor=180, total_minor=1328)
    order = here.order(
        {"a": 3}, lines=(sold,), taxes_included=False, charges=(ch.Charge(amount_minor=250),), totals=totals,
        payment_terms="capture_on_shipment", payments=(card(1328),),
    )  # fmt: skip
    assert (await ask(here, order)).outcome == "accepted"
    await deliver(here, *await here.instructed(order.order_id))
    taken = await desk.see(pay.CapturePayment, order_id=order.order_id)
    assert taken.amount_minor == 1328
    await obey(here, taken)
    await desk.see(OrderInvoiced, order_id=order.order_id, amount_minor=1328)
    await ended(here, order.order_id, "completed")
    for n in range(1, 4):
        authorised = await authorise_return(here, order.order_id, a=1)
        receipt = f"r{n}"
        await desk.say(received(here, "paris", receipt, return_id=authorised.return_id, a=1))
        await desk.say(inspected(here, "paris", receipt, a=1), inspected(here, "paris", receipt, a=1))
        refund = (await desk.sees(pay.RefundPayment, n, order_id=order.order_id))[-1]
        await obey(here, refund)
    await desk.rest()
    refunds = asked_for(desk, pay.RefundPayment, order.order_id)
    assert sum(refunds) == 1078, "the charge for shipping stays"
    assert sorted(refunds) == [359, 359, 360]
    assert len(desk.all(CreditDue, order_id=order.order_id)) == 3
    await here.holds("paris", "a", sellable=5, reserved=0)
    await left_clean(here)


async def test_what_was_captured_before_is_refunded_when_the_order_is_cancelled(desk: Desk, place: NewPlace) -> None:
    """Two payments taken in advance: cancelling a line gives its price back, cancelling the rest gives everything back."""
    here = await place(items=("a", "b"), channel={"unpaid": "hold"}, grace_s=600)
    await here.stock("paris", a=5, b=5)
    order = here.order(
        {"a": 1, "b": 2}, payment_terms="prepaid", payments=(card(2000, "captured"), card(1000, "captured", payment_id="voucher-1"))
    )
    assert (await ask(here, order)).outcome == "accepted"
    await here.holds("paris", "b", reserved=2)
    assert words(await cancel(here, order.order_id, b=1)) == {"b": (1, 0)}
    refund = await desk.see(pay.RefundPayment, order_id=order.order_id)
    assert refund.amount_minor == 1000
    await obey(here, refund)
    assert words(await cancel(here, order.order_id)) == {"a": (1, 0), "b": (1, 0)}
    await ended(here, order.order_id, "cancelled")
    await desk.rest()
    by_payment: dict[str, int] = {}
    for asked in desk.all(pay.RefundPayment, order_id=order.order_id):
        by_payment[asked.payment_id] = by_payment.get(asked.payment_id, 0) + asked.amount_minor
    assert by_payment == {"card-1": 2000, "voucher-1": 1000}
    assert asked_for(desk, pay.CapturePayment, order.order_id) == []
    await here.holds("paris", "a", sellable=5, reserved=0)
    await left_clean(here)


async def test_an_authorisation_is_voided_when_nothing_is_sent(desk: Desk, place: NewPlace) -> None:
    """The location gives the goods up, the order ends, the whole authorisation is given back and nothing was captured."""
    here = await place(items=("a",), channel={"unpaid": "hold"})
    await here.stock("paris", a=5)
    order = here.order({"a": 2}, payment_terms="capture_on_shipment", payments=(card(2000),))
    await ask(here, order)
    await here.instructed(order.order_id)
    asked = cancel_request(here, order.order_id)
    await desk.say(asked)
    await answer_cancel(here, await desk.see(ff.CancelFulfilment, order_id=order.order_id), a=2)
    assert words(await answered(desk, asked)) == {"a": (2, 0)}
    await ended(here, order.order_id, "cancelled")
    assert (await desk.see(pay.VoidPayment, order_id=order.order_id)).amount_minor == 2000
    await desk.rest()
    assert asked_for(desk, pay.CapturePayment, order.order_id) == []
    await left_clean(here)


async def test_a_refused_capture_calls_a_person_and_a_new_authorisation_mends_it(desk: Desk, place: NewPlace) -> None:
    """The goods are gone, so the order goes on; the money is taken once a payment can bear it."""
    here = await place(items=("a",), channel={"unpaid": "hold"})
    await here.stock("paris", a=5)
    order = here.order({"a": 1}, payment_terms="capture_on_shipment", payments=(card(1000),))
    await ask(here, order)
    [work] = await here.instructed(order.order_id)
    await desk.say(shipped(here, work))
    refused = await desk.see(pay.CapturePayment, order_id=order.order_id)
    await desk.say(paid(pay.PaymentDeclined, order.order_id, 1000, refused.request_id))
    opened = await desk.see(MoneyExceptionOpened, order_id=order.order_id)
    assert (opened.kind, opened.action != "") == ("capture_refused", True)
    await desk.status_is(order.order_id, where=lambda status: "capture_refused" in {found.kind for found in status.exceptions})
    await desk.say(paid(pay.PaymentAuthorised, order.order_id, 1000, payment_id="card-2"))
    again = (await desk.sees(pay.CapturePayment, 2, order_id=order.order_id))[-1]
    assert (again.payment_id, again.amount_minor) == ("card-2", 1000)
    await obey(here, again)
    await track(here, tracking_number(work), "delivered")
    await ended(here, order.order_id, "completed")
    await left_clean(here)


async def test_scenario_12_a_payment_webhook_comes_twice_and_too_early(desk: Desk, place: NewPlace) -> None:
    """Before its order, under the same id, under another one: booked once, asked once."""
    here = await place(items=("a",), channel={"unpaid": "hold"})
    await here.stock("paris", a=5)
    order = here.order({"a": 2}, payment_terms="capture_on_shipment", payments=(card(2000, "pending"),))
    webhook = paid(pay.PaymentAuthorised, order.order_id, 2000)
    for identity in ("w1", "w1", "w2"):
        await desk.say(webhook, id=f"{here.name}-{identity}")
    await desk.rest()
    assert (await ask(here, order)).outcome in ("accepted", "held")
    await desk.see(OrderAccepted, order_id=order.order_id)
    await desk.say(webhook)
    [work] = await here.instructed(order.order_id)
    await desk.say(shipped(here, work))
    capture = await desk.see(pay.CapturePayment, order_id=order.order_id)
    done = paid(pay.PaymentCaptured, order.order_id, 2000, capture.request_id)
    await desk.say(done, done, webhook)
    await track(here, tracking_number(work), "delivered")
    await ended(here, order.order_id, "completed")
    await desk.rest()
    assert asked_for(desk, pay.CapturePayment, order.order_id) == [2000]
    assert asked_for(desk, pay.VoidPayment, order.order_id) == []
    assert asked_for(desk, pay.RefundPayment, order.order_id) == []
    assert desk.all(MoneyExceptionOpened, order_id=order.order_id) == []
    await left_clean(here)


async def test_what_was_not_collected_is_paid_back(desk: Desk, place: NewPlace) -> None:
    """Paid in advance, one of two units collected: the other one's price is refunded."""
    here = await place(items=("a",), channel={"unpaid": "hold"})
    await here.stock("paris", a=5)
    counter = ch.Delivery(method="click_and_collect", location=here.at("paris"))
    order = here.order({"a": 2}, delivery=counter, payment_terms="prepaid", payments=(card(2000, "captured"),))
    await ask(here, order)
    [work] = await here.instructed(order.order_id)
    await make_ready(here, work)
    await collect(here, work, a=1)
    await desk.say(here.report(ff.NotCollected, work))
    await ended(here, order.order_id, "partly_completed")
    assert (await desk.see(pay.RefundPayment, order_id=order.order_id)).amount_minor == 1000
    await desk.see(OrderInvoiced, order_id=order.order_id, amount_minor=1000)
    await here.holds("paris", "a", sellable=4, reserved=0, picked=0)
    await left_clean(here)
