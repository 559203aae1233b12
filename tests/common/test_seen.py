"""Perception results on disk: found again for the same content only, bounded, private, never trusted blindly."""

from __future__ import annotations

import io
import json
import os
import stat
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.helpers.tiny import batches, noise_picture, save_tiny
from twinset.cli import app
from twinset.common.result_cache import Arrays, PerceptionCache, counted, default_folder
from twinset.pipelines.compose import compose
from twinset.pipelines.draw import draw
from twinset.pipelines.request import read_request
from twinset.pipelines.studio import StudioPipeline

PICTURE = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)


class Work:
    """Counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Arrays:
        self.calls += 1
        return {"landmarks": np.full((1, 5, 2), self.calls, np.float32), "note": np.array("größer")}


def test_the_same_content_is_perceived_once(tmp_path: Path) -> None:
    work = Work()
    first = PerceptionCache(tmp_path)("faces", work, PICTURE, revision="a", size=640)
    again = PerceptionCache(tmp_path)("faces", work, PICTURE.copy(), revision="a", size=640)
    assert work.calls == 1
    np.testing.assert_array_equal(first["landmarks"], again["landmarks"])
    assert str(again["note"]) == "größer"


@pytest.mark.parametrize(
    "other",
    [
        ("poses", PICTURE, {"revision": "a", "size": 640}),
        ("faces", PICTURE + 1, {"revision": "a", "size": 640}),
        ("faces", PICTURE.reshape(2, 8, 3), {"revision": "a", "size": 640}),
        ("faces", PICTURE.view(np.int8), {"revision": "a", "size": 640}),
        ("faces", PICTURE, {"revision": "b", "size": 640}),
        ("faces", PICTURE, {"revision": "a", "size": 320}),
    ],
)
def test_other_content_is_perceived_anew(other: tuple, tmp_path: Path) -> None:
    seen, work = PerceptionCache(tmp_path), Work()
    seen("faces", work, PICTURE, revision="a", size=640)
    what, picture, parameters = other
    seen(what, work, picture, **parameters)
    assert work.calls == 2


def test_without_a_folder_nothing_is_kept() -> None:
    work = Work()
    for _ in range(2):
        PerceptionCache()("faces", work, PICTURE, revision="a")
    assert work.calls == 2 and PerceptionCache().entries() == []


def test_damaged_and_pickled_files_are_misses(tmp_path: Path) -> None:
    seen, work = PerceptionCache(tmp_path), Work()
    seen("faces", work, PICTURE, revision="a")
    path = seen.entries()[0].path
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.warns(UserWarning, match="damaged"):
        seen("faces", work, PICTURE, revision="a")
    content = io.BytesIO()
    np.savez(content, landmarks=np.array([print], dtype=object))
    path.write_bytes(seen.seal.close(content.getvalue(), path.name))
    assert seen("faces", work, PICTURE, revision="a")["landmarks"].max() == 3
    assert work.calls == 3
    seen("faces", work, PICTURE, revision="a")
    assert work.calls == 3


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    seen, work = PerceptionCache(tmp_path), Work()
    for index in range(3):
        seen("faces", work, PICTURE + index, revision="a")
        for age, entry in enumerate(reversed(seen.entries())):
            os.utime(entry.path, (1_000_000 - age, 1_000_000 - age))
    kept = seen.entries()
    seen.limit = sum(entry.size for entry in kept)
    seen("faces", work, PICTURE, revision="a")  # used now
    seen("faces", work, PICTURE + 9, revision="a")
    left = {entry.path for entry in seen.entries()}
    assert len(left) == 3 and kept[0].path in left and kept[1].path not in left
    assert not list(tmp_path.glob("*.tmp"))


def test_files_are_their_owners_alone(tmp_path: Path) -> None:
    seen = PerceptionCache(tmp_path / "cache")
    seen("faces", Work(), PICTURE, revision="a")
    assert stat.S_IMODE(seen.entries()[0].path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o700


@pytest.mark.long
def test_a_second_request_runs_no_perception_network(tmp_path: Path) -> None:
    """Nor does a second run of the program: the networks are loaded anew, the results are on disk."""
    folder, crop = save_tiny(tmp_path / "tiny"), tmp_path / "selfie.png"
    Image.fromarray(noise_picture(112, 112)).save(crop)
    dress = tmp_path / "dress.png"
    Image.fromarray(np.pad(noise_picture(60, 40), ((20, 20), (20, 20), (0, 0)), constant_values=255)).save(dress)
    request, calls, pictures = (
        read_request({"prompt": "x", "selfie": crop, "garments": [dress], "steps": 1, "seed": 1}),
        [],
        [],
    )
    for _ in range(2):
        pipe = StudioPipeline.from_pretrained(folder)
        pipe.perception_cache = PerceptionCache(tmp_path / "seen")
        with ExitStack() as stack:
            networks: Any = (pipe.face_finder, pipe.face_encoder, pipe.image_encoder, pipe.clip.image_encoder)
            seen = [stack.enter_context(batches(network)) for network in networks]
            pictures.append(draw(pipe, request, compose(pipe, request), 0))
        calls.append([len(batch) for batch in seen])
    assert all(calls[0]) and calls[1] == [0, 0, 0, 0]
    assert np.array_equal(pictures[0], pictures[1])


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWINSET_CACHE", str(tmp_path))
    seen = PerceptionCache(default_folder())
    for what in ("faces", "faces", "parsing"):
        seen(what, Work(), np.random.default_rng().integers(255, size=(4, 4)), revision="a")
    assert {what: number for what, (number, _) in counted(seen.entries()).items()} == {"faces": 2, "parsing": 1}
    shown = json.loads(CliRunner().invoke(app, ["cache", "--json"]).stdout)
    assert shown["results"]["faces"]["number"] == 2 and shown["folder"] == str(tmp_path / "seen")
    assert CliRunner().invoke(app, ["cache", "clear", "--older-than", "1d", "--json"]).stdout == (
        '{"deleted": 0, "bytes": 0}\n'
    )
    assert json.loads(CliRunner().invoke(app, ["cache", "clear", "--json"]).stdout)["deleted"] == 3
    assert seen.entries() == []
    with pytest.raises(Exception, match="give 30m"):
        CliRunner().invoke(app, ["cache", "clear", "--older-than", "soon"], catch_exceptions=False)
