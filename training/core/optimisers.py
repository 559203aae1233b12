"""From a training's options to the loop: optimisers and learning rates by name, and the loop's settings."""

from __future__ import annotations

import ast
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


Groups = list[dict[str, Any]]
#: Optimiser → the package that has it, its class, and the extra that installs it.
_PACKAGES = {
    "adamw8bit": ("bitsandbytes", "optim.AdamW8bit", "bitsandbytes"),
    "lion": ("lion_pytorch", "Lion", "train"),
    "prodigy": ("prodigyopt", "Prodigy", "train"),
    "schedulefree": ("schedulefree", "AdamWScheduleFree", "train"),
}


def optimiser_of(options: DenoisingOptions) -> Callable[[Groups], torch.optim.Optimizer]:
    """Parameter groups → optimiser.

    "adamw" (Loshchilov & Hutter 2019) and "adafactor" (Shazeer & Stern 2018) are torch's, "adamw8bit" is bitsandbytes'
    (Dettmers et al. 2022), "lion" lion-pytorch's (Chen et al. 2023), "schedulefree" Meta's (Defazio et al. 2024), and
    "prodigy" prodigyopt's (Mishchenko & Defazio 2024), which finds the rate itself.

    Raises:
        InputError: its package is not installed, or it does not take an argument.
    """
    name = options.optimiser
    make = (
        _library_class(name)
        if name in _PACKAGES
        else {"adamw": torch.optim.AdamW, "adafactor": torch.optim.Adafactor}[name]
    )
    common: dict[str, Any] = {"lr": options.learning_rate, "weight_decay": options.weight_decay}
    if name != "adafactor":
        common["betas"] = BETAS
    common |= {
        "adamw": {"fused": True},
        "prodigy": {"safeguard_warmup": True, "use_bias_correction": True},
        "schedulefree": {"warmup_steps": options.warmup},
    }.get(name, {})
    common |= _arguments(options.optimiser_args)
    grouped = _one_rate if name == "prodigy" else list
    try:
        make([torch.nn.Parameter(torch.zeros(1))], **common)
    except (TypeError, ValueError) as error:
        given = options.optimiser_args
        raise InputError(f"optimiser_args {given!r} do not go with {name} ({error}); correct or delete them") from None
    return lambda groups: make(grouped(groups), **common)


def _arguments(text: str) -> dict[str, Any]:
    """ "betas=0.9,0.99 d_coef=2" → {"betas": (0.9, 0.99), "d_coef": 2}."""
    found = {}
    for pair in text.split():
        name, equals, value = pair.partition("=")
        try:
            found[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found[name] = value
        if not (name.isidentifier() and equals and value):
            raise InputError(f"optimiser_args {pair!r} is no name=value; write, as in betas=0.9,0.99 d_coef=2")
    return found


def _one_rate(groups: Groups) -> Groups:
    """Prodigy estimates one rate for all parameters and refuses groups of different ones."""
    return [{"params": [p for group in groups for p in group["params"]], "lr": groups[0]["lr"]}]


def _library_class(optimiser: str) -> Any:
    package, path, extra = _PACKAGES[optimiser]
    try:
        found = import_module(package)
    except ImportError:
        raise InputError(
            f"optimiser {optimiser!r} needs the package {package}; run: pip install 'twinset[{extra}]'"
        ) from None
    for name in path.split("."):
        found = getattr(found, name)
    return found


def rate_of(options: DenoisingOptions) -> Callable[[int], float]:
    """Step → factor of the learning rates, as `diffusers.optimization.get_scheduler` defines it."""
    if options.optimiser == "schedulefree":  # it has its own warm-up, and needs no end
        return lambda step: 1.0
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
        tracker=options.log_with,
        described=options.model_dump(mode="json", exclude_none=True),
    )
