"""Colour repair does what its sources say, only where it may, and as strongly as asked."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.color import rgb2lab

from twinset.pipelines.controller.colour_repair import even_shading, match_skin, reinhard, relight
from twinset.scoring.light import shading_slope

RNG = np.random.default_rng(0)
FACE, SKIN = np.zeros((60, 60), bool), np.zeros((60, 60), bool)
FACE[5:30, 5:55], SKIN[35:55, 5:55] = True, True
EMPTY = np.zeros_like(FACE)


def two_tones(face: tuple[int, int, int] = (200, 150, 120), skin: tuple[int, int, int] = (150, 110, 95)) -> np.ndarray:
    picture = np.full((60, 60, 3), 90.0)
    picture[FACE], picture[SKIN] = face, skin
    picture[FACE | SKIN] += RNG.normal(0, 4, (int((FACE | SKIN).sum()), 3))
    return picture.round().clip(0, 255).astype(np.uint8)


def inner(mask: np.ndarray) -> np.ndarray:
    """Away from the rim, where a change is whole."""
    from scipy.ndimage import binary_erosion

    return binary_erosion(mask, iterations=3)


def test_reinhard_gives_mean_and_spread_of_the_other_region() -> None:
    picture = two_tones()
    moved = rgb2lab(reinhard(picture, FACE, picture[SKIN]))
    lab = rgb2lab(picture)
    np.testing.assert_allclose(moved[inner(FACE)].mean(0), lab[SKIN].mean(0), atol=1.0)
    np.testing.assert_allclose(moved[inner(FACE)].std(0), lab[SKIN].std(0), rtol=0.25)


def test_match_skin_moves_medians_and_leaves_features_their_contrast() -> None:
    picture = two_tones()
    picture[15:18, 20:40] = 20  # eyes
    moved = rgb2lab(match_skin(picture, FACE, SKIN))
    lab = rgb2lab(picture)
    assert np.linalg.norm(np.median(moved[inner(FACE)], 0) - np.median(lab[SKIN], 0)) < 1.5
    before = np.median(lab[FACE][:, 0]) - lab[16, 30, 0]
    assert np.median(moved[inner(FACE)][:, 0]) - moved[16, 30, 0] > 0.6 * before


def test_relight_undoes_a_light_and_stays_within_reason() -> None:
    picture = two_tones()
    gain = np.array([0.9, 1.0, 1.2])
    lit = relight(picture, FACE, gain)
    back = relight(lit, FACE, 1 / gain)
    assert np.abs(back[inner(FACE)].astype(int) - picture[inner(FACE)]).max() <= 2
    wild = relight(picture, FACE, np.full(3, 50.0))
    assert np.median(wild[inner(FACE)] / picture[inner(FACE)]) <= 1.61


def test_even_shading_takes_over_the_slope() -> None:
    picture = two_tones()
    ramp = np.exp(np.linspace(-0.3, 0.3, 60))[None, :, None]
    picture = np.where(FACE[..., None], (picture * ramp).clip(0, 255), picture).astype(np.uint8)
    before, after = (shading_slope(p, inner(FACE)) for p in (picture, even_shading(picture, FACE, SKIN)))
    assert before[1] > 0.008 and abs(after[1]) < 0.15 * before[1]


@pytest.mark.parametrize("repair", [
    lambda p, s: reinhard(p, FACE, p[SKIN], s), lambda p, s: match_skin(p, FACE, SKIN, s),
    lambda p, s: relight(p, FACE, np.array([0.7, 1, 1.2]), s), lambda p, s: even_shading(p, FACE, SKIN, s),
])  # fmt: skip
def test_strength_and_region(repair) -> None:
    picture = two_tones()
    np.testing.assert_array_equal(repair(picture, 0.0), picture)
    half, whole = (np.abs(repair(picture, s).astype(int) - picture).sum() for s in (0.5, 1.0))
    assert 0 <= half <= 0.6 * whole + 24
    np.testing.assert_array_equal(repair(picture, 1.0)[~FACE], picture[~FACE])


def test_regions_too_small_to_have_a_colour_change_nothing() -> None:
    picture = two_tones()
    for done in (reinhard(picture, FACE, picture[EMPTY]),
                 match_skin(picture, EMPTY, SKIN), relight(picture, EMPTY, np.ones(3)),
                 even_shading(picture, FACE, EMPTY)):  # fmt: skip
        np.testing.assert_array_equal(done, picture)
