"""Keys and values of a condition at an attention site, stored for a pass, and the region in which they act."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from twinset.adapters.condition import Condition

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
    """Keys and values of one condition at one site, and the gates w·M on what they add.

    Attributes:
        key, value: (1 or B, n, C).
        places: its region at each resolution (h, w) of the UNet.
        features: (1 or B, n, C) hidden states of which key and value are the site's own projections; there is then one
            attention over the site's own keys and these (`joined`), in place of an attention of its own.
        gates: w·M in the rows in which it acts, at each resolution: (1 or B, k, 1), as `places`.
        rows: these rows of the batch; None while its weight is 0.
    """

    key: Tensor
    value: Tensor
    places: dict[tuple[int, int], RegionTokens]
    features: Tensor | None = None
    gates: dict[tuple[int, int], Tensor] = field(default_factory=dict)
    rows: slice | None = None

    def gates_for(self, weight: float | Tensor) -> dict[tuple[int, int], Tensor]:
        """Its region times a weight, at each resolution, in the numbers of its keys.

        Args:
            weight: one for all rows, or (B,).
        """
        gate = torch.as_tensor(weight, dtype=torch.float32).reshape(-1, 1, 1).to(self.key.device)
        return {size: (gate * place.mask).to(self.key.dtype) for size, place in self.places.items()}

    @property
    def joined(self) -> bool:
        """Whether the site's own keys and these are one attention."""
        return self.features is not None


@dataclass(eq=False)
class ConditionSlot:
    """Memories of a condition: of its tokens (`present`), or of those that stand for its absence.

    Attributes:
        condition: whose they are.
        present: of its tokens, or of its absence.
        memories: at all sites.
        weight: with which the regions were multiplied last.
    """

    condition: Condition
    present: bool
    memories: list[ConditionKV]
    weight: float | Tensor = 0.0

    def weigh(self, weight: float | Tensor) -> None:
        """Multiply the regions by a weight, once for all sites, and not again while it stays the same."""
        if not isinstance(weight, Tensor) and not isinstance(self.weight, Tensor) and weight == self.weight:
            return
        self.weight, gates = weight, {}
        for memory in self.memories:
            if id(memory.places) not in gates:
                gates[id(memory.places)] = memory.gates_for(weight)
            memory.gates = gates[id(memory.places)]
