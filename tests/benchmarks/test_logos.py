"""Reading logos off chests: told from one another on truths, none where none is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from twinset.benchmarks.logos import logo_is_right, logo_likeness
from twinset.training.mannequin import render
from twinset.training.mannequin.spec import LOGOS, Spec, draw_garment, draw_spec


def wearing(logo: str | None, pattern: str = "plain") -> Spec:
    upper = replace(draw_garment("hoodie", np.random.default_rng(5)), logo=logo, pattern=pattern)
    spec = draw_spec(62_002, "train")
    return replace(spec, garments={"upper": upper, "shoes": spec.garments["shoes"]})


@pytest.mark.long
@pytest.mark.parametrize("pattern", ["plain", "dots"])
def test_true_logos_are_right_and_others_wrong(pattern: str) -> None:
    asked = wearing("bolt", pattern)
    found = {logo: logo_is_right(asked, render.render_picture(wearing(logo, pattern))) for logo in (*LOGOS, None)}
    assert found == dict.fromkeys((*LOGOS, None), 0.0) | {"bolt": 100.0}


def test_a_cast_changes_nothing() -> None:
    picture = render.render_picture(wearing("star")).astype(float)
    dimmed = (0.7 * picture + 30).astype(np.uint8)
    assert logo_is_right(wearing("star"), dimmed) == 100.0
    assert logo_likeness(wearing("star"), dimmed).max() > 0.8


def test_nothing_is_said_of_hidden_and_of_absent_logos() -> None:
    assert np.isnan(logo_is_right(wearing(None), render.render_picture(wearing(None))))
    far = wearing("star")
    far = replace(far, where=replace(far.where, scale=0.1 * far.where.scale))
    assert np.isnan(logo_likeness(far, render.render_picture(far))).all()
