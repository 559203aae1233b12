"""A change of a whole weight as one of PEFT's adapters, beside low-rank ones on the same layer."""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora.layer import LoraVariant
from torch import Tensor, nn

from twinset.adapters.lora.changes import WeightChange
from twinset.errors import InputError


class WholeChange(LoraVariant):
    """What the layer `lora_B` holds is added whole; `lora_A` is a place holder of rank 1."""

    @staticmethod
    def forward(module: Any, active_adapter: str, x: Tensor, result: Tensor, **kwargs: Any) -> Tensor:
        """The base layer's result, and the change's own times its weight."""
        return result + module.scaling[active_adapter] * module.lora_B[active_adapter](x)

    def supports_lora_conversion(self) -> bool:
        """It has no low rank."""
        return False


@torch.no_grad()
def put_whole(layer: Any, name: str, change: WeightChange) -> None:
    """Work out a change beside the weight of a layer, and put it in the place of an adapter.

    Args:
        layer: PEFT's, around a linear or convolution layer, with an adapter of rank 1.
        name: of the adapter.
        change: that fits the layer.

    Raises:
        InputError: the layer's weight is not in memory, or the change is not finite beside it.
    """
    base = layer.get_base_layer()
    if base.weight.is_meta:
        raise InputError(f"a {change.kind} is worked out beside the weights; load the model without sequential offload")
    difference = change.difference(base.weight).reshape(base.weight.shape)
    if not bool(difference.isfinite().all()):
        raise InputError(f"a {change.kind} is not finite beside this model's weights; use the model it was trained for")
    layer.lora_B[name] = _like(base, difference.to(base.weight.dtype), change.bias)
    layer.lora_variant[name] = WholeChange()
    layer.scaling[name] = 1.0


def _like(base: nn.Linear | nn.Conv2d, weight: Tensor, bias: Tensor | None) -> nn.Module:
    """A layer of the same geometry with other weights."""
    shared: dict[str, Any] = {"bias": bias is not None, "device": "meta", "dtype": weight.dtype}
    if isinstance(base, nn.Linear):
        made: nn.Module = nn.Linear(base.in_features, base.out_features, **shared)
    else:
        geometry = {name: getattr(base, name) for name in ("stride", "padding", "dilation", "groups", "padding_mode")}
        made = nn.Conv2d(base.in_channels, base.out_channels, base.kernel_size, **geometry, **shared)  # type: ignore[arg-type]
    made.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        made.bias = nn.Parameter(bias.to(weight), requires_grad=False)
    return made
