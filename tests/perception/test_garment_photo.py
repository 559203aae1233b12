"""Garment photographs: cut out, named, told apart, layered, and laid onto poses."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter
from scipy.ndimage import gaussian_filter

from twinset.errors import InputError
from twinset.figure.drawing.flat_garments import render_flat
from twinset.figure.keypoints import L_HIP, L_SHOULDER, R_HIP, R_SHOULDER
from twinset.figure.labels import BAG, DRESS, FACE, GARMENT_KINDS, LEFT_ARM, LEFT_SHOE, PANTS, UPPER
from twinset.figure.ordinary.poses import ordinary_preset
from twinset.perception.garments.colours import COLOURS, colour_names, colour_shares, nearest_names
from twinset.perception.garments.cutout import (
    KINDS_OF,
    class_by_parsing,
    class_of,
    colour_mask,
    cut_out,
    is_plain,
    plain_mask,
    worn_or_flat,
)
from twinset.perception.garments.outline import class_by_shape, shape_of
from twinset.perception.garments.tps_warp import pieces, spline_warp, warp_to_pose
from twinset.training.mannequin.spec import GarmentDesign, draw_garment, draw_plain_spec

CLASS_OF = {kind: name for name, kinds in KINDS_OF.items() for kind in kinds}
DRAWN = [kind for kind in CLASS_OF if kind != "bag"]


def test_every_kind_but_hats_and_eyewear_has_a_class() -> None:
    classless = {kind for kind in GARMENT_KINDS if class_of(kind) is None}
    assert classless == {kind for kind, (slot, _) in GARMENT_KINDS.items() if slot in ("hat", "eyewear")}
    assert class_of("heels") == "shoes" and class_of("jumper") == class_of("shirt") == "top"


def garment(kind: str, seed: int = 3) -> GarmentDesign:
    return draw_garment(kind, np.random.default_rng(seed))


def on_cloth(flat: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A flat drawing on a background with a gradient, grain and a soft shadow, and where the garment is."""
    truth, rng = plain_mask(flat), np.random.default_rng(seed)
    height, width = truth.shape
    y, x = np.mgrid[:height, :width] / np.array([height, width])[:, None, None] - 0.5
    ground = (190 + rng.integers(-25, 25, 3)) * (1 + 0.25 * x + 0.2 * y)[..., None] + rng.normal(
        0, 5, (height, width, 1)
    )
    shadow = Image.fromarray(np.roll(truth, (9, 7), (0, 1))).convert("L").filter(ImageFilter.GaussianBlur(8))
    ground *= 1 - 0.25 * np.asarray(shadow)[..., None] / 255
    return np.where(truth[..., None], flat, ground).clip(0, 255).astype(np.uint8), truth


class TestCutOut:
    @pytest.mark.parametrize("kind", ["shirt", "dress", "trousers"])
    def test_plain_background(self, kind: str) -> None:
        cut = cut_out(render_flat(garment(kind)))
        assert cut.way == "plain" and cut.confidence == 1 and cut.mask.any(0).all() and cut.mask.any(1).all()
        assert (cut.picture[~cut.mask] == 255).all()

    @pytest.mark.parametrize("kind", ["shirt", "skirt", "coat", "shoes"])
    def test_background_that_is_not_plain(self, kind: str) -> None:
        picture, truth = on_cloth(render_flat(garment(kind), (240, 320)), len(kind))
        assert not is_plain(picture)
        mask, confidence = colour_mask(picture)
        assert (mask & truth).sum() / (mask | truth).sum() > 0.88 and confidence > 0.8
        assert cut_out(picture).way == "colours"

    def test_worn_pieces_by_parsing(self) -> None:
        picture, labels = np.full((60, 40, 3), 90, np.uint8), np.zeros((60, 40), np.uint8)
        labels[10:30, 10:30], labels[30:50, 12:28] = UPPER, PANTS
        assert cut_out(picture, labels).mask.shape == (20, 20)
        assert cut_out(picture, labels, "bottom").mask.shape == (20, 16)
        with pytest.raises(InputError, match="shows no bag; give another picture"):
            cut_out(picture, labels, "bag")
        with pytest.raises(ValueError, match="'sock' is unknown; choose one of top"):
            cut_out(picture, labels, "sock")
        with pytest.raises(ValueError, match=r"parsing map has shape \(9, 9\); expected \(60, 40\)"):
            cut_out(picture, np.zeros((9, 9)))

    def test_nothing_to_see(self) -> None:
        with pytest.raises(InputError, match="shows one plain colour"):
            cut_out(np.full((40, 40, 3), 7, np.uint8))
        noise = np.random.default_rng(0).integers(100, 140, (80, 80, 3), dtype=np.uint8)
        with pytest.raises(InputError, match="does not stand out from its background; use a plain one"):
            cut_out(noise)


class TestKind:
    @pytest.mark.parametrize("kind", DRAWN)
    def test_outlines_of_drawn_garments(self, kind: str) -> None:
        guess = class_by_shape(cut_out(render_flat(garment(kind))).mask)
        assert guess.name == CLASS_OF[kind] and 0.5 < guess.confidence < 1

    def test_outlines_of_plain_figures(self) -> None:
        trousers = np.ones((200, 80), bool)
        trousers[60:, 36:44] = False
        assert class_by_shape(trousers).name == "bottom" and shape_of(trousers).legs == pytest.approx(0.7)
        shoes = np.zeros((40, 120), bool)
        shoes[:, :50] = shoes[:, 70:] = True
        assert class_by_shape(shoes).name == "shoes"

    def test_parsing(self) -> None:
        labels = np.zeros((60, 40), np.uint8)
        labels[10:40, 10:30], labels[45:50, 10:20] = DRESS, LEFT_SHOE
        guess = class_by_parsing(labels)
        assert guess.name == "dress" and guess.confidence == pytest.approx(600 / 650)
        assert worn_or_flat(np.zeros((60, 40, 3), np.uint8), labels).name == "flat"
        labels[5:10, 15:25], labels[20:40, 5:10] = FACE, LEFT_ARM
        assert worn_or_flat(np.zeros((60, 40, 3), np.uint8), labels).name == "worn"
        with pytest.raises(InputError, match="shows no garment"):
            class_by_parsing(np.zeros((9, 9), np.uint8))
        assert class_by_parsing(np.full((9, 9), BAG)).name == "bag"

    def test_worn_or_flat_by_skin(self) -> None:
        flat = np.full((60, 60, 3), 255, np.uint8)
        flat[15:45, 15:45] = (30, 60, 200)
        worn = flat.copy()
        worn[15:30, 15:45] = (220, 170, 140)
        assert worn_or_flat(flat).name == "flat" and worn_or_flat(worn).name == "worn"
        assert worn_or_flat(worn).confidence <= 0.5


class TestColours:
    @pytest.mark.parametrize("name", list(COLOURS))
    def test_every_name_in_both_languages(self, name: str) -> None:
        chinese, colours = COLOURS[name]
        picture, mask = np.empty((20, 20, 3), np.uint8), np.ones((20, 20), bool)
        for colour in colours:
            picture[:] = colour
            assert colour_names(picture, mask) == [name] and colour_names(picture, mask, "zh") == [chinese]

    def test_shares_order_and_region(self) -> None:
        picture = np.zeros((40, 40, 3), np.uint8)
        picture[:] = (205, 30, 40)
        picture[:, 28:] = (250, 250, 250)
        picture[:2] = (40, 95, 200)
        everywhere = np.ones((40, 40), bool)
        assert colour_names(picture, everywhere) == ["red", "white"]
        assert dict(colour_shares(picture, everywhere))["white"] == pytest.approx(0.285, abs=0.01)
        assert colour_names(picture, everywhere, most=1) == ["red"]
        top = np.zeros((40, 40), bool)
        top[:2] = True
        assert colour_names(picture, top) == ["blue"]

    def test_the_same_names_every_time(self) -> None:
        picture = render_flat(garment("shirt", 5))
        mask = plain_mask(picture)
        assert len({tuple(colour_names(picture, mask)) for _ in range(3)}) == 1

    def test_drawn_garments(self) -> None:
        """Training seeds; `python -m tests.helpers.garment_figures` counts 200."""
        right = []
        for seed in range(24):
            drawn = draw_plain_spec(seed).garments["upper"]
            picture = render_flat(drawn)
            right.append(drawn.colour_name in colour_names(picture, plain_mask(picture)))
        assert np.mean(right) > 0.9

    def test_refused(self) -> None:
        picture = np.zeros((4, 4, 3), np.uint8)
        with pytest.raises(ValueError, match="no pixels"):
            colour_names(picture, np.zeros((4, 4), bool))
        with pytest.raises(ValueError, match="'fr' is unknown; choose one of en, zh"):
            colour_names(picture, np.ones((4, 4), bool), "fr")
        assert nearest_names(np.array([[50.0, 0, 0]])) == ["grey"]


class TestWarp:
    size = (192, 288)

    def laid(self, kind: str, pose: str) -> tuple[np.ndarray, np.ndarray]:
        cut = cut_out(render_flat(garment(kind), (288, 384)))
        keypoints = ordinary_preset(pose, "full", self.size)
        _, coverage = warp_to_pose(cut.picture, cut.mask, CLASS_OF[kind], keypoints, self.size)
        return coverage, keypoints

    @pytest.mark.long
    @pytest.mark.parametrize("pose", ["standing", "walking", "waving", "hands_on_hips"])
    @pytest.mark.parametrize("kind", ["t_shirt", "shirt", "coat", "dress", "trousers", "skirt"])
    def test_garments_lie_where_they_belong(self, kind: str, pose: str) -> None:
        coverage, keypoints = self.laid(kind, pose)
        shoulders, hips = keypoints[[R_SHOULDER, L_SHOULDER], :2], keypoints[[R_HIP, L_HIP], :2]
        inside, outside = (hips.mean(0) + np.array([0, 6]), *hips), shoulders.mean(0)
        if CLASS_OF[kind] != "bottom":
            inside, outside = ((shoulders.mean(0) + hips.mean(0)) / 2, *((shoulders + hips) / 2)), keypoints[0, :2]
        assert all(coverage[int(y), int(x)] > 0.9 for x, y in inside)
        assert coverage[int(outside[1]), int(outside[0])] < 0.1

    def test_legs_follow_the_pose(self) -> None:
        coverage, keypoints = self.laid("trousers", "walking")
        for hip, knee in ((8, 9), (11, 12)):
            x, y = (keypoints[hip, :2] + 2 * keypoints[knee, :2]) / 3
            assert coverage[int(y), int(x)] > 0.9

    def test_spline_of_a_shift_and_a_scale(self) -> None:
        picture = np.random.default_rng(0).uniform(0, 1, (40, 40, 3)).astype(np.float32)
        corners = np.array([(0.0, 0), (40, 0), (0, 40), (40, 40), (20, 10)])
        np.testing.assert_allclose(
            spline_warp(picture, corners, corners, (40, 40), 0)[2:-2, 2:-2], picture[2:-2, 2:-2], atol=1e-3
        )
        moved = spline_warp(picture, corners, corners + np.array([10, 5]), (60, 60), 0)
        np.testing.assert_allclose(moved[7:43, 12:48], picture[2:38, 2:38], atol=1e-3)

    def test_sleeves_are_pieces_of_their_own(self) -> None:
        keypoints = ordinary_preset("standing", "full", self.size)
        counts = {}
        for kind in ("shirt", "tank_top", "trousers"):
            cut = cut_out(render_flat(garment(kind), (288, 384)))
            found = pieces(cut.mask, CLASS_OF[kind], keypoints)
            assert np.sum([piece.mask for piece in found], axis=0).max() == 1
            counts[kind] = len(found)
        assert counts == {"shirt": 3, "tank_top": 1, "trousers": 1}

    @pytest.mark.parametrize("seed", range(12))
    def test_any_blot_is_laid_somehow(self, seed: int) -> None:
        """Outlines that are no garment's: the result is a picture still."""
        rng = np.random.default_rng(seed)
        field = gaussian_filter(rng.normal(size=rng.integers(30, 120, 2)), rng.uniform(0.5, 9))
        mask = plain_mask(np.where(field[..., None] > 0, 0, 255).astype(np.uint8).repeat(3, 2))
        picture = rng.integers(0, 256, (*mask.shape, 3), dtype=np.uint8)
        keypoints = ordinary_preset("walking", ("full", "half", "portrait")[seed % 3], (96, 128))
        class_by_shape(mask)
        for name in ("top", "dress", "bottom"):
            laid, coverage = warp_to_pose(picture, mask, name, keypoints, (96, 128))
            assert (
                laid.shape == (128, 96, 3)
                and np.isfinite(coverage).all()
                and 0 <= coverage.min() <= coverage.max() <= 1
            )

    def test_refused(self) -> None:
        mask = np.ones((20, 20), bool)
        with pytest.raises(InputError, match=r"20 x 9 pixels; give one of at least 16 x 16"):
            pieces(mask[:9], "top", ordinary_preset("standing"))
        with pytest.raises(InputError, match="does not show both shoulders"):
            pieces(mask, "top", np.zeros((18, 3), np.float32))
        with pytest.raises(ValueError, match="'bag' has no warp"):
            pieces(mask, "bag", ordinary_preset("standing"))
