"""Regions of conditions from parsing maps, with soft edges, and the cells of the latent grid that they touch.

All are pure functions; none changes its arguments.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

TRACE = 0.02
"""Share of a cell below which nothing of it need change."""


def region(layout_labels: np.ndarray | Tensor, labels: Sequence[int]) -> Tensor:
    """The pixels of a parsing map that carry one of some labels.

    Args:
        layout_labels: (H, W) integers.
        labels: ATR labels, for instance `garment_labels("dress")`.

    Returns:
        (1, 1, H, W) float32 in {0, 1}.
    """
    here = torch.as_tensor(layout_labels)
    return torch.isin(here, torch.as_tensor(tuple(labels), device=here.device)).float()[None, None]


def soften(mask: Tensor, radius: float) -> Tensor:
    """Feathers a mask's edges over `radius` pixels to either side.

    A box filter of width 2 · radius + 1 along rows, then columns, with the border repeated: across a straight edge
    the values rise in a line from 0 outside the radius, through 0.5 where the edge was, to 1 inside it. A larger
    mask never gives a smaller result; regions narrower than the filter keep less than 1.

    Args:
        mask: (B, 1, H, W) in [0, 1].
        radius: pixels, rounded; 0 gives the mask unchanged.

    Returns:
        (B, 1, H, W) in [0, 1].

    Raises:
        ValueError: the radius is negative.
    """
    reach = _reach(radius)
    if reach == 0:
        return mask
    rows = F.avg_pool2d(F.pad(mask, (reach, reach, 0, 0), mode="replicate"), (1, 2 * reach + 1), stride=1)
    both = F.avg_pool2d(F.pad(rows, (0, 0, reach, reach), mode="replicate"), (2 * reach + 1, 1), stride=1)
    return both.clamp(0, 1)  # sums of floats may end a rounding above


def redrawn_cells(mask: Tensor) -> Tensor:
    """The cells of the latent grid that must be drawn anew so that a part of the picture can change.

    Args:
        mask: (B, 1, h, w) share of each cell that changes.

    Returns:
        bool (B, 1, h, w): cells with more than a trace of it, and their neighbours, into which its edge is blended.
    """
    return F.max_pool2d((mask > TRACE).float(), 3, stride=1, padding=1) > 0


def _reach(radius: float) -> int:
    """A radius in whole pixels."""
    if not radius >= 0:
        raise ValueError(f"a radius of {radius} pixels is not possible; give 0 or more")
    return round(radius)
