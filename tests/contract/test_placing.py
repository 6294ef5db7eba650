"""PlaceOrder's form takes what its contract takes as it stands, and nothing else; whatever else comes, its contract reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import fields

from schemas import channel, placing, topics
from services.order_capture.case import digest_of
from shared.kernel.codec import Undecodable, asked_of, body_of, value_of
from tests.contract.test_forms import contracts_default, default_of

EXAMPLE = (Path(topics.__file__).parent / "examples" / "PlaceOrder.json").read_text()
LISTED = (form for form in vars(placing).values() if isinstance(form, type))
FORMS = [form for form in LISTED if issubclass(form, placing.Asked) and form is not placing.Asked]
Change = Callable[[dict[str, Any]], object]


def read(change: Change) -> placing.PlaceOrder | topics.Body:
    return asked_of(placing.PlaceOrder, changed(change))


def changed(change: Change) -> bytes:
    document = json.loads(EXAMPLE)
    change(document)
    return json.dumps(document).encode()


def digest(data: bytes) -> tuple[str, str]:
    """By the form, where it takes it, and by the contract."""
    form, model = asked_of(placing.PlaceOrder, data), body_of(channel.PlaceOrder, data)
    assert isinstance(form, placing.PlaceOrder | channel.PlaceOrder)
    assert isinstance(model, channel.PlaceOrder)
    return digest_of(form), digest_of(model)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_it_has_the_fields_and_defaults_of_its_contract(form: type[placing.Asked]) -> None:
    assert form.__name__ == form.contract.__name__
    assert [field.name for field in fields(form)] == list(form.contract.model_fields)
    for field in fields(form):
        assert default_of(field) == contracts_default(form.contract.model_fields[field.name]), field.name


def test_the_example_is_read_as_by_the_contract() -> None:
    form = asked_of(placing.PlaceOrder, EXAMPLE.encode())
    assert isinstance(form, placing.PlaceOrder)
    assert body_of(channel.PlaceOrder, value_of(form)) == body_of(channel.PlaceOrder, EXAMPLE.encode())


SAME: list[Change] = [
    lambda said: said["order"].update(currency="EUR"),
    lambda said: said["order"].update(delivery={}),
    lambda said: said["order"].update(delivery={"method": "home", "location": None}),
    lambda said: said["order"].update(kind="consumer", priority=5, taxes_included=True, note=""),
    lambda said: said["order"]["payments"][0].update(method="card"),
    lambda said: said["order"]["lines"][0].update(kind="goods", discounts=[], substitution_allowed=False),
    lambda said: said.update(actor="somebody", reason="again", request_id="another"),
    lambda said: said.update(placed_at=said["placed_at"].replace("Z", "+00:00")),
    lambda said: said.update(placed_at=said["placed_at"].replace("T09", "T11").replace("Z", "+02:00")),
]


@pytest.mark.parametrize("change", SAME)
def test_what_says_the_same_has_the_same_digest(change: Change) -> None:
    as_it_is = digest(EXAMPLE.encode())
    assert digest(changed(change)) == as_it_is
    assert as_it_is[0] == as_it_is[1]


def test_nobody_named_is_nobody() -> None:
    nobody, empty = changed(lambda said: said["order"].pop("sold_to")), changed(lambda said: said["order"].update(sold_to={}))
    assert digest(nobody) == digest(empty)


OTHERWISE: list[Change] = [
    lambda said: said["order"]["lines"][0].update(deliver_byy="2026-03-14"),
    lambda said: said.update(placed_at="2026-03-02T09:14:03.1234567Z"),
    lambda said: said.update(placed_at="2026-03-02T11:14:03+02:00"),
    lambda said: said["order"].update(cancel_after="2026-03-31T22:59:59-01:00"),
    lambda said: said["order"]["delivery"].update(earliest="2026-03-31T22:59:59-01:00"),
    lambda said: said["order"]["payments"][0].update(valid_until="2026-03-31T22:59:59-01:00"),
]


@pytest.mark.parametrize("change", OTHERWISE)
def test_its_contract_reads_what_it_would_read_in_another_way(change: Change) -> None:
    assert isinstance(read(change), channel.PlaceOrder)
    first, second = digest(changed(change))
    assert first == second


REFUSED: list[Change] = [
    lambda said: said["order"].update(lines=[]),
    lambda said: said["order"]["lines"].append(said["order"]["lines"][0]),
    lambda said: said["order"]["lines"][0].pop("sku"),
    lambda said: said["order"]["lines"][1].update(gtin="2000000100029\n"),
    lambda said: said["order"]["lines"][0].update(quantity=0),
    lambda said: said["order"]["lines"][0].update(quantity="2"),
    lambda said: said["order"]["ship_to"].update(country="fr"),
    lambda said: said["order"]["ship_to"].update(latitude=91),
    lambda said: said["order"]["ship_to"].update(street=["a"] * 6),
    lambda said: said["order"].update(note="\x00"),
    lambda said: said.update(placed_at="2026-03-02T09:14:03"),
    lambda said: said.update(channel="web fr"),
]


@pytest.mark.parametrize("change", REFUSED)
def test_what_its_contract_refuses_is_refused_in_the_same_words(change: Change) -> None:
    with pytest.raises(Undecodable) as refused:
        read(change)
    with pytest.raises(Undecodable) as by_contract:
        body_of(channel.PlaceOrder, changed(change))
    assert refused.value.problems == by_contract.value.problems
