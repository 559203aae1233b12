"""Chinese into English: a Marian model where its weights are at hand, else the glossary."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from .brief import read_brief
from .wording import write_prompts

MODEL = "Helsinki-NLP/opus-mt-zh-en"


@dataclass(frozen=True)
class Translation:
    """English text and who made it: a model's folder or name, "glossary", or "none" for text that is English already."""

    text: str
    translator: str


def translate(text: str, folder: Path | None = None) -> Translation:
    """English for a sentence.

    Args:
        text: English, Chinese or mixed; text without Chinese characters comes back unchanged.
        folder: A Marian model; None looks for `MODEL` in the Hugging Face cache, without the network.
    """
    if not any("\u4e00" <= character <= "\u9fff" for character in text):
        return Translation(text, "none")
    name = str(folder or MODEL)
    parts = _marian(name)
    if parts is None:
        return Translation(write_prompts(read_brief(text), "sd15").positive, "glossary")
    tokenizer, model = parts
    tokens = model.generate(**tokenizer([text], return_tensors="pt"), max_new_tokens=200)
    return Translation(tokenizer.batch_decode(tokens, skip_special_tokens=True)[0], name)


@lru_cache(maxsize=2)
def _marian(name: str) -> tuple[Any, Any] | None:
    from transformers import MarianMTModel, MarianTokenizer

    try:
        tokenizer = MarianTokenizer.from_pretrained(name, local_files_only=True)
        return tokenizer, MarianMTModel.from_pretrained(name, local_files_only=True).eval()
    except (OSError, ImportError):
        return None
