"""One command-line option for each field of `Request`, so that a new field is on the command line by itself."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import typer
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from twinset.pipelines.options import Use, choices, fields_for, limits, option_of
from twinset.pipelines.request import Request

FINE = "Fine control"
"""Heading in `--help` of the options that few need."""
SHOWN_LIMIT = 1000
"""A larger greatest value is no help to anybody."""


def with_request(
    use: Use,
    arguments: tuple[str, ...] = (),
    defaults: dict[str, Any] | None = None,
    model: type[Request] = Request,
    only: tuple[str, ...] | None = None,
) -> Callable[[Any], Any]:
    """Gives a command a parameter for every field of a request in the place of its `**fields`.

    The command gets the values of all of them; `read_request` checks them.

    Args:
        use: which fields it takes.
        arguments: fields that are given without an option's name.
        defaults: of the command, where they are not the field's own.
        model: whose fields.
        only: these of them; all when None.
    """

    def decorate(command: Any) -> Any:
        own = inspect.signature(command, eval_str=True).parameters.values()
        fields = [
            _parameter(name, field, name in arguments, (defaults or {}).get(name, field.default))
            for name, field in fields_for(model, use)
            if only is None or name in only
        ]
        everything = [*fields, *(p.replace(kind=p.KEYWORD_ONLY) for p in own if p.kind is not p.VAR_KEYWORD)]
        command.__signature__ = inspect.Signature(sorted(everything, key=_is_option))
        command.__annotations__ = {p.name: p.annotation for p in everything}
        return command

    return decorate


def _is_option(parameter: inspect.Parameter) -> bool:
    return parameter.default is not inspect.Parameter.empty


def _parameter(name: str, field: FieldInfo, argument: bool, default: Any) -> inspect.Parameter:
    """What typer makes an option, or an argument, of."""
    kind, several = _plain(field.annotation)
    told = None if default in (None, (), PydanticUndefined) else default
    annotation = kind if told is not None or (default is PydanticUndefined or argument) else kind | None
    shape = typer.Argument if argument else typer.Option
    flags = (option_of(field).flag or f"--{name.replace('_', '-')}").split()
    if kind is bool:
        flags = [f"{flags[0]}/--no-{flags[0][2:]}"] if default else flags
    panel = None if argument or not option_of(field).advanced else FINE
    parameter: Any = shape(
        *([] if argument else flags), help=_help(field, several), metavar=_metavar(field), rich_help_panel=panel
    )
    empty = inspect.Parameter.empty
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[annotation, parameter],
        default=empty if default is PydanticUndefined or argument else told,
    )  # fmt: skip


def _plain(annotation: Any) -> tuple[Any, bool]:
    """The type that a command line reads, and whether the option is repeatable; pydantic checks the rest."""
    if get_origin(annotation) is tuple:
        return list[Path] if Path in get_args(annotation) else list[str], True
    kinds = [kind for kind in (bool, int, float, Path) if kind in (annotation, *get_args(annotation))]
    return (kinds[0] if kinds else str), False


def _help(field: FieldInfo, several: bool) -> str:
    """A field's description, with its range where it has one."""
    least, most = limits(field)
    ranged = least is not None and most is not None and most <= SHOWN_LIMIT
    span = f" [{least:g} to {most:g}]" if ranged else ""
    return f"{field.description}{' Repeatable.' if several else ''}{span}"


def _metavar(field: FieldInfo) -> str | None:
    return "|".join(choices(field.annotation)) or None
