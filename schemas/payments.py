"""Money: what payment providers report, and what Nervure asks of them."""

from __future__ import annotations

from schemas.types import Amount, Code, Currency, Instant, Message, OrderId, RequestId, Text


class PaymentFact(Message):
    """What every payment report carries. Amounts are totals of this one operation in minor units."""

    order_id: OrderId
    """The order that is paid."""
    payment_id: Code
    """The provider's payment, as the order names it."""
    amount_minor: Amount
    """Amount of this operation, in minor units."""
    currency: Currency
    """Currency of the amount, ISO 4217."""
    occurred_at: Instant
    """When it happened at the provider, UTC."""
    request_id: RequestId | None = None
    """The payment request this answers, if it answers one."""


class PaymentAuthorised(PaymentFact):
    """An amount may be captured until the authorisation ends."""

    valid_until: Instant | None = None
    """End of the authorisation, UTC; missing where it has none."""


class PaymentDeclined(PaymentFact):
    """The provider said no; to the authorisation, or to the request it names."""

    reason: Text = ""
    """Why, in the provider's words."""


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
    """The order that is paid."""
    payment_id: Code
    """The provider's payment to act on."""
    amount_minor: Amount
    """Amount of this operation, in minor units."""
    currency: Currency
    """Currency of the amount, ISO 4217."""
    reason: Text = ""
    """Why it is asked, for people to read."""


class CapturePayment(PaymentRequest):
    """Take this amount of the authorisation."""


class VoidPayment(PaymentRequest):
    """Give up what is left of the authorisation."""


class RefundPayment(PaymentRequest):
    """Give this amount back."""
