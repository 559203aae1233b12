"""Poses of ordinary people get the figure's proportions; the figure's own poses stay."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest

from twinset.figure import keypoints as kp
from twinset.figure import poses
from twinset.figure.drawn_parsing import draw_layout
from twinset.figure.retarget import ORDINARY, head_share, retarget
from twinset.perception.people.keypoint_files import read_keypoints
from twinset.pipelines.families.drawn import StudioBackend

LIMBS = ((2, 3), (3, 4), (5, 6), (6, 7), (8, 9), (9, 10), (11, 12), (12, 13), (1, 8), (1, 11), (1, 2), (1, 5))
#: A standing adult, right arm raised and head tilted, in shares of a stature of 1 (x right, y down from the crown).
ADULT = np.array([
    (0.012, 0.085), (0.0, 0.182), (-0.115, 0.184), (-0.26, 0.07), (-0.24, -0.075), (0.115, 0.184), (0.15, 0.366),
    (0.17, 0.51), (-0.05, 0.47), (-0.07, 0.715), (-0.08, 0.96), (0.05, 0.47), (0.06, 0.715), (0.07, 0.96),
    (-0.01, 0.066), (0.026, 0.070), (-0.037, 0.068), (0.049, 0.077),
])  # fmt: skip


def photo(height: float, x: float = 96, y: float = 20) -> kp.Keypoints:
    """The adult with a stature of `height` px, joints outside the frame unknown."""
    keypoints = kp.with_visibility(ADULT * height + np.array([x, y]))
    return np.where(keypoints[:, 2:] > 0, keypoints, 0).astype(np.float32)


def directions(keypoints: kp.Keypoints) -> np.ndarray:
    """(N, 2) unit vectors of the limbs that are known at both ends."""
    seen = keypoints[:, 2] > 0
    along = np.array([keypoints[b, :2] - keypoints[a, :2] for a, b in LIMBS if seen[a] and seen[b]])
    return along / np.linalg.norm(along, axis=1, keepdims=True)


def test_own_presets_stay():
    moved = {}
    for name, framing in itertools.product(poses.PRESETS, poses.FRAMINGS):
        keypoints = poses.preset(name, framing)
        moved[f"{name}, {framing}"] = np.abs(retarget(keypoints) - keypoints).max()
    assert {case: pixels for case, pixels in moved.items() if not pixels <= 1} == {}


def test_own_random_poses_stay():
    rng = np.random.default_rng(0)
    for _ in range(200):
        keypoints = poses.place(poses.random_pose(rng)[1], poses.placement("full"))
        share = head_share(keypoints)
        assert share is not None and share > 0.9
        assert np.abs(retarget(keypoints) - keypoints).max() < 1


@pytest.mark.parametrize("height", [215, 330, 520])
def test_an_adult_gets_the_figures_proportions(height):
    given = photo(height)
    share = head_share(given)
    assert share is not None and 0.15 < share < 0.45 < ORDINARY
    made = retarget(given)
    assert head_share(made) == pytest.approx(1, abs=0.12)
    assert np.array_equal(made[:, 2], given[:, 2])  # the same joints, none lost beyond the frame
    assert (directions(made) * directions(given)).sum(1).min() > 0.999


def test_the_head_keeps_its_tilt_and_place():
    given, made = photo(215), retarget(photo(215))
    for a, b in ((kp.R_EAR, kp.L_EAR), (kp.R_EYE, kp.L_EYE)):
        before, after = given[b, :2] - given[a, :2], made[b, :2] - made[a, :2]
        assert np.degrees(np.arctan2(after[1], after[0])) == pytest.approx(
            np.degrees(np.arctan2(before[1], before[0])), abs=2
        )
    middle = made[[kp.R_EAR, kp.L_EAR], :2].mean(0) - made[kp.NECK, :2]
    wanted = given[[kp.R_EAR, kp.L_EAR], :2].mean(0) - given[kp.NECK, :2]
    assert middle @ wanted / np.linalg.norm(middle) / np.linalg.norm(wanted) > 0.999
    assert made[kp.NOSE, 0] - made[[kp.R_EAR, kp.L_EAR], 0].mean() > 0  # still turned to the picture's right


@pytest.mark.parametrize("height", [140, 215])
def test_the_figure_takes_the_same_room(height):
    given, made = photo(height), retarget(photo(height))
    assert abs(made[[kp.R_ANKLE, kp.L_ANKLE], 1].max() - given[[kp.R_ANKLE, kp.L_ANKLE], 1].max()) < 0.06 * height
    labels = draw_layout(made, ("t_shirt", "trousers", "shoes"), "short")
    rows, columns = np.nonzero(labels)
    assert 0.85 * height < np.ptp(rows) < 1.3 * height
    assert abs(columns.mean() - 96) < 12


def test_a_hidden_ear_is_a_full_turn_and_unknown_joints_stay_unknown():
    given = photo(215)
    given[[kp.R_EAR, kp.L_ELBOW, kp.R_HIP]] = 0
    made = retarget(given)
    assert not made[[kp.R_EAR, kp.L_ELBOW, kp.R_HIP]].any()
    assert made[kp.L_WRIST, 1] > made[kp.L_SHOULDER, 1]
    assert np.isfinite(made).all()


def test_without_a_head_nothing_is_changed():
    given = photo(215)
    given[[kp.NOSE, kp.R_EYE, kp.L_EYE, kp.R_EAR, kp.L_EAR]] = 0
    assert head_share(given) is None
    assert np.array_equal(retarget(given), given)


def test_a_pose_file_of_a_photo_is_retargeted_with_a_note(tmp_path):
    path, notes = tmp_path / "photo.json", []
    path.write_text(json.dumps(photo(215).tolist()))
    unused: Any = None
    made = StudioBackend(unused).adopt(read_keypoints(path), "photo.json", notes)
    assert head_share(made) == pytest.approx(1, abs=0.12)
    assert len(notes) == 1 and "'photo.json'" in notes[0]
    assert StudioBackend(unused).adopt(made, "photo.json", notes) is made and len(notes) == 1
