"""Where a pipeline runs, in which numbers, and how it spares the memory of its device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch

from twinset.common.settings import settings
from twinset.errors import InputError

DeviceName = Literal["auto", "cuda", "xpu", "mps", "cpu"]
MemoryUse = Literal["auto", "low", "high"]
GIB = 2**30
WHOLE = {"studio": 1 * GIB, "sd15": 6 * GIB, "sdxl": 15 * GIB}
"""Free bytes from which all parts of a family stay on the device: weights in half precision, and room for a pass."""


@dataclass(frozen=True)
class DevicePlacement:
    """Where and how a pipeline runs.

    Attributes:
        device: "cuda", "xpu", "mps" or "cpu".
        dtype: of full-size families; the bundled model is always float32.
        offload: keep each part in the computer's memory while it has nothing to do, and decode pictures in tiles.
    """

    device: str
    dtype: torch.dtype
    offload: bool = False


def choose_placement(family: str, device: str | None = None, memory: str | None = None) -> DevicePlacement:
    """The placement of a family's pipeline.

    Args:
        family: "studio", "sd15" or "sdxl".
        device: a `DeviceName`; None for `TWINSET_DEVICE`, else "auto": the first that is here, in the names' order.
        memory: a `MemoryUse`; None for `TWINSET_MEMORY`, else "auto": offload where too little of the device is free.

    Raises:
        InputError: a name is unknown, or the device is not here.
    """
    asked = _one_of("device", device or settings().device, get_args(DeviceName))
    use = _one_of("memory", memory or settings().memory, get_args(MemoryUse))
    here = [name for name in get_args(DeviceName)[1:] if is_here(name)]
    chosen = here[0] if asked == "auto" else asked
    if chosen not in here:
        raise InputError(
            f"device {chosen!r} is not available to PyTorch {torch.__version__} here; take --device {here[0]}, or "
            "install the PyTorch build and the driver for it"
        )
    low = use == "low" or (use == "auto" and free_device_memory(chosen) < WHOLE[family])
    half = chosen != "cpu" and family != "studio"
    return DevicePlacement(chosen, torch.float16 if half else torch.float32, low and chosen != "cpu")


def put_on_device(pipe: Any, placement: DevicePlacement) -> Any:
    """Put a pipeline where it shall run; also after parts have come in. Returns the pipeline."""
    if not placement.offload:
        return pipe.to(placement.device)
    pipe.enable_model_cpu_offload(device=placement.device)
    pipe.vae.enable_tiling()
    return pipe


def is_here(device: str) -> bool:
    """Whether PyTorch has a device."""
    if device == "mps":
        return torch.backends.mps.is_available()
    return device == "cpu" or bool(getattr(torch, device).is_available())


def free_device_memory(device: str) -> int:
    """Free bytes of a device, as far as PyTorch can tell; a CPU has as much as the computer."""
    if device in ("cuda", "xpu"):
        return int(getattr(torch, device).mem_get_info()[0])
    if device == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    return 2**63


def _one_of(what: str, name: str, known: tuple[str, ...]) -> str:
    if name not in known:
        raise InputError(f"{what} {name!r} is unknown; choose one of {', '.join(known)}")
    return name
