"""What a service is, to the kernel: inputs, the world a decision sees, what it may yield, and the wiring table.

A service's `decide` is a generator. Whatever it yields takes effect in one commit with its input:

    a domain event   a frozen dataclass with a `key`; folded into its row at once, so `world` shows it after the `yield`
    a message        a model of a topic this service owns, or its form; published through a lane after the commit
    Wake             sets, moves or cancels a timer of one row
    Keep             puts this very input aside until its row is known, or the deadline

Pure: no clock (`given.now`), no random (`given.id`), no I/O, no log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from hashlib import sha1
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

from schemas.channel import Problem
from schemas.forms import Form
from schemas.topics import Body, Topic
from shared.kernel.short import Told
from shared.value import Light, Value, field

S = TypeVar("S")
M_co = TypeVar("M_co", covariant=True)
V = TypeVar("V", bound="View")


class Key(Light, frozen=True, order=True):
    """One row: its kind and its id."""

    kind: str
    id: str


class Slice(Light, frozen=True):
    """Rows of `kind` owned by the row `owner`, by rank, as many as `enough(owner's state)` says."""

    owner: Key
    kind: str
    enough: Callable[[Any], int]
    """Given the owner's state, or None where it doesn't exist: how many rows to read."""


class Need(Light, frozen=True):
    """What a message needs: rows to lock, and slices under locked rows (a slice's owner is always among `keys`)."""

    keys: tuple[Key, ...]
    slices: tuple[Slice, ...] = ()


def derived(cause: UUID, role: str) -> UUID:
    """uuid5(cause, role), at a third of what the standard library's takes."""
    return UUID(bytes=sha1(cause.bytes + role.encode(), usedforsecurity=False).digest()[:16], version=5)


def derived_text(cause: UUID, role: str) -> str:
    """The same as text, at less than half of what the id and then its text take."""
    digits = sha1(cause.bytes + role.encode(), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


class Woken(Value, frozen=True):
    """The body of an input that a timer made."""

    key: Key
    name: str
    due: datetime


class Unreadable(Value, frozen=True):
    """The body of a request that could not be decoded, but whose Kafka key or body names the order: it is answered."""

    order_id: str
    type: str
    """The message type it claimed, or `unknown`."""
    request_id: str | None
    problems: tuple[Problem, ...]


class Input(Value, Generic[M_co], frozen=True):
    """One input of a decision."""

    body: M_co
    now: datetime
    """Append time of the message; for a timer the later of its due time and the newest append time read."""
    cause: UUID
    """Identity of the input; the same on every redelivery."""
    changed: bool = False
    """A fact whose (source, id) was seen before with other content: book what is new and open an exception."""
    overdue: bool = False
    """A kept input whose deadline has come: this is its last chance."""
    late: bool = False
    """The bounded wait for older inputs ended before they were read: judge with an exception open."""

    def id(self, role: str, index: int = 0) -> UUID:
        """A business identity that a repeated decision finds again: uuid5(cause, role, index)."""
        return derived(self.cause, f"{role}:{index}")


class World(Protocol):
    """What `keys` named, as this batch has changed it so far."""

    def get(self, key: Key, absent: S) -> S:
        """The row's state, or `absent`. Raises KeyError for a key that wasn't named."""
        ...

    def version(self, key: Key) -> int:
        """How many events the row has folded; 0 where it doesn't exist."""
        ...

    def rows(self, of: Slice) -> Sequence[Any]:
        """The slice's states, by rank."""
        ...


class Wake(Value, frozen=True):
    """Set the timer `name` of a row to `due`, replacing an earlier one; None cancels it.

    A timer due `given.now` runs after this commit: so one row speaks to another. Timers of equal due run by rank, then key.
    """

    key: Key
    name: str
    due: datetime | None
    rank: int = 50


class Keep(Value, frozen=True):
    """The row isn't known yet: try this input again when the row changes, and a last time (`overdue`) at `until`.

    An input that yields Keep yields nothing else.
    """

    key: Key
    until: datetime


class Event(Protocol):
    """A domain event: what happened to one row, in the past tense. A `Value`."""

    @property
    def key(self) -> Key: ...


Found = Mapping[Key, Any]
Yield = Event | Body | Form | Wake | Keep


class Kind(Value, Generic[S], frozen=True, gc=True):
    """One kind of row: its state, its events, how it is stored.

    Stored as a JSON document, or in typed columns (one for each field of the state) where `typed` is set and a migration
    makes the table. A document leaves out what has its default, and so does a stored event: the default of a field never changes
    once rows are kept. A row with an owner can be read as part of a slice.
    """

    name: str
    state: type[S]
    """A `Value`."""
    initial: Callable[[str], S]
    """The state of a row nothing has happened to yet, from its id."""
    evolve: Callable[[S, Any], S | None]
    """Folds one event; never raises, never judges. None ends the row: it is deleted."""
    events: tuple[type, ...]
    typed: bool = False
    owner: Callable[[S], str | None] | None = None
    """Id of the row this one belongs to (the slice's owner); None where it belongs to none now."""
    rank: Callable[[S], str] | None = None
    """Order within the owner: compared as bytes, lowest first."""
    told: Told | None = None
    """Fields of the state that its row's id, owner and rank tell: its document doesn't repeat them."""
    named: Told | None = None
    """Fields of the events that the row's id and the time of the input tell, for those that begin with them: not repeated either."""


class View(Protocol):
    """A service's in-memory picture of its neighbours: fed from whole state topics, plus the service's own overlay."""

    def apply(self, body: Body) -> None:
        """A newer document of a state or reference topic."""
        ...

    def forget(self, topic: Topic, key: str) -> None:
        """A document was deleted."""
        ...

    def fold(self, event: Event) -> None:
        """One of the service's own events, as soon as it is folded; of a service that names an overlay."""
        ...

    def commit(self) -> None:
        """What was folded since the last commit or rollback is durable."""
        ...

    def rollback(self) -> None:
        """What was folded since the last commit or rollback never happened."""
        ...

    def clear(self) -> None:
        """The overlay is made anew: rows that are still ours are restored next."""
        ...

    def restore(self, key: Key, state: Any) -> None:
        """Of other shards than before, and after a commit of unknown outcome: one row of a kind named in `Service.overlay`, as the
        store has it."""
        ...

    def dump(self) -> Iterator[bytes]:
        """What documents have made of it, in pieces of a few milliseconds' work each; between two of them it may change. A document
        that was applied before the first piece was asked for is in one of them, or what came of a later one. Nothing of the overlay."""
        ...

    def load(self, piece: bytes) -> None:
        """Adds a piece, to a view that had neither documents nor overlay. Raises ValueError, msgspec.MsgspecError, Undecodable."""
        ...

    def become(self, other: Any) -> None:
        """Holds what the other one holds, and nothing else."""
        ...


class State(Value, Generic[S], frozen=True, gc=True):
    """A state topic published from the rows of one kind."""

    topic: Topic
    kind: str
    render: Callable[[str, int, S], Body | Form | None]
    """(id, version, state) to the whole document; None where the row isn't published."""


def _finds_nothing(_: Any) -> tuple[Key, ...]:
    return ()


class Service(Value, Generic[V], frozen=True, gc=True):
    """The wiring of one service, as a literal table."""

    name: str
    reads: Mapping[Topic, tuple[type[Body | Form], ...]]
    """Inputs, as models or, of other services, as forms. Types not listed are skipped. Request topics also deliver `Unreadable`. A
    reference topic with no types is guarded: its broken documents become this service's dead letters, once for all who view it."""
    kinds: tuple[Kind[Any], ...]
    keys: Callable[[Any, Found], Need]
    """From a body (a message, Woken or Unreadable) and what `find` found."""
    decide: Callable[[World, Input[Any], V], Iterator[Yield]]
    view: Callable[[], V]
    views: tuple[Topic, ...] = ()
    """State and reference topics kept whole in memory. A reference topic may be an input too: the view has it first."""
    viewed: Mapping[Topic, type[Form]] = field(default_factory=dict)
    """Views of other services' documents that are read in a form."""
    find: Callable[[Any], tuple[Key, ...]] = _finds_nothing
    """Rows to read without lock before `keys`: only immutable ones (parcel to order)."""
    unhurried: frozenset[type] = frozenset()
    """What it reads and nobody waits for: such inputs may wait for a moment until others are decided with them."""
    states: tuple[State[Any], ...] = ()
    overlay: tuple[str, ...] = ()
    """Kinds whose stored rows the view gets, those of the shards its replica owns."""
    migrations: tuple[str, ...] = field(default=())
    """SQL texts run once, in order, after the kernel's own tables exist."""

    def reading(self, topic: Topic, name: str) -> type[Body | Form] | None:
        """As what this service reads the messages of a topic that are called so; None where it doesn't."""
        return _as_read(self.reads[topic]).get(name)

    def kind(self, name: str) -> Kind[Any]:
        for kind in self.kinds:
            if kind.name == name:
                return kind
        raise KeyError(f"{self.name} has no kind {name!r}")


@cache
def _as_read(types: tuple[type[Body | Form], ...]) -> Mapping[str, type[Body | Form]]:
    return {(each.contract if issubclass(each, Form) else each).__name__: each for each in types}
