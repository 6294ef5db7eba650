"""What a batch costs: one commit, each statement once, one send for each destination, however many messages it holds."""

from __future__ import annotations

import re
from collections import Counter as Times
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from schemas.topics import dead_letter_topic
from shared.kernel.model import Need, Slice
from shared.kernel.partition import partition_of
from shared.kernel.ports import Outgoing, TopicPartition
from shared.value import replace
from tests.integration.test_kernel_failures import parked, told
from tests.support.counting import ASKS, COMMANDS, DESK, HOUSE, Count, Counter, Noted
from tests.support.small_world import PARTITIONS, SmallWorld

STATEMENTS = frozenset(
    re.findall(
        r"\w+",
        """find load slices attached kept_for known insert update delete history mark_inbox mark_inbox_again fire_timers cancel_timers
        set_timers forget_kept replayed lock_marks lift keep park hold_marks quarantine spool unspool move_offsets take_lanes
        copy""",
    )
)
"""First words of what a transaction awaits; the publisher and others await statements of their own beside it."""
MANY = 100


class Tape:
    """What the processes of a world await, from now on."""

    def __init__(self, world: SmallWorld) -> None:
        self.batches: list[list[str]] = []
        """The statements of each transaction that was committed."""
        self.sends: list[list[str]] = []
        """The destinations of each send."""
        self.others: Times[str] = Times()
        self._open: dict[str, list[str]] = {}
        self._sending: dict[str, list[str]] = {}
        world.trap = self._note

    def _note(self, process: str, what: str) -> None:
        word, _, rest = what.partition(" ")
        if what == "begin":
            self._open[process] = []
        elif what == "commit":
            self.batches.append(self._open.pop(process))
        elif word in STATEMENTS and process in self._open and rest != "answer":
            self._open[process].append(what)
        elif what == "send":
            self._sending[process] = []
            self.sends.append(self._sending[process])
        elif word == "append":
            self._sending[process].append(rest)
        else:
            self.others[what] += 1

    def repeated(self) -> list[str]:
        """What was awaited more than once within one transaction, or appended to twice in one send."""
        return [what for one in (*self.batches, *self.sends) for what, times in Times(one).items() if times > 1]

    def with_(self, statement: str) -> int:
        """Transactions that contain it."""
        return sum(statement in batch for batch in self.batches)


@pytest.fixture
def world() -> Iterator[SmallWorld]:
    """One process of each service, that nobody has started yet."""
    world = SmallWorld(seed=1)
    yield world
    assert world.failures == []


def start(world: SmallWorld, *services: str) -> Tape:
    tape = Tape(world)
    for service in services:
        world.process(service).start()
    return tape


@pytest.mark.parametrize("asks", [1, MANY])
def test_one_commit_and_one_send_for_all_that_has_arrived(world: SmallWorld, asks: int) -> None:
    """Facts with inbox marks, rows, slices, timers, lanes, kept messages that run again."""
    for number in range(asks):
        world.ask("a", number % 9 + 1)
    tape = start(world, "desk", "house")
    world.run(lambda: len(world.databases["house"].table("kept")) == asks)
    assert (tape.with_("mark_inbox"), tape.with_("keep")) == (1, 1)
    assert len([one for one in tape.sends if any(COMMANDS.name in at for at in one)]) == 1
    world.open("a")
    world.run(world.at_rest)
    assert tape.with_("forget_kept") == 1
    assert tape.repeated() == []


@pytest.mark.parametrize("letters", [1, MANY - 1])
def test_dead_letters_of_a_batch_are_one_statement_one_send_and_one_note(world: SmallWorld, letters: int) -> None:
    at = TopicPartition(ASKS.name, 0)
    world.broker.append(at, [Outgoing(b"a", b"{", (("ce_id", b"%d" % number),)) for number in range(letters)])
    tape = start(world, "desk")
    world.run_for(timedelta(seconds=5))
    assert parked(world, "desk") == [("dead", "undecodable")] * letters
    assert len(world.broker.records(TopicPartition(dead_letter_topic(ASKS.name, "desk"), 0))) == letters
    assert (tape.with_("park"), len(tape.sends), tape.others["dead_letters_sent"]) == (1, 1, 1)
    assert tape.repeated() == []


@pytest.mark.parametrize("records", [2, MANY])
def test_what_is_spooled_is_put_down_and_run_set_by_set(world: SmallWorld, records: int) -> None:
    at = TopicPartition(COMMANDS.name, 0)
    world.broker.append(at, [told(seq, {}) for seq in range(2, records + 2)])
    tape = start(world, "house")
    spool = world.databases["house"].table("spool")
    world.run(lambda: len(spool) == records)
    world.broker.append(at, [told(1, {})])
    world.run(lambda: not world.databases["house"].table("spool"))
    assert (tape.with_("spool"), tape.with_("unspool")) == (1, 1)
    assert tape.repeated() == []


@pytest.mark.parametrize("records", [2, MANY])
def test_what_queues_behind_a_failed_input_is_put_down_set_by_set(world: SmallWorld, records: int) -> None:
    world.broker.append(
        TopicPartition(COMMANDS.name, 0), [told(seq, {"amount": "much"} if seq == 1 else {}) for seq in range(1, records + 1)]
    )
    tape = start(world, "house")
    world.run(lambda: len(parked(world, "house")) == records)
    assert (tape.with_("quarantine"), tape.with_("park")) == (1, 1)
    assert tape.repeated() == []


def test_what_was_kept_for_a_row_goes_before_later_messages_of_the_batch_that_makes_the_row(world: SmallWorld) -> None:
    """Otherwise messages of one lane would pass each other."""
    for amount in (1, 2):
        world.ask("a", amount)
    start(world, "desk", "house")
    house = world.process("house")
    world.run(lambda: len(world.databases["house"].table("kept")) == 2)
    house.freeze()
    world.open("a")
    world.run_for(timedelta(seconds=1))
    for amount in (3, 4):
        world.ask("a", amount)
    world.run(lambda: len(world.lane(partition_of("a", PARTITIONS))) == 4)
    house.thaw()
    world.run(world.at_rest)
    history = sorted(world.databases["house"].table("history").items())
    assert [entry.event.amount for _, entry in history if isinstance(entry.event, Noted)] == [1, 2, 3, 4]


@pytest.mark.parametrize(("enough", "asked"), [(0, 0), (1, 1)])
def test_a_slice_of_which_no_rows_are_wanted_is_not_asked_for(enough: int, asked: int) -> None:
    def keys(body: Any, found: Any) -> Need:
        need = HOUSE.keys(body, found)
        return Need(need.keys, (Slice(need.keys[0], "unit", lambda _: enough),)) if isinstance(body, Count) else need

    world = SmallWorld(seed=1, services=(DESK, replace(HOUSE, keys=keys)))
    world.open("a")
    world.ask("a", 1)
    tape = start(world, "desk", "house")
    world.run(lambda: world.states("house", "counter") == {"a": Counter("a", 1, 1)})
    assert tape.with_("slices unit") == asked
    assert world.failures == []


def test_the_broker_is_not_asked_while_what_was_read_is_decided(world: SmallWorld) -> None:
    """What comes meanwhile comes in one answer afterwards."""
    asked: list[str] = []
    open_: set[str] = set()

    def note(process: str, what: str) -> None:
        if what == "begin":
            open_.add(process)
        elif what == "commit":
            open_.remove(process)
        elif what == "fetch" and process in open_:
            asked.append(process)

    world.trap = note
    for service in ("desk", "house"):
        world.process(service).start()
    world.run_for(timedelta(seconds=2))
    for number in range(MANY):
        world.ask("a", number % 9 + 1)
        world.run_for(timedelta(milliseconds=5))
    world.open("a")
    world.run(world.at_rest)
    assert asked == []
