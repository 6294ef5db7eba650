"""Words every message is made of: identifiers, quantities, money, instants, and the base classes of messages.

Identifiers match `[A-Za-z0-9._-]{1,64}`; `:`, `/` and `+` are separators that only composed identifiers use:

    order             <channel>:<channel's own reference>      web-fr:100234
    linked order      <order>+<n>                              web-fr:100234+1
    part              <order>/<n>                              web-fr:100234/1   (also the fulfilment order's id)
    reservation       <order>/<n>:<line>                       web-fr:100234/1:line-1
    inventory level   <sku>:<location>                         4006381333931:paris-01
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from functools import cache
from typing import Annotated, ClassVar, get_args

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

CODE = r"[A-Za-z0-9._-]{1,64}"
ORDER = rf"{CODE}:{CODE}(\+[0-9]{{1,3}})?"

REFERENCE = r"[A-Za-z0-9._:/+#-]{1,200}"

REQUEST = r"[A-Za-z0-9._:/+-]{1,128}"

GTIN = r"([0-9]{8}|[0-9]{12,14})"

_ORDER_ID = re.compile(ORDER, re.ASCII)
_REQUEST_ID = re.compile(REQUEST, re.ASCII)


def _no_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("contains the NUL character, which no database column can hold: remove it")
    return text


def _utc(instant: datetime) -> datetime:
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise ValueError("lies before the year 1 or after the year 9999 in UTC: correct it") from None


Text = Annotated[str, StringConstraints(max_length=500), AfterValidator(_no_nul)]
"""Free text of at most 500 characters, without NUL."""
LongText = Annotated[str, StringConstraints(max_length=4000), AfterValidator(_no_nul)]
"""Free text of at most 4,000 characters, without NUL."""
Code = Annotated[str, StringConstraints(pattern=rf"^{CODE}$")]
"""An identifier without separators, 1 to 64 characters."""
OrderId = Annotated[str, StringConstraints(pattern=rf"^{ORDER}$")]
PartId = Annotated[str, StringConstraints(pattern=rf"^{ORDER}/[0-9]{{1,6}}$")]
"""A part of an order: its reservation group, its command and its fulfilment order."""
Sku = Code
LocationId = Code
LineId = Code
RequestId = Annotated[str, StringConstraints(pattern=rf"^{REQUEST}$")]
"""The caller's own idempotency key of a request, at most 128 characters."""
Reference = Annotated[str, StringConstraints(pattern=rf"^{REFERENCE}$")]
"""The business reference of a fact (a till receipt line, a fulfilment order line), at most 200 characters."""
Gtin = Annotated[str, StringConstraints(pattern=rf"^{GTIN}$")]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
"""ISO 4217."""
Country = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
"""ISO 3166-1 alpha-2."""
Zone = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_+/-]{1,64}$")]
"""IANA time zone name."""

Instant = Annotated[AwareDatetime, AfterValidator(_utc)]
"""An instant; any offset is accepted, UTC is kept."""
Day = date
"""A local business day; the zone stands beside it."""
Quantity = Annotated[int, Field(ge=1, le=1_000_000_000)]
"""Units of the item's base unit (each, gram), at least one."""
Count = Annotated[int, Field(ge=0, le=1_000_000_000)]
"""Units of the item's base unit, may be zero."""
Delta = Annotated[int, Field(ge=-1_000_000_000, le=1_000_000_000)]
"""A change in units of the item's base unit."""
Amount = Annotated[int, Field(ge=0, le=1_000_000_000_000)]
"""Money in minor units (cents) of the currency beside it, not negative."""
Version = Annotated[int, Field(ge=0, le=9_000_000_000_000_000)]
Latitude = Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)]
Longitude = Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)]


class Data(BaseModel):
    """A frozen value inside a message. Readers ignore fields they don't know."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", use_attribute_docstrings=True)


class OpenData(BaseModel):
    """A frozen value inside a request; fields it doesn't know are kept aside and listed in the answer."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow", use_attribute_docstrings=True)


class Message(Data):
    """One message of one topic; its class name is its type on the wire (`nervure.<ClassName>`)."""


class Request(OpenData):
    """A message that asks for something and is answered exactly once."""

    is_request: ClassVar[bool] = True


def order_id_of(channel: str, channel_order_ref: str) -> str:
    return f"{channel}:{channel_order_ref}"


def is_order_id(text: str) -> bool:
    """Whether a Kafka key is an order's id, so that even an undecodable request can be answered."""
    return _ORDER_ID.fullmatch(text) is not None


def is_request_id(text: str) -> bool:
    """Whether an answer may name it."""
    return _REQUEST_ID.fullmatch(text) is not None


def part_id_of(order_id: str, part: int) -> str:
    return f"{order_id}/{part}"


def order_of_part(part_id: str) -> str:
    return part_id.rpartition("/")[0]


def reservation_id_of(part_id: str, line_id: str) -> str:
    return f"{part_id}:{line_id}"


def level_id_of(sku: str, location: str) -> str:
    return f"{sku}:{location}"


def unknown_fields(model: BaseModel) -> tuple[str, ...]:
    """Paths of the fields a request carried that no contract knows, such as `lines.0.deliver_byy`; at most 50."""
    found = [*model.__pydantic_extra__] if model.__pydantic_extra__ else []
    for name in _nesting_fields(type(model)):
        value = getattr(model, name)
        if isinstance(value, tuple) and value:
            found += [f"{name}.{index}.{field}" for index, entry in enumerate(value) for field in unknown_fields(entry)]
        elif value:
            found += [f"{name}.{field}" for field in unknown_fields(value)]
    return tuple(found[:50]) if found else ()


@cache
def _nesting_fields(kind: type[BaseModel]) -> tuple[str, ...]:
    """The fields that hold a model or a tuple of models."""
    return tuple(name for name, field in kind.model_fields.items() if _names_a_model(field.annotation))


def _names_a_model(annotation: object) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return True
    return any(_names_a_model(part) for part in get_args(annotation))
