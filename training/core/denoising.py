"""The loss of a training: the error of what the network predicts, where it counts, weighted over the noise levels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from twinset.training.core.options import TrainOptions

Batch = dict[str, Any]
Loss = Callable[[Any, Batch], tuple[Tensor, dict[str, Tensor]]]


def noise_schedule(scheduler: Any, options: TrainOptions) -> DDPMScheduler:
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


def level_weights(schedule: DDPMScheduler, gamma: float | None) -> Tensor:
    """The loss's weight at each timestep, (T,), by Min-SNR (Hang et al. 2023, section 3.4).

    For ε it is min(SNR, γ) / SNR, for v min(SNR, γ) / (SNR + 1). x₀ takes min(SNR + 1, γ) as the bundled model's own
    training does: above zero even at zero terminal SNR, where the whole picture is decided.

    Args:
        schedule: with its `prediction_type`.
        gamma: γ; None for no weights (for x₀: 5).
    """
    alphas = schedule.alphas_cumprod.double()
    snr = alphas / (1 - alphas).clamp_min(1e-12)
    kind = schedule.config["prediction_type"]
    if kind == "sample":
        return (snr + 1).clamp(max=5.0 if gamma is None else gamma).float()
    if gamma is None:
        return torch.ones_like(snr).float()
    limited = snr.clamp(max=gamma)
    return (limited / (snr + 1) if kind == "v_prediction" else torch.where(snr > 0, limited / snr, 1.0)).float()


def target(schedule: DDPMScheduler, latents: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
    """What the network should predict: noise, velocity (Salimans & Ho 2022) or the latents."""
    kind = schedule.config["prediction_type"]
    if kind == "sample":
        return latents
    return schedule.get_velocity(latents, noise, timestep) if kind == "v_prediction" else noise  # type: ignore[arg-type]


def denoising_loss(schedule: DDPMScheduler, options: TrainOptions) -> Loss:
    """(networks, batch) → (loss, figures): squared errors, each picture's mask weighted to a mean of 1.

    The weights' mean over a picture is 1, so a small garment counts as much as a large one. Figures: `inside`, the
    unweighted error inside masks; `kept`, how far the prediction outside is from the base model's, with `preserve`.
    """
    weights = level_weights(schedule, options.min_snr_gamma)
    count = schedule.config["num_train_timesteps"]

    def loss_fn(networks: Any, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        latents, noise, mask = batch["latents"], batch["noise"], batch["mask"]
        timestep = (batch["level"] * count).long().clamp(max=count - 1)
        noisy: Tensor = schedule.add_noise(latents, noise, timestep)  # type: ignore[arg-type]
        base = _base(networks, noisy, timestep, batch) if options.preserve else None
        predicted = networks(noisy, timestep, batch).float()
        error = (predicted - target(schedule, latents, noise, timestep)).square()
        level = weights.to(latents.device)[timestep]
        loss = (level * batch["weight"].to(latents.device) * _on_mask(error, mask, options)).mean()
        figures = {"inside": (error.detach() * mask).sum() / (mask.sum() * error.shape[1]).clamp_min(1e-6)}
        if base is not None:
            kept = ((predicted - base).square() * (1 - mask)).flatten(1).mean(1)
            loss = loss + options.preserve * (level * kept).mean()
            figures["kept"] = kept.detach().mean()
        return loss, figures

    return loss_fn


@torch.no_grad()
def _base(networks: Any, noisy: Tensor, timestep: Tensor, batch: Batch) -> Tensor:
    return networks(noisy, timestep, batch, base=True).float()


def _on_mask(error: Tensor, mask: Tensor, options: TrainOptions) -> Tensor:
    """Mean error of each picture (B,) under weights 1 inside the mask and `outside` elsewhere."""
    if not options.masked:
        return error.flatten(1).mean(1)
    weight = mask + (1 - mask) * options.outside
    return (error * weight).flatten(1).mean(1) / weight.flatten(1).mean(1).clamp_min(1e-6)
