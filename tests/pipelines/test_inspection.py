"""`twinset inspect`: what was seen is told and drawn, and what cannot be seen is a note."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.helpers.tiny import noise_picture, save_tiny
from twinset.cli import app
from twinset.errors import InputError
from twinset.figure.drawing.flat_garments import render_flat
from twinset.figure.keypoints import KEYPOINT_NAMES
from twinset.models.face_finder import TEMPLATE, Face
from twinset.models.figure_reader import Figure
from twinset.pipelines.families.inspection import WORN, inspect_picture, inspection_sheet, marked, worn_pieces
from twinset.training.mannequin import render
from twinset.training.mannequin.spec import draw_plain_spec

SPEC = draw_plain_spec(3)
NOBODY = Figure(np.zeros((18, 3), np.float32), np.zeros((256, 192), np.uint8))


def eyes(**sees: Any) -> Any:
    """People that see what they are told to."""
    usual = {"faces": [], "figure": NOBODY, "guess_kind": "dress"} | sees

    def seer(value: Any) -> Any:
        def look(*_: object) -> Any:
            if isinstance(value, Exception):
                raise value
            return value

        return look

    return SimpleNamespace(**{name: seer(value) for name, value in usual.items()})


def saved(picture: np.ndarray, folder: Path) -> Path:
    path = folder / "picture.png"
    Image.fromarray(picture).save(path)
    return path


def test_a_dressed_person(tmp_path: Path) -> None:
    truth = Figure(render.true_keypoints(SPEC), render.render_parsing(SPEC))
    face = Face(TEMPLATE, 0.9)
    found = inspect_picture(eyes(figure=truth, faces=[face]), saved(render.render_picture(SPEC), tmp_path))
    told = found.to_json()
    assert found.kind is None and "upper-clothes" in found.pieces and "a person with" in found.summary()
    assert set(told["keypoints"]) == {n for n, p in zip(KEYPOINT_NAMES, truth.keypoints, strict=True) if p[2] > 0}
    assert told["labels"]["face"] == pytest.approx((truth.labels == 11).mean(), abs=1e-3)
    assert told["faces"][0]["landmarks"][0] == pytest.approx(TEMPLATE[0], abs=0.1)
    assert (marked(found) == (255, 215, 0)).all(-1).sum() > 50
    assert inspection_sheet([found]).width > 3 * 288


def test_worn_pieces_are_cut_out_on_white() -> None:
    picture, labels = render.render_picture(SPEC), render.render_parsing(SPEC)
    for name, piece in worn_pieces(picture, labels).items():
        mask = np.isin(labels, WORN[name])
        rows, columns = np.nonzero(mask)
        box = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
        np.testing.assert_array_equal(piece.picture[mask[box]], picture[mask])
        assert (piece.picture[~mask[box]] == 255).all()


def test_a_flat_garment(tmp_path: Path) -> None:
    found = inspect_picture(eyes(), saved(render_flat(SPEC.garments["upper"]), tmp_path))
    assert found.figure is None and found.kind == "dress" and list(found.pieces) == ["dress"]
    assert found.summary() == f"0 faces, laid flat: dress ({' and '.join(found.colours['dress'])})"


def test_what_cannot_be_seen_is_a_note(tmp_path: Path) -> None:
    blind = eyes(figure=InputError("no reader; pull one"), guess_kind=InputError("say the kind"))
    found = inspect_picture(blind, saved(np.full((40, 30, 3), 7, np.uint8), tmp_path))
    assert found.notes[:2] == ("no reader; pull one", "say the kind") and not found.pieces
    np.testing.assert_array_equal(marked(found), found.picture)


def test_command(tmp_path: Path) -> None:
    model, picture = save_tiny(tmp_path / "tiny"), saved(noise_picture(64, 48), tmp_path)
    out = tmp_path / "seen.png"
    result = CliRunner().invoke(app, ["inspect", str(picture), "--model", str(model), "-o", str(out), "--json"])
    (told,) = json.loads(result.stdout)
    assert (told["width"], told["height"]) == (48, 64) and Image.open(out).size[0] > 100
