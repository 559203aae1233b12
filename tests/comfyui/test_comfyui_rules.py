"""What the ComfyUI node pack must keep: the service's fields, the registry's rules, and nothing done on import."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest

from tests.helpers.comfyui_stand_in import PACK, ROOT, fault_of, inputs_of, is_widget, load_pack
from twinset.compliance.consent import Purpose
from twinset.figure.labels import ALL_KINDS
from twinset.figure.poses import NAMED
from twinset.serving.app import Service, create_app

pack = load_pack()
NODES = pack.NODE_CLASS_MAPPINGS
fields = sys.modules[f"{pack.__name__}.fields"]
SOURCES = sorted(PACK.glob("*.py"))
OWN = {"service", "pose_picture", *(f"{what}_{number}" for what in ("garment", "kind") for number in range(1, 5))}
"""Inputs that are no fields of an order: they become `selfies`, `garments` and `pose`."""
OF_THE_PHOTO = {"pose", "framing", "hair", "pose_strength", "economical"}
HANDED_OVER = "TWINSET_SERVICE", "TWINSET_FILES"


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The service's own description, by schema."""
    return create_app(Service(tmp_path_factory.mktemp("service"), None)).openapi()["components"]["schemas"]


def range_of(schema: dict[str, Any]) -> dict[str, Any]:
    """A field's schema, without the word that it may be absent."""
    kinds = [one for one in schema.get("anyOf", ()) if one["type"] != "null"]
    return kinds[0] | {"default": schema.get("default")} if kinds else schema


def test_every_field_of_the_service_can_be_set(described: dict[str, Any]) -> None:
    known = set(described["JobRequest"]["properties"])
    generate, try_on = (set(inputs_of(NODES[name])) for name in ("TwinsetGenerate", "TwinsetTryOnPhoto"))
    assert generate - OWN | {"garments"} == known - {"photo", "blend", "webhook"}
    assert try_on - OWN | {"garments"} == known - OF_THE_PHOTO - {"webhook"}  # ComfyUI waits for the end itself
    consent = set(inputs_of(NODES["TwinsetConsent"])) - {"service"}
    assert consent - {"try_on", "promotion", "training"} | {"purposes"} == set(described["ConsentIn"]["properties"])


@pytest.mark.parametrize("node", ["TwinsetGenerate", "TwinsetTryOnPhoto"])
def test_ranges_defaults_and_choices_are_the_services(node: str, described: dict[str, Any]) -> None:
    for name, given in inputs_of(NODES[node]).items():
        if name in OWN or not is_widget(given):
            continue
        schema, (kind, told) = range_of(described["JobRequest"]["properties"][name]), given
        nothing = {fields.ABSENT[name]} if name in fields.ABSENT else set()
        types = {"INT": "integer", "FLOAT": "number", "STRING": "string", "BOOLEAN": "boolean"}
        assert schema["type"] == ("string" if isinstance(kind, list) else types[kind]), name
        if name not in ("prompt", "seed"):
            assert told["default"] == next(iter(nothing), schema.get("default")), name
        if isinstance(kind, list) and "enum" in schema:
            assert kind == [*sorted(nothing), *schema["enum"]], name
        if kind in ("INT", "FLOAT"):
            assert told["min"] == min({schema["minimum"], *nothing}), name
            # ComfyUI's numbers must end somewhere, and the description has them as floats
            assert float(told["max"]) == schema.get("maximum", 86400.0), name


def test_choices_that_the_description_does_not_list() -> None:
    assert set(fields.POSES) == set(NAMED) and set(fields.KINDS) == set(ALL_KINDS)
    assert get_args(Purpose) == fields.PURPOSES
    poses = inputs_of(NODES["TwinsetGenerate"])["pose"][0]
    assert poses == [fields.AUTO, *fields.POSES, *(f"{pose}:mirror" for pose in fields.POSES)]


def test_most_pictures_are_the_services(described: dict[str, Any]) -> None:
    properties = described["JobRequest"]["properties"]
    assert properties["selfies"]["maxItems"] == fields.MOST_SELFIES
    assert properties["garments"]["maxItems"] == len(fields.GARMENTS)


@pytest.mark.parametrize("name", sorted(NODES))
def test_nodes_are_of_comfyuis_form(name: str) -> None:
    node = NODES[name]
    assert name.startswith("Twinset") and pack.NODE_DISPLAY_NAME_MAPPINGS[name].replace(" ", "") == name
    assert callable(getattr(node, node.FUNCTION)) and node.CATEGORY == "Twinset" and node.DESCRIPTION
    assert len(getattr(node, "RETURN_NAMES", node.RETURN_TYPES)) == len(node.RETURN_TYPES)
    assert (name == "TwinsetConsent") == hasattr(node, "IS_CHANGED")  # a withdrawn consent is not kept
    for field, given in inputs_of(node).items():
        assert given[1]["tooltip"], field
        assert is_widget(given) or given[0] in ("IMAGE", *HANDED_OVER), field
        if is_widget(given):
            assert fault_of(given, given[1]["default"]) is None, field


def test_no_input_is_a_key_or_a_path() -> None:
    names = {field for node in NODES.values() for field in inputs_of(node)}
    assert not [field for field in names if re.search("key|token|secret|password|path|file$", field)]


def test_importing_does_nothing() -> None:
    program = f"""
import sys
def watch(event, arguments):
    if event.startswith(("socket.", "subprocess.", "os.system", "urllib.")):
        raise SystemExit(f"{{event}} {{arguments}}")
sys.addaudithook(watch)
sys.path.insert(0, {str(PACK.parent)!r})
import comfyui
print(sorted({{"torch", "numpy", "PIL", "twinset", "requests", "comfy", "folder_paths"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, cwd="/")
    assert (done.stdout, done.stderr, done.returncode) == ("[]\n", "", 0)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_sources_need_nothing_that_comfyui_lacks(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level}
    foreign = {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names)
    assert foreign <= {"torch", "numpy", "PIL", "comfy", "folder_paths"} and "subprocess" not in names
    called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert not called & {"eval", "exec", "compile", "__import__", "os.system"}


def test_the_registrys_rules() -> None:
    told = tomllib.loads((PACK / "pyproject.toml").read_text(encoding="utf-8"))
    main = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project, comfy = told["project"], told["tool"]["comfy"]
    assert re.fullmatch(r"[a-z][a-z0-9]*([-_.][a-z0-9]+)*", project["name"]) and "comfyui" not in project["name"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", project["version"]) and project["version"] == main["project"]["version"]
    assert project["dependencies"] == [] and project["license"] == {"file": "LICENSE"}
    assert (PACK / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert set(comfy) == {"PublisherId", "DisplayName", "Icon"} and comfy["Icon"].endswith("/icon.svg")
    assert project["urls"]["Repository"].startswith("https://")
    assert 'width="400" height="400"' in (PACK / "icon.svg").read_text(encoding="utf-8")


def test_the_wheel_leaves_the_nodes_out() -> None:
    main = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert main["tool"]["setuptools"]["packages"]["find"]["include"] == ["twinset*"]
    assert "comfyui" in main["tool"]["pyright"]["include"]
