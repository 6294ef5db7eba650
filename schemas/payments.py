"""Money: what payment providers report, and what Nervure asks of them."""

from __future__ import annotations

from schemas.types import Amount, Code, Currency, Instant, Message, OrderId, RequestId, Text


class PaymentFact(Message):
    """What every payment report carries. Amounts are totals of this one operation in minor units."""

    order_id: OrderId
    payment_id: Code
    """The provider's payment, as the order names it."""
    amount_minor: Amount
    currency: Currency
    occurred_at: Instant
    request_id: RequestId | None = None
    """The payment request this answers, if it answers one."""


class PaymentAuthorised(PaymentFact):
    """An amount may be captured until the authorisation ends."""

    valid_until: Instant | None = None


class PaymentDeclined(PaymentFact):
    """The provider said no; to the authorisation, or to the request it names."""

    reason: Text = ""


class PaymentCaptured(PaymentFact):
    """The amount was taken."""


class PaymentVoided(PaymentFact):
    """The rest of an authorisation was given up."""


class PaymentRefunded(PaymentFact):
    """The amount was given back."""


class PaymentRequest(Message):
    """What every payment request carries."""

    request_id: RequestId
    """Unique for the operation: the provider's idempotency key."""
    order_id: OrderId
    payment_id: Code
    amount_minor: Amount
    currency: Currency
    reason: Text = ""


class CapturePayment(PaymentRequest):
    """Take this amount of the authorisation."""


class VoidPayment(PaymentRequest):
    """Give up what is left of the authorisation."""


class RefundPayment(PaymentRequest):
    """Give this amount back."""
