"""Where the garment is in a picture: a mask of its own, its alpha channel, a parsing map, or a plain background."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from twinset.errors import InputError
from twinset.figure.labels import garment_labels
from twinset.perception.garments.cutout import CLASSES, KINDS_OF, is_plain, plain_mask
from twinset.pipelines.families.backend import FamilyBackend
from twinset.training.core.picture_files import read_training_picture
from twinset.training.lora.dataset import Example

_WITH_ALPHA = {".png": "PNG", ".webp": "WEBP", ".avif": "AVIF", ".tif": "TIFF", ".tiff": "TIFF"}
FEWEST = 16
"""Pixels of the smallest garment that counts as seen."""


@dataclass(frozen=True)
class ParsedPicture:
    """What is seen in a picture before its garment is known.

    Attributes:
        example: whose picture it is.
        picture: uint8 (H, W, 3).
        labels: parsing map (H, W) where somebody wears something, else None.
    """

    example: Example
    picture: np.ndarray
    labels: np.ndarray | None


def read_parsed(example: Example, people: FamilyBackend) -> ParsedPicture:
    """Read a picture and who wears something in it.

    Raises:
        InputError: the picture cannot be read.
    """
    picture = read_training_picture(example.picture)
    return ParsedPicture(example, picture, people.worn(picture))


def likeliest_class(looks: list[ParsedPicture]) -> str | None:
    """The class of `CLASSES` that covers most of all parsing maps together; None without any."""
    shown = [
        np.bincount(look.labels.ravel(), minlength=18) / look.labels.size for look in looks if look.labels is not None
    ]
    if not shown:
        return None
    total = np.sum(shown, 0)
    areas = {name: float(total[list(owned)].sum()) for name, owned in CLASSES.items() if name != "outerwear"}
    name = max(areas, key=lambda each: areas[each])
    return name if areas[name] > 0 else None


def owned_labels(kind: str | None, found: str | None) -> tuple[int, ...]:
    """ATR labels of a garment kind, of the class found without one; none where nothing is known."""
    if kind is not None:
        return garment_labels(kind)
    return CLASSES[found] if found else ()


def said_kind(kind: str | None, found: str | None) -> str:
    """What captions call the garment: its kind, the only kind of its class, its class, or "garment"."""
    if kind is not None or found is None:
        return kind or "garment"
    return KINDS_OF[found][0] if len(KINDS_OF[found]) == 1 else {"bottom": "bottoms"}.get(found, found)


def garment_mask(look: ParsedPicture, owned: tuple[int, ...]) -> tuple[np.ndarray | None, str]:
    """The garment's mask, and where it comes from.

    Args:
        look: at the picture.
        owned: labels that are the garment in a parsing map.

    Returns:
        float32 (H, W) in [0, 1], or None where it cannot be told; "file", "alpha", "parsing", "background" or "none".

    Raises:
        InputError: a mask's file cannot be read, or is all black.
    """
    if look.example.mask is not None:
        return _from_file(look), "file"
    if (alpha := _alpha(look)) is not None:
        return alpha, "alpha"
    if look.labels is not None:
        mask = np.isin(look.labels, owned)
        return (mask.astype(np.float32), "parsing") if mask.sum() >= FEWEST else (None, "none")
    if is_plain(look.picture) and (mask := plain_mask(look.picture)).sum() >= FEWEST:
        return mask.astype(np.float32), "background"
    return None, "none"


def _from_file(look: ParsedPicture) -> np.ndarray:
    path = look.example.mask
    mask = read_training_picture(path, "mask").mean(-1)  # type: ignore[arg-type]
    height, width = look.picture.shape[:2]
    if abs(mask.shape[1] / mask.shape[0] - width / height) > 0.05 * width / height:
        raise InputError(f"mask {str(path)!r} differs in size from its picture; draw it on a copy of the picture")
    if not (mask > 127).any():
        raise InputError(f"mask {str(path)!r} is black; paint the garment white, or delete the file")
    return _resized(mask.astype(np.uint8), (width, height))


def _alpha(look: ParsedPicture) -> np.ndarray | None:
    """The alpha channel of a picture that has holes."""
    if look.example.picture.suffix.lower() not in _WITH_ALPHA:
        return None
    with Image.open(look.example.picture, formats=tuple(_WITH_ALPHA.values())) as image:  # it was read, so it is sound
        if image.mode not in ("RGBA", "LA", "PA") and "transparency" not in image.info:
            return None
        alpha = np.asarray(ImageOps.exif_transpose(image).convert("RGBA").getchannel("A"))
    if alpha.min() > 250 or alpha.max() < 128:
        return None
    return _resized(alpha, (look.picture.shape[1], look.picture.shape[0]))


def _resized(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.BOX), np.float32) / 255
