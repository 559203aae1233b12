"""SVG text to arrays, by resvg."""

from __future__ import annotations

import io

import numpy as np
import resvg_py
from PIL import Image

from twinset.figure.keypoints import FRAME


def rasterise(body: str, size: tuple[int, int] = FRAME, transform: str = "", crisp: bool = False) -> np.ndarray:
    """Draws SVG elements on black.

    Args:
        body: SVG elements (with their <defs>).
        size: width and height in pixels.
        transform: SVG transform put around everything.
        crisp: no anti-aliasing, for label pictures.

    Returns:
        uint8 (height, width, 3).
    """
    width, height = size
    crisp_text = ' shape-rendering="crispEdges"' if crisp else ""
    group = f'<g transform="{transform}">{body}</g>' if transform else body
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"{crisp_text}>'
        f'<rect width="{width}" height="{height}" fill="#000"/>{group}</svg>'
    )
    png = resvg_py.svg_to_bytes(svg_string=svg, skip_system_fonts=True)
    return np.asarray(Image.open(io.BytesIO(bytes(png))).convert("RGB"))


def matrix_text(matrix: np.ndarray) -> str:
    """SVG text of a (2, 3) affine matrix."""
    (a, c, e), (b, d, f) = matrix.tolist()
    return f"matrix({a:.4f} {b:.4f} {c:.4f} {d:.4f} {e:.3f} {f:.3f})"
