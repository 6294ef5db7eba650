"""`replace` for frozen dataclasses with slots: as `dataclasses.replace`, at half its cost. Rows are folded by it, line by line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import replace
else:
    from dataclasses import fields
    from functools import cache

    def replace(value, /, **changes):
        """A copy with these fields changed. KeyError: it has no such field."""
        slots = _slots(type(value))
        copy = object.__new__(type(value))
        for get, put in slots.values():
            put(copy, get(value))
        for name, new in changes.items():
            slots[name][1](copy, new)
        return copy

    @cache
    def _slots(kind):
        """How each field is read and written."""
        return {field.name: (getattr(kind, field.name).__get__, getattr(kind, field.name).__set__) for field in fields(kind)}


__all__ = ["replace"]
