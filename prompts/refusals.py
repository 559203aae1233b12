"""What a sentence refuses, "no hat, no bag or glasses": where that stands, and the sentence without it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from twinset.prompts.marks import Mark, find_marks, normalise

_STOP = re.compile(r"[,.;:!?、。\n]|\b(?:but|just|only|with|wearing|in)\b|但|只|而|\band (?:an?|the) ")
_STOP_INSTEAD = re.compile(
    r"[,.;:!?、。\n]|\b(?:give|put|with|wear|wearing|and|but|in the|on the|at the|make|add)\b|,|而是|换"
)
_EXCHANGES = (
    re.compile(r"\b(?:swap|exchange|trade)\b(?P<old>[^,.;]*?)\bfor\b(?P<new>[^,.;]*)"),
    re.compile(r"\b(?:replace|substitute)\b(?P<old>[^,.;]*?)\b(?:with|by)\b(?P<new>[^,.;]*)"),
    re.compile(r"\b(?:change|turn|make)\b(?P<old>[^,.;]*?)\b(?:to|into)\b(?P<new>[^,.;]*?)(?= and |[,.;]|$)"),
    re.compile(r"\b(?:not|isn't)\b(?P<old>[^,.;]*?),? \bbut\b(?! (?:with|no|not|without)\b)(?P<new>[^,.;]*)"),
    re.compile(r"(?:不是|不要|并非)(?P<old>[^,.;，。]*?),?(?:而是|要的是|改成|换成)(?P<new>[^,.;，。]*)"),
    re.compile(r"(?:把|将)?(?P<old>[^,.;，。]*?)(?:都)?(?:换成|换为|改成|改为|变成|替换成|替换为)(?P<new>[^,.;，。]*)"),
)
_NOT_BUT = _EXCHANGES[3:5]
_OF_THE_PERSON = ("gender", "age", "pose", "expression", "count")
_JOINING = re.compile(r"\s*(?:(?:an?|the|any|or|and|[,、或和])\s*)*")
_LISTED = re.compile(r"\s*(?:\b(?:or|and|nor)\b|[,、或和])\s*")
MOST_UNKNOWN_WORDS = 3
LONGEST_UNKNOWN = 24
"""Words, and characters, after a negation that are taken for one thing although the glossary knows none of them."""


@dataclass(frozen=True)
class Refusal:
    """A negation and what it refuses.

    Attributes:
        start: index of the negation's first character.
        end: index after the last character of what is refused.
        marks: the glossary's words that are refused, without colours.
        things: what is refused, in words for a negative prompt.
    """

    start: int
    end: int
    marks: tuple[Mark, ...]
    things: tuple[str, ...]


def refused_marks(text: str, marks: tuple[Mark, ...]) -> tuple[Mark, ...]:
    """Marks of a normalised text that a negation before them refuses, up to the end of its clause."""
    return tuple(dict.fromkeys(mark for refusal in find_refusals(text, marks) for mark in refusal.marks))


def find_refusals(text: str, marks: tuple[Mark, ...]) -> tuple[Refusal, ...]:
    """The refusals of a normalised text with its marks, in order; a negation that refuses nothing is none."""
    found = (_refusal(text, marks, mark) for mark in marks if mark.meaning("not"))
    return tuple(refusal for refusal in found if refusal is not None)


@dataclass(frozen=True)
class _Exchange:
    """What is exchanged for something else: all of it, and both sides; `new` is empty after "instead of"."""

    whole: tuple[int, int]
    old: tuple[int, int]
    new: tuple[int, int]
    not_but: bool = False


def _exchanges(text: str, marks: tuple[Mark, ...]) -> list[_Exchange]:
    found = []
    for mark in marks:
        if mark.meaning("instead"):
            stop = _STOP_INSTEAD.search(text, mark.end)
            end = stop.start() if stop else len(text)
            found.append(_Exchange((mark.start, end), (mark.end, end), (end, end)))
    for pattern in _EXCHANGES:
        for match in pattern.finditer(text):
            found.append(_Exchange(match.span(), match.span("old"), match.span("new"), pattern in _NOT_BUT))
    return found


def dropped_marks(text: str, marks: tuple[Mark, ...]) -> tuple[Mark, ...]:
    """Marks of what is exchanged for something else: "the suit instead of the dress", 把裙子换成裤子.

    They are neither wanted nor refused. Where only a colour is put in its place ("change my jacket to green"), the
    thing stays and its colours go.
    """
    dropped: dict[Mark, None] = {}
    for exchange in _exchanges(text, marks):
        new = _between(marks, exchange.new)
        whole = exchange.new[0] == exchange.new[1] or any(not _is_look(mark) for mark in new)
        dropped |= dict.fromkeys(mark for mark in _between(marks, exchange.old) if whole or _is_look(mark))
    return tuple(dropped)


def exchanged_spans(text: str, marks: tuple[Mark, ...]) -> tuple[tuple[int, int], ...]:
    """Where the things stand that are exchanged for others."""
    return tuple(exchange.old for exchange in _exchanges(text, marks))


def without_exchanges(text: str) -> str:
    """A sentence without what is exchanged: "the suit instead of the dress" → "the suit"; any other as it is."""
    plain = normalise(text)
    marks = find_marks(plain)
    cuts = [cut for exchange in _exchanges(plain, marks) if (cut := _cut(plain, marks, exchange))]
    if not cuts:
        return text
    for (start, end), words in sorted(cuts, reverse=True):
        plain = plain[:start] + words + plain[end:]
    return _tidied(re.sub(r"\bnot but\b", "", plain))


def _cut(text: str, marks: tuple[Mark, ...], exchange: _Exchange) -> tuple[tuple[int, int], str] | None:
    """The characters to replace, and by what; None where a thing only changes its colour."""
    new = _between(marks, exchange.new)
    if exchange.new[0] == exchange.new[1] or any(not _is_look(mark) for mark in new):
        return exchange.whole, text[slice(*exchange.new)].strip()
    return (exchange.old, "") if new and exchange.not_but else None


def _between(marks: tuple[Mark, ...], span: tuple[int, int]) -> list[Mark]:
    return [mark for mark in marks if span[0] <= mark.start < span[1]]


def _is_look(mark: Mark) -> bool:
    return any(mark.meaning(field) for field in ("colour", "pattern", "material")) and not mark.meaning("garment")


def without_refusals(text: str) -> tuple[str, tuple[str, ...]]:
    """The sentence without its refusals, and what they refuse.

    A text that refuses nothing comes back as it is; another one may come back normalised.
    """
    text = without_exchanges(text)
    plain = normalise(text)
    refusals = find_refusals(plain, find_marks(plain))
    if not refusals:
        return text, ()
    kept = text if len(text) == len(plain) else plain
    for refusal in reversed(refusals):
        kept = kept[: refusal.start] + kept[refusal.end :]
    things = dict.fromkeys(thing for refusal in refusals for thing in refusal.things)
    return _tidied(kept), tuple(things)


def _refusal(text: str, marks: tuple[Mark, ...], negation: Mark) -> Refusal | None:
    stop = _STOP.search(text, negation.end)
    end = stop.start() if stop and stop.start() > negation.end else len(text)
    inside = _inside(text, marks, negation.end, end)
    named = tuple(mark for mark in inside if not mark.meaning("colour"))
    if named:
        end = named[-1].end + text[named[-1].end :].startswith("的")
        return Refusal(negation.start, end, named, _things(text, negation.end, end, named))
    following = next((mark.start for mark in marks if negation.end <= mark.start and mark not in inside), end)
    end = min(end, following)
    words = text[negation.end : end].strip()
    if not inside and not 0 < len(words.split()) <= MOST_UNKNOWN_WORDS:
        return None
    return Refusal(negation.start, end, (), tuple(filter(None, re.split(r" or |,|或", _without_article(words)))))


def _things(text: str, start: int, end: int, named: tuple[Mark, ...]) -> tuple[str, ...]:
    """What is refused in words, also what no glossary knows: "no dragon or sword"."""
    things: dict[str, None] = {}
    place = start
    for joint in [*_LISTED.finditer(text, start, end), None]:
        stop = joint.start() if joint else end
        inside = [mark.meanings[0].english for mark in named if place <= mark.start < stop]
        words = _without_article(text[place:stop].strip())
        unknown = [words] if 0 < len(words.split()) <= MOST_UNKNOWN_WORDS and len(words) <= LONGEST_UNKNOWN else []
        things |= dict.fromkeys(inside or unknown)
        place = joint.end() if joint else end
    return tuple(things)


def _inside(text: str, marks: tuple[Mark, ...], start: int, end: int) -> list[Mark]:
    """The marks of a negation's clause, up to one that is about the person again: "without an umbrella walking"."""
    inside: list[Mark] = []
    for mark in (mark for mark in marks if start <= mark.start < end and not mark.meaning("not")):
        between = text[inside[-1].end if inside else start : mark.start]
        joined = _JOINING.fullmatch(between) and (not inside or between.strip())
        if any(mark.meaning(field) for field in _OF_THE_PERSON) and not joined:
            break
        inside.append(mark)
        if text.startswith("的", mark.end) and not mark.meaning("colour"):  # 没有眼镜的男人
            break
    return inside


def _without_article(words: str) -> str:
    return re.sub(r"^(?:an?|the|any) ", "", words)


def _tidied(text: str) -> str:
    """A sentence from which clauses were cut, without the commas and blanks that they leave."""
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r"\b(?:with|and|or|but|is|are)\s*(?=[,.;]|$)|(?:^|(?<=[,.;] ))(?:and|or|but)\b", "", text)
    text = re.sub(r"\bwith (?=(?:in|on|at|by)\b)", "", text)
    text = re.sub(r"\s*([,，、;；])(?:\s*[,，、;；])+", r"\1", text)
    return re.sub(r"\s+([,.，。])", r"\1", text).strip(" ,，、;；")
