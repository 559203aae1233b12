"""What the economical mode costs in the picture: exact against economical, on the trained model that is bundled."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from twinset.benchmarks.drawing import studio_pipeline
from twinset.benchmarks.figures import bootstrap, psnr_each
from twinset.benchmarks.joint import judge
from twinset.benchmarks.judges import FOLDER, Judges
from twinset.benchmarks.people import BenchmarkPerson, drawn_person
from twinset.pipelines.denoising.economy import EXACT, LEAN, Economy
from twinset.pipelines.denoising.guidance import Guidance
from twinset.pipelines.studio import StudioPipeline
from twinset.training.mannequin.spec import draw_spec

FIRST_SEED = 60_000  # of the training range: the held-out people are for the joint benchmark alone
STEPS, GUIDANCE = 12, 1.5
FIGURES = ("sim_gt", "garment_difference", "pck", "parsing_miou", "named_english")
"""Of the joint benchmark's figures, those shown for both modes."""

Mode = tuple[Economy, tuple[float, float]]
"""What is reused, and the part of the pass in which guidance acts."""
IN_FULL: Mode = (EXACT, (0.0, 1.0))
ECONOMICAL: Mode = (LEAN, (0.0, 1.0))
"""The economical mode of the benchmark."""


def training_person(pipe: StudioPipeline, seed: int) -> BenchmarkPerson:
    """A person of the training range, described in English."""
    return drawn_person(pipe, draw_spec(seed), np.random.default_rng(seed))


@dataclass(frozen=True)
class EconomyComparison:
    """A picture and how it came about.

    Attributes:
        picture: uint8 (256, 192, 3).
        latents: clean latents (1, 4, h, w).
        noises: what the UNet predicted for the prompt's branch at each step, (T, 4, h, w).
        seconds: from the end of the first step to that of the last.
    """

    picture: np.ndarray
    latents: Tensor
    noises: Tensor
    seconds: float


def draw_person_with(pipe: StudioPipeline, person: BenchmarkPerson, mode: Mode, steps: int) -> EconomyComparison:
    """A person's picture from the person's own noise."""
    conditions = [pipe.identity(person.selfie, person.layout)]
    conditions += [pipe.garment(flat, kind, person.layout) for kind, flat in person.flats.items()]
    economy, (start, end) = mode
    noises, ends, latents = [], [], []

    def keep(_pipe: Any, step: int, _timestep: Any, given: dict[str, Any]) -> dict[str, Any]:
        ends.append(time.perf_counter())
        latents[:] = [given["latents"].clone()]
        return given

    hook = pipe.unet.register_forward_hook(lambda _net, _inputs, output: noises.append(output.sample[-1]))
    output: Any = pipe(
        person.prompt,
        layout=person.layout,
        conditions=conditions,
        generator=torch.Generator().manual_seed(person.spec.seed),
        num_inference_steps=steps,
        guidance_scale=Guidance(GUIDANCE, start=start, end=end),
        economy=economy,
        callback_on_step_end=keep,
    )
    hook.remove()
    return EconomyComparison(np.asarray(output.images[0]), latents[0], torch.stack(noises), ends[-1] - ends[0])


def compare(modes: Sequence[Mode], people: int, steps: int = STEPS) -> Iterator[list[dict[str, Any]]]:
    """Draw people in exact mode and in each of `modes`, turn by turn, and judge all pictures at the end.

    Args:
        modes: economical modes.
        people: number of people.
        steps: denoising steps.

    Yields:
        An empty list after each person, then one record per mode.
    """
    pipe = studio_pipeline("studio")
    everybody = [training_person(pipe, FIRST_SEED + index) for index in range(people)]
    rows = []
    for person in everybody:
        rows.append([draw_person_with(pipe, person, mode, steps) for mode in (IN_FULL, *modes)])
        yield []
    judges, (exact, *columns) = Judges.load(FOLDER), zip(*rows, strict=True)
    yield [_record(judges, everybody, exact, column, mode) for mode, column in zip(modes, columns, strict=True)]


def _record(
    judges: Judges,
    people: list[BenchmarkPerson],
    exact: Sequence[EconomyComparison],
    economical: Sequence[EconomyComparison],
    mode: Mode,
) -> dict[str, Any]:
    """Figures of one economical mode against exact mode."""
    pairs = list(zip(economical, exact, strict=True))
    ours, full = (np.stack([drawn.picture for drawn in column]) for column in (economical, exact))
    judged, usual = judge(judges, people, ours), judge(judges, people, full)
    return {
        "mode": described(mode),
        "people": len(people),
        "first_seed": FIRST_SEED,
        "time_of_exact": median(a.seconds / b.seconds for a, b in pairs),
        "psnr": bootstrap(psnr_each(ours, full)).mean,
        "latents_away": float(np.mean([away(a.latents, b.latents) for a, b in pairs])),
        "noise_away": float(np.mean([away(x, y) for a, b in pairs for x, y in zip(a.noises, b.noises, strict=True)])),
        "figures": {name: {"exact": _mean(usual[name]), "economical": _mean(judged[name])} for name in FIGURES},
    }


def away(x: Tensor, y: Tensor) -> float:
    """Relative L2 distance of x from y."""
    return float((x - y).norm() / y.norm())


def _mean(values: np.ndarray) -> float:
    return bootstrap(values.astype(float)).mean


def described(mode: Mode) -> str:
    """A mode in words."""
    economy, (start, end) = mode
    said = {
        "ControlNets run for one branch of guidance": economy.shared_control,
        f"ControlNets run at every {economy.control_every}. step": economy.control_every > 1,
        f"deep blocks run at every {economy.deep_every}. step": economy.deep_every > 1,
        f"guidance acts from {start:.0%} to {end:.0%} of the pass": (start, end) != (0.0, 1.0),
    }
    return ", ".join(words for words, true in said.items() if true) or "exact"
