"""What is laid into a photo leaves the rest bit-equal, softly or without a seam."""

from __future__ import annotations

import numpy as np
import pytest

from twinset.pipelines.denoising.blending import blend, inner_feather

RNG = np.random.default_rng(0)
PHOTO = RNG.integers(0, 255, (40, 30, 3), dtype=np.uint8)
DRAWN = RNG.integers(0, 255, (40, 30, 3), dtype=np.uint8)
MASK = np.zeros((40, 30), bool)
MASK[10:30, 5:25] = True


@pytest.mark.parametrize("how", ["soft", "poisson"])
def test_outside_is_bit_equal_and_inside_changes(how) -> None:
    done = blend(PHOTO, DRAWN, MASK, how)
    np.testing.assert_array_equal(done[~MASK], PHOTO[~MASK])
    assert (done[MASK] != PHOTO[MASK]).any(-1).mean() > 0.9


def test_soft_is_the_drawn_picture_away_from_the_rim_and_between_both_at_it() -> None:
    done = blend(np.zeros_like(PHOTO), np.full_like(PHOTO, 200), MASK, width=4)
    assert (done[16:24, 11:19] == 200).all()
    assert 0 < done[10, 15, 0] < 100


def test_poisson_takes_the_photos_level_and_keeps_the_gradients() -> None:
    """A ramp 60 levels brighter comes out as the ramp itself: what Pérez' equation says of an offset."""
    rows, columns = np.mgrid[:40, :30]
    ramp = np.stack([rows + 20, 2 * columns, rows + columns], -1).astype(np.uint8)
    done = blend(ramp, ramp + np.uint8(60), MASK, "poisson")
    assert np.abs(done.astype(int) - ramp).max() <= 1


def test_poisson_reaches_to_the_border_of_the_picture() -> None:
    mask = np.zeros((40, 30), bool)
    mask[20:] = True
    flat = np.full((40, 30, 3), 90, np.uint8)
    np.testing.assert_array_equal(blend(flat, np.full_like(flat, 10), mask, "poisson"), flat)


def test_nothing_to_change_and_wrong_arguments() -> None:
    np.testing.assert_array_equal(blend(PHOTO, DRAWN, np.zeros((40, 30), bool)), PHOTO)
    with pytest.raises(ValueError, match="'hard'"):
        blend(PHOTO, DRAWN, MASK, "hard")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="differ in size"):
        blend(PHOTO, DRAWN, MASK[1:])


def test_feather_rises_from_the_rim_inwards() -> None:
    feather = inner_feather(MASK, 4)
    assert feather[~MASK].max() == 0 and feather[20, 15] == 1 and 0 < feather[10, 15] < 1
