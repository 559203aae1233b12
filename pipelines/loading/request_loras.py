"""LoRAs of a request: installed for its pictures, with notes on missing trigger words, and removed without a trace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from twinset.adapters.lora.files import read_lora
from twinset.adapters.lora.install import install_lora, remove_lora
from twinset.errors import InputError
from twinset.pipelines.named_files import LoraChoice

TRIGGERS = ("modelspec.trigger_phrase", "twinset.trigger", "trigger_word")
"""Entries of a file's header that name its trigger word, the usual one first."""


@contextmanager
def loras_on(pipe: Any, choices: Sequence[LoraChoice]) -> Iterator[list[str]]:
    """The LoRAs in the pipeline while this is open; afterwards its weights are the same bits as before.

    Args:
        pipe: any pipeline of the family they were trained for.
        choices: the same file may come twice.

    Yields:
        The trigger word of each, "" where its file names none.

    Raises:
        InputError: a file is damaged, no LoRA, or of another family; nothing has been changed then.
    """
    files = [read_lora(choice.path) for choice in choices]
    names: list[str] = []
    try:
        for number, (choice, lora) in enumerate(zip(choices, files, strict=True)):
            name = f"of-request-{number}"
            install_lora(pipe, lora, name, choice.weight)
            names.append(name)
        yield [trigger_word(lora.metadata) for lora in files]
    finally:
        for name in reversed(names):
            remove_lora(pipe, name)


def require_files(choices: Sequence[LoraChoice]) -> None:
    """Make sure that the LoRAs of a request are there, before a model is loaded for them.

    Raises:
        InputError: a path is no file.
    """
    missing = next((choice.path for choice in choices if not choice.path.is_file()), None)
    if missing is not None:
        raise InputError(f"LoRA {str(missing)!r} is not a file; check the path")


def trigger_word(metadata: dict[str, str]) -> str:
    """The trigger word in a LoRA file's header; "" where it names none."""
    return next((metadata[key].strip() for key in TRIGGERS if metadata.get(key, "").strip()), "")


def trigger_notes(choices: Sequence[LoraChoice], triggers: Sequence[str], prompt: str) -> list[str]:
    """One line for every LoRA whose trigger word the prompt lacks."""
    return [
        f"LoRA {choice.path.name} has the trigger word {word!r}, which the prompt lacks; add it, as in 'wearing {word}'"
        for choice, word in zip(choices, triggers, strict=True)
        if word and word.lower() not in prompt.lower()
    ]
