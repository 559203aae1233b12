"""`--person … --person …`: each face and outfit in its own place, in one pass of the full-size families."""

# pyright: reportArgumentType=false
# (diffusers' hints are narrower than what it takes)
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from tests.helpers.full_size import SIZE, family_on_disk
from tests.pipelines.test_load import run
from twinset import cli
from twinset.errors import InputError
from twinset.models.hub.parts import Profile
from twinset.models.hub.profiles import ON_HUB
from twinset.pipelines.compose import compose
from twinset.pipelines.families.several_people import columns
from twinset.pipelines.loading.load import load_pipeline
from twinset.pipelines.request import read_request

WIDE = (SIZE[1], SIZE[0])


@pytest.fixture(scope="module", params=["sd15", "sdxl"])
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return family_on_disk(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def family(saved: Profile, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(ON_HUB, saved.name, saved)
    return saved.name


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two selfies, in which the detector's graph finds its faces, and two dresses."""
    for name, colour in {"a": (255, 255, 255), "b": (255, 250, 240)}.items():
        Image.new("RGB", (640, 640), colour).save(tmp_path / f"{name}.png")
    for name, colour in {"red": (200, 20, 30), "blue": (20, 30, 200)}.items():
        picture = Image.new("RGB", (100, 150), "white")
        picture.paste(colour, (20, 20, 80, 130))
        picture.save(tmp_path / f"{name}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


FIRST, SECOND = "selfie=a.png garment=dress=red.png pose=standing", "selfie=b.png garment=dress=blue.png pose=waving"


def composed(pipe: Any, **more: Any) -> Any:
    given = {"prompt": "in the park", "seed": 1, "size": f"{WIDE[0]}x{WIDE[1]}", "people": (FIRST, SECOND)}
    return compose(pipe, read_request(given | more))


def test_each_face_and_outfit_is_in_its_own_place(family: str, files: Path) -> None:
    made = composed(load_pipeline(family, offline=True))
    assert [c.kind for c in made.conditions] == ["identity", "garment", "identity", "garment"]
    middle = WIDE[0] // 2
    for condition, half in zip(made.conditions, ("left", "left", "right", "right"), strict=True):
        there = condition.region[0, 0] > 0.5
        columns_of = torch.nonzero(there)[:, 1]
        assert len(columns_of) > 50 and bool(((columns_of < middle) == (half == "left")).all())
    assert set(made.regions) == {"face", "face 2", "garment", "garment 2"}
    assert len(made.layout.others) == 1 and made.layout.others[0][:, 0].max() > middle
    assert made.prompt.startswith("two people") or "two people" in made.prompt
    assert made.pose == "standing, waving"
    assert any("not measured or repaired" in note for note in made.notes)


def test_one_persons_pictures_change_that_person(family: str, files: Path) -> None:
    """Another dress for the second person: what changes in the first one's half came there by self-attention."""
    pipe: Any = load_pipeline(family, offline=True)
    pipe.set_progress_bar_config(disable=True)
    other = "selfie=b.png garment=dress=red.png pose=waving"
    latents = []
    for second in (SECOND, other):
        made = composed(pipe, people=(FIRST, second))
        given = {"num_inference_steps": 1, "guidance_scale": 1.0, "output_type": "latent"}
        again = torch.Generator().manual_seed(0)
        latents.append(
            pipe(made.prompt, layout=made.layout, conditions=list(made.conditions), generator=again, **given).images
        )
    change = (latents[0] - latents[1]).abs().mean((0, 1, 2))
    half = len(change) // 2
    assert change[half:].mean() > 2 * change[:half].mean() > 0


@pytest.mark.long
def test_from_the_command_line_and_again(family: str, files: Path) -> None:
    asked = ["--model", family, "--prompt", "in the park", "--size", f"{WIDE[0]}x{WIDE[1]}", "--seed", 7, "--offline"]
    done = run(*asked, "--person", FIRST, "--person", SECOND, "--show-regions", "-o", "out")
    assert done.exit_code == 0, done.output
    record = json.loads(Path("out/0007.json").read_text())
    assert {Path(name).name for name in record["inputs"]} == {"a.png", "b.png", "red.png", "blue.png"}
    assert [Path(one["selfies"][0]).is_absolute() for one in record["request"]["people"]] == [True, True]
    picture = np.asarray(Image.open("out/0007.png"))
    assert picture.shape == (WIDE[1], WIDE[0], 3) and picture.std() > 10
    again = CliRunner().invoke(cli.app, ["replay", "out/0007.json", "-o", "again"])
    assert again.exit_code == 0 and "the same bytes" in again.output, again.output


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"people": (FIRST,)}, "one person is given by --selfie"),
        ({"people": (FIRST, SECOND), "selfie": "a.png"}, "say selfie, garment and pose in each --person"),
        ({"people": (FIRST, "dress=b.png")}, "has 'dress=b.png'; write selfie=FILE"),
        ({"people": (FIRST, "pose=standing pose=waving")}, "has several poses"),
    ],
)
def test_what_is_said_wrong_is_one_line(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_request({"prompt": "x"} | fields)


def test_models_and_adapters_of_one_person_refuse(files: Path, saved: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="the bundled model draws one person"):
        composed(load_pipeline("studio"))
    if saved.name == "sdxl":
        monkeypatch.setitem(ON_HUB, "sdxl", saved)
        with pytest.raises(InputError, match="instantid knows one face only"):
            composed(load_pipeline("sdxl", offline=True), identity_adapter="instantid")


def test_columns_cover_the_picture() -> None:
    for count in (2, 3):
        found = columns((200, 100), count)
        assert found[0][0] == 0 and sum(width for _, width in found) == 200
        assert all(left % 8 == 0 and width >= 56 for left, width in found)
