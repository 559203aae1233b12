"""Chinese into English: a Marian model where its weights are at hand, else the glossary."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from twinset.errors import InputError
from twinset.prompts.brief import read_brief
from twinset.prompts.wording import write_prompts

MODEL = "Helsinki-NLP/opus-mt-zh-en"
FILES = ("config.json", "vocab.json", "source.spm", "target.spm")


@dataclass(frozen=True)
class Translation:
    """English text and its translator: a model's folder or name, "glossary", or "none" for English already."""

    text: str
    translator: str


def translate(text: str, folder: Path | None = None) -> Translation:
    """English for a sentence.

    Args:
        text: English, Chinese or mixed; text without Chinese characters comes back unchanged.
        folder: A Marian model; None looks for `MODEL` in the Hugging Face cache, without the network.

    Raises:
        InputError: The folder given is no Marian model.
    """
    translator = translator_of(text, folder)
    source = find_model(folder) if is_chinese(text) else None
    if source is None:
        return Translation(write_prompts(read_brief(text), "sd15").positive if is_chinese(text) else text, translator)
    tokenizer, model = _marian(source)
    tokens = model.generate(**tokenizer([text], return_tensors="pt"), max_new_tokens=200)
    return Translation(tokenizer.batch_decode(tokens, skip_special_tokens=True)[0], translator)


def translator_of(text: str, folder: Path | None = None) -> str:
    """What translates a sentence: a model's folder or name, "glossary", or "none"."""
    if not is_chinese(text):
        return "none"
    return "glossary" if find_model(folder) is None else str(folder or MODEL)


def is_chinese(text: str) -> bool:
    """Whether a text holds Chinese characters."""
    return any("\u4e00" <= character <= "\u9fff" for character in text)


def find_model(folder: Path | None = None) -> Path | None:
    """Folder of a Marian model: the one given, else `MODEL` in the Hugging Face cache, else None.

    Raises:
        InputError: The folder given lacks one of the model's files.
    """
    from huggingface_hub import try_to_load_from_cache

    if folder is not None:
        missing = [name for name in FILES if not (folder / name).is_file()]
        if missing:
            raise InputError(f"translator {str(folder)!r} lacks {missing[0]}; give a folder of a Marian model")
        return folder
    found = [try_to_load_from_cache(MODEL, name) for name in FILES]
    return Path(found[0]).parent if isinstance(found[0], str) and all(isinstance(f, str) for f in found) else None


@lru_cache(maxsize=2)
def _marian(folder: Path) -> tuple[Any, Any]:
    from transformers import MarianMTModel, MarianTokenizer

    tokenizer = MarianTokenizer.from_pretrained(folder, local_files_only=True)
    return tokenizer, MarianMTModel.from_pretrained(folder, local_files_only=True).eval()
