"""The loop: noise becomes pictures, face and outfit together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from twinset.adapters.condition import Words
from twinset.adapters.joint_attention import JointAttention

from .control import Control, Residuals, added
from .economy import EXACT, Economy, deep_cache
from .guidance import Branch

BranchesAt = Callable[[int, int], list[Branch]]
OnStep = Callable[[int, Tensor, Tensor, Words, Words], tuple[Tensor, Words, Words]]


def predict(
    unet: UNet2DConditionModel,
    latents: Tensor,
    timestep: Tensor,
    words: Words,
    residuals: Residuals | None = None,
    **more: Any,
) -> Tensor:
    """One evaluation of the UNet under what the ControlNets said.

    Args:
        unet: the UNet, with joint attention injected or not.
        latents: (B, C, h, w) noisy latents.
        timestep: () or (B,).
        words: what the text encoders say, B rows.
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
    words: Words,
    empty: Words,
    branches_at: BranchesAt,
    # how
    economy: Economy = EXACT,
    unet_options: Mapping[str, Any] | None = None,
    step_options: Mapping[str, Any] | None = None,
    on_step: OnStep | None = None,
    interrupted: Callable[[], bool] = lambda: False,
) -> Tensor:
    """Denoise `latents` (N, C, h, w) in one pass under text, controls and the conditions that `attention` remembers.

    Args:
        unet, controls, attention, scheduler: the networks, and the scheduler with its timesteps set.
        latents: pure noise of unit variance.
        timesteps: the scheduler's, (T,).
        words, empty: the prompts and the negative prompts, one row for all or N.
        branches_at: (step, steps) → the guidance branches of a step; those before a branch have less than it.
        economy: what may be reused although it would come out a little different.
        unet_options: further arguments of the UNet.
        step_options: further arguments of `scheduler.step` (`generator`, `eta`).
        on_step: called after each step with (step, timestep, latents, words, empty); gives latents and words to go on
            with.
        interrupted: asked before each step; once true, the latents are given as they are.

    Returns:
        Clean latents (N, C, h, w).

    Raises:
        FloatingPointError: a latent is not finite.
    """
    latents = latents * scheduler.init_noise_sigma
    count, steps = len(latents), len(timesteps)
    texts: dict[tuple[Branch, ...], Words] = {}
    previous: tuple[Branch, ...] = ()
    with deep_cache(unet) if economy.deep_every > 1 else nullcontext() as cache:
        for step, timestep in enumerate(timesteps):
            if interrupted():
                break
            branches = tuple(branches_at(step, steps))  # b branches
            attention.set_gates(step, steps, [b.kinds for b in branches], count)
            if branches not in texts:
                texts[branches] = Words.cat([(words if b.prompted else empty).repeat(count) for b in branches])
            text = texts[branches]  # (b·N, n, X)
            noisy = scheduler.scale_model_input(latents, timestep).repeat(len(branches), 1, 1, 1)  # (b·N, C, h, w)
            said = [
                control.at(step, steps, noisy, timestep, text, branches, economy)
                for control in controls
                if control.runs(step, steps)
            ]
            if cache is not None:
                cache.fresh = step % economy.deep_every == 0 or branches != previous
            output = predict(unet, noisy, timestep, text, Residuals.sum(said), **(unet_options or {}))
            guided = torch.stack(
                [b.coefficient * o for b, o in zip(branches, output.chunk(len(branches)), strict=True)]
            )
            latents = scheduler.step(guided.sum(0), timestep, latents, **(step_options or {}), return_dict=False)[0]
            before = words, empty
            if on_step is not None:
                latents, words, empty = on_step(step, timestep, latents, words, empty)
            if words is not before[0] or empty is not before[1]:
                texts.clear()
            previous = branches
    if not torch.isfinite(latents).all():
        raise FloatingPointError("the latents are not finite; lower the guidance or use float32")
    return latents
