"""One training step of a denoiser: noise, conditions for UNet and ControlNets, target and loss weights.

A kind of training derives from `DenoisingNetworks` and says in its hooks what its batches make the network obey.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from twinset.adapters.condition import Condition, TextConditioning, region_hints
from twinset.adapters.joint_attention import JointAttention
from twinset.models.region_controlnet import RegionControlNetModel, RegionHints, embedded_conditions
from twinset.pipelines.denoising.controlnets import Control, Residuals, evaluate_controlnet
from twinset.pipelines.denoising.denoise import denoise, predict
from twinset.pipelines.denoising.guidance import Branch
from twinset.pipelines.denoising.schedule import noisy_start

Batch = dict[str, Any]


@dataclass(frozen=True)
class NoisyStep:
    """A batch as the network sees it, and the target of its prediction.

    Attributes:
        latents: (B, C, h, w) noisy latents.
        timestep: (B,) whole numbers, 0 to T - 1.
        target: (B, C, h, w) what the network should predict of them.
    """

    latents: Tensor
    timestep: Tensor
    target: Tensor


def noisy_step(schedule: Any, batch: Batch) -> NoisyStep:
    """Lay a batch's noise over its latents.

    Args:
        schedule: one of diffusers' schedulers, with its `prediction_type`.
        batch: `latents` and `noise` (B, C, h, w), and `level` (B,) in [0, 1], which share of the schedule is noise;
            perhaps `start` (B, C, h, w), on which the noise is laid in place of the latents that are to come out.
    """
    count = schedule.config["num_train_timesteps"]
    timestep = (batch["level"] * count).long().clamp(max=count - 1)
    noisy = schedule.add_noise(batch.get("start", batch["latents"]), batch["noise"], timestep)
    return NoisyStep(noisy, timestep, target(schedule, batch["latents"], batch["noise"], timestep))


def target(schedule: Any, latents: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
    """What the network should predict: noise, velocity (Salimans & Ho 2022) or the latents."""
    kind = schedule.config["prediction_type"]
    if kind == "sample":
        return latents
    return schedule.get_velocity(latents, noise, timestep) if kind == "v_prediction" else noise


def level_weights(schedule: Any, gamma: float | None, dtype: torch.dtype = torch.float64) -> Tensor:
    """The loss's weight at each timestep, (T,) float32, by Min-SNR (Hang et al. 2023, section 3.4).

    For ε it is min(SNR, γ) / SNR, for v min(SNR, γ) / (SNR + 1). x₀ takes min(SNR + 1, γ): above zero even at zero
    terminal SNR, where the whole picture is decided.

    Args:
        schedule: with its `prediction_type`.
        gamma: γ; None for no weights (for x₀: 5).
        dtype: that SNR is computed in; the bundled model was trained with float32, and its numbers stay what they were.
    """
    alphas = schedule.alphas_cumprod.to(dtype)
    snr = alphas / (1 - alphas).clamp_min(1e-12)
    kind = schedule.config["prediction_type"]
    if kind == "sample":
        return (snr + 1).clamp(max=5.0 if gamma is None else gamma).float()
    if gamma is None:
        return torch.ones_like(snr).float()
    limited = snr.clamp(max=gamma)
    return (limited / (snr + 1) if kind == "v_prediction" else torch.where(snr > 0, limited / snr, 1.0)).float()


@dataclass(frozen=True)
class ControlInput:
    """A ControlNet and what it sees at a step.

    Attributes:
        net: the ControlNet.
        embedded: (B, channels, h, w) what its condition embedding makes of the picture.
        weight: (B, 1, 1, 1) factor of what it adds, 0 where its picture is left out; None for 1 everywhere.
    """

    net: Any
    embedded: Tensor
    weight: Tensor | None = None

    def residuals(self, noisy: Tensor, timestep: Tensor, words: TextConditioning) -> Residuals:
        """What the ControlNet adds to the UNet."""
        with embedded_conditions(self.net):
            residuals = evaluate_controlnet(self.net, noisy, timestep, words, self.embedded)
        return residuals if self.weight is None else residuals.scaled(self.weight)


def paint_regions(
    net: RegionControlNetModel,
    palette: Tensor,
    words: TextConditioning,
    conditions: Sequence[Condition],
    size: tuple[int, int],
    masks: Tensor | None = None,
) -> Tensor:
    """The embedding of a parsing map, (B, channels, h, w), conditions laid into their regions.

    Args:
        net: the parsing ControlNet.
        palette: (B, 3, H, W) in [0, 1], the map in the colours of `twinset.figure.labels.PALETTE`.
        words: which reach their regions, B rows.
        conditions: those of the batch.
        size: (height, width) of the latents.
        masks: (B, 18, h, w) shares of the labels, where they are known already.
    """
    text = words.states
    blank = RegionHints.blank(len(text), net.latent_channels, text.shape[-1], size, text)
    return net.embed(palette, text, region_hints(list(conditions), len(text), blank), masks)


class DenoisingNetworks(nn.Module):
    """Networks in training around a UNet: one forward for all, whose hooks tell what a batch makes it obey."""

    unet: UNet2DConditionModel
    attention: JointAttention

    def words(self, batch: Batch) -> TextConditioning:
        """The hidden states of the batch's captions, B rows."""
        raise NotImplementedError

    def conditions(self, batch: Batch) -> list[Condition]:
        """Identities, garments and photos of the batch."""
        return []

    def controls(self, batch: Batch, words: TextConditioning, conditions: Sequence[Condition]) -> list[ControlInput]:
        """The ControlNets and what each sees."""
        return []

    @contextmanager
    def as_base(self, batch: Batch) -> Iterator[Batch]:
        """While open, the networks predict as the base model does, of the batch that is yielded."""
        yield batch

    def forward(self, noisy: Tensor, timestep: Tensor, batch: Batch, base: bool = False) -> Tensor:
        """What the network predicts of noisy latents under everything in the batch.

        Args:
            noisy: (B, C, h, w) latents as the schedule has them.
            timestep: (B,).
            batch: of the training.
            base: without what is trained.

        Returns:
            (B, C, h, w) noise, velocity or latents, as the schedule's `prediction_type` says.
        """
        with self.as_base(batch) if base else nullcontext(batch) as inputs:
            words, conditions = self.words(inputs), self.conditions(inputs)
            self._remember(conditions, (noisy.shape[2], noisy.shape[3]))
            self.attention.set_weights(0, 1, [tuple(c.kind for c in conditions)], len(noisy))
            controls = self.controls(inputs, words, conditions)
            residuals = [control.residuals(noisy, timestep, words) for control in controls]
            return predict(self.unet, noisy, timestep, words, Residuals.sum(residuals))

    def _remember(self, conditions: Sequence[Condition], size: tuple[int, int]) -> None:
        """Keys and values of the conditions, anew: what is trained has changed since the step before."""
        self.attention.clear()
        for condition in conditions:
            self.attention.attach(condition, size)

    @torch.no_grad()
    def sample(self, batch: Batch, scheduler: Any, steps: int) -> Tensor:
        """Pictures drawn from the batch's noise by the pipelines' own loop, without guidance.

        Args:
            batch: of the training; every ControlNet is taken at full weight.
            scheduler: one of diffusers' schedulers; its timesteps are set.
            steps: number of denoising steps.

        Returns:
            (B, C, h, w) clean latents.
        """
        noise = batch["noise"]
        words, conditions = self.words(batch), self.conditions(batch)
        self._remember(conditions, (noise.shape[2], noise.shape[3]))
        controls = [
            Control(control.net, painted=lambda branch, embedded=control.embedded: embedded)
            for control in self.controls(batch, words, conditions)
        ]
        scheduler.set_timesteps(steps, device=noise.device)
        branch = Branch(True, tuple(c.kind for c in conditions), 1.0)
        return denoise(
            *(self.unet, controls, self.attention, scheduler),
            *(noisy_start(scheduler, noise, scheduler.timesteps), scheduler.timesteps),
            *(words, words, lambda step, total: [branch]),
        )
