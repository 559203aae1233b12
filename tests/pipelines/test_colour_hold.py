"""Plain clothes drawn from words keep their colours, in whatever light the picture has."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from tests.helpers.tiny import tiny_pipeline
from twinset.figure.labels import garment_labels
from twinset.pipelines.compose import compose
from twinset.pipelines.denoising.colour_hold import HeldColour, hold_colours, light_of
from twinset.pipelines.replay import as_recorded
from twinset.pipelines.request import Request

SHOES, UPPER = garment_labels("shoes"), garment_labels("shirt")
BLACK, RED = HeldColour(SHOES, (35, 35, 38)), HeldColour(UPPER, (200, 40, 50))


@pytest.fixture
def labels() -> np.ndarray:
    """A large upper garment above two small shoes."""
    made = np.zeros((256, 192), np.uint8)
    made[60:140, 60:130] = UPPER[0]
    made[220:234, 60:80], made[220:234, 100:120] = SHOES
    return made


def painted(
    labels: np.ndarray, colours: dict[tuple[int, ...], tuple[int, ...]], light: tuple[float, ...]
) -> np.ndarray:
    """A picture of pieces in their colours under a light, on grey."""
    picture = np.full((*labels.shape, 3), 120.0)
    for owned, colour in colours.items():
        picture[np.isin(labels, owned)] = colour
    return (picture * np.array(light)).round().clip(0, 255).astype(np.uint8)


def difference(picture: np.ndarray, where: np.ndarray, colour: np.ndarray) -> float:
    """CIEDE2000 between a region's median and a colour of 0 to 255."""
    return float(deltaE_ciede2000(rgb2lab(np.median(picture[where], axis=0) / 255), rgb2lab(colour / 255)))


@pytest.mark.parametrize("light", [(1.0, 1.0, 1.0), (0.98, 0.93, 0.86), (0.86, 0.9, 0.97)])
def test_a_drifted_piece_comes_back_in_the_light_of_the_others(labels: np.ndarray, light: tuple[float, ...]) -> None:
    picture = painted(labels, {UPPER: RED.colour, SHOES: (20, 30, 95)}, light)  # black shoes drawn navy
    held, shoes = hold_colours(picture, labels, [RED, BLACK]), np.isin(labels, SHOES)
    assert difference(picture, shoes, np.array(BLACK.colour) * light) > 15
    assert difference(held, shoes, np.array(BLACK.colour) * light) < 4
    outside = ~np.isin(labels, (*SHOES, *UPPER))
    assert np.array_equal(held[outside], picture[outside])


def test_what_is_right_in_its_light_stays(labels: np.ndarray) -> None:
    picture = painted(labels, {UPPER: RED.colour, SHOES: BLACK.colour}, (0.97, 0.92, 0.87))
    held = hold_colours(picture, labels, [RED, BLACK])
    assert np.abs(held.astype(int) - picture).max() <= 3


def test_folds_and_outlines_stay(labels: np.ndarray) -> None:
    picture = painted(labels, {UPPER: (60, 60, 210)}, (1, 1, 1))
    picture[100, 60:130] = (15, 15, 60)
    held = hold_colours(picture, labels, [RED])
    assert (
        held[100, 90].sum() < held[80, 90].sum() / 2
        and difference(held, np.isin(labels, UPPER), np.array(RED.colour)) < 7
    )


def test_a_light_is_no_more_than_a_light() -> None:
    assert light_of(np.array([[20, 30, 95]]), np.array([BLACK.colour]), np.array([50])).max() <= 1.12
    assert light_of(np.array([[250, 250, 250]]), np.array([[170, 170, 170]]), np.array([50])) == pytest.approx(
        [1, 1, 1]
    )


def test_pieces_too_small_to_have_a_colour_are_left_alone(labels: np.ndarray) -> None:
    small = np.zeros_like(labels)
    small[10:13, 10:13] = SHOES[0]
    picture = painted(small, {SHOES: (20, 30, 95)}, (1, 1, 1))
    assert hold_colours(picture, small, [BLACK]) is picture and hold_colours(picture, labels, []) is picture


def test_plain_clothes_of_the_words_are_held_and_no_others() -> None:
    made = compose(
        tiny_pipeline(), Request(prompt="red striped shirt, blue trousers, black shoes", seed=1, framing="full")
    )
    assert {each.labels for each in made.held} == {garment_labels("trousers"), SHOES}


def test_older_records_are_replayed_without() -> None:
    made = compose(tiny_pipeline(), Request(prompt="black shoes", seed=1, framing="full"))
    words = {"prompt": "as it was", "negative": None}
    older, today = (as_recorded(SimpleNamespace(format=n, composed=words), made) for n in (4, 5))  # type: ignore[arg-type]
    assert older.held == () and SHOES in {each.labels for each in today.held}
    assert older.prompt == today.prompt == "as it was"
