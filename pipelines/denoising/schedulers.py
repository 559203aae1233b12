"""Schedulers by the names that Stable Diffusion's users know, made from the settings of the one a model has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from twinset.errors import InputError

SchedulerName = Literal[
    "ddim",
    "ddim_trailing",
    "pndm",
    "unipc",
    "dpmpp_2m",
    "dpmpp_2m_karras",
    "dpmpp_2m_sde_karras",
    "euler",
    "euler_a",
    "heun",
    "lcm",
]
KARRAS = {"use_karras_sigmas": True}
SCHEDULERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "ddim": ("DDIMScheduler", {}),
    "ddim_trailing": ("DDIMScheduler", {"timestep_spacing": "trailing"}),
    "pndm": ("PNDMScheduler", {"skip_prk_steps": True}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {}),
    "dpmpp_2m_karras": ("DPMSolverMultistepScheduler", KARRAS),
    "dpmpp_2m_sde_karras": ("DPMSolverMultistepScheduler", KARRAS | {"algorithm_type": "sde-dpmsolver++"}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_a": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "lcm": ("LCMScheduler", {}),
}
"""Name → class of diffusers, and settings of its own."""
WITH_TERMINAL_NOISE = ("ddim", "ddim_trailing", "dpmpp_2m", "unipc")
"""Those that start a model with zero terminal SNR (Lin et al. 2024), as the bundled one, from noise alone."""


def make_scheduler(name: SchedulerName, current: Any) -> Any:
    """A scheduler with the noise levels of another one.

    Args:
        name: of `SCHEDULERS`.
        current: the model's, of any of diffusers' classes.

    Raises:
        InputError: the model's noise levels are beyond it.
    """
    if current.config.get("rescale_betas_zero_snr") and name not in WITH_TERMINAL_NOISE:
        raise InputError(
            f"scheduler {name!r} does not fit this model, whose pictures start from noise alone; "
            f"take {', '.join(WITH_TERMINAL_NOISE)}, or leave --scheduler out"
        )
    import diffusers  # which brings torch; `twinset --help` reads the names of this module without it

    class_name, own = SCHEDULERS[name]
    return getattr(diffusers, class_name).from_config(current.config, **own)


@contextmanager
def scheduler_on(pipe: Any, name: SchedulerName | None) -> Iterator[None]:
    """A scheduler in use while this is open; None leaves the pipeline's own.

    Raises:
        InputError: see `make_scheduler`.
    """
    before = pipe.scheduler
    try:
        if name is not None:
            pipe.scheduler = make_scheduler(name, before)
        yield
    finally:
        pipe.scheduler = before
