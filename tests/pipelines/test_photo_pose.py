"""A picture given as the pose, and the poses that a user can name."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from twinset.errors import InputError
from twinset.figure import keypoints as kp
from twinset.figure import labels as atr
from twinset.figure.poses import NAMED, PRESETS, preset
from twinset.models.figure_reader import Figure
from twinset.models.hub.profiles import resolve
from twinset.pipelines.compose import choose_pose
from twinset.pipelines.families.photo_pose import PhotoReader, letterboxed, redressed
from twinset.prompts.brief import read_brief


def figure_of(width: int = 100, height: int = 200) -> Figure:
    labels = np.zeros((height, width), np.uint8)
    labels[40:160, 30:70] = atr.DRESS
    keypoints = np.zeros((18, 3), np.float32)
    keypoints[[kp.NECK, kp.R_HIP, kp.L_HIP]] = (50, 40, 0.9), (40, 100, 0.8), (60, 100, 0.7)
    return Figure(keypoints, labels)


def test_a_figure_is_letterboxed() -> None:
    keypoints, labels = letterboxed(figure_of(), (512, 768))
    assert labels.shape == (768, 512) and not labels[:, :64].any() and not labels[:, 448:].any()
    np.testing.assert_allclose(keypoints[kp.NECK], (64 + 50 * 3.84, 40 * 3.84, 1), rtol=1e-5)
    assert not keypoints[kp.NOSE].any()
    rows, columns = np.nonzero(labels == atr.DRESS)
    assert abs(rows.min() - 40 * 3.84) < 2 and abs(columns.max() - (64 + 70 * 3.84)) < 2


def test_given_garments_own_what_was_worn() -> None:
    figure = figure_of()
    two = redressed(figure.labels, figure.keypoints, ("t_shirt", "trousers"))
    assert (two[40:100, 30:70] == atr.UPPER).all() and (two[100:160, 30:70] == atr.PANTS).all()
    assert (redressed(two, figure.keypoints, ("dress",)) == figure.labels).all()
    assert (redressed(two, figure.keypoints, ("shoes",)) == two).all()


class PhotoPeople:
    """A family that reads photographs and draws all poses."""

    size = (512, 768)

    def __init__(self, photos: Any):
        self.photos = photos

    def figure(self, picture: np.ndarray) -> Figure:
        return self.photos.read(picture)

    def adopt(self, keypoints: np.ndarray, name: str, notes: list[str]) -> np.ndarray:
        return keypoints


def chosen(photos: Any, path: Path) -> Any:
    request: Any = SimpleNamespace(pose=str(path), framing="full")
    people: Any = PhotoPeople(photos)
    return choose_pose(people, request, read_brief("a person"), np.random.default_rng(0), [])


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.new("RGB", (100, 200), "red").save(tmp_path / "photo.jpg")
    return tmp_path / "photo.jpg"


def test_a_picture_is_a_pose(photo: Path) -> None:
    name, keypoints, labels = chosen(SimpleNamespace(read=lambda picture: figure_of()), photo)
    assert name == str(photo) and keypoints.shape == (18, 3) and (labels == atr.DRESS).any()
    empty = Figure(np.zeros((18, 3), np.float32), np.zeros((200, 100), np.uint8))
    with pytest.raises(InputError, match="shows nobody"):
        chosen(SimpleNamespace(read=lambda picture: empty), photo)


def test_without_networks_one_line_says_so(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rtmlib", None)
    with pytest.raises(InputError, match=r"pip install 'twinset\[pose\]'"):
        chosen(PhotoReader(resolve("sd15")), photo)


def test_commercial_use_leaves_the_parser_out(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twinset.pipelines.families.photo_pose.keypoints_of", lambda *_: [figure_of().keypoints])
    _, keypoints, labels = chosen(PhotoReader(resolve("sd15"), commercial=True), photo)
    assert labels is None and keypoints[kp.NECK, 2] == 1


# Named poses


def test_poses_that_only_a_name_draws_leave_what_seeds_draw() -> None:
    assert len(NAMED) >= 16 and list(NAMED)[: len(PRESETS)] == list(PRESETS) and len(PRESETS) == 15
    people: Any = SimpleNamespace(size=(192, 256), preset=preset)
    for name in set(NAMED) - set(PRESETS):
        request: Any = SimpleNamespace(pose=f"{name}:mirror", framing="full")
        _, keypoints, labels = choose_pose(people, request, read_brief("x"), np.random.default_rng(0), [])
        assert labels is None and keypoints[:, 2].all()
