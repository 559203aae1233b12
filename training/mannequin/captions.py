"""Captions of a Spec in English and Chinese with varied wording."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from twinset.figure.drawing.hair import BALD
from twinset.training.mannequin.spec import GarmentDesign, Spec
from twinset.training.mannequin.words import CHINESE, ENGLISH, CaptionWords

#: Slots of the clothes that one clause names together; the others have clauses of their own.
CLOTHES = ("upper", "lower", "shoes")


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
    hair = _hair(spec, words, rng)
    chosen = {slot: _pick(words.kinds[spec.garments[slot].kind], rng) for slot in CLOTHES if slot in spec.garments}
    shoes = rng.random() < (0.8 if spec.framing == "full" else 0.25)
    shown = [slot for slot in chosen if slot != "shoes" or shoes]
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
    rest = [others[i] for i in order if i != 3 or spec.light.name or rng.random() < 0.7]
    front = rng.random() < 0.5
    extras = _extras(spec, words, rng.spawn(1)[0])
    heads = ([hair, dressed] if front else [dressed, hair] for dressed in clothes)
    return tuple([*head, *extra, *rest] for head, extra in zip(heads, extras, strict=True))  # type: ignore[return-value]


def _hair(spec: Spec, words: CaptionWords, rng: np.random.Generator) -> str:
    phrase = _pick(words.hair, rng)
    if spec.hair.style == BALD:
        return _pick(words.bald, rng)
    hair = spec.hair
    return phrase.format(
        length=words.lengths[hair.length], colour=words.hair_colours[hair.colour_name], style=words.styles[hair.style]
    )


def _extras(spec: Spec, words: CaptionWords, rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """(full, plain) clauses of beard, hat, eyewear and bag; what the framing hides is rarely named."""
    full = [_pick(words.beards[spec.beard], rng)] if spec.beard != "none" else []
    plain = list(full)
    for slot, phrases in words.accessories.items():
        garment = spec.garments.get(slot)
        hidden = slot == "bag" and spec.framing in ("portrait", "half")
        if garment is None or rng.random() < (0.75 if hidden else 0.1):
            continue
        noun, phrase = _pick(words.kinds[garment.kind], rng), _pick(phrases, rng)
        uncoloured = slot == "eyewear" and rng.random() < 0.6  # hardly anybody says a frame's colour
        for clauses, bare in ((full, uncoloured), (plain, True)):
            clauses.append(phrase.format(clothes=words.article(_garment(garment, words, noun, bare))))
    return full, plain


def _caption(spec: Spec, words: CaptionWords, rng: np.random.Generator) -> tuple[str, str]:
    full, plain = _clauses(spec, words, rng)
    opening = _pick(words.openings, rng)
    return tuple(words.comma.join([opening, *clauses] if opening else clauses) for clauses in (full, plain))  # type: ignore[return-value]


def captions(spec: Spec, rng: np.random.Generator) -> Captions:
    """Draws the wording of one picture's captions."""
    english, english_plain = _caption(spec, ENGLISH, rng)
    chinese, chinese_plain = _caption(spec, CHINESE, rng)
    return Captions(english, chinese, english_plain, chinese_plain)
