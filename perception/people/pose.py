"""Keypoints of the people on a photograph, by the networks of others.

- rtmlib (Apache-2.0; `pip install 'twinset[pose]'`) runs DWPose (Yang et al. 2023) or RTMPose (Jiang et al. 2023)
  after YOLOX (Ge et al. 2021) on ONNX Runtime.
- controlnet-aux (`pip install 'twinset[openpose]'`) runs OpenPose (Cao et al., TPAMI 2019) on PyTorch. CMU licenses its
  OpenPose for non-commercial use, so it is taken only when named.

Both are imported when first asked for.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub import hf_hub_download

from twinset.errors import InputError
from twinset.figure.keypoints import Keypoints
from twinset.models.hub.download import PartReport, pull_parts
from twinset.models.hub.parts import Profile
from twinset.models.hub.profiles import resolve
from twinset.perception.onnx_graph import CPU, OnnxGraph, check_picture
from twinset.perception.optional_package import import_package
from twinset.perception.people.keypoint_files import openpose_of

#: Score from which a keypoint counts as seen, as DWPose's authors have it.
SEEN = 0.3
FEWEST = 3
"""Keypoints that make a person."""
PARTS = ("person_detector", "pose_estimator")
OPENPOSE_WEIGHTS = ("lllyasviel/Annotators", "body_pose_model.pth")
"""Of the body alone; hands and faces are not asked for."""
RTMLIB_REMEDY = "pip install 'twinset[pose]'"
OPENPOSE_REMEDY = (
    "pip install 'twinset[openpose]', and pip uninstall mediapipe if that is 1.x, beside which it does not load; "
    "for DWPose, which it runs with mmcv only, take rtmlib: leave --pose-estimator out"
)

# picture uint8 (H, W, 3) RGB → joints (people, 17, 18 or 25, 3)
Reader = Callable[[np.ndarray], np.ndarray]


def keypoints_of(picture: np.ndarray, by: str = "rtmlib", profile: Profile | None = None) -> list[Keypoints]:
    """Keypoints of everybody on a picture.

    Args:
        picture: uint8 (H, W, 3) RGB, any size.
        by: "rtmlib" or "openpose" (non-commercial).
        profile: whose parts `person_detector` and `pose_estimator` rtmlib runs; those of "sd15" when None.

    Returns:
        float32 (18, 3) in OpenPose order, the largest person first: px, and the network's score, 1 at most;
        0, 0, 0 where a keypoint is not seen. An empty list where there is nobody.

    Raises:
        ValueError: the picture is not uint8 (H, W, 3).
        InputError: another reader, or its package or networks are not here; the line names the remedy.
    """
    check_picture(picture)
    if by not in ("rtmlib", "openpose"):
        raise InputError(f"pose estimator {by!r} is unknown; choose rtmlib or openpose")
    read = _openpose() if by == "openpose" else _rtmlib(profile or resolve("sd15"))
    people = [_seen(openpose_of(np.asarray(joints, dtype=np.float64))) for joints in read(picture)]
    return sorted((one for one in people if (one[:, 2] > 0).sum() >= FEWEST), key=_area, reverse=True)


def rtmlib_reader(detector: Path, estimator: Path, profile: str = "sd15") -> Reader:
    """A reader of ONNX files in rtmlib's layout.

    Args:
        detector: YOLOX, (1, 3, S, S) BGR from 0 to 255.
        estimator: SimCC with 2 bins per pixel and 17 (body) or 133 (whole body) keypoints.
        profile: name of that to which the files belong; an error says how to pull them.

    Raises:
        InputError: rtmlib is missing, or a file is not such a network.
    """
    rtmlib = import_package("rtmlib", RTMLIB_REMEDY)
    graph = OnnxGraph(detector, CPU, None, "person detector")
    canvas, (height, width) = _input_size(graph), _input_size(OnnxGraph(estimator, CPU, None, "pose estimator"))
    # graphs that suppress overlaps themselves give boxes of people only; others boxes of COCO's 80 classes
    mode = "human" if graph.outputs[0].shape[-1] == 5 else "multiclass"
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it announces every file
            find = rtmlib.YOLOX(str(detector), model_input_size=canvas, det_mode=mode)
            look = rtmlib.RTMPose(str(estimator), model_input_size=(width, height), to_openpose=True)
    except Exception as error:  # ONNX Runtime's errors have no base class of their own
        raise _unfit(detector, estimator, profile, error) from error

    def read(picture: np.ndarray) -> np.ndarray:
        try:
            return _read(find, look, picture)
        except Exception as error:  # as above
            raise _unfit(detector, estimator, profile, error) from error

    return read


def _read(find: Any, look: Any, picture: np.ndarray) -> np.ndarray:
    """The detector learnt BGR, the estimator RGB (rtmlib turns neither)."""
    boxes = _people_among(find(np.ascontiguousarray(picture[..., ::-1])))
    if not len(boxes):  # rtmlib would take the whole picture for a person
        return np.zeros((0, 18, 3))
    points, scores = look(picture, bboxes=boxes)
    return np.concatenate([points, np.asarray(scores)[..., None]], axis=-1)[:, :18]


def _people_among(found: Any) -> np.ndarray:
    """Boxes (n, 4) of people: class 0 where there are classes."""
    if not isinstance(found, tuple):
        return found
    boxes, classes = found
    return boxes[classes == 0] if len(boxes) else boxes


def _unfit(detector: Path, estimator: Path, profile: str, error: Exception) -> InputError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
    return InputError(
        f"{str(detector)!r} and {str(estimator)!r} do not run as YOLOX and SimCC in rtmlib ({reason}); "
        f"if they are damaged, replace them: twinset models pull {profile} --part {' --part '.join(PARTS)}"
    )


def _input_size(graph: OnnxGraph) -> tuple[int, int]:
    """(height, width) that a graph declares for its one input."""
    shape = graph.inputs[0].shape
    if len(shape) != 4 or not all(isinstance(side, int) for side in shape[2:]):
        raise graph.wrong("its input has no fixed height and width")
    return shape[2], shape[3]


def _rtmlib(profile: Profile) -> Reader:
    import_package("rtmlib", RTMLIB_REMEDY)  # said before any network is looked for
    detector, estimator = (_file(report) for report in pull_parts(profile, profile.chosen(PARTS), offline=True))
    return _loaded(detector, estimator, profile.name)


@lru_cache(maxsize=1)
def _loaded(detector: Path, estimator: Path, profile: str) -> Reader:
    return rtmlib_reader(detector, estimator, profile)


def _file(report: PartReport) -> Path:
    return next(Path(str(file.local)) for file in report.files if file.path == report.part.file)


def import_openpose() -> Any:
    """controlnet-aux.

    Raises:
        InputError: it does not load.
    """
    return import_package("controlnet_aux", OPENPOSE_REMEDY)


@lru_cache(maxsize=1)
def _openpose() -> Reader:
    package, (repo, name) = import_openpose(), OPENPOSE_WEIGHTS
    remedy = f"hf download {repo} {name}, or leave --pose-estimator out"
    try:
        path = hf_hub_download(repo, name, local_files_only=True)
    except (OSError, ValueError) as error:
        raise InputError(f"OpenPose's network {name!r} is not in the hub's cache; {remedy}") from error
    try:
        body = package.open_pose.Body(path)
    except Exception as error:  # torch fails with any kind of error where a file is no table of weights
        raise InputError(f"{path!r} is no network of OpenPose ({type(error).__name__}); {remedy}") from error
    detector = package.OpenposeDetector(body)
    return lambda picture: _openpose_joints(detector.detect_poses(picture), picture.shape)


def _openpose_joints(poses: list[Any], shape: tuple[int, ...]) -> np.ndarray:
    """Its keypoints are shares of the picture, None where unseen."""
    side = np.array([shape[1], shape[0], 1])
    rows = [[(0, 0, 0) if j is None else (j.x, j.y, j.score) for j in pose.body.keypoints] for pose in poses]
    return np.array(rows, dtype=np.float64).reshape(-1, 18, 3) * side


def _seen(joints: np.ndarray) -> Keypoints:
    """Joints (18, 3) with those below the threshold unknown and scores of 1 at most."""
    certain = (joints[:, 2] >= SEEN) & np.isfinite(joints).all(1)
    capped = np.minimum(joints, (np.inf, np.inf, 1))
    return np.where(certain[:, None], capped, 0).astype(np.float32)


def _area(keypoints: Keypoints) -> float:
    return float(np.ptp(keypoints[keypoints[:, 2] > 0, :2], axis=0).prod())
