"""Sizes of pictures: as people say them, and the formats of promotion."""

from __future__ import annotations

Size = tuple[int, int]
"""(width, height) in pixels."""
FORMATS: dict[str, Size] = {
    "square": (1080, 1080),
    "portrait": (1080, 1350),
    "story": (1080, 1920),
    "banner": (1500, 500),
}
"""Name → size."""
FRAME_WORD = "frame"
SIZE_PATTERN = rf"^([1-9][0-9]{{1,3}}x[1-9][0-9]{{1,3}}|{FRAME_WORD}|{'|'.join(FORMATS)})$"
"""What may be said of a size."""


def size_of(said: str | None, usual: Size, frame: Size) -> Size:
    """The size that somebody asks for.

    Args:
        said: "384x512", a format's name, "frame", or None.
        usual: the model's own size, for None.
        frame: what it draws in one stage.
    """
    if said is None:
        return usual
    if said == FRAME_WORD:
        return frame
    if said in FORMATS:
        return FORMATS[said]
    width, _, height = said.partition("x")
    return int(width), int(height)
