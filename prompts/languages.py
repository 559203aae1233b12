"""Sentences in Japanese and in European languages, word by word in English; traditional Chinese as simplified."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import cache
from typing import Any

from twinset.prompts.vocabulary.other_languages import EUROPEAN, JAPANESE, JAPANESE_PARTICLES

FEWEST_WORDS = 2
"""Words of a language from which a text is taken to hold it; one alone may be English ("robe", "rose")."""
ENGLISH_TOO = frozenset((
    "rock", "hut", "court", "pull", "camera", "mar", "bone", "rose", "roses", "orange", "oranges", "violet", "jean",
    "robe", "robes", "costume", "veste", "chemise", "sac", "scene", "surprise", "brun", "park", "parc", "danse",
    "marche", "porte", "triste", "rue", "mare", "sweat", "moustache", "barbe", "con", "com", "completo", "viola",
    "rosa", "ernst", "alt", "lang", "schal", "balla", "traje", "felpa", "talons", "marron", "neve", "junge",
    "sombrero", "terno", "corse", "corre", "blu", "blond", "bonnet", "nero", "lila", "jung", "salto", "saltos",
    "verde", "mann", "serious", "bureau", "basket", "baskets", "jersey",
))  # fmt: skip
"""Words of the tables that English, or an English name, has too: they do not tell the language."""
_KANA = re.compile("[\u3041-\u3096\u30a1-\u30fa]")
_WITHOUT = re.compile(
    r"([^\s,、。，]+?)(?:は|を|が)?(?:なし|無し|抜き|いらない|不要|(?:かぶ|被)らない|かけない|つけない|着けない)"
)
_ADJECTIVES = frozenset((
    "red", "blue", "green", "yellow", "black", "white", "grey", "pink", "purple", "orange", "brown", "blonde", "beige",
    "long", "short", "curly",
))  # fmt: skip
_SHORT = frozenset((
    "a", "of", "in", "on", "the", "and", "at", "with", "without", "at the", "on the", "in the",
))  # fmt: skip


def anglicised(text: str) -> tuple[str, str]:
    """A text with the common words of another language in English, and that language; "" where there is none.

    Word order is that of the text, apart from adjectives behind their noun ("vestido rojo").
    """
    if _KANA.search(text):
        return _from_japanese(unicodedata.normalize("NFKC", text)), "Japanese"
    words = re.findall(r"[^\W\d_]+(?:-[^\W\d_]+)*", text)
    scores = {language: _known_words(words, language) for language in EUROPEAN}
    language = max(scores, key=lambda name: scores[name])
    return (_from_european(text, language), language) if scores[language] >= FEWEST_WORDS else (text, "")


def simplified(text: str) -> str:
    """Traditional Chinese in the characters and the words of the mainland; other text as it is."""
    if not re.search("[\u4e00-\u9fff]", text):
        return text
    return re.sub("(?<=[穿戴拿背站坐笑看带走靠抱披])著", "着", _converter().convert(text))


@cache
def _converter() -> Any:
    from opencc import OpenCC

    return OpenCC("tw2sp")


@cache
def _of_japanese_kanji() -> Any:
    from opencc import OpenCC

    return OpenCC("jp2t")


def _from_japanese(text: str) -> str:
    text = _WITHOUT.sub(r"no \1", text)
    for word in sorted(JAPANESE, key=len, reverse=True):
        text = text.replace(word, f" {JAPANESE[word]} ")
    text = re.sub(r"(?<![\u3041-\u30fc\u4e00-\u9fff])と(?![\u3041-\u30fc\u4e00-\u9fff])", " and ", text)
    particles = "|".join(JAPANESE_PARTICLES)
    text = re.sub(rf"(?<![\u3041-\u30fc\u4e00-\u9fff])(?:{particles})+(?![\u3041-\u30fc\u4e00-\u9fff])", " ", text)
    text = _of_japanese_kanji().convert(text).replace("、", ", ").replace("。", ". ")
    return re.sub(r"\s+([,.])", r"\1", re.sub(r"\s+", " ", text)).strip()


def _known_words(words: list[str], language: str) -> int:
    """How many different words of a text belong to a language and not to English as well."""
    from twinset.prompts.marks import is_english

    found = {word.lower() for word in words if not is_english(word.lower())} - ENGLISH_TOO
    return sum(_english(word, language) not in (None, *_SHORT) for word in found)


def _from_european(text: str, language: str) -> str:
    plain = _without_accents(text)
    for phrase, english in _phrases(language):
        plain = re.sub(rf"\b(?:{phrase})\b", english, plain, flags=re.I)
    tokens = re.split(r"([^\W\d_]+(?:-[^\W\d_]+)*)", plain)
    tokens[1::2] = [_english(word, language) or word for word in tokens[1::2]]
    return "".join(_adjectives_first(tokens))


def _adjectives_first(tokens: list[str]) -> list[str]:
    """ "dress red" → "red dress"; tokens are what stands between words, and words, in turn."""
    for place in range(1, len(tokens) - 2, 2):
        noun, gap, adjective = tokens[place : place + 3]
        before = tokens[place - 2] if place > 1 and tokens[place - 1].isspace() else ""
        if (
            gap.isspace()
            and adjective in _ADJECTIVES
            and noun not in (*_ADJECTIVES, *_SHORT)
            and before not in _ADJECTIVES
        ):
            tokens[place], tokens[place + 2] = adjective, noun
    return tokens


def _english(word: str, language: str) -> str | None:
    plain = _without_accents(word.lower())
    for pattern, english in _patterns(language).items():
        if re.fullmatch(pattern, plain):
            return english
    return None


def _without_accents(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))


@cache
def _patterns(language: str) -> Mapping[str, str]:
    ending = "(?:e|es|er|en|em|n|s)?" if language == "German" else ""
    adjectives = _ADJECTIVES if ending else ()
    table = EUROPEAN[language].items()
    return {
        f"(?:{pattern}){ending if english in adjectives else ''}": english
        for pattern, english in table
        if " " not in pattern
    }


@cache
def _phrases(language: str) -> tuple[tuple[str, str], ...]:
    return tuple((pattern, english) for pattern, english in EUROPEAN[language].items() if " " in pattern)
