"""What is wrong with a user's fields, in one line, at every door."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tests.house.test_house import ROOT, parse, room_sources
from twinset.common.validation import field_name, one_line
from twinset.compliance.consent import read_statement
from twinset.errors import InputError
from twinset.pipelines.batch.manifest import read_batch_manifest
from twinset.pipelines.request import read_request
from twinset.serving.contract import read_order
from twinset.training.core.options import checked
from twinset.training.lora.options import LoraOptions


class Look(BaseModel):
    model_config = ConfigDict(extra="forbid")

    rank: int = Field(ge=1)
    words: str = ""

    @model_validator(mode="after")
    def _go_together(self) -> Look:
        if self.words == "none":
            raise ValueError("words and rank\n do not go together; leave one out")
        return self


class Looks(BaseModel):
    looks: list[Look]


def fault(fields: dict[str, Any], kind: type[BaseModel] = Look) -> ValidationError:
    with pytest.raises(ValidationError) as error:
        kind.model_validate(fields)
    return error.value


def test_a_field_its_value_and_what_is_wrong() -> None:
    assert one_line(fault({"rank": 0}), "look") == "rank: Input should be greater than or equal to 1"
    assert one_line(fault({"rank": 0}), "look", quote=True) == "rank = 0: Input should be greater than or equal to 1"
    nested = fault({"looks": [{"rank": 1}, {"rank": 0}]}, Looks)
    assert field_name(nested) == "looks.1.rank" and one_line(nested, "looks").startswith("looks.1.rank: ")
    assert field_name(nested, outer=1) == "1.rank" and one_line(nested, "looks", outer=1).startswith("1.rank: ")


def test_the_whole_has_a_name_and_no_value() -> None:
    error = fault({"rank": 1, "words": "none"})
    assert field_name(error) == ""
    assert one_line(error, "look", quote=True) == "look: words and rank do not go together; leave one out"


def test_a_missing_field_has_its_remedy() -> None:
    assert one_line(fault({}), "look", quote=True) == "rank is missing; give it"
    assert one_line(fault({}), "look", remedy="give --{name} 8") == "rank is missing; give --rank 8"


def test_the_line_is_one_and_short_whatever_was_given() -> None:
    deep: list[Any] = []
    for _ in range(9):
        deep = [deep] * 9  # billions of values
    for fields in ({"rank": "x\n" * 10_000}, {"rank": deep}, {"rank": 1, "a\nb" * 1000: 1}):
        line = one_line(fault(fields), "look", quote=True)
        assert "\n" not in line and len(line) < 500


MANIFEST = "people: {a: {words: hat}}\nlooks: {b: {words: coat}}\nscenes: {c: beach}\n"


def manifest_of(folder: Path, text: str) -> Any:
    (folder / "m.yaml").write_text(text)
    return read_batch_manifest(folder / "m.yaml")


@pytest.mark.parametrize(
    ("door", "line"),
    [
        (lambda _: read_request({"prompt": "x", "num": 0}), "num = 0: Input should be greater than or equal to 1"),
        (lambda _: read_request({}), "prompt is missing; give it"),
        (lambda _: read_order({"prompt": "x", "num": 0}), "num: Input should be greater than or equal to 1"),
        (lambda _: read_statement(person="Mei"), "purposes is missing; give it"),
        (lambda folder: manifest_of(folder, MANIFEST + "variants: 0\n"), "m.yaml: variants: Input should be greater"),
        (lambda _: checked(LoraOptions, {"data": "x", "rank": 0}, "recipe"), "recipe: rank = 0: Input should be"),
        (lambda _: checked(LoraOptions, {}, "recipe"), "recipe: data is missing; give it, as in --data my_jacket/"),
    ],
)  # fmt: skip
def test_every_door_says_it_so(door: Callable[[Path], Any], line: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        door(tmp_path)
    assert line in str(error.value)


def test_errors_are_taken_apart_in_one_place() -> None:
    """`error.errors()` gives pydantic's dictionaries; only `one_line` turns them into words."""
    allowed = {"common/validation.py", "serving/problem_details.py"}  # the latter looks at the type alone
    found = {
        str(path.relative_to(ROOT))
        for path in room_sources()
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "errors"
    }
    assert found == allowed


def test_the_service_names_the_field(tmp_path: Path) -> None:
    from starlette.testclient import TestClient

    from twinset.serving.app import Service, create_app

    with TestClient(create_app(Service(tmp_path, None)), base_url="http://localhost") as client:
        short = client.post("/v1/jobs", json={"prompt": "x", "garments": [{"upload": "y"}]}).json()
        missing = client.post("/v1/jobs", json={}).json()
        no_json = client.post("/v1/jobs", content="{", headers={"Content-Type": "application/json"})
    assert short["field"] == "garments.0.upload" and short["detail"].startswith(
        "garments.0.upload: String should match"
    )
    assert (missing["field"], missing["detail"], missing["remedy"]) == ("prompt", "prompt is missing", "give it")
    assert no_json.status_code == 400 and json.loads(no_json.text)["title"] == "Bad Request"
