"""When a difference counts, and how lanes are kept while reading goes on."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from deploy.audit import CHECKS, REBUILD, flow
from deploy.audit.cuts import EXACT, EXACT_ROUNDS, HOPS, ROUNDS, Suspicion
from deploy.audit.findings import Findings, Violation
from deploy.audit.ledger import LaneContent, Settled
from tests.unit.test_cli_audit import COMMANDS, SOURCING, World, lane, world

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
BETWEEN = Violation("services_agree_on_lines", "order_capture", "web-fr:1 l1", "handed over: capture 1, tracking 2")
WITHIN = Violation(REBUILD, "inventory", "level tea:paris", "sellable: the row has 6, its events make 5")
AFTER_ALL = HOPS + 1
"""So many cuts are drained when all that was in flight in a round during the first cut, and all that came of it, is done."""


class Course:
    """Rounds over a system of which so many cuts are drained."""

    def __init__(self) -> None:
        self.suspicion = Suspicion()
        self.rounds = 0

    def round(self, *violations: Violation, drained: int) -> tuple[list[Violation], list[Violation]]:
        """(found, gone)."""
        self.rounds += 1
        now = NOW + timedelta(seconds=self.rounds)
        found, gone = self.suspicion.judge(violations, drained, drained + 2, now)
        return [drift.violation for drift in found], [drift.violation for drift in gone]


def test_what_differs_between_services_counts_when_all_that_was_in_flight_is_done() -> None:
    course = Course()
    for drained in range(AFTER_ALL):
        assert course.round(BETWEEN, drained=drained) == ([], [])
    assert course.round(BETWEEN, drained=AFTER_ALL) == ([BETWEEN], [])
    [drift] = course.suspicion.found.values()
    assert (drift.first_seen, drift.found) == (NOW + timedelta(seconds=1), NOW + timedelta(seconds=course.rounds))


def test_nothing_drains_nothing_is_judged() -> None:
    course = Course()
    assert all(course.round(BETWEEN, drained=0) == ([], []) for _ in range(100))


def test_a_difference_must_be_there_round_after_round() -> None:
    """Twice the same words about something that moves may be two moments."""
    course = Course()
    for drained in range(0, 10 * AFTER_ALL, AFTER_ALL):
        assert course.round(BETWEEN, drained=drained) == ([], [])
        assert course.round(drained=drained) == ([], [])


def test_a_difference_that_changes_is_another_one() -> None:
    course = Course()
    for drained in range(5 * AFTER_ALL):
        moving = BETWEEN._replace(detail=f"handed over: capture {drained}, tracking {drained + 1}")
        assert course.round(moving, drained=drained) == ([], [])


def test_it_needs_more_rounds_than_one_however_fast_everything_drains() -> None:
    course = Course()
    seen = [course.round(BETWEEN, drained=number * AFTER_ALL * 2)[0] for number in range(ROUNDS)]
    assert seen == [[]] * (ROUNDS - 1) + [[BETWEEN]]


def test_what_one_database_says_by_itself_waits_for_nobody() -> None:
    """And its figures may go on changing while it is wrong."""
    course = Course()
    seen = [course.round(WITHIN._replace(detail=f"{number} sellable, its history {number - 1}"), drained=0)[0] for number in range(3)]
    assert [len(found) for found in seen] == [0] * (EXACT_ROUNDS - 1) + [1] + [0] * (3 - EXACT_ROUNDS)


def test_it_is_told_once_and_once_more_when_it_is_gone() -> None:
    course = Course()
    told = [course.round(WITHIN, drained=0) for _ in range(4)]
    assert [found for found, _ in told] == [[], [WITHIN], [], []]
    assert course.round(WITHIN._replace(detail="it differs in other words"), drained=0) == ([], [])
    assert course.round(drained=0) == ([], [WITHIN])
    assert course.suspicion.found == {}


def test_exact_checks_are_checks() -> None:
    assert {check.__name__ for check in CHECKS} | {REBUILD} >= EXACT


# ---- against a cut ----


def beside(settled: Settled) -> World:
    books, ledger = world()
    ledger.settled = settled
    return books, ledger


def wrong(check: object, found_in: World) -> list[str]:
    assert callable(check)
    found = Findings("check")
    check(*found_in, found)
    return [violation.detail for violation in found.violations]


def test_a_reader_may_be_behind_but_not_behind_the_cut() -> None:
    """Two messages are read; a third stands in the topic since."""
    for tail, complaints in ((2, []), (3, ["2 read of 3 in the topic"])):
        books, ledger = beside(Settled({(COMMANDS, SOURCING): tail}, {}))
        ledger.lanes[COMMANDS, SOURCING].note(3, b"c")
        assert wrong(flow.readers_are_at_the_ends, (books, ledger)) == complaints


def test_a_reader_is_never_ahead_of_the_topic() -> None:
    books, ledger = beside(Settled({}, {}))
    ledger.lanes[COMMANDS, SOURCING] = lane({1: b"a"})
    assert wrong(flow.readers_are_at_the_ends, (books, ledger)) == ["2 read of 1 in the topic"]


def test_an_outbox_may_be_behind_but_not_behind_the_cut() -> None:
    for committed, complaints in ((1, []), (2, ["2 committed, 1 in the topic"])):
        books, ledger = beside(Settled({}, {(COMMANDS, SOURCING): committed}))
        ledger.lanes[COMMANDS, SOURCING] = lane({1: b"a"})
        assert wrong(flow.outboxes_are_in_their_topics, (books, ledger)) == complaints


def test_a_topic_is_never_ahead_of_its_database() -> None:
    """It showed three messages before the database, which has two, was read."""
    for shown, complaints in ((2, []), (3, ["2 committed, 3 in the topic"])):
        books, ledger = beside(Settled({(COMMANDS, SOURCING): shown}, {}))
        ledger.lanes[COMMANDS, SOURCING].note(3, b"c")
        assert wrong(flow.outboxes_are_in_their_topics, (books, ledger)) == complaints


# ---- lanes as ranges ----


def test_ranges_say_what_a_set_of_numbers_says() -> None:
    dice = random.Random(4)
    for _ in range(200):
        content, known = LaneContent(), set[int]()
        for _ in range(dice.randint(1, 60)):
            seq = dice.randint(1, 40)
            assert content.note(seq, b"same") is (seq not in known)
            known.add(seq)
        assert (content.first, content.last) == (min(known), max(known))
        assert content.missing(False, 100) == [n for n in range(min(known), max(known)) if n not in known]
        assert content.missing(True, 100) == [n for n in range(1, max(known)) if n not in known]
        assert content.missing(True, 3) == content.missing(True, 100)[:3]
        assert all(last < first - 1 for (_, last), (first, _) in zip(content.ranges, content.ranges[1:], strict=False))


def test_a_lane_without_gaps_takes_no_room() -> None:
    content = LaneContent(most_digests=10)
    for seq in range(1, 1001):
        content.note(seq, b"%d" % seq)
    assert (content.ranges, len(content.digests)) == ([(1, 1000)], 10)
    content.note(995, b"another")
    content.note(5, b"another")  # too old to be compared
    assert content.differing == {995}
