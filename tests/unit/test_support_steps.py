"""What a scenario looks for at its end is found when it is there: a stuck order, a request without its one answer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from schemas import topics
from schemas.channel import CancelOrder, RequestAnswered
from schemas.status import OpenException, OrderStatus, Waiting
from tests.support.desk import Desk, Place
from tests.support.steps import is_stuck, oddly_answered

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
EXAMPLE = OrderStatus.model_validate_json((Path(topics.__file__).parent / "examples" / "OrderStatus.json").read_bytes())
DATED, UNDATED = Waiting(reason="location", until=NOW), Waiting(reason="location")


def order(status: str, *waiting: Waiting, exception: str = "") -> OrderStatus:
    told = [OpenException(exception_id="1", kind=exception, detail="", action="", opened_at=NOW)] if exception else []
    return OrderStatus.model_validate(EXAMPLE.model_dump() | {"status": status, "waiting": waiting, "exceptions": tuple(told)})


@pytest.mark.parametrize(
    ("found", "stuck"),
    [
        (order("completed"), False),
        (order("completed", DATED), True),
        (order("in_fulfilment", DATED), False),
        (order("in_fulfilment"), True),
        (order("in_fulfilment", UNDATED), True),
        (order("in_fulfilment", UNDATED, exception="late"), False),
        (order("in_fulfilment", UNDATED, exception="unasked"), True),
    ],
)
def test_an_order_ends_or_waits_until_a_date_or_for_a_person_who_was_told_of_just_that(found: OrderStatus, stuck: bool) -> None:
    assert is_stuck(found) == stuck


def asked(request: str = "r") -> CancelOrder:
    return CancelOrder(request_id=request, channel="web", channel_order_ref="1")


def answer(*, repeated: bool = False, outcome: str = "accepted") -> RequestAnswered:
    document = {"order_id": "web:1", "request_id": "r", "request": "CancelOrder", "outcome": outcome, "repeated": repeated}
    return RequestAnswered.model_validate(document)


def place(requests: list[CancelOrder], answers: list[RequestAnswered]) -> Place:
    """A place whose desk has said and seen these."""

    def seen(kind: type, where: Callable[[Any], bool]) -> list[Any]:
        return [one for one in answers if isinstance(one, kind) and where(one)]

    return Place(cast(Desk, SimpleNamespace(requests=requests, all=seen)), "web")


def test_a_request_is_answered_once_and_a_repeat_counts_for_nothing() -> None:
    assert oddly_answered(place([asked(), asked()], [answer(), answer(repeated=True)])) == []


def test_a_request_without_an_answer_is_named() -> None:
    assert oddly_answered(place([asked(), asked("other")], [answer()])) == ["('schemas.channel', 'web:1', 'other') has no answer"]


def test_a_second_answer_to_the_same_content_is_named() -> None:
    found = oddly_answered(place([asked()], [answer(), answer(outcome="declined")]))
    assert found == ["('schemas.channel', 'web:1', 'r'): 2 answers to 1 contents"]


def test_an_answer_nobody_asked_for_is_named() -> None:
    assert oddly_answered(place([], [answer()])) == ["('schemas.channel', 'web:1', 'r'): 1 answers to 0 contents"]
