"""Refusals leave the sentence; what stands around them stays."""

from __future__ import annotations

import pytest

from twinset.prompts.brief import read_brief
from twinset.prompts.refusals import without_refusals

CASES = {
    "short hair, red dress, beach": ("short hair, red dress, beach", ()),
    "short hair, red dress, beach, no hat": ("short hair, red dress, beach", ("hat",)),
    "a woman in red, no hat, no bag or glasses, smiling": ("a woman in red, smiling", ("hat", "bag", "glasses")),
    "No Umbrella in the rain, a Man in a Coat": ("in the rain, a Man in a Coat", ("umbrella",)),
    "a girl without an umbrella walking": ("a girl walking", ("umbrella",)),
    "a knight, no castle, no dragon or sword": ("a knight", ("castle", "dragon", "sword")),
    "a dress, not red": ("a dress", ("red",)),
    "not smiling or waving, beach": ("beach", ("smiling", "waving")),
    "a woman with no makeup in a park": ("a woman in a park", ("makeup",)),
    "no red hat and a blue dress": ("a blue dress", ("hat",)),
    "no one else around the table and she looks happy": ("no one else around the table and she looks happy", ()),
    "没有眼镜的男人穿着大衣": ("男人穿着大衣", ("glasses",)),
    "不要帽子，红裙": ("红裙", ("hat",)),
}


@pytest.mark.parametrize("text", CASES)
def test_a_sentence_without_its_refusals(text: str) -> None:
    assert without_refusals(text) == CASES[text]


def test_what_stands_behind_a_refused_thing_is_wanted() -> None:
    brief = read_brief("a girl without an umbrella walking")
    assert brief.pose == "walking" and brief.unwanted == ()
    assert read_brief("she is not smiling").expression is None
