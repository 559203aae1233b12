"""What ComfyUI lends to the nodes: progress, interruption, its output folder. Imported when asked for, not before."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from .service import ServiceError

LOOK = 0.2
"""Seconds between looks whether the user has interrupted."""


def raise_if_interrupted() -> None:
    """Raises ComfyUI's own exception where the user has interrupted; outside of ComfyUI nothing."""
    try:
        from comfy.model_management import (  # pyright: ignore[reportMissingImports]
            throw_exception_if_processing_interrupted,
        )
    except ImportError:
        return
    throw_exception_if_processing_interrupted()


def progress_bar(total: int) -> Callable[[int], None]:
    """The node's bar: takes what is done of `total`; outside of ComfyUI nothing is shown."""
    try:
        from comfy.utils import ProgressBar  # pyright: ignore[reportMissingImports]
    except ImportError:
        return lambda done: None
    bar = ProgressBar(total)
    return lambda done: bar.update_absolute(done, total)


def pause(seconds: float) -> None:
    """Sleep; an interruption ends it."""
    end = time.monotonic() + seconds
    while True:
        raise_if_interrupted()
        left = end - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(left, LOOK))


def output_place(prefix: str, size: tuple[int, int]) -> tuple[Path, str, int, str]:
    """Where ComfyUI wants the next picture: folder, name, its next number, and the folder inside ComfyUI's output.

    Args:
        prefix: as in Save Image, `%date%` and the like included.
        size: width and height.

    Raises:
        ServiceError: outside of ComfyUI.
    """
    try:
        import folder_paths  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ServiceError("there is no output folder outside of ComfyUI; write the files yourself") from None
    folder, name, number, inside, _ = folder_paths.get_save_image_path(
        prefix, folder_paths.get_output_directory(), *size
    )
    return Path(folder), name, number, inside
