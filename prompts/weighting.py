"""Weighted words, "(red dress)1.3", and long prompts as prompt embeddings, through compel."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, takewhile
from typing import Any

EMPHASIS, BRACE = 1.1, 1.05
"""What round brackets multiply a weight by, and square ones divide it by; what NovelAI's braces multiply it by."""
LEAST, MOST = 0.1, 2.0
"""Weights beyond these spoil a picture."""
_PIECE = re.compile(
    r"\\(?P<literal>[()\[\]{}])|(?P<open>[(\[{])|:\s*(?P<weight>-?[0-9]*\.?[0-9]+)\s*\)|(?P<close>[)\]}])"
    r"(?P<compel>[0-9]*\.[0-9]+(?![0-9]*[a-zA-Z])|[0-9]+(?![0-9.]*[a-zA-Z0-9])|[+-]+(?=[\s,]|$))?"
)


@dataclass(frozen=True)
class Weighted:
    """Words of a prompt and their weight, 1 where nothing is said."""

    text: str
    weight: float = 1.0


def parse_weights(prompt: str) -> tuple[Weighted, ...]:
    """Words with the weights that brackets around them say.

    AUTOMATIC1111's (x), [x] and (x:1.3), NovelAI's {x} and compel's (x)1.3 and (x)++; nested ones multiply. A bracket
    without its other half is no bracket.
    """
    texts: list[tuple[str, list[float]]] = []
    opened: list[tuple[int, float]] = []
    place = 0
    for found in _PIECE.finditer(prompt):
        if found.start() > place:
            texts.append((prompt[place : found.start()], []))
        if found["literal"]:
            texts.append((found["literal"], []))
        elif found["open"]:
            opened.append((len(texts), {"(": EMPHASIS, "[": 1 / EMPHASIS, "{": BRACE}[found["open"]]))
        elif opened:
            start, usual = opened.pop()
            for _, factors in texts[start:]:
                factors.append(_factor(found["weight"], found["compel"], usual))
        place = found.end()
    texts.append((prompt[place:], []))
    weighted = (Weighted(text, _weight(factors)) for text, factors in texts if text)
    return tuple(weighted) or (Weighted(""),)


def _factor(weight: str | None, compel: str | None, usual: float) -> float:
    if weight or (compel and compel[0] not in "+-"):
        return float(weight or compel or 1)
    return usual ** (1 if not compel else len(compel)) if not compel or compel[0] == "+" else 0.9 ** len(compel)


def _weight(factors: Sequence[float]) -> float:
    return round(min(max(math.prod(factors), LEAST), MOST), 2)


def with_weights(words: Sequence[Weighted]) -> str:
    """Weighted words in compel's notation; without any weight the words alone."""
    if all(piece.weight == 1 for piece in words):
        return "".join(piece.text for piece in words)
    return "".join(map(_in_compel, words))


def _in_compel(piece: Weighted) -> str:
    text = re.sub(r"([()])", r"\\\1", piece.text)
    inner = text.strip(" ,")
    if piece.weight == 1 or not inner:
        return text
    before, _, after = text.partition(inner)
    return f"{before}({inner}){piece.weight:g}{after}"


def normalise_weights(prompt: str) -> str:
    """A prompt with weights in any of those notations in compel's, "(red dress)1.3"."""
    return with_weights(parse_weights(prompt))


def is_weighted(prompt: str) -> bool:
    """Whether a prompt holds weights, in any of those notations."""
    return any(piece.weight != 1 for piece in parse_weights(prompt))


def plain_words(prompt: str) -> str:
    """A prompt without its weights."""
    return "".join(piece.text for piece in parse_weights(prompt))


def is_long(pipe: Any, prompt: str) -> bool:
    """Whether a prompt has more tokens than a text encoder of the pipeline reads at once, 77 with CLIP."""
    tokenizers = filter(None, (pipe.tokenizer, getattr(pipe, "tokenizer_2", None)))
    return any(len(tokenizer(prompt).input_ids) > tokenizer.model_max_length for tokenizer in tokenizers)


def with_all_vectors(tokenizer: Any, text: str) -> str:
    """Each textual inversion's name followed by the names of its further vectors, as diffusers writes them."""
    added = set(tokenizer.get_added_vocab())
    for name in sorted(token for token in added if f"{token}_1" in added):
        vectors = [name, *takewhile(added.__contains__, (f"{name}_{number}" for number in count(1)))]
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", " ".join(vectors), text)
    return text


def weighted_embeddings(pipe: Any, prompt: str, negative: str = "") -> dict[str, Any]:
    """Prompt embeddings of a pipeline's text encoder(s), weights applied.

    Args:
        pipe: A diffusers pipeline of SD1.5's or SDXL's family; the latter has a `text_encoder_2`.
        prompt: May hold weights, see `parse_weights`.
        negative: The same.

    Returns:
        Keyword arguments of the pipeline's call: `prompt_embeds` and `negative_prompt_embeds` (1, tokens, channels),
        with SDXL also `pooled_prompt_embeds` and `negative_pooled_prompt_embeds` (1, channels).
    """
    from compel import CompelForSD, CompelForSDXL

    large = getattr(pipe, "text_encoder_2", None) is not None
    encode = CompelForSDXL(pipe) if large else CompelForSD(pipe)
    positive, negative = (normalise_weights(with_all_vectors(pipe.tokenizer, text)) for text in (prompt, negative))
    out = encode(positive, negative_prompt=negative)
    found = {"prompt_embeds": out.embeds, "negative_prompt_embeds": out.negative_embeds}
    if large:
        found |= {
            "pooled_prompt_embeds": out.pooled_embeds,
            "negative_pooled_prompt_embeds": out.negative_pooled_embeds,
        }
    return found
