"""Finds the glossary's words in a sentence: longest match first, typing errors corrected."""

from __future__ import annotations

import gzip
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageColor
from rapidfuzz.distance import OSA

from twinset.prompts.glossary import FIELDS
from twinset.prompts.languages import simplified
from twinset.prompts.notation import nearest_colour

#: English words that are one slip away from a glossary word and yet mean what they say.
ORDINARY = frozenset((
    "back", "line", "brow", "sort", "sorts", "coast", "boost", "scar", "lack", "reed", "tope", "chins", "place",
    "plate", "coal", "overcast", "overcome", "forecast", "foremost", "shoppers", "slippery",
))  # fmt: skip
_COMPOUND_COLOUR = re.compile(
    r"\w(?:red|blue|green|yellow|pink|purple|violet|orange|brown|white|black|gr[ea]y|goldenrod)$"
)
#: Fields whose words are recognised when misspelt.
MENDED = ("garment", "accessory", "colour", "pattern", "material")


@dataclass(frozen=True)
class Meaning:
    """What a glossary word stands for.

    Attributes:
        field: A key of `FIELDS`.
        key: A key of that field.
        english: The word in an English prompt.
    """

    field: str
    key: str
    english: str


@dataclass(frozen=True)
class Mark:
    """A glossary word in a text.

    Attributes:
        start: Index of its first character (of its last piece, when other words stand between).
        end: Index after its last character.
        meanings: All that it stands for; "girl" is a gender and an age.
        before: The first piece, "long" of "long red hair", when other words stand between; empty else.
    """

    start: int
    end: int
    meanings: tuple[Meaning, ...]
    before: tuple[int, int] = (0, 0)

    def meaning(self, field: str) -> Meaning | None:
        """What it stands for in one field."""
        return next((meaning for meaning in self.meanings if meaning.field == field), None)


def normalise(text: str) -> str:
    """Full-width characters as ordinary ones (NFKC), lower case, simplified Chinese, typing errors corrected.

    What runs into one in typing is parted: "redshirt", 红 裙 子.
    """
    plain = simplified(unicodedata.normalize("NFKC", text)).lower().replace("\u2019", "'")
    plain = re.sub(
        r"(?<=[\u4e00-\u9fff]) (?=[\u4e00-\u9fff] |[\u4e00-\u9fff]$)|(?<= [\u4e00-\u9fff]) (?=[\u4e00-\u9fff])",
        "",
        plain,
    )
    return re.sub(r"[a-z]{4,}", lambda match: mend(match[0]), plain, flags=re.ASCII)


def is_english(word: str) -> bool:
    """Whether a word in lower case is one of the glossary's English words, or its plural."""
    known, _ = _english_words()
    return word in known or word.rstrip("s") in known


@cache
def mend(word: str) -> str:
    """The correct spelling of a misspelt glossary word; any other word unchanged.

    At most one slip (two from 8 letters on) in the optimal string alignment distance, the same first letter, and in
    words of up to 5 letters no letter exchanged for another: "books" are no "boots".
    """
    known, targets = _english_words()
    if word in known or word.rstrip("s") in known or word.removesuffix("es") in known:
        return word
    if found := _css_colour(word) or _run_together(word):
        return found
    if word in ORDINARY or word in _frequent_words():
        return word
    allowed = 2 if len(word) >= 8 else 1
    near = [(OSA.distance(word, target), target) for target in targets if target[0] == word[0]]
    distance, best = min(near, default=(99, ""))
    substituted = len(word) == len(best) and sorted(word) != sorted(best)
    return word if distance > allowed or (len(word) <= 5 and substituted) else best


def _css_colour(word: str) -> str:
    """ "mediumseagreen" → the nearest colour with a name; "" for other words, and for those that mean other things."""
    code = ImageColor.colormap.get(word) if _COMPOUND_COLOUR.search(word) else None
    return nearest_colour(code) if isinstance(code, str) else ""


def _run_together(word: str) -> str:
    """ "redshirt" → "red shirt", "darkgreen" → "dark green"; "" for a word that is not run together so."""
    firsts, seconds = _halves()
    cuts = (cut for cut in range(3, len(word) - 2) if word[:cut] in firsts)
    return next((f"{word[:cut]} {word[cut:]}" for cut in cuts if word[cut:].removesuffix("s") in seconds), "")


def find_marks(text: str) -> tuple[Mark, ...]:
    """Glossary words of a normalised text in their order; a longer word hides the shorter ones inside it."""
    left, marks = text, []
    for probe, pattern, meanings in _patterns():
        if probe not in text:
            continue
        for match in pattern.finditer(left):
            pieces = [match.span(group) for group in range(1, pattern.groups + 1)]
            marks.append(Mark(*pieces[-1], meanings, pieces[0] if len(pieces) > 1 else (0, 0)))
            for start, end in pieces:
                left = left[:start] + "\0" * (end - start) + left[end:]
    kept = (mark for mark in marks if mark.meaning("hidden") is None)
    return tuple(sorted(kept, key=lambda mark: mark.start))


def uncovered(text: str, marks: tuple[Mark, ...]) -> str:
    """The text with every mark replaced by a bar."""
    for mark in marks:
        for start, end in ((mark.start, mark.end), mark.before):
            text = text[:start] + "|" * (end - start) + text[end:]
    return text


def _entries() -> Iterator[tuple[str, Meaning]]:
    for field, glossary in FIELDS.items():
        for key, words in glossary.items():
            for entry in words:
                word, _, english = entry.partition("=")
                yield simplified(word), Meaning(field, key, english or (word if word.isascii() else words[0]))


@cache
def _patterns() -> tuple[tuple[str, re.Pattern[str], tuple[Meaning, ...]], ...]:
    """Patterns of all words, the longest first, each literal piece a group; and characters that a match must hold."""
    meanings: dict[str, list[Meaning]] = {}
    for word, meaning in _entries():
        meanings.setdefault(word, []).append(meaning)
        meanings[word] += _gender_inside(word, meaning.field)
    longest = sorted(meanings, key=len, reverse=True)
    return tuple((word.split(" *")[0], _pattern(word), tuple(meanings[word])) for word in longest)


def _gender_inside(word: str, field: str) -> list[Meaning]:
    """What "hands on her hips" and "black woman" say besides."""
    if field not in ("pose", "age", "ethnicity", "count", "length"):
        return []
    female = re.search(r"\b(?:her|she|woman|girls?)\b|女", word)
    male = re.search(r"\b(?:his|he|man|boys?|guy)\b|男", word)
    found = [("female", "woman")] if female else [("male", "man")] if male else []
    return [Meaning("gender", key, english) for key, english in found]


def _pattern(word: str) -> re.Pattern[str]:
    """Whole English words, plural or not; Chinese wherever it stands."""
    if not word.isascii():
        return re.compile(f"({re.escape(word)})")
    pieces = [piece.strip() for piece in re.split(r"(?: \*)+ ", word)]
    stars = word.count("*")
    between = f"(?: [a-z-]+){{{stars}}} "
    body = between.join(f"({re.escape(piece)}{'(?:s|es)?' if piece is pieces[-1] else ''})" for piece in pieces)
    return re.compile(rf"(?<![a-z0-9-]){body}(?![a-z0-9])", re.ASCII)


@cache
def _halves() -> tuple[frozenset[str], frozenset[str]]:
    words = [(word, meaning.field) for word, meaning in _entries() if word.isalpha() and word.isascii()]
    colours = {word for word, field in words if field == "colour"}
    garments = {word.removesuffix("s") for word, field in words if field == "garment" and len(word) > 3}
    return frozenset(colours | {"long", "short", "dark", "light"}), frozenset(garments | colours | {"hair"})


@cache
def _frequent_words() -> frozenset[str]:
    """Words that are frequent on the web: whole tokens of CLIP's vocabulary, which comes with open-clip-torch."""
    package = find_spec("open_clip")
    folder = Path(package.origin).parent if package and package.origin else None
    path = folder / "bpe_simple_vocab_16e6.txt.gz" if folder else None
    if path is None or not path.is_file():
        return frozenset()
    merges = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")[1 : 49152 - 256 - 2 + 1]
    return frozenset(merge.replace(" ", "").removesuffix("</w>") for merge in merges if merge.endswith("</w>"))


@cache
def _english_words() -> tuple[frozenset[str], tuple[str, ...]]:
    """(all English words of the glossary, those that misspelt ones are compared with)."""
    known, targets = set(), set()
    for word, meaning in _entries():
        parts = re.findall(r"[a-z]+", word) if word.isascii() else []
        known.update(parts)
        targets.update(part for part in parts if meaning.field in MENDED and len(part) >= 4)
    return frozenset(known), tuple(sorted(targets))
