"""Every measure reacts the right way to a change of which it is known what it does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from scipy.io import savemat
from typer.testing import CliRunner

from twinset.cli import app
from twinset.errors import InputError
from twinset.figure.drawing.flat_garments import render_flat
from twinset.figure.labels import BACKGROUND, FACE, UPPER, garment_labels
from twinset.models.face_finder import align
from twinset.pipelines.compose import backend_of
from twinset.pipelines.controller.measures import MEASURES, Measurement, Target, is_blank, measure, region_lights
from twinset.pipelines.families.backend import Selfie
from twinset.pipelines.studio import StudioPipeline
from twinset.scoring import iqa
from twinset.scoring.iqa import ANTONYMS, OpenClipIqa
from twinset.scoring.niqe import FEATURES, NiqeModel, asymmetric_gaussian, fit_niqe, mscn, niqe, patch_features
from twinset.training.mannequin import render
from twinset.training.mannequin.spec import draw_plain_spec
from twinset.training.studio import niqe as fitting

PERSON, OTHER = draw_plain_spec(61_002, "train"), draw_plain_spec(61_502, "train")
PICTURE, LABELS = render.render_picture(PERSON), render.render_parsing(PERSON)
KIND = PERSON.garments["upper"].kind


def selfie_of(spec) -> Selfie:
    crop = align(render.render_selfie(spec), render.selfie_landmarks(spec)).copy()
    return Selfie(crop, crop)


@pytest.fixture(scope="module")
def target(studio: StudioPipeline) -> Target:
    people, selfie = backend_of(studio), selfie_of(PERSON)
    flats = {KIND: render_flat(PERSON.garments["upper"])}
    keypoints, labels = render.layout_keypoints(PERSON), render.render_layout(PERSON)
    return Target(people.embedding(selfie), people.skin(selfie), flats, keypoints, labels, "a person")


def seen(studio: StudioPipeline, picture: np.ndarray, target: Target) -> Measurement:
    return measure(backend_of(studio), picture, target)


def tinted(labels: tuple[int, ...], gain: tuple[float, float, float]) -> np.ndarray:
    region = np.isin(LABELS, labels)[..., None]
    return np.where(region, PICTURE * np.array(gain), PICTURE).clip(0, 255).astype(np.uint8)


def test_a_true_picture_has_no_faults(studio, target) -> None:
    true = seen(studio, PICTURE, target)
    assert true.faults == {}
    assert set(true.values) == set(MEASURES)
    assert true.values["identity"] > 0.8 and true.values["pose"] > 0.8 and true.values["parsing"] > 0.7


@pytest.mark.parametrize(("change", "worse"), [
    (lambda: tinted((FACE,), (1.1, 0.95, 0.65)), ("skin_difference", "light_mismatch")),
    (lambda: tinted((UPPER,), (0.5, 1.0, 1.3)), ("garment_colour", "light_mismatch")),
    (lambda: render.render_picture(OTHER), ("identity", "garment_similarity", "parsing")),
    (lambda: np.roll(PICTURE, 40, axis=1), ("pose", "parsing")),
    (lambda: np.asarray(Image.fromarray(PICTURE).filter(ImageFilter.GaussianBlur(2))), ("niqe",)),
])  # fmt: skip
def test_what_is_spoilt_is_measured(studio, target, change, worse) -> None:
    before, after = seen(studio, PICTURE, target).values, seen(studio, change(), target).values
    for name in worse:
        assert MEASURES[name].gain(before[name], after[name]) < -2, name


def test_a_face_in_other_light_is_named(studio, target) -> None:
    faults = seen(studio, tinted((FACE,), (1.2, 0.9, 0.45)), target).faults
    assert faults["light_mismatch"] == "regions are lit differently"


def test_a_draft_tells_what_is_seen_of_a_garment(studio, target) -> None:
    """A garment of two colours of which the pose hides one: its light is right by the draft only."""
    flat = np.full((256, 192, 3), 255, np.uint8)
    flat[40:128, 40:150], flat[128:216, 40:150] = (200, 60, 60), (60, 60, 200)
    owned, picture = LABELS == UPPER, PICTURE.copy()
    picture[owned] = (180, 54, 54)
    draft = np.where(owned[..., None], np.array((200, 60, 60), np.uint8), np.uint8(127))
    whole = replace(target, flats={KIND: flat}, labels=LABELS)
    by_draft = replace(whole, drafts={KIND: draft})
    coarse_colours, exactly = (region_lights(picture, LABELS, one)[KIND] for one in (whole, by_draft))
    np.testing.assert_allclose(exactly, 0.9, atol=0.01)
    assert np.abs(coarse_colours - 0.9).max() > 0.2
    assert seen(studio, picture, whole).coarse_colours and not seen(studio, picture, by_draft).coarse_colours


def test_slivers_tell_no_light(target) -> None:
    labels = np.where(np.isin(LABELS, garment_labels(KIND)), BACKGROUND, LABELS)
    labels[100:110, 90:102] = UPPER
    assert KIND not in region_lights(PICTURE, labels, replace(target, labels=None))
    labels[100:130, 90:120] = UPPER
    assert KIND in region_lights(PICTURE, labels, replace(target, labels=None))


def test_limits_are_wider_where_garments_are_known_as_a_whole() -> None:
    light = MEASURES["light_mismatch"]
    assert light.is_bad(5.0) and not light.is_bad(5.0, coarse_colours=True) and light.is_bad(7.0, coarse_colours=True)
    assert MEASURES["skin_difference"].limit(True) == MEASURES["skin_difference"].limit()


def test_shading_from_two_sides_is_a_mismatch(studio, target) -> None:
    ramp = np.linspace(1.5, 0.5, 192)[None, :, None]
    picture = np.where((LABELS == FACE)[..., None], PICTURE * ramp, PICTURE).clip(0, 255).astype(np.uint8)
    values = [seen(studio, one, target).values["shading_mismatch"] for one in (PICTURE, picture)]
    assert values[1] > values[0] + 0.2


def test_what_is_not_wanted_is_not_measured(studio) -> None:
    assert not {"identity", "garment_colour", "pose", "prompt"} & set(seen(studio, PICTURE, Target()).values)


def test_blank_pictures() -> None:
    assert is_blank(np.full((256, 192, 3), 120, np.uint8)) and not is_blank(PICTURE)


def test_gain_counts_scatter_and_direction() -> None:
    assert MEASURES["identity"].gain(0.5, 0.51) == pytest.approx(2)
    assert MEASURES["light_mismatch"].gain(3.0, 2.5) == pytest.approx(5)
    assert MEASURES["identity"].gain(float("nan"), 0.5) == 0 and not MEASURES["prompt"].is_bad(-1.0)


# NIQE


def test_coefficients_are_those_of_the_equation() -> None:
    """Written out for one pixel: 7 x 7 Gaussian of deviation 7/6, C = 1."""
    image = np.random.default_rng(0).uniform(0, 255, (15, 15))
    axis = np.exp(-(np.arange(-3, 4) ** 2) / (2 * (7 / 6) ** 2))
    window = np.outer(axis, axis) / axis.sum() ** 2
    around = image[4:11, 4:11]
    mean = (window * around).sum()
    deviation = np.sqrt((window * around**2).sum() - mean**2)
    normal, found = mscn(image)
    assert found[7, 7] == pytest.approx(deviation) and normal[7, 7] == pytest.approx(
        (image[7, 7] - mean) / (deviation + 1)
    )


def test_shape_of_known_distributions() -> None:
    rng = np.random.default_rng(0)
    alpha, left, right = asymmetric_gaussian(rng.normal(0, 2, 100_000))
    assert alpha == pytest.approx(2, abs=0.05) and left == pytest.approx(right, rel=0.05)
    assert left == pytest.approx(2 * np.sqrt(2), rel=0.05)
    assert asymmetric_gaussian(rng.laplace(size=100_000))[0] == pytest.approx(1, abs=0.05)
    skewed = np.abs(rng.normal(size=50_000)) * np.where(rng.random(50_000) < 0.5, -1, 3)
    _, left, right = asymmetric_gaussian(skewed)
    assert right / left == pytest.approx(3, rel=0.05)
    assert np.isnan(asymmetric_gaussian(np.ones(9))[0])


def test_niqe_orders_spoilt_pictures_and_reads_published_parameters(tmp_path: Path) -> None:
    fitting.main(["--out", str(tmp_path / "fit.npz"), "--patch", "32", "--people", "12"])
    model = NiqeModel.load(tmp_path / "fit.npz")
    assert model.mean.shape == (FEATURES,) and model.patch == 32
    noisy = (PICTURE + np.random.default_rng(0).normal(0, 15, PICTURE.shape)).clip(0, 255).astype(np.uint8)
    blurred = np.asarray(Image.fromarray(PICTURE).filter(ImageFilter.GaussianBlur(1.5)))
    assert niqe(PICTURE, model) < min(niqe(blurred, model), niqe(noisy, model))
    savemat(tmp_path / "published.mat", {"mu_prisparam": model.mean[None], "cov_prisparam": model.covariance})
    published = NiqeModel.load(tmp_path / "published.mat")
    assert published.patch == 96
    np.testing.assert_array_equal(published.mean, model.mean)
    assert np.isnan(niqe(PICTURE[:90, :90], published))


def test_niqe_fits_a_folder_and_refuses_nonsense(tmp_path: Path) -> None:
    for index in range(2):
        Image.fromarray(render.render_picture(draw_plain_spec(61_010 + index, "train"))).save(tmp_path / f"{index}.png")
    assert len(list(fitting.pristine(tmp_path, 0))) == 2
    with pytest.raises(InputError, match="holds no pictures"):
        list(fitting.pristine(tmp_path / "none", 0))
    with pytest.raises(ValueError, match="sharp patches"):
        fit_niqe([PICTURE], 96)
    (tmp_path / "bad.npz").write_bytes(b"no")
    with pytest.raises(InputError, match="no NIQE parameters"):
        NiqeModel.load(tmp_path / "bad.npz")
    assert patch_features(PICTURE[:20], 32)[0].shape == (0, FEATURES)


# CLIP-IQA by open_clip


@pytest.fixture(scope="module")
def small_resnet() -> OpenClipIqa:
    """open_clip's ResNet CLIP at a size that tests can run, with random weights."""
    from open_clip import CLIP, tokenize

    torch.manual_seed(0)
    vision: Any = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}
    text: Any = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    model: Any = CLIP(embed_dim=32, vision_cfg=vision, text_cfg=text)
    torch.nn.init.normal_(model.visual.attnpool.positional_embedding, std=5.0)
    return OpenClipIqa(model, tokenize)


def test_rn50_way_equals_the_paper_written_out(small_resnet: OpenClipIqa) -> None:
    """Attention pooling over the mean and all positions, without positional embedding; then eqs. 1 and 2."""
    model, pool = small_resnet.model, small_resnet.model.visual.attnpool
    taken: list[torch.Tensor] = []
    hook = pool.register_forward_hook(lambda _, given, out: taken.extend([given[0], out]))
    scores = small_resnet(PICTURE)
    hook.remove()
    grid, pooled = taken
    positions = grid.flatten(2).permute(2, 0, 1)
    both = torch.cat([positions.mean(0, keepdim=True), positions])
    heads, width = pool.num_heads, both.shape[-1] // pool.num_heads
    q, k, v = (
        p(both).reshape(len(both), heads, width).transpose(0, 1) for p in (pool.q_proj, pool.k_proj, pool.v_proj)
    )
    said = torch.softmax(q[:, :1] @ k.transpose(1, 2) / width**0.5, -1) @ v
    expected = pool.c_proj(said.transpose(0, 1).reshape(1, -1))
    torch.testing.assert_close(pooled, expected, atol=1e-5, rtol=1e-4)
    image = torch.nn.functional.normalize(expected, dim=-1)
    with torch.no_grad():
        logits = model.logit_scale.exp() * image @ small_resnet.texts.T
    good, bad = logits[0, 0].exp(), logits[0, 1].exp()
    assert scores["quality"] == pytest.approx(float(good / (good + bad)), abs=1e-5)
    assert list(scores) == list(ANTONYMS)


def test_the_judge_is_named(studio, small_resnet: OpenClipIqa, monkeypatch: pytest.MonkeyPatch) -> None:
    people = backend_of(studio)
    assert people.scored_by == "studio-clip"
    own = people.scores(PICTURE)
    monkeypatch.setattr("twinset.pipelines.families.drawn.rn50", lambda: small_resnet)
    assert people.scored_by == "clip-rn50"
    assert people.scores(PICTURE)["clip_iqa_quality"] == pytest.approx(small_resnet(PICTURE)["quality"])
    assert people.scores(PICTURE)["clip_iqa_quality"] != own["clip_iqa_quality"]


def test_rn50_is_looked_for_and_never_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert iqa.find_rn50() is None
    (tmp_path / ".cache" / "clip").mkdir(parents=True)
    (tmp_path / ".cache" / "clip" / "RN50.pt").touch()
    assert iqa.find_rn50() == tmp_path / ".cache" / "clip" / "RN50.pt"


# The command


@pytest.mark.long
def test_score_command(tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "photo.png")
    Image.fromarray(render.render_selfie(PERSON)).save(tmp_path / "me.png")
    Image.fromarray(render_flat(PERSON.garments["upper"])).save(tmp_path / "coat.png")
    given = ["--selfie", tmp_path / "me.png", "--garment", f"{KIND}={tmp_path / 'coat.png'}", "-o", tmp_path / "s.json"]
    run = CliRunner().invoke(app, ["score", str(tmp_path / "photo.png"), *map(str, given)])
    assert run.exit_code == 0 and "face like the selfie" in run.output
    (found,) = json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))
    assert set(found) == {"picture", "scored_by", "scores", "faults"}
    assert found["scores"]["identity"] > 0.8 and found["faults"] == []
    plain = CliRunner().invoke(app, ["score", str(tmp_path / "photo.png"), "--json"])
    assert "identity" not in json.loads(plain.stdout)[0]["scores"]
