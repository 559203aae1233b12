"""A user's sentence → what it asks for, and what the text encoder of a family reads.

`studio` was trained on captions in both languages and reads the sentence as it is. The full-size families read English:
Chinese is translated, and what the sentence refuses goes from its words to the negative prompt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from twinset.prompts.brief import Brief, read_brief
from twinset.prompts.conflicts import correct_words, follow_pictures
from twinset.prompts.translation import is_chinese, translate
from twinset.prompts.weighting import is_weighted, plain_words
from twinset.prompts.wildcards import expand
from twinset.prompts.wording import write_prompts


@dataclass(frozen=True)
class Sentence:
    """A parsed sentence and the prompts made of it.

    Attributes:
        brief: what it asks for.
        prompt: for the text encoder; may hold weights, "(red dress)1.3".
        negative: the negative prompt; None for none at all.
        notes: one line for each decision.
    """

    brief: Brief
    prompt: str
    negative: str | None = None
    notes: tuple[str, ...] = ()


def understand(text: str, family: str, seed: int = 0, shown: Mapping[str, Sequence[str]] | None = None) -> Sentence:
    """Parse a sentence and write the prompts of a family.

    Args:
        text: English, Chinese or mixed; `{red|blue}` and `__name__` are expanded by the seed.
        family: "studio", "sd15" or "sdxl".
        seed: of the request.
        shown: garment kind to the colours of its photo, the main one first; where the words say a colour that the photo
            does not show, the photo wins.

    Raises:
        InputError: a template cannot be read.
    """
    sentence = expand(text, seed) if re.search(r"[{}]|__", text) else text
    brief, conflicts = follow_pictures(read_brief(plain_words(sentence)), shown or {})
    notes = [conflict.note for conflict in conflicts]
    sentence = correct_words(sentence, conflicts)
    if family == "studio":
        return Sentence(brief, _for_studio(sentence, brief), None, tuple(notes))
    worded = write_prompts(brief, family)
    told = translate(sentence)
    if told.translator != "none":
        notes.append(f"the prompt was translated into English by {told.translator}: {told.text!r}")
    elif brief.unwanted:
        notes.append(f"what the prompt excludes went to the negative prompt; the prompt is now {worded.positive!r}")
    english = worded.positive if brief.unwanted else told.text
    return Sentence(brief, english, worded.negative, tuple(notes))


def _for_studio(sentence: str, brief: Brief) -> str:
    """English as it is; Chinese in the phrases of the captions, of which 77 tokens hold three times as much."""
    if not is_chinese(sentence) or is_weighted(sentence):
        return sentence
    return write_prompts(brief, "studio").positive
