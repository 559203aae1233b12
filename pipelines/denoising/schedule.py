"""Which of a scheduler's timesteps a pass takes, and what it starts from."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.pipelines.controlnet.pipeline_controlnet import retrieve_timesteps
from torch import Tensor


def set_schedule(
    scheduler: Any,
    steps: int,
    device: torch.device,
    timesteps: list[int] | None = None,
    sigmas: list[float] | None = None,
    strength: float = 1.0,
) -> tuple[Tensor, int]:
    """Set a scheduler's timesteps.

    Args:
        scheduler: one of diffusers'.
        steps: number of denoising steps in full.
        device: of the timesteps.
        timesteps, sigmas: in place of the scheduler's own spacing.
        strength: share of the steps that is run, the last ones; at least one is.

    Returns:
        Those that the pass takes, (T,), and how many are left out before them.
    """
    retrieve: Any = retrieve_timesteps
    schedule, count = retrieve(scheduler, steps, device, timesteps, sigmas)
    if strength >= 1:
        return schedule, 0
    passed = (count - max(1, int(count * strength))) * scheduler.order
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(passed)
    return schedule[passed:], passed


def noisy_start(scheduler: Any, noise: Tensor, timesteps: Tensor, clean: Tensor | None = None) -> Tensor:
    """The latents (N, C, h, w) that a pass starts from: pure noise, or a picture under it.

    Args:
        scheduler: with its timesteps set.
        noise: (N, C, h, w) of unit variance.
        timesteps: those that the pass takes; the first says how much of the picture is left.
        clean: (1 or N, C, h, w) latents of a picture to go on from; None for none.
    """
    if clean is None:
        return noise * scheduler.init_noise_sigma
    return scheduler.add_noise(clean.to(noise).expand_as(noise), noise, timesteps[:1].to(noise.device))
