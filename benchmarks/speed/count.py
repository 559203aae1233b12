"""What a denoising pass takes: FLOPs counted, seconds on the clock, memory at its peak."""

from __future__ import annotations

import ctypes
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from twinset.benchmarks.speed.peers import Contestant

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
LENGTHS = (30, 50)
"""Steps of the passes that FLOPs are given for."""


def flops_of(work: Callable[[], Any]) -> tuple[int, Any]:
    """Floating-point operations (two per multiply-add) of all matrix products and convolutions, and the result.

    On the meta device nothing is computed, and attention is counted as the two matrix products that it is.
    """
    with FlopCounterMode(display=False) as counter:
        result = work()
    return counter.get_total_flops(), result


def count(contestant: Contestant, period: int = 1) -> dict[str, float]:
    """TFLOP of a pass: `once`, `per_step`, and in all for 30 and 50 steps.

    Args:
        contestant: made of parts on the meta device.
        period: steps after which their costs repeat.
    """
    rests = {steps % period for steps in LENGTHS} - {0}
    of = {steps: flops_of(lambda steps=steps: contestant.run(steps))[0] for steps in {period, 2 * period, *rests}}
    once = of[0] = 2 * of[period] - of[2 * period]
    counted = {"once": once, "per_step": (of[2 * period] - of[period]) / period}
    for steps in LENGTHS:  # whole periods, and the beginning of another
        counted[str(steps)] = once + steps // period * (of[period] - once) + of[steps % period] - once
    return {name: value / 1e12 for name, value in counted.items()}


@dataclass(frozen=True)
class Lap:
    """One pass on the clock.

    Attributes:
        once: seconds before the loop, and for what the ControlNets embed in the first step.
        per_step: seconds of the rest of the loop, per step.
        memory: bytes at the peak beyond what was there before; None where it cannot be told.
    """

    once: float
    per_step: float
    memory: int | None

    def seconds(self, steps: int) -> float:
        """Of a pass of this many steps."""
        return self.once + steps * self.per_step


def lap(contestant: Contestant, steps: int) -> Lap:
    """Run a pass of `steps` steps."""
    cuda = contestant.parts.setting.device.startswith("cuda")
    before = _cuda_before() if cuda else _resident_before()
    began = _now(cuda)
    ready = contestant.once()
    entered = _now(cuda)
    with on_the_clock(contestant.embedders, cuda) as embedding:
        contestant.loop(ready, steps)
    ended, early = _now(cuda), sum(embedding)
    peak = torch.cuda.max_memory_allocated() if cuda else _resident("VmHWM")
    memory = None if before is None or peak is None else max(0, peak - before)
    return Lap(entered - began + early, (ended - entered - early) / steps, memory)


@contextmanager
def on_the_clock(layers: Sequence[nn.Module], cuda: bool) -> Iterator[list[float]]:
    """Seconds that layers take meanwhile, one entry per call."""
    began: list[float] = []
    taken: list[float] = []
    hooks = [layer.register_forward_pre_hook(lambda *_: began.append(_now(cuda))) for layer in layers]
    hooks += [layer.register_forward_hook(lambda *_: taken.append(_now(cuda) - began[-1])) for layer in layers]
    try:
        yield taken
    finally:
        for hook in hooks:
            hook.remove()


def weights(contestant: Contestant) -> int:
    """Bytes of all networks of a contestant, each with weights of its own."""
    return sum(x.nbytes for module in contestant.modules() for x in module.state_dict().values())


def _now(cuda: bool) -> float:
    if cuda:
        torch.cuda.synchronize()
    return time.perf_counter()


def _cuda_before() -> int:
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()


def _resident_before() -> int | None:
    """Resident bytes, after giving back what is free and setting the kernel's peak to now; Linux alone has that."""
    try:
        if platform.libc_ver()[0] == "glibc":
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        CLEAR.write_text("5")
    except OSError:
        return None
    return _resident("VmRSS")


def _resident(name: str) -> int | None:
    try:
        lines = STATUS.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), None)
