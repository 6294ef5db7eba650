"""Checks on lanes, positions, requests and what was put aside: nothing is lost, nothing twice, nothing forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deploy.audit.books import Books
from deploy.audit.findings import Findings
from deploy.audit.ledger import Asked, LaneContent, Ledger
from deploy.fleet import SERVICES, load_service
from deploy.lanes import readers_of
from schemas.topics import BY_NAME, CHANNEL_ORDERS
from shared.kernel.ports import LaneId, TopicPartition

MOST_NAMED = 5


def lanes_are_gapless(_: Books, ledger: Ledger, found: Findings) -> None:
    """Every lane holds each number from its first to its last, each for one message only."""
    for (at, lane), content in ledger.lanes.items():
        begins_late = content.first > 1 and ledger.begins.get(at, 0) == 0
        missing = content.missing(begins_late, MOST_NAMED)
        what = f"{at.topic}/{at.partition}"
        found.require(not missing, lane.service, what, f"missing of {content.last}: {', '.join(map(str, missing))}")
        twice = sorted(content.differing)[:MOST_NAMED]
        found.require(not twice, lane.service, what, f"two different messages have the number {', '.join(map(str, twice))}")


def outboxes_are_in_their_topics(books: Books, ledger: Ledger, found: Findings) -> None:
    """The last message a service has committed to a lane is the last one in its topic."""
    for service, kernel in books.kernel.items():
        for row in kernel.lanes_out:
            at, lane = TopicPartition(row["topic"], row["partition"]), LaneId(service, row["incarnation"])
            last = _last(ledger, at, lane)
            if last is None and ledger.begins.get(at, 0) == ledger.ends.get(at, 0) > 0:
                continue
            told = f"{row['seq']} committed, {last or 0} in the topic"
            found.require(_published(ledger, at, lane, row["seq"], last or 0), service, f"{at.topic}/{at.partition}", told)


def _published(ledger: Ledger, at: TopicPartition, lane: LaneId, committed: int, last: int) -> bool:
    """Whether the topic has what it must have, and nothing its writer doesn't know."""
    if ledger.settled is None:
        return committed == last
    return last >= ledger.settled.committed.get((at, lane), 0) and committed >= ledger.settled.tails.get((at, lane), 0)


def readers_are_at_the_ends(books: Books, ledger: Ledger, found: Findings) -> None:
    """Every reader's mark is its lane's last number, and every position the end of its partition: nothing is ahead, nothing left."""
    for service, kernel in books.kernel.items():
        marks = {(TopicPartition(r["topic"], r["partition"]), LaneId(r["service"], r["incarnation"])): r["seq"] for r in kernel.lanes_in}
        for (at, lane), content in ledger.lanes.items():
            if service in readers_of(BY_NAME[at.topic]):
                mark = marks.get((at, lane), 0)
                due = content.last if ledger.settled is None else ledger.settled.tails.get((at, lane), 0)
                told = f"{mark} read of {content.last} in the topic"
                found.require(due <= mark <= content.last, service, f"{at.topic}/{at.partition} of {lane.service}", told)
        for (at, lane), mark in marks.items():
            found.require(
                (at, lane) in ledger.lanes or ledger.expired, service, f"{at.topic}/{at.partition}", f"{mark} read of an empty lane"
            )
        _check_positions(service, kernel.positions, ledger, found)


def _check_positions(service: str, rows: Sequence[Any], ledger: Ledger, found: Findings) -> None:
    reads = {topic.name for topic in load_service(service).reads}
    for row in rows:
        at = TopicPartition(row["topic"], row["partition"])
        if at.topic in reads and at in ledger.ends:
            told = f"reads on at {row['next']}, the topic ends at {ledger.ends[at]}"
            found.require(row["next"] <= ledger.ends[at], service, f"{at.topic}/{at.partition}", told)


def requests_are_answered_once(books: Books, ledger: Ledger, found: Findings) -> None:
    """Every request of a channel or buyer has its one answer, unless somebody still has to say so; repeats have the same one again."""
    if ledger.expired:
        return
    for asked, contents in ledger.requests.items():
        answers, repeats = ledger.answers[asked], ledger.repeats[asked]
        captured = books.captured.get(asked.order_id)
        pending = captured is not None and asked.request_id in captured.pending
        service = "order_capture" if asked.topic == CHANNEL_ORDERS.name else "returns"
        what = f"{asked.order_id} request {asked.request_id}"
        found.require(answers + repeats > 0 or pending, service, what, "it was never answered")
        found.require(answers <= len(contents), service, what, f"{answers} answers to {len(contents)} different contents")
    for asked in ledger.answers.keys() - ledger.requests.keys():
        found.wrong(_answerer(asked), f"{asked.order_id} request {asked.request_id}", "it was answered, but nobody asked")


def _answerer(asked: Asked) -> str:
    return "order_capture" if asked.topic == CHANNEL_ORDERS.name else "returns"


def reserve_commands_are_answered_once(_: Books, ledger: Ledger, found: Findings) -> None:
    """Every command to reserve is given once and answered once."""
    if ledger.expired:
        return
    for part in ledger.reserve_commands.keys() | ledger.reserve_answers.keys():
        told = f"{ledger.reserve_commands[part]} commands, {ledger.reserve_answers[part]} answers"
        found.require(ledger.reserve_commands[part] == ledger.reserve_answers[part] == 1, "inventory", part, told)


def unreadable_records_are_accounted_for(books: Books, ledger: Ledger, found: Findings) -> None:
    """Every record that is unreadable or of no lane became one dead letter of each service that reads its topic, or was answered."""
    parked = {
        (service, TopicPartition(row["topic"], row["partition"]), row["off"])
        for service, kernel in books.kernel.items()
        for row in kernel.parked
    }
    for at, offset, order in ledger.unreadable:
        for service in readers_of(BY_NAME[at.topic]):
            told = "nobody can read it, and it is neither a dead letter nor answered"
            found.require(order is not None or (service, at, offset) in parked, service, f"{at.topic}/{at.partition}@{offset}", told)


def nothing_is_quarantined(books: Books, _: Ledger, found: Findings) -> None:
    """No rows wait behind an input that failed."""
    for service in SERVICES:
        kernel = books.kernel[service]
        found.saw(len(kernel.parked))
        for row in kernel.quarantined:
            found.wrong(
                service, f"{row['kind']} {row['id']}", f"waits behind an input that failed ({row['reason']}); see `nervure dlq list`"
            )
        for row in kernel.parked:
            if row["status"] in ("quarantined", "replay") and not kernel.quarantined:
                found.wrong(service, f"dead letter {service}/{row['number']}", f"{row['status']}, but its rows don't wait: {row['reason']}")


def no_gap_is_open(books: Books, _: Ledger, found: Findings) -> None:
    """No records wait behind a gap in their lane."""
    for service, kernel in books.kernel.items():
        found.saw()
        for row in kernel.spooled:
            what = f"{row['topic']}/{row['partition']} of {row['service']}"
            found.wrong(service, what, f"message {row['seq']} waits behind a gap; see `nervure lanes`")


def nothing_waits_too_long(books: Books, _: Ledger, found: Findings) -> None:
    """No message is kept past its deadline for a row nobody makes, and no timer is overdue."""
    for service, kernel in books.kernel.items():
        for row in kernel.kept:
            told = f"a message of {row['topic']} waits for it since before {row['until']:%Y-%m-%d %H:%M:%S}"
            found.require(row["until"] > books.now, service, f"{row['kind']} {row['id']}", told)
        found.saw()
        for row in kernel.timers_overdue:
            found.wrong(service, f"{row['kind']} {row['id']}", f"its timer {row['name']} was due at {row['due']:%Y-%m-%d %H:%M:%S}")


def _last(ledger: Ledger, at: TopicPartition, lane: LaneId) -> int | None:
    content: LaneContent | None = ledger.lanes.get((at, lane))
    return content.last if content is not None else None
