"""What is done when the memory does not suffice: one more try with less."""

from __future__ import annotations

import gc

import torch

from twinset.pipelines.request import Request

SMALLER = "memory ran out; drawn again without repairs, further seeds or overlays"


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: the GPU's, Python's, or the CPU allocator's plain `RuntimeError`."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def smaller(request: Request) -> Request:
    """The same pictures of one pass each: no repair, no further seeds, no overlays."""
    return request.model_copy(update={"repair": False, "candidates": 1, "show_regions": False})


def free_memory() -> None:
    """Give back what no tensor holds any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
