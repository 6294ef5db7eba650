"""The order's money: captured as it leaves, refunded as it comes back, voided at the end, never more than there is."""

from __future__ import annotations

from datetime import timedelta

import pytest

from schemas.channel import Discount, OrderContent, Payment, Tax
from schemas.orders import InvoicedLine, MoneyExceptionOpened, OrderClosed, OrderInvoiced
from schemas.payments import (
    CapturePayment,
    PaymentCaptured,
    PaymentDeclined,
    PaymentRefunded,
    PaymentRequest,
    RefundPayment,
    VoidPayment,
)
from schemas.reference import Channel
from services.order_capture.payments import KEPT_FOR
from tests.support.order_capture import (
    ORDER,
    authorised,
    came_back,
    cancel,
    capture,
    content,
    credit_due,
    done,
    handed_over,
    mug,
    paid,
    passed_on,
    place,
    shipped,
    shipping,
    shirts,
)
from tests.support.spec import START, Spec


def asked(spec: Spec) -> list[tuple[str, str, int]]:
    """What was asked of providers: kind, payment, amount."""
    requests = [message for message in spec.published if isinstance(message, PaymentRequest)]
    return [(type(message).__name__, message.payment_id, message.amount_minor) for message in requests]


def exceptions(spec: Spec) -> list[str]:
    return [opened.kind for opened in spec.of(MoneyExceptionOpened)]


def answer_all(spec: Spec) -> Spec:
    """The provider does as asked, until nothing more is asked."""
    waiting = [message for message in spec.published if isinstance(message, PaymentRequest)]
    for request in waiting:
        spec.given(done(request))
    return spec


def declined(request: PaymentRequest | None = None, payment_id: str = "card") -> PaymentDeclined:
    return PaymentDeclined(
        order_id=ORDER,
        payment_id=payment_id,
        amount_minor=request.amount_minor if request else 0,
        currency="EUR",
        occurred_at=START,
        request_id=request.request_id if request else None,
        reason="insufficient funds",
    )


def prepaid(charges_minor: int = 0) -> OrderContent:
    charges = (shipping(charges_minor),) if charges_minor else ()
    return paid(status="captured", payment_terms="prepaid", charges=charges)


def test_shipping_captures_what_ships_and_the_charges_with_the_first_parcel() -> None:
    spec = capture().given(place(paid(charges=(shipping(490),)))).when(shipped(shirts=1))
    assert asked(spec) == [("CapturePayment", "card", 1490)]
    assert asked(answer_all(spec).when(shipped(shirts=1, mug=1))) == [("CapturePayment", "card", 1501)]


def test_a_capture_under_way_is_not_asked_for_twice() -> None:
    spec = capture().given(place(paid()), shipped(shirts=1)).when(shipped(mug=1))
    assert asked(spec) == [("CapturePayment", "card", 501)]


def test_more_units_than_were_ordered_are_not_charged() -> None:
    assert asked(capture().given(place(paid())).when(shipped(mug=3))) == [("CapturePayment", "card", 501)]


def test_no_more_is_captured_than_is_authorised() -> None:
    """The rest follows once it is authorised; if it never is, a person collects it."""
    spec = capture(Channel(channel="web", unpaid="accept")).given(place(paid(amount_minor=2000)))
    assert asked(spec.when(shipped(shirts=2, mug=1))) == [("CapturePayment", "card", 2000)]
    answer_all(spec).when(handed_over(shirts=2, mug=1))
    assert exceptions(spec) == ["amount_differs"]
    assert asked(spec.when(authorised(2501, minute=1))) == [("CapturePayment", "card", 501)]


def test_two_payments_are_used_one_after_the_other_and_the_rest_is_voided() -> None:
    drawn = content(payment_terms="capture_on_shipment").model_copy(
        update={
            "payments": (
                Payment(payment_id="gift", amount_minor=1500, status="authorised"),
                Payment(payment_id="card", amount_minor=1500, status="authorised"),
            )
        }
    )
    spec = capture().given(place(drawn)).when(shipped(shirts=2))
    assert asked(spec) == [("CapturePayment", "gift", 1500), ("CapturePayment", "card", 500)]
    spec.given(cancel(mug=1))
    spec.when(passed_on(cancelled={"mug": 1}))
    assert asked(spec) == []
    assert asked(spec.when(handed_over(shirts=2))) == [("VoidPayment", "card", 1000)]


def test_what_is_collected_or_handed_over_unshipped_is_captured_then() -> None:
    spec = capture().given(place(paid())).when(handed_over(shirts=2))
    assert asked(spec) == [("CapturePayment", "card", 2000)]


def test_prepaid_goods_are_not_captured_again() -> None:
    spec = capture().given(place(prepaid())).when(shipped(shirts=2, mug=1))
    assert asked(spec) == []
    assert asked(spec.when(handed_over(shirts=2, mug=1))) == []


def test_cancelled_prepaid_units_are_refunded() -> None:
    spec = capture().given(place(prepaid()), cancel(shirts=1))
    assert asked(spec.when(passed_on(cancelled={"shirts": 1}))) == [("RefundPayment", "card", 1000)]


def test_a_prepaid_order_cancelled_whole_is_refunded_with_its_charges() -> None:
    spec = capture().given(place(prepaid(490)), cancel())
    spec.when(passed_on(cancelled={"shirts": 2, "mug": 1}))
    assert asked(spec) == [("RefundPayment", "card", 2991)]


def test_the_channels_claim_and_the_providers_report_are_the_same_money() -> None:
    spec = capture().given(place(prepaid()), _captured(2501), cancel(mug=1))
    assert asked(spec.when(passed_on(cancelled={"mug": 1}))) == [("RefundPayment", "card", 501)]


def _captured(amount_minor: int) -> PaymentCaptured:
    return PaymentCaptured(order_id=ORDER, payment_id="card", amount_minor=amount_minor, currency="EUR", occurred_at=START)


def test_a_parcel_that_came_back_is_refunded_with_the_charges() -> None:
    spec = capture().given(place(paid(charges=(shipping(490),)))).when(shipped(shirts=2, mug=1))
    answer_all(spec).when(came_back(shirts=2, mug=1))
    assert asked(spec) == [("RefundPayment", "card", 2991)]
    assert spec.of(OrderClosed)[0].outcome == "cancelled"


def test_charges_stay_while_another_parcel_will_bear_them() -> None:
    """Else they would have to be captured again, from an authorisation that is used up."""
    spec = capture().given(place(paid(charges=(shipping(490),)))).when(shipped(mug=1))
    assert asked(answer_all(spec).when(came_back(mug=1))) == [("RefundPayment", "card", 501)]
    assert asked(answer_all(spec).when(shipped(shirts=2))) == [("CapturePayment", "card", 2000)]


def test_a_refund_waits_for_the_capture_it_undoes() -> None:
    spec = capture().given(place(paid())).when(shipped(mug=1))
    (request,) = spec.of(CapturePayment)
    assert asked(spec.when(came_back(mug=1))) == []
    assert asked(spec.when(done(request))) == [("RefundPayment", "card", 501)]


def test_scenario_11_a_partial_refund_with_discount_and_tax_adds_up_to_what_was_paid() -> None:
    """Three units for 10.00, 0.01 of it discount, 1.67 tax on top: 11.66; given back 3.89, 3.88 and 3.89."""
    line = shirts(3, 333, discounts=(Discount(amount_minor=0), Discount(amount_minor=0)), taxes=(Tax(amount_minor=167),))
    drawn = paid(line, taxes_included=False, charges=(shipping(490),))
    spec = capture().given(place(drawn)).when(shipped(shirts=3))
    assert asked(spec) == [("CapturePayment", "card", 1166 + 490)]
    answer_all(spec).given(handed_over(shirts=3))
    refunds = []
    for number in range(3):
        spec.when(credit_due(f"credit-{number}", shirts=1))
        refunds += [request.amount_minor for request in spec.of(RefundPayment)]
        assert exceptions(spec) == []
        answer_all(spec)
    assert refunds == [389, 389, 388]
    assert sum(refunds) == 1166


def test_a_return_does_not_reopen_the_order() -> None:
    spec = capture().given(place(paid())).when(shipped(shirts=2, mug=1))
    answer_all(spec).given(handed_over(shirts=2, mug=1)).when(credit_due(mug=1))
    assert asked(spec) == [("RefundPayment", "card", 501)]
    assert spec.state("order", ORDER).stage == "closed"


def test_a_credit_counts_once() -> None:
    spec = capture().given(place(prepaid()), handed_over(shirts=2, mug=1), credit_due(mug=1))
    spec.when(credit_due(mug=1)).then()


def test_a_credit_that_comes_before_its_shipment_lowers_the_capture() -> None:
    """Topics have no order among each other."""
    spec = capture().given(place(paid()))
    spec.when(credit_due(shirts=1)).then()
    spec.when(shipped(shirts=2))
    assert asked(spec) == [("CapturePayment", "card", 1000)]


def test_never_more_is_refunded_than_was_captured() -> None:
    """The buyer paid on collection: a person pays back."""
    spec = capture().given(place(content(payment_terms="pay_at_collection")), handed_over(shirts=2, mug=1))
    spec.when(credit_due(mug=1))
    assert (asked(spec), exceptions(spec)) == ([], ["refund_exceeds_captured"])


def test_a_credit_for_more_units_than_the_order_has_opens_an_exception() -> None:
    spec = capture().given(place(prepaid()), handed_over(shirts=2, mug=1)).when(credit_due(mug=2))
    assert (asked(spec), exceptions(spec)) == ([("RefundPayment", "card", 501)], ["refund_exceeds_captured"])


def test_invoices_follow_what_is_handed_over_and_add_up() -> None:
    """Three units for 10.00: 3.33, then 6.67; the charges stand on the first invoice."""
    line = shirts(3, 334, discounts=(Discount(amount_minor=2),))
    spec = capture().given(place(content(line, charges=(shipping(490),)))).when(handed_over(shirts=1))
    spec.then(
        OrderInvoiced(
            order_id=ORDER,
            invoice_id="web:1/invoice-1",
            lines=(InvoicedLine(line_id="shirts", quantity=1, amount_minor=333),),
            charges_minor=490,
            amount_minor=823,
            currency="EUR",
        )
    )
    spec.when(handed_over(shirts=2)).then(
        OrderInvoiced(
            order_id=ORDER,
            invoice_id="web:1/invoice-2",
            lines=(InvoicedLine(line_id="shirts", quantity=2, amount_minor=667),),
            amount_minor=667,
            currency="EUR",
        ),
        OrderClosed(order_id=ORDER, outcome="completed"),
    )


def test_services_are_invoiced_with_the_first_goods() -> None:
    wrapping = mug(channel_line_ref="wrap", kind="service", sku=None)
    spec = capture().given(place(paid(shirts(), wrapping)), shipped(shirts=1)).when(handed_over(shirts=1))
    assert spec.of(OrderInvoiced)[0].amount_minor == 1501
    assert asked(spec) == [("CapturePayment", "card", 501)]


def test_a_refused_capture_opens_an_exception_and_is_not_tried_again() -> None:
    """Unless the payment is authorised anew."""
    spec = capture().given(place(paid())).when(shipped(mug=1))
    (request,) = spec.of(CapturePayment)
    spec.when(declined(request))
    assert (asked(spec), exceptions(spec)) == ([], ["capture_refused"])
    assert asked(spec.when(shipped(shirts=2))) == []
    assert asked(spec.when(authorised(2501, minute=1))) == [("CapturePayment", "card", 2501)]


def test_a_refused_refund_is_left_to_a_person() -> None:
    spec = capture().given(place(prepaid()), cancel(mug=1)).when(passed_on(cancelled={"mug": 1}))
    (request,) = spec.of(RefundPayment)
    spec.when(declined(request))
    assert (asked(spec), exceptions(spec)) == ([], ["payment_declined"])
    assert asked(spec.when(authorised(1, payment_id="other"))) == []


def test_a_refused_void_is_not_tried_again() -> None:
    spec = capture().given(place(paid()), cancel()).when(passed_on(cancelled={"shirts": 2, "mug": 1}))
    (request,) = spec.of(VoidPayment)
    assert asked(spec.when(declined(request))) == []
    assert asked(spec.when(_captured(0))) == []


def test_a_declined_authorisation_leaves_the_order_waiting() -> None:
    spec = capture().given(place(paid(status="pending"))).when(declined())
    assert exceptions(spec) == ["payment_declined"]
    assert spec.state("order", ORDER).stage == "held"


def test_scenario_12_a_report_counts_once_under_whatever_transport_id() -> None:
    spec = capture().given(place(paid(status="pending", amount_minor=2501)), authorised(1000))
    spec.when(authorised(1000)).then()
    assert spec.state("order", ORDER).money.covers_minor == 1000


def test_the_same_report_with_another_amount_is_not_booked_and_a_person_looks() -> None:
    spec = capture().given(place(paid(status="pending")), authorised(1000)).when(authorised(2501))
    assert exceptions(spec) == ["amount_differs"]
    assert spec.state("order", ORDER).money.covers_minor == 1000


def test_a_report_in_another_currency_is_not_booked() -> None:
    spec = capture().given(place(paid(status="pending")))
    spec.when(authorised(2501).model_copy(update={"currency": "CHF"}))
    assert exceptions(spec) == ["amount_differs"]


@pytest.mark.parametrize(("reported", "more"), [(400, []), (600, [("RefundPayment", "card", 99)])])
def test_a_capture_of_another_amount_is_booked_as_it_was(reported: int, more: list[tuple[str, str, int]]) -> None:
    spec = capture().given(place(paid())).when(shipped(mug=1))
    (request,) = spec.of(CapturePayment)
    spec.when(done(request).model_copy(update={"amount_minor": reported}))
    assert (asked(spec), exceptions(spec)) == (more, ["amount_differs"])


def test_a_refund_nobody_asked_for_is_booked_and_not_captured_again() -> None:
    spec = capture().given(place(prepaid()))
    refund = PaymentRefunded(order_id=ORDER, payment_id="card", amount_minor=2501, currency="EUR", occurred_at=START)
    assert (asked(spec.when(refund)), exceptions(spec)) == ([], [])
    assert asked(spec.when(shipped(shirts=2, mug=1))) == []
    too_much = refund.model_copy(update={"amount_minor": 1, "occurred_at": START + timedelta(minutes=1)})
    assert exceptions(spec.when(too_much)) == ["refund_exceeds_captured"]


def test_a_payment_nobody_named_is_booked_with_an_exception() -> None:
    spec = capture().given(place()).when(_captured(100))
    assert exceptions(spec) == ["unknown_payment"]
    assert asked(spec.when(cancel())) == []


def test_a_report_waits_for_its_order_and_is_booked_with_an_exception_when_it_never_comes() -> None:
    spec = capture()
    spec.when(authorised(100)).then()
    kept, _ = spec.kept[0]
    assert kept.until == START + KEPT_FOR
    spec.when(authorised(100), overdue=True)
    assert exceptions(spec) == ["unknown_payment"]
    assert spec.state("order", ORDER).money.covers_minor == 100


def test_an_authorisation_after_the_end_is_given_up() -> None:
    spec = capture().given(place(paid()), cancel(), passed_on(cancelled={"shirts": 2, "mug": 1}))
    assert asked(spec.when(authorised(5000, payment_id="other"))) == [("VoidPayment", "other", 5000)]
