"""Checks on the life of orders and on what the state topics show of them and of stock."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping
from datetime import timedelta

from deploy.audit.books import Books, Captured, Tracked
from deploy.audit.findings import Findings
from deploy.audit.ledger import Ledger
from schemas.topics import AVAILABILITY, ORDER_STATUS
from shared.kernel.ports import TopicPartition

CAPTURE, TRACKING = "order_capture", "fulfilment_tracking"
SLACK = timedelta(seconds=60)
"""How long after its deadline something may still be about to happen."""
CALLED_BY: Mapping[str, str] = {"location": "late", "delivery": "late", "parcel_returned": "parcel_returned"}
"""Reason for which an order may wait without a date, and the kind of exception that must have called a person because of it."""
OWNERS = {AVAILABILITY.name: "inventory", ORDER_STATUS.name: TRACKING}


def orders_end_or_wait(books: Books, _: Ledger, found: Findings) -> None:
    """Every order has ended, or waits for something with a reason and a deadline that has not passed, or for a person who was told."""
    for order, captured in books.captured.items():
        tracked = books.tracked.get(order)
        found.saw()
        if tracked is None:
            found.wrong(TRACKING, order, f"order capture has it ({captured.stage}), but there is no status document")
        elif captured.stage == "closed":
            if not tracked.ended:
                found.wrong(TRACKING, order, f"order capture has closed it ({captured.outcome}), its status is {tracked.status}")
        else:
            _check_waiting(books, order, captured, tracked, found)


def _check_waiting(books: Books, order: str, captured: Captured, tracked: Tracked, found: Findings) -> None:
    if tracked.ended:
        found.wrong(CAPTURE, order, f"its status is {tracked.status}, but order capture has it as {captured.stage}")
    if not tracked.waiting:
        found.wrong(TRACKING, order, f"it hasn't ended ({tracked.status}) and waits for nothing")
    for waiting in tracked.waiting:
        if waiting.until is None and not calls_a_person(waiting.reason, tracked.exceptions):
            found.wrong(TRACKING, order, f"it waits for {waiting.reason} without a deadline, and nobody was told")
        if waiting.until is not None and waiting.until < books.now - SLACK:
            found.wrong(TRACKING, order, f"it waits for {waiting.reason} until {waiting.until:%Y-%m-%d %H:%M:%S}, which has passed")
    if captured.stage == "held" and not captured.hold_deadlines:
        found.wrong(CAPTURE, order, "it is held by nothing")
    if any(deadline < books.now - SLACK for deadline in captured.hold_deadlines):
        found.wrong(CAPTURE, order, "the deadline of a hold has passed, and the hold is still there")


def calls_a_person(reason: str, exceptions: Collection[str]) -> bool:
    """Whether one of the exceptions that are open (by kind) is about just this wait; then it needs no date."""
    return CALLED_BY.get(reason) in exceptions


def accepted_orders_are_known(books: Books, ledger: Ledger, found: Findings) -> None:
    """Every order whose acceptance was published is in the books of capture, sourcing, tracking and returns."""
    shelves: dict[str, Container[str]] = {
        CAPTURE: books.captured,
        "sourcing": books.sourced,
        TRACKING: books.tracked,
        "returns": books.returned,
    }
    for order in ledger.accepted:
        for service, known in shelves.items():
            found.require(order in known, service, order, "it was accepted, and this service doesn't know it")


def every_row_can_be_shown(books: Books, _: Ledger, found: Findings) -> None:
    """The document of every row can be made: no rule fails on one."""
    for topic, kept in books.shown.items():
        for key, row in kept.items():
            found.require(not row.unrendered, OWNERS[topic], key, f"{topic}: version {row.version} can't be shown: {row.unrendered}")


def state_topics_show_the_rows(books: Books, ledger: Ledger, found: Findings) -> None:
    """The newest record of every level and every order is its row: same version, same content, and nothing older stands after it."""
    for topic, shown in ledger.states.items():
        kept = books.shown.get(topic, {})
        for key in kept.keys() | shown.keys():
            found.saw()
            if problem := _difference(key, topic, books, ledger):
                found.wrong(OWNERS[topic], key, f"{topic}: {problem}")


def _difference(key: str, topic: str, books: Books, ledger: Ledger) -> str:
    row, record = books.shown.get(topic, {}).get(key), ledger.states[topic].get(key)
    if row is not None and row.unrendered:
        return ""  # what it should be nobody can say; every_row_can_be_shown names it
    if row is None:
        return "a document, but no row" if record is not None and record.digest is not None else ""
    if record is None:
        return "a row, but no document" if row.digest is not None else ""
    if record.version != record.highest:
        return f"version {record.version[1]} stands after version {record.highest[1]}: compaction would keep the older"
    if record.version[1] != row.version:
        return f"the document has version {record.version[1]}, the row {row.version}"
    return "" if record.digest == row.digest else f"version {row.version} of the document says something else than the row"


def read_back_marks_are_true(books: Books, ledger: Ledger, found: Findings) -> None:
    """What the owner of a state topic takes to be the newest record of a row is that: else it would leave a stale one there."""
    for topic, shown in ledger.states.items():
        marks = books.marks.get(topic, {})
        passed: dict[TopicPartition, int] = {}
        for key, (_, offset) in marks.items():
            if key in shown:
                passed[shown[key].at] = max(offset, passed.get(shown[key].at, 0))
        for key, record in shown.items():
            if record.offset <= passed.get(record.at, -1) and record.digest is not None:
                version, offset = marks.get(key, (0, -1))
                told = f"{topic}: version {version} at {offset} is marked, version {record.version[1]} stands at {record.offset}"
                found.require((version, offset) == (record.version[1], record.offset), OWNERS[topic], key, told)
