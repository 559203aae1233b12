"""How a caption changes from step to step; names and meanings are those of sd-scripts' data sets."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class CaptionRule:
    """What is done to a caption before a step sees it.

    Attributes:
        shuffle: whether its parts change places (`shuffle_caption`).
        keep: parts at its start that stay (`keep_tokens`).
        separator: what parts its parts (`caption_separator`).
        keep_separator: "a, b ||| c, d ||| e": only c and d are shuffled and dropped (`keep_tokens_separator`).
        secondary: "a ;; b" is one part until it is written as "a, b" (`secondary_separator`).
        wildcards: of {a|b} one is taken, and of several lines (`enable_wildcard`).
        prefix, suffix: put before and behind (`caption_prefix`, `caption_suffix`).
        dropout: share of steps that see no caption at all (`caption_dropout_rate`).
        dropout_epochs: every so many epochs all captions are empty, 0 for never (`caption_dropout_every_n_epochs`).
        tag_dropout: share of the parts that are left out, those that stay aside (`caption_tag_dropout_rate`).
    """

    shuffle: bool = False
    keep: int = 1
    separator: str = ","
    keep_separator: str | None = None
    secondary: str | None = None
    wildcards: bool = False
    prefix: str = ""
    suffix: str = ""
    dropout: float = 0.0
    dropout_epochs: int = 0
    tag_dropout: float = 0.0

    @property
    def varies(self) -> bool:
        """Whether a caption has many readings, too many to keep what the text encoders make of each."""
        return self.shuffle or self.wildcards or self.tag_dropout > 0


def varied_caption(caption: str, rule: CaptionRule, rng: np.random.Generator, epoch: int = 0) -> str:
    """The caption as a step sees it.

    Args:
        caption: of the picture, its lines parted by newlines.
        rule: what is done to it.
        rng: of the step.
        epoch: that the step belongs to, from 0.
    """
    dropped = rng.random() < rule.dropout
    if dropped or (rule.dropout_epochs and (epoch + 1) % rule.dropout_epochs == 0):
        return ""
    lines = caption.splitlines() or [""]
    caption = _chosen(str(rng.choice(lines)), rng) if rule.wildcards else " ".join(lines)
    caption = " ".join(filter(None, (rule.prefix.strip(), caption, rule.suffix.strip())))
    front, middle, back = _parts(caption, rule)
    middle = [part for part in middle if not rule.tag_dropout or rng.random() >= rule.tag_dropout]
    if rule.shuffle:
        middle = [middle[k] for k in rng.permutation(len(middle))]
    if not rule.varies and rule.keep_separator is None and rule.secondary is None:
        return caption
    whole = ", ".join(part for part in (*front, *middle, *back) if part)
    return whole if rule.secondary is None else re.sub(rf"\s*{re.escape(rule.secondary)}\s*", ", ", whole)


def _chosen(caption: str, rng: np.random.Generator) -> str:
    """{a|b} → a or b, the innermost first; a doubled brace stands for itself."""
    caption = caption.replace("{{", "\0").replace("}}", "\1")
    while match := re.search(r"\{([^{}]*)\}", caption):
        caption = caption[: match.start()] + str(rng.choice(match[1].split("|"))) + caption[match.end() :]
    return caption.replace("\0", "{").replace("\1", "}")


def _parts(caption: str, rule: CaptionRule) -> tuple[list[str], list[str], list[str]]:
    """The parts in front that stay, those that may change, those behind that stay."""
    if rule.keep_separator and rule.keep_separator in caption:
        front, middle, *back = caption.split(rule.keep_separator, 2)
        return _split(front, rule), _split(middle, rule), _split(back[0], rule) if back else []
    parts = _split(caption, rule)
    return parts[: rule.keep], parts[rule.keep :], []


def _split(caption: str, rule: CaptionRule) -> list[str]:
    return [part.strip() for part in caption.split(rule.separator) if part.strip()]
