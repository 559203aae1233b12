"""Changes of a layer that are no sum of a plain low-rank product: what LyCORIS trains, by its own functions.

LoHa (Hyeon-Woo et al. 2022), LoKr (Yeh et al. 2024), OFT and BOFT (Qiu et al. 2023, Liu et al. 2024), GLoRA (Chavan et
al. 2023), whole differences (`.diff`), and DoRA over input channels, as OneTrainer and A1111 have it. Some depend on
the weight that they change, so all are worked out beside it; scaled by a weight, a change is W + weight · (W' - W).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from twinset.adapters.weights import Weights

#: Ending of a key → the part of a change; those of a plain product are in `files.PARTS`.
CHANGE_PARTS = {
    **{f".{name}": name for name in (
        "hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2", "lokr_w1", "lokr_w1_a", "lokr_w1_b",
        "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2", "oft_blocks", "rescale", "diff", "diff_b")},
    ".a1.weight": "a1", ".a2.weight": "a2", ".b1.weight": "b1", ".b2.weight": "b2", ".lora_mid.weight": "mid",
}  # fmt: skip
_ENDINGS = {part: ending for ending, part in CHANGE_PARTS.items()}
#: Algorithm → the sets of parts of which it needs one whole.
NEEDED: dict[str, tuple[frozenset[str], ...]] = {
    "LoHa": (frozenset({"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}),),
    "LoKr": tuple(
        frozenset(one | other)
        for one in ({"lokr_w1"}, {"lokr_w1_a", "lokr_w1_b"})
        for other in ({"lokr_w2"}, {"lokr_w2_a", "lokr_w2_b"})
    ),
    "OFT": (frozenset({"oft_blocks"}),),
    "GLoRA": (frozenset({"a1", "a2", "b1", "b2"}),),
    "DoRA": (frozenset({"down", "up", "magnitude"}),),
    "LoRA": (frozenset({"down", "up"}),),
    "difference": (frozenset({"diff"}), frozenset({"diff_b"})),
}


def algorithm_of(parts: Weights) -> str | None:
    """The algorithm that has all its parts; None where none has."""
    return next((name for name, sets in NEEDED.items() if any(one <= parts.keys() for one in sets)), None)


@dataclass(frozen=True)
class WeightChange:
    """What a file says of one layer's weight, in its own parts.

    Attributes:
        algorithm: of `NEEDED`.
        parts: by the names of `CHANGE_PARTS`, and `down`, `up`, `magnitude` of a DoRA; float32.
        scale: alpha of the file; None where it has none.
    """

    algorithm: str
    parts: Weights
    scale: float | None

    @property
    def rank(self) -> int:
        """How many directions each factor has; 0 where the change has no factors."""
        sized = {"hada_w1_b": 0, "lokr_w2_b": 0, "lokr_w1_b": 0, "down": 0, "oft_blocks": -1}
        found = [self.parts[name].shape[axis] for name, axis in sized.items() if name in self.parts]
        glora = [min(self.parts["b1"].shape[:2])] if "b1" in self.parts else []
        return next(iter([*found, *glora]), 0)

    @property
    def alpha(self) -> float:
        """Alpha, the rank where the file has none."""
        return float(self.rank if self.scale is None else self.scale)

    @property
    def magnitude(self) -> Tensor | None:
        """None: rows' lengths are part of the change."""
        return None

    @property
    def kind(self) -> str:
        """The algorithm in words; with the lengths of rows or columns trained apart it is a DoRA of it."""
        return (
            f"{self.algorithm} with DoRA" if "magnitude" in self.parts and self.algorithm != "DoRA" else self.algorithm
        )

    @property
    def of_the_weight(self) -> bool:
        """Whether the change depends on the weight that it changes."""
        return self.algorithm in ("OFT", "GLoRA") or "magnitude" in self.parts

    @property
    def bias(self) -> Tensor | None:
        """What is added to the layer's bias."""
        return self.parts.get("diff_b")

    def state(self, stem: str) -> Weights:
        """The parts under the keys of LyCORIS' files, which are kohya's form."""
        names = {"down": ".lora_down.weight", "up": ".lora_up.weight", "magnitude": ".dora_scale", **_ENDINGS}
        found = {stem + names[part]: tensor for part, tensor in self.parts.items()}
        return found if self.scale is None else found | {f"{stem}.alpha": torch.tensor(self.scale)}

    def difference(self, weight: Tensor) -> Tensor:
        """W' - W, float32, of the shape that the parts say.

        Args:
            weight: (out, in) or (out, in, height, width) of the layer; on the meta device only shapes are worked out.

        Raises:
            RuntimeError: the parts do not go together, or not with this weight.
        """
        weight = weight.detach().float()
        parts = {name: tensor.to(weight.device, torch.float32) for name, tensor in self.parts.items()}
        change = self._change(weight, parts)
        if change.shape[0] == weight.shape[0] and change.numel() == weight.numel():
            change = change.reshape(weight.shape)  # kernels are flat in some files, and 1 × 1 ones left out
        if "magnitude" not in parts:
            return change
        from lycoris.functional import weight_decompose

        length = parts["magnitude"]
        rows = length.numel() == weight.shape[0] == length.shape[0]
        length = length.reshape([-1 if axis == (0 if rows else 1) else 1 for axis in range(weight.ndim)])
        return weight_decompose(weight + change, length, wd_on_out=rows) - weight

    def _change(self, weight: Tensor, parts: dict[str, Tensor]) -> Tensor:
        if self.algorithm in ("LoRA", "DoRA"):
            down, up = parts["down"], parts["up"]
            return (self._factor * up.flatten(1) @ down.flatten(1)).reshape(len(up), *down.shape[1:])
        if self.algorithm == "LoHa":
            return self._hadamard(parts)
        if self.algorithm == "LoKr":
            return self._kronecker(parts)
        if self.algorithm == "GLoRA":
            return self._factor * _generalised(weight, *(parts[name].flatten(1) for name in ("a1", "a2", "b1", "b2")))
        if self.algorithm == "OFT":
            return self._rotation(weight, parts)
        return parts["diff"] if "diff" in parts else torch.zeros_like(weight)

    @property
    def _factor(self) -> float:
        return self.alpha / max(1, self.rank)

    def _hadamard(self, parts: dict[str, Tensor]) -> Tensor:
        from lycoris.functional import loha

        names = ("hada_w1_b", "hada_w1_a", "hada_w2_b", "hada_w2_a", "hada_t1", "hada_t2")
        return loha.diff_weight(*(parts.get(name) for name in names), gamma=torch.tensor(self._factor))  # type: ignore[arg-type]

    def _kronecker(self, parts: dict[str, Tensor]) -> Tensor:
        from lycoris.functional import lokr

        names = ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2")
        whole = not any(name in parts for name in ("lokr_w1_b", "lokr_w2_b"))  # then alpha counts for nothing
        return lokr.kron_weight(*(parts.get(name) for name in names), scale=1.0 if whole else self._factor)

    def _rotation(self, weight: Tensor, parts: dict[str, Tensor]) -> Tensor:
        from lycoris.functional import boft, diag_oft

        library: Any = diag_oft if parts["oft_blocks"].ndim == 3 else boft
        limit = 0.0 if weight.is_meta else (self.scale or 0.0) * weight.shape[0]  # as it was trained
        return library.diff_weight(weight, parts["oft_blocks"], parts.get("rescale"), constraint=limit)


def _generalised(weight: Tensor, a1: Tensor, a2: Tensor, b1: Tensor, b2: Tensor) -> Tensor:
    """W·A + B; the factors' order was turned around once, which their shapes tell."""
    rows, columns = weight.shape[0], weight[0].numel()
    if (b1.shape[0], b2.shape[1]) != (rows, columns):
        a1, a2, b1, b2 = a2, a1, b2, b1
    product = torch.einsum("oi...,ij->oj...", weight, a1 @ a2)
    return product + (b1 @ b2).reshape(weight.shape)


def low_rank(change: WeightChange, weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The product (down, up) of a rank nearest to a change that does not depend on the weight.

    Args:
        change: of a linear or convolution layer, without a bias.
        weight: of the layer; only its shape counts.
        rank: of the product.
    """
    whole = change.difference(torch.zeros(weight.shape))
    flat = whole.flatten(1)
    rank = min(rank, *flat.shape)
    torch.manual_seed(0)
    u, s, v = torch.svd_lowrank(flat, min(rank + 8, *flat.shape), niter=6)
    root = s[:rank].sqrt()
    down, up = (v[:, :rank] * root).T, u[:, :rank] * root
    return down.reshape(rank, *whole.shape[1:]), up.reshape(len(up), rank, *[1] * (whole.ndim - 2))
