"""Orders that wait for an item or for their channel: when its document arrives, they are looked at again.

A row `awaited` for each reference somebody waits for, owning one row `waiter` for each order that does. An order's own decision
doesn't touch these rows: it wakes them, so that placing an order never waits for a lock on a popular reference.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import assert_never

from schemas.reference import Channel, Item
from services.order_capture.projection import Catalogue, references_of
from services.order_capture.state import order_key
from shared.kernel.model import Key, Need, Slice, Wake, World, Yield
from shared.value import Value, replace

PAGE = 100
"""Waiting orders woken in one decision; more are woken by the next."""
RECHECK = "recheck"
"""The timer under which an order looks at its items again."""
SECOND_LOOK = "second_look"
"""The timer of one more look, in case an item arrived elsewhere just before the order began to wait."""
SECOND_LOOK_AFTER = timedelta(seconds=60)
VIEW_LAG = timedelta(seconds=1)
"""How long replicas may see reference data differently, so that they don't wake each other at once."""


class Awaited(Value, frozen=True):
    """A reference, such as `gtin:4006381333931` or `channel:web`, whose document orders wait for."""

    reference: str
    waiting: int = 0


class Waiter(Value, frozen=True):
    """One order that waits for one reference."""

    reference: str
    order_id: str
    waits: bool = False


class WaitersCounted(Value, frozen=True):
    """More or fewer orders wait for a reference."""

    reference: str
    more: int

    @property
    def key(self) -> Key:
        return awaited_key(self.reference)


class WaitBegan(Value, frozen=True):
    reference: str
    order_id: str

    @property
    def key(self) -> Key:
        return waiter_key(self.order_id, self.reference)


class WaitEnded(Value, frozen=True):
    reference: str
    order_id: str

    @property
    def key(self) -> Key:
        return waiter_key(self.order_id, self.reference)


def awaited_key(reference: str) -> Key:
    return Key("awaited", reference)


def waiter_key(order_id: str, reference: str) -> Key:
    return Key("waiter", f"{order_id}|{reference}")


def new_waiter(row_id: str) -> Waiter:
    order_id, _, reference = row_id.partition("|")
    return Waiter(reference, order_id)


def evolve_awaited(awaited: Awaited, event: WaitersCounted) -> Awaited | None:
    waiting = awaited.waiting + event.more
    return replace(awaited, waiting=waiting) if waiting > 0 else None


def evolve_waiter(waiter: Waiter, event: WaitBegan | WaitEnded) -> Waiter | None:
    match event:
        case WaitBegan():
            return replace(waiter, waits=True)
        case WaitEnded():
            return None
        case _:
            assert_never(event)


def need_of_document(document: Item | Channel) -> Need:
    """It wakes whoever waits for any of its references."""
    references = references_of(document)
    return Need(tuple(map(awaited_key, references)), tuple(map(_waiters, references)))


def need_of_awaited(key: Key) -> Need:
    return Need((key,), (_waiters(key.id),))


def need_of_waiter(key: Key) -> Need:
    return Need((key, awaited_key(new_waiter(key.id).reference)))


def arrived(world: World, document: Item | Channel, now: datetime) -> Iterator[Yield]:
    for reference in references_of(document):
        yield from wake_waiters(world, reference, now)


def wake_waiters(world: World, reference: str, now: datetime) -> Iterator[Yield]:
    """Wake a page of the orders that wait for a reference, and oneself for the next page."""
    woken: tuple[Waiter, ...] = tuple(world.rows(_waiters(reference)))
    for waiter in woken:
        yield WaitEnded(reference, waiter.order_id)
        yield Wake(order_key(waiter.order_id), RECHECK, now)
    if woken:
        yield WaitersCounted(reference, -len(woken))
        if world.get(awaited_key(reference), Awaited(reference)).waiting > 0:
            yield Wake(awaited_key(reference), "more", now)


def begin_or_end(world: World, key: Key, name: str, view: Catalogue, now: datetime) -> Iterator[Yield]:
    """An order begins (`wait`) or ceases (`leave`) to wait. What is known by now is looked at once more."""
    waiter = world.get(key, new_waiter(key.id))
    if name == "wait" and not waiter.waits:
        yield WaitBegan(waiter.reference, waiter.order_id)
        yield WaitersCounted(waiter.reference, 1)
        if view.knows(waiter.reference):
            yield Wake(order_key(waiter.order_id), RECHECK, now + VIEW_LAG)
    if name == "leave" and waiter.waits:
        yield WaitEnded(waiter.reference, waiter.order_id)
        yield WaitersCounted(waiter.reference, -1)


def join(order_id: str, references: tuple[str, ...], now: datetime) -> Iterator[Yield]:
    for reference in references:
        yield Wake(waiter_key(order_id, reference), "wait", now)


def leave(order_id: str, references: tuple[str, ...], now: datetime) -> Iterator[Yield]:
    for reference in references:
        yield Wake(waiter_key(order_id, reference), "wait", None)
        yield Wake(waiter_key(order_id, reference), "leave", now)


def _waiters(reference: str) -> Slice:
    return Slice(awaited_key(reference), "waiter", _page)


def _page(awaited: Awaited | None) -> int:
    return min(awaited.waiting, PAGE) if awaited is not None else 0
