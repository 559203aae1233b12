"""The poses that a user can choose, drawn small."""

from __future__ import annotations

from functools import cache

import numpy as np

from twinset.figure import poses
from twinset.figure.drawn_parsing import draw_layout
from twinset.figure.labels import LABELS
from twinset.prompts.glossary import POSE_WORDS

CALM = {"background": (248, 247, 244), "hair": (70, 60, 62), "upper-clothes": (120, 142, 176), "pants": (84, 92, 112),
        "left-shoe": (60, 60, 66), "right-shoe": (60, 60, 66)}  # fmt: skip
SKIN = (232, 196, 172)


@cache
def pose_pictures() -> list[tuple[np.ndarray, str]]:
    """uint8 (256, 192, 3) and a caption in both languages, for each of `poses.NAMED`."""
    colours = np.array([CALM.get(name, SKIN) for name in LABELS], dtype=np.uint8)
    return [
        (colours[draw_layout(poses.preset(name, "full"), ["t_shirt", "trousers"])], caption(name))
        for name in poses.NAMED
    ]


def caption(name: str) -> str:
    """A pose's name, with the Chinese word where there is one."""
    chinese = next((word for word in POSE_WORDS.get(name, ()) if not word.isascii()), "")
    return f"{name} {chinese}".strip()
