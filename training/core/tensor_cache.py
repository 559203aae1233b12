"""Tensors on disk by the content of what they were made from: a changed picture or network finds nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from twinset.common.atomic_files import atomic_path, plain_reason
from twinset.errors import InputError

Tensors = dict[str, Tensor]
FORMAT = 2
"""Raised whenever what is kept changes."""


class TensorCache:
    """Results in a folder, one safetensors file each, whole or not there.

    Args:
        folder: where; made when missing.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def __call__(self, key: str, make: Callable[[], Tensors]) -> Tensors:
        """`make()`, or what it gave before under the same key.

        Raises:
            InputError: the disk is full.
        """
        path = self.folder / f"{key}.safetensors"
        try:
            return load_file(path)
        except (FileNotFoundError, SafetensorError):  # a damaged file is made anew
            pass
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in make().items()}
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with atomic_path(path) as temporary:
                save_file(tensors, temporary)
        except (OSError, SafetensorError) as error:
            raise InputError(
                f"{str(self.folder)!r} cannot be written ({plain_reason(error)}); free some space and run again"
            ) from error
        return tensors


def tensor_key(*parts: object) -> str:
    """SHA-256 over byte strings and everything else's `repr`, hexadecimal."""
    content = hashlib.sha256(f"{FORMAT}".encode())
    for part in parts:
        data = part if isinstance(part, bytes) else repr(part).encode()
        content.update(f"{len(data)} ".encode() + data)
    return content.hexdigest()
