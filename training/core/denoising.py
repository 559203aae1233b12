"""The loss of trainings around a frozen pipeline: the weighted prediction error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from twinset.training.core.forward import Batch, NoisyStep, level_weights, noisy_step
from twinset.training.core.options import DenoisingOptions

Loss = Callable[[Any, Batch], tuple[Tensor, dict[str, Tensor]]]


def noise_schedule(scheduler: Any, options: DenoisingOptions) -> DDPMScheduler:
    """The training's noise schedule: that of the base model's scheduler, where the options don't overrule it.

    Args:
        scheduler: the pipeline's, of any of diffusers' classes.
        options: `prediction_type` and `zero_terminal_snr`.
    """
    own: dict[str, Any] = {}
    if options.prediction_type is not None:
        own["prediction_type"] = options.prediction_type
    if options.zero_terminal_snr is not None:
        own["rescale_betas_zero_snr"] = options.zero_terminal_snr
    return DDPMScheduler.from_config(scheduler.config, **own)  # type: ignore[return-value]


def denoising_loss(schedule: DDPMScheduler, options: DenoisingOptions) -> Loss:
    """(networks, batch) → (loss, figures): squared errors, each picture's mask weighted to a mean of 1.

    The weights' mean over a picture is 1, so a small garment counts as much as a large one. Figures: `inside`, the
    unweighted error inside masks; `kept`, how far the prediction outside is from the base model's, with `preserve`.
    """
    weights = level_weights(schedule, options.min_snr_gamma)

    def loss_fn(networks: Any, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        mask, step = batch["mask"], noisy_step(schedule, batch)
        base = _base(networks, step, batch) if options.preserve else None
        predicted = networks(step.latents, step.timestep, batch).float()
        error = _error(predicted - step.target, options)
        level = weights.to(mask.device)[step.timestep]
        loss = (level * batch["weight"].to(mask.device) * _on_mask(error, mask, options)).mean()
        figures = {"inside": (error.detach() * mask).sum() / (mask.sum() * error.shape[1]).clamp_min(1e-6)}
        if base is not None:
            outside = ((predicted - base).square() * (1 - mask)).flatten(1).mean(1)
            loss = loss + options.preserve * (level * outside).mean()
            figures["kept"] = outside.detach().mean()
        return loss, figures

    return loss_fn


def _error(difference: Tensor, options: DenoisingOptions) -> Tensor:
    """Squared, or bounded as sd-scripts does it: smooth in the middle, a line from `huber_c` on."""
    if options.loss == "l2":
        return difference.square()
    c = options.huber_c
    bounded = 2 * ((difference.square() + c * c).sqrt() - c)
    return bounded * c if options.loss == "huber" else bounded


@torch.no_grad()
def _base(networks: Any, step: NoisyStep, batch: Batch) -> Tensor:
    return networks(step.latents, step.timestep, batch, base=True).float()


def _on_mask(error: Tensor, mask: Tensor, options: DenoisingOptions) -> Tensor:
    """Mean error of each picture (B,) under weights 1 inside the mask and `outside` elsewhere."""
    if not options.masked:
        return error.flatten(1).mean(1)
    weight = mask + (1 - mask) * options.outside
    return (error * weight).flatten(1).mean(1) / weight.flatten(1).mean(1).clamp_min(1e-6)
