"""Prompts of the full-size families: the user's sentence as it is, completed where it is bare."""

from __future__ import annotations

import pytest

from twinset.prompts.completion import NEGATIVE_WORDS, QUALITY_WORDS
from twinset.prompts.sentence import Sentence, completed, understand


def complete(text: str, family: str = "sd15", **given: object) -> Sentence:
    """A sentence as a picture of the family would be drawn from it."""
    return completed(understand(text, family), family, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
@pytest.mark.parametrize(
    "text",
    ["a woman in a red dress, cinematic, 35mm", "I stand on a castle wall, (golden hour:1.2)", "1girl, long_hair"],
)
def test_the_sentence_stays_word_for_word(family: str, text: str) -> None:
    made = complete(text, family)
    assert made.prompt == f"{text}, {QUALITY_WORDS[family]}"
    assert made.negative == ", ".join(NEGATIVE_WORDS)


def test_a_bare_sentence_gets_a_person_the_pictured_clothes_pose_and_framing() -> None:
    made = complete(
        "in the park", shown={"coat": ["navy"], "trousers": []}, pose="hands_on_hips:mirror", framing="full"
    )
    words = "a person, in the park, wearing a navy coat and trousers, hands on hips, full body, "
    assert made.prompt == words + QUALITY_WORDS["sd15"]
    assert repr(made.prompt) in made.notes[-1] and "--raw-prompt" in made.notes[-1]


def test_what_the_sentence_says_is_not_said_twice() -> None:
    made = complete("portrait of a man waving in a coat", shown={"coat": ["navy"]}, pose="waving", framing="portrait")
    assert made.prompt == f"portrait of a man waving in a coat, {QUALITY_WORDS['sd15']}"


def test_refusals_and_the_users_own_negative_prompt_come_first() -> None:
    made = completed(understand("a man, no hat, no castle", "sdxl", negative="cartoon, hat"), "sdxl")
    assert made.negative == ", ".join(("cartoon", "hat", "castle", *NEGATIVE_WORDS))
    assert made.prompt.startswith("a man, high quality")


def test_chinese_is_translated_and_completed() -> None:
    made = complete("穿着红色长裙站在海边，不要帽子")
    assert made.prompt.startswith("a person, red long dress") and made.prompt.isascii()
    assert made.negative is not None and made.negative.startswith("hat, ")


def test_a_raw_prompt_is_left_alone() -> None:
    raw = understand("红裙, no hat, (x:1.1)", "sd15", negative="fog", raw=True)
    assert (raw.prompt, raw.negative, raw.notes) == ("红裙, no hat, (x:1.1)", "fog", ())
    assert understand("red dress", "sd15", raw=True).negative is None


def test_the_bundled_model_gets_its_own_captions_and_the_users_negative_prompt() -> None:
    made = complete("red dress, beach", "studio")
    assert (made.prompt, made.negative) == ("red dress, beach", None)
    assert understand("red dress", "studio", negative="hat").negative == "hat"
