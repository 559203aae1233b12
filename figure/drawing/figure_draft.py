"""A draft of what is known of a person beside face and clothes: hair and skin in their colours, as the figure is drawn."""

from __future__ import annotations

import numpy as np

from twinset.figure.body import body_parts, ears_path, head_outline, head_parts
from twinset.figure.colours import RGB
from twinset.figure.drawing.flat_garments import GREY
from twinset.figure.drawing.hair import hair_parts
from twinset.figure.drawing.paint import paint_person
from twinset.figure.drawing.raster import rasterise
from twinset.figure.keypoints import FRAME, Keypoints
from twinset.figure.rig import build_rig


def figure_draft(
    keypoints: Keypoints,
    hair: str,
    hair_colour: RGB,
    skin: np.ndarray,
    hat: bool = False,
    size: tuple[int, int] = FRAME,
) -> np.ndarray:
    """Draws the undressed figure without a face, in white light, on grey.

    Args:
        keypoints: (18, 3) in pixels of the picture.
        hair: one of HAIR_STYLES, or "bald".
        hair_colour: 0 to 255.
        skin: (3,) 0 to 255.
        hat: whether a hat covers the crown.
        size: (width, height) of the picture.

    Returns:
        uint8 (height, width, 3).
    """
    rig = build_rig(keypoints)
    parts = body_parts(rig) + head_parts(rig, head_outline(), ears_path()) + hair_parts(rig, hair, hat=hat)
    ground = f'<rect width="{size[0]}" height="{size[1]}" fill="rgb({GREY},{GREY},{GREY})"/>'
    return rasterise(ground + paint_person(parts, skin, hair_colour, {}, ""), size)
