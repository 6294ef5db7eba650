"""Rules of the trade, switched off: stock, sourcing, fulfilment, money, returns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import services.fulfilment_tracking.cancels as tracking_cancels
import services.fulfilment_tracking.issuing as tracking_issuing
import services.inventory.reservations as inventory_reservations
import services.inventory.rules as inventory_rules
import services.sourcing.answers as sourcing_answers
import services.sourcing.backorders as sourcing_backorders
from services.inventory.levels import Case
from services.inventory.state import Part, booked_key, new_booked, part_key
from services.inventory.state import shorting_order as shorting_order_of
from services.order_capture.state import Money
from services.returns.state import Line as ReturnLine
from services.returns.state import Purchase
from services.sourcing.flow import Desk
from services.sourcing.projection import Network
from shared.kernel.model import Key
from shared.value import replace as put
from tests.sim.mutant import mutant, part, switch
from tests.sim.themed import COUNTED, DISORDERED, RESTLESS_ONES, TWICE, Worlds

# ---- inventory ----


@mutant("no more is reserved than is there")
def reserved_within_stock() -> None:
    switch(inventory_rules, "allot", lambda asked, levels: [quantity for _, quantity in asked])


@mutant("what is blocked, kept as safety or reserved already isn't available")
def available_only() -> None:
    switch(inventory_rules, "atp", lambda level: max(0, level.sellable))


class Forgetful:
    """A world in which some rows are as if nothing had happened to them yet."""

    def __init__(self, world: Any, kind: str) -> None:
        self._world = world
        self._kind = kind

    def get(self, key: Key, absent: Any) -> Any:
        return absent if key.kind == self._kind else self._world.get(key, absent)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world, name)


@part("a command to reserve is answered once: lanes drop what comes twice")
def reserve_answered() -> None:
    reserve = inventory_reservations.reserve
    switch(inventory_reservations, "reserve", lambda case, command: reserve(put(case, world=Forgetful(case.world, "part")), command))


@mutant("a command to reserve is answered once, whoever drops it", parts=("reserve_answered", "commands_deduped"), worlds=TWICE)
def reserve_answered_once() -> None:
    """Nothing beside its parts."""


@mutant("a fact is booked once under its reference", worlds=Worlds(oddities=("repeating_feed",)))
def booked_once() -> None:
    switch(Case, "booked", lambda self, level, kind, reference: new_booked(booked_key(level, kind, reference).id))


@mutant("a count pins its figure at its time; facts before it are in it", worlds=COUNTED)
def counts_before_movements() -> None:
    switch(inventory_rules, "beside_counts", lambda level, change, at: change)


@mutant("what was counted is compared with what was believed at the count's time", worlds=COUNTED)
def counts_at_their_time() -> None:
    believed = inventory_rules.believed
    switch(inventory_rules, "believed", lambda level, status, basis, as_of, effects: believed(level, status, basis, as_of, ()))


@mutant("reservations beyond what is left are shorted")
def shorting() -> None:
    switch(inventory_reservations, "short", lambda case, woken: iter(()))


@part("a release before its reserve is remembered: lanes and quarantine keep their order")
def released_before_reserved() -> None:
    reserve = inventory_reservations.reserve

    def forgetting(case: Any, command: Any) -> Iterator[Any]:
        part = case.world.get(part_key(command.part_id), Part())
        return reserve(put(case, world=Forgetful(case.world, "part")) if part.released and not part.answered else case, command)

    switch(inventory_reservations, "reserve", forgetting)


@mutant(
    "a release that overtakes its reserve, which waits for a replay, is remembered",
    parts=("quarantine_order", "released_before_reserved"),
    worlds=DISORDERED,
)
def release_before_reserve() -> None:
    """Nothing beside its parts."""


@mutant("the least urgent reservations are shorted first")
def shorting_order() -> None:
    switch(inventory_reservations, "to_short", lambda level: 200 if level is not None and level.owed else 0)
    switch(inventory_reservations, "shorting_order", lambda row: "".join(chr(255 - ord(letter)) for letter in shorting_order_of(row)))


# ---- sourcing ----


@mutant("a decline tells the true level, and what it should have served is planned by that", worlds=Worlds("leaderless", ("hot_item",)))
def decline_hint() -> None:
    def unheard(desk: Any, answer: Any) -> Iterator[Any]:
        return declined(desk, put(answer, levels=()))

    declined = sourcing_answers.declined
    switch(sourcing_answers, "declined", unheard)


@mutant("backorders are served by rank")
def backorder_rank() -> None:
    shared_out = sourcing_backorders.shared_out
    switch(sourcing_backorders, "shared_out", lambda rows, free: shared_out(list(reversed(list(rows))), free))


@mutant("newcomers leave to those who wait what they wait for")
def newcomers_wait() -> None:
    switch(Desk, "ahead", lambda self: {})


@mutant("plans in flight are taken off what is free")
def flights() -> None:
    switch(Network, "fold", lambda self, event: None)


# ---- fulfilment ----


@mutant("a cancel is answered by whoever holds the goods: of what a location works on, it has the last word")
def requests_follow_the_goods() -> None:
    fates = tracking_cancels._fates

    def decided_here(case: Any, lines: Any) -> Any:
        return [fate._replace(now=fate.now + fate.asked, asked=0) for fate in fates(case, lines)]

    switch(tracking_cancels, "_fates", decided_here)


@mutant("what left a location is booked, even where nobody asked for it", worlds=Worlds(oddities=("hasty_location",)))
def facts_booked() -> None:
    book = tracking_issuing._book

    def asked_only(case: Any, part: Any, location: str, goods: Any, at: Any, *, unasked: bool) -> Iterator[Any]:
        return iter(()) if unasked else book(case, part, location, goods, at, unasked=unasked)

    switch(tracking_issuing, "_book", asked_only)


# ---- order capture ----


@mutant("no more is captured than was authorised", worlds=RESTLESS_ONES)
def capture_bound() -> None:
    switch(Money, "capturable_of", lambda self, payment: 10**9)


@mutant("no more is refunded than was captured")
def refund_bound() -> None:
    switch(Money, "refundable_of", lambda self, payment: 10**9)


# ---- returns ----


@mutant("no more is returned than was handed over")
def return_bound() -> None:
    switch(Purchase, "returnable", lambda self, line_id: 10**6)


@mutant("what is credited is credited once")
def credit_once() -> None:
    switch(ReturnLine, "credit_due", property(lambda self: max(0, self.received)))
