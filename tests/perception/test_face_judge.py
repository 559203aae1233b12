"""Faces measured: size, blur, pose, what covers them; several selfies made one identity."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from PIL import Image, ImageFilter
from skimage import data

from twinset.figure.labels import FACE, HAIR, LEFT_ARM
from twinset.models.face_finder import TEMPLATE, Face
from twinset.perception.faces.onnx import aligned
from twinset.perception.faces.quality import (
    HEAD,
    SAME_PERSON,
    face_mask,
    fuse,
    head_pose,
    inner_face,
    judge_face,
    occlusion,
    ramp,
    sharpness,
)

#: Placed by eye on scikit-image's photograph of Eileen Collins.
ASTRONAUT = np.array([(205.0, 105), (247, 103), (228, 130), (208, 150), (245, 149)])


def projected(yaw: float, pitch: float, roll: float, scale: float = 1.0) -> np.ndarray:
    """The mean head by rotation matrices in degrees, apart from the code that is tested."""
    y, p, r = np.radians([yaw, pitch, roll])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return scale * (HEAD @ (about_z @ about_x @ about_y).T)[:, :2] + (300, 200)


class TestPose:
    @pytest.mark.parametrize("seed", range(12))
    def test_angles_come_back(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        angles = rng.uniform((-70, -40, -170), (70, 40, 170))
        np.testing.assert_allclose(head_pose(projected(*angles, scale=rng.uniform(0.3, 9))), angles, atol=0.1)

    def test_signs(self) -> None:
        """The nose goes where the face turns; the template itself is frontal."""
        np.testing.assert_allclose(head_pose(TEMPLATE), (0, 0, 0), atol=0.5)
        moved = TEMPLATE.copy()
        moved[2] += (6, 0)
        assert head_pose(moved)[0] > 10
        moved[2] -= (6, 6)
        assert head_pose(moved)[1] > 10

    def test_noise_of_a_pixel_moves_it_little(self) -> None:
        rng, turned = np.random.default_rng(0), projected(30, -10, 5, scale=2)
        found = [head_pose(turned + rng.normal(0, 1, (5, 2))) for _ in range(20)]
        assert np.abs(np.array(found) - (30, -10, 5)).max() < 12

    def test_coinciding_landmarks(self) -> None:
        with pytest.raises(ValueError, match="they show no pose"):
            head_pose(np.ones((5, 2)))


class TestSharpness:
    def test_of_known_pictures(self) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (112, 112, 1), dtype=np.uint8).repeat(3, 2)
        assert sharpness(noise) == pytest.approx(20, rel=0.05)
        assert sharpness(np.full((112, 112, 3), 90, np.uint8)) == 0
        np.testing.assert_allclose(sharpness(noise // 4), sharpness(noise), rtol=0.02)

    def test_falls_with_blur_on_a_photograph(self) -> None:
        photo = Image.fromarray(data.astronaut())
        found = [
            sharpness(aligned(np.asarray(photo.filter(ImageFilter.GaussianBlur(r))), ASTRONAUT)) for r in (0, 1, 2, 4)
        ]
        assert all(sharper > 2 * softer for sharper, softer in pairwise(found))


class TestReport:
    def test_a_good_photograph(self) -> None:
        report = judge_face(data.astronaut(), Face(ASTRONAUT, 1.0))
        assert report.quality > 0.9 and report.warnings == () and report.eyes == pytest.approx(42, abs=1)
        assert abs(report.yaw) < 12 and abs(report.roll) < 5

    def test_each_fault_is_named_with_a_remedy(self) -> None:
        photo, face = data.astronaut(), Face(ASTRONAUT, 1.0)
        small = np.asarray(Image.fromarray(photo).resize((102, 102)))
        blurred = np.asarray(Image.fromarray(photo).filter(ImageFilter.GaussianBlur(4)))
        turned = Face(projected(52, 0, 0), 1.0)
        labels = np.full(photo.shape[:2], FACE)
        labels[:132] = HAIR
        cases = {
            "small (8 px": judge_face(small, Face(ASTRONAUT * 0.2, 1.0)),
            "blurred": judge_face(blurred, face),
            "turned 52°; use a more frontal picture or lower --identity-strength": judge_face(photo, turned),
            "is covered": judge_face(photo, face, labels),
            "shows 3 faces": judge_face(photo, face, faces=3),
        }
        for words, report in cases.items():
            assert any(words in line for line in report.warnings), (words, report.warnings)
            assert all("\n" not in line and ("; use" in line or "; crop" in line) for line in report.warnings)

    @pytest.mark.parametrize("measure", ["yaw", "eyes", "occlusion"])
    def test_quality_never_rises_as_a_face_gets_worse(self, measure: str) -> None:
        photo = np.random.default_rng(0).integers(0, 256, (400, 600, 3), dtype=np.uint8)
        labels, found = np.full(photo.shape[:2], FACE), []
        for step in np.linspace(0, 1, 8):
            points = projected(70 * step if measure == "yaw" else 0, 0, 0, 1.3 - (step if measure == "eyes" else 0))
            if measure == "occlusion":
                labels[: int(140 + 120 * step)] = LEFT_ARM
            found.append(judge_face(photo, Face(points, 1.0), labels).quality)
        assert all(0 <= q <= 1 for q in found) and found[0] > 0.9 and found[-1] < 0.4
        assert all(after <= before + 1e-6 for before, after in pairwise(found))

    def test_ramp(self) -> None:
        assert [ramp(v, 10, 20) for v in (0, 10, 15, 20, 99)] == [0, 0, 0.5, 1, 1]
        assert [ramp(v, 1.0, 0.5) for v in (2, 0.75, 0.1)] == [0, 0.5, 1]


class TestParsing:
    labels = np.zeros((200, 300), np.uint8)
    points = TEMPLATE + np.array([60, 30])

    def test_share_that_is_covered(self) -> None:
        inside, labels = inner_face(self.points, (200, 300)), np.full((200, 300), FACE, np.uint8)
        assert inside.sum() == pytest.approx(np.pi * 32 * 39, rel=0.01)
        assert occlusion(labels, self.points, (200, 300)) == 0
        labels[:, : (60 + 56)] = LEFT_ARM
        assert occlusion(labels, self.points, (200, 300)) == pytest.approx(0.5, abs=0.02)
        with pytest.raises(ValueError, match=r"parsing map has shape \(200, 300\); expected \(9, 9\)"):
            occlusion(labels, self.points, (9, 9))

    def test_mask_leaves_out_what_is_in_front_and_other_people(self) -> None:
        labels = self.labels.copy()
        labels[60:160, 80:160] = FACE
        labels[100:110, 100:110] = 0  # a hole of the parser
        labels[120:150, 120:130] = LEFT_ARM
        labels[60:160, 200:280] = FACE  # somebody else
        mask = face_mask(labels, self.points)
        assert mask[105, 105] and mask[70, 90] and not mask[130, 125] and not mask[100, 240]
        assert mask.sum() == 100 * 80 - 300


class TestFusion:
    def people(self, seed: int, spread: float = 0.5, count: int = 4) -> np.ndarray:
        rng = np.random.default_rng(seed)
        centre = rng.normal(size=512)
        return (centre + spread * rng.normal(size=(count, 512))) * rng.uniform(1, 30, (count, 1))

    @pytest.mark.parametrize("seed", range(5))
    def test_one_person(self, seed: int) -> None:
        selfies = self.people(seed)
        fused = fuse(selfies, [1, 0.5, 0.7, 0.2])
        assert fused.strangers == () and fused.kept == (0, 1, 2, 3)
        assert np.linalg.norm(fused.embedding) == pytest.approx(1, abs=1e-5)
        np.testing.assert_allclose(fuse(selfies * 7, [1, 0.5, 0.7, 0.2]).embedding, fused.embedding, atol=1e-6)
        order = [2, 0, 3, 1]
        again = fuse(selfies[order], [[1, 0.5, 0.7, 0.2][k] for k in order])
        np.testing.assert_allclose(again.embedding, fused.embedding, atol=1e-6)
        units = selfies / np.linalg.norm(selfies, axis=1, keepdims=True)
        assert (units @ fused.embedding > SAME_PERSON).all()

    def test_quality_draws_the_mean(self) -> None:
        selfies = self.people(1, count=2)
        unit = selfies[0] / np.linalg.norm(selfies[0])
        closeness = [float(fuse(selfies, [q, 1.0]).embedding @ unit) for q in (0.1, 0.5, 1.0)]
        assert closeness == sorted(closeness)

    def test_a_stranger_is_left_out_and_named(self) -> None:
        selfies = np.concatenate([self.people(2, count=3), self.people(3, count=1)])
        fused = fuse(selfies, [0.4, 0.4, 0.4, 1.0])
        assert fused.strangers == (3,) and fused.kept == (0, 1, 2)
        assert fused.notes[0].startswith("selfie 4 seems to show another person (cosine 0.") or "-0." in fused.notes[0]
        np.testing.assert_allclose(fused.embedding, fuse(selfies[:3], [0.4] * 3).embedding)

    def test_of_two_that_disagree_the_better_stays(self) -> None:
        selfies = np.concatenate([self.people(2, count=1), self.people(3, count=1)])
        assert fuse(selfies, [0.3, 0.9]).kept == (1,)
        assert fuse(selfies, [0.9, 0.3]).kept == (0,)

    def test_opposites_and_nothing(self) -> None:
        one = self.people(0, count=1)
        assert np.isfinite(fuse(np.concatenate([one, -one]), [0.5, 0.5], threshold=-2).embedding).all()
        with pytest.raises(ValueError, match="0 embeddings with 0 qualities"):
            fuse(np.zeros((0, 512)), [])
        with pytest.raises(ValueError, match="all zeros"):
            fuse(np.zeros((1, 512)), [1.0])
