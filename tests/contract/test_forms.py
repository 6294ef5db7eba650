"""A form is its contract: field by field, and whichever of the two reads what the other wrote."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import NODEFAULT, Struct
from msgspec.structs import FieldInfo, fields
from pydantic.fields import FieldInfo as ModelField

from schemas import forms, topics
from schemas.forms import Form
from schemas.topics import TOPIC_OF, topic_of
from services.fulfilment_tracking.document import OrderStatus
from services.inventory import document as inventory
from services.sourcing.decision import OrderSourced
from shared.kernel.codec import NUL, Undecodable, body_of, form_of, value_of

EXAMPLES = Path(topics.__file__).parent / "examples"
LISTED = (form for form in vars(forms).values() if isinstance(form, type))
FORMS: list[type[Form]] = [OrderSourced, *(form for form in LISTED if issubclass(form, Form) and form is not Form)]
WHOLE = [form for form in FORMS if form is not forms.OrderSourced]
"""What a service only reads may leave fields out."""
MESSAGES = [form for form in FORMS if form.contract in TOPIC_OF]
READ = [form for form in MESSAGES if form not in (forms.FulfilOrder, forms.AmendOrder, forms.FulfilmentInstructed)]


def named(form: type[Struct]) -> str:
    return form.__name__


@pytest.mark.parametrize("form", FORMS, ids=named)
def test_it_has_the_fields_of_its_contract_in_the_same_order(form: type[Form]) -> None:
    contract = list(form.contract.model_fields)
    own = [field.name for field in fields(form)]
    assert form.__name__ == form.contract.__name__
    assert own == (contract if form in WHOLE else [name for name in contract if name in own])


@pytest.mark.parametrize("form", FORMS, ids=named)
def test_its_fields_have_the_defaults_of_the_contract(form: type[Form]) -> None:
    for field in fields(form):
        assert default_of(field) == contracts_default(form.contract.model_fields[field.name]), field.name


def default_of(field: FieldInfo) -> object:
    if field.required:
        return ...
    default = field.default if field.default is not NODEFAULT else field.default_factory()
    return value_of(default) if isinstance(default, Form) else default


def contracts_default(field: ModelField) -> object:
    if field.is_required():
        return ...
    default = field.get_default(call_default_factory=True, validated_data={})
    return b"{}" if hasattr(default, "model_fields_set") and default == type(default)() else default


@pytest.mark.parametrize("form", MESSAGES, ids=named)
def test_the_example_is_read_and_written_as_by_the_contract(form: type[Form]) -> None:
    example = (EXAMPLES / f"{form.__name__}.json").read_bytes()
    model, read = body_of(form.contract, example), form_of(form, value_of(body_of(form.contract, example)))
    if form in WHOLE:
        assert body_of(form.contract, value_of(read)) == model
    assert form_of(form, value_of(read)) == read


@pytest.mark.parametrize("form", MESSAGES, ids=named)
def test_it_stands_in_the_topic_of_its_contract(form: type[Form]) -> None:
    example = body_of(form.contract, (EXAMPLES / f"{form.__name__}.json").read_bytes())
    assert topic_of(form_of(form, value_of(example))) is topic_of(example) is TOPIC_OF[form.contract]


def test_a_part_of_a_message_stands_in_no_topic() -> None:
    assert topic_of(forms.Contact()) is None and topic_of("") is None


@pytest.mark.parametrize("form", READ, ids=named)
def test_what_its_contract_refuses_is_refused(form: type[Form]) -> None:
    example = (EXAMPLES / f"{form.__name__}.json").read_bytes()
    misnamed, deep = example.replace(first(form), b'"misnamed"'), b'{"more": ' + 100_000 * b"["
    for broken in (b"", b"{}", b"[]", b"\xff", example.rstrip()[:-1], misnamed, deep, with_nul(example, form)):
        with pytest.raises(Undecodable) as refused:
            form_of(form, broken)
        with pytest.raises(Undecodable) as by_contract:
            body_of(form.contract, broken)
        assert refused.value.problems == by_contract.value.problems


def first(form: type[Form]) -> bytes:
    """The name of its first field, which no form can do without, and which is a text."""
    return b'"%b"' % fields(form)[0].name.encode()


def with_nul(example: bytes, form: type[Form]) -> bytes:
    begin = first(form) + b': "'
    assert begin in example
    return example.replace(begin, begin + NUL, 1)


def test_text_that_only_looks_like_nul_is_text() -> None:
    example = (EXAMPLES / "OrderAccepted.json").read_bytes().replace(b'"name":', b'"company": "\\\\u0000", "name":', 1)
    assert form_of(forms.OrderAccepted, example).order.ship_to.company == "\\u0000"


@pytest.mark.parametrize("document", [OrderStatus, inventory.Availability], ids=lambda document: document.contract.__name__)
def test_a_document_is_named_as_its_contract(document: type[Form]) -> None:
    assert document.__name__ == document.contract.__name__
    assert [field.name for field in fields(document)] == list(document.contract.model_fields)
