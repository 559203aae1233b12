"""Captions of a Spec in English and Chinese with varied wording."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from twinset.training.mannequin.spec import GarmentDesign, Spec
from twinset.training.mannequin.words import CHINESE, ENGLISH, CaptionWords


@dataclass(frozen=True)
class Captions:
    """One picture's captions; the plain ones name garments without colour, pattern or logo."""

    english: str
    chinese: str
    english_plain: str
    chinese_plain: str


def _pick(words: tuple[str, ...], rng: np.random.Generator) -> str:
    return words[int(rng.integers(len(words)))]


def _garment(garment: GarmentDesign, words: CaptionWords, noun: str, plain: bool) -> str:
    """ "red striped shirt with a star", or "shirt" when plain."""
    if plain:
        return noun
    pattern = words.patterns[garment.pattern]
    named = words.joiner.join(part for part in (words.colours[garment.colour_name], pattern, noun) if part)
    return words.with_logo.format(garment=named, logo=words.logos[garment.logo]) if garment.logo else named


def _clauses(spec: Spec, words: CaptionWords, rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """(full, plain) lists of the caption's clauses in the same wording."""
    hair = _pick(words.hair, rng).format(
        length=words.lengths[spec.hair.length],
        colour=words.hair_colours[spec.hair.colour_name],
        style=words.styles[spec.hair.style],
    )
    chosen = {slot: _pick(words.kinds[garment.kind], rng) for slot, garment in spec.garments.items()}
    shoes = rng.random() < (0.8 if spec.framing == "full" else 0.25)
    shown = [slot for slot in spec.garments if slot != "shoes" or shoes]
    wearing = _pick(words.wearing, rng)
    clothes = []
    for plain in (False, True):
        phrases = [_garment(spec.garments[slot], words, chosen[slot], plain) for slot in shown]
        clothes.append(wearing.format(clothes=words.list_joiner.join(words.article(p) for p in phrases)))
    others = [
        _pick(words.expressions[spec.expression], rng), _pick(words.poses.get(spec.pose_name, words.poses["free"]), rng),
        _pick(words.scenes[spec.scene], rng), _pick(words.lights[spec.light.word], rng),
    ]  # fmt: skip
    order = rng.permutation(4) if rng.random() < 0.5 else np.arange(4)
    rest = [others[i] for i in order if i != 3 or rng.random() < 0.7]
    front = rng.random() < 0.5
    return tuple([hair, dressed, *rest] if front else [dressed, hair, *rest] for dressed in clothes)  # type: ignore[return-value]


def _caption(spec: Spec, words: CaptionWords, rng: np.random.Generator) -> tuple[str, str]:
    full, plain = _clauses(spec, words, rng)
    opening = _pick(words.openings, rng)
    return tuple(words.comma.join([opening, *clauses] if opening else clauses) for clauses in (full, plain))  # type: ignore[return-value]


def captions(spec: Spec, rng: np.random.Generator) -> Captions:
    """Draws the wording of one picture's captions."""
    english, english_plain = _caption(spec, ENGLISH, rng)
    chinese, chinese_plain = _caption(spec, CHINESE, rng)
    return Captions(english, chinese, english_plain, chinese_plain)
