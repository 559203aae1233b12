"""Reading the pixel mark from a picture that has been through something.

On each canonical size that the picture may have been marked on, tones tell of scale and turn, the pilot of the shift,
and the chips are read where both say; the mirrored picture likewise. What is found counts only where the pilot stands
out and the payload's check holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.fft import irfft2, next_fast_len, rfft2
from scipy.ndimage import affine_transform, spline_filter

from twinset.compliance.labels.carriers import (
    LEVELS,
    LONGEST,
    OUTSTANDING,
    Carriers,
    at_frequencies,
    canonical,
    carriers,
    correlations,
    in_band,
    luma,
    power_spectrum,
    whitened,
)
from twinset.compliance.labels.code import CODE_BITS, decode_payload
from twinset.compliance.labels.content import MOST_DIFFERING, content_code, differing

THRESHOLD = 5.5
"""Correlation of the pilot in standard deviations.

An unmarked picture passes by chance with at most p = 3 sizes * 2 mirror images * 5 geometries * N shifts *
Q(5.5) / 65536.
The normal tail Q(5.5) is 1.9e-8, the check holds by chance once in 65536, and N is at most 11,500. That is 1.0e-7 for
each picture, were all geometries tried; without tones that stand out only one is.
"""
WORTH_A_LOOK = 4.6
"""A pilot below is not looked at closer; by chance one in some hundred pictures is."""
SCALES, TURN = (0.93, 1.19), 0.056
"""Magnifications since marking, beyond what fitting the canonical size undoes, and radians turned at most."""
SHIFT = 0.065
"""Largest shift tried, by the canonical sides, both ways."""
REDUCED = (0.45, 2.2)
"""By how much the picture's shorter side may have changed."""
TONES_THRESHOLD, BEST = 56.0, 4
"""What the tones' powers must sum to, where chance gives 24 with a spread of 5, in the best of 5,000 geometries some
45; and how many geometries are taken of those that reach it."""


@dataclass(frozen=True)
class Found:
    """A mark that was read.

    Attributes:
        payload: 0 to 2^32 - 1.
        pilot: Its correlation in standard deviations; chance reaches `THRESHOLD` in no picture.
        scale: How much larger things are than when it was marked, on the canonical grid.
        turn: Degrees, clockwise.
        mirrored: Left and right were changed.
        content: Code of what the picture shows, see `twinset.compliance.labels.content`; the payload says the code of
            the picture that was marked.
    """

    payload: int
    pilot: float
    scale: float
    turn: float
    mirrored: bool
    content: int

    @property
    def bound(self) -> bool:
        """Whether it was laid into this picture: a mark that was lifted from another one says the other's code."""
        return differing(self.payload, self.content) <= MOST_DIFFERING


@dataclass(frozen=True)
class _Geometry:
    """Where a place of the marked picture, from its middle, is now: matrix @ place + shift."""

    scale: float = 1.0
    turn: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)

    @property
    def matrix(self) -> np.ndarray:
        """float (2, 2)."""
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        return self.scale * np.array([[cos, sin], [-sin, cos]])

    def moved(self, name: str, by: float) -> _Geometry:
        """The geometry with its `scale`, its `turn`, or its shift `down` or `across` changed."""
        down, across = self.shift
        if name == "down":
            return replace(self, shift=(down + by, across))
        if name == "across":
            return replace(self, shift=(down, across + by))
        return replace(self, **{name: getattr(self, name) + by})


def find_mark(picture: np.ndarray, key: bytes) -> Found | None:
    """The mark of a picture, or None where there is none.

    Args:
        picture: uint8 (H, W, 3).
        key: As it was marked with.
    """
    grey = luma(picture)
    for level in _levels(min(grey.shape)):
        grid, patterns = canonical(grey, level), carriers(key, level)
        values = whitened(grid)
        if not values.any():
            continue
        ratios = power_spectrum(values)[1]
        for mirrored in (False, True):
            flipped = (values[:, ::-1], grid[:, ::-1]) if mirrored else (values, grid)
            view = _View(in_band(flipped[0]), patterns, flipped[1], key, level)
            found = view.read(_guesses(ratios, patterns.tones, mirrored))
            if found is not None:
                return replace(found, mirrored=mirrored)
    return None


def _levels(side: int) -> list[int]:
    """Canonical sizes of pictures that may have had this shorter side in the end, the likeliest first."""
    least, most = side / REDUCED[1], side / REDUCED[0]
    ends = [*list(LEVELS.values())[1:], np.inf]
    fitting = [level for (level, start), end in zip(LEVELS.items(), ends, strict=True) if start <= most and end > least]
    return sorted(fitting, key=lambda level: not LEVELS[level] <= side < ends[list(LEVELS).index(level)])


def _guesses(ratios: np.ndarray, tones: np.ndarray, mirrored: bool) -> Iterator[_Geometry]:
    """As it was, then the scales and turns, of the mirror image, at which the tones stand out, if they do."""
    yield _Geometry()
    step = 0.35 / (0.25 * min(ratios.shape) / 2)  # a third of the spectrum's resolution at the outer tones
    scales, turns = np.arange(*SCALES, step), np.arange(-TURN, TURN + step / 2, step)
    cos, sin = np.cos(turns), np.sin(turns)
    turned = np.einsum("ijt,kj->tki", np.array([[cos, sin], [-sin, cos]]), tones) / scales[:, None, None, None]
    turned *= (1, -1 if mirrored else 1)  # the spectrum is that of the picture as it is
    stands = np.minimum(at_frequencies(ratios, turned), OUTSTANDING).sum(-1)
    for _ in range(BEST):
        best = np.unravel_index(stands.argmax(), stands.shape)
        if stands[best] < TONES_THRESHOLD:
            return
        yield _Geometry(float(scales[best[0]]), float(turns[best[1]]))
        stands[max(0, best[0] - 2) : best[0] + 3, max(0, best[1] - 2) : best[1] + 3] = 0


@dataclass(frozen=True)
class _View:
    """Whitened values of a picture or its mirror image, once more in the band, and the patterns to look for.

    Attributes:
        values: float (h, w).
        patterns: Of this canonical size.
        grid: float (h, w), luminance, likewise mirrored or not.
        key: Of the mark.
        level: The canonical size.
    """

    values: np.ndarray
    patterns: Carriers
    grid: np.ndarray
    key: bytes
    level: int

    def read(self, guesses: Iterator[_Geometry]) -> Found | None:
        """The mark under the first guess at which it can be read."""
        for guess in guesses:
            pilot, placed = self._shifted(guess)
            if pilot < WORTH_A_LOOK:
                continue
            found = self._decoded(placed) or self._decoded(self._closer(placed))
            if found is not None:
                return found
        return None

    def _decoded(self, geometry: _Geometry) -> Found | None:
        scores = self._scores(geometry)
        payload = decode_payload(scores[:CODE_BITS]) if scores[CODE_BITS] >= THRESHOLD else None
        if payload is None:
            return None
        content = content_code(self.grid, self.key, self.level, geometry.matrix, geometry.shift)
        turn = float(np.degrees(geometry.turn))
        return Found(payload, float(scores[CODE_BITS]), geometry.scale, turn, False, content)

    def _shifted(self, guess: _Geometry) -> tuple[float, _Geometry]:
        """The pilot's greatest correlation over all shifts (by Fourier transform), and the geometry with that shift."""
        now = self._as_marked(guess).astype(np.float32)
        reach = np.array([round(SHIFT * side) for side in self.values.shape])
        around = (now.shape[0] + 2 * int(reach[0]), now.shape[1] + 2 * int(reach[1]))
        signs, owners = self.patterns.middle(around)
        size = [next_fast_len(side, real=True) for side in around]
        pilot = np.where(owners < 0, signs, 0).astype(np.float32)
        agrees = np.asarray(irfft2(np.asarray(rfft2(pilot, size)) * np.conj(np.asarray(rfft2(now, size))), size))
        agrees = agrees[: 2 * reach[0] + 1, : 2 * reach[1] + 1]
        best = np.unravel_index(agrees.argmax(), agrees.shape)
        spread = np.sqrt((now**2).sum() * (owners < 0).mean()) + 1e-9
        down, across = -guess.matrix @ (np.array(best) - reach)
        return float(agrees[best] / spread), replace(guess, shift=(float(down), float(across)))

    def _closer(self, geometry: _Geometry) -> _Geometry:
        """The geometry about a first guess at which the pilot correlates most, by steps that halve."""
        best, turning = self._scores(geometry)[CODE_BITS], 0.4 / (0.25 * min(self.values.shape))
        for size in (1.0, 0.5, 0.25):
            for name, step in (("turn", turning), ("scale", turning), ("down", 0.8), ("across", 0.8)):
                for by in (size * step, -size * step):
                    tried = geometry.moved(name, by)
                    score = self._scores(tried)[CODE_BITS]
                    if score > best:
                        best, geometry = score, tried
                        break
        return geometry

    def _scores(self, geometry: _Geometry) -> np.ndarray:
        values = self._as_marked(geometry)
        return correlations(values, *self.patterns.middle((values.shape[0], values.shape[1])))

    def _as_marked(self, geometry: _Geometry) -> np.ndarray:
        """The values on the grid on which they were marked, zeros beyond what is left of it."""
        if geometry == _Geometry():
            return self.values
        most = round(LONGEST * min(self.values.shape))
        shape = tuple(min(round(side / geometry.scale), most) for side in self.values.shape)
        middle, now = (np.array([(side - 1) / 2 for side in sides]) for sides in (shape, self.values.shape))
        offset = now + geometry.shift - geometry.matrix @ middle
        return affine_transform(
            self._spline,
            geometry.matrix,
            offset,  # type: ignore[arg-type]
            shape,
            order=3,
            prefilter=False,
        )

    @cached_property
    def _spline(self) -> np.ndarray:
        return spline_filter(self.values, order=3, mode="mirror")
