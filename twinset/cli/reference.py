"""The command reference of the documentation, made from the commands themselves.

    python -m twinset.cli.reference

writes `docs/cli.md` anew; a test tells when that is due.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from twinset.cli import app

FILE = Path(__file__).resolve().parents[2] / "docs" / "cli.md"
INTRODUCTION = """\
# Commands

Made from the commands by `python -m twinset.cli.reference`. Exit codes: 0 done; 2 a mistake that you can fix, one
line says how; 1 a fault of the program. Commands that report take `--json`; long ones show progress and can be resumed.
"""


def reference() -> str:
    """All commands in Markdown."""
    return "\n".join([INTRODUCTION, *_described(typer.main.get_command(app), "twinset")]).rstrip() + "\n"


def _described(command: Any, name: str) -> Iterator[str]:
    """A command with its arguments and options, and the commands below it."""
    if name != "twinset":
        yield f"## `{name}`\n"
        yield inspect.cleandoc(command.help or "").split("\f")[0] + "\n"
        yield from _parameters(command)
    for child, below in getattr(command, "commands", {}).items():
        yield from _described(below, f"{name} {child}")


def _parameters(command: Any) -> Iterator[str]:
    rows = [_row(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)]
    if rows:
        yield "| option | default | |\n| --- | --- | --- |\n" + "\n".join(rows) + "\n"


def _row(parameter: Any) -> str:
    flags = (
        [parameter.name] if parameter.param_type_name == "argument" else [*parameter.opts, *parameter.secondary_opts]
    )
    default = "needed" if parameter.required else _default(parameter.default)
    text = " ".join(str(getattr(parameter, "help", "") or "").split()).replace("|", "\\|")
    return f"| {', '.join(f'`{flag}`' for flag in flags)} | {default} | {text} |"


def _default(value: Any) -> str:
    absent = value is None or value is False or callable(value) or (isinstance(value, list | tuple) and not value)
    return "" if absent or str(value).startswith("Sentinel") else f"`{value}`"


def main() -> None:
    """Write the file."""
    FILE.write_text(reference(), encoding="utf-8")


if __name__ == "__main__":
    main()
