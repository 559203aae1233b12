"""A user's sentence → what it asks for, and what the text encoder of a family reads.

`studio` was trained on captions in both languages and reads the sentence as it is. The full-size families read English:
Chinese is translated, what the sentence refuses goes from its words to the negative prompt, and `completed` adds what
is only seen in the pictures, and the words that such a family expects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from twinset.prompts.brief import Brief, read_brief
from twinset.prompts.chinese import in_english
from twinset.prompts.completion import NEGATIVE_WORDS, QUALITY_WORDS, missing_words
from twinset.prompts.conflicts import correct_words, follow_pictures
from twinset.prompts.languages import anglicised
from twinset.prompts.notation import read_notation
from twinset.prompts.refusals import without_refusals
from twinset.prompts.translation import is_chinese, translate
from twinset.prompts.undrawn import undrawn_notes
from twinset.prompts.weighting import is_weighted
from twinset.prompts.wildcards import one_of
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


def understand(
    text: str,
    family: str,
    seed: int = 0,
    shown: Mapping[str, Sequence[str]] | None = None,
    negative: str | None = None,
    raw: bool = False,
) -> Sentence:
    """Parse a sentence and write the prompts of a family.

    Args:
        text: English, Chinese or mixed; `{red|blue}` and `__name__` are expanded by the seed.
        family: "studio", "sd15" or "sdxl".
        seed: of the request.
        shown: garment kind to the colours of its photo, the main one first; where the words say a colour that the photo
            does not show, the photo wins.
        negative: the user's own negative prompt.
        raw: give the sentence to the text encoder as it stands; the brief is read all the same.

    Raises:
        InputError: a template cannot be read.
    """
    sentence = one_of(text, seed)
    brief, conflicts = follow_pictures(read_brief(sentence), shown or {})
    if raw:
        return Sentence(brief, sentence, negative)
    notation = read_notation(sentence)
    prompt, language = anglicised(notation.prompt)
    notes = [*notation.notes, *([f"read as {language}, word by word: {prompt!r}"] if language else [])]
    notes += [conflict.note for conflict in conflicts]
    sentence = correct_words(prompt, conflicts)
    negative = _listed([negative or "", notation.negative]) if notation.negative else negative
    if family == "studio":
        notes += undrawn_notes(brief)
        return Sentence(brief, _for_studio(sentence, brief), negative, tuple(notes))
    notes += [f"not understood, and left to the text encoder: {', '.join(brief.rest)}"] if brief.rest else []
    kept, chinese = without_refusals(sentence) if is_chinese(sentence) else (sentence, ())
    english = translate(kept)
    if english.translator != "none":
        notes.append(f"the prompt was translated into English by {english.translator}: {english.text!r}")
        notes += ["weights are not kept in translation; write in English to use them"] if is_weighted(sentence) else []
    prompt, refused = without_refusals(english.text)
    excluded = _listed([*(meaning.english for meaning in brief.unwanted), *map(in_english, chinese), *refused])
    if excluded:
        notes.append(f"what the prompt excludes went to the negative prompt: {excluded}")
    negative = _listed([*(negative or "").split(", "), *excluded.split(", ")])
    return Sentence(brief, prompt, negative or None, tuple(notes))


def completed(
    sentence: Sentence,
    family: str,
    shown: Mapping[str, Sequence[str]] | None = None,
    pose: str = "",
    framing: str = "",
) -> Sentence:
    """A sentence with what its prompts lack: a person, pictured garments, pose and framing, and a family's own words.

    Args:
        sentence: as `understand` read it.
        family: whose words are added; "studio" has none.
        shown: garment kind to the colours of its picture.
        pose: the preset that is drawn; "" for none.
        framing: how much of the body is drawn; "" to leave it open.
    """
    if family == "studio":
        return sentence
    before, after = missing_words(sentence.brief, sentence.prompt, shown or {}, pose, framing)
    prompt = _listed([*before, sentence.prompt, *after, QUALITY_WORDS[family]])
    negative = _listed([sentence.negative or "", *NEGATIVE_WORDS])
    note = f"the prompt is completed to {prompt!r}; --raw-prompt leaves it as it is"
    return replace(sentence, prompt=prompt, negative=negative, notes=(*sentence.notes, note))


def _listed(phrases: Sequence[str]) -> str:
    """Phrases in a row, each once, without empty ones."""
    return ", ".join(dict.fromkeys(filter(None, (phrase.strip(" ,") for phrase in phrases))))


def _for_studio(sentence: str, brief: Brief) -> str:
    """English as it is; Chinese in the phrases of the captions, of which 77 tokens hold three times as much."""
    if not is_chinese(sentence) or is_weighted(sentence):
        return sentence
    return write_prompts(brief, "studio").positive
