"""Environment variables: read in `common/settings.py` alone, and each of them documented."""

from __future__ import annotations

import ast
import dataclasses
import re
from pathlib import Path

import pytest

from tests.house.test_house import ROOT, comfyui_nodes, front_door, parse, room_sources
from twinset.common.settings import (
    CLIENT_VARIABLES,
    VARIABLES,
    Settings,
    set_consent_folder,
    settings,
    settings_table,
)

NAME = re.compile(r"TWINSET_[A-Z0-9_]*")
HOME = ROOT / "common" / "settings.py"
PAGE = ROOT / "docs" / "configuration.md"
EXAMPLES = sorted(path for path in (ROOT / "examples").rglob("*") if path.suffix in (".py", ".sh"))


def keys_read(tree: ast.Module) -> list[ast.expr]:
    """What the environment is asked for: of `os.environ[…]`, `os.environ.get(…)`, `os.getenv(…)` and their kin."""
    keys: list[ast.expr] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
            keys.append(node.slice)
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith(("os.environ.", "os.getenv")):
            keys.extend(node.args[:1])
    return keys


def own_reads(tree: ast.Module) -> list[str]:
    """Lines that ask for a `TWINSET_` variable, or for one whose name is not written there."""
    named = {id(node): node for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    constants = [node for node in named.values() if isinstance(node.value, str) and NAME.fullmatch(node.value)]
    computed = [key for key in keys_read(tree) if not isinstance(key, ast.Constant)]
    return [f"{node.lineno}: {ast.unparse(node)}" for node in (*constants, *computed)]


def test_no_other_module_reads_them() -> None:
    sources = [path for path in (*front_door(), *room_sources()) if path != HOME]
    found = {str(path.relative_to(ROOT)): own_reads(parse(path)) for path in sources}
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    ("source", "reads"),
    [
        ("os.environ['TWINSET_X']", True), ("os.environ.get('TWINSET_' + x)", True), ("os.getenv(NAME)", True),
        ("NAME = 'TWINSET_X'", True), ("raise InputError('set TWINSET_X')", False), ("os.getenv('HOME')", False),
    ],
)  # fmt: skip
def test_reads_are_recognised(source: str, reads: bool) -> None:
    assert bool(own_reads(ast.parse(source))) == reads


def test_clients_read_what_is_documented() -> None:
    """ComfyUI's nodes and the examples run without Twinset, and ask the environment themselves."""
    trees = [parse(path) for path in (*comfyui_nodes(), *EXAMPLES) if path.suffix == ".py"]
    keys = [key.value for tree in trees for key in keys_read(tree) if isinstance(key, ast.Constant)]
    shell = [name for path in EXAMPLES if path.suffix == ".sh" for name in NAME.findall(path.read_text("utf-8"))]
    assert {str(key) for key in (*keys, *shell)} == {variable.name for variable in CLIENT_VARIABLES}


def test_each_has_a_field_a_name_and_a_meaning() -> None:
    every = [*VARIABLES.values(), *CLIENT_VARIABLES]
    assert set(VARIABLES) == {field.name for field in dataclasses.fields(Settings)}
    assert all(variable.name == f"TWINSET_{field.upper()}" for field, variable in VARIABLES.items())
    assert len({variable.name for variable in every}) == len(every)
    assert all(variable.default and variable.meaning.endswith(".") for variable in every)


def test_the_page_is_up_to_date() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert settings_table() in page and settings_table(CLIENT_VARIABLES) in page


def test_every_document_names_variables_that_there_are() -> None:
    known = {variable.name for variable in (*VARIABLES.values(), *CLIENT_VARIABLES)}
    for document in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), ROOT / "comfyui" / "README.md"):
        assert set(NAME.findall(document.read_text(encoding="utf-8"))) <= known, document


def test_they_are_read_when_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for field, variable in VARIABLES.items():
        monkeypatch.setenv(variable.name, f"/some/{field}")
        assert str(getattr(settings(), field)) == f"/some/{field}"
    assert "mark_key" not in repr(settings()) and "cache_key" not in repr(settings())
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings().producer = "x"  # type: ignore[misc]


def test_without_them_there_are_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in VARIABLES.values():
        monkeypatch.setenv(variable.name, "")  # empty is as not set
    monkeypatch.setenv("TWINSET_DATA", str(tmp_path))
    found = settings()
    assert found.cache.name == "twinset" and found.consent == tmp_path / "consent" and found.producer == "Twinset"
    assert {found.cache_key, found.mark_key, found.c2pa_cert, found.c2pa_key, found.c2pa_tsa, found.facefusion} == {
        None
    }
    set_consent_folder(tmp_path / "book")
    assert settings().consent == tmp_path / "book"
