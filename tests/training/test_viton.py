"""Mannequin as a VITON-HD folder: its layout, its pairs, its keypoints, and that a stopped run goes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from twinset.errors import InputError
from twinset.figure.labels import PALETTE
from twinset.perception.people.keypoint_files import read_keypoints
from twinset.training.mannequin import render, viton
from twinset.training.mannequin.spec import draw_spec

NAMES = ("00000_00", "00001_00", "00002_00")
HELD_OUT = 900_000_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Three training samples and three held-out ones."""
    out = tmp_path_factory.mktemp("viton")
    viton.write_viton(out, 3)
    viton.write_viton(out, 3, "held_out")
    return out


def files(out: Path) -> dict[str, int]:
    """Every file with its time of writing."""
    return {str(path.relative_to(out)): path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}


def test_layout_is_that_of_viton_hd(folder):
    wanted = {f"{half}_pairs.txt" for half in ("train", "test")}
    for half in ("train", "test"):
        wanted |= {f"{half}/{file.format(name)}" for file in viton.FILES for name in NAMES}
    assert set(files(folder)) == wanted
    for name in ("image/00000_00.jpg", "cloth/00000_00.jpg", "openpose_img/00000_00_rendered.png"):
        assert np.asarray(Image.open(folder / "train" / name)).shape == (256, 192, 3)


def test_pairs_are_worn_in_train_and_swapped_in_test(folder):
    pictures = [f"{name}.jpg" for name in NAMES]
    worn = [line.split() for line in (folder / "train_pairs.txt").read_text().splitlines()]
    swapped = [line.split() for line in (folder / "test_pairs.txt").read_text().splitlines()]
    assert worn == [[p, p] for p in pictures]
    assert swapped == [[p, c] for p, c in zip(pictures, pictures[1:] + pictures[:1], strict=True)]


def test_parsing_is_a_palette_picture_of_our_labels(folder):
    parsing = Image.open(folder / "test/image-parse-v3/00001_00.png")
    assert parsing.mode == "P"
    assert np.array_equal(np.asarray(parsing), render.render_parsing(draw_spec(HELD_OUT + 1, "held_out")))
    assert np.array_equal(np.asarray(parsing.convert("RGB")), PALETTE[np.asarray(parsing)])


def test_cloth_mask_covers_the_cloth(folder):
    cloth = np.asarray(Image.open(folder / "train/cloth/00002_00.jpg")).astype(int)
    mask = np.asarray(Image.open(folder / "train/cloth-mask/00002_00.jpg")) > 127
    assert mask.mean() > 0.15
    assert (cloth[~mask].min(-1) > 200).mean() > 0.97


@pytest.mark.parametrize(("half", "first", "split"), [("train", 0, "train"), ("test", HELD_OUT, "held_out")])
def test_keypoints_come_back_in_pixels(folder, half, first, split):
    for number, name in enumerate(NAMES):
        read = read_keypoints(folder / half / f"openpose_json/{name}_keypoints.json")
        true = render.true_keypoints(draw_spec(first + number, split))
        assert np.array_equal(read[:, 2], true[:, 2])
        seen = true[:, 2] > 0
        np.testing.assert_allclose(read[seen], true[seen], atol=2e-3)
        assert not read[~seen].any()


def test_mid_hip_is_joint_8():
    keypoints = render.true_keypoints(draw_spec(0))
    keypoints[[8, 11]] = (80, 200, 1), (110, 204, 1)
    joints = np.reshape(viton.openpose_json(keypoints)["people"][0]["pose_keypoints_2d"], (25, 3))
    assert joints[8].tolist() == [95, 202, 1]
    assert not joints[19:].any()


def test_a_stopped_run_goes_on(folder):
    before = files(folder)
    lost = folder / "train/image/00001_00.jpg"
    content = lost.read_bytes()
    lost.unlink()
    viton.write_viton(folder, 3)
    assert lost.read_bytes() == content
    kept = {name for name in before if "00001_00" not in name and "pairs" not in name}
    assert kept == {name for name, time in files(folder).items() if before[name] == time and name in kept}
    viton.write_viton(folder, 2, start=1)  # a part of what is there: nothing to render, all stay paired
    assert len((folder / "train_pairs.txt").read_text().splitlines()) == 3


def test_other_splits_and_empty_runs_are_refused(tmp_path):
    with pytest.raises(InputError, match="'judge'"):
        viton.write_viton(tmp_path, 1, "judge")
    with pytest.raises(ValueError, match="count 0"):
        viton.write_viton(tmp_path, 0)
