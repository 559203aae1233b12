"""Selfies of ordinary people: which face is taken, and what is said of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from skimage import data

from twinset.common.result_cache import PerceptionCache
from twinset.errors import InputError
from twinset.models.face_finder import TEMPLATE, Face
from twinset.perception.faces.onnx import Detector, aligned
from twinset.pipelines.families.photo import PhotoBackend

ASTRONAUT = np.array([(205.0, 105), (247, 103), (228, 130), (208, 150), (245, 149)])


class Found:
    """A detector that knows where the faces are."""

    sha256 = "0"

    def __init__(self, *landmarks: np.ndarray):
        self.faces = [Face(points, 0.9) for points in landmarks]

    def find(self, picture: np.ndarray) -> list[Face]:
        return self.faces


def people(*landmarks: np.ndarray) -> PhotoBackend:
    return PhotoBackend(
        cast(Any, SimpleNamespace(perception_cache=PerceptionCache())),
        (64, 64),
        None,
        cast(Detector, Found(*landmarks)),
    )


def test_a_good_selfie_needs_no_words() -> None:
    notes: list[str] = []
    selfie = people(ASTRONAUT).selfie(data.astronaut(), Path("me.jpg"), notes)
    assert notes == [] and selfie.crop.shape == (224, 224, 3)
    np.testing.assert_array_equal(selfie.face, aligned(data.astronaut(), ASTRONAUT))


def test_choice_and_warnings() -> None:
    far, notes = TEMPLATE * 0.3 + np.array([330, 150]), []
    assert len(people(ASTRONAUT, far).selfie(data.astronaut(), Path("me.jpg"), notes, "2").face) == 112
    assert notes[0] == "selfie 'me.jpg' shows 2 faces; number 2 from the left is used"
    assert any("the face is small (11 px between the eyes); use a closer" in note for note in notes[1:])
    notes.clear()
    people(ASTRONAUT, far).selfie(data.astronaut(), Path("me.jpg"), notes)
    assert notes == ["selfie 'me.jpg' shows 2 faces; the largest is used"]


def test_no_such_face() -> None:
    with pytest.raises(InputError, match="face '3' is not among the 1 found"):
        people(ASTRONAUT).selfie(data.astronaut(), Path("me.jpg"), [], "3")
    with pytest.raises(InputError, match="shows no face"):
        people().selfie(data.astronaut(), Path("me.jpg"), [])


def test_kind_by_outline_only_where_it_is_plain() -> None:
    shoes, rectangle = np.full((100, 160, 3), 255, np.uint8), np.full((100, 160, 3), 255, np.uint8)
    shoes[30:70, 20:70] = shoes[30:70, 90:140] = (30, 60, 200)
    rectangle[10:90, 40:120] = (30, 60, 200)
    assert people().guess_kind(shoes, Path("a.png")) == "shoes"
    with pytest.raises(InputError, match=r"needs its kind .*\(by its outline trousers or skirt or shorts\)"):
        people().guess_kind(rectangle, Path("a.png"))
