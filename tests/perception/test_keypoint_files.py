"""Pose files of the public layouts, faulty ones, and the skeleton that ControlNets learnt."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from twinset.errors import InputError
from twinset.figure import keypoints as kp
from twinset.figure.keypoints import openpose_skeleton, stick_of
from twinset.figure.poses import preset
from twinset.perception.people.keypoint_files import COCO_17, openpose_of, read_keypoints

FROM_COCO = [i for i in range(18) if i != kp.NECK]


def person(scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    return preset("waving", "full") * (scale, scale, 1) + (shift, shift, 0)


def coco(joints: np.ndarray) -> list[float]:
    """COCO's 17 of OpenPose's 18, flat."""
    made = np.zeros((17, 3))
    made[[COCO_17[i] for i in FROM_COCO]] = joints[FROM_COCO]
    return made.ravel().tolist()


def body_25(joints: np.ndarray) -> list[float]:
    made = np.zeros((25, 3))
    made[list(kp.BODY_25)] = joints
    return made.ravel().tolist()


def write(path: Path, data: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def test_coco_annotations_with_their_picture(tmp_path: Path) -> None:
    data = {
        "images": [{"id": 3, "width": 9, "height": 9}, {"id": 7, "width": 768, "height": 1024}],
        "annotations": [{"image_id": 7, "keypoints": coco(person(4)), "num_keypoints": 17}],
    }
    read = read_keypoints(write(tmp_path / "a.json", data))
    np.testing.assert_allclose(read[FROM_COCO], person()[FROM_COCO], atol=1e-3)
    shoulders = person()[[kp.L_SHOULDER, kp.R_SHOULDER], :2].mean(0)
    np.testing.assert_allclose(read[kp.NECK, :2], shoulders, atol=1e-3)


@pytest.mark.parametrize("hidden", [kp.L_SHOULDER, kp.R_SHOULDER])
def test_the_neck_needs_both_shoulders(hidden: int) -> None:
    joints = np.array(coco(person())).reshape(17, 3)
    joints[COCO_17[hidden], 2] = 0
    assert openpose_of(joints)[kp.NECK, 2] == 0


def test_left_and_right_of_coco_are_not_exchanged() -> None:
    joints = np.zeros((17, 3))
    joints[9], joints[16] = (5, 6, 1), (7, 8, 1)  # left wrist, right ankle
    found = openpose_of(joints)
    assert found[kp.L_WRIST].tolist() == [5, 6, 1] and found[kp.R_ANKLE].tolist() == [7, 8, 1]


def test_results_of_a_detector(tmp_path: Path) -> None:
    data = [{"image_id": 1, "category_id": 1, "score": 0.9, "keypoints": coco(person())}]
    np.testing.assert_allclose(
        read_keypoints(write(tmp_path / "a.json", data))[FROM_COCO], person()[FROM_COCO], atol=1e-3
    )


@pytest.mark.parametrize("size", [(192, 256), (832, 1216)])
def test_viton_hd(size: tuple[int, int], tmp_path: Path) -> None:
    hands = {"hand_left_keypoints_2d": [1.0] * 63, "face_keypoints_2d": []}
    data = {"version": 1.3, "people": [{"person_id": [-1], "pose_keypoints_2d": body_25(person(4)), **hands}]}
    read = read_keypoints(write(tmp_path / "openpose_json/00001_00_keypoints.json", data), size)
    scale = min(size[0] / 192, size[1] / 256)
    expected = person()[:, :2] * scale + (np.array(size) - np.array((192, 256)) * scale) / 2
    np.testing.assert_allclose(read[:, :2], expected, atol=1e-2)


def test_dress_code(tmp_path: Path) -> None:
    rows = [[*row, index] for index, row in enumerate(person(2).tolist())]
    rows[kp.L_ANKLE] = [-1, -1, 0, -1]
    read = read_keypoints(write(tmp_path / "dresses/keypoints/020714_2.json", {"keypoints": rows}))
    known = [i for i in range(18) if i != kp.L_ANKLE]
    np.testing.assert_allclose(read[known], person()[known], atol=1e-3)
    assert not read[kp.L_ANKLE].any()


def test_the_largest_of_several_people_is_taken_and_said(tmp_path: Path) -> None:
    people = [{"pose_keypoints_2d": p.ravel().tolist()} for p in (person(0.3), person(), person(0.5, 20))]
    notes: list[str] = []
    read = read_keypoints(write(tmp_path / "a.json", {"people": people}), notes=notes)
    np.testing.assert_allclose(read, person(), atol=1e-3)
    assert len(notes) == 1 and "3 people" in notes[0]


def test_shares_without_a_canvas_are_shares_of_the_frame(tmp_path: Path) -> None:
    shares = (person() / (192, 256, 1)).tolist()
    np.testing.assert_allclose(read_keypoints(write(tmp_path / "a.json", shares)), person(), atol=1e-3)


FAULTS = {
    "NaN": '{"people": [{"pose_keypoints_2d": [NaN' + ", 1.0" * 53 + "]}]}",
    "infinity": json.dumps([[1e400, 0, 1]] * 18),
    "far": json.dumps([[1e30, 0, 1]] * 18),
    "count": json.dumps({"people": [{"pose_keypoints_2d": [1.0] * 57}]}),
    "words": json.dumps([["one", "2", "3"]] * 18),
    "truth": json.dumps([[True, True, True]] * 18),
    "nested": "[" * 100_000 + "]" * 100_000,
    "nested numbers": json.dumps([[[1, 2, 3]]] * 18),
    "huge number": "[" + "9" * 5000 + "]",
    "canvas": json.dumps({"people": [{"pose_keypoints_2d": [1.0] * 54}], "canvas_width": -5, "canvas_height": "a"}),
    "annotations": '{"annotations": 5}',
    "people": '{"people": {"a": 1}}',
    "bytes": "\ud800",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_files_give_one_line(fault: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(FAULTS[fault].encode("utf-8", "surrogatepass"))
    with pytest.raises(InputError, match="not OpenPose JSON") as error:
        read_keypoints(path)
    assert "\n" not in str(error.value) and len(str(error.value)) < 600


BODILESS = {"pose_keypoints_2d": None, "face_keypoints_2d": [1, 2, 1]}


@pytest.mark.parametrize(
    "data", [[[0, 0, 0]] * 18, {"people": [BODILESS]}, {"people": []}, {"keypoints": [[[0, 0]] * 18]}]
)
def test_a_file_without_a_body_is_refused(data: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="shows nobody's body"):
        read_keypoints(write(tmp_path / "a.json", data))


def in_pairs(joints: np.ndarray) -> list[Any]:
    """As pose editors write joints: pairs, null where one is unknown."""
    return [[x, y] if known else None for x, y, known in joints.tolist()]


def whole_body(joints: np.ndarray, count: int) -> np.ndarray:
    """COCO's 17 and hands, face and feet, which are elsewhere; Halpe's own neck."""
    made = np.full((count, 3), 5.0)
    made[:17] = np.array(coco(joints)).reshape(17, 3)
    if count in (26, 136):
        made[18] = joints[kp.NECK]
    return made


def dialects(joints: np.ndarray) -> dict[str, Any]:
    """One pose on a canvas of 768 × 1024 in the dialects of pose editors and estimators."""
    flat = joints.ravel().tolist()
    canvas = {"width": 768, "height": 1024}
    body = whole_body(joints, 133)
    instance = {"keypoints": body[:, :2].tolist(), "keypoint_scores": body[:, 2].tolist()}
    return {
        "an editor's pairs": canvas | {"keypoints": [in_pairs(joints)]},
        "canvas as width": canvas | {"people": [{"pose_keypoints_2d": flat}]},
        "quoted": {"people": [{"pose_keypoints_2d": [str(number) for number in flat]}], "canvas_width": "768",
                   "canvas_height": "1024"},
        "somebody without a body": {"people": [BODILESS, {"pose_keypoints_2d": flat}], "canvas_width": 768,
                                    "canvas_height": 1024},
        "MMPose": canvas | {"instance_info": [{"frame_id": 1, "instances": [instance]}]},
        "WholeBody, flat": canvas | {"predictions": [{"keypoints": body.ravel().tolist()}]},
        "Halpe": canvas | {"people": [{"pose_keypoints_2d": whole_body(joints, 26).ravel().tolist()}]},
        "Halpe with hands": canvas | {"keypoints": whole_body(joints, 136).tolist()},
        "pairs, flat": canvas | {"people": [{"pose_keypoints_2d": joints[:, :2].ravel().tolist()}]},
    }  # fmt: skip


@pytest.mark.parametrize("dialect", dialects(person()))
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_dialects_of_editors_and_estimators(dialect: str, mark: str, tmp_path: Path) -> None:
    data = json.dumps(dialects(person(4))[dialect])
    read = read_keypoints(write(tmp_path / "a.json", mark + data))
    compared = FROM_COCO if dialect in ("MMPose", "WholeBody, flat") else list(range(18))
    np.testing.assert_allclose(read[compared], person()[compared], atol=1e-3)


def test_null_joints_are_unknown(tmp_path: Path) -> None:
    joints = person(4)
    joints[[3, 9]] = 0
    read = read_keypoints(write(tmp_path / "a.json", {"width": 768, "height": 1024, "keypoints": [in_pairs(joints)]}))
    assert (read[[3, 9]] == 0).all() and (read[:, 2] > 0).sum() == 16


def test_large_files_are_not_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has 10\.0 MB; give the pose of one picture"):
        read_keypoints(write(tmp_path / "a.json", " " * 10_000_000))


def mutated(data: Any, rng: np.random.Generator) -> Any:
    """The same data with one value, somewhere in its depth, in place of another, or left out."""
    junk = [None, {}, [], "x", -1, 1e308, float("nan"), True, [[]], {"people": 1}, 0]
    if isinstance(data, dict | list) and len(data) and rng.random() < 0.85:
        key = list(data)[rng.integers(len(data))] if isinstance(data, dict) else int(rng.integers(len(data)))
        made = data.copy()
        if rng.random() < 0.2:
            del made[key]
        else:
            made[key] = mutated(made[key], rng)
        return made
    return junk[rng.integers(len(junk))]


def test_mutated_files_are_read_or_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sound = [
        {"people": [{"pose_keypoints_2d": body_25(person(4))}] * 2, "canvas_width": 768, "canvas_height": 1024},
        {"images": [{"id": 1, "width": 9, "height": 9}], "annotations": [{"image_id": 1, "keypoints": coco(person())}]},
        person().tolist(),
    ]
    refused = 0
    for number in range(600):
        path = write(tmp_path / "a.json", mutated(mutated(sound[number % 3], rng), rng))
        try:
            read = read_keypoints(path, notes=[])
        except InputError as error:
            refused += 1
            assert "\n" not in str(error)
        else:
            assert read.shape == (18, 3) and read.dtype == np.float32 and np.isfinite(read).all()
    assert 100 < refused < 600


# The skeleton


def test_the_skeleton_is_that_of_controlnet_aux() -> None:
    """Expected pictures were drawn by controlnet_aux 0.0.10 (open_pose.util.draw_bodypose) with OpenCV 5.0."""
    known = np.load(Path(__file__).parent / "openpose_drawing.npz")
    for number in range(3):
        expected = known[f"drawn_{number}"]
        drawn = openpose_skeleton(known[f"keypoints_{number}"], expected.shape[1::-1])
        assert np.array_equal(drawn, expected)


def test_the_skeleton_beside_controlnet_aux_itself() -> None:
    try:
        body, util = (import_module(f"controlnet_aux.open_pose.{name}") for name in ("body", "util"))
    except Exception as error:  # beside mediapipe 1.x it fails with an AttributeError
        pytest.skip(f"controlnet_aux does not load: {error}")
    given = preset("dancing", "full") * (3, 3, 1) + (0.5, 0.5, 0)
    given[[kp.R_WRIST, kp.L_EYE]] = 0
    given[:, :2] = np.round(given[:, :2]) + 0.25 * (given[:, 2:] > 0)  # far from where a share of 576 is cut otherwise
    joints = [body.Keypoint(x / 576, y / 768) if seen else None for x, y, seen in given.astype(np.float64)]
    expected = util.draw_bodypose(np.zeros((768, 576, 3), np.uint8), joints)
    assert np.array_equal(openpose_skeleton(given, (576, 768)), expected)


@pytest.mark.parametrize(
    ("longest", "stick"), [(499, 4), (500, 8), (999, 8), (1000, 12), (2000, 16), (3000, 20), (4000, 24), (5000, 28)]
)
def test_sticks_of_sdxl_grow_with_the_picture(longest: int, stick: int) -> None:
    assert stick_of((300, longest), thick=True) == stick and stick_of((300, longest), thick=False) == 4


def test_joints_beyond_the_frame_are_clipped() -> None:
    given = preset("standing", "full") + np.array((-60, -130, 0), np.float32)
    drawn = openpose_skeleton(given, (192, 256))
    whole = openpose_skeleton(given + np.array((200, 300, 0), np.float32), (592, 856))
    differs = (drawn != whole[300:556, 200:392]).any(-1).sum()  # fractions of negative numbers are cut upwards
    assert drawn.any(-1).sum() > 500 and differs < 0.1 * drawn.any(-1).sum()
