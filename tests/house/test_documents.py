"""The documents hold what the program does: every command shown is one, cheap ones run, generated pages are current."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from twinset.cli import app
from twinset.cli.reference import FILE, reference

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "comfyui" / "README.md", *(ROOT / "docs").glob("*.md")]
)
BLOCK = re.compile(r"```(?:bash|sh)\n(.*?)```", re.S)
UsageError: Any = typer.BadParameter.__mro__[1]
"""Of the click that typer carries."""
CHEAP = {"brief", "poses"}
"""Commands that answer without a model."""


def commands() -> list[tuple[str, list[str]]]:
    """Every `twinset` command of the documents' shell blocks: page, and its words."""
    found = []
    for page in PAGES:
        for block in BLOCK.findall(page.read_text(encoding="utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words and Path(words[0]).name == "twinset":
                    found.append((page.name, until_shell(words[1:])))
    return found


def until_shell(words: list[str]) -> list[str]:
    """A command's own words: what the shell does with its output is not checked."""
    ends = [index for index, word in enumerate(words) if word in (">", "|", "&&", ";")]
    return words[: ends[0]] if ends else words


def parsed(words: list[str]) -> None:
    """Parse a command's words as the command line does, and run nothing.

    Raises:
        UsageError: there is no such command or option, or something that is needed is missing.
    """
    command: Any = typer.main.get_command(app)
    context = command.context_class(command, info_name="twinset")
    while hasattr(command, "commands"):
        command.parse_args(context, [*words])  # a group may put its usual command in front
        name, command, words = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.context_class(command, info_name=name, parent=context)
    command.make_context(context.info_name, [*words], parent=context.parent)


def test_commands_in_the_documents_exist() -> None:
    shown = commands()
    assert len(shown) > 20
    for page, words in shown:
        try:
            parsed(words)
        except (UsageError, SystemExit) as error:
            pytest.fail(f"{page}: twinset {shlex.join(words)}: {error}")


def test_a_wrong_command_is_found() -> None:
    with pytest.raises((UsageError, SystemExit)):
        parsed(["generate", "--prompt", "a", "--no-such-option"])
    with pytest.raises((UsageError, SystemExit)):
        parsed(["generat"])


def test_cheap_commands_run() -> None:
    cheap = [words for _, words in commands() if words[0] in CHEAP]
    assert all(CliRunner().invoke(app, words).exit_code == 0 for words in cheap)


def test_the_command_reference_is_current() -> None:
    assert FILE.read_text(encoding="utf-8") == reference(), "run: python -m twinset.cli.reference"


def test_links_between_the_documents_lead_somewhere() -> None:
    broken = []
    for page in PAGES:
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
        for target in re.findall(r"\]\(([^)#\s]+)", text):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.name}: {target}")
    assert broken == []


def test_the_readme_is_a_page() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150
