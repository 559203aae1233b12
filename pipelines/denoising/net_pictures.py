"""What a ControlNet sees, drawn from a layout in the way that it was trained with.

Which of these a net takes is its role; a Union net (xinsir) takes several at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from diffusers import ControlNetModel, ControlNetUnionModel
from PIL import Image, ImageDraw

from twinset.adapters.condition import Layout
from twinset.adapters.identity import TEMPLATE, similarity_fit
from twinset.figure.keypoints import L_EYE, NOSE, R_EYE, Keypoints, draw_skeleton, openpose_skeleton, stick_of
from twinset.figure.labels import BACKGROUND, BAG, FACE, HAIR, LABELS, colourise
from twinset.models.face_finder import TEMPLATE as FIVE_POINTS
from twinset.models.region_controlnet import RegionControlNetModel

NetRole = Literal["pose", "parsing", "face"]
"""pose: a skeleton; parsing: a parsing map; face: five points of the face (InstantID's IdentityNet)."""
UNION_TYPES: dict[NetRole, int] = {"pose": 0, "parsing": 5}
"""Role → number of the control type in `xinsir/controlnet-union-sdxl-1.0`: openpose and segment."""
SKIN = (FACE, HAIR, *(LABELS.index(f"{side}-{limb}") for side in ("left", "right") for limb in ("leg", "arm")))
ADE20K = {"person": (150, 5, 61), "apparel": (0, 112, 255), "bag": (70, 184, 160)}
"""Classes of ADE20K (Zhou 2017) that people and clothes are, in the colours of `control_v11p_sd15_seg`."""
POINT_COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255))
"""Of eyes, nose and corners of the mouth, each from left to right in the picture (InstantID, `draw_kps`)."""
POINT_RADIUS, SPOKE_HALF, SPOKE_SHADE = 10, 4, 0.6


def default_roles(nets: Sequence[ControlNetModel]) -> list[tuple[NetRole, ...]]:
    """Roles of nets of which nobody says them: our parsing net sees the parsing map, others the skeleton."""
    return [("parsing",) if isinstance(net, RegionControlNetModel) else ("pose",) for net in nets]


def net_picture(
    net: ControlNetModel, role: NetRole, layout: Layout, beside_ours: bool = False, thick: bool = False
) -> np.ndarray:
    """What a net sees of a layout in a role, uint8 (H, W, 3).

    Args:
        net: ours, a Union net or another public one: they were trained with other palettes.
        role: what it is to obey.
        layout: pose and parsing map.
        beside_ours: whether our parsing net is there too; the bundled pose net learnt thinner skeletons.
        thick: whether limbs grow with the picture, see `twinset.figure.keypoints.stick_of`.
    """
    size = (layout.labels.shape[1], layout.labels.shape[0])
    if role == "parsing":
        ours = isinstance(net, RegionControlNetModel | ControlNetUnionModel)
        return colourise(layout.labels) if ours else ade20k_picture(layout.labels)
    if role == "face":
        return five_point_picture(layout.keypoints, size)
    if beside_ours:
        return draw_skeleton(layout.keypoints, size)
    stick = stick_of(size, thick)
    skeletons = [openpose_skeleton(keypoints, size, stick) for keypoints in (layout.keypoints, *layout.others)]
    return np.maximum.reduce(skeletons)


def ade20k_picture(labels: np.ndarray) -> np.ndarray:
    """A parsing map in ADE20K's colours: skin and hair are person, bags bag, all else that is worn apparel.

    The background stays black, which is no class of ADE20K: where nothing is known of the scene, `person_mask` keeps
    the net silent.

    Args:
        labels: uint8 (H, W) ATR.

    Returns:
        uint8 (H, W, 3).
    """
    palette = np.full((len(LABELS), 3), ADE20K["apparel"], np.uint8)
    palette[BACKGROUND], palette[BAG] = 0, ADE20K["bag"]
    palette[list(SKIN)] = ADE20K["person"]
    return palette[labels]


def face_points(keypoints: Keypoints) -> np.ndarray | None:
    """Eyes, nose and corners of the mouth, each from left to right, float (5, 2); None of a face that is turned away.

    OpenPose's 18 have no mouth: it is laid by the similarity that brings ArcFace's template to eyes and nose.

    Args:
        keypoints: (18, 3) in pixels of the picture.
    """
    known = keypoints[[R_EYE, L_EYE, NOSE]]
    if not (known[:, 2] > 0).all():
        return None
    matrix = similarity_fit(TEMPLATE, known[:, :2].astype(np.float64))
    points = FIVE_POINTS @ matrix[:, :2].T + matrix[:, 2]
    points[:3] = known[:, :2]
    return points


def five_point_picture(keypoints: Keypoints, size: tuple[int, int]) -> np.ndarray:
    """The five points as IdentityNet learnt them: discs, and a darker spoke from the nose to each of the others.

    Args:
        keypoints: (18, 3) in pixels of the picture.
        size: (width, height).

    Returns:
        uint8 (height, width, 3) on black; black alone where the face is turned away.
    """
    image = Image.new("RGB", size)
    points = face_points(keypoints)
    if points is None:
        return np.asarray(image)
    draw = ImageDraw.Draw(image)
    for end, colour in zip(points, POINT_COLOURS, strict=True):
        shade = tuple(int(SPOKE_SHADE * value) for value in colour)
        draw.polygon([(float(x), float(y)) for x, y in _spoke(points[2], end)], fill=shade)
    for (x, y), colour in zip(points.astype(int), POINT_COLOURS, strict=True):
        box = (x - POINT_RADIUS, y - POINT_RADIUS, x + POINT_RADIUS, y + POINT_RADIUS)
        draw.ellipse(tuple(map(int, box)), fill=colour)
    return np.asarray(image)


def _spoke(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Outline (n, 2) of the ellipse about the line between two points, `SPOKE_HALF` pixels to either side."""
    centre, along = (start + end) / 2, end - start
    half, turn = np.hypot(*along) / 2, np.arctan2(along[1], along[0])
    angles = np.radians(np.arange(0, 360, 3))
    x, y = half * np.cos(angles), SPOKE_HALF * np.sin(angles)
    return centre + np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], 1)
