"""Guidance over text, identity and garment: which branches of the network run, and with which coefficients.

    ε = ε_∅ + g_T (ε_T − ε_∅) + g_I (ε_TI − ε_T) + g_G (ε_TIG − ε_TI)

The sum is rearranged into one coefficient per branch; branches with the same inputs are merged and those with
coefficient 0 do not run. Equal weights leave two branches, as in classifier-free guidance (Ho & Salimans 2022).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Branch:
    """One evaluation of the network: with the prompt or the negative prompt, and with some kinds of condition."""

    prompted: bool
    kinds: tuple[str, ...]
    coefficient: float


@dataclass(frozen=True)
class Guidance:
    """Guidance weights; 1 everywhere means no guidance (a single branch).

    Attributes:
        text: g_T.
        identity, garment: g_I and g_G; None means as `text`.
        start, end: the part of the pass, as fractions, in which it acts (Kynkäänniemi 2024); else weights are 1.
    """

    text: float = 1.5
    identity: float | None = None
    garment: float | None = None
    start: float = 0.0
    end: float = 1.0

    def branches(self, present: Collection[str]) -> list[Branch]:
        """The branches to run when conditions of the kinds `present` are there."""
        return self._merged(self.text, self.identity, self.garment, present)

    def at(self, fraction: float, present: Collection[str]) -> list[Branch]:
        """The branches at a fraction of the pass: those of `branches`, or one alone outside the interval."""
        inside = self.start <= fraction <= self.end
        return self.branches(present) if inside else self._merged(1.0, None, None, present)

    @staticmethod
    def _merged(text: float, identity: float | None, garment: float | None, present: Collection[str]) -> list[Branch]:
        g_i = text if identity is None else identity
        g_g = text if garment is None else garment
        chain = [
            (False, (), 1 - text),
            (True, (), text - g_i),
            (True, ("identity",), g_i - g_g),
            (True, ("identity", "garment"), g_g),
        ]
        coefficients: dict[tuple[bool, tuple[str, ...]], float] = {}
        for prompted, kinds, coefficient in chain:
            key = (prompted, tuple(k for k in kinds if k in present))
            coefficients[key] = coefficients.get(key, 0.0) + coefficient
        return [Branch(*key, coefficient) for key, coefficient in coefficients.items() if abs(coefficient) > 1e-9]
