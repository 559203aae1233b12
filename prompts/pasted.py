"""Generation parameters as web UIs copy them: the prompt, "Negative prompt: …" and "Steps: 30, Sampler: …" apart."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_NEGATIVE = re.compile(
    r"(?:^|\s|[,，。.;])(?:negative prompts?|负面提示词|反向提示词|负向提示词|負面提示詞)\s*[:：]\s*", re.I
)
_POSITIVE = re.compile(
    r"^\s*(?:positive prompts?|prompts?|正面提示词|正向提示词|提示词|正面提示詞|提示詞)\s*[:：]\s*", re.I
)
_SETTINGS = re.compile(r"(?:^|\s|[,，])steps\s*[:：]\s*\d+\s*(?:[,，\n]|$)", re.I)
_SETTING = re.compile(r'\s*([A-Za-z][\w +\-/]*?)\s*[:：]\s*("(?:\\.|[^"\\])*"|[^,，\n]*)(?:[,，\n]|$)')
TAKEN_OVER: Mapping[str, str] = {
    "steps": "steps", "sampler": "scheduler", "cfg scale": "guidance", "seed": "seed", "size": "size",
}  # fmt: skip
"""Settings of the web UIs that a request has a field for."""


@dataclass(frozen=True)
class PastedPrompt:
    """A prompt and what was pasted with it.

    Attributes:
        prompt: the words for the picture.
        negative: those for the negative prompt; "" for none.
        settings: name in lower case → value, as text.
    """

    prompt: str
    negative: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def left_over(self) -> tuple[str, ...]:
        """The settings that no request has a field for, as "clip skip: 2"."""
        named = (
            pair for pair in self.settings.items() if pair[0] not in TAKEN_OVER and not pair[0].startswith("schedule")
        )
        return tuple(f"{name}: {value}" for name, value in named)


def split_pasted(text: str) -> PastedPrompt:
    """Take pasted generation parameters apart; a text without them comes back as it is."""
    body, settings = text, {}
    if found := _SETTINGS.search(text):
        body, tail = text[: found.start()], text[found.start() :].lstrip(" ,，\n")
        settings = {name.strip().lower(): value.strip().strip('"') for name, value in _SETTING.findall(tail)}
    parts = _NEGATIVE.split(body)
    prompt = _POSITIVE.sub("", parts[0])
    if not settings and len(parts) == 1 and prompt == parts[0]:
        return PastedPrompt(text)
    return PastedPrompt(prompt.strip(" ,，\n"), ", ".join(part.strip(" ,，\n") for part in parts[1:]), settings)
