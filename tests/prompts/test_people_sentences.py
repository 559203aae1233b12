"""Sentences in the manner of people's own: the share that is understood, in each language."""

from __future__ import annotations

import tomllib
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from twinset.prompts.brief import Brief, Garment, read_brief
from twinset.prompts.glossary import GARMENT_WORDS
from twinset.prompts.sentence import understand

CASES = Path(__file__).with_name("cases")
FIELDS = {
    "gender": "gender", "length": "hair_length", "style": "hair_style", "hair_colour": "hair_colour", "beard": "beard",
    "expression": "expression", "pose": "pose", "scene": "scene", "light": "light",
}  # fmt: skip
"""Fields that must be empty where a case does not name them."""
LENIENT = ("age", "ethnicity", "art")
"""Fields that are compared only where a case names them: "girl" may say an age or not."""
HATS = ("straw_hat", "beanie", "cap")


def sentences(language: str, part: str) -> list[dict[str, Any]]:
    """The cases of a language: its odd ones, for development, or its even ones."""
    cases = tomllib.loads((CASES / f"{language}.toml").read_text(encoding="utf-8"))["p"]
    return cases[("odd", "even").index(part) :: 2]


def wrong_fields(case: dict[str, Any]) -> dict[str, object]:
    """What is read otherwise than a case asks, by field."""
    brief, want = read_brief(case["text"]), case["want"]
    wrong: dict[str, object] = {}
    for name, field in FIELDS.items():
        if not _fits(getattr(brief, field), want.get(name, "")):
            wrong[name] = getattr(brief, field)
    for name in LENIENT:
        if name in want and not _fits(getattr(brief, name), want[name]):
            wrong[name] = getattr(brief, name)
    if str(brief.count) not in str(want.get("count", 1)).split("|"):
        wrong["count"] = brief.count
    accessories = {piece.kind for piece in brief.accessories} | {piece.name for piece in brief.accessories}
    if not _matched(list(brief.clothes), want.get("garments", [])):
        wrong["garments"] = [_look(piece) for piece in brief.clothes]
    if any(not name.startswith("*") and name not in accessories for name in want.get("accessories", ())):
        wrong["accessories"] = accessories
    refused = set().union(*({key, *(("hat",) if key in HATS else ())} for key in brief.negatives))
    if not all(entry.startswith("*") or set(entry.split("|")) & {*refused, "*"} for entry in want.get("negatives", ())):
        wrong["negatives"] = brief.negatives
    if any(not _is_noted(words, brief, case["text"]) for words in want.get("noted", ())):
        wrong["noted"] = brief.rest
    return wrong


def _fits(value: str | None, wanted: str) -> bool:
    return (value or "") in wanted.split("|") or "*" in wanted.split("|")


def _look(piece: Garment) -> str:
    parts = (piece.kind, piece.colour, piece.pattern, piece.material)
    return ":".join(part or "" for part in parts).rstrip(":")


def _alternatives(entry: str) -> list[str]:
    """ "coat:blue|navy" → coat:blue, coat:navy."""
    found: list[str] = []
    for part in entry.removeprefix("*").split("|"):
        names_kind = ":" in part or part in GARMENT_WORDS or not found
        found.append(part if names_kind else f"{found[0].split(':')[0]}:{part}")
    return found


def _same(piece: Garment, wanted: str) -> bool:
    kind, *looks = wanted.split(":")
    looks += [""] * (3 - len(looks))
    said = (piece.colour, piece.pattern, piece.material)
    if piece.kind != kind and kind not in piece.name:
        return False
    return all(look in ("*", value or "") for value, look in zip(said, looks, strict=True))


def _matched(pieces: list[Garment], entries: list[str]) -> bool:
    """Whether every piece answers one entry and every entry that is not optional has its piece."""
    if len(pieces) > len(entries):
        return False
    optional = [entry.startswith("*") for entry in entries]
    return any(
        all(
            any(_same(pieces[index], each) for each in _alternatives(entry)) if index < len(pieces) else optional[place]
            for place, (entry, index) in enumerate(zip(entries, order, strict=True))
        )
        for order in permutations(range(len(entries)))
    )


def _is_noted(words: str, brief: Brief, text: str) -> bool:
    lines = " ".join((*brief.rest, *understand(text, "studio").notes)).lower()
    return any(word.lower() in lines for word in words.split("|"))


@pytest.mark.parametrize("part", ["odd", "even"])
@pytest.mark.parametrize("language", ["english", "chinese", "japanese"])
def test_the_share_of_sentences_that_is_understood(language: str, part: str) -> None:
    """Only the share is asserted, so that nobody tunes on a sentence of the even ones."""
    cases = sentences(language, part)
    right = sum(not wrong_fields(case) for case in cases)
    print(f"{language}, {part}: {right} of {len(cases)}")
    assert right / len(cases) >= 0.9
