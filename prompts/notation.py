"""What people write in prompts besides words: weights, editing, LoRA tags, emoticons, escapes, colour codes.

Web UIs have notations of their own, whose meaning is documented by AUTOMATIC1111's and ComfyUI's wikis and by NovelAI.
All become words with compel's weights, "(red dress)1.3"; what has no counterpart is noted.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import partial

import numpy as np

from twinset.figure.colours import CLOTH, SHADES
from twinset.prompts.pasted import split_pasted
from twinset.prompts.weighting import Weighted, parse_weights, with_weights

_ESCAPED = {"\\(": "\ue000", "\\)": "\ue001", "\\[": "\ue002", "\\]": "\ue003", "\\{": "\ue004", "\\}": "\ue005"}
_LITERAL = {mark: escape[1] for escape, mark in _ESCAPED.items()}
_TAG = re.compile(r"<\s*(lora|lyco|locon|hypernet)\s*:\s*([^:<>]+)((?::[^<>]*)?)>", re.I)
_EMBEDDING = re.compile(r"\bembedding:[\w.\-]+", re.I)
_HEX = re.compile(r"#([0-9a-f]{6}|[0-9a-f]{3})(?![0-9a-z])", re.I)
_EDIT = re.compile(r"\[([^\[\]]*:\s*\d*\.?\d+\s*|[^\[\]]*\|[^\[\]]*)\]")
_EDGE = r"(?:^|(?<=[\s,，、。()\[\]{}]))", r"(?=$|[\s,，、。()\[\]{}])"
_FACES = {
    "smiling": r":-?[)\]]|:-?[dD]|=\)|\^[_.o]?\^|x[dD]|:3|\(:",
    "laughing": r":'\)|x'D",
    "sad": r":-?\(|[tT]_[tT]|;_;|:'\(|[qQ][aA_][qQ]",
    "winking": r";-?[)dD]",
    "surprised": r":-?[oO]|[oO]_+[oO]|0_0",
}  # fmt: skip
_OTHER_FACE = (
    r"[>^<xX@oO;=:TQ~u.+|*$-][_.\-]+[<>^xX@oO;=TQ~u.+|*$-]|>:?[()]|:-?[pPqQ/\\|<>*sStT]|\\[omO]/|<3|[:;]-?>|:<|>:\w"
)
_EMOJI = {
    "smiling": "😀😃😄😁😊🙂☺😇🥰😍",
    "laughing": "😂🤣😆",
    "sad": "😢😭☹🙁😞😔",
    "winking": "😉",
    "surprised": "😮😲😯",
}
_PICTOGRAMS = ("So", "Sk", "Cs", "Co")
_DRAWN_COLOURS = {**CLOTH, **SHADES}


@dataclass(frozen=True)
class Tag:
    """A LoRA that a prompt names, `<lora:name:0.8>`.

    Attributes:
        name: as written, without a folder.
        weight: 1 where none is written.
    """

    name: str
    weight: float = 1.0


@dataclass(frozen=True)
class Notation:
    """A prompt in plain words.

    Attributes:
        words: with their weights.
        source: the text itself where it holds no notation but weights and tags with underscores; "" else.
        negative: words of a pasted negative prompt; "" for none.
        tags: the LoRAs that it names.
        notes: one line for each thing that was changed or left out.
    """

    words: tuple[Weighted, ...]
    source: str = ""
    negative: str = ""
    tags: tuple[Tag, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def prompt(self) -> str:
        """For a text encoder: word for word where that is possible, else in compel's notation."""
        return self.source or with_weights(self.words).strip(" ,")

    @property
    def plain(self) -> str:
        """The words alone."""
        return "".join(piece.text for piece in self.words).strip(" ,")


def read_notation(text: str) -> Notation:
    """A prompt as people write it → plain words with weights; a sentence without any notation comes back as it is.

    Braces with variants, `{red|blue}`, are for `twinset.prompts.wildcards.expand`, which comes before.
    """
    pasted = split_pasted(text)
    notes: list[str] = []
    if pasted.left_over:
        notes.append(f"pasted settings that are not taken over: {', '.join(pasted.left_over)}")
    prompt = pasted.prompt
    for escape, mark in _ESCAPED.items():
        prompt = prompt.replace(escape, mark)
    tags = tuple(_tag(found) for found in _TAG.finditer(prompt))
    prompt = _TAG.sub(" ", prompt)
    for name in _EMBEDDING.findall(prompt):
        notes.append(f"{name} is left out: embeddings in prompts are not read")
    prompt = _without_editing(_joined(without_faces(_EMBEDDING.sub(" ", prompt))), notes)
    prompt = _HEX.sub(partial(_colour_name, notes=notes), prompt)
    words = tuple(Weighted(_spaced(_literal(piece.text)), piece.weight) for piece in parse_weights(prompt))
    negative = " ".join(read_notation(pasted.negative).plain.split()) if pasted.negative else ""
    if prompt == text:
        return Notation(words, text, negative, tags, tuple(notes))
    return Notation(_tidied(words), "", negative, tags, tuple(notes))


def nearest_colour(code: str) -> str:
    """The name of the drawn colour nearest to a code in CIELAB: "#ff0000" → scarlet.

    Args:
        code: "#rgb" or "#rrggbb".
    """
    from skimage.color import rgb2lab  # half a second, for the few prompts with codes

    digits = code.removeprefix("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    wanted = rgb2lab(np.array([int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]))
    names = list(_DRAWN_COLOURS)
    distances = np.linalg.norm(rgb2lab(np.array(list(_DRAWN_COLOURS.values())) / 255) - wanted, axis=-1)
    return names[int(distances.argmin())]


def braces_as_weights(text: str) -> str:
    """NovelAI's `{red dress}`, a weight of 1.05, apart from templates, `{red|blue}`; stray braces go."""
    emphasis = re.compile(r"\{((?:(?!__)[^{}|$])*)\}")
    while emphasis.search(text):
        text = emphasis.sub(r"(\1:1.05)", text)
    return text if re.search(r"\{[^}]*(?:[|$]|__)", text) else re.sub(r"[{}]", " ", text)


def _tag(found: re.Match[str]) -> Tag:
    weight = re.match(r":\s*(-?\d*\.?\d+)", found[3])
    return Tag(found[2].strip(), float(weight[1]) if weight else 1.0)


def _literal(text: str) -> str:
    for mark, character in _LITERAL.items():
        text = text.replace(mark, character)
    return text


def without_faces(text: str) -> str:
    """Emoticons and emoji as the expression that they show; other pictograms go."""
    for words, pattern in _FACES.items():
        text = re.sub(rf"{_EDGE[0]}(?:{pattern}){_EDGE[1]}", f", {words}, ", text)
    text = re.sub(rf"{_EDGE[0]}(?:{_OTHER_FACE}){_EDGE[1]}", " ", text)
    for words, emoji in _EMOJI.items():
        text = re.sub(f"[{emoji}]", f", {words}, ", text)
    return "".join(" " if _is_pictogram(character) else character for character in text)


def _is_pictogram(character: str) -> bool:
    if character.isascii() or "\ue000" <= character <= "\ue005":
        return False
    return unicodedata.category(character) in _PICTOGRAMS or character in "\ufe0f\u200d\u20e3"


def _joined(text: str) -> str:
    """BREAK and AND, which part a prompt, as commas; a sentence in capitals keeps its "and"."""
    text = re.sub(r"\s*,?\s*\bBREAK\b\s*,?", ", ", text)
    if not re.search(r"[a-z]|[^\x00-\x7f]", text):
        return text
    return re.sub(r"\s*,?\s*\bAND\b(?:\s*:\s*[\d.]+)?\s*,?", ", ", text)


def _without_editing(text: str, notes: list[str]) -> str:
    """`[cat:dog:0.5]`, `[cat|dog]` and their like as the part that is drawn for most of the steps."""
    while found := _EDIT.search(text):
        chosen = _longest_drawn(found[1])
        notes.append(
            f"{_literal(found[0])} changes between steps, which is not done here; {_literal(chosen)!r} is taken"
        )
        text = text[: found.start()] + chosen + text[found.end() :]
    return text


def _longest_drawn(editing: str) -> str:
    if "|" in editing and not re.search(r":\s*\d*\.?\d+\s*$", editing):
        return editing.split("|")[0].strip()
    *parts, when = re.split(r":(?![^()]*\))", editing)
    share = float(when) if float(when) <= 1 else 0.5
    before, after = (parts[0], parts[1]) if len(parts) > 1 else ("", parts[0])
    first = before.strip() and (share > 0.5 or not after.strip())
    return (before if first else after).strip()


def _colour_name(code: re.Match[str], notes: list[str]) -> str:
    name = nearest_colour(code[0])
    notes.append(f"{code[0]} is read as {name}, the nearest colour that is known by name")
    return name


def _spaced(text: str) -> str:
    """Tags with underscores as words."""
    return re.sub(r"(?<=[a-zA-Z0-9)])_+(?=[a-zA-Z0-9(])", " ", text) if "_" in text else text


def _tidied(words: tuple[Weighted, ...]) -> tuple[Weighted, ...]:
    """Without the blanks and commas that are left where notation was."""
    text, spans, weight_of = "", [], []
    for piece in words:
        text += piece.text
        weight_of += [piece.weight] * len(piece.text)
    kept = [True] * len(text)
    for pattern in (r"(?<=\s)\s+", r"\s+(?=,)", r"(?<=,)(?:\s*,)+"):
        spans += [found.span() for found in re.finditer(pattern, text)]
    for start, end in spans:
        kept[start:end] = [False] * (end - start)
    pieces: list[Weighted] = []
    for character, weight, stays in zip(text, weight_of, kept, strict=True):
        if not stays:
            continue
        if pieces and pieces[-1].weight == weight:
            pieces[-1] = Weighted(pieces[-1].text + character, weight)
        else:
            pieces.append(Weighted(character, weight))
    return tuple(pieces)
