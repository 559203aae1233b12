"""How well a face can be recognised from a picture, what is wrong with it, and one identity from several selfies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_fill_holes, laplace
from scipy.optimize import least_squares
from skimage.measure import label

from twinset.figure.labels import BACKGROUND, FACE
from twinset.models.face_finder import TEMPLATE, Face, similarity_transform
from twinset.perception.faces.onnx import aligned, normed

#: The mean face's five points: across and down as in ArcFace's template, and towards the viewer. The depths are those
#: of the six-point head that is usual with OpenCV's solvePnP (eye corners 27 mm and mouth corners 25 mm behind the tip
#: of the nose, at 90 mm between the outer eye corners), scaled to the template's 35.2 px between pupils 63 mm apart.
HEAD = np.concatenate([TEMPLATE - TEMPLATE.mean(0), np.array([[0.0], [0.0], [15.0], [1.1], [1.1]])], 1)
#: The visible inner face around ArcFace's template: centre and half axes, px of the 112; brows to chin.
ELLIPSE = ((56.0, 74.0), (32.0, 39.0))
#: Worst and best value of each measure: quality goes from 0 to 1 between them.
SIZE_RANGE = (8.0, 40.0)
SHARPNESS_RANGE = (0.002, 0.015)
YAW_RANGE, PITCH_RANGE = (75.0, 20.0), (60.0, 15.0)
OCCLUSION_RANGE = (0.7, 0.08)
#: Quality of one measure below which it is warned of.
WARN = 0.6
#: Cosine to the others below which a selfie is taken to show somebody else. ArcFace's verification thresholds on
#: photographs lie between 0.2 and 0.4, depending on the recogniser.
SAME_PERSON = 0.25


@dataclass(frozen=True)
class FaceReport:
    """Measurements of a face.

    Attributes:
        eyes: distance between the eyes, in pixels of the picture.
        sharpness: of the aligned crop, see `sharpness`; about 0.002 when blurred beyond use.
        yaw: degrees that it is turned, positive to the right of the picture.
        pitch: degrees that it looks up.
        roll: degrees that it is tilted clockwise.
        occlusion: share of the inner face that something covers, or None without a parsing map.
        faces: number of faces in the picture.
        quality: 0 to 1, the product of what size, sharpness, yaw, pitch and occlusion leave.
        warnings: one line each, with a remedy.
    """

    eyes: float
    sharpness: float
    yaw: float
    pitch: float
    roll: float
    occlusion: float | None
    faces: int
    quality: float
    warnings: tuple[str, ...]


def judge_face(picture: np.ndarray, face: Face, labels: np.ndarray | None = None, faces: int = 1) -> FaceReport:
    """Measures a face.

    Args:
        picture: uint8 (H, W, 3) RGB.
        face: found in it.
        labels: ATR parsing map (H, W) of the picture, if there is one.
        faces: number of faces found.

    Returns:
        The report.

    Raises:
        ValueError: the picture is not uint8 (H, W, 3), or the map has another size.
    """
    points = np.asarray(face.landmarks, float)
    eyes, clear = float(np.linalg.norm(points[1] - points[0])), sharpness(aligned(picture, points))
    yaw, pitch, roll = head_pose(points)
    covered = None if labels is None else occlusion(labels, points, picture.shape[:2])
    parts = {
        "eyes": ramp(eyes, *SIZE_RANGE),
        "sharpness": ramp(clear, *SHARPNESS_RANGE),
        "yaw": ramp(abs(yaw), *YAW_RANGE),
        "pitch": ramp(abs(pitch), *PITCH_RANGE),
        "occlusion": 1.0 if covered is None else ramp(covered, *OCCLUSION_RANGE),
    }
    lines = {
        "eyes": f"the face is small ({eyes:.0f} px between the eyes); use a closer or larger picture",
        "sharpness": f"the face is blurred (sharpness {clear:.3f} of {SHARPNESS_RANGE[1]}); use a sharper picture",
        "yaw": f"the face is turned {abs(yaw):.0f}°; use a more frontal picture or lower --identity-strength",
        "pitch": f"the face looks {'up' if pitch > 0 else 'down'} by {abs(pitch):.0f}°; use a picture at eye level",
        "occlusion": f"{covered or 0:.0%} of the face is covered; use one without hair, hands or glasses before it",
    }
    warnings = [lines[name] for name, quality in parts.items() if quality < WARN]
    if faces > 1:
        warnings.append(f"the picture shows {faces} faces; crop it, or choose one by its number from the left")
    quality = float(np.prod(list(parts.values())))
    return FaceReport(eyes, clear, yaw, pitch, roll, covered, faces, quality, tuple(warnings))


def ramp(value: float, worst: float, best: float) -> float:
    """0 at `worst`, 1 at `best`, straight between and flat beyond; either may be the larger."""
    return float(np.clip((value - worst) / (best - worst), 0, 1))


def sharpness(crop: np.ndarray) -> float:
    """Variance of the Laplacian over the variance of the grey values, so that contrast and exposure cancel.

    The variance of the Laplacian as a focus measure: Pech-Pacheco et al., "Diatom autofocusing in brightfield
    microscopy" (ICPR 2000).

    Args:
        crop: uint8 (112, 112, 3), aligned; faces that were enlarged to it are blurred, too.

    Returns:
        0 for a flat crop; white noise has 20 (1 + 1 + 1 + 1 + 16).
    """
    grey = crop.astype(float) @ (0.299, 0.587, 0.114)
    spread = float(grey.var())
    return 0.0 if spread < 1e-9 else float(laplace(grey).var()) / spread


def head_pose(landmarks: np.ndarray) -> tuple[float, float, float]:
    """Angles of a head by its five points, under scaled orthographic projection.

    The mean head (`HEAD`) is turned by R = R_z(roll) R_x(pitch) R_y(yaw) and projected along z. For given yaw and
    pitch, roll, scale and shift are a least-squares similarity (`similarity_transform`); what that leaves over is
    minimised over yaw and pitch (variable projection). Coordinates: x to the right, y down, z towards the viewer.

    Args:
        landmarks: (5, 2) px in the template's order.

    Returns:
        Yaw (positive to the right of the picture), pitch (positive upwards) and roll (positive clockwise), degrees.
        A person's own proportions shift them by some degrees, pitch most.

    Raises:
        ValueError: all landmarks coincide.
    """
    points = np.asarray(landmarks, float)
    size = np.ptp(points, axis=0).max()
    if size == 0:
        raise ValueError(f"all landmarks are {points[0].tolist()}: they show no pose")
    points = (points - points.mean(0)) / size

    def left_over(angles: np.ndarray) -> np.ndarray:
        flat = turned(angles[0], angles[1])
        matrix = similarity_transform(flat, points)
        return (flat @ matrix[:, :2].T + matrix[:, 2] - points).ravel()

    grid = [np.array([yaw, pitch]) for yaw in np.linspace(-1.3, 1.3, 9) for pitch in np.linspace(-0.9, 0.9, 7)]
    start = min(grid, key=lambda angles: float((left_over(angles) ** 2).sum()))
    yaw, pitch = least_squares(left_over, start, bounds=([-1.55, -1.2], [1.55, 1.2])).x
    matrix = similarity_transform(turned(yaw, pitch), points)
    yaw, pitch, roll = np.degrees([yaw, pitch, np.arctan2(matrix[1, 0], matrix[0, 0])])
    return float(yaw), float(pitch), float(roll)


def turned(yaw: float, pitch: float) -> np.ndarray:
    """(5, 2) projection of the mean head turned by yaw and pitch in radians, px of the template around its middle."""
    x, y, z = HEAD.T
    deep = z * np.cos(yaw) - x * np.sin(yaw)
    return np.stack([x * np.cos(yaw) + z * np.sin(yaw), y * np.cos(pitch) - deep * np.sin(pitch)], 1)


# Parsing


def inner_face(landmarks: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Boolean (H, W): the ellipse from brows to chin around five landmarks.

    Args:
        landmarks: (5, 2) px in the template's order.
        shape: (H, W).
    """
    matrix = similarity_transform(landmarks, TEMPLATE)
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    places = np.stack([x, y], -1) @ matrix[:, :2].T + matrix[:, 2]
    return (((places - ELLIPSE[0]) / ELLIPSE[1]) ** 2).sum(-1) <= 1


def occlusion(labels: np.ndarray, landmarks: np.ndarray, shape: tuple[int, int]) -> float:
    """Share of the inner face that a parsing map gives to anything but the face.

    What lies beside the picture counts as seen.

    Args:
        labels: ATR parsing map (H, W).
        landmarks: (5, 2) px.
        shape: (H, W) of the picture.

    Returns:
        0 to 1.

    Raises:
        ValueError: map and picture differ in size.
    """
    _check_map(labels, shape)
    inside = inner_face(landmarks, labels.shape)
    return float((labels[inside] != FACE).mean()) if inside.any() else 0.0


def face_mask(labels: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """The part of one face that can be seen: without hair, hat, sunglasses, hands or scarf before it.

    Pieces of face label that do not touch this face's inner ellipse belong to somebody else. Holes that the parser left
    as background are filled; those that another label fills stay holes.

    Args:
        labels: ATR parsing map (H, W).
        landmarks: (5, 2) px.

    Returns:
        Boolean (H, W).
    """
    pieces = np.asarray(label(labels == FACE, connectivity=1))
    own = np.unique(pieces[inner_face(landmarks, labels.shape)])
    seen = np.isin(pieces, own[own > 0])
    return np.asarray(binary_fill_holes(seen)) & (seen | (labels == BACKGROUND))


def _check_map(labels: np.ndarray, shape: tuple[int, int]) -> None:
    if labels.shape != tuple(shape[:2]):
        raise ValueError(f"parsing map has shape {labels.shape}; expected {tuple(shape[:2])}, the picture's")


# Several selfies


@dataclass(frozen=True)
class Fused:
    """One identity from several selfies.

    Attributes:
        embedding: float32 (N,) of length 1.
        kept: indices of the selfies in it.
        strangers: indices of those left out.
        notes: one line for each left out.
    """

    embedding: np.ndarray
    kept: tuple[int, ...]
    strangers: tuple[int, ...]
    notes: tuple[str, ...]


def fuse(embeddings: np.ndarray, qualities: Sequence[float], threshold: float = SAME_PERSON) -> Fused:
    """The mean of unit embeddings weighted by quality, at length 1 again, without those of other people.

    The one that is least like the weighted mean of the rest goes while its cosine to that mean is below `threshold`; of
    two that disagree, the one of lower quality.

    Args:
        embeddings: (selfies, N), of any length.
        qualities: 0 to 1 each, of `judge_face`.
        threshold: least cosine to the others.

    Returns:
        The identity and who is in it.

    Raises:
        ValueError: there is no embedding, one is all zeros, or the numbers differ.
    """
    if len(embeddings) == 0 or len(embeddings) != len(qualities):
        raise ValueError(f"{len(embeddings)} embeddings with {len(qualities)} qualities; give one of each per selfie")
    units = np.stack([normed(np.asarray(one, float)) for one in embeddings])
    weights = np.maximum(np.asarray(qualities, float), 1e-3)
    kept, notes = list(range(len(units))), {}
    while len(kept) > 1:
        cosines = [float(units[k] @ _mean(units, weights, [i for i in kept if i != k])) for k in kept]
        worst = min(range(len(kept)), key=lambda place: (round(cosines[place], 6), weights[kept[place]]))
        if cosines[worst] >= threshold:
            break
        gone = kept.pop(worst)
        notes[gone] = f"selfie {gone + 1} seems to show another person (cosine {cosines[worst]:.2f}); leave it out"
    strangers = tuple(sorted(notes))
    embedding = _mean(units, weights, kept).astype(np.float32)
    return Fused(embedding, tuple(kept), strangers, tuple(notes[k] for k in strangers))


def _mean(units: np.ndarray, weights: np.ndarray, chosen: list[int]) -> np.ndarray:
    """Weighted mean direction; where the units cancel, the heaviest of them."""
    mean = (weights[chosen, None] * units[chosen]).sum(0)
    if np.linalg.norm(mean) < 1e-9:
        return units[max(chosen, key=lambda k: weights[k])]
    return normed(mean)
