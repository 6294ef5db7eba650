"""Given, when, then for one service's decisions, without any infrastructure.

`given` folds domain events or decides earlier messages, `when` decides one input, `then` compares what was published, whole values.

`when` decides its input twice, the second time under another transport id, and takes that second time back:

    external messages    nothing but answers marked `repeated` may be published, and no row may change. The outside repeats itself, and
                         the inbox knows only (source, id).
    internal messages    come through lanes, numbered, exactly once: the kernel drops a repeat before any service sees it. So the law
                         holds for what has an identity of its own (an order accepted, a part to reserve, a request answered, a credit
                         due), and only for what is published; a row may note that it was told again. Not for those in BY_LANE_ALONE.
    timers               exist once and are gone when they ran; what could not be decoded has no identity

Where a repeat does yield something, the test says why: `when(..., repeat_yields="...")`, which fails once it no longer does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast
from uuid import UUID, uuid5

from schemas.forms import Form
from schemas.fulfilment import (
    IssueDated,
    LinesHandedOver,
    LinesNotCollected,
    ParcelCameBack,
    ParcelWasShipped,
    ReservationEnded,
    StockIssued,
    StockPicked,
)
from schemas.inventory import ReservationReleased, ReservationShorted, StockChanged, StockReserved
from schemas.orders import CancellationRequested, ChangeRequested, OrderChanged
from schemas.placing import Asked
from schemas.returns import StockRestocked, StockWrittenOff
from schemas.sourcing import PartShorted
from schemas.topics import TOPIC_OF, Body
from shared.kernel.codec import asked_of, body_of, form_of, value_of
from shared.kernel.model import Input, Keep, Key, Need, Service, Slice, Wake, Woken
from shared.value import decoder, encode, replace

V = TypeVar("V")
F = TypeVar("F", bound=Form)
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
NAMESPACE = UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")

ADDED: frozenset[type] = frozenset(
    {
        IssueDated,
        LinesHandedOver,
        LinesNotCollected,
        ParcelCameBack,
        ParcelWasShipped,
        PartShorted,
        ReservationEnded,
        ReservationReleased,
        ReservationShorted,
        StockIssued,
        StockPicked,
        StockRestocked,
        StockWrittenOff,
    }
)
"""Their quantities are what they add: the same again means as much again."""
ACTED_ON_EACH_TIME: frozenset[type] = frozenset({CancellationRequested, ChangeRequested, OrderChanged, StockChanged, StockReserved})
"""Sourcing answers, plans and offers whenever it is asked to, and opens an exception for an answer it doesn't wait for."""
BY_LANE_ALONE = ADDED | ACTED_ON_EACH_TIME
"""Internal messages whose repeat only the lane's number tells."""


@dataclass
class SpecWorld:
    """Rows in a dict; refuses keys the message didn't name."""

    service: Service[Any]
    states: dict[Key, Any] = field(default_factory=dict)
    versions: dict[Key, int] = field(default_factory=dict)
    need: Need = Need(())

    def get(self, key: Key, absent: Any) -> Any:
        if key not in self.need.keys:
            raise KeyError(f"{key} was not named by keys(); named: {self.need.keys}")
        return self.states.get(key, absent)

    def version(self, key: Key) -> int:
        return self.versions.get(key, 0)

    def rows(self, of: Slice) -> Sequence[Any]:
        assert of in self.need.slices, f"{of} was not named by keys()"
        kind = self.service.kind(of.kind)
        assert kind.owner is not None and kind.rank is not None
        owned = [s for k, s in self.states.items() if k.kind == of.kind and kind.owner(s) == of.owner.id]
        owned.sort(key=kind.rank)
        return owned[: of.enough(self.states.get(of.owner))]

    def fold(self, event: Any) -> None:
        kind = self.service.kind(event.key.kind)
        assert type(event) in kind.events, f"{type(event).__name__} is not listed among the events of {kind.name}"
        after = kind.evolve(self.states.get(event.key, kind.initial(event.key.id)), event)
        self.versions[event.key] = self.versions.get(event.key, 0) + 1
        if after is None:
            self.states.pop(event.key, None)
        else:
            self.states[event.key] = after


class Spec:
    """One service under test. Timers set for now run at once, as the kernel would run them; later ones wait for `advance`."""

    def __init__(self, service: Service[Any]) -> None:
        self.service = service
        self.view = service.view()
        self.world = SpecWorld(service)
        self.now = START
        self.published: list[Body] = []
        self.timers: dict[tuple[Key, str], Wake] = {}
        self.kept: list[tuple[Keep, Any]] = []
        self._count = 0

    def documents(self, *bodies: Body) -> Spec:
        """Reference or state documents the view has read."""
        for body in bodies:
            form = self.service.viewed.get(TOPIC_OF[type(body)])
            self.view.apply(in_form(form, body) if form is not None else body)
        return self

    def given(self, *facts: Any) -> Spec:
        """Domain events are folded; messages are decided, and what they publish is set aside."""
        for fact in facts:
            if hasattr(fact, "key") and not isinstance(fact, Woken) and type(fact) not in TOPIC_OF:
                self.world.fold(fact)
                self.view.fold(fact)
            else:
                self._run(fact)
        self.view.commit()
        self.published.clear()
        return self

    def when(self, body: Any, *, repeat_yields: str = "", **flags: bool) -> Spec:
        """Decides the input, and then once more what has an identity of its own; `repeat_yields` says why that is not silent."""
        self.published.clear()
        self._run(body, **flags)
        self.view.commit()
        if type(body) in TOPIC_OF and type(body) not in BY_LANE_ALONE:
            self._repeat(body, repeat_yields)
        return self

    def advance(self, by: timedelta) -> Spec:
        """Move the time on, running the timers that come due, in order."""
        self.published.clear()
        end = self.now + by
        self._run_timers(end)
        self.view.commit()
        self.now = end
        return self

    def then(self, *expected: Body) -> None:
        """Exactly these messages were published."""
        assert self.published == list(expected), f"\npublished: {self.published}\nexpected:  {list(expected)}"

    def of(self, kind: type) -> list[Any]:
        """The published messages of one type."""
        return [body for body in self.published if isinstance(body, kind)]

    def state(self, kind: str, id: str) -> Any:
        return self.world.states.get(Key(kind, id))

    def _repeat(self, body: Any, why: str) -> None:
        """The same input under another transport id; afterwards the world is as before."""
        published, states, versions = self.published, dict(self.world.states), dict(self.world.versions)
        timers, kept = dict(self.timers), list(self.kept)
        self.published = []
        self._run(body)
        fresh = [answer for answer in self.published if not getattr(answer, "repeated", False)]
        changed = [key for key in {**versions, **self.world.versions} if versions.get(key) != self.world.versions.get(key)]
        self.view.rollback()
        self.published, self.world.states, self.world.versions = published, states, versions
        self.timers, self.kept = timers, kept
        yields = fresh or (changed if TOPIC_OF[type(body)].external else [])
        if why:
            assert yields, f"the same input again yields nothing: strike out the reason {why!r}"
        else:
            assert yields == [], f"the same input again published {fresh} and changed {changed}; where it may, say why: repeat_yields="

    def _run(self, body: Any, **flags: bool) -> None:
        self._decide(body, **flags)
        self._run_timers(self.now)

    def _run_timers(self, until: datetime) -> None:
        for _ in range(100_000):
            due = sorted(
                (w for w in self.timers.values() if w.due is not None and w.due <= until),
                key=lambda w: (w.due, w.rank, w.key),
            )
            if not due:
                return
            wake = due[0]
            assert wake.due is not None
            del self.timers[wake.key, wake.name]
            self.now = max(self.now, wake.due)
            self._decide(Woken(wake.key, wake.name, wake.due))
        raise AssertionError("timers keep waking each other")

    def _decide(self, body: Any, **flags: bool) -> None:
        self._count += 1
        body = self._as_read(body)
        given = Input(body=body, now=self.now, cause=uuid5(NAMESPACE, str(self._count)), **flags)
        found = {k: self.world.states[k] for k in self.service.find(body) if k in self.world.states}
        self.world.need = self.service.keys(body, found)
        changed: set[Key] = set()
        for out in self._outputs(given):
            match out:
                case Wake():
                    self._set_timer(out)
                case Keep():
                    self.kept.append((out, body))
                case Form():
                    self.published.append(body_of(out.contract, value_of(out)))
                case _ if type(out) in TOPIC_OF:
                    self.published.append(out)
                case _:
                    assert out.key in self.world.need.keys or self._is_slice_row(out.key), f"{out.key} is not locked"
                    self.world.fold(out)
                    self.view.fold(out)
                    changed.add(out.key)
        again = [(keep, body) for keep, body in self.kept if keep.key in changed]
        self.kept = [entry for entry in self.kept if entry not in again]
        for _, kept in again:
            self._decide(kept)

    def _as_read(self, body: Any) -> Any:
        """In its form, where the service reads one."""
        topic = TOPIC_OF.get(type(body))
        form = self.service.reading(topic, type(body).__name__) if topic is not None and topic in self.service.reads else None
        if form is not None and issubclass(form, Asked):
            return asked_of(form, body.model_dump_json().encode())
        return in_form(form, body) if form is not None and issubclass(form, Form) else body

    def _is_slice_row(self, key: Key) -> bool:
        return any(key.kind == of.kind for of in self.world.need.slices)

    def _outputs(self, given: Input[Any]) -> Iterator[Any]:
        yield from self.service.decide(self.world, given, self.view)

    def _set_timer(self, wake: Wake) -> None:
        if wake.due is None:
            self.timers.pop((wake.key, wake.name), None)
        else:
            self.timers[wake.key, wake.name] = replace(wake)


def as_stored(value: V) -> V:
    """A row or an event, written as it is stored and read again."""
    return cast("V", decoder(type(value)).decode(encode(value)))


def in_form(form: type[F], body: Body) -> F:
    """A message, or a part of one, as a service reads it that reads this form of it."""
    return form_of(form, value_of(body))
