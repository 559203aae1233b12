"""InsightFace's package in place of our own reading of its files: with the real one where it is installed."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from tests.helpers.hub import COMMIT, Hub, sha256
from tests.helpers.hub import hub as hub
from tests.perception.test_onnx_faces import recogniser_graph, red, scrfd_graph
from twinset.errors import InputError
from twinset.models.face_finder import TEMPLATE
from twinset.models.hub.catalog import BUFFALO_L
from twinset.models.hub.download import pull_parts
from twinset.models.hub.profiles import ON_HUB
from twinset.perception.faces.insightface_package import PARTS, InsightFace, profile_faces
from twinset.perception.faces.onnx import Detector, Recogniser

FILES = ("w600k_r50.onnx", "det_10g.onnx")


class FakeAnalysis:
    """Stands for `insightface.app.FaceAnalysis` 2.1: two faces as likely as the picture, read as BGR, is red."""

    def __init__(self, name: str, allowed_modules: list[str], providers: list[str]):
        if not Path(name).is_dir():
            raise AssertionError(name)
        self.models = {
            "detection": self,
            "recognition": SimpleNamespace(get_feat=lambda crop: crop[:1, :1, ::-1] * 1.0),
        }
        self.det_model = self

    def prepare(self, ctx_id: int, det_size: tuple[int, int]) -> None:
        self.det_size = det_size

    def detect(self, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        score = float(picture[0, 0, 2]) / 255
        boxes = [(0, 0, 112 * k, 112 * k, score / k) for k in (1, 2)]
        return np.array(boxes), np.array([TEMPLATE * k for k in (1, 2)])


def fake_insightface(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module in insightface's place."""
    package, app = cast(Any, ModuleType("insightface")), cast(Any, ModuleType("insightface.app"))
    package.__version__, app.FaceAnalysis = "2.1", FakeAnalysis
    monkeypatch.setitem(sys.modules, "insightface", package)
    monkeypatch.setitem(sys.modules, "insightface.app", app)


def pack(folder: Path) -> Path:
    """A folder with small graphs by the names of buffalo_l's files."""
    folder.mkdir(parents=True, exist_ok=True)
    recogniser_graph(folder / FILES[0], seed=0)
    scrfd_graph(folder / FILES[1], size=(640, 640))
    return folder


def test_faces_and_embeddings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_insightface(monkeypatch)
    both = InsightFace(pack(tmp_path), size=(320, 320))
    large, small = both.find(red())
    np.testing.assert_allclose(large.landmarks, TEMPLATE * 2 + 0.5, rtol=1e-6)
    assert small.box is not None and small.score == 1 and large.score == 0.5
    np.testing.assert_allclose(small.box, np.array([0.5, 0.5, 112.5, 112.5]))
    assert len(both.find(red(), threshold=0.6)) == 1
    np.testing.assert_array_equal(both.embed(red(112, 112)), [255, 0, 0])
    with pytest.raises(ValueError, match="expected uint8"):
        both.embed(red())
    assert both.sha256 != InsightFace(tmp_path, size=(640, 640)).sha256  # what is kept of one canvas is not another's


def test_the_real_package_sees_what_our_own_reading_sees(tmp_path: Path) -> None:
    pytest.importorskip("insightface.app", exc_type=ImportError)
    both, picture = InsightFace(pack(tmp_path)), np.full((500, 640, 3), 255, np.uint8)
    own = Detector(tmp_path / FILES[1]).find(picture)
    assert len(own) == 2
    for theirs, ours in zip(both.find(picture), own, strict=True):
        np.testing.assert_allclose(theirs.landmarks, ours.landmarks, atol=1e-3)
        assert theirs.score == pytest.approx(ours.score, abs=1e-5)
    crop = np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    np.testing.assert_allclose(both.embed(crop), Recogniser(tmp_path / FILES[0]).embed(crop), atol=1e-5)


def test_what_is_wrong_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_insightface(monkeypatch)
    with pytest.raises(InputError, match=r"no models of insightface in .*none"):
        InsightFace(tmp_path / "none")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / FILES[1]).write_bytes(b"nothing")
    monkeypatch.setattr(FakeAnalysis, "prepare", lambda *_, **__: 1 / 0)
    with pytest.raises(InputError, match=r"ZeroDivisionError.*models pull sd15 --part buffalo_l --part") as error:
        InsightFace(tmp_path / "torn")
    assert "\n" not in str(error.value)
    monkeypatch.setitem(sys.modules, "insightface.app", None)
    with pytest.raises(InputError, match=r"'insightface' does not load .*pip install 'twinset\[faces\]'"):
        InsightFace(tmp_path / "torn")


def test_it_runs_the_files_that_the_profile_pulled(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if find_spec("insightface") is None:
        fake_insightface(monkeypatch)
    pack(tmp_path / "models")
    hub.files = {f"models/buffalo_l/{name}": (tmp_path / "models" / name).read_bytes() for name in FILES}
    pinned = {str(part.file): sha256(hub.files[str(part.file)]) for part in BUFFALO_L}
    parts = tuple(replace(p, sha256=pinned[str(p.file)], size=None, revision=COMMIT) for p in BUFFALO_L)
    profile = replace(ON_HUB["sd15"], parts=parts)
    with pytest.raises(InputError, match=r"part 'buffalo_l' .* lacks .*; pull once without --offline"):
        profile_faces(profile)
    assert len(list(pull_parts(profile, profile.chosen(PARTS), endpoint=hub.url))) == 2
    asked = len(hub.requests)
    faces = profile_faces(profile)
    assert faces.name == "buffalo_l" and len(faces.find(np.full((640, 640, 3), 255, np.uint8))) == 2
    assert len(hub.requests) == asked  # it downloads nothing
