"""Options of a checked object as options of a command, so that command line, recipe and Python agree."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from twinset.errors import InputError
from twinset.training.core.options import Options, checked


@dataclass(frozen=True)
class CommandOption:
    """One field of an options class as a command line has it.

    Attributes:
        name: of the field; the option is `--` and the name with hyphens.
        kind: bool, int, float, Path or str; pydantic checks the rest.
        required: whether it has no default.
        help: its line in the docstring of the class that has it, and its default.
    """

    name: str
    kind: type
    required: bool
    help: str


def command_options(options: type[BaseModel]) -> list[CommandOption]:
    """A class's options for a command, its own first, those that it shares with others after them."""
    described: dict[str, str] = {}
    bases = [base for base in options.__mro__ if issubclass(base, BaseModel) and base is not BaseModel]
    for base in reversed(bases):
        described |= _described(inspect.getdoc(base) or "")
    found = []
    for name in sorted(options.model_fields, key=lambda name: sum(name in base.model_fields for base in bases)):
        field = options.model_fields[name]
        default = _shown_default(options, name)
        kind = _plain(field.annotation)
        found.append(CommandOption(name, kind, field.is_required(), described[name] + default))
    return found


def _shown_default(options: type[BaseModel], name: str) -> str:
    """E.g. " [default: 0.0002; studio: 0.001]", where the bundled model has its own."""
    field, own = options.model_fields[name], getattr(options, "of_studio", {})
    if field.is_required() or (field.default in (None, "") and name not in own):
        return ""
    bundled = f"; studio: {own[name]}" if name in own else ""
    return f" [default: {field.default}{bundled}]"


def options_from_command_line(
    kind: type[Options], description: str | None, arguments: Sequence[str] | None = None
) -> Options:
    """What a training is given as a command, `python -m twinset.training.studio.vae --data …`.

    A mistake ends the program with exit code 2 and one line that says what to do.

    Args:
        kind: of options.
        description: of the command, for `--help`.
        arguments: of the command; the process's own when absent.
    """
    parser = argparse.ArgumentParser(
        description=description, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for option in command_options(kind):
        flag = "--" + option.name.replace("_", "-")
        text: dict[str, Any] = {"help": option.help.replace("%", "%%"), "default": argparse.SUPPRESS}
        if option.kind is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, **text)
        else:
            parser.add_argument(flag, required=option.required, **text)
    fields = vars(parser.parse_args(arguments))
    try:
        return checked(kind, fields, parser.prog)
    except InputError as error:
        parser.error(str(error))


def _plain(annotation: Any) -> type:
    """The type that a command line reads."""
    kinds = [kind for kind in (bool, int, float, Path) if kind in (annotation, *get_args(annotation))]
    return kinds[0] if kinds else str


def _described(docstring: str) -> dict[str, str]:
    """Attribute → its description, from a Google-style docstring."""
    entries = re.split(r"\n    (?=\w+: )", docstring.partition("Attributes:\n")[2].rstrip())
    pairs = (entry.strip().partition(": ") for entry in entries)
    return {name: " ".join(text.split()) for name, _, text in pairs}
