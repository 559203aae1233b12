"""The benchmark's figures on cases whose answer is known, and its run on a tiny pipeline."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.tiny import tiny_pipeline
from twinset.benchmarks import drawing
from twinset.benchmarks.cost import Cost
from twinset.benchmarks.drawing import WAYS, DrawnPeople
from twinset.benchmarks.figures import (
    attribute_figures,
    bootstrap,
    identity_figures,
    pose_figures,
    psnr_each,
    ssim,
    strangers,
)
from twinset.benchmarks.joint import measure_ways, repair_effect, write_joint
from twinset.benchmarks.judges import Judges
from twinset.benchmarks.light import PERSON, SCENE, albedo_lights, light_figures, own_light
from twinset.benchmarks.page import HEADINGS, grid, table
from twinset.benchmarks.people import GIVEN, albedo, held_out_person
from twinset.figure.labels import FACE, UPPER
from twinset.figure.poses import preset
from twinset.scoring.garment import colour_difference, mean_albedo, region_inside, retrieved
from twinset.scoring.identity import copy_paste, cosine, recovery
from twinset.scoring.light import angle, mismatch
from twinset.scoring.pose import mean_iou, pck, torso_length
from twinset.scoring.skin import skin_difference
from twinset.training.mannequin import render
from twinset.training.mannequin.attributes import ATTRIBUTES
from twinset.training.mannequin.spec import draw_spec
from twinset.training.studio.judge_networks import FaceJudge, GarmentJudge, PictureJudge

RNG = np.random.default_rng(0)


def test_cosine() -> None:
    a = np.array([[1.0, 0.0], [3.0, 4.0]])
    np.testing.assert_allclose(cosine(a, np.array([[0.0, 2.0], [6.0, 8.0]])), [0.0, 1.0])


def test_copy_paste_is_1_for_the_reference_and_minus_1_for_the_truth() -> None:
    truth, reference = RNG.normal(size=(2, 5, 8))
    np.testing.assert_allclose(copy_paste(reference, truth, reference), 1.0, atol=1e-6)
    np.testing.assert_allclose(copy_paste(truth, truth, reference), -1.0, atol=1e-6)


def test_recovery_is_0_for_a_stranger_and_1_for_another_photograph() -> None:
    np.testing.assert_allclose(recovery(np.array([0.1, 0.9, 0.5]), stranger=0.1, same=0.9), [0.0, 1.0, 0.5])
    with pytest.raises(ValueError, match="use another judge"):
        recovery(np.array([0.5]), stranger=0.5, same=0.5)


def test_strangers_leaves_the_person_out() -> None:
    faces = np.eye(4)
    np.testing.assert_allclose(strangers(faces, faces), 0.0)
    assert set(identity_figures(faces, faces, faces)) == {"sim_ref", "sim_gt", "copy_paste"}


def test_albedo_does_not_depend_on_the_light() -> None:
    albedo, light = np.full((8, 8, 3), (100, 120, 60), np.uint8), np.array([1.2, 0.9, 0.7])
    lit = (albedo * light).round().astype(np.uint8)
    region = np.ones((8, 8), bool)
    a, b = mean_albedo(albedo, region, np.ones(3)), mean_albedo(lit, region, light)
    assert colour_difference(a, b) < 0.5
    assert np.isnan(mean_albedo(albedo, np.zeros((8, 8), bool), light)).all()


def test_colour_difference_of_a_published_pair() -> None:
    """Black and white are 100 apart in CIEDE2000, equal colours 0."""
    np.testing.assert_allclose(colour_difference(np.zeros(3), np.ones(3)), 100, atol=1e-3)
    assert colour_difference(np.full(3, 0.3), np.full(3, 0.3)) == 0


def test_region_loses_its_rim_unless_nothing_would_be_left() -> None:
    labels = np.zeros((40, 40), np.uint8)
    labels[10:30, 10:30] = 4
    assert region_inside(labels, (4,)).sum() == 16**2
    labels[:] = 0
    labels[10, 10:15] = 4
    assert region_inside(labels, (4,)).sum() == 5


def lit_people(gains: dict[tuple[int, ...], tuple[float, ...]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A drawn person's albedo, labels, and picture in which the light on some labels differs."""
    spec = draw_spec(60_001, "train")
    true, labels = albedo(spec), render.render_parsing(spec)
    picture = true * 0.8
    for owned, gain in gains.items():
        picture[np.isin(labels, owned)] *= gain
    return picture.round().clip(0, 255).astype(np.uint8), true, labels


def test_one_light_has_no_mismatch_and_its_colour_is_divided_out() -> None:
    picture, true, labels = lit_people({tuple(range(18)): (1.0, 0.85, 0.7)})
    figures = light_figures(picture[None], true[None], labels[None], [[(UPPER,)]])
    assert figures["light_mismatch"][0] < 0.5 and figures["garment_difference"][0] < 0.7
    assert np.isnan(light_figures(picture[None], true[None], labels[None], [[(16,)]])["garment_difference"][0])


def test_another_light_on_the_face_is_a_mismatch_of_its_angle() -> None:
    picture, true, labels = lit_people({(FACE,): (1.0, 0.85, 0.7)})
    plain, _, _ = lit_people({})
    expected = angle(np.ones(3), np.array([1.0, 0.85, 0.7]))
    figures = light_figures(picture[None], true[None], labels[None], [[(UPPER,)]])
    assert figures["light_mismatch"][0] == pytest.approx(expected, abs=0.5)
    assert skin_difference(picture, labels) > skin_difference(plain, labels) + 5
    assert angle(np.ones(3), np.full(3, 0.5)) == pytest.approx(0, abs=1e-5)
    assert np.isnan(mismatch({"face": np.ones(3)}))


def test_slivers_do_not_count_as_lit() -> None:
    picture, true, labels = lit_people({})
    sliver = np.where(labels == FACE, 0, labels)
    sliver[100:104, 90:102] = FACE
    assert "face" in albedo_lights(picture, true, labels) and "face" not in albedo_lights(picture, true, sliver)


def test_light_is_read_from_what_was_told() -> None:
    lights = {"face": np.full(3, 0.5), "background": np.ones(3), "upper": np.zeros(3)}
    np.testing.assert_array_equal(own_light(lights, SCENE), np.ones(3))
    np.testing.assert_array_equal(own_light(lights, PERSON), np.full(3, 0.75))
    np.testing.assert_array_equal(own_light({}, PERSON), np.ones(3))


def test_psnr_of_a_known_error_and_of_the_truth_itself() -> None:
    truths = np.full((2, 4, 4, 3), 100, np.uint8)
    pictures = truths.copy()
    pictures[0] += 10
    assert psnr_each(pictures, truths) == pytest.approx([20 * np.log10(25.5), 60])


def test_ssim_is_1_for_the_truth_and_less_for_noise() -> None:
    truths = RNG.integers(0, 255, (2, 32, 32, 3), dtype=np.uint8)
    other = RNG.integers(0, 255, truths.shape, dtype=np.uint8)
    assert ssim(truths, truths) == pytest.approx(1) and (ssim(other, truths) < 0.2).all()


def test_retrieval() -> None:
    gallery = np.eye(150)
    np.testing.assert_array_equal(retrieved(gallery, gallery, np.arange(150)), 1)
    chance = retrieved(RNG.normal(size=(150, 150)), gallery, np.arange(150)).mean()
    assert chance < 0.06


def test_pck_and_iou() -> None:
    pose = preset("standing", "full")
    torso = torso_length(pose)
    assert pck(pose, pose, torso) == 1
    assert pck(pose + np.array([0.09 * torso, 0, 0]), pose, torso) == 1
    assert pck(pose + np.array([0.11 * torso, 0, 0]), pose, torso) == 0
    labels = np.repeat(np.arange(2, dtype=np.uint8), 8).reshape(4, 4)
    assert mean_iou(labels, labels) == 1 and mean_iou(1 - labels, labels) == 0
    figures = pose_figures(pose[None], pose[None], labels[None], labels[None])
    assert {name: value.tolist() for name, value in figures.items()} == {"pck": [1.0], "parsing_miou": [1.0]}


def test_attributes_by_language() -> None:
    found, truth = np.array([[1, 2], [1, 2], [0, 0]]), np.array([[1, 0], [1, 2], [0, -1]])
    figures = attribute_figures(found, truth, ("hair", "shoes"), ("hair", "shoes"), np.array([False, True, True]))
    np.testing.assert_array_equal(figures["right_shoes"], [0, 1, np.nan])
    np.testing.assert_array_equal(figures["named_english"], [0.5, np.nan, np.nan])
    np.testing.assert_array_equal(figures["named_chinese"], [np.nan, 1, 1])


def test_bootstrap_covers_the_mean_about_95_times_in_100() -> None:
    rng = np.random.default_rng(1)
    estimates = [bootstrap(rng.normal(size=60), draws=400, seed=i) for i in range(200)]
    assert 0.88 < np.mean([e.low <= 0 <= e.high for e in estimates]) < 0.99
    assert bootstrap(np.array([1.0, np.nan])).people == 1
    assert np.isnan(bootstrap(np.array([np.nan])).mean)


def test_page() -> None:
    estimate, nobody = bootstrap(np.array([0.5, 0.7])), bootstrap(np.array([np.nan]))
    text = table({"both": {"pck": estimate, "right_logo": nobody}, "neither": {"pck": estimate}})
    assert "| PCK@0.1, % ↑ | 60.0 [50.0, 70.0] | 60.0 [50.0, 70.0] |" in text
    assert "| logo right, % ↑ | – | – |" in text
    pictures = [np.zeros((256, 192, 3), np.uint8)] * 14
    assert grid({"a": pictures, "b": pictures}).size == (2 * 196 + 4, 12 * 260 + 24)


def test_people_are_held_out() -> None:
    people = [held_out_person(tiny_pipeline(), index) for index in range(3)]
    assert all(person.spec.seed >= 900_000_000 for person in people)
    assert [person.chinese for person in people] == [False, True, False]
    for person in people:
        given = [person.spec.garments[slot].kind for slot in GIVEN if slot in person.spec.garments]
        assert list(person.flats) == given


@pytest.mark.slow
def test_drawing_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = tiny_pipeline()
    monkeypatch.setattr(drawing, "studio_pipeline", lambda model: pipe)
    monkeypatch.setattr(drawing, "BATCH", 2)
    plan = drawing.Drawing("tiny", tmp_path, people=3, steps=1, guidance=1.0)
    drawn = drawing.draw_people(plan, workers=1)
    assert list(drawn.pictures) == list(WAYS) and (drawn.seconds > 0).all() and drawn.seconds.shape == (3, 2)
    assert {pictures.shape for pictures in drawn.pictures.values()} == {(3, 256, 192, 3)}
    swapped, first = drawn.pictures["serial: identity only"], drawn.pictures["neither"]
    changed = (swapped != first).any(-1).mean()
    assert 0 < changed < 0.5  # a face
    plan.part(2).unlink()
    written = plan.part(0).stat().st_mtime_ns
    again = drawing.draw_people(plan, workers=1)
    for way, pictures in drawn.pictures.items():
        np.testing.assert_array_equal(again.pictures[way], pictures)
    assert plan.part(0).stat().st_mtime_ns == written


@pytest.mark.slow
def test_results_are_written_with_ceilings_and_floor(tmp_path: Path) -> None:
    """With untrained judges the figures mean nothing, but every one of them is there."""
    torch.manual_seed(0)
    picture = PictureJudge({name: len(classes) for name, classes in ATTRIBUTES.items()})
    judges = Judges(FaceJudge(), picture, GarmentJudge({"kind": 3}))
    pipe = tiny_pipeline()
    people = [held_out_person(pipe, index) for index in range(4)]
    truths = np.stack([person.truth for person in people])
    drawn = DrawnPeople(
        dict.fromkeys(WAYS, truths), np.tile([1.0, 4.0], (4, 1)), np.array([[True, False]] * 2 + [[False, False]] * 2)
    )
    results = measure_ways(judges, pipe, people, drawn)
    assert list(results) == [*WAYS, "truth", "truth through VAE", "truth, other light", "stranger"]
    ceiling, floor = results["truth"], results["stranger"]
    assert ceiling["identity_recovery"].mean == pytest.approx(1.0)
    assert ceiling["garment_difference"].mean < 3 < 15 < floor["garment_difference"].mean
    assert ceiling["light_mismatch"].mean < 1 < 5 < floor["light_mismatch"].mean
    assert set(results["neither"]) >= set(HEADINGS) - {"lpips"}
    assert 5 < results["truth through VAE"]["psnr"].mean < 60
    effect = repair_effect(judges, people, drawn)
    assert {name.partition(":")[0] for name in effect} == {"joint, controlled"}
    assert effect["joint, controlled: before"]["sim_gt"].people == 2
    assert effect["joint, controlled: after - before"]["sim_gt"].mean == 0
    cost = asdict(Cost(2.0, 1.0, {"unet": 14.0}, {"unet": 12.0}, 900.0, 800.0))
    write_joint(tmp_path, results, effect, people, drawn, {"people": 4, "cost": {"joint": cost, "serial": cost}})
    stored = json.loads((tmp_path / "joint.json").read_text(encoding="utf-8"))
    assert stored["figures"]["truth"]["ssim"]["mean"] == pytest.approx(1)
    assert stored["joint_by_serial"]["seconds_ratio"]["mean"] == 0.25
    assert stored["joint_by_serial"]["light_mismatch_ratio"]["mean"] == 1
    assert "| calls of unet: empty, filled caches | 14, 12 | 14, 12 |" in (tmp_path / "joint.md").read_text("utf-8")
    assert (tmp_path / "joint.png").stat().st_size
