"""How the command line says what went wrong: the docstring of an error's class is its message and its remedy."""

from __future__ import annotations

import inspect
from typing import TypeGuard

from pydantic import ValidationError

from shared.settings import Settings


class Explained(Exception):
    """Something the person at the command line can mend."""

    def __init__(self, **facts: object) -> None:
        super().__init__(_docstring(self).format(**facts))
        self.facts = facts


def explain(error: BaseException) -> str:
    """What an error says to a person: message and remedy, then the particulars."""
    said, particulars = _docstring(error), str(error)
    if is_about_settings(error):
        return settings_problems(error)
    if type(error).__module__ == "builtins" or not said:
        return f"{type(error).__name__}: {particulars}"
    if hasattr(error, "facts"):
        return particulars
    return f"{said} ({particulars})" if particulars and particulars != said else said


def is_about_settings(error: BaseException) -> TypeGuard[ValidationError]:
    """Whether what is wrong was set by the operator; any other value that doesn't validate is our own affair."""
    return isinstance(error, ValidationError) and error.title == Settings.__name__


def settings_problems(error: ValidationError) -> str:
    """Each variable that is wrong, and why."""
    problems = []
    for entry in error.errors(include_url=False, include_input=False):
        name = "_".join(str(part) for part in entry["loc"]).upper()
        problems.append(f"{'NERVURE_' + name + ': ' if name else ''}{entry['msg']}")
    return "The settings are wrong. Remedy: correct " + "; ".join(problems)


def _docstring(error: BaseException) -> str:
    return " ".join(inspect.cleandoc(type(error).__doc__ or "").split())
