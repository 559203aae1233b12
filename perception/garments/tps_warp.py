"""A flat-lay garment laid onto a pose by a thin-plate spline: a geometric prior, not a picture to be seen.

Control points come from the garment's own outline and from the pose's joints; the spline (Bookstein, "Principal
Warps", PAMI 1989; for clothes: Han et al., VITON, CVPR 2018) is SciPy's. kornia's `get_tps_transform` lays its kernels
around the points of the garment and evaluates them around those of the pose, which tears pictures where the two lie far
apart. A spline cannot fold cloth: arms that cross the body pull the trunk along.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import RBFInterpolator, RegularGridInterpolator
from scipy.ndimage import map_coordinates
from scipy.spatial import Delaunay

from twinset.errors import InputError
from twinset.figure import keypoints as kp
from twinset.figure.keypoints import Keypoints, check_keypoints, known_joints
from twinset.perception.garments.outline import armpit_row, crotch_row, middle_column, top_of_column, torso_sides

#: How much wider than the joints cloth lies: shoulders, hips; in shares of the distance between the joints.
SHOULDER_EASE, HIP_EASE = 0.16, 0.75
#: Half a sleeve's and half a leg's width, in shares of the distance between the shoulders.
ARM_HALF, LEG_HALF = 0.19, 0.27
#: Lets places that pull against each other give way.
SMOOTHING = 1e-4
#: Distance of the places at which the spline is computed, px; between them it is taken as straight.
GRID = 4
_STEPS = 4
#: Of a garment whose outline can be read, px.
LEAST_SIDE = 16
#: Row of a hem's corners, as a share of the height: hems are rounded.
HEM = 0.96
#: Shoulder, elbow, wrist, hip, knee, ankle.
RIGHT = (kp.R_SHOULDER, kp.R_ELBOW, kp.R_WRIST, kp.R_HIP, kp.R_KNEE, kp.R_ANKLE)
LEFT = (kp.L_SHOULDER, kp.L_ELBOW, kp.L_WRIST, kp.L_HIP, kp.L_KNEE, kp.L_ANKLE)

Points = np.ndarray
Pairs = list[tuple[np.ndarray, np.ndarray]]


def warp_to_pose(
    picture: np.ndarray, mask: np.ndarray, garment: str, keypoints: Keypoints, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Lays a cut-out onto a pose.

    Args:
        picture: uint8 (h, w, 3) RGB, the garment flat and upright, cropped to its box.
        mask: boolean (h, w).
        garment: "top", "outerwear", "dress" or "bottom".
        keypoints: float32 (18, 3), px of the target.
        size: (width, height) of the target.

    Returns:
        uint8 (height, width, 3), white outside; float32 (height, width) coverage in [0, 1].

    Raises:
        InputError: the pose lacks shoulders, or the garment is too small.
        ValueError: another class, or mask and picture differ in size.
    """
    if mask.shape != picture.shape[:2]:
        raise ValueError(f"mask has shape {mask.shape}; expected {picture.shape[:2]}, the picture's")
    result = np.full((size[1], size[0], 3), 255.0)
    covered = np.zeros((size[1], size[0]))
    for piece in pieces(mask, garment, keypoints):
        layers = np.dstack([picture.astype(np.float32), np.full(mask.shape, 255, np.float32)]) * piece.mask[..., None]
        warped = spline_warp(layers, piece.source, piece.target, size)
        share = (warped[..., 3] / 255).clip(0, 1)
        result = warped[..., :3] + result * (1 - share[..., None])
        covered = share + covered * (1 - share)
    return result.clip(0, 255).round().astype(np.uint8), covered.astype(np.float32)


@dataclass(frozen=True)
class Piece:
    """A part of a garment that bends by itself.

    Attributes:
        mask: boolean (h, w), where it is.
        source: (N, 2) places on it, px of the garment.
        target: (N, 2) where they belong on the pose, px.
    """

    mask: np.ndarray
    source: Points
    target: Points


def spline_warp(
    picture: np.ndarray, source: Points, target: Points, size: tuple[int, int], smoothing: float = SMOOTHING
) -> np.ndarray:
    """Warps a picture by the thin-plate spline that brings points near others.

    Args:
        picture: float32 (h, w, C).
        source: (N, 2) px of the picture, none twice.
        target: (N, 2) px of the result, none twice.
        size: (width, height) of the result.
        smoothing: how far points may be missed for less bending; 0 brings them there exactly.

    Returns:
        float32 (height, width, C); zero beside the picture and away from the points.
    """
    frame = float(np.ptp(target, axis=0).max())
    spline = RBFInterpolator(target / frame, source, kernel="thin_plate_spline", smoothing=smoothing)
    columns, rows = (np.append(np.arange(0, length, GRID), length) + 0.0 for length in size)
    nodes = np.stack(np.meshgrid(columns, rows), -1).reshape(-1, 2)
    known = spline(nodes / frame).reshape(len(rows), len(columns), 2)
    y, x = np.arange(size[1]) + 0.5, np.arange(size[0]) + 0.5
    places = RegularGridInterpolator((rows, columns), known)(np.stack(np.meshgrid(y, x, indexing="ij"), -1))
    at = [places[..., 1] - 0.5, places[..., 0] - 0.5]
    sampled = [map_coordinates(layer, at, order=1) for layer in picture.transpose(2, 0, 1)]
    return np.stack(sampled, -1) * _near(target, size)[..., None]


def _near(target: Points, size: tuple[int, int]) -> np.ndarray:
    """Boolean (height, width): within the hull of points, widened by a tenth; farther out a spline runs wild."""
    middle = target.mean(0)
    hull = Delaunay(middle + (target - middle) * 1.1)
    x, y = np.meshgrid(np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5)
    return hull.find_simplex(np.stack([x, y], -1)) >= 0


def pieces(mask: np.ndarray, garment: str, keypoints: Keypoints) -> list[Piece]:
    """Cuts a garment into trunk and sleeves, and says where their places belong on a pose.

    Args:
        mask: boolean (h, w), cropped to its box.
        garment: "top", "outerwear", "dress" or "bottom".
        keypoints: float32 (18, 3).

    Returns:
        What lies below first.

    Raises:
        InputError: the pose lacks shoulders, or the garment is too small.
        ValueError: another class.
    """
    makers = {"top": _top, "outerwear": _top, "dress": _top, "bottom": _bottom}
    if garment not in makers:
        raise ValueError(f"garment class {garment!r} has no warp; choose one of {', '.join(makers)}")
    if min(mask.shape) < LEAST_SIDE:
        given, least = f"{mask.shape[1]} x {mask.shape[0]} pixels", f"{LEAST_SIDE} x {LEAST_SIDE}"
        raise InputError(f"the garment has {given}; give one of at least {least}")
    return makers[garment](mask, _Body(check_keypoints(keypoints)))


def _piece(mask: np.ndarray, pairs: Pairs) -> Piece:
    """Places that coincide on the pose are given once."""
    apart: Pairs = []
    for source, target in pairs:
        if all(np.hypot(*(target - other)) > 0.5 and np.hypot(*(source - given)) > 0.5 for given, other in apart):
            apart.append((source, target))
    source, target = (np.array(points, float) for points in zip(*apart, strict=True))
    return Piece(mask, source, target)


class _Body:
    """A pose's joints, with hips made up where only shoulders are known."""

    def __init__(self, keypoints: Keypoints):
        known = known_joints(keypoints)
        self._points, self._known = keypoints[:, :2].astype(float), known
        if not (known[kp.R_SHOULDER] and known[kp.L_SHOULDER]):
            raise InputError("the pose does not show both shoulders, which garments are laid by; choose another pose")
        ahead = self._points[kp.R_SHOULDER, 0] <= self._points[kp.L_SHOULDER, 0]
        self._sides = (RIGHT, LEFT) if ahead else (LEFT, RIGHT)  # the one at the left of the picture comes first
        self.shoulders = self._points[[side[0] for side in self._sides]]
        across = self.shoulders[1] - self.shoulders[0]
        self.unit = max(float(np.linalg.norm(across)), 1.0)
        down = np.array([-across[1], across[0]]) / self.unit
        down = -down if down[1] < 0 else down
        made_up = self.shoulders.mean(0) + 1.45 * self.unit * down + np.array([[-0.3], [0.3]]) * across
        both = known[kp.R_HIP] and known[kp.L_HIP]
        self.hips = self._points[[side[3] for side in self._sides]] if both else made_up
        self.neck = self.shoulders.mean(0)
        spine = self.hips.mean(0) - self.neck
        self.torso = max(float(np.linalg.norm(spine)), 1.0)
        self.down = spine / self.torso

    def limb(self, side: int, first: int) -> Points | None:
        """Known joints (2 or 3, 2) of an arm (first 0) or leg (first 3), None where its second is unknown."""
        joints = self._sides[side][first : first + 3]
        if not self._known[joints[1]] or not self._known[joints[0]]:
            return None
        return self._points[[joint for joint in joints if self._known[joint]]]

    def flank(self, side: int, along: float, half: float) -> Points:
        """A point beside the spine: `along` its length from the neck, `half` the shoulders' distance to a side."""
        share = min(max(along, 0.0), 1.0)
        across = (self.shoulders[side] - self.neck) * (1 - share) + (self.hips[side] - self.hips.mean(0)) * share
        length = np.linalg.norm(across)
        across = across / length if length > 1e-6 else np.array([1.0, 0.0])
        return self.neck + self.down * self.torso * along + across * half * self.unit


def _along(limb: Points, length: float) -> tuple[Points, Points]:
    """The point at a length along a limb and the limb's direction there; its last bone goes on beyond its end."""
    for index in range(len(limb) - 1):
        bone = limb[index + 1] - limb[index]
        whole = max(float(np.linalg.norm(bone)), 1e-6)
        if length <= whole or index == len(limb) - 2:
            return limb[index] + bone / whole * length, bone / whole
        length -= whole
    raise ValueError("a limb has at least two joints")


def _sided(direction: Points, outwards: Points) -> Points:
    """The unit normal of a direction that points outwards."""
    normal = np.array([-direction[1], direction[0]])
    return normal if normal @ outwards > 0 else -normal


# Tops and dresses


def _top(mask: np.ndarray, body: _Body) -> list[Piece]:
    """The trunk by neck, shoulders, armpits, flanks and hem; each sleeve, where there is one, along its arm."""
    middle = middle_column(mask)
    armpit = armpit_row(mask, middle)
    sides = torso_sides(mask, middle, armpit)
    chest = max(float(sides[1][armpit] - sides[0][armpit]), 1.0)
    scale = body.unit * (1 + 2 * SHOULDER_EASE) / chest  # px of the pose per px of the garment
    edges = [np.where(np.arange(len(side)) < armpit, side[armpit], side) for side in sides]
    across = np.arange(mask.shape[1])[None] + 0.5
    outside = [mask & (across < edges[0][:, None]), mask & (across > edges[1][:, None])]
    pairs, sleeves = [], []
    for side in (0, 1):
        flank = _flank(mask, body, side, edges[side], armpit, (middle, chest, scale))
        pairs += flank
        if outside[side].sum() > 0.04 * mask.sum():
            sleeves += _sleeve(outside[side], body, side, flank[:2], scale)
    top = top_of_column(mask, middle)
    drop = (top - min(source[1] for source, _ in pairs)) * scale - 0.08 * body.unit
    pairs.append((np.array([middle, top]), body.neck + body.down * drop))
    return [_piece(mask & ~outside[0] & ~outside[1], pairs), *sleeves]


def _flank(
    mask: np.ndarray, body: _Body, side: int, edge: np.ndarray, armpit: int, sizes: tuple[int, float, float]
) -> Pairs:
    """Shoulder, armpit, and places down to the hem along one edge of the trunk."""
    middle, chest, scale = sizes
    shoulder = top_of_column(mask, int(np.clip(edge[armpit], 0, mask.shape[1] - 1)))
    outer = body.neck + (body.shoulders[side] - body.neck) * (1 + 2 * SHOULDER_EASE)
    pairs = [(np.array([edge[armpit], shoulder]), outer - body.down * 0.08 * body.unit)]
    for step in range(_STEPS + 1):
        row = armpit + (HEM * mask.shape[0] - armpit) * step / _STEPS
        half = (0.5 + SHOULDER_EASE) * abs(float(edge[round(row)]) - middle) / (chest / 2)
        place = body.flank(side, (row - shoulder) * scale / body.torso, half)
        pairs.append((np.array([edge[round(row)], row]), place))
    return pairs


def _sleeve(sleeve: np.ndarray, body: _Body, side: int, seam: Pairs, scale: float) -> list[Piece]:
    """A sleeve laid along its arm from shoulder and armpit to the cuff; nothing where the arm is unknown."""
    arm = body.limb(side, 0)
    if arm is None:
        return []
    rows, columns = np.nonzero(sleeve)
    places = np.stack([columns, rows], 1) + 0.5
    start = (seam[0][0] + seam[1][0]) / 2
    away = np.linalg.norm(places - start, axis=1)
    cuff = places[away >= np.quantile(away, 0.97)].mean(0)
    direction = (cuff - start) / max(float(np.linalg.norm(cuff - start)), 1e-6)
    reach, normal, pairs = (places - start) @ direction, _upper(direction, side), list(seam)
    length = float(np.quantile(reach, 0.985))
    for share in (0.35, 0.7, 1.0):
        band = np.abs(reach - share * length) < 0.05 * length + 1
        if not band.any():
            continue
        spread = (places[band] - start) @ normal
        point, bone = _along(arm, share * length * scale)
        half = max(ARM_HALF * body.unit, float(np.ptp(spread)) * scale / 2)
        for edge, sign in ((spread.max(), 1.0), (spread.min(), -1.0)):
            source = start + direction * share * length + normal * edge
            pairs.append((source, point + _upper(bone, side) * sign * half))
    return [_piece(sleeve, pairs)]


def _upper(direction: Points, side: int) -> Points:
    """The normal that points up where a sleeve lies flat to its side; it turns with the arm."""
    x, y = direction
    return np.array([-y, x]) if side == 0 else np.array([y, -x])


# Trousers, shorts and skirts


def _bottom(mask: np.ndarray, body: _Body) -> list[Piece]:
    """Waist, hips and hem; of trousers both edges of each leg."""
    height = mask.shape[0]
    waist = np.flatnonzero(mask[: height // 50 + 1].any(0))
    hips = float(np.linalg.norm(body.hips[1] - body.hips[0]))
    half = max(hips * (0.5 + HIP_EASE / 2), 0.34 * body.unit)
    scale = 2 * half / max(float(waist[-1] - waist[0]), 1)
    rise, pairs = 0.22 * body.torso, []
    across = (body.hips[1] - body.hips[0]) / max(hips, 1e-6)
    belt = body.hips.mean(0) - body.down * rise
    crotch = crotch_row(mask)
    for side, sign in ((0, -1.0), (1, 1.0)):
        pairs.append((np.array([waist[-side], height // 50]), belt + across * sign * half))
        pairs += _leg(mask, body, side, scale, crotch, rise) if crotch else _skirt_side(mask, body, side, scale, rise)
    if crotch:
        middle = middle_column(mask[:crotch])
        pairs.append((np.array([middle, crotch]), body.hips.mean(0) + body.down * max(crotch * scale - rise, 0)))
    return [_piece(mask, pairs)]


def _leg(mask: np.ndarray, body: _Body, side: int, scale: float, crotch: int, rise: float) -> Pairs:
    """Both edges of a leg below the crotch, laid along thigh and shin."""
    hip = body.hips[side]
    leg = body.limb(side, 3)
    leg = np.stack([hip, hip + body.down * body.torso]) if leg is None else leg
    middle, pairs = mask.shape[1] // 2, []
    for row in np.linspace(crotch + 1, mask.shape[0] - 2, _STEPS).round().astype(int):
        half = mask[row, :middle] if side == 0 else mask[row, middle:]
        columns = np.flatnonzero(half) + (0 if side == 0 else middle)
        if not len(columns):
            continue
        point, bone = _along(leg, max(row * scale - rise, 0.0))
        outer = _sided(bone, hip - body.hips.mean(0))
        ends = (columns[0], columns[-1] + 1) if side == 0 else (columns[-1] + 1, columns[0])
        spread = abs(ends[1] - ends[0]) * scale / 2
        for column, sign in zip(ends, (1.0, -1.0), strict=True):
            pairs.append((np.array([column, row]), point + outer * sign * min(spread, LEG_HALF * body.unit * 1.6)))
    return pairs


def _skirt_side(mask: np.ndarray, body: _Body, side: int, scale: float, rise: float) -> Pairs:
    """One flank of a skirt, straight down from the hips, as wide as its thigh asks."""
    height, pairs = mask.shape[0], []
    across = (body.hips[1] - body.hips[0]) / max(float(np.linalg.norm(body.hips[1] - body.hips[0])), 1e-6)
    middle = middle_column(mask)
    for step in range(1, _STEPS + 1):
        row = round(HEM * (height - 1) * step / _STEPS)
        columns = np.flatnonzero(mask[row])
        if len(columns):
            column = columns[0] if side == 0 else columns[-1] + 1
            centre = body.hips.mean(0) + body.down * (row * scale - rise)
            pairs.append((np.array([column, row]), centre + across * (column - middle) * scale))
    return pairs
