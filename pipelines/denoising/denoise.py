"""The loop: noise becomes pictures, face and outfit together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from twinset.adapters.condition import TextConditioning
from twinset.adapters.joint_attention import JointAttention
from twinset.pipelines.denoising.controlnets import Control, Residuals, added
from twinset.pipelines.denoising.economy import EXACT, Economy, deep_cache
from twinset.pipelines.denoising.guidance import Branch
from twinset.pipelines.denoising.kept_photo import PreservedRegion

BranchesAt = Callable[[int, int], list[Branch]]
OnStep = Callable[
    [int, Tensor, Tensor, TextConditioning, TextConditioning], tuple[Tensor, TextConditioning, TextConditioning]
]


def predict(
    unet: UNet2DConditionModel,
    latents: Tensor,
    timestep: Tensor,
    words: TextConditioning,
    residuals: Residuals | None = None,
    **more: Any,
) -> Tensor:
    """One evaluation of the UNet, with the ControlNets' residuals added.

    Args:
        unet: the UNet, with joint attention injected or not.
        latents: (B, C, h, w) noisy latents.
        timestep: () or (B,).
        words: hidden states of the text encoders, B rows.
        residuals: of all ControlNets together.
        more: further arguments of the UNet (`timestep_cond`, `cross_attention_kwargs`).

    Returns:
        What the network predicts (noise, v or x₀, by the scheduler's `prediction_type`), (B, C, h, w).
    """
    return unet(
        latents,
        timestep,
        encoder_hidden_states=words.states,
        added_cond_kwargs=added(words, unet),
        down_block_additional_residuals=None if residuals is None else tuple(residuals.down),
        mid_block_additional_residual=None if residuals is None else residuals.mid,
        **more,
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
    timesteps: Tensor,
    # what it must obey
    words: TextConditioning,
    empty: TextConditioning,
    branches_at: BranchesAt,
    kept: PreservedRegion | None = None,
    passed: int = 0,
    # how
    economy: Economy = EXACT,
    unet_options: Mapping[str, Any] | None = None,
    step_options: Mapping[str, Any] | None = None,
    on_step: OnStep = lambda step, timestep, *going: going,
    interrupted: Callable[[], bool] = lambda: False,
) -> Tensor:
    """Denoise `latents` (N, C, h, w) in one pass under text, controls and the conditions that `attention` remembers.

    Args:
        unet, controls, attention, scheduler: the networks, and the scheduler with its timesteps set.
        latents: as noisy as the first of `timesteps` has them, see `twinset.pipelines.denoising.schedule.noisy_start`.
        timesteps: the scheduler's, (T,), or those that are left of them.
        words, empty: the prompts and the negative prompts, one row for all or N.
        branches_at: (step, steps) → the guidance branches of a step; those before a branch have less than it.
        kept: the part of a photo that stays unchanged.
        passed: how many of the scheduler's timesteps lie before these; schedules of conditions are shares of all.
        economy: what may be reused although it would come out a little different.
        unet_options: further arguments of the UNet.
        step_options: further arguments of `scheduler.step` (`generator`, `eta`).
        on_step: called after each step with (step, timestep, latents, words, empty), the steps counted from 0 here;
            gives latents and words to go on with.
        interrupted: asked before each step; once true, the latents are given as they are.

    Returns:
        Clean latents (N, C, h, w).

    Raises:
        FloatingPointError: a latent is not finite.
    """
    latents = latents if kept is None else kept.blend(latents, 0)
    steps, before, text, renewed = passed + len(timesteps), (), words, True
    with deep_cache(unet, economy.deep_every) as cache:
        for step, timestep in enumerate(timesteps, passed):
            if interrupted():
                break
            branches = tuple(branches_at(step, steps))  # b branches
            other = branches != before
            attention.set_weights(step, steps, [b.kinds for b in branches], len(latents))
            if other or renewed:
                text = _text(branches, words, empty, len(latents))  # (b·N, n, X)
            cache.begin(step, other)
            noisy = scheduler.scale_model_input(latents, timestep).repeat(len(branches), 1, 1, 1)  # (b·N, C, h, w)
            heard = [c for c in controls if c.runs(step, steps)]
            said = [c.at(step, steps, noisy, timestep, text, branches, economy) for c in heard]
            output = predict(unet, noisy, timestep, text, Residuals.sum(said), **(unet_options or {}))
            guided = _guided(branches, output)
            latents = scheduler.step(guided, timestep, latents, **(step_options or {}), return_dict=False)[0]
            latents = latents if kept is None else kept.blend(latents, step - passed + 1)
            told, before = (words, empty), branches
            latents, words, empty = on_step(step - passed, timestep, latents, words, empty)
            renewed = words is not told[0] or empty is not told[1]
    if not torch.isfinite(latents).all():
        raise FloatingPointError("the latents are not finite; lower the guidance or use float32")
    return latents


def _text(branches: Sequence[Branch], words: TextConditioning, empty: TextConditioning, count: int) -> TextConditioning:
    """The words of all branches of `count` pictures, in the batch's order."""
    return TextConditioning.cat([(words if b.prompted else empty).repeat(count) for b in branches])


def _guided(branches: Sequence[Branch], output: Tensor) -> Tensor:
    """What the branches predict (b·N, C, h, w), under their coefficients (N, C, h, w)."""
    said = output.chunk(len(branches))
    return torch.stack([b.coefficient * one for b, one in zip(branches, said, strict=True)]).sum(0)
