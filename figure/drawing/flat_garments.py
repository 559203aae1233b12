"""Flat garment pictures: their canonical pose, and the warp that lays them onto a posed figure.

The warp is skinning turned round: every target pixel belongs to one body part, and the part's two affine frames
(worn, flat) say where in the flat picture it comes from.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.ndimage import map_coordinates

from twinset.figure.drawing.garments import GarmentDesign, garment_parts
from twinset.figure.drawing.paint import paint_person
from twinset.figure.drawing.parts import in_order, part_map
from twinset.figure.drawing.raster import rasterise
from twinset.figure.keypoints import FRAME, Keypoints
from twinset.figure.labels import GARMENT_KINDS, garment_slot
from twinset.figure.poses import Arm, Leg, Placement, Pose, place
from twinset.figure.rig import build_rig

#: Of a draft, where no garment lies.
GREY = 127

#: kind -> (arm angle, box around the garment in head heights from the neck: half width, top, bottom)
_FLAT: dict[str, tuple[float, float, float, float]] = {
    "t_shirt": (48, 0.70, -0.14, 1.06),
    "tank_top": (48, 0.42, -0.12, 1.06),
    "shirt": (30, 0.92, -0.14, 1.06),
    "hoodie": (30, 0.92, -0.38, 1.06),
    "coat": (30, 0.92, -0.14, 1.4),
    "dress": (48, 0.70, -0.14, 1.56),
    "skirt": (48, 0.48, 0.72, 1.42),
    "trousers": (48, 0.48, 0.72, 2.48),
    "shorts": (48, 0.42, 0.72, 1.40),
    "shoes": (48, 0.52, 2.33, 2.66),
    "suit_jacket": (30, 0.92, -0.14, 1.06),
    "jumper": (30, 0.92, -0.14, 1.06),
    "boots": (48, 0.56, 2.0, 2.66),
    "heels": (48, 0.54, 2.38, 2.74),
    "beanie": (48, 0.60, -1.64, -0.74),
    "straw_hat": (48, 0.82, -1.48, -0.74),
    "cap": (48, 0.60, -1.46, -0.70),
    "glasses": (48, 0.46, -0.75, -0.36),
    "sunglasses": (48, 0.46, -0.75, -0.36),
    "bag": (48, 0.50, -0.12, 1.30),
}
#: kind -> how far the box is off the body's middle, in head heights.
_ASIDE = {"bag": 0.18}


def flat_keypoints(kind: str) -> Keypoints:
    """The pose in which the flat picture of a kind is drawn: straight limbs, zoomed so that the garment fills the frame.

    Raises:
        ValueError: if the kind is unknown.
    """
    garment_slot(kind)
    angle, half_width, top, bottom = _FLAT[kind]
    scale = 0.94 * min(FRAME[0] / (2 * half_width), FRAME[1] / (bottom - top))
    arm, leg = Arm(angle, angle), Leg(4, 3)
    where = Placement(scale, FRAME[0] / 2 - scale * _ASIDE.get(kind, 0.0), FRAME[1] / 2 - scale * (top + bottom) / 2)
    return place(Pose(arm, arm, leg, leg), where)


def render_flat(garment: GarmentDesign, size: tuple[int, int] = FRAME) -> np.ndarray:
    """The garment alone on white in its canonical pose, uint8 (height, width, 3)."""
    parts = garment_parts(garment.kind, build_rig(flat_keypoints(garment.kind)))
    slot = parts[0].role
    body = '<rect width="192" height="256" fill="#fff"/>' + paint_person(parts, np.zeros(3), (0, 0, 0), {slot: garment})
    return rasterise(body, size, f"scale({size[0] / FRAME[0]} {size[1] / FRAME[1]})")


def _square(matrix: np.ndarray) -> np.ndarray:
    return np.concatenate([matrix, [[0.0, 0.0, 1.0]]])


def _sample(flat: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear colours (N, 3) at pixel centres x, y."""
    channels = [map_coordinates(flat[..., c], [y, x], order=1, mode="nearest", prefilter=False) for c in range(3)]
    return np.stack(channels, axis=-1)


def warp_flat(
    flat: np.ndarray, kind: str, keypoints: Keypoints, size: tuple[int, int] = FRAME
) -> tuple[np.ndarray, np.ndarray]:
    """Lays a flat garment picture onto a pose.

    Args:
        flat: uint8 (256, 192, 3), the garment on white in the pose of `flat_keypoints(kind)`.
        kind: garment kind.
        keypoints: float32 (18, 3) of the target, in its pixels.
        size: (width, height) of the target.

    Returns:
        uint8 (height, width, 3), white outside; float32 (height, width) coverage in 0..1.

    Raises:
        ValueError: if the kind is unknown or the flat has another shape.
    """
    if flat.shape != (FRAME[1], FRAME[0], 3):
        raise ValueError(f"flat picture has shape {flat.shape}; expected (256, 192, 3)")
    worn = in_order(garment_parts(kind, build_rig(keypoints)))
    laid = {part.name: part.matrix for part in garment_parts(kind, build_rig(flat_keypoints(kind)))}
    owner, source = part_map(worn, size), flat.astype(np.float32)
    picture = np.full((*owner.shape, 3), 255, dtype=np.uint8)
    for index, part in enumerate(worn):
        rows, columns = np.nonzero(owner == index + 1)
        if len(rows):
            back = laid[part.name] @ np.linalg.inv(_square(part.matrix))
            x, y = back @ np.stack([columns + 0.5, rows + 0.5, np.ones(len(rows))])
            picture[rows, columns] = np.rint(_sample(source, x - 0.5, y - 0.5)).astype(np.uint8)
    return picture, (owner > 0).astype(np.float32)


def garment_draft(labels: np.ndarray, keypoints: Keypoints, flats: Mapping[str, np.ndarray]) -> np.ndarray:
    """Flat pictures warped into the layout: grey wherever no garment (with a flat) is.

    Args:
        labels: uint8 (H, W) parsing map of the layout.
        keypoints: the layout's keypoints.
        flats: garment kind -> uint8 (256, 192, 3).
    """
    draft = np.full((*labels.shape, 3), GREY, dtype=np.uint8)
    for kind, flat in flats.items():
        warped, coverage = warp_flat(flat, kind, keypoints, (labels.shape[1], labels.shape[0]))
        owned = np.isin(labels, GARMENT_KINDS[kind][1]) & (coverage > 0.5)
        draft[owned] = warped[owned]
    return draft
