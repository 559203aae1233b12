"""What a picture costs: seconds, network calls and peak memory, with empty and with filled caches.

Each way runs in a process of its own, since a process never gives its peak memory back.
"""

from __future__ import annotations

import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from twinset.benchmarks.drawing import Drawing, joint_pass, serial_pass, studio_pipeline
from twinset.benchmarks.people import BenchmarkPerson, person_of
from twinset.pipelines.denoising.condition_cache import ConditionCache
from twinset.pipelines.studio import StudioPipeline

Draw = Callable[[StudioPipeline, BenchmarkPerson, int, float], object]
CLEAR, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
COSTED: dict[str, Draw] = {"joint": joint_pass, "serial": serial_pass}
"""Way to what draws face and garments together."""


@dataclass(frozen=True)
class Cost:
    """Of one picture, on average.

    Attributes:
        cold_seconds: with empty caches: a person and garments seen for the first time.
        warm_seconds: the same person and garments once more.
        cold_calls, warm_calls: forward passes by network; one of a batch of two counts once.
        peak_mib: most memory in use while drawing: of the process, or on a GPU what torch had allocated.
        loaded_mib: in use before the first picture, the model loaded.
    """

    cold_seconds: float
    warm_seconds: float
    cold_calls: dict[str, float]
    warm_calls: dict[str, float]
    peak_mib: float
    loaded_mib: float


def costs(drawing: Drawing, people: int = 8) -> dict[str, Cost]:
    """Cost of the joint and of the serial way.

    Args:
        drawing: model, steps, guidance and first seed.
        people: how many to average over; one more is drawn first and not counted.
    """
    found = {}
    for way in COSTED:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            found[way] = process.submit(cost, drawing, way, people).result()
    return found


def cost(drawing: Drawing, way: str, people: int) -> Cost:
    """Cost of one way; for a process of its own."""
    torch.set_num_threads(1)
    pipe, draw = studio_pipeline(drawing.model), COSTED[way]
    everybody = [person_of(pipe, drawing.first_seed, index) for index in range(people + 1)]
    loaded = forget_peak()
    draw(pipe, everybody[0], drawing.steps, drawing.guidance)
    rows = []
    for person in everybody[1:]:
        pipe.condition_cache = ConditionCache()
        rows.append([_timed(pipe, lambda p=person: draw(pipe, p, drawing.steps, drawing.guidance)) for _ in range(2)])
    (cold, cold_calls), (warm, warm_calls) = (_averaged([row[k] for row in rows]) for k in range(2))
    return Cost(cold, warm, cold_calls, warm_calls, round(peak_memory(), 1), round(loaded, 1))


def forget_peak() -> float:
    """Let `peak_memory` count from now on; returns what is in use, MiB.

    Where the system has no `/proc` (Linux's `clear_refs`, value 5), the peak stays that of the whole process.
    """
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    elif CLEAR.exists():
        CLEAR.write_text("5")
    return peak_memory()


def peak_memory() -> float:
    """Most memory that was in use so far, MiB: torch's on a GPU, else the process's."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    if STATUS.exists():
        lines = STATUS.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


@contextmanager
def counted_calls(pipe: Any) -> Iterator[Counter[str]]:
    """Counts the forward passes of a pipeline's networks by their names in it; ControlNets are counted one by one."""
    calls: Counter[str] = Counter()
    parts: dict[str, Any] = {name: part for name, part in pipe.components.items() if isinstance(part, nn.Module)}
    vae = parts.pop("vae")
    parts |= {"vae encoder": vae.encoder, "vae decoder": vae.decoder}
    del parts["controlnet"]  # their frame, which the pass does not call
    parts |= {f"controlnet {k + 1}": net for k, net in enumerate(pipe.nets)}
    hooks = [part.register_forward_pre_hook(lambda *_, n=name: calls.update([n])) for name, part in parts.items()]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def _timed(pipe: StudioPipeline, draw: Callable[[], object]) -> tuple[float, Counter[str]]:
    with counted_calls(pipe) as calls:
        started = time.perf_counter()
        draw()
        return time.perf_counter() - started, calls


def _averaged(rows: list[tuple[float, Counter[str]]]) -> tuple[float, dict[str, float]]:
    total = sum((calls for _, calls in rows), Counter())
    return round(float(np.mean([seconds for seconds, _ in rows])), 3), {
        name: round(count / len(rows), 2) for name, count in sorted(total.items())
    }
