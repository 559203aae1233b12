"""One command-line option for each field of a training's options, so that command line, recipe and Python agree."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from twinset.training.core.command_line import command_options
from twinset.training.core.options import RecipeOptions


def with_options(kind: type[RecipeOptions]) -> Callable[[Any], Any]:
    """Gives a command a parameter for every field in place of `**given`, None where it is not given.

    Args:
        kind: whose fields; the help of each is its line in the docstring of the class that has it.
    """

    def decorate(command: Any) -> Any:
        parameters = inspect.signature(command, eval_str=True).parameters.values()
        own = [p.replace(kind=p.KEYWORD_ONLY) for p in parameters if p.kind is not p.VAR_KEYWORD]
        fields = [
            inspect.Parameter(
                option.name, inspect.Parameter.KEYWORD_ONLY, default=None,
                annotation=Annotated[option.kind | None, typer.Option(help=option.help)],
            )
            for option in command_options(kind)
        ]  # fmt: skip
        command.__signature__ = inspect.Signature([*fields, *own])
        command.__annotations__ = {p.name: p.annotation for p in (*fields, *own)}
        return command

    return decorate
