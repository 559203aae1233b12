"""The house: rooms, their links, the direction of imports, docstrings, sizes, and the wheel."""

import ast
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Highest first: a room imports only from itself and from the rooms after it.
ROOMS = (
    "serving", "benchmarks", "training", "pipelines", "compliance", "scoring", "adapters", "prompts",
    "perception", "models", "figure", "common",
)  # fmt: skip
# What every room may import although it lies in the front door.
SHARED = "errors"
MAX_LINES = 400


def room_sources() -> list[Path]:
    """Every Python file of the rooms, at its place at the top level."""
    return sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def front_door() -> list[Path]:
    """The files of `twinset/` itself, without the links."""
    return sorted([*(ROOT / "twinset").glob("*.py"), *(ROOT / "twinset" / "cli").glob("*.py")])


def comfyui_nodes() -> list[Path]:
    """The node pack, a client of the service that imports no room (`tests/comfyui/test_comfyui_rules.py`)."""
    return sorted((ROOT / "comfyui").glob("*.py"))


def tracked_sources() -> list[Path]:
    """Every Python file that the project's rules hold for."""
    return [*front_door(), *room_sources(), *comfyui_nodes(), *sorted((ROOT / "tests").rglob("*.py"))]


def parse(path: Path) -> ast.Module:
    """The syntax tree of one file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def module_package(path: Path) -> list[str]:
    """The package in which a file's relative imports are resolved: models/vae.py → [twinset, models]."""
    parts = path.relative_to(ROOT).parts[:-1]
    return list(parts) if parts and parts[0] == "twinset" else ["twinset", *parts]


def imported_modules(tree: ast.Module, package: list[str]) -> Iterator[tuple[int, str]]:
    """Every import in a tree, inside functions too: line and absolute name (`twinset.models.vae.Name`)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = [*base, *([node.module] if node.module else [])]
            yield from ((node.lineno, ".".join([*stem, alias.name])) for alias in node.names)


def twinset_part(dotted: str) -> str | None:
    """What a dotted name takes from the package: `twinset.models.vae` → models; None for foreign modules."""
    head, _, rest = dotted.partition(".")
    return rest.partition(".")[0] if head == "twinset" else None


def upward_imports(room: str, tree: ast.Module, package: list[str]) -> list[str]:
    """The imports of a room's module that do not point downwards, each as `line: name`."""
    allowed = {SHARED, *ROOMS[ROOMS.index(room) :]}
    found = ((line, name, twinset_part(name)) for line, name in imported_modules(tree, package))
    return [f"{line}: {name}" for line, name, part in found if part is not None and part not in allowed]


def undocumented(tree: ast.Module) -> list[str]:
    """Public classes, functions and methods without a docstring, each as `line: name`."""
    definitions = public_definitions(tree)
    return [f"{node.lineno}: {name}" for name, node in definitions if not ast.get_docstring(node)]


Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def public_definitions(node: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[tuple[str, Definition]]:
    """Public definitions of a module and of its public classes, with their qualified names."""
    for child in node.body:
        if isinstance(child, Definition) and not child.name.startswith("_") and not is_overload(child):
            yield prefix + child.name, child
            if isinstance(child, ast.ClassDef):
                yield from public_definitions(child, f"{prefix}{child.name}.")


def is_overload(node: Definition) -> bool:
    """Whether a definition only adds a signature or a setter to another one that is documented."""
    names = {ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list}
    return bool(names & {"overload", "setter"})


@pytest.mark.parametrize("room", ROOMS)
def test_room_is_a_folder_with_a_purpose(room: str) -> None:
    folder = ROOT / room
    assert folder.is_dir() and not folder.is_symlink()
    assert ast.get_docstring(parse(folder / "__init__.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_link_is_relative_and_leads_to_the_room(room: str) -> None:
    link = ROOT / "twinset" / room
    assert os.readlink(link) == f"../{room}"
    assert link.resolve() == ROOT / room


def test_front_door_links_to_nothing_else() -> None:
    links = {path.name for path in (ROOT / "twinset").iterdir() if path.is_symlink()}
    assert links == set(ROOMS)


def test_packages_are_complete() -> None:
    """A folder of Python files without __init__.py would be left out of the wheel."""
    assert [path for path in room_sources() if not (path.parent / "__init__.py").exists()] == []


def test_rooms_are_excluded_and_banned_by_ruff() -> None:
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for room in ROOMS:
        assert f'"twinset/{room}"' in settings
        assert f'{room}.msg = "import as twinset.{room}"' in settings


@pytest.mark.parametrize("path", room_sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_downwards(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    assert upward_imports(room, parse(path), module_package(path)) == []


def test_no_room_is_imported_from_the_top_level() -> None:
    """`import adapters` would make a second module beside `twinset.adapters`."""
    wrong = [
        f"{path.relative_to(ROOT)}:{line} {name}"
        for path in tracked_sources()
        for line, name in imported_modules(parse(path), module_package(path))
        if name.partition(".")[0] in ROOMS
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("source", "upward"),
    [
        ("from twinset.models.vae import PatchAutoencoderKL", []),
        ("from ..models import vae", []),
        ("from . import identity", []),
        ("from twinset import errors", []),
        ("from ..errors import InputError", []),
        ("import torch", []),
        ("from twinset.pipelines.joint import JointPipeline", ["1: twinset.pipelines.joint.JointPipeline"]),
        ("from ..pipelines import joint", ["1: twinset.pipelines.joint"]),
        ("from twinset import JointPipeline", ["1: twinset.JointPipeline"]),
        ("def late():\n    import twinset.cli", ["2: twinset.cli"]),
    ],
)
def test_upward_imports_are_recognised(source: str, upward: list[str]) -> None:
    assert upward_imports("adapters", ast.parse(source), ["twinset", "adapters"]) == upward


@pytest.mark.parametrize(
    "path", [*front_door(), *room_sources(), *comfyui_nodes()], ids=lambda path: str(path.relative_to(ROOT))
)
def test_public_names_have_docstrings(path: Path) -> None:
    assert undocumented(parse(path)) == []


def test_no_file_is_too_long() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in tracked_sources()}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}


@pytest.mark.slow
def test_wheel_contains_every_room(tmp_path: Path) -> None:
    wheel = build_wheel(tmp_path)
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    expected = {f"twinset/{path.relative_to(ROOT).as_posix()}" for path in room_sources()}
    expected |= {path.relative_to(ROOT).as_posix() for path in front_door()}
    weights = (ROOT / "models" / "studio").rglob("*.safetensors")
    expected |= {f"twinset/{path.relative_to(ROOT).as_posix()}" for path in weights}
    assert expected - packed == set()
    assert {name.partition("/")[0] for name in packed if ".dist-info" not in name} == {"twinset"}


def build_wheel(folder: Path) -> Path:
    """Build from a copy of what is packed, so that nothing is left behind in the checkout."""
    source = folder / "source"
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("twinset", *ROOMS):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "wheel", "--no-deps"]
    subprocess.run([*pip, "--wheel-dir", str(folder), str(source)], check=True)
    return next(folder.glob("twinset-*.whl"))
