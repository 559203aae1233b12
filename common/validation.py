"""Pydantic's errors in one line: which field, its value, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from reprlib import Repr
from typing import Any, Protocol

MOST_NAME = 100
"""Letters of a field's name, which may be a key that somebody made up."""
_SHORT = Repr()  # aliases of YAML make small files that name billions of values
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 2, 200, 200


class Invalid(Protocol):
    """pydantic's `ValidationError`, or FastAPI's of a request."""

    def errors(self) -> Sequence[Any]:
        """What is wrong: dictionaries with `loc`, `msg`, `type` and `input`."""
        ...


def field_name(error: Invalid, outer: int = 0) -> str:
    """The first wrong field, as in `garments.0.kind`; empty where it is the whole.

    Args:
        error: what pydantic raised.
        outer: how many levels around the fields are left out.
    """
    name = ".".join(str(part) for part in error.errors()[0]["loc"][outer:])
    return " ".join(name.split())[:MOST_NAME]


def one_line(error: Invalid, whole: str, *, quote: bool = False, outer: int = 0, remedy: str = "give it") -> str:
    """The first thing that is wrong, such as `steps = 0: Input should be greater than 0`.

    Args:
        error: what pydantic raised.
        whole: what to call it where no single field is wrong, such as "request".
        quote: whether the field's value is quoted, shortened.
        outer: see `field_name`.
        remedy: of a missing field; `{name}` in it stands for the field.
    """
    first, name = error.errors()[0], field_name(error, outer)
    if first["type"] == "missing":
        return f"{name or whole} is missing; {remedy.format(name=name or whole)}"
    value = f" = {_SHORT.repr(first['input'])}" if quote and name else ""
    return f"{name or whole}{value}: {' '.join(first['msg'].removeprefix('Value error, ').split())}"
