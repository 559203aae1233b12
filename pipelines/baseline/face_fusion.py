"""FaceFusion, where the user has it, as the serial way's face swap: through its own command line."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from twinset.common.atomic_files import plain_reason
from twinset.common.image_io import read_picture
from twinset.common.settings import VARIABLES, settings
from twinset.errors import InputError
from twinset.pipelines.families.backend import Selfie

VARIABLE = VARIABLES["facefusion"].name
"""Environment variable with the command, such as "python /opt/facefusion/facefusion.py"."""
LONGEST = 600.0
"""Seconds for one picture; it loads its models anew each time."""


def face_fusion() -> Callable[[Selfie, np.ndarray], np.ndarray] | None:
    """A swap by FaceFusion: (selfie, picture) to the picture with that face; None where it is not installed."""
    found = shutil.which("facefusion")
    command = shlex.split(settings().facefusion or "") or ([found] if found else [])
    return (lambda selfie, picture: swapped(command, selfie, picture)) if command else None


def swapped(command: list[str], selfie: Selfie, picture: np.ndarray) -> np.ndarray:
    """Runs `headless-run` with its face swapper on one picture.

    Args:
        command: that starts FaceFusion.
        selfie: whose crop is the source.
        picture: uint8 (H, W, 3), the target.

    Raises:
        InputError: it fails, takes too long, or writes no picture of the target's size.
    """
    with tempfile.TemporaryDirectory(prefix="twinset-") as name:
        source, target, output = (Path(name) / f"{role}.png" for role in ("source", "target", "output"))
        Image.fromarray(selfie.crop).save(source)
        Image.fromarray(picture).save(target)
        paths = ["-s", str(source), "-t", str(target), "-o", str(output)]
        try:
            run = subprocess.run(
                [*command, "headless-run", "--processors", "face_swapper", *paths],
                capture_output=True,
                text=True,
                timeout=LONGEST,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            reason = plain_reason(error)
            raise InputError(f"{VARIABLE} = {shlex.join(command)!r}: {reason}; fix the command or unset it") from None
        if run.returncode or not output.is_file():
            said = (run.stderr or run.stdout).strip().splitlines()[-1:] or ["nothing"]
            raise InputError(f"FaceFusion ({shlex.join(command)}) made no picture, exit {run.returncode}: {said[0]}")
        made = read_picture(output, "FaceFusion's picture")
    if made.shape != picture.shape:
        raise InputError(f"FaceFusion made a picture of {made.shape[:2]}, not {picture.shape[:2]}; check its settings")
    return made
