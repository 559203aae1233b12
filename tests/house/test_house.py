"""The house: rooms, their links, the direction of imports, docstrings, sizes, and the wheel."""

import ast
import os
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
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
MAX_MODULES = 17
TWO_HOMES: dict[str, str] = {}
"""Public names that two modules define, each with the reason."""


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


def test_rooms_are_folders_with_a_purpose() -> None:
    for room in ROOMS:
        folder, link = ROOT / room, ROOT / "twinset" / room
        assert folder.is_dir() and not folder.is_symlink(), room
        assert ast.get_docstring(parse(folder / "__init__.py")), room
        assert os.readlink(link) == f"../{room}" and link.resolve() == folder, room


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


def test_imports_point_downwards() -> None:
    upward = {
        str(path.relative_to(ROOT)): upward_imports(path.relative_to(ROOT).parts[0], parse(path), module_package(path))
        for path in room_sources()
    }
    assert {name: lines for name, lines in upward.items() if lines} == {}


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


def test_public_names_have_docstrings() -> None:
    missing = {
        str(path.relative_to(ROOT)): undocumented(parse(path))
        for path in (*front_door(), *room_sources(), *comfyui_nodes())
    }
    assert {name: lines for name, lines in missing.items() if lines} == {}


def test_no_folder_is_too_full() -> None:
    counts = Counter(str(path.parent.relative_to(ROOT)) for path in room_sources() if path.name != "__init__.py")
    assert {folder: count for folder, count in counts.items() if count > MAX_MODULES} == {}


def test_few_public_names_have_two_homes() -> None:
    homes: dict[str, set[str]] = {}
    for path in (*front_door(), *room_sources()):
        for node in parse(path).body:
            if isinstance(node, Definition) and not node.name.startswith("_") and node.name != "main":
                homes.setdefault(node.name, set()).add(str(path.relative_to(ROOT)))
    twice = {name: places for name, places in homes.items() if len(places) > 1}
    assert set(twice) <= set(TWO_HOMES), {name: twice[name] for name in set(twice) - set(TWO_HOMES)}


def test_no_file_is_too_long() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in tracked_sources()}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}


def expected_in_wheel() -> set[str]:
    """Every module, and the bundled weights."""
    modules = {f"twinset/{path.relative_to(ROOT).as_posix()}" for path in room_sources()}
    modules |= {path.relative_to(ROOT).as_posix() for path in front_door()}
    weights = (ROOT / "models" / "studio").rglob("*.safetensors")
    return modules | {f"twinset/{path.relative_to(ROOT).as_posix()}" for path in weights}


@pytest.mark.slow
@pytest.mark.parametrize("form", ["checkout", "zip", "sdist"])
def test_wheel_contains_every_room(tmp_path: Path, form: str) -> None:
    source = source_of(tmp_path, form)
    pip = [sys.executable, "-m", "pip", "--quiet", "wheel", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", str(tmp_path), str(source)], check=True)
    with zipfile.ZipFile(next(tmp_path.glob("twinset-*.whl"))) as archive:
        packed = set(archive.namelist())
    assert expected_in_wheel() - packed == set()
    assert {name.partition("/")[0] for name in packed if ".dist-info" not in name} == {"twinset"}


@pytest.mark.slow
def test_a_source_without_rooms_is_refused(tmp_path: Path) -> None:
    source = source_of(tmp_path, "zip")
    shutil.rmtree(source / "scoring")
    told = subprocess.run([sys.executable, "setup.py", "--version"], cwd=source, capture_output=True, text=True)
    assert told.returncode != 0 and "scoring should lead to a folder" in told.stderr


def source_of(folder: Path, form: str) -> Path:
    """What is packed, as it comes: a checkout; a ZIP's files, in which links are texts; an unpacked sdist."""
    source = folder / "source"
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("twinset", *ROOMS):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignore)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    if form == "zip":
        for room in ROOMS:
            (source / "twinset" / room).unlink()
            (source / "twinset" / room).write_text(f"../{room}")
    if form == "sdist":
        build = "import setuptools.build_meta as b, sys; b.build_sdist(sys.argv[1])"
        subprocess.run([sys.executable, "-c", build, str(folder)], cwd=source, check=True, capture_output=True)
        shutil.unpack_archive(next(folder.glob("twinset-*.tar.gz")), folder / "unpacked")
        return next((folder / "unpacked").iterdir())
    return source
