"""The pipeline that something is trained around: frozen, and asked for words and ControlNets as in generation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from twinset.adapters.condition import Condition, Words, paint
from twinset.errors import InputError
from twinset.figure.labels import PALETTE
from twinset.models.region_controlnet import Paint, RegionControlNetModel
from twinset.pipelines.joint_pass import JointPass
from twinset.training.core.batches import text_states
from twinset.training.core.denoising import Batch
from twinset.training.core.validation import DTYPES


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
    dtype, had = DTYPES.get(precision, torch.float32), pipe.unet.dtype
    if dtype is torch.float16 and pipe.device.type != "cuda":
        raise InputError(f"precision 'fp16' does not train on {pipe.device.type!r}; take bf16, or no")
    if pipe.device.type == "cuda" and dtype != had:
        whole.to(dtype)
    return had


def thaw(pipe: Any, dtype: torch.dtype) -> None:
    """Give a pipeline its dtype back."""
    if pipe.unet.dtype != dtype:
        pipe.to(dtype)


def words_of(pipe: JointPass, batch: Batch) -> Words:
    """What the text encoders say of a batch's captions."""
    said = batch if "states" in batch else text_states(pipe, batch["captions"])
    if "pooled" not in said:
        return Words(said["states"])
    return Words(said["states"], {"text_embeds": said["pooled"], "time_ids": batch["sizes"].to(said["pooled"])})


def embedded_condition(net: Any, words: Words, conditions: Sequence[Condition], batch: Batch) -> Tensor:
    """What one of the bundled model's ControlNets sees: the skeleton, or the parsing map painted by the conditions.

    Args:
        net: the ControlNet.
        words: which reach their regions in the parsing map.
        conditions: those of the batch.
        batch: with `skeleton` uint8 (B, 3, H, W) and `labels` (B, H, W).

    Returns:
        (B, C, h, w), for `twinset.models.region_controlnet.embedded_conditions`.
    """
    text, size = words.states, (batch["latents"].shape[2], batch["latents"].shape[3])
    if not isinstance(net, RegionControlNetModel):
        return net.controlnet_cond_embedding(batch["skeleton"].to(text if text.dtype == net.dtype else net.dtype) / 255)
    palette = torch.from_numpy(PALETTE).to(text.device)[batch["labels"].long()].permute(0, 3, 1, 2)
    blank = Paint.blank(len(text), net.latent_channels, text.shape[-1], size, text)
    return net.embed(palette.to(text) / 255, text, paint(list(conditions), len(text), blank))
