"""One command-line option for each field of a training's options, so that command line, recipe and Python agree."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from twinset.training.core.options import TrainOptions


def with_options(kind: type[TrainOptions]) -> Callable[[Any], Any]:
    """Gives a command a parameter for every field in place of `**given`, None where it is not given.

    Args:
        kind: whose fields; the help of each is its line in the docstring of the class that has it.
    """

    def decorate(command: Any) -> Any:
        parameters = inspect.signature(command, eval_str=True).parameters.values()
        own = [p.replace(kind=p.KEYWORD_ONLY) for p in parameters if p.kind is not p.VAR_KEYWORD]
        fields = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
            for name, annotation in _annotations(kind).items()
        ]
        command.__signature__ = inspect.Signature([*fields, *own])
        command.__annotations__ = {p.name: p.annotation for p in (*fields, *own)}
        return command

    return decorate


def _annotations(kind: type[TrainOptions]) -> dict[str, Any]:
    """Field → what typer makes an option of: a class's own fields first, those of every training after them."""
    said: dict[str, str] = {}
    for base in kind.__mro__:
        if issubclass(base, TrainOptions):
            said |= _described(inspect.getdoc(base) or "") | said
    fields = kind.model_fields
    found: dict[str, Any] = {}
    for name in sorted(fields, key=lambda each: each in TrainOptions.model_fields):
        field = fields[name]
        default = "" if field.default is None or field.is_required() else f" [default: {field.default}]"
        found[name] = Annotated[_plain(field.annotation) | None, typer.Option(help=said[name] + default)]
    return found


def _plain(annotation: Any) -> Any:
    """The type that a command line reads: pydantic checks the rest."""
    kinds = [kind for kind in (bool, int, float, Path) if kind in (annotation, *get_args(annotation))]
    return kinds[0] if kinds else str


def _described(docstring: str) -> dict[str, str]:
    """Attribute → its description, from a Google-style docstring."""
    entries = re.split(r"\n    (?=\w+: )", docstring.partition("Attributes:\n")[2].rstrip())
    pairs = (entry.strip().partition(": ") for entry in entries)
    return {name: " ".join(text.split()) for name, _, text in pairs}
