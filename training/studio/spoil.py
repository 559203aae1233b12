"""Spoils pictures in ways that have names, to teach what a bad picture is (after CLIP-IQA, Wang et al. 2023)."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageFilter

from twinset.scoring.iqa import ANTONYMS

#: Ways to spoil a picture → the pairs of antonyms that turn bad, and those that may be judged either way.
_EFFECTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "blur": (("quality", "sharpness"), ("contrast",)),
    "noise": (("quality", "noisiness"), ("sharpness", "smoothness", "contrast")),
    "jpeg": (("quality", "smoothness"), ("sharpness", "noisiness", "colour")),
    "cast": (("quality", "colour"), ("contrast",)),
    "contrast": (("quality", "contrast"), ("sharpness", "colour")),
    "pixels": (("quality", "smoothness"), ("sharpness", "contrast")),
}
SPOILS: tuple[str, ...] = tuple(_EFFECTS)
#: int64 (ways, pairs): 0 the good word, 1 the bad word, -100 not asked.
VERDICTS = np.array([[1 if pair in bad else -100 if pair in open_ else 0 for pair in ANTONYMS]
                     for bad, open_ in _EFFECTS.values()])  # fmt: skip


def spoil(picture: np.ndarray, way: str, rng: np.random.Generator) -> np.ndarray:
    """Spoils one picture, clearly but not beyond recognition.

    Args:
        picture: uint8 (H, W, 3), about 192×256.
        way: One of SPOILS.
        rng: Chooses the strength.

    Returns:
        uint8 (H, W, 3).

    Raises:
        ValueError: Unknown way.
    """
    image, strength = Image.fromarray(picture), float(rng.uniform(0.5, 1))
    if way == "blur":
        return np.asarray(image.filter(ImageFilter.GaussianBlur(7 * strength)))
    if way == "noise":
        return _clipped(picture + rng.normal(0, 90 * strength, picture.shape))
    if way == "jpeg":
        file = io.BytesIO()
        image.save(file, "JPEG", quality=round(8 - 6 * strength))
        return np.asarray(Image.open(file).convert("RGB"))
    if way == "cast":
        towards = np.array([(1, 0.2, 1), (0.2, 1, 0.2), (0.3, 1, 1)][int(rng.integers(3))])
        return _clipped(picture * (1 - strength * (1 - towards)))
    if way == "contrast":
        return _clipped(picture.mean() + (picture - picture.mean()) * (0.45 - 0.3 * strength))
    if way == "pixels":
        cell = round(18 * strength)
        small = image.resize((image.width // cell, image.height // cell), Image.Resampling.BOX)
        return np.asarray(small.resize(image.size, Image.Resampling.NEAREST))
    raise ValueError(f"unknown way {way!r} to spoil a picture: choose from {', '.join(SPOILS)}")


def _clipped(values: np.ndarray) -> np.ndarray:
    return np.clip(values + 0.5, 0, 255).astype(np.uint8)
