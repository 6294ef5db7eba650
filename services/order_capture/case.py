"""One order under decision, and how its channel is answered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Literal

from schemas.channel import AnsweredLine, ChannelRequest, Problem, RequestAnswered
from schemas.orders import LineQuantity, MoneyExceptionOpened
from services.order_capture.content import PlaceOrder, in_order, unknown_in
from services.order_capture.events import AnswerKept
from services.order_capture.projection import Catalogue
from services.order_capture.state import MOST_REMEMBERED_BYTES, Asked, Order
from shared.kernel.model import Input, Key, World, Yield
from shared.value import Value

MOST_PROBLEMS = 100
"""Problems one answer lists."""
AnswerOutcome = Literal["accepted", "held", "declined", "conflict"]
MoneyProblem = Literal["payment_declined", "capture_refused", "refund_exceeds_captured", "unknown_payment", "amount_differs"]


class Case(Value, frozen=True):
    """What deciding about one order needs. `order` is read anew each time, so it shows what was yielded before."""

    world: World
    key: Key
    given: Input[object]
    view: Catalogue

    @property
    def order(self) -> Order:
        found: Order | None = self.world.get(self.key, None)
        return found if found is not None else Order(self.key.id)

    @property
    def order_id(self) -> str:
        return self.key.id

    @property
    def now(self) -> datetime:
        return self.given.now


def asked_by(request: ChannelRequest | PlaceOrder) -> Asked:
    unknown = tuple(name.replace("\x00", "")[:500] for name in unknown_in(request))
    return Asked(request.request_id, type(request).__name__, digest_of(request), unknown)


def digest_of(request: ChannelRequest | PlaceOrder) -> str:
    """Equal for requests of the same content, whoever asks, why, and under which request id."""
    return sha256(type(request).__name__.encode() + b":" + in_order(request)).hexdigest()[:32]


def answer(
    case: Case,
    asked: Asked,
    outcome: AnswerOutcome,
    problems: Sequence[Problem] = (),
    lines: tuple[AnsweredLine, ...] = (),
) -> Iterator[Yield]:
    """Answer a request, and keep the answer for its repeats while there is room."""
    said = RequestAnswered(
        order_id=case.order_id,
        request_id=asked.request_id,
        request=asked.request,
        outcome=outcome,
        problems=_at_most(problems),
        lines=lines,
        unknown_fields=asked.unknown_fields,
    )
    size_bytes = len(said.model_dump_json())
    if sum(answered.size_bytes for answered in case.order.answers) + size_bytes <= MOST_REMEMBERED_BYTES:
        yield AnswerKept(case.order_id, asked.request_id, asked.digest, said, size_bytes)
    yield said


def decline(case: Case, asked: Asked, code: str, message: str, remedy: str = "") -> Iterator[Yield]:
    """Answer a request with the one reason why it can't be done."""
    yield from answer(case, asked, "declined", (Problem(code=code, message=message, remedy=remedy),))


def money_exception(case: Case, kind: MoneyProblem, detail: str, action: str) -> MoneyExceptionOpened:
    identity = case.given.id(f"exception:{kind}")
    return MoneyExceptionOpened(
        order_id=case.order_id,
        exception_id=f"{case.order_id}:{kind}:{identity}",
        kind=kind,
        detail=detail,
        action=action,
    )


def line_quantities(units: Mapping[str, int]) -> tuple[LineQuantity, ...]:
    return tuple(LineQuantity(line_id=name, quantity=count) for name, count in units.items() if count > 0)


def _at_most(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    if len(problems) <= MOST_PROBLEMS:
        return tuple(problems)
    more = Problem(code="more", message=f"There are {len(problems) - MOST_PROBLEMS} more problems.")
    return (*problems[:MOST_PROBLEMS], more)
