"""Weighted words, "(red dress)1.3", and long prompts as prompt embeddings, through compel."""

from __future__ import annotations

import re
from typing import Any

WEIGHTED = r"\(([^()]+)\)\s*[0-9]*\.?[0-9]+"
"""Weighted words in compel's notation."""


def normalise_weights(prompt: str) -> str:
    """AUTOMATIC1111's "(red dress:1.3)" as compel's "(red dress)1.3"; anything else as it is."""
    return re.sub(r"\(([^():]+):\s*([0-9]*\.?[0-9]+)\s*\)", r"(\1)\2", prompt)


def is_weighted(prompt: str) -> bool:
    """Whether a prompt holds weights in either notation."""
    return re.search(WEIGHTED, normalise_weights(prompt)) is not None


def is_long(pipe: Any, prompt: str) -> bool:
    """Whether a prompt has more tokens than a text encoder of the pipeline reads at once, 77 with CLIP."""
    tokenizers = filter(None, (pipe.tokenizer, getattr(pipe, "tokenizer_2", None)))
    return any(len(tokenizer(prompt).input_ids) > tokenizer.model_max_length for tokenizer in tokenizers)


def plain_words(prompt: str) -> str:
    """A prompt without its weights."""
    return re.sub(WEIGHTED, r"\1", normalise_weights(prompt))


def weighted_embeddings(pipe: Any, prompt: str, negative: str = "") -> dict[str, Any]:
    """Prompt embeddings of a pipeline's text encoder(s), weights applied.

    Args:
        pipe: A diffusers pipeline of SD1.5's or SDXL's family; the latter has a `text_encoder_2`.
        prompt: May hold weights in either notation.
        negative: The same.

    Returns:
        Keyword arguments of the pipeline's call: `prompt_embeds` and `negative_prompt_embeds` (1, tokens, channels),
        with SDXL also `pooled_prompt_embeds` and `negative_pooled_prompt_embeds` (1, channels).
    """
    from compel import CompelForSD, CompelForSDXL

    large = getattr(pipe, "text_encoder_2", None) is not None
    encode = CompelForSDXL(pipe) if large else CompelForSD(pipe)
    out = encode(normalise_weights(prompt), negative_prompt=normalise_weights(negative))
    found = {"prompt_embeds": out.embeds, "negative_prompt_embeds": out.negative_embeds}
    if large:
        found |= {
            "pooled_prompt_embeds": out.pooled_embeds,
            "negative_pooled_prompt_embeds": out.negative_pooled_embeds,
        }
    return found
