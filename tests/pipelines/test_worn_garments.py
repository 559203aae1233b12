"""Garments that somebody wears in their picture: the piece is cut out by the parsing map, its kind told by it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from twinset.common.result_cache import PerceptionCache
from twinset.errors import InputError
from twinset.figure.drawing.flat_garments import render_flat
from twinset.figure.labels import DRESS, PANTS, SKIRT, UPPER
from twinset.models.figure_reader import FigureReader
from twinset.models.hub.profiles import BUNDLED
from twinset.pipelines.families.drawn import StudioBackend
from twinset.pipelines.families.given_pictures import MARGIN, laid_flat
from twinset.pipelines.families.photo import PhotoBackend
from twinset.pipelines.named_files import GarmentPicture
from twinset.training.mannequin import render
from twinset.training.mannequin.spec import Spec, draw_plain_spec


def wearing(label: int) -> Spec:
    return next(
        s for s in map(draw_plain_spec, range(80_000, 80_400)) if (render.render_parsing(s) == label).sum() > 2000
    )


def pictured(spec: Spec, folder: Path, kind: str | None = None) -> GarmentPicture:
    path = folder / "worn.png"
    Image.fromarray(render.render_picture(spec)).save(path)
    return GarmentPicture(path=path, kind=kind)


def knowing(labels: np.ndarray | None) -> Any:
    return SimpleNamespace(worn=lambda picture: labels)


@pytest.mark.long
@pytest.mark.parametrize(
    ("label", "kind", "told"), [(DRESS, None, "dress"), (UPPER, "shirt", None), (SKIRT, "skirt", None)]
)
def test_the_piece_is_cut_out(label: int, kind: str | None, told: str | None, tmp_path: Path) -> None:
    spec, notes = wearing(label), []
    labels = render.render_parsing(spec)
    picture, found = laid_flat(knowing(labels), pictured(spec, tmp_path, kind), notes)
    owned = labels == label if label in (DRESS, UPPER) else np.isin(labels, (SKIRT, PANTS))
    rows, columns = np.nonzero(owned)
    assert picture.shape[:2] == (np.ptp(rows) + 1 + 2 * MARGIN, np.ptp(columns) + 1 + 2 * MARGIN)
    inside = picture[MARGIN:-MARGIN, MARGIN:-MARGIN]
    box = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
    np.testing.assert_array_equal(inside[owned[box]], render.render_picture(spec)[owned])
    assert (inside[~owned[box]] == 255).all() and found == told
    (note,) = notes
    assert "shows somebody wearing it" in note


def test_a_piece_that_nobody_wears(tmp_path: Path) -> None:
    spec = wearing(DRESS)
    with pytest.raises(InputError, match="shows no bag"):
        laid_flat(knowing(render.render_parsing(spec)), pictured(spec, tmp_path, "bag"), [])


def test_flat_pictures_stay_as_they_are(tmp_path: Path) -> None:
    garment, notes = pictured(draw_plain_spec(1), tmp_path), []
    picture, told = laid_flat(knowing(None), garment, notes)
    assert picture.shape == (256, 192, 3) and told is None and not notes


def test_whoever_cannot_tell_says_so(tmp_path: Path) -> None:
    """Never silently flat: the note says what is missing."""
    people, notes = PhotoBackend(SimpleNamespace(), (64, 64), None, None), []  # type: ignore[arg-type]
    picture, told = laid_flat(people, pictured(draw_plain_spec(1), tmp_path), notes)
    assert picture.shape == (256, 192, 3) and told is None
    (note,) = notes
    assert "is taken as laid flat" in note and "has no networks that read people" in note
    flat = tmp_path / "flat.png"
    blue = Image.new("RGB", (96, 128), "white")
    blue.paste((30, 60, 200), (20, 20, 76, 108))
    blue.save(flat)
    assert laid_flat(people, GarmentPicture(path=flat), clear := [])[1] is None and clear == []


@pytest.mark.long
@pytest.mark.skipif(not (BUNDLED / "figure_reader").is_dir(), reason="the bundled model has no figure reader")
def test_the_bundled_reader_tells_worn_from_flat() -> None:
    reader = FigureReader.from_pretrained(BUNDLED / "figure_reader").eval()
    people = StudioBackend(SimpleNamespace(figure_reader=reader, perception_cache=PerceptionCache()))  # type: ignore[arg-type]
    specs = [draw_plain_spec(900_730_000 + index, "held_out") for index in range(12)]
    flats = [people.worn(render_flat(garment)) for spec in specs for garment in spec.garments.values()]
    worn = [people.worn(render.render_picture(spec)) for spec in specs]
    assert sum(labels is None for labels in flats) >= 0.95 * len(flats)
    assert sum(labels is not None for labels in worn) >= 11
