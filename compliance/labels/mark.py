"""Laying the pixel mark into a picture.

Chips and tones are not added blindly. The detector looks at the picture while it is being marked, and each bit's
correlation is raised just as far as it has to go (informed embedding: Miller, Doërr and Cox 2004; Malvar and Florêncio
2003), so that what the picture itself holds along a carrier is made up for, and is no noise to the detector any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from twinset.compliance.labels.carriers import (
    OUTSTANDING,
    Carriers,
    at_frequencies,
    canonical,
    carriers,
    correlations,
    in_band,
    level_of,
    luma,
    power_spectrum,
    whitened,
    windowed,
)
from twinset.compliance.labels.code import CODE_BITS, encode_payload

LADDER = {
    4.0: 42.0, 3.4: 42.0, 2.9: 42.0, 2.5: 42.0, 2.1: 42.0, 1.8: 41.5, 1.5: 41.0, 1.3: 40.0, 1.1: 39.0, 0.9: 38.0,
    0.75: 38.0, 0.6: 38.0,
}  # fmt: skip
"""Correlation of each bit to reach, in standard deviations, → PSNR in dB that the picture must keep; the first is taken
where it does."""
PILOT, TONE = 9.0, 5.0
"""Correlation of the pilot to reach while the bits' is between 1.1 and 2.2, and the tones' mean power by that about
them."""
ROUNDS = 8
LEAST_TONE, FIRST_CHIPS, FIRST_TONES = 0.12, 4.0, 0.2
"""Grey levels: a weaker tone is lost in rounding; and what is tried first, to see how the detector answers."""


@dataclass(frozen=True)
class Marked:
    """A marked picture.

    Attributes:
        picture: uint8 (H, W, 3).
        psnr: dB against the unmarked picture, over the pixels that may change.
        margin: Correlation aimed at for each bit, in standard deviations, see `LADDER`.
    """

    picture: np.ndarray
    psnr: float
    margin: float


def mark_psnr(one: np.ndarray, other: np.ndarray) -> float:
    """Peak signal-to-noise ratio of two uint8 pictures of one shape, dB; infinite where they are equal."""
    error = float(np.mean((one.astype(np.float32) - other.astype(np.float32)) ** 2))
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def add_mark(picture: np.ndarray, payload: int, key: bytes, where: np.ndarray | None = None) -> Marked:
    """Mark a picture, invisibly and so that it is read again after JPEG, resizing, cropping and a slight turn.

    Args:
        picture: uint8 (H, W, 3).
        payload: 0 to 2^32 - 1.
        key: Decides where and how; the detector needs the same.
        where: bool (H, W), the pixels that may change; all of them when absent.
    """
    marking = _Marking(picture, encode_payload(payload), key, where)
    for margin, least in LADDER.items():
        marked = marking.at(margin)
        quality = mark_psnr(marked, picture) if where is None else mark_psnr(marked[where], picture[where])
        if quality >= least:
            break
    return Marked(marked, quality, margin)


@dataclass(frozen=True)
class _Marking:
    """One picture that is being marked with one codeword."""

    picture: np.ndarray
    word: np.ndarray
    key: bytes
    where: np.ndarray | None

    def at(self, margin: float) -> np.ndarray:
        """The picture with correlations raised to a margin, uint8 (H, W, 3)."""
        aims = np.append(np.full(CODE_BITS, margin), PILOT * np.clip(1.0, margin / 2.2, margin / 1.1))
        chips, tones, marked = np.zeros(CODE_BITS + 1), 0.0, self.picture
        for _ in range(ROUNDS):
            agrees, stands = self.seen(marked)
            chips = np.maximum(0, chips + 0.8 * (aims - agrees) / self.answers[0])
            tones = max(LEAST_TONE, tones + 0.7 * (TONE**0.5 - stands) / self.answers[1])
            marked = self.with_carriers(chips, tones)
        return marked

    def seen(self, picture: np.ndarray) -> tuple[np.ndarray, float]:
        """What the detector sees: correlations with the codeword's chips (109,), and how far the tones stand out."""
        values = whitened(canonical(luma(picture), self.level))
        found = correlations(in_band(values), *self.patterns.middle(self.shape)) * self.wanted
        powers = at_frequencies(power_spectrum(values)[1], self.patterns.tones)
        return found, float(np.minimum(powers, OUTSTANDING).mean() ** 0.5)

    def with_carriers(self, chips: np.ndarray, tones: float) -> np.ndarray:
        """The picture with chips of these strengths (109,) and tones all of one, in grey levels."""
        signs, owners = self.patterns.middle(self.shape)
        place = np.where(owners < 0, CODE_BITS, owners)
        waves = np.einsum("t,ty,tx->yx", tones * self.phases, *self.waves, optimize=True).real
        added = self._at_full_size(in_band(signs * (self.wanted * chips)[place]) + waves)
        if self.where is not None:
            added = added * self.where
        return np.rint(self.picture + added[..., None]).clip(0, 255).astype(np.uint8)

    def _at_full_size(self, grid: np.ndarray) -> np.ndarray:
        """A canonical grid on the picture's own; beyond the middle that is looked at there is nothing."""
        height, width = self.picture.shape[:2]
        scale = min(height, width) / self.level
        size = (min(width, round(self.shape[1] * scale)), min(height, round(self.shape[0] * scale)))
        part = Image.fromarray(grid.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
        whole = np.zeros((height, width), np.float32)
        top, left = (height - size[1]) // 2, (width - size[0]) // 2
        whole[top : top + size[1], left : left + size[0]] = np.asarray(part)
        return whole

    @cached_property
    def level(self) -> int:
        return level_of((self.picture.shape[1], self.picture.shape[0]))

    @cached_property
    def shape(self) -> tuple[int, int]:
        height, width = canonical(luma(self.picture), self.level).shape
        return height, width

    @cached_property
    def patterns(self) -> Carriers:
        return carriers(self.key, self.level)

    @cached_property
    def wanted(self) -> np.ndarray:
        """Signs of the codeword and of the pilot, (109,)."""
        return np.append(self.word, 1.0)

    @cached_property
    def waves(self) -> tuple[np.ndarray, np.ndarray]:
        """The tones' waves down and across, complex (24, h) and (24, w)."""
        down, across = (
            np.exp(2j * np.pi * np.outer(frequency, np.arange(n)))
            for frequency, n in zip(self.patterns.tones.T, self.shape, strict=True)
        )
        return down, across

    @cached_property
    def phases(self) -> np.ndarray:
        """The picture's own phase at each tone, which a tone takes so as to need the least: complex (24,)."""
        down, across = self.waves
        values = windowed(whitened(canonical(luma(self.picture), self.level)))
        sums = np.einsum("ty,yx,tx->t", down.conj(), values, across.conj(), optimize=True)
        return np.exp(1j * np.angle(sums))

    @cached_property
    def answers(self) -> tuple[np.ndarray, float]:
        """By how much correlations (109,) and tones rise for each grey level, bits on average."""
        none = np.zeros(CODE_BITS + 1)
        before = self.seen(self.picture)
        chips = self.seen(self.with_carriers(none + FIRST_CHIPS, 0.0))[0] - before[0]
        tones = self.seen(self.with_carriers(none, FIRST_TONES))[1] - before[1]
        rises = np.append(np.full(CODE_BITS, chips[:-1].mean()), chips[-1]) / FIRST_CHIPS
        return np.maximum(rises, 1e-3), max(tones / FIRST_TONES, 1e-3)
