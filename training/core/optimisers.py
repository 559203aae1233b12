"""From a training's options to the loop: optimisers and learning rates by name, and the loop's settings."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from diffusers.optimization import get_scheduler

from twinset.errors import InputError
from twinset.training.core.loop import FitSettings
from twinset.training.core.options import DenoisingOptions

BETAS = (0.9, 0.99)


def optimiser_of(options: DenoisingOptions) -> Callable[[list[dict[str, Any]]], torch.optim.Optimizer]:
    """Parameter groups → optimiser.

    "adamw" is torch's (Loshchilov & Hutter 2019); "adamw8bit" is bitsandbytes' (Dettmers et al. 2022), "prodigy"
    prodigyopt's (Mishchenko & Defazio 2024), which finds the rate itself.

    Raises:
        InputError: its package is not installed.
    """
    common = {"lr": options.learning_rate, "betas": BETAS, "weight_decay": options.weight_decay}
    if options.optimiser == "adamw8bit":
        library = _package("bitsandbytes", options.optimiser)
        return lambda groups: library.optim.AdamW8bit(groups, **common)
    if options.optimiser == "prodigy":
        library = _package("prodigyopt", options.optimiser)
        return lambda groups: library.Prodigy(
            _one_rate(groups), **common, safeguard_warmup=True, use_bias_correction=True
        )
    return lambda groups: torch.optim.AdamW(groups, fused=True, **common)


def _one_rate(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Prodigy estimates one rate for all parameters and refuses groups of different ones."""
    return [{"params": [p for group in groups for p in group["params"]], "lr": groups[0]["lr"]}]


def _package(name: str, optimiser: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise InputError(f"optimiser {optimiser!r} needs the package {name}; run: pip install {name}") from None


def rate_of(options: DenoisingOptions) -> Callable[[int], float]:
    """Step → factor of the learning rates, as `diffusers.optimization.get_scheduler` defines it."""
    unused = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    name = "constant_with_warmup" if options.scheduler == "constant" else options.scheduler
    scheduler: Any = get_scheduler(
        name, unused, num_warmup_steps=options.warmup, num_training_steps=options.steps, num_cycles=options.cycles
    )
    return scheduler.lr_lambdas[0]


def fit_settings(options: DenoisingOptions, run: Path) -> FitSettings:
    """The loop's settings of a training's options."""
    return FitSettings(
        out=run,
        steps=options.steps,
        minutes=options.minutes,
        learning_rate=options.learning_rate,
        clip=options.clip,
        bf16=options.precision == "bf16",
        fp16=options.precision == "fp16",
        ema=options.ema,
        checkpoint_steps=options.save_every,
        accumulate=options.accumulate,
        fused_backward=options.fused_backward,
        preview_every=options.sample_every,
        log_every=min(10, max(1, options.steps // 50)),
        seed=options.seed,
    )
