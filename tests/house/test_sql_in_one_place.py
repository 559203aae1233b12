"""SQL stands in `serving/repository/` alone; the rest of the house asks its methods."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.house.test_house import ROOT, comfyui_nodes, front_door, parse, room_sources

REPOSITORY = ROOT / "serving" / "repository"
SQL = re.compile(
    r"\s*(SELECT\s.*\sFROM\s|INSERT\s+(OR\s+\w+\s+)?INTO\s|REPLACE\s+INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s|WITH\s.*\sAS\s"
    r"|CREATE\s+(TABLE|INDEX|UNIQUE|VIEW|TRIGGER)|ALTER\s+TABLE\s|DROP\s+TABLE\s|PRAGMA\s|(BEGIN|COMMIT|ROLLBACK)\b)",
    re.DOTALL,
)


def sql_in(tree: ast.Module) -> list[str]:
    """Strings that begin as a statement does, each as `line: its first words`; and connections that are opened."""
    texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    found = [f"{node.lineno}: {str(node.value)[:40]}" for node in texts if SQL.match(str(node.value))]
    opened = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "sqlite3.connect"
    ]
    return found + [f"{node.lineno}: sqlite3.connect" for node in opened]


def test_no_sql_outside_the_repository() -> None:
    sources = [path for path in [*front_door(), *room_sources(), *comfyui_nodes()] if REPOSITORY not in path.parents]
    found = {str(path.relative_to(ROOT)): sql_in(parse(path)) for path in sources}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_sql_is_recognised() -> None:
    files = ("jobs.py", "uploads.py", "consents.py", "database.py")
    assert all(sql_in(parse(REPOSITORY / name)) for name in files)
    assert any("sqlite3.connect" in line for line in sql_in(parse(REPOSITORY / "database.py")))


@pytest.mark.parametrize(
    ("source", "is_sql"),
    [
        ("q('SELECT id FROM jobs')", True), ("q(f'UPDATE jobs SET {change}')", True), ("q('DELETE FROM jobs')", True),
        ("q('BEGIN IMMEDIATE')", True), ("ask('DELETE', '/v1/jobs')", False), ("say('BEGINNING')", False),
        ("'Select a pose from the gallery'", False),
    ],
)  # fmt: skip
def test_what_is_sql(source: str, is_sql: bool) -> None:
    assert bool(sql_in(ast.parse(source))) == is_sql


def test_the_rule_looks_at_the_service() -> None:
    assert {Path("serving/service.py"), Path("serving/queue.py")} <= {p.relative_to(ROOT) for p in room_sources()}
