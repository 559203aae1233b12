"""The front door: request, composition, files, records, exit codes. The networks are random; nothing is downloaded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.helpers.tiny import noise_picture, save_tiny
from twinset import cli
from twinset.common.image_io import read_picture
from twinset.common.result_cache import PerceptionCache
from twinset.errors import InputError
from twinset.figure.keypoints import with_visibility
from twinset.figure.labels import GARMENT_KINDS
from twinset.figure.poses import preset
from twinset.models.face_finder import TEMPLATE, Face
from twinset.perception.people.keypoint_files import mirror, read_keypoints
from twinset.pipelines import compose as composing
from twinset.pipelines.controller.measures import MEASURES
from twinset.pipelines.families import drawn as people
from twinset.pipelines.generate import generate
from twinset.pipelines.record import load_record
from twinset.pipelines.replay import replay
from twinset.pipelines.request import Request, read_request
from twinset.pipelines.studio import StudioPipeline
from twinset.pipelines.wardrobe import slots
from twinset.prompts.brief import read_brief


@pytest.fixture(scope="module")
def pipe(tmp_path_factory: pytest.TempPathFactory) -> StudioPipeline:
    return StudioPipeline.from_pretrained(save_tiny(tmp_path_factory.mktemp("model")))


@pytest.fixture
def selfie(tmp_path: Path) -> Path:
    """An aligned crop; the tiny pipeline's face finder is untrained and sees no face anywhere."""
    exif = Image.Exif()
    exif[0x010E] = "secret"
    path = tmp_path / "me.jpg"
    Image.fromarray(noise_picture(112, 112)).save(path, exif=exif)
    return path


@pytest.fixture
def dress(tmp_path: Path) -> Path:
    picture = np.full((400, 300, 3), 255, np.uint8)
    picture[50:350, 100:200] = (200, 20, 30)
    path = tmp_path / "red dress.png"
    Image.fromarray(picture).save(path)
    return path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run the command line as a shell would; returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["twinset", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


# Request


@pytest.mark.parametrize(
    ("text", "kind", "path"),
    [
        ("a.png", None, "a.png"),
        ("dress=a.png", "dress", "a.png"),
        ("out/a=b.png", None, "out/a=b.png"),
        ("dress=out/a=b.png", "dress", "out/a=b.png"),
    ],
)
def test_garment_text(text: str, kind: str | None, path: str) -> None:
    garment = read_request({"prompt": "x", "garments": [text]}).garments[0]
    assert (garment.kind, garment.path) == (kind, Path(path))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"prompt": "  "}, "has no words"),
        ({"prompt": "x", "num": 0}, "num = 0"),
        ({"prompt": "x", "framing": "huge"}, "framing = 'huge'"),
        ({"prompt": "x", "identity_strength": 3}, "identity_strength = 3"),
        ({"prompt": "x", "posture": "walking"}, "posture = 'walking'"),
    ],
)
def test_wrong_requests_are_one_line(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        read_request(fields)
    assert "\n" not in str(error.value)


def test_request_survives_json() -> None:
    request = Request(prompt="x", garments=["dress=a.png"], seed=3)  # type: ignore[list-item]
    assert Request.model_validate_json(request.model_dump_json()) == request


# Composition


def test_largest_of_several_faces_is_taken(selfie: Path) -> None:
    faces = [Face(TEMPLATE * 2, 0.6), Face(TEMPLATE, 0.9)]  # the finder's order: the largest first
    found = SimpleNamespace(find=lambda picture: faces)
    finder: Any = SimpleNamespace(face_finder=found, perception_cache=PerceptionCache())
    notes: list[str] = []
    drawn = people.StudioBackend(finder)
    assert composing.read_selfies(drawn, [selfie], "largest", notes).face.shape == (112, 112, 3)
    assert notes == [f"selfie {str(selfie)!r} shows 2 faces; the largest is used"]


@pytest.mark.long
def test_strength_0_leaves_a_condition_out(pipe: StudioPipeline, selfie: Path, dress: Path) -> None:
    fields = {"prompt": "x", "selfie": selfie, "garments": [f"dress={dress}"], "seed": 0}
    weights = {"identity_strength": 0.0, "garment_strength": 0.5}
    both, one = (composing.compose(pipe, read_request(fields | extra)) for extra in ({}, weights))
    assert [c.kind for c in both.conditions] == ["identity", "figure", "garment"]
    assert [(c.kind, c.weight) for c in one.conditions] == [("figure", 1.0), ("garment", 0.5)]
    np.testing.assert_array_equal(both.layout.labels, one.layout.labels)


def test_photographs_come_before_words_and_words_before_the_seed() -> None:
    rng = np.random.default_rng(0)
    assert composing.dress_person(("trousers",), read_brief("red dress and a shirt").garments, rng) == (
        "trousers",
        "shirt",
        "shoes",
    )
    assert composing.dress_person((), read_brief("red dress").garments, rng) == ("dress", "shoes")


@pytest.mark.parametrize("seed", range(20))
def test_everybody_is_dressed(seed: int) -> None:
    worn = composing.dress_person((), read_brief("beach").garments, np.random.default_rng(seed))
    assert set.union(*map(slots, worn)) == {"upper", "lower", "shoes"}


def test_mirror_twice_is_the_pose_itself() -> None:
    pose = preset("walking", "full")
    mirrored = mirror(pose)
    assert not np.allclose(mirrored, pose)
    np.testing.assert_allclose(mirror(mirrored), pose, atol=1e-4)


@pytest.mark.parametrize("kind", GARMENT_KINDS)
def test_garment_fills_its_flat_box(kind: str, dress: Path) -> None:
    flat = people.fit_flat(read_picture(dress), kind)
    rows, columns = people.flat_box(kind)
    assert flat.shape == (256, 192, 3)
    assert np.abs(flat[rows, columns].mean((0, 1)) - (200, 20, 30)).max() < 2
    assert (flat[: rows.start] == 255).all()
    np.testing.assert_array_equal(people.fit_flat(flat, kind), flat)


def points_list() -> list[list[float]]:
    return preset("waving", "full").tolist()


@pytest.mark.parametrize("form", ["plain", "flat", "openpose", "people", "normalised"])
def test_keypoint_files(form: str, tmp_path: Path) -> None:
    points = np.array(points_list())
    scaled = points * (4, 4, 1)
    data: Any = {
        "plain": points.tolist(),
        "flat": points.ravel().tolist(),
        "openpose": {
            "people": [{"pose_keypoints_2d": scaled.ravel().tolist()}],
            "canvas_width": 768,
            "canvas_height": 1024,
        },
        "people": [
            {"people": [{"pose_keypoints_2d": scaled.ravel().tolist()}], "canvas_width": 768, "canvas_height": 1024}
        ],
        "normalised": {
            "people": [{"pose_keypoints_2d": (points / (192, 256, 1)).ravel().tolist()}],
            "canvas_width": 192,
            "canvas_height": 256,
        },
    }[form]
    path = tmp_path / "pose.json"
    path.write_text(json.dumps(data))
    np.testing.assert_allclose(read_keypoints(path)[:, :2], points[:, :2], atol=1e-2)


def test_large_pose_without_canvas_is_brought_into_the_frame(tmp_path: Path) -> None:
    path = tmp_path / "pose.json"
    path.write_text(json.dumps((np.array(points_list()) * (9, 9, 1)).tolist()))
    keypoints = read_keypoints(path)
    assert keypoints[:, 2].all() and with_visibility(keypoints[:, :2])[:, 2].all()


@pytest.mark.parametrize("text", ["{}", "[1, 2]", "nonsense", "[]", "null"])
def test_wrong_keypoint_files(text: str, tmp_path: Path) -> None:
    path = tmp_path / "pose.json"
    path.write_text(text)
    with pytest.raises(InputError, match="not OpenPose JSON"):
        read_keypoints(path)


# Pictures and records


@pytest.mark.long
def test_generate_writes_pictures_records_and_sheet(
    pipe: StudioPipeline, selfie: Path, dress: Path, tmp_path: Path
) -> None:
    request = read_request(
        {"prompt": "beach", "selfie": selfie, "garments": [f"dress={dress}"], "num": 3, "seed": 7, "steps": 2,
         "detail": "none"}
    )  # fmt: skip
    steps: list[tuple[int, int]] = []
    records = generate(pipe, request, tmp_path / "out", lambda index, step, _: steps.append((index, step)))
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    pictures = ["0007.png", "0008.png", "0009.png"]
    assert names == sorted([*pictures, "0007.json", "0008.json", "0009.json", "sheet.png"])
    assert steps == [(i, s) for i in range(3) for s in (1, 2)]
    assert [record.seed for record in records] == [7, 8, 9]
    assert set(records[0].inputs) == {str(selfie), str(dress)}
    assert {"identity", "clip_iqa_quality"} <= set(records[0].scores) <= set(MEASURES)
    with Image.open(tmp_path / "out" / "0007.png") as picture:
        assert picture.size == (192, 256) and not picture.getexif()
        assert set(picture.info) <= {"XML:com.adobe.xmp", "xmp"}  # its labels


@pytest.mark.long
def test_regions_are_shown(pipe: StudioPipeline, selfie: Path, dress: Path, tmp_path: Path) -> None:
    fields = {
        "prompt": "short hair",
        "selfie": selfie,
        "garments": [f"dress={dress}"],
        "seed": 3,
        "steps": 1,
        "labels": False,
    }
    generate(pipe, Request(**fields), tmp_path)
    plain = np.asarray(Image.open(tmp_path / "0003.png")).astype(int)
    generate(pipe, Request(**fields, show_regions=True), tmp_path)  # the same picture, so no second name
    shown = np.asarray(Image.open(tmp_path / "0003-regions.png")).astype(int)
    assert shown.shape == (256 + 2 * 14, 192, 3)
    regions = composing.compose(pipe, Request(**fields)).regions
    assert list(regions) == ["face", "dress"]
    changed = np.abs(shown[:256] - plain).max(-1) > 0
    assert changed[regions["dress"] > 0].mean() > 0.95 and not changed[sum(regions.values()) == 0].any()


@pytest.mark.long
def test_replay_gives_the_same_bytes(pipe: StudioPipeline, selfie: Path, tmp_path: Path) -> None:
    fields = {"prompt": "x", "selfie": selfie, "num": 2, "seed": 1, "steps": 2, "pose": "walking:mirror"}
    request = read_request(fields | {"labels": False})  # with them: tests/compliance/test_labels.py
    generate(pipe, request, tmp_path / "out")
    path, equal = replay(pipe, load_record(tmp_path / "out" / "0002.json"), tmp_path / "again")
    assert equal
    assert path.read_bytes() == (tmp_path / "out" / "0002.png").read_bytes()


def test_replay_refuses_another_selfie(pipe: StudioPipeline, selfie: Path, tmp_path: Path) -> None:
    generate(pipe, read_request({"prompt": "x", "selfie": selfie, "seed": 1, "steps": 1}), tmp_path)
    Image.fromarray(noise_picture(112, 112, seed=1)).save(selfie)
    with pytest.raises(InputError, match="not the file that the record used"):
        replay(pipe, load_record(tmp_path / "0001.json"), tmp_path)


@pytest.mark.long
def test_another_request_does_not_overwrite(pipe: StudioPipeline, tmp_path: Path) -> None:
    for prompt in ("one", "two", "two"):
        generate(pipe, Request(prompt=prompt, seed=1, steps=1), tmp_path)
    assert load_record(tmp_path / "0001.json").request.prompt == "one"
    assert load_record(tmp_path / "0001-2.json").request.prompt == "two"
    assert not (tmp_path / "0001-3.json").exists()


@pytest.mark.long
def test_seed_is_drawn_and_recorded(pipe: StudioPipeline, tmp_path: Path) -> None:
    record = generate(pipe, Request(prompt="x", steps=1), tmp_path)[0]
    assert record.request.seed == record.seed


# Command line


def test_front_door_does_not_wait_for_torch() -> None:
    code = "import sys, twinset, twinset.cli, twinset.pipelines.request; print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert answer.stdout == "False\n"


@pytest.mark.long
def test_generate_command(
    pipe: StudioPipeline,
    dress: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("twinset.cli.draw.load", lambda *_, **__: pipe)
    arguments = ["--prompt", "beach", "--garment", dress, "--num", 2, "--seed", 7, "--steps", 1]
    assert run(monkeypatch, "generate", *arguments, "-o", tmp_path / "out", "--json") == 0
    records = json.loads(capsys.readouterr().out)
    assert [record["picture"] for record in records] == ["0007.png", "0008.png"]
    assert run(monkeypatch, "replay", tmp_path / "out" / "0007.json", "-o", tmp_path / "again") == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--selfie", "nobody.png"], "nobody.png"),
        (["--selfie", "white.png"], "shows no face"),
        (["--selfie", "text.png"], "cannot be read as a picture"),
        (["--pose", "flying"], "flying"),
        (["--pose", "gone.json"], "gone.json"),
        (["--garment", "cape=white.png"], "cape"),
        (["--garment", "dress=white.png"], "plain colour"),
        (["--num", "0"], "num"),
        (["--framing", "huge"], "huge"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    arguments: list[str],
    words: str,
    pipe: StudioPipeline,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Image.new("RGB", (64, 64), "white").save(tmp_path / "white.png")
    (tmp_path / "text.png").write_text("not a picture")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("twinset.cli.draw.load", lambda *_, **__: pipe)
    assert run(monkeypatch, "generate", "--prompt", "x", *arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and words in lines[0] and lines[0].startswith("twinset: ")


def test_poses_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "poses", "--json", "-o", tmp_path / "poses.png") == 0
    assert "walking" in json.loads(capsys.readouterr().out)
    assert (tmp_path / "poses.png").stat().st_size > 0
