"""The loop: noise becomes pictures, face and outfit together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from torch import Tensor

from twinset.adapters.condition import Words
from twinset.adapters.joint_attention import JointAttention
from twinset.models.region_controlnet import embedded_conditions

from .guidance import Branch, Guidance


@dataclass(frozen=True)
class Control:
    """A ControlNet with its condition embedded beforehand.

    Attributes:
        net: the ControlNet.
        embedding: condition embedding by branch: a function from a `Branch` to (1 or B, C, h, w).
        scale: conditioning scale; a tensor (B, 1, 1, 1) in training.
        start, end: part of the pass, as fractions, in which it runs.
    """

    net: ControlNetModel
    embedding: Callable[[Branch], Tensor]
    scale: float | Tensor = 1.0
    start: float = 0.0
    end: float = 1.0

    def runs(self, fraction: float) -> bool:
        """Whether it has any effect at this fraction of the pass."""
        silent = isinstance(self.scale, float | int) and self.scale == 0
        return not silent and self.start <= fraction <= self.end


def predict(
    unet: UNet2DConditionModel,
    controls: Sequence[tuple[ControlNetModel, Tensor, float | Tensor]],
    latents: Tensor,
    timestep: Tensor,
    words: Words,
) -> Tensor:
    """One evaluation of ControlNets and UNet.

    Args:
        unet: the UNet, with joint attention injected or not.
        controls: (net, condition embedding (B, C, h, w), scale) of each ControlNet that runs.
        latents: (B, C, h, w) noisy latents.
        timestep: () or (B,).
        words: what the text encoders say, B rows.

    Returns:
        What the network predicts (noise, v or x₀, by the scheduler's `prediction_type`), (B, C, h, w).
    """
    added = dict(words.added) or None
    down: list[Tensor] | None = None
    mid: Tensor | None = None
    for net, embedding, scale in controls:
        with embedded_conditions(net):
            residuals, middle = net(
                latents, timestep, words.states, embedding, added_cond_kwargs=added, return_dict=False
            )
        residuals, middle = [r * scale for r in residuals], middle * scale
        down = residuals if down is None else [a + b for a, b in zip(down, residuals, strict=True)]
        mid = middle if mid is None else mid + middle
    return unet(
        latents,
        timestep,
        encoder_hidden_states=words.states,
        added_cond_kwargs=added,
        down_block_additional_residuals=None if down is None else tuple(down),
        mid_block_additional_residual=mid,
    ).sample


@torch.no_grad()
def denoise(
    # networks
    unet: UNet2DConditionModel,
    controls: Sequence[Control],
    attention: JointAttention,
    scheduler: Any,
    # what is denoised
    latents: Tensor,
    # what it must obey
    words: Words,
    empty: Words,
    guidance: Guidance,
    kinds: Sequence[str],
    # how
    steps: int,
    generators: Sequence[torch.Generator] | None = None,
    on_step: Callable[[int, int, Tensor], None] | None = None,
) -> Tensor:
    """Denoise `latents` (N, C, h, w) in one pass under text, controls and the conditions that `attention` remembers.

    Args:
        unet, controls, attention, scheduler: the networks; the scheduler's timesteps are set here.
        latents: pure noise of unit variance.
        words, empty: the prompt and the negative prompt, one row each.
        guidance: weights; decides which branches run.
        kinds: kinds of condition that are present.
        steps: number of steps.
        generators: one per picture, for schedulers that draw noise.
        on_step: called after each step with (step, steps, latents).

    Returns:
        Clean latents (N, C, h, w).

    Raises:
        FloatingPointError: a latent is not finite.
    """
    scheduler.set_timesteps(steps, device=latents.device)
    latents = latents * scheduler.init_noise_sigma
    count = len(latents)
    extra = {} if generators is None else {"generator": list(generators)}
    for index, timestep in enumerate(scheduler.timesteps):
        fraction = index / max(1, steps - 1)
        branches = guidance.at(fraction, kinds)  # b branches
        attention.set_gates(fraction, [b.kinds for b in branches], count)
        text = Words.cat([(words if b.prompted else empty).repeat(count) for b in branches])
        running = [
            (c.net, torch.cat([c.embedding(b).expand(count, -1, -1, -1) for b in branches]), c.scale)
            for c in controls
            if c.runs(fraction)
        ]
        noisy = scheduler.scale_model_input(latents, timestep).repeat(len(branches), 1, 1, 1)  # (b·N, C, h, w)
        output = predict(unet, running, noisy, timestep, text).chunk(len(branches))
        guided = torch.stack([b.coefficient * o for b, o in zip(branches, output, strict=True)]).sum(0)
        latents = scheduler.step(guided, timestep, latents, **extra, return_dict=False)[0]
        if on_step is not None:
            on_step(index + 1, steps, latents)
    if not torch.isfinite(latents).all():
        raise FloatingPointError("the latents are not finite; lower the guidance or use float32")
    return latents
