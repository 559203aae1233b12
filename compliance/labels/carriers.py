"""Where the pixel mark lives: the canonical grid, its band, the keyed chips and the keyed frequencies.

A picture is looked at as luminance on a canonical grid whose shorter side has one of three lengths, so that resizing
alone moves nothing. On it lie *chips*, a keyed plane of signs each of which belongs to one bit of the codeword or to
the pilot (spread spectrum by Cox, Kilian, Leighton and Shamoon 1997, shared among bits as in Hartung and Girod 1998).
*Tones*, keyed frequencies that stand out of the spectrum, tell of turning and scaling (the template of Pereira and Pun
2000). Both keep to a band of frequencies that JPEG and halving leave alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image
from scipy.fft import fft2
from scipy.ndimage import gaussian_filter, uniform_filter

from twinset.compliance.labels.code import CODE_BITS

LEVELS = {144: 0, 384: 384, 576: 768}
"""Canonical shorter side → shorter side of pictures, in pixels, from which on it is the picture's own."""
LONGEST, PLANE = 2.0, 2.45
"""Longer by shorter side, of a longer picture the middle is looked at; and side of the plane of chips by the canonical
size, which leaves room for shifts."""
PILOT = 36
"""Shares of the chips that are the pilot's, beside one share for each bit."""
TONES = 24
OUTSTANDING = 8.0
"""A tone's power, by that about it, counts up to so much."""
TONE_RADII = (0.10, 0.25)
"""Cycles per canonical pixel, between which the tones lie."""
WIDE, NARROW = 2.6, 0.75
"""Standard deviations, in canonical pixels, whose difference of Gaussians is the band."""
SURROUND, FLOOR = 2.5, 4.0
"""Whitening: how far about a pixel its contrast is taken from, and the grey levels that count as none."""
TAPER = 0.2
"""Share of a side over which the window of the spectrum rises."""


@dataclass(frozen=True)
class Carriers:
    """The keyed patterns of one canonical size.

    Attributes:
        signs: float32 (S, S), -1 or 1 for each chip of a square plane, whose middle is the picture's.
        owners: int16 (S, S), the bit a chip belongs to, -1 for the pilot.
        tones: float64 (24, 2), frequencies down and across in cycles per canonical pixel, upper half-plane.
    """

    signs: np.ndarray
    owners: np.ndarray
    tones: np.ndarray

    def middle(self, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Signs and owners under a picture of a canonical shape (h, w)."""
        top, left = ((self.signs.shape[0] - side) // 2 for side in shape)
        inside = (slice(top, top + shape[0]), slice(left, left + shape[1]))
        return self.signs[inside], self.owners[inside]


@lru_cache(maxsize=6)
def carriers(key: bytes, level: int) -> Carriers:
    """The patterns of a key for a canonical size, from SHAKE-256: the same on every machine, for ever."""
    side = round((PLANE - 0.25) * level) + level // 4
    seed = key + level.to_bytes(2, "big")
    drawn = np.frombuffer(hashlib.shake_256(b"twinset chips" + seed).digest(2 * side * side), "<u2").reshape(side, side)
    owners = ((drawn & 0x7FFF) % (CODE_BITS + PILOT)).astype(np.int16)
    owners[owners >= CODE_BITS] = -1
    signs = np.where(drawn >> 15, 1, -1).astype(np.float32)
    return Carriers(signs, owners, _tones(b"twinset tones" + seed))


def _tones(seed: bytes) -> np.ndarray:
    """Frequencies spread over half a ring, one in each of as many sectors, no two at mirrored places."""
    drawn = np.frombuffer(hashlib.shake_256(seed).digest(8 * TONES), "<u4").reshape(TONES, 2) / 2.0**32
    angle = np.pi * (np.arange(TONES) + 0.1 + 0.8 * drawn[:, 0]) / TONES
    low, high = (radius**2 for radius in TONE_RADII)
    radius = np.sqrt(low + (high - low) * drawn[:, 1])
    return np.stack([radius * np.sin(angle), radius * np.cos(angle)], 1)


def level_of(size: tuple[int, int]) -> int:
    """The canonical size of a picture (width, height) that is marked now."""
    return max(level for level, least in LEVELS.items() if min(size) >= least)


def canonical(luminance: np.ndarray, level: int) -> np.ndarray:
    """Luminance, float (H, W), on the canonical grid: float32 (h, w), the shorter side `level` long."""
    scale = level / min(luminance.shape)
    size = tuple(round(side * scale) for side in luminance.shape[::-1])
    grid = np.asarray(Image.fromarray(luminance.astype(np.float32)).resize(size, Image.Resampling.BICUBIC))
    extra = [max(0, side - round(LONGEST * level)) for side in grid.shape]
    return grid[
        extra[0] // 2 : grid.shape[0] - (extra[0] + 1) // 2, extra[1] // 2 : grid.shape[1] - (extra[1] + 1) // 2
    ]


def in_band(grid: np.ndarray) -> np.ndarray:
    """A canonical picture's part within the mark's band, by a difference of Gaussians."""
    return gaussian_filter(grid, NARROW) - gaussian_filter(grid, WIDE)


def whitened(grid: np.ndarray) -> np.ndarray:
    """What chips and tones are looked for in: the band, each pixel weighed by how little is going on about it.

    Dividing by the local variance is the most likely detector's weight where the picture is Gaussian noise of known
    variance at each pixel (Hernández and Pérez-González 1999): edges are few and strong, and tell little.
    """
    band = in_band(grid)
    return band * FLOOR / (gaussian_filter(band**2, SURROUND) + FLOOR**2)


def windowed(values: np.ndarray) -> np.ndarray:
    """Values fading to nothing at the picture's rim (Tukey's window), so that the rim is in no spectrum."""
    sides = [np.minimum(np.arange(n) + 0.5, n - np.arange(n) - 0.5) / (TAPER * n) for n in values.shape]
    down, across = (0.5 - 0.5 * np.cos(np.pi * np.minimum(side, 1)) for side in sides)
    return values * np.outer(down, across)


def power_spectrum(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Spectrum of whitened values, and how strong each of its places is beside its neighbourhood.

    Returns:
        complex64 (2h, 2w) by `scipy.fft.fft2` of the windowed values, zeros after them, and float32 (2h, 2w):
        squared magnitude by the mean about it, about Exp(1) where there is no tone.
    """
    found = np.asarray(fft2(windowed(values).astype(np.float32), [2 * n for n in values.shape]))
    power = np.abs(found) ** 2
    capped = np.minimum(power, 4 * uniform_filter(power, 17, mode="wrap"))  # a tone is not its own neighbourhood
    return found, power / (uniform_filter(capped, 23, mode="wrap") + 1e-12)


def at_frequencies(spectrum: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """A spectrum's values nearest to frequencies (..., 2), cycles per canonical pixel."""
    places = np.rint(frequencies * spectrum.shape).astype(int)
    return spectrum[places[..., 0] % spectrum.shape[0], places[..., 1] % spectrum.shape[1]]


def correlations(values: np.ndarray, signs: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """How far whitened values, once more in the band, agree with the chips of each bit and, last, of the pilot.

    Over keys that a picture was not marked with each is N(0, 1), whatever the picture: a sum with random signs, by its
    own standard deviation. The pilot's threshold rests on that.

    Args:
        values: float (h, w).
        signs: float (h, w), see `Carriers`.
        owners: int (h, w).

    Returns:
        float64 (109,).
    """
    place = np.where(owners < 0, CODE_BITS, owners).ravel()
    total = np.bincount(place, (values * signs).ravel(), CODE_BITS + 1)
    return total / np.sqrt(np.bincount(place, (values**2).ravel(), CODE_BITS + 1) + 1e-9)


def luma(picture: np.ndarray) -> np.ndarray:
    """ITU-R BT.601 luma of uint8 (H, W, 3), float32 (H, W) in 0 to 255."""
    return picture.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
