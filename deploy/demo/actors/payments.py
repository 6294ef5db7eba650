"""A payment provider: authorises what buyers pay late, captures, voids and refunds what it is asked to. Each request is done once."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from deploy.demo.desk import Desk
from deploy.demo.wire import Reads
from schemas import topics
from schemas.channel import Payment, PlaceOrder
from schemas.payments import (
    CapturePayment,
    PaymentAuthorised,
    PaymentCaptured,
    PaymentDeclined,
    PaymentFact,
    PaymentRefunded,
    PaymentRequest,
    PaymentVoided,
    RefundPayment,
    VoidPayment,
)
from schemas.topics import Body

DECLINES, PAYS_AGAIN = 0.06, 0.5
"""Shares of late payments that are declined, and of those that the buyer pays in a second attempt."""


class PaymentProvider:
    """What a checkout would tell it, it takes from the orders themselves: payments that are pending."""

    reads: ClassVar[Reads] = {
        topics.CHANNEL_ORDERS: (PlaceOrder,),
        topics.PAYMENT_REQUESTS: (CapturePayment, VoidPayment, RefundPayment),
    }

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._known: set[str] = set()
        self._done: set[str] = set()
        """Request ids: the provider's idempotency keys."""

    def hear(self, body: Body) -> None:
        match body:
            case PlaceOrder() if body.order_id not in self._known:
                self._known.add(body.order_id)
                for payment in body.order.payments:
                    if payment.status == "pending":
                        self._desk.later(0.2, 1.5, payment.payment_id, partial(self._authorise, body, payment))
            case CapturePayment():
                self._do(body, PaymentCaptured)
            case VoidPayment():
                self._do(body, PaymentVoided)
            case RefundPayment():
                self._do(body, PaymentRefunded)
            case _:
                """Nothing else concerns it."""

    def _authorise(self, order: PlaceOrder, payment: Payment) -> None:
        if not self._desk.dice.chance(DECLINES, payment.payment_id, "declined"):
            self._say_authorised(order, payment)
            return
        declined = PaymentDeclined(
            order_id=order.order_id,
            payment_id=payment.payment_id,
            amount_minor=payment.amount_minor,
            currency=order.order.currency,
            occurred_at=self._desk.now(),
            reason="insufficient funds",
        )
        self._desk.send(topics.PAYMENT_REPORTS, declined, f"{payment.payment_id}:declined")
        if self._desk.dice.chance(PAYS_AGAIN, payment.payment_id, "again"):
            self._desk.later(2.0, 5.0, payment.payment_id, partial(self._say_authorised, order, payment))

    def _say_authorised(self, order: PlaceOrder, payment: Payment) -> None:
        authorised = PaymentAuthorised(
            order_id=order.order_id,
            payment_id=payment.payment_id,
            amount_minor=payment.amount_minor,
            currency=order.order.currency,
            occurred_at=self._desk.now(),
        )
        self._desk.send(topics.PAYMENT_REPORTS, authorised, f"{payment.payment_id}:authorised")

    def _do(self, request: PaymentRequest, done: type[PaymentFact]) -> None:
        if request.request_id not in self._done:
            self._done.add(request.request_id)
            self._desk.later(0.05, 0.3, request.request_id, partial(self._report, request, done))

    def _report(self, request: PaymentRequest, done: type[PaymentFact]) -> None:
        report = done(
            order_id=request.order_id,
            payment_id=request.payment_id,
            amount_minor=request.amount_minor,
            currency=request.currency,
            occurred_at=self._desk.now(),
            request_id=request.request_id,
        )
        self._desk.send(topics.PAYMENT_REPORTS, report, request.request_id)
