"""What few people of the Mannequin wear or see: hats, eyewear, beards, bags, later scenes and coloured lights."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_fill_holes

from twinset.figure import poses
from twinset.figure.colours import CLOTH
from twinset.figure.drawing.garments import GarmentDesign
from twinset.figure.drawing.hair import BALD, HAIR_STYLES
from twinset.figure.drawing.parts import in_order, part_map
from twinset.figure.drawn_parsing import draw_layout, layout_parts
from twinset.figure.labels import FACE, GARMENT_KINDS, HAIR, HAT, garment_labels, garment_slot
from twinset.figure.ordinary.parsing import body_map
from twinset.figure.ordinary.poses import ordinary_preset
from twinset.training.mannequin import render
from twinset.training.mannequin.attributes import ATTRIBUTES, attribute_names
from twinset.training.mannequin.captions import captions
from twinset.training.mannequin.scenes import scene_svg
from twinset.training.mannequin.spec import (
    BEARDS,
    COLOURED_LIGHTS,
    EYEWEAR,
    HATS,
    LATER_SCENES,
    SCENES,
    Spec,
    coloured_light,
    draw_plain_spec,
    draw_spec,
    white_light,
)
from twinset.training.mannequin.words import CHINESE, ENGLISH

LATER = ("suit_jacket", "jumper", "boots", "heels", *HATS, *EYEWEAR, "bag")


def worn(kind: str) -> GarmentDesign:
    """A red one."""
    return GarmentDesign(kind, "red", CLOTH["red"], CLOTH["white"])


def dressed(seed: int, kind: str, framing: str = "full") -> Spec:
    """A plain person in white light wearing a kind."""
    spec = replace(draw_plain_spec(seed), light=white_light(), where=poses.placement(framing))
    return replace(spec, garments=spec.garments | {garment_slot(kind): worn(kind)})


def grown(mask: np.ndarray) -> np.ndarray:
    """A mask and the outline around it."""
    return np.asarray(binary_dilation(mask, iterations=4), dtype=bool)


@pytest.mark.long
@pytest.mark.parametrize("pose", poses.PRESETS)
def test_every_kind_is_drawn_in_every_pose(pose):
    points = poses.preset(pose, "full")
    for kind in GARMENT_KINDS:
        outfit = ["t_shirt", "trousers", "shoes"]
        outfit = [other for other in outfit if garment_slot(other) != garment_slot(kind)] + [kind]
        shown = np.isin(draw_layout(points, outfit, "short"), garment_labels(kind))
        assert shown.sum() > (20 if kind in ("glasses", "bag") else 40), (pose, kind)


@pytest.mark.long
@pytest.mark.parametrize("kind", [kind for kind in LATER if garment_slot(kind) in ("hat", "eyewear", "bag")])
def test_labels_are_where_the_picture_changes(kind):
    for seed in (2, 5, 9):
        spec = dressed(seed, kind, "half" if kind == "bag" else "portrait")
        without = replace(spec, garments=draw_plain_spec(seed).garments)
        pictures = [render.render_picture(one).astype(int) for one in (spec, without)]
        difference = np.abs(pictures[0] - pictures[1]).max(-1)
        label = render.render_parsing(spec) == garment_labels(kind)[0]
        assert label.sum() > 150 and (difference[label] > 0).mean() > 0.9
        near = grown(np.asarray(binary_fill_holes(label)))
        hair_moved = (render.render_parsing(spec) == HAIR) != (render.render_parsing(without) == HAIR)
        changed = difference > 25  # less is the shading of hair, which runs over another breadth
        stray = changed & ~near & ~grown(hair_moved)
        assert stray.sum() < 0.03 * changed.sum()


def test_of_clear_glasses_only_the_frame_is_labelled():
    spec = dressed(4, "glasses", "portrait")
    labels = render.render_parsing(spec)
    rig_eyes = render.layout_keypoints(spec)[[14, 15], :2].astype(int)
    assert all(labels[y, x] == FACE for x, y in rig_eyes)
    dark = render.render_parsing(dressed(4, "sunglasses", "portrait"))
    assert all(dark[y, x] == garment_labels("sunglasses")[0] for x, y in rig_eyes)


@pytest.mark.parametrize("style", HAIR_STYLES)
@pytest.mark.parametrize("hat", HATS)
def test_no_hair_stands_out_above_a_hat(hat, style):
    labels = draw_layout(poses.preset("standing", "half"), ["t_shirt", hat], style)
    rows = np.flatnonzero((labels == HAT).any(1))
    middle = rows[: len(rows) * 2 // 3]
    assert not (labels[: rows.max() - 8] == HAIR).any() or style in ("long", "bob", "centre", "curly")
    assert not (labels[middle] == HAIR).any()


def test_heels_show_the_foot_and_boots_cover_trousers():
    points = poses.preset("standing", "full")
    by_kind = {kind: draw_layout(points, ["t_shirt", "trousers", kind]) for kind in ("shoes", "boots", "heels")}
    leg, shoe = ([12, 13], [9, 10])
    bare = {kind: np.isin(labels, leg).sum() for kind, labels in by_kind.items()}
    assert bare["heels"] > bare["shoes"] + 8
    height = {kind: np.ptp(np.flatnonzero(np.isin(labels, shoe).any(1))) for kind, labels in by_kind.items()}
    assert height["boots"] > 1.7 * height["shoes"] and height["heels"] > height["shoes"]


def test_the_bald_have_no_hair():
    assert not (draw_layout(poses.preset("standing"), ["t_shirt"], BALD) == HAIR).any()
    standing = ordinary_preset("standing")
    assert not (body_map(standing, (512, 768), ("t_shirt",), BALD) == HAIR).any()
    assert (body_map(standing, (512, 768), ("t_shirt", "cap", "boots"), BALD) == HAT).sum() > 40


def test_part_names_are_unique():
    for kind in LATER:
        names = [part.name for part in layout_parts(poses.preset("standing"), [kind], "buns")]
        assert len(set(names)) == len(names), kind
        ordered = in_order(layout_parts(poses.preset("standing", "full"), [kind], "buns"))
        assert part_map(ordered).max() <= len(ordered)


def test_close_ups_show_eyewear_and_beard_but_no_hat():
    plain = replace(draw_plain_spec(3), light=white_light())
    base = render.render_crop(plain)
    assert np.array_equal(base, render.render_crop(replace(plain, garments=plain.garments | {"hat": worn("cap")})))
    bespectacled = replace(plain, garments=plain.garments | {"eyewear": worn("glasses")})
    assert not np.array_equal(base, render.render_crop(bespectacled))
    crops = [render.render_crop(replace(plain, beard=style)) for style in BEARDS]
    assert len({crop.tobytes() for crop in crops}) == len(BEARDS)
    bearded = replace(plain, beard="full", garments=plain.garments | {"eyewear": worn("sunglasses")})
    assert np.array_equal(render.render_neutral_crop(bearded), render.render_neutral_crop(plain))


def test_restyling_redraws_what_is_no_identity_and_leaves_the_stream():
    spec, rng, other = draw_spec(3), np.random.default_rng(8), np.random.default_rng(8)
    drawn = [spec.restyled(rng) for _ in range(150)]
    assert {s.beard for s in drawn} == set(BEARDS) and {"hat", "eyewear", "bag"} <= {
        k for s in drawn for k in s.garments
    }
    assert {s.identity for s in drawn} == {spec.identity}
    for _ in range(150):
        replace(draw_plain_spec(3), beard="full").restyled(other)
    assert rng.random() == other.random()


def test_the_grown_world_keeps_its_people_and_their_colours():
    for seed in range(40):
        plain, spec = draw_plain_spec(seed), draw_spec(seed)
        for name in ("identity", "pose", "where", "expression", "scene_seed"):
            assert getattr(plain, name) == getattr(spec, name)
        assert spec.hair.colour == plain.hair.colour
        for slot, garment in plain.garments.items():
            assert spec.garments[slot].colour == garment.colour


def test_shares_of_what_few_have():
    names = [attribute_names(draw_spec(seed)) for seed in range(600)]
    counts = {name: Counter(each[name] for each in names) for name in ATTRIBUTES}
    for name in ("hat_kind", "eyewear", "bag_colour", "beard"):
        assert 0.1 < 1 - counts[name]["none"] / 600 < 0.27, name
    assert 0.4 < counts["shoes_kind"]["shoes"] / 600 < 0.6 and 0.06 < counts["hair_style"][BALD] / 600 < 0.15
    assert set(counts["scene"]) == {*SCENES, *LATER_SCENES} and set(COLOURED_LIGHTS) <= set(counts["light"])
    nights = Counter(each["light"] for each in names if each["scene"] == "night_city")
    assert nights["night"] + nights["neon"] > 0.7 * nights.total()


@pytest.mark.parametrize("scene", LATER_SCENES)
def test_later_scenes_fill_the_frame_and_vary(scene):
    spec = replace(draw_plain_spec(1), scene=scene, light=white_light())
    pictures = [render.render_scene(replace(spec, scene_seed=seed)) for seed in range(3)]
    assert len({picture.tobytes() for picture in pictures}) == 3
    assert all((picture.max(-1) > 0).all() and picture.std() > 15 for picture in pictures)
    with pytest.raises(ValueError, match="moon"):
        scene_svg("moon", 0)


def test_coloured_lights_look_their_names():
    spec = replace(draw_plain_spec(1), scene="studio")
    rng = np.random.default_rng(0)
    means = {name: render.render_scene(replace(spec, light=coloured_light(name, rng))) for name in COLOURED_LIGHTS}
    white = render.render_scene(replace(spec, light=white_light())).mean((0, 1))
    red, green, blue = (means["sunset"].mean((0, 1)) / white).tolist()
    assert red > 1.2 * green > 1.2 * blue
    red, _, blue = (means["night"].mean((0, 1)) / white).tolist()
    assert means["night"].mean() < 0.65 * white.mean() and blue > 1.4 * red
    sides = (means["neon"][:, :40].mean((0, 1)) - means["neon"][:, -40:].mean((0, 1)))[:2]
    assert abs(sides[0]) > 60 and sides[0] * sides[1] < 0  # magenta there, cyan here


def test_captions_name_what_few_have():
    named = Counter()
    for seed in range(60):
        spec = draw_spec(seed)
        words = captions(spec, np.random.default_rng(seed))
        for vocabulary, text in ((ENGLISH, words.english), (CHINESE, words.chinese)):
            assert any(phrase in text for phrase in vocabulary.scenes[spec.scene])
            if spec.beard != "none":
                assert any(phrase in text for phrase in vocabulary.beards[spec.beard])
            for slot in ("hat", "eyewear"):
                kind = spec.garments[slot].kind if slot in spec.garments else None
                found = kind is not None and any(noun in text for noun in vocabulary.kinds[kind])
                named[slot, kind is not None, found] += 1
                if found and slot == "hat" and vocabulary is ENGLISH:
                    assert spec.garments[slot].colour_name in text
    for slot in ("hat", "eyewear"):
        assert named[slot, True, True] > 4 * named[slot, True, False]
