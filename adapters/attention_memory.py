"""Keys and values of a condition at an attention site, stored for a pass, and the region in which they act."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

EVERY_ROW = slice(None)


@dataclass(frozen=True)
class RegionTokens:
    """A region at one resolution: attention is computed only there, since the mask is 0 elsewhere.

    Attributes:
        mask: (1 or B, k, 1) in [0, 1].
        at: (k,) indices of its positions; None for all.
    """

    mask: Tensor
    at: Tensor | None

    @classmethod
    def of(cls, region: Tensor, size: tuple[int, int], device: torch.device) -> RegionTokens:
        """A region (1 or B, 1, H, W), pooled to a site's resolution."""
        mask = F.adaptive_avg_pool2d(region, size).flatten(2).transpose(1, 2)
        at = mask.amax((0, 2)).nonzero()[:, 0]
        if len(at) == mask.shape[1] or torch.is_grad_enabled():  # a training batch has many regions
            return cls(mask.to(device), None)
        return cls(mask[:, at].to(device), at.to(device))


@dataclass
class ConditionKV:
    """Keys and values of one condition at one site, and the gate w·M on what they add.

    Attributes:
        key, value: (1 or B, n, C).
        places: its region at each resolution (h, w) of the UNet.
        features: (1 or B, n, C) hidden states of which key and value are the site's own projections; there is then one
            attention over the site's own keys and these (`joined`), in place of an attention of its own.
        gate: (1 or B, 1, 1) weight in the rows in which it acts.
        rows: these rows of the batch; None while its weight is 0.
    """

    key: Tensor
    value: Tensor
    places: dict[tuple[int, int], RegionTokens]
    features: Tensor | None = None
    gate: Tensor = field(default_factory=lambda: torch.zeros(1, 1, 1))
    rows: slice | None = None

    @property
    def joined(self) -> bool:
        """Whether the site's own keys and these are one attention."""
        return self.features is not None
