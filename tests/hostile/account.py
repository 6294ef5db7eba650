"""What became of every hostile record: found by reading answers, dead letters and databases, each record once, none left out.

    answered      a request, by the one answer that names its order (accepted, held, declined, conflict, or the answer given before)
    dead letter   exactly one from each service that reads the topic
    booked        a fact the inbox knows and that is no dead letter; an exception is open for a person where the rules want one
    kept          a fact about something nobody knows yet: it waits with a deadline, then it is a dead letter
    taken         a document of a reference topic that is one, or its deletion
    skipped       a fact of a type that this reader of the topic has no use for

The codec is asked only whom a record is about (which order, which source and id); what became of it is what topics and databases say.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from deploy.fleet import load_service, reads_by_service
from schemas import channel as ch
from schemas import returns as rt
from schemas.topics import CHANNEL_ORDERS, Body, Topic
from shared.kernel.codec import Envelope, Undecodable, open_envelope, read_body, said_by
from shared.kernel.ports import Record
from tests.hostile.arena import MARK
from tests.hostile.records import Hostile
from tests.support.desk import Desk

KEPT_TOO_LONG = b"KeptTooLong"
RETURN_ANSWERS: tuple[type, ...] = (rt.ReturnAuthorised, rt.ReturnDeclined, rt.ReturnCancelled)


@dataclass
class Account:
    """The fates of all records, and what is wrong with them."""

    fates: Counter[str] = field(default_factory=Counter)
    by_topic: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    outcomes: Counter[str] = field(default_factory=Counter)
    """Of the answers."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Of the dead letters, by their first word."""
    exceptions: int = 0
    wrong: list[str] = field(default_factory=list)

    def note(self, topic: Topic, fate: str) -> None:
        self.fates[fate] += 1
        self.by_topic[topic.name][fate] += 1


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was found of the records: dead letters by mark, facts known and kept by service."""

    letters: Mapping[str, list[Record]]
    inbox: Mapping[str, frozenset[tuple[str, str]]]
    kept: Mapping[str, Counter[str]]
    """Service to the marks of what is kept there."""


def reader_of(letter: Record) -> str:
    return (dict(letter.headers)["__connect.errors.connector.name"] or b"").decode()


async def gathered(desk: Desk) -> Evidence:
    letters: dict[str, list[Record]] = defaultdict(list)
    for letter in desk.dead_letters:
        if mark := dict(letter.headers).get(MARK):
            letters[mark.decode()].append(letter)
    inbox, kept = {}, {}
    for service, store in desk.stores.items():
        inbox[service] = frozenset((row["source"], row["id"]) for row in await store.fetch("SELECT source, id FROM kernel.inbox"))
        rows = await store.fetch("SELECT headers::text AS headers FROM kernel.kept")
        kept[service] = Counter(mark for row in rows for mark in [_mark_in(row["headers"])] if mark)
    return Evidence(letters, inbox, kept)


def _mark_in(headers: str) -> str:
    at = headers.rfind(f'["{MARK}", "')
    return bytes.fromhex(headers[at + len(MARK) + 6 :].partition('"')[0]).decode() if at >= 0 else ""


def settle(thrown: Mapping[str, Hostile], evidence: Evidence) -> tuple[Account, Counter[tuple[str, str]]]:
    """The fates of all records; and how many answers are due, by (topic, order)."""
    account, due = Account(), Counter[tuple[str, str]]()
    identities = Counter(_identity(hostile) for hostile in thrown.values())
    for mark, hostile in thrown.items():
        letters = evidence.letters.get(mark, [])
        account.reasons.update(_reason(letter) for letter in letters)
        match hostile.topic.kind:
            case "request":
                _settle_request(account, due, mark, hostile, letters)
            case "fact":
                _settle_fact(account, mark, hostile, letters, evidence, unique=identities[_identity(hostile)] == 1)
            case _:
                _settle_read(account, mark, hostile, letters)
    return account, due


def _settle_request(account: Account, due: Counter[tuple[str, str]], mark: str, hostile: Hostile, letters: Sequence[Record]) -> None:
    if len(letters) == 1:
        account.note(hostile.topic, "dead letter")
        return
    order_id = _order_of(hostile)
    if letters or order_id is None:
        account.wrong.append(f"{mark} {hostile.topic.name}: {len(letters)} dead letters, order {order_id}")
        return
    account.note(hostile.topic, "answered")
    due[hostile.topic.name, order_id] += 1


def _settle_fact(account: Account, mark: str, hostile: Hostile, letters: Sequence[Record], evidence: Evidence, *, unique: bool) -> None:
    """One fate in each service that reads the topic."""
    envelope, body = _read(hostile)
    for service in _readers(hostile.topic):
        own = [letter for letter in letters if reader_of(letter) == service]
        known = envelope is not None and (envelope.source, envelope.id) in evidence.inbox[service]
        waited = len(own) == 1 and _reason(own[0]) == "KeptTooLong"
        if body is not None and load_service(service).reading(hostile.topic, type(body).__name__) is None and not own:
            account.note(hostile.topic, "skipped")
        elif len(own) == 1 and (waited or not known or not unique):
            account.note(hostile.topic, "dead letter")
        elif not own and known:
            account.note(hostile.topic, "kept" if evidence.kept[service][mark] else "booked")
        else:
            account.wrong.append(f"{mark} {hostile.topic.name} in {service}: {len(own)} dead letters, {known=} {unique=}")


def _settle_read(account: Account, mark: str, hostile: Hostile, letters: Sequence[Record]) -> None:
    """Of a reference topic: a document, or a dead letter for each reader. Of a service's topic: always the latter."""
    found, due = sorted(map(reader_of, letters)), _readers(hostile.topic)
    if found == due:
        account.note(hostile.topic, "dead letter" if due else "nobody reads it")
    elif hostile.topic.kind == "reference" and not found:
        account.note(hostile.topic, "taken")
    else:
        account.wrong.append(f"{mark} {hostile.topic.name}: dead letters of {found}, due from {due}")


def compare_answers(account: Account, desk: Desk, due: Counter[tuple[str, str]], asked: Counter[tuple[str, str]]) -> None:
    """Each order has as many answers as there were requests about it, `asked` in good faith among them."""
    given: Counter[tuple[str, str]] = Counter()
    for answer in desk.all(ch.RequestAnswered):
        given[CHANNEL_ORDERS.name, answer.order_id] += 1
        if (CHANNEL_ORDERS.name, answer.order_id) in due:
            account.outcomes[answer.outcome + (", repeated" if answer.repeated else "")] += 1
            if answer.outcome in ("declined", "conflict", "held") and not any(problem.message for problem in answer.problems):
                account.wrong.append(f"{answer.order_id} {answer.request_id}: {answer.outcome} without a cause")
    for kind in RETURN_ANSWERS:
        for answer in desk.all(kind):
            given["oms.returns.requests.v1", answer.order_id] += 1
            if ("oms.returns.requests.v1", answer.order_id) in due:
                account.outcomes[kind.__name__] += 1
    for about, count in due.items():
        if given[about] != count + asked[about]:
            account.wrong.append(f"{about[0]} {about[1]}: {given[about]} answers to {count + asked[about]} requests")


def _readers(topic: Topic) -> list[str]:
    return sorted(service for service, read in reads_by_service().items() if topic in read)


def _read(hostile: Hostile) -> tuple[Envelope | None, Body | None]:
    try:
        envelope = open_envelope(hostile.record(), hostile.topic)
    except Undecodable:
        return None, None
    try:
        return envelope, read_body(envelope, hostile.topic)
    except Undecodable:
        return envelope, None


def _identity(hostile: Hostile) -> tuple[str, str]:
    """As an inbox knows it, whatever topic it came from."""
    envelope, _ = _read(hostile)
    return (envelope.source, envelope.id) if envelope is not None else ("", "")


def _order_of(hostile: Hostile) -> str | None:
    envelope, body = _read(hostile)
    return str(getattr(body, "order_id")) if body is not None else said_by(hostile.record(), envelope).order_id  # noqa: B009


def _reason(letter: Record) -> str:
    return (dict(letter.headers).get("__connect.errors.exception.class.name") or b"").decode()
