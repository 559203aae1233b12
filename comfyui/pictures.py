"""Pictures as ComfyUI has them and as files."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image


def to_pngs(images: torch.Tensor) -> list[bytes]:
    """A batch as PNG files.

    Args:
        images: float (batch, height, width, channels) in [0, 1], of 1, 3 or 4 channels.
    """
    levels = (images.detach().cpu().float().clamp(0, 1) * 255).round().numpy().astype(np.uint8)
    files = []
    for picture in levels:
        file = io.BytesIO()
        Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(file, "PNG")
        files.append(file.getvalue())
    return files


def to_batch(files: tuple[bytes, ...]) -> torch.Tensor:
    """Files of pictures of one size as a batch.

    Returns:
        float32 (batch, height, width, 3) in [0, 1]; times 255 they are the files' values exactly.
    """
    levels = [np.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in files]
    return torch.from_numpy(np.stack(levels).astype(np.float32) / 255.0)


def size_of(file: bytes) -> tuple[int, int]:
    """Width and height."""
    return Image.open(io.BytesIO(file)).size
