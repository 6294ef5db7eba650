"""What the audit that goes on beside the running system tells."""

from __future__ import annotations

from schemas.types import Code, Instant, LongText, Message, Text


class DriftFound(Message):
    """Something that can't be, if everything works, and that has outlived all that was in flight when it was seen.

    Told once while it lasts, and again by an audit that starts anew.
    """

    drift_id: Code
    """Names it: the same for the same check, service and subject."""
    check: Code
    """The check it fails."""
    promise: Text
    """The sentence this check holds to."""
    service: Code
    """The service whose books or messages are wrong, or whose books differ from another's."""
    what: Text
    """The row, order, lane or message it is about."""
    detail: LongText
    """What is there, and what should be."""
    first_seen_at: Instant
    """When the audit saw it first, UTC."""
    found_at: Instant
    """When it was certain, UTC."""


class DriftGone(Message):
    """Something that was found is no more: somebody mended it, or the system did."""

    drift_id: Code
    """As in DriftFound."""
    check: Code
    """The check that failed."""
    service: Code
    """As in DriftFound."""
    what: Text
    """The row, order, lane or message it was about."""
    gone_at: Instant
    """When the audit saw that it is gone, UTC."""
