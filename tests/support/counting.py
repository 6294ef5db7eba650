"""Two tiny services that use everything the kernel has: a desk passes asks on as commands, a house counts and tells.

House: a counter (document) must be opened before it counts; commands that come earlier are kept. Each command takes a unit (a row owned by
its counter) and sets a timer; the timer gives the first unit back and turns the gauge (typed columns). Counters are shown on a state topic.

However often anything fails: each ask is confirmed once, counted once and rung once, and no unit is left.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from schemas import topics
from schemas.topics import Topic
from schemas.types import Code, Delta, Message, Quantity, Version
from shared.kernel.model import Event, Found, Input, Keep, Key, Kind, Need, Service, Slice, State, Wake, Woken, World
from shared.kernel.views import Documents
from shared.value import Value, replace

KEPT_FOR = timedelta(hours=1)
RINGS_AFTER = timedelta(seconds=2)


# ---- the language ----


class Ask(Message):
    """Somebody wants `amount` counted."""

    counter: Code
    ref: Code
    amount: Quantity


class Open(Message):
    """The counter may count from now on."""

    counter: Code


class Count(Message):
    """Please count."""

    counter: Code
    ref: Code
    amount: Quantity


class Counted(Message):
    """It was counted."""

    counter: Code
    ref: Code
    total: Delta


class Refused(Message):
    """The counter never opened."""

    counter: Code
    ref: Code


class Shown(Message):
    """A counter as it stands."""

    counter: Code
    total: Delta
    version: Version


ASKS = Topic("counting.asks.v1", "fact", "external", "counter", (Ask,), "What is asked.")
OPENINGS = Topic("counting.openings.v1", "fact", "external", "counter", (Open,), "Which counters open.")
COMMANDS = Topic("counting.commands.v1", "events", "desk", "counter", (Count,), "What the house shall count.")
ANSWERS = Topic("counting.answers.v1", "events", "house", "counter", (Counted, Refused), "What was counted.")
SHOWN = Topic("counting.shown.v1", "state", "house", "counter", (Shown,), "The counters.")
ALL = (ASKS, OPENINGS, COMMANDS, ANSWERS, SHOWN)


def register() -> None:
    """Makes the kernel of this process know these topics."""
    for topic in ALL:
        topics.BY_NAME[topic.name] = topic
        for kind in topic.types:
            topics.TOPIC_OF[kind] = topic
            topics._TYPE_BY_NAME[topic.name, kind.__name__] = kind


register()


# ---- the desk ----


class Tally(Value, frozen=True):
    counter: str
    asked: int = 0
    confirmed: int = 0
    refused: int = 0


class Asked(Value, frozen=True):
    counter: str

    @property
    def key(self) -> Key:
        return Key("tally", self.counter)


class Heard(Value, frozen=True):
    counter: str
    good: bool

    @property
    def key(self) -> Key:
        return Key("tally", self.counter)


def evolve_tally(state: Tally, event: Asked | Heard) -> Tally:
    match event:
        case Asked():
            return replace(state, asked=state.asked + 1)
        case Heard(good=True):
            return replace(state, confirmed=state.confirmed + 1)
        case Heard():
            return replace(state, refused=state.refused + 1)


def desk_keys(body: Any, _: Found) -> Need:
    return Need((Key("tally", body.counter),))


def desk(_: World, given: Input[Any], __: Documents) -> Iterator[Event | Message | Wake | Keep]:
    match given.body:
        case Ask(counter=counter, ref=ref, amount=amount):
            yield Asked(counter)
            yield Count(counter=counter, ref=ref, amount=amount)
        case Counted(counter=counter):
            yield Heard(counter, good=True)
        case _:
            yield Heard(given.body.counter, good=False)


DESK: Service[Documents] = Service(
    name="desk",
    reads={ASKS: (Ask,), ANSWERS: (Counted, Refused)},
    kinds=(Kind("tally", Tally, Tally, evolve_tally, (Asked, Heard)),),
    keys=desk_keys,
    decide=desk,
    view=Documents,
)


# ---- the house ----


class Counter(Value, frozen=True):
    counter: str
    total: int = 0
    inputs: int = 0


class Opened(Value, frozen=True):
    counter: str

    @property
    def key(self) -> Key:
        return Key("counter", self.counter)


class Noted(Value, frozen=True):
    counter: str
    amount: int

    @property
    def key(self) -> Key:
        return Key("counter", self.counter)


def evolve_counter(state: Counter, event: Opened | Noted) -> Counter:
    match event:
        case Opened():
            return state
        case Noted(amount=amount):
            return replace(state, total=state.total + amount, inputs=state.inputs + 1)


class Unit(Value, frozen=True):
    counter: str
    ref: str


class UnitTaken(Value, frozen=True):
    counter: str
    ref: str

    @property
    def key(self) -> Key:
        return Key("unit", f"{self.counter}/{self.ref}")


class UnitGiven(Value, frozen=True):
    counter: str
    ref: str

    @property
    def key(self) -> Key:
        return Key("unit", f"{self.counter}/{self.ref}")


def evolve_unit(_: Unit, event: UnitTaken | UnitGiven) -> Unit | None:
    match event:
        case UnitTaken(counter=counter, ref=ref):
            return Unit(counter, ref)
        case UnitGiven():
            return None


class Gauge(Value, frozen=True):
    turned: int = 0
    last: datetime | None = None
    refs: tuple[str, ...] = ()
    """The last three units given back."""


class Turned(Value, frozen=True):
    counter: str
    ref: str
    at: datetime

    @property
    def key(self) -> Key:
        return Key("gauge", self.counter)


def evolve_gauge(state: Gauge, event: Turned) -> Gauge:
    return Gauge(state.turned + 1, event.at, (*state.refs, event.ref)[-3:])


COUNTER: Kind[Counter] = Kind("counter", Counter, Counter, evolve_counter, (Opened, Noted))
UNIT: Kind[Unit] = Kind(
    "unit",
    Unit,
    lambda name: Unit(*name.split("/")),
    evolve_unit,
    (UnitTaken, UnitGiven),
    owner=lambda unit: unit.counter,
    rank=lambda unit: unit.ref,
)
GAUGE: Kind[Gauge] = Kind("gauge", Gauge, lambda _: Gauge(), evolve_gauge, (Turned,), typed=True)
GAUGE_TABLE = """
CREATE TABLE state.gauge (
    id text PRIMARY KEY,
    version bigint NOT NULL CHECK (version > 0),
    owner text,
    rank text COLLATE "C",
    turned bigint NOT NULL CHECK (turned >= 0),
    last timestamptz,
    refs jsonb NOT NULL
)
"""


def first_unit(counter: str) -> Slice:
    return Slice(Key("counter", counter), "unit", lambda _: 1)


def house_keys(body: Any, _: Found) -> Need:
    match body:
        case Woken(key=key):
            return Need((key, Key("gauge", key.id)), (first_unit(key.id),))
        case Count(counter=counter, ref=ref):
            return Need((Key("counter", counter), Key("unit", f"{counter}/{ref}")))
        case _:
            return Need((Key("counter", body.counter),))


def house(world: World, given: Input[Any], _: Documents) -> Iterator[Event | Message | Wake | Keep]:
    match given.body:
        case Open(counter=counter):
            if world.get(Key("counter", counter), None) is None:
                yield Opened(counter)
        case Count() as command:
            yield from count(world, given, command)
        case _:
            for unit in world.rows(first_unit(given.body.key.id)):
                yield UnitGiven(unit.counter, unit.ref)
                yield Turned(unit.counter, unit.ref, given.now)


def count(world: World, given: Input[Any], command: Count) -> Iterator[Event | Message | Wake | Keep]:
    key = Key("counter", command.counter)
    if world.get(key, None) is not None:
        yield Noted(command.counter, command.amount)
        yield UnitTaken(command.counter, command.ref)
        yield Wake(key, f"ring-{command.ref}", given.now + RINGS_AFTER)
        yield Counted(counter=command.counter, ref=command.ref, total=world.get(key, Counter(key.id)).total)
    elif given.overdue:
        yield Refused(counter=command.counter, ref=command.ref)
    else:
        yield Keep(key, given.now + KEPT_FOR)


def shown(id: str, version: int, state: Counter) -> Shown:
    return Shown(counter=id, total=state.total, version=version)


HOUSE: Service[Documents] = Service(
    name="house",
    reads={COMMANDS: (Count,), OPENINGS: (Open,)},
    kinds=(COUNTER, UNIT, GAUGE),
    keys=house_keys,
    decide=house,
    view=Documents,
    states=(State(SHOWN, "counter", shown),),
    migrations=(GAUGE_TABLE,),
)
