"""docs/reliability.md names only tests that there are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAMED = re.compile(r"`(tests/\w+/\w+\.py)::((?:\w+::)?\w+)`")


def written_in(file: str) -> set[str]:
    """Test functions of a file, those of classes as `Class::name`."""
    found: set[str] = set()
    for node in ast.parse((ROOT / file).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{child.name}" for child in node.body if isinstance(child, ast.FunctionDef)}
    return found


def test_every_test_of_the_page_exists() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    named = NAMED.findall(page)
    assert len(named) == page.count("`tests/") > 80, "a name of another form would not be looked at"
    files = {file for file, _ in named}
    known = {f"{file}::{name}" for file in files if (ROOT / file).is_file() for name in written_in(file)}
    assert {f"{file}::{name}" for file, name in named} - known == set()


def test_every_row_of_the_page_names_one() -> None:
    rows = [line for line in (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8").splitlines() if "|" in line]
    told = [row for row in rows if not row.startswith("| ---") and not row.endswith("| shown by |")]
    assert len(told) > 60 and [row for row in told if not NAMED.search(row)] == []
