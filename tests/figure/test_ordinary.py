"""Poses in ordinary proportions, and the parsing maps drawn from them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from twinset.errors import InputError
from twinset.figure import keypoints as kp
from twinset.figure import labels as lb
from twinset.figure import poses
from twinset.figure.drawing.hair import HAIR_STYLES
from twinset.figure.ordinary.parsing import PersonMap, body_map, body_maps
from twinset.figure.ordinary.poses import CHIN, CROWN, CUTS, FACE, PARENTS, ordinary, ordinary_preset
from twinset.figure.retarget import head_share, retarget

SIZES = [(512, 768), (832, 1216), (1024, 1024), (1216, 832), (384, 1024)]
SIZE = (512, 768)
OUTFIT = ("t_shirt", "trousers", "shoes")
LIMBS = [(a, b) for b, (a, _) in PARENTS.items()]
ABOVE = [kp.NOSE, kp.NECK, kp.R_SHOULDER, kp.L_SHOULDER, kp.R_EYE, kp.L_EYE, kp.R_EAR, kp.L_EAR]
HANDS = [kp.R_ELBOW, kp.R_WRIST, kp.L_ELBOW, kp.L_WRIST]
MIRRORED = [0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16]


def angles(keypoints: kp.Keypoints) -> np.ndarray:
    """Directions of the limbs in degrees."""
    along = np.array([keypoints[b, :2] - keypoints[a, :2] for a, b in LIMBS])
    return np.degrees(np.arctan2(along[:, 1], along[:, 0]))


def rows_of(labels: np.ndarray, *which: int) -> np.ndarray:
    return np.flatnonzero(np.isin(labels, which).any(1))


def around(
    keypoints: kp.Keypoints, yaw: float, height: float = 680, at: tuple[float, float] = (256, 180)
) -> kp.Keypoints:
    """A standing adult with depth, turned by `yaw` degrees to their left; what the head hides is unknown."""
    flat = (keypoints[:, :2] - keypoints[kp.NECK, :2]) / height
    depth = np.zeros(18)
    depth[[kp.R_WRIST, kp.L_WRIST]], head = 0.1, [kp.NOSE, kp.R_EYE, kp.L_EYE, kp.R_EAR, kp.L_EAR]
    depth[head] = FACE[:, 2]
    turn = np.radians(yaw)
    flat[:, 0] = flat[:, 0] * np.cos(turn) + depth * np.sin(turn)
    made = kp.with_visibility(flat * height + np.array(at), SIZE)
    if yaw > 60:
        made[[kp.L_EAR, kp.L_EYE]] = 0
    if yaw > 120:
        made[[kp.NOSE, kp.R_EYE]] = 0
    return made


@pytest.fixture(scope="module")
def standing() -> kp.Keypoints:
    return ordinary_preset("standing", "full", SIZE)


# Proportions


def test_a_person_is_seven_and_a_half_heads_tall(standing):
    labels = body_map(standing, SIZE, OUTFIT)
    ears, neck = standing[[kp.R_EAR, kp.L_EAR], 1].mean(), standing[kp.NECK, 1]
    eyes, ankles = standing[[kp.R_EYE, kp.L_EYE], 1].mean(), standing[[kp.R_ANKLE, kp.L_ANKLE], 1].mean()
    stature = (ankles - eyes) / (0.936 - 0.039)  # eye and ankle heights of Drillis and Contini
    assert (neck - ears) / stature == pytest.approx(0.108, abs=0.003)
    assert 7.0 < 1 / (CROWN - CHIN) < 8.0
    drawn = np.ptp(rows_of(labels, *range(1, 18)))
    head = neck - CHIN * stature - rows_of(labels, lb.HAIR)[0]  # with hair
    assert 7.0 < drawn / head < 8.0
    assert drawn == pytest.approx(stature, rel=0.04)


def test_published_proportions(standing):
    def length(a: int, b: int) -> float:
        return float(np.linalg.norm(standing[a, :2] - standing[b, :2]))

    thigh = length(kp.R_HIP, kp.R_KNEE)
    ratios = {
        "shin": (length(kp.R_KNEE, kp.R_ANKLE), 0.246),
        "upper arm": (length(kp.R_SHOULDER, kp.R_ELBOW), 0.186),
        "forearm": (length(kp.R_ELBOW, kp.R_WRIST), 0.146),
        "torso": (standing[kp.R_HIP, 1] - standing[kp.NECK, 1], 0.288),
        "ears": (length(kp.R_EAR, kp.L_EAR), 0.082),
    }
    for name, (found, share) in ratios.items():
        assert found / thigh == pytest.approx(share / 0.245, rel=0.02), name


def test_the_way_back_gives_the_figure():
    made = ordinary_preset("waving", "full", (192, 256))
    assert 0.2 < (head_share(made) or 0) < 0.45
    figure = retarget(made)
    assert head_share(figure) == pytest.approx(1, abs=0.05)
    np.testing.assert_allclose(angles(figure), angles(made), atol=1)


def test_angles_and_head_are_kept():
    faults = []
    for name in poses.PRESETS:
        figure, made = poses.preset(name, "full"), ordinary_preset(name, "full", SIZE)
        difference = (angles(made) - angles(figure) + 180) % 360 - 180
        tilt = [np.degrees(np.arctan2(*(k[kp.L_EAR, 1::-1] - k[kp.R_EAR, 1::-1]))) for k in (figure, made)]
        across = made[kp.L_EAR, :2] - made[kp.R_EAR, :2]
        beside = (made[kp.NOSE, :2] - made[[kp.R_EAR, kp.L_EAR], :2].mean(0)) @ across
        kept = {
            "inside": (made[:, 2] == 1).all(),
            "angles": np.abs(difference).max() < 1,
            "tilt": abs(tilt[0] - tilt[1]) <= 1,
            "turn": np.sign(round(float(beside), 2)) == np.sign(poses.PRESETS[name].head_turn),
        }
        faults += [f"{name}: {what}" for what, held in kept.items() if not held]
    assert faults == []


def test_a_symmetric_pose_stays_symmetric():
    for name in ("standing", "hands_on_hips"):
        made = ordinary_preset(name, "full", SIZE)
        flipped = made[MIRRORED] * (-1, 1, 1) + (SIZE[0], 0, 0)
        np.testing.assert_allclose(flipped, made, atol=0.01)
        labels = body_map(made, SIZE, OUTFIT)
        uneven = (labels[:, ::-1] == lb.UPPER) != (labels == lb.UPPER)
        assert uneven.sum() < 0.02 * (labels == lb.UPPER).sum()


def test_a_mirrored_pose_gives_the_mirrored_keypoints():
    figure = poses.preset("thinking", "full")
    flipped = figure[MIRRORED] * (-1, 1, 1) + (kp.FRAME[0], 0, 0)
    made = ordinary(figure, "half", SIZE)[MIRRORED] * (-1, 1, 1) + (SIZE[0], 0, 0)
    np.testing.assert_allclose(ordinary(flipped.astype(np.float32), "half", SIZE)[:, :2], made[:, :2], atol=0.05)


# Framing


@pytest.mark.parametrize("size", SIZES)
def test_what_a_framing_promises_is_inside(size):
    faults = []
    for name, framing in itertools.product(poses.PRESETS, CUTS):
        made = ordinary_preset(name, framing, size)
        promised = list(range(18)) if framing == "full" else ABOVE
        room = np.concatenate([made[promised, :2], np.array(size) - made[promised, :2]])
        if not (made[promised, 2] == 1).all() or room.min() <= 0.02 * min(size):
            faults.append(f"{name}, {framing}: {room.min():.1f} pixels from the edge")
    assert faults == []


@pytest.mark.parametrize("size", [(256, 384), (608, 416)])
def test_a_head_is_never_cut_and_a_full_figure_touches_no_edge(size):
    faults = []
    for name, framing in itertools.product(poses.PRESETS, CUTS):
        drawn = body_map(ordinary_preset(name, framing, size), size, OUTFIT)
        assert drawn.shape == size[::-1]
        edges = np.concatenate([drawn[0], drawn[-1], drawn[:, 0], drawn[:, -1]])
        if np.isin(drawn[0], (lb.FACE, lb.HAIR)).any() or (framing == "full" and edges.any()):
            faults.append(f"{name}, {framing}")
    assert faults == []


def test_three_quarter_shows_both_hands():
    shown = {
        f"{name}, {size}": (ordinary_preset(name, "three_quarter", size)[HANDS, 2] == 1).all()
        for name, size in itertools.product(poses.PRESETS, [s for s in SIZES if s[0] / s[1] > 0.5])
    }
    assert [case for case, both in shown.items() if not both] == []


@pytest.mark.parametrize("size", SIZES[:3])
def test_framings_come_closer(size):
    heads = [np.ptp(ordinary_preset("standing", framing, size)[[kp.R_EAR, kp.L_EAR], 0]) for framing in CUTS]
    assert heads == sorted(heads, reverse=True) and heads[0] > 2 * heads[-1]
    half = ordinary_preset("standing", "half", size)
    assert half[kp.R_HIP, 2] == 1 and half[kp.R_KNEE, 2] == 0


def test_unknown_joints_stay_unknown_and_a_hidden_ear_goes():
    figure = poses.place(poses.Pose(head_turn=1.0), poses.placement("full"))
    figure[[kp.L_WRIST, kp.R_ANKLE]] = 0
    made = ordinary(figure, "full", SIZE)
    assert set(np.flatnonzero(~made.any(1))) == {kp.L_WRIST, kp.R_ANKLE, kp.L_EAR}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("flying", "full", SIZE), "flying"),
        (("standing", "tiny", SIZE), "tiny"),
        (("standing", "full", (0, 768)), "0 x 768"),
    ],
)
def test_impossible_wishes_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        ordinary_preset(*arguments)


# Body map


@pytest.mark.parametrize(
    ("kind", "least", "most", "top", "bottom"),
    [  # share of the silhouette (a trunk is a third, legs two fifths); joints between which it begins, and ends
        ("t_shirt", 0.36, 0.5, (kp.NOSE, kp.R_SHOULDER), (kp.R_ELBOW, kp.R_KNEE)),
        ("tank_top", 0.25, 0.38, (kp.NOSE, kp.R_ELBOW), (kp.R_HIP, kp.R_KNEE)),
        ("shirt", 0.48, 0.65, (kp.NOSE, kp.R_SHOULDER), (kp.R_HIP, kp.R_KNEE)),
        ("hoodie", 0.5, 0.68, (kp.NOSE, kp.R_SHOULDER), (kp.R_HIP, kp.R_KNEE)),
        ("coat", 0.58, 0.78, (kp.NOSE, kp.R_SHOULDER), (kp.R_HIP, kp.R_KNEE)),
        ("dress", 0.5, 0.7, (kp.NOSE, kp.R_SHOULDER), (kp.R_HIP, kp.R_ANKLE)),
        ("skirt", 0.24, 0.42, (kp.R_ELBOW, kp.R_HIP), (kp.R_HIP, kp.R_KNEE)),
        ("trousers", 0.4, 0.56, (kp.R_ELBOW, kp.R_HIP), (kp.R_KNEE, kp.R_ANKLE)),
        ("shorts", 0.17, 0.3, (kp.R_ELBOW, kp.R_HIP), (kp.R_HIP, kp.R_KNEE)),
        ("shoes", 0.03, 0.06, (kp.R_KNEE, kp.R_ANKLE), (kp.R_ANKLE, None)),
        ("bag", 0.03, 0.09, (kp.R_WRIST, kp.R_KNEE), (kp.R_WRIST, kp.R_ANKLE)),
    ],
)  # fmt: skip
def test_each_garment_lies_where_it_belongs(standing, kind, least, most, top, bottom):
    labels = body_map(standing, SIZE, (kind,))
    bare = body_map(standing, SIZE, ())
    owned = lb.garment_labels(kind)
    rows = rows_of(labels, *owned)
    assert least < np.isin(labels, owned).sum() / (labels > 0).sum() < most
    assert standing[top[0], 1] < rows[0] < standing[top[1], 1]
    assert standing[bottom[0], 1] < rows[-1] and (bottom[1] is None or rows[-1] < standing[bottom[1], 1])
    assert kind in ("t_shirt", "tank_top", "shirt", "hoodie", "coat") or not np.isin(bare, owned).any()


def test_sleeves_and_hems(standing):
    def at(labels: np.ndarray, joint: int, towards: int, share: float) -> int:
        x, y = standing[joint, :2] * (1 - share) + standing[towards, :2] * share
        return int(labels[round(float(y)), round(float(x))])

    short, long, none = (body_map(standing, SIZE, (kind,)) for kind in ("t_shirt", "shirt", "tank_top"))
    assert [at(m, kp.R_SHOULDER, kp.R_ELBOW, 0.3) for m in (short, long, none)] == [lb.UPPER, lb.UPPER, lb.RIGHT_ARM]
    assert [at(m, kp.L_ELBOW, kp.L_WRIST, 0.4) for m in (short, long, none)] == [lb.LEFT_ARM, lb.UPPER, lb.LEFT_ARM]
    trousers, shorts, skirt = (body_map(standing, SIZE, (kind,)) for kind in ("trousers", "shorts", "skirt"))
    assert [at(m, kp.R_KNEE, kp.R_ANKLE, 0.5) for m in (trousers, shorts, skirt)] == [
        lb.PANTS,
        lb.RIGHT_LEG,
        lb.RIGHT_LEG,
    ]
    assert [at(m, kp.L_HIP, kp.L_KNEE, 0.3) for m in (trousers, shorts, skirt)] == [lb.PANTS, lb.PANTS, lb.SKIRT]
    middle = standing[[kp.R_HIP, kp.L_HIP], :2].mean(0)
    below = (round(float(middle[1])) + 90, round(float(middle[0])))
    assert (skirt[below], trousers[below]) == (lb.SKIRT, lb.BACKGROUND)


def test_a_bag_hangs_from_the_lower_hand_or_at_the_hip(standing):
    def middle(keypoints: np.ndarray) -> np.ndarray:
        rows, columns = np.nonzero(body_map(keypoints, SIZE, ("bag",)) == lb.BAG)
        return np.array([columns.mean(), rows.mean()])

    waving = ordinary_preset("waving", "full", SIZE)
    lower = max(kp.R_WRIST, kp.L_WRIST, key=lambda joint: waving[joint, 1])
    assert abs(middle(waving)[0] - waving[lower, 0]) < 0.1 * SIZE[0]
    armless = standing.copy()
    armless[[kp.R_ELBOW, kp.R_WRIST, kp.L_ELBOW, kp.L_WRIST]] = 0
    assert np.abs(middle(armless) - armless[kp.R_HIP, :2]).max() < 0.12 * SIZE[1]


@pytest.mark.parametrize("hair", HAIR_STYLES)
def test_the_head_is_where_the_face_points_are(standing, hair):
    labels = body_map(standing, SIZE, OUTFIT, hair)
    for joint in (kp.NOSE, kp.R_EYE, kp.L_EYE):
        x, y = standing[joint, :2].round().astype(int)
        assert labels[y, x] == lb.FACE
    assert 0.01 < (labels == lb.HAIR).sum() / (labels > 0).sum() < 0.14
    assert rows_of(labels, lb.HAIR)[0] < standing[kp.R_EYE, 1] - 0.05 * (standing[kp.R_ANKLE, 1] - standing[kp.NOSE, 1])


def test_crossed_arms_lie_on_the_trunk():
    made = ordinary_preset("arms_crossed", "half", (832, 1216))
    labels = body_map(made, (832, 1216), ("t_shirt", "trousers"))
    for side, arm in ((kp.R_WRIST, lb.RIGHT_ARM), (kp.L_WRIST, lb.LEFT_ARM)):
        x, y = (0.5 * made[side, :2] + 0.5 * made[side - 1, :2]).round().astype(int)
        assert labels[y, x] == arm
    middle = round(float(made[kp.NECK, 0]))
    column = labels[:, middle]
    arms = np.flatnonzero(np.isin(column, (lb.LEFT_ARM, lb.RIGHT_ARM)))
    assert len(arms) and (column[arms[0] - 3], column[arms[-1] + 3]) == (lb.UPPER, lb.UPPER)


def test_hidden_limbs_end_and_cut_ones_go_on(standing):
    hidden = standing.copy()
    hidden[[kp.R_WRIST, kp.L_KNEE, kp.L_ANKLE]] = 0
    whole, labels = body_map(standing, SIZE, ("tank_top", "shoes")), body_map(hidden, SIZE, ("tank_top", "shoes"))
    assert rows_of(labels, lb.RIGHT_ARM)[-1] < rows_of(whole, lb.RIGHT_ARM)[-1] - 60
    assert not np.isin(labels, (lb.LEFT_LEG, lb.LEFT_SHOE)).any() and (labels == lb.RIGHT_LEG).any()
    close = ordinary_preset("standing", "portrait", SIZE)
    close[close[:, 2] == 0] = 0
    drawn = body_map(close, SIZE, OUTFIT)
    assert drawn[-1, SIZE[0] // 2] == lb.UPPER and rows_of(drawn, lb.RIGHT_ARM)[-1] == SIZE[1] - 1


def test_any_one_joint_may_be_missing(standing):
    whole, changed = body_map(standing, SIZE, OUTFIT), {}
    for missing in range(18):
        given = standing.copy()
        given[missing] = 0
        changed[missing] = (body_map(given, SIZE, OUTFIT) != whole).sum() / (whole > 0).sum()
    assert {joint: share for joint, share in changed.items() if share >= 0.2} == {}


@pytest.mark.parametrize(
    "kept", [(kp.NOSE, kp.NECK), (kp.R_SHOULDER, kp.L_SHOULDER), (kp.R_EYE, kp.L_EYE), (kp.R_HIP, kp.R_KNEE)]
)
def test_two_joints_are_enough(standing, kept):
    given = np.zeros_like(standing)
    given[list(kept)] = standing[list(kept)]
    labels = body_map(given, SIZE, OUTFIT)
    assert 0.3 < (labels == lb.UPPER).sum() / (body_map(standing, SIZE, OUTFIT) == lb.UPPER).sum() < 3


@pytest.mark.parametrize("kept", [(), (kp.NOSE,), (kp.R_WRIST, kp.L_ANKLE)])
def test_too_few_joints_are_refused(standing, kept):
    given = np.zeros_like(standing)
    given[list(kept)] = standing[list(kept)]
    with pytest.raises(InputError, match=f"{len(kept)} known keypoints"):
        body_map(given, SIZE, OUTFIT)


def test_unknown_kinds_and_styles_are_refused(standing):
    with pytest.raises(ValueError, match="toga"):
        body_map(standing, SIZE, ("toga",))
    with pytest.raises(ValueError, match="mohawk"):
        body_map(standing, SIZE, OUTFIT, "mohawk")


def test_from_behind_there_is_hair_for_a_face(standing):
    labels = body_map(around(standing, 180), SIZE, OUTFIT, "long")
    x, y = standing[kp.NECK, 0], 180 - 0.1 * 680
    assert labels[round(y), round(float(x))] == lb.HAIR
    assert (labels == lb.FACE).sum() < 0.01 * (labels > 0).sum()
    left, right = (np.nonzero(labels == label)[1].mean() for label in (lb.LEFT_ARM, lb.RIGHT_ARM))
    assert left < right


def test_from_the_side_the_face_is_in_front_and_the_far_arm_behind(standing):
    turned = around(standing, 90)
    labels = body_map(turned, SIZE, ("tank_top", "trousers", "shoes"))
    head = rows_of(labels, lb.HAIR)[0], round(float(turned[kp.NECK, 1])) - 40
    columns = {label: np.nonzero(labels[head[0] : head[1]] == label)[1] for label in (lb.FACE, lb.HAIR)}
    assert columns[lb.FACE].mean() > columns[lb.HAIR].mean() + 8
    x, y = (0.5 * turned[kp.R_SHOULDER, :2] + 0.5 * turned[kp.R_ELBOW, :2]).round().astype(int)
    assert labels[y, x] == lb.RIGHT_ARM
    assert (labels == lb.LEFT_ARM).sum() < 0.3 * (labels == lb.RIGHT_ARM).sum()
    shoes = np.nonzero(labels == lb.RIGHT_SHOE)[1]
    assert shoes.max() - turned[kp.R_ANKLE, 0] > 2 * (turned[kp.R_ANKLE, 0] - shoes.min())


def test_two_people_have_two_owners(standing):
    small, large = around(standing, 0, 500, (200, 250)), around(standing, 0, 680, (300, 180))
    small[:, :2] = (standing[:, :2] - standing[kp.NECK, :2]) * 0.7 + (200, 250)
    large[:, :2] = standing[:, :2] - standing[kp.NECK, :2] + (300, 180)
    labels, owner = body_maps([PersonMap(large, ("dress", "shoes"), "long"), PersonMap(small, OUTFIT)], SIZE)
    assert labels.dtype == np.uint8 and owner.dtype == np.int8 and labels.shape == owner.shape == SIZE[::-1]
    assert set(np.unique(owner)) == {-1, 0, 1}
    assert ((owner >= 0) == (labels > 0)).all()
    alone = body_map(large, SIZE, ("dress", "shoes"), "long")
    assert ((owner == 0) == (alone > 0)).all() and (labels[owner == 0] == alone[owner == 0]).all()  # nearer: in front
    behind = body_map(small, SIZE, OUTFIT)
    assert 0.2 < (owner == 1).sum() / (behind > 0).sum() < 0.95
    assert not (labels[owner == 1] == lb.DRESS).any()


def test_nobody_gives_empty_maps():
    labels, owner = body_maps([], SIZE)
    assert not labels.any() and (owner == -1).all()
