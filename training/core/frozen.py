"""Networks in training around a pipeline whose own weights stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from twinset.adapters.condition import Condition, TextConditioning
from twinset.errors import InputError
from twinset.figure.labels import PALETTE
from twinset.models.region_controlnet import RegionControlNetModel
from twinset.pipelines.joint_pass import JointPass
from twinset.training.core.batches import text_states
from twinset.training.core.forward import Batch, ControlInput, DenoisingNetworks, paint_regions
from twinset.training.core.options import DenoisingOptions
from twinset.training.core.validation import DTYPES

FEWEST_WEIGHTS = 1024
"""Of a layer that is worth keeping in eight bits."""


class PipelineNetworks(DenoisingNetworks):
    """What is trained around a pipeline; its parameters and state are the training's alone.

    Args:
        pipe: the base model, frozen and never written to; as before after `take_off`.
        options: of the training.

    Raises:
        InputError: the precision does not run here.
    """

    pipe: JointPass

    def __init__(self, pipe: JointPass, options: DenoisingOptions):
        super().__init__()
        # not as sub-modules: their weights are not this module's
        self.__dict__.update(pipe=pipe, unet=pipe.unet, attention=pipe.attention)
        self.dtype = freeze(pipe, options.precision)

    def groups(self) -> list[dict[str, Any]]:
        """Parameter groups of the optimiser, each with its learning rate."""
        raise NotImplementedError

    def words(self, batch: Batch) -> TextConditioning:
        """The captions' hidden states: computed before the training, or now where the text encoders are trained."""
        states = batch if "states" in batch else text_states(self.pipe, batch["captions"])
        if "pooled" not in states:
            return TextConditioning(states["states"])
        pooled = states["pooled"]
        return TextConditioning(states["states"], {"text_embeds": pooled, "time_ids": batch["sizes"].to(pooled)})

    @property
    def nets(self) -> list[Any]:
        """The ControlNets that every picture of the bundled model is drawn with."""
        return self.pipe.nets

    def layout_controls(
        self, batch: Batch, words: TextConditioning, conditions: Sequence[Condition], weight: Tensor | None = None
    ) -> list[ControlInput]:
        """What the bundled model's ControlNets see; none where the batch has no layout.

        Args:
            batch: with `skeleton` uint8 (B, 3, H, W) and `labels` (B, H, W).
            words, conditions: of the batch.
            weight: (B, 1, 1, 1), 0 where nobody is in the picture.
        """
        if "skeleton" not in batch:
            return []
        return [ControlInput(net, self._embedded(net, batch, words, conditions), weight) for net in self.nets]

    def _embedded(self, net: Any, batch: Batch, words: TextConditioning, conditions: Sequence[Condition]) -> Tensor:
        if not isinstance(net, RegionControlNetModel):
            return net.controlnet_cond_embedding(batch["skeleton"].to(net.dtype) / 255)
        text, size = words.states, (batch["latents"].shape[2], batch["latents"].shape[3])
        palette = torch.from_numpy(PALETTE).to(text.device)[batch["labels"].long()].permute(0, 3, 1, 2)
        return paint_regions(net, palette.to(text) / 255, words, conditions, size)

    def take_off(self) -> None:
        """Give the pipeline back as it was."""
        self.attention.eject()
        self._remove()
        thaw(self.pipe, self.dtype)

    def _remove(self) -> None:
        """Take out of the pipeline's networks what was put into them."""


class ParkedParts:
    """Networks that the steps of a training do not use, out of the device's memory but while they are drawn with.

    Args:
        pipe: the pipeline.
        names: of its parts; those that it lacks, or that something else moves, are left alone.
    """

    def __init__(self, pipe: Any, names: Sequence[str]):
        self.device = pipe.unet.device
        found = [getattr(pipe, name, None) for name in names] if self.device.type != "cpu" else []
        self.parts = [part for part in found if isinstance(part, nn.Module) and not hasattr(part, "_hf_hook")]

    def away(self) -> None:
        """Into the computer's own memory."""
        for part in self.parts:
            part.to("cpu")
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def back(self) -> None:
        """Onto the device again."""
        for part in self.parts:
            part.to(self.device)


class EightBitWeights:
    """A frozen network's large weights in eight bits; each layer widens its own while it computes.

    Args:
        network: whose linear and convolution layers have at least `FEWEST_WEIGHTS` weights each; as before after
            `widen`, to the bit: the originals wait in the computer's own memory.
    """

    def __init__(self, network: nn.Module):
        self.originals: dict[nn.Module, Tensor] = {}
        for name, layer in network.named_modules():
            own = isinstance(layer, nn.Linear | nn.Conv2d) and ".lora_" not in name and "conv_in" not in name
            if own and layer.weight.numel() >= FEWEST_WEIGHTS:  # type: ignore[operator]
                self._narrow(layer)  # type: ignore[arg-type]

    def _narrow(self, layer: nn.Linear | nn.Conv2d) -> None:
        self.originals[layer] = layer.weight.data.cpu()
        layer.weight.data = layer.weight.data.to(torch.float8_e4m3fn)
        layer.forward = partial(_widened, layer)  # type: ignore[method-assign]

    def widen(self) -> None:
        """Give every layer its own weights and its own way to compute back."""
        for layer, weight in self.originals.items():
            own: Any = layer
            own.weight.data = weight.to(own.weight.device)
            del own.forward
        self.originals.clear()


def _widened(layer: Any, inputs: Tensor) -> Tensor:
    """A layer's result with its weight in the dtype of its input."""
    weight = layer.weight.to(inputs.dtype)
    if isinstance(layer, nn.Linear):
        return nn.functional.linear(inputs, weight, None if layer.bias is None else layer.bias.to(inputs.dtype))
    return layer._conv_forward(inputs, weight, None if layer.bias is None else layer.bias.to(inputs.dtype))


def freeze(pipe: JointPass, precision: str) -> torch.dtype:
    """Freeze a pipeline for a training; on a GPU its weights take the precision.

    Args:
        pipe: the base model.
        precision: "no", "bf16" or "fp16".

    Returns:
        The dtype that its UNet had, to be given back by `thaw`.

    Raises:
        InputError: the precision does not run here.
    """
    whole: Any = pipe
    for part in whole.components.values():
        if isinstance(part, nn.Module):
            part.requires_grad_(False).eval()
    dtype, before = DTYPES.get(precision, torch.float32), pipe.unet.dtype
    if dtype is torch.float16 and pipe.unet.device.type != "cuda":
        raise InputError(f"precision 'fp16' does not train on {pipe.unet.device.type!r}; take bf16, or no")
    if pipe.unet.device.type == "cuda" and dtype != before:
        whole.to(dtype)
    return before


def thaw(pipe: Any, dtype: torch.dtype) -> None:
    """Give a pipeline its dtype back."""
    if pipe.unet.dtype != dtype:
        pipe.to(dtype)
