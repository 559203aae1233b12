"""Guidance over text, identity and garment: which branches of the network run, and with which coefficients.

    ε = ε_∅ + g_T (ε_T − ε_∅) + g_I (ε_TI − ε_T) + g_G (ε_TIG − ε_TI)

The sum is rearranged into one coefficient per branch; branches with the same inputs are merged and those with
coefficient 0 do not run. Equal weights leave two branches, as in classifier-free guidance (Ho & Salimans 2022).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from twinset.adapters.condition import acts

CHAIN = ("text", "identity", "garment")


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
        order: in which the three join; ("garment", "text", "identity") is MagicClothing's way, where a garment alone
            comes before the text.
    """

    text: float = 1.5
    identity: float | None = None
    garment: float | None = None
    start: float = 0.0
    end: float = 1.0
    order: tuple[str, ...] = CHAIN

    def __post_init__(self) -> None:
        if sorted(self.order) != sorted(CHAIN):
            raise ValueError(f"order = {self.order!r}: name {', '.join(CHAIN)}, each once")

    @classmethod
    def of(cls, scale: float | Guidance) -> Guidance:
        """A `Guidance` as it is; a number as diffusers understands it, where 1 and less mean none."""
        return scale if isinstance(scale, Guidance) else cls(text=max(1.0, scale))

    def branches(self, present: Collection[str]) -> list[Branch]:
        """The branches to run when conditions of the kinds `present` are there."""
        given = {"text": self.text, "identity": self.identity, "garment": self.garment}
        return self._merged({name: self.text if g is None else g for name, g in given.items()}, present)

    def at(self, step: int, steps: int, present: Collection[str]) -> list[Branch]:
        """The branches at a step of the pass: those of `branches`, or one alone outside the interval."""
        inside = acts(self.start, self.end, step, steps)
        return self.branches(present) if inside else self._merged(dict.fromkeys(CHAIN, 1.0), present)

    def _merged(self, weights: dict[str, float], present: Collection[str]) -> list[Branch]:
        """Coefficients 1 − g₁, g₁ − g₂, …, gₙ of the chain ∅, {1}, {1, 2}, …, in the batch's order."""
        falling = [1.0, *(weights[name] for name in self.order), 0.0]
        coefficients: dict[tuple[bool, tuple[str, ...]], float] = {}
        for joined in range(len(self.order) + 1):
            names = self.order[:joined]
            key = ("text" in names, tuple(k for k in CHAIN[1:] if k in names and k in present))
            coefficients[key] = coefficients.get(key, 0.0) + falling[joined] - falling[joined + 1]
        return [Branch(*key, coefficient) for key, coefficient in coefficients.items() if abs(coefficient) > 1e-9]
