"""ONNX graphs, hashed and loaded from the same bytes, with errors of one line."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from twinset.errors import InputError

CPU = ("CPUExecutionProvider",)
THREADS = 4


class OnnxGraph:
    """One ONNX file, hashed and loaded from the same bytes."""

    def __init__(self, path: Path, providers: Sequence[str], sha256: str | None, expected: str):
        self.path, self._expected = path, expected
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(
                f"ONNX file {str(path)!r} cannot be read ({error.strerror}); "
                "check the path, or run: twinset models pull PROFILE"
            ) from None
        self.sha256 = hashlib.sha256(data).hexdigest()
        if sha256 not in (None, self.sha256):
            raise InputError(
                f"{str(path)!r} has SHA-256 {self.sha256}, expected {sha256}; replace it: twinset models pull PROFILE"
            )
        self._session = _session(path, data, providers)
        self.inputs, self.outputs = self._session.get_inputs(), self._session.get_outputs()

    def takes(self, size: tuple[int, int]) -> bool:
        """Whether its one input may be a float picture (1, 3, *size)."""
        shapes = [given.shape for given in self.inputs if given.type == "tensor(float)"]
        return len(self.inputs) == len(shapes) == 1 and may_be(shapes[0], (1, 3, *size))

    def run(self, blob: np.ndarray) -> list[np.ndarray]:
        """All outputs for one input."""
        try:
            outputs = self._session.run(None, {self.inputs[0].name: blob})
        except Exception as error:  # ONNX Runtime's errors have no base class of their own
            raise self.wrong(f"it fails ({_first_line(error)})") from error
        if not all(np.isfinite(values).all() for values in outputs):
            raise self.wrong("it gives values that are not finite")
        return outputs

    def wrong(self, fault: str = "") -> InputError:
        """An error that compares the graph's inputs and outputs with the expected ones."""
        found = "; ".join(
            f"{kind} " + ", ".join(f"{one.name} {one.type} {one.shape}" for one in ends)
            for kind, ends in (("inputs", self.inputs), ("outputs", self.outputs))
        )
        return InputError(
            f"{str(self.path)!r} is not a {self._expected}: {fault + '; ' if fault else ''}found {found}; "
            "use the file that the profile names (twinset models list --json)"
        )


def _session(path: Path, data: bytes, providers: Sequence[str]) -> Any:
    import onnxruntime as runtime  # slow to load; it reports to nobody, see `twinset.common.settings.SILENCED`

    missing = set(providers) - set(runtime.get_available_providers())
    if missing:
        known = ", ".join(runtime.get_available_providers())
        raise InputError(f"ONNX Runtime has no provider {', '.join(sorted(missing))!r} here; choose among {known}")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = min(THREADS, os.cpu_count() or 1)
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what goes wrong is raised
    # weights outside the file were not hashed: point to where no file can be
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path / "nowhere"))
    try:
        return runtime.InferenceSession(data, options, providers=list(providers))
    except Exception as error:  # ONNX Runtime's errors have no base class of their own
        raise InputError(
            f"{str(path)!r} is not a valid ONNX file ({_first_line(error)}); "
            "give a sound copy; for a model's own part run: twinset models pull PROFILE"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def may_be(shape: Sequence[int | str | None], wanted: Sequence[int]) -> bool:
    """Whether a declared shape, in which names and None stand for any length, allows another."""
    return len(shape) == len(wanted) and all(
        not isinstance(found, int) or found == want for found, want in zip(shape, wanted, strict=True)
    )


def check_picture(picture: np.ndarray) -> None:
    """Raises ValueError where a picture is not uint8 (height, width, 3)."""
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise ValueError(f"picture is {picture.dtype} {picture.shape}; expected uint8 (height, width, 3)")
