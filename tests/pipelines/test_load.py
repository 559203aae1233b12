"""`--model sd15` and `sdxl` from the command line to pictures: the profiles' parts at small size, random weights."""

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

from tests.helpers.full_size import SIZE, family_on_disk, networks, saved_base
from twinset import cli
from twinset.errors import InputError
from twinset.models.hub.parts import Profile
from twinset.models.hub.profiles import ON_HUB
from twinset.pipelines.compose import compose
from twinset.pipelines.joint import JointPipeline
from twinset.pipelines.joint_xl import JointXLPipeline
from twinset.pipelines.loading import load
from twinset.pipelines.request import Request


@pytest.fixture(scope="module", params=["sd15", "sdxl"])
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """A family's profile, its parts small and random."""
    return family_on_disk(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def family(saved: Profile, monkeypatch: pytest.MonkeyPatch) -> str:
    """The family's name, which now means these parts and small pictures."""
    monkeypatch.setitem(ON_HUB, saved.name, saved)
    return saved.name


@pytest.fixture
def selfie(tmp_path: Path) -> Path:
    Image.new("RGB", (640, 640), "white").save(tmp_path / "me.png")  # where the detector's graph finds two faces
    return tmp_path / "me.png"


@pytest.fixture
def dress(tmp_path: Path) -> Path:
    picture = Image.new("RGB", (100, 150), "white")
    picture.paste((200, 20, 30), (20, 20, 80, 130))
    picture.save(tmp_path / "dress.png")
    return tmp_path / "dress.png"


def run(*arguments: object) -> Any:
    return CliRunner().invoke(cli.app, ["generate", *map(str, arguments)])


@pytest.mark.long
def test_model_is_all_a_user_says(family: str, selfie: Path, dress: Path, tmp_path: Path) -> None:
    """Two pictures with their records, and the first one again, byte for byte."""
    out = tmp_path / "out"
    asked = ["--model", family, "--prompt", "in the park", "--selfie", selfie, "--garment", f"dress={dress}"]
    done = run(*asked, "--pose", "waving", "--seed", 7, "--num", 2, "--show-regions", "-o", out)
    assert done.exit_code == 0, done.output
    record = json.loads((out / "0007.json").read_text())
    assert record["model"]["name"] == family and len(record["model"]["revision"]) == 64
    assert (record["request"]["steps"], record["request"]["guidance"]) == (2, 3.0)
    assert any("2 faces; the largest" in note for note in record["composed"]["notes"])
    pictures = [np.asarray(Image.open(out / f"000{i}.png")).astype(int) for i in (7, 8)]
    assert pictures[0].shape == (SIZE[1], SIZE[0], 3) and np.abs(pictures[0] - pictures[1]).mean() > 1
    assert (out / "0007-regions.png").is_file()
    again = CliRunner().invoke(cli.app, ["replay", str(out / "0007.json"), "-o", str(tmp_path / "again")])
    assert again.exit_code == 0 and "the same bytes" in again.output


def test_face_and_garment_act_where_they_belong(family: str, selfie: Path, dress: Path) -> None:
    pipe: Any = load.load_pipeline(family)
    assert isinstance(pipe, {"sd15": JointPipeline, "sdxl": JointXLPipeline}[family])
    fields = {"prompt": "x", "pose": "standing", "seed": 1, "selfie": selfie, "garments": (f"dress={dress}",)}
    made = compose(pipe, Request(**fields))
    face, garment = made.conditions
    assert (face.kind, garment.kind) == ("identity", "garment")
    head, body = made.layout.keypoints[0, :2].astype(int), made.layout.keypoints[[8, 11], :2].mean(0).astype(int)
    assert face.region[0, 0, head[1], head[0]] == 1 and face.region[0, 0, body[1], body[0]] == 0
    assert garment.region[0, 0, body[1], body[0]] == 1 and garment.region[0, 0, head[1], head[0]] == 0
    edge = face.region[(face.region > 0) & (face.region < 1)]
    assert len(edge) > 20  # soft


def test_what_the_model_cannot_take_is_said_in_one_line(family: str, dress: Path, tmp_path: Path) -> None:
    pipe: Any = load.load_pipeline(family)
    with pytest.raises(InputError, match=r"needs its kind with this model: kind="):
        compose(pipe, Request(prompt="x", seed=1, garments=(str(dress),)))
    Image.new("RGB", (640, 640), "black").save(tmp_path / "night.png")
    with pytest.raises(InputError, match="shows no face"):
        compose(pipe, Request(prompt="x", seed=1, selfies=(tmp_path / "night.png",)))


def test_a_folder_tells_its_family(tmp_path: Path) -> None:
    given = networks("sdxl")
    saved_base("sdxl", given, tmp_path)
    pipe: Any = load.load_pipeline(str(tmp_path))
    assert isinstance(pipe, JointXLPipeline)
    weights = pipe.unet.state_dict()
    assert all(torch.equal(weights[k], v) for k, v in given["unet"].state_dict().items())
    with pytest.raises(InputError, match="states no licence"):
        load.load_pipeline(str(tmp_path), commercial=True)


def test_unknown_models_name_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"'nothing'.*bundled model is 'studio'"):
        load.load_pipeline("nothing")
