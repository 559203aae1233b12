"""The serial way: each stage changes its own part, and FaceFusion takes the first one's place where it is installed."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from twinset.adapters.condition import Layout
from twinset.errors import InputError
from twinset.figure.drawing.flat_garments import render_flat
from twinset.figure.keypoints import FRAME
from twinset.figure.labels import FACE, GARMENT_KINDS
from twinset.models.vae import decode_latents
from twinset.pipelines.baseline import face_fusion
from twinset.pipelines.baseline.serial import draw_serially, repair, warped
from twinset.pipelines.compose import backend_of, compose
from twinset.pipelines.controller.measures import shading_mismatch
from twinset.pipelines.draw import draw
from twinset.pipelines.families.backend import Selfie
from twinset.pipelines.request import read_request
from twinset.pipelines.stages import Lay, View
from twinset.pipelines.studio import StudioPipeline
from twinset.training.mannequin import render
from twinset.training.mannequin.spec import draw_plain_spec

PERSON, OTHER = draw_plain_spec(61_001, "train"), draw_plain_spec(61_501, "train")
UPPER = OTHER.garments["upper"]
LAYOUT = Layout(render.layout_keypoints(PERSON), render.render_parsing(PERSON))


def painted(layout: Layout, lay: Lay) -> np.ndarray:
    """In place of a pass: one colour, so that it is seen what each stage keeps."""
    return np.full((256, 192, 3), 10 + 60 * len(lay(View(FRAME), layout)), np.uint8)


def differ(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pixels (H, W) that differ."""
    return np.abs(a.astype(int) - b).max(-1) > 0


def test_each_stage_changes_its_own_part(studio: StudioPipeline) -> None:
    photo, selfie = render.render_picture(PERSON), Selfie(render.render_crop(OTHER), render.render_crop(OTHER))
    flats = {UPPER.kind: render_flat(UPPER)}
    stages = draw_serially(studio, backend_of(studio), painted, LAYOUT, selfie, flats, photo)
    assert stages.first is photo
    swapped = differ(stages.swapped, photo)
    face = LAYOUT.labels == FACE
    assert swapped[face].mean() > 0.8 and swapped[~face].mean() < 0.1  # as the reader sees it
    dressed = differ(stages.dressed, stages.swapped)
    worn = np.isin(LAYOUT.labels, GARMENT_KINDS[PERSON.garments["upper"].kind][1])
    assert dressed[worn].mean() > 0.7 and dressed[face].mean() < 0.1
    repaired = differ(stages.repaired, stages.dressed)
    assert repaired[face].mean() > 0.3 and repaired[~face].mean() < 0.1


def test_a_stage_without_anything_to_do_hands_on_what_it_got(studio: StudioPipeline) -> None:
    photo = render.render_picture(PERSON)
    stages = draw_serially(studio, backend_of(studio), painted, LAYOUT, None, {}, photo)
    assert stages.repaired is photo


def test_the_warp_is_the_draft(studio: StudioPipeline) -> None:
    """A thin-plate warp of a red garment gives a red draft where the garment lies."""
    flat = render_flat(UPPER)
    red = np.where(np.any(flat < 250, axis=-1, keepdims=True), np.array([220, 20, 20], np.uint8), flat)
    target = Layout(LAYOUT.keypoints, backend_of(studio).labels(LAYOUT.keypoints, (UPPER.kind, "trousers"), "short"))
    ours = studio.garment(red, UPPER.kind, target)
    theirs = warped(studio, ours, red, UPPER.kind, target)
    assert theirs.draft is not None and ours.draft is not None and theirs.tokens is ours.tokens
    with torch.no_grad():
        pixels = decode_latents(studio.vae, theirs.draft)[0].permute(1, 2, 0).numpy() / 2
    region = np.isin(target.labels, GARMENT_KINDS[UPPER.kind][1])
    assert (pixels[region][:, 0] - pixels[region][:, 1] > 0.4).mean() > 0.7


def test_without_shoulders_the_draft_stays(studio: StudioPipeline) -> None:
    flat, keypoints = render_flat(UPPER), LAYOUT.keypoints.copy()
    keypoints[[2, 5]] = 0
    layout = Layout(keypoints, LAYOUT.labels)
    garment = studio.garment(flat, UPPER.kind, LAYOUT)
    assert warped(studio, garment, flat, UPPER.kind, layout) is garment


def test_repair_brings_the_face_to_the_skin_that_was_there() -> None:
    picture, labels = render.render_picture(PERSON), render.render_parsing(PERSON)
    tinted = np.where((labels == FACE)[..., None], picture // 2, picture)
    face = labels == FACE

    def away(one: np.ndarray) -> float:
        return float(np.abs(one[face].astype(int) - picture[face]).mean())

    assert away(repair(tinted, labels)) < 0.6 * away(tinted)
    np.testing.assert_array_equal(repair(tinted, labels)[~face], tinted[~face])


def test_repair_compensates_light_from_another_side() -> None:
    picture, labels = render.render_picture(PERSON), render.render_parsing(PERSON)
    ramp = np.linspace(1.4, 0.4, 192)[None, :, None]
    lit = np.where((labels == FACE)[..., None], picture * ramp, picture).clip(0, 255).astype(np.uint8)
    assert shading_mismatch(repair(lit, labels), labels) < 0.5 * shading_mismatch(lit, labels)


@pytest.mark.long
def test_a_request_is_drawn_serially(studio: StudioPipeline, tmp_path: Path) -> None:
    Image.fromarray(render.render_selfie(OTHER)).save(tmp_path / "selfie.png")
    asked = {"prompt": "in the park", "selfie": tmp_path / "selfie.png", "pose": "standing", "seed": 1, "steps": 2}
    pictures = {}
    for way in ("joint", "serial"):
        request = read_request(asked | {"way": way, "guidance": 1.5})
        pictures[way] = np.asarray(draw(studio, request, compose(studio, request), 0))
    assert pictures["serial"].shape == (256, 192, 3) and (pictures["serial"] != pictures["joint"]).any()


def program(folder: Path, body: str) -> str:
    """A command that stands for FaceFusion: `body` sees its arguments as `args`."""
    script = folder / "facefusion.py"
    script.write_text(f"import sys\nargs = sys.argv[1:]\n{body}\n", encoding="utf-8")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return f"{sys.executable} {script}"


SWAP = """
from PIL import Image
assert args[:3] == ["headless-run", "--processors", "face_swapper"], args
given = dict(zip(args[3::2], args[4::2]))
target = Image.open(given["-t"])
target.paste(Image.open(given["-s"]).resize((40, 40)), (70, 30))
target.save(given["-o"])
"""


def test_face_fusion_is_called_through_its_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(face_fusion.VARIABLE, program(tmp_path, SWAP))
    swap, crop = face_fusion.face_fusion(), np.full((112, 112, 3), 77, np.uint8)
    assert swap is not None
    done = swap(Selfie(crop, crop), np.zeros((256, 192, 3), np.uint8))
    assert (done[30:70, 70:110] == 77).all() and (done[:30] == 0).all()


@pytest.mark.parametrize(("body", "said"), [
    ("sys.exit('no model')", "no model"),
    ("pass", "made no picture"),
    ("from PIL import Image; Image.new('RGB', (300, 200)).save(args[-1])", r"\(200, 300\)"),
])  # fmt: skip
def test_face_fusion_that_fails_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, said: str) -> None:
    monkeypatch.setenv(face_fusion.VARIABLE, program(tmp_path, body))
    swap, crop = face_fusion.face_fusion(), np.zeros((112, 112, 3), np.uint8)
    assert swap is not None
    with pytest.raises(InputError, match=said):
        swap(Selfie(crop, crop), np.zeros((256, 192, 3), np.uint8))


def test_face_fusion_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(face_fusion.VARIABLE, raising=False)
    monkeypatch.setenv("PATH", "")
    assert face_fusion.face_fusion() is None
    monkeypatch.setenv(face_fusion.VARIABLE, "/no/such/program")
    swap, crop = face_fusion.face_fusion(), np.zeros((112, 112, 3), np.uint8)
    assert swap is not None
    with pytest.raises(InputError, match="fix the command"):
        swap(Selfie(crop, crop), np.zeros((256, 192, 3), np.uint8))
