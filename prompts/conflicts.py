"""Words against pictures: where a garment's photo shows another colour than the sentence names, the picture wins."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from twinset.prompts.brief import Brief, Garment, colour_words
from twinset.prompts.glossary import COLOUR_WORDS


@dataclass(frozen=True)
class Conflict:
    """A garment whose colour differs between the words and its photo.

    Attributes:
        kind: Garment kind.
        said: Colour in the words.
        shown: Main colour of the photo.
    """

    kind: str
    said: str
    shown: str

    @property
    def note(self) -> str:
        """One line for the user."""
        return f"{self.kind}: the words say {self.said}, the photo shows {self.shown}; the photo wins"


def find_conflicts(brief: Brief, shown: Mapping[str, Sequence[str]]) -> tuple[Conflict, ...]:
    """Colours in the words that a photo does not show.

    Args:
        brief: What the words say.
        shown: Garment kind to the English colour names of its photo, the main one first.
    """
    named = ((garment, [_key(name) for name in shown.get(garment.kind, ())]) for garment in brief.clothes)
    return tuple(
        Conflict(garment.kind, garment.colour, colours[0])
        for garment, colours in named
        if garment.colour and colours and colours[0] and garment.colour not in colours
    )


def _key(name: str) -> str:
    """The key of `COLOUR_WORDS` that a colour's name belongs to; "" where none does."""
    return next((key for key, words in COLOUR_WORDS.items() if name in words), "")


def follow_pictures(brief: Brief, shown: Mapping[str, Sequence[str]]) -> tuple[Brief, tuple[Conflict, ...]]:
    """The brief with the photos' colours wherever the words say otherwise, and those conflicts."""
    conflicts = find_conflicts(brief, shown)
    wrong = {(conflict.kind, conflict.said): conflict.shown for conflict in conflicts}
    return replace(brief, clothes=tuple(_follow(garment, wrong) for garment in brief.clothes)), conflicts


def _follow(garment: Garment, wrong: Mapping[tuple[str, str], str]) -> Garment:
    colour = wrong.get((garment.kind, garment.colour or ""))
    return replace(garment, colour=colour, shade=colour) if colour else garment


#: Colours as a Chinese sentence names them.
_CHINESE = {
    "red": "红色", "orange": "橙色", "yellow": "黄色", "green": "绿色", "teal": "青色", "blue": "蓝色",
    "navy": "藏青色", "purple": "紫色", "pink": "粉色", "brown": "棕色", "white": "白色", "grey": "灰色",
    "black": "黑色", "beige": "米色",
}  # fmt: skip


def correct_words(text: str, conflicts: tuple[Conflict, ...]) -> str:
    """The sentence with the colour words of conflicts replaced; a text without conflicts is returned as it is.

    The colour is put in the language of the word that it replaces. A sentence with conflicts comes back normalised
    (lower case, half-width).
    """
    if not conflicts:
        return text
    shown = {(conflict.kind, conflict.said): conflict.shown for conflict in conflicts}
    plain, words = colour_words(text)
    for word in reversed(words):
        colour = shown.get((word.kind, word.colour))
        if colour:
            chinese = not plain[word.start : word.end].isascii()
            plain = plain[: word.start] + (_CHINESE.get(colour, colour) if chinese else colour) + plain[word.end :]
    return plain


def without_colours(text: str, shown: Collection[str] = ()) -> str:
    """The sentence without the garments' colours, where a picture defines them instead.

    In words they reach more than the garment: at "red dress" the hair turns red too.

    Args:
        text: As given or corrected; one without such colours is returned as it is, another comes back normalised.
        shown: Garment kinds whose colours stay.
    """
    plain, words = colour_words(text)
    dropped = [word for word in words if word.kind not in shown]
    if not dropped:
        return text
    for word, following in reversed([*zip(dropped, [*dropped[1:], None], strict=True)]):
        between = plain[word.end : following.start] if following else ""
        end = following.start if following and re.fullmatch(r" ?(?:and|&|和|与) ?", between) else word.end
        plain = plain[: word.start] + re.sub(r"^的? ?", "", plain[end:])
    return plain
