"""The Mannequin renderer: deterministic, disjoint, and true to its own ground truth."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import replace

import numpy as np
import pytest

from twinset.figure import keypoints as kp
from twinset.figure import poses
from twinset.figure.colours import CLOTH
from twinset.figure.drawing.flat_garments import flat_keypoints, render_flat, warp_flat
from twinset.figure.drawn_parsing import HAIR_STYLES, draw_layout
from twinset.figure.labels import FACE, GARMENT_KINDS, LABELS, colourise
from twinset.training.mannequin import render, store
from twinset.training.mannequin.attributes import ATTRIBUTES, attributes
from twinset.training.mannequin.captions import captions
from twinset.training.mannequin.spec import SPLITS, draw_garment, draw_plain_spec, draw_spec, white_light

OUTFIT = ("t_shirt", "trousers", "shoes")


def test_same_seed_same_picture():
    assert np.array_equal(render.render_picture(draw_spec(11)), render.render_picture(draw_spec(11)))
    assert not np.array_equal(render.render_picture(draw_spec(11)), render.render_picture(draw_spec(12)))


def test_splits_are_disjoint():
    ranges = sorted(SPLITS.values())
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(ranges))
    people = [draw_spec(s, split).identity for split in ("train", "judge") for s in range(50)]
    people += [draw_spec(900_000_000 + s, "held_out").identity for s in range(50)]
    assert len(set(people)) == 150


@pytest.mark.parametrize(("seed", "split"), [(5, "held_out"), (-1, "train"), (400_000_000, "train"), (0, "test")])
def test_wrong_seeds_are_refused(seed, split):
    with pytest.raises(ValueError, match=str(seed) if split != "test" else split):
        draw_spec(seed, split)


def test_restyled_keeps_the_identity_only():
    spec = draw_spec(3)
    other = spec.restyled(np.random.default_rng(0))
    assert other.identity == spec.identity and other.light != spec.light and other.garments != spec.garments
    assert np.array_equal(render.render_neutral_crop(spec), render.render_neutral_crop(other))


@pytest.mark.parametrize("framing", list(poses.FRAMINGS))
def test_layouts_of_presets_hold_their_keypoints(framing):
    for name in poses.PRESETS:
        points = poses.preset(name, framing)
        layout = draw_layout(points, OUTFIT, "short")
        assert layout.shape == (256, 192) and layout.max() < len(LABELS)
        for joint, allowed in ((kp.NOSE, {FACE, 14, 15}), (kp.R_WRIST, {15, 14, 4}), (kp.L_ELBOW, {14, 4, 15})):
            x, y, visible = points[joint]
            if visible and 2 < x < 189 and 2 < y < 253:
                assert int(layout[int(y), int(x)]) in allowed, (name, framing, kp.KEYPOINT_NAMES[joint])


def test_layout_fills_missing_keypoints():
    points = poses.preset("standing")
    only_some = np.zeros_like(points)
    only_some[[kp.NECK, kp.R_SHOULDER, kp.L_SHOULDER, kp.R_EYE, kp.L_EYE]] = points[[1, 2, 5, 14, 15]]
    full, sparse = (draw_layout(p, OUTFIT, "bob") for p in (points, only_some))
    assert (full == sparse).mean() > 0.95
    with pytest.raises(ValueError, match="at least two"):
        draw_layout(np.zeros((18, 3), np.float32), OUTFIT, "bob")


def test_every_kind_and_style_is_drawn():
    points = poses.preset("standing", "full")
    for kind, (_, owned) in GARMENT_KINDS.items():
        assert np.isin(draw_layout(points, [kind], "bun"), owned).sum() > 40, kind
    for style in HAIR_STYLES:
        assert (draw_layout(points, OUTFIT, style) == 2).sum() > 300
    with pytest.raises(ValueError, match="kilt"):
        draw_layout(points, ["kilt"], "bob")


def test_parsing_and_layout_agree_but_for_the_head():
    spec = draw_spec(21)
    truth, layout = render.render_parsing(spec), render.render_layout(spec)
    assert (truth == layout).mean() > 0.95 and colourise(truth).shape == (256, 192, 3)


@pytest.mark.long
@pytest.mark.parametrize("kind", [kind for kind in GARMENT_KINDS if kind != "shoes"])
def test_warped_flat_agrees_with_the_worn_garment(kind):
    rng = np.random.default_rng(4)
    garment = replace(draw_garment(kind, rng), pattern="stripes", logo=None)
    slot, owned = GARMENT_KINDS[kind]
    for seed in (1, 6):
        spec = replace(draw_spec(seed), light=white_light(), garments={slot: garment})
        spec = replace(spec, where=poses.placement("full" if slot == "shoes" else "three_quarter"))
        warped, coverage = warp_flat(render_flat(garment), kind, render.layout_keypoints(spec))
        mask = np.isin(render.render_parsing(spec), owned) & (coverage > 0.5)
        truth, drawn = render.render_picture(spec)[mask].astype(float), warped[mask].astype(float)
        assert mask.sum() > (60 if kind == "glasses" else 150)
        assert np.abs(truth.mean(0) - drawn.mean(0)).max() < 14
        assert np.corrcoef(truth.ravel(), drawn.ravel())[0, 1] > 0.6


def test_flat_garment_fills_its_frame():
    for kind in GARMENT_KINDS:
        flat = render_flat(draw_garment(kind, np.random.default_rng(1)))
        rows, columns = np.nonzero((flat < 250).any(-1))
        assert max(np.ptp(columns) / 192, np.ptp(rows) / 256) > 0.8, kind
        assert columns.min() > 0 and columns.max() < 191 and rows.min() > 0 and rows.max() < 255, kind
        assert flat_keypoints(kind).shape == (18, 3)


def test_selfie_landmarks_and_crop():
    spec = draw_spec(8)
    five = render.selfie_landmarks(spec)
    assert five[0, 0] < five[2, 0] < five[1, 0] and five[3, 1] > five[2, 1] > five[0, 1]
    assert render.render_crop(spec).shape == (112, 112, 3)
    moved = np.concatenate([five, np.ones((5, 1))], 1) @ render.similarity_matrix(five, render.ARCFACE_TEMPLATE).T
    assert np.abs(moved - render.ARCFACE_TEMPLATE).mean() < 6


def test_light_acts_on_everything_alike():
    spec = draw_spec(30)
    white = render.render_picture(replace(spec, light=white_light())).astype(float)
    flat_light = replace(white_light(), gain=(0.9, 0.8, 0.7))
    tinted = render.render_picture(replace(spec, light=flat_light)).astype(float)
    assert np.abs(tinted - white * np.array([0.9, 0.8, 0.7])).max() <= 1


def test_captions_say_what_is_there():
    rng = np.random.default_rng(2)
    for seed in range(40):
        spec = draw_spec(seed)
        words = captions(spec, rng)
        upper = spec.garments["upper"]
        length = {"none": "bald"}.get(spec.hair.length, spec.hair.length)
        assert upper.colour_name in words.english and (length in words.english or "shaved head" in words.english)
        clothes = {garment.colour_name for garment in spec.garments.values()} - {spec.hair.colour_name}
        assert not any(name in words.english_plain.replace("shirt", "") for name in clothes & set(CLOTH)), (
            words.english_plain
        )
        assert not any(word in words.english_plain for word in ("striped", "dotted", "checked", "letter"))
        assert any("\u4e00" <= c <= "\u9fff" for c in words.chinese) and "条纹" not in words.chinese_plain


def test_attributes_are_class_indexes():
    found = attributes(draw_spec(1))
    assert list(found) == list(ATTRIBUTES)
    assert all(0 <= index < len(ATTRIBUTES[name]) for name, index in found.items())


@pytest.mark.long
def test_store_goes_on_where_it_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "SHARD", 2)
    store.render_store(tmp_path, 4, "judge", workers=1)
    kept = (tmp_path / "0000000000.npz").stat().st_mtime_ns
    (tmp_path / "0000000002.npz").unlink()
    store.render_store(tmp_path, 5, "judge", workers=1)
    loaded = store.load_store(tmp_path)
    assert (tmp_path / "0000000000.npz").stat().st_mtime_ns == kept
    assert loaded["seed"].tolist() == [0, 1, 2, 3, 4] and loaded["draft"].shape == (5, 256, 192, 3)
    assert set(np.unique(loaded["parsing"])) <= set(range(18))
    with pytest.raises(ValueError, match="no shards"):
        store.load_store(tmp_path / "nowhere")


@pytest.mark.long
def test_people_are_drawn_with_the_bytes_that_the_weights_were_trained_on():
    """The colours, the paint and the flat garments are shared with the pipelines: no change there may touch these.

    What the world has gained since is drawn on top, from streams of its own.
    """
    digest = hashlib.sha256()
    for spec in map(draw_plain_spec, range(12)):
        flats = [render_flat(garment) for garment in spec.garments.values()]
        for picture in (
            render.render_picture(spec),
            render.render_selfie(spec),
            render.render_neutral_crop(spec),
            *flats,
        ):
            digest.update(picture.tobytes())
    assert digest.hexdigest() == "50571cea525c942b220991c9b1a043a209cb15493e7ce2a3a65e82e3512ccd5f"
