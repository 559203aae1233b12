"""What captions say: fitting them into CLIP's 77 tokens, and which attributes they mention."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from transformers import CLIPTokenizer

from twinset.models.clip import LENGTH
from twinset.training.mannequin.attributes import ATTRIBUTES
from twinset.training.mannequin.words import CHINESE, ENGLISH, CaptionWords

#: Languages of the columns of a store's `captions`: full, full, plain, plain.
LANGUAGES = (ENGLISH, CHINESE, ENGLISH, CHINESE)


def shortened(text: str, tokenizer: CLIPTokenizer, rng: np.random.Generator) -> str:
    """Leaves clauses out at random until a text fits into CLIP's 77 tokens; English nearly always fits whole.

    CLIP's vocabulary spells a Chinese character in about three tokens, so a full Chinese caption takes about 100:
    cutting its end off would mean that scene and light are never learnt in Chinese.
    """
    comma = "，" if "，" in text else ", "
    clauses = text.split(comma)
    lengths = [_tokens(tokenizer, clause + comma) for clause in clauses]
    while sum(lengths) > LENGTH - 2 and len(clauses) > 1:
        gone = int(rng.integers(len(clauses)))
        del clauses[gone], lengths[gone]
    return comma.join(clauses)


@lru_cache(maxsize=100_000)
def _tokens(tokenizer: CLIPTokenizer, text: str) -> int:
    # truncating as token_ids does, because a change of this would be a change of state between two threads
    return len(tokenizer(text, truncation=True, max_length=LENGTH).input_ids) - 2


def mentioned_attributes(text: str, values: Sequence[int] | np.ndarray, column: int) -> list[bool]:
    """Which attributes a caption mentions.

    Args:
        text: Caption, perhaps shortened.
        values: Class indexes in the order of ATTRIBUTES.
        column: Column of `captions` it is from; 2 and 3 are plain: garments have no colour, pattern or logo.

    Returns:
        A truth value per attribute.
    """
    words = LANGUAGES[column]
    names = {name: classes[int(k)] for (name, classes), k in zip(ATTRIBUTES.items(), values, strict=True)}
    phrases = _phrases(names, words, plain=column >= 2)
    return [any(re.search(pattern, text) for pattern in phrases.get(name, ())) for name in ATTRIBUTES]


def _phrases(names: Mapping[str, str], words: CaptionWords, plain: bool) -> dict[str, tuple[str, ...]]:
    """Regular expressions, any of which says an attribute; none for those that the language leaves open."""
    length, hair_colour = words.lengths[names["hair_length"]], words.hair_colours[names["hair_colour"]]
    hair = (f"{length} {hair_colour} hair", f"{hair_colour} {length} hair", f"{hair_colour}的?{length}")
    phrases = {
        "hair_style": (words.styles[names["hair_style"]],),
        "hair_length": hair,
        "hair_colour": hair,
        "expression": words.expressions[names["expression"]],
        "scene": words.scenes[names["scene"]],
        "light": words.lights[names["light"]],
        "upper_kind": words.kinds[names["upper_kind"]],
        "lower_kind": words.kinds[names["lower_kind" if names["lower_kind"] != "none" else "upper_kind"]],
    }
    if not plain:
        upper = _dressed(names, "upper", names["upper_pattern"], words)
        mark = () if names["logo"] == "none" else (words.logos[names["logo"]],)
        phrases |= {"upper_colour": upper, "upper_pattern": upper, "logo": mark or upper}
        if names["lower_kind"] != "none":
            phrases["lower_colour"] = _dressed(names, "lower", None, words)
    return phrases


def _dressed(names: Mapping[str, str], slot: str, pattern: str | None, words: CaptionWords) -> tuple[str, ...]:
    """ "red striped shirt": colour, pattern (any where None) and each noun of the garment in a slot."""
    pieces = [words.patterns[pattern]] if pattern else ["(" + "|".join(words.patterns.values()) + ")"]
    front = [words.colours[names[f"{slot}_colour"]], *(piece for piece in pieces if piece)]
    joiner = words.joiner + ("?" if words.joiner else "")
    return tuple(joiner.join([*front, noun]) for noun in words.kinds[names[f"{slot}_kind"]])


def garment_caption(
    values: Sequence[int], heads: Mapping[str, Sequence[str]], chinese: bool, rng: np.random.Generator
) -> str:
    """Describes a flat garment picture: "a red striped dress on white"; one time in four without its looks.

    Args:
        values: Class indexes of kind, colour, pattern, logo; negative = unknown.
        heads: Their class names.
        chinese: The language.
        rng: Chooses the wording.
    """
    words = CHINESE if chinese else ENGLISH
    kind, colour, pattern, logo = (
        names[value] if value >= 0 else "" for names, value in zip(heads.values(), values, strict=True)
    )
    noun = words.kinds[kind][int(rng.integers(len(words.kinds[kind])))]
    if rng.random() < 0.25:
        phrase = noun
    else:
        phrase = words.joiner.join(w for w in (words.colours[colour], words.patterns.get(pattern, ""), noun) if w)
        if logo not in ("", "none"):
            phrase = words.with_logo.format(garment=phrase, logo=words.logos[logo])
    return phrase + "，白色背景" if chinese else words.article(phrase) + " on white"
