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


SIDES, MOST_LENGTHWISE = (64, 4096), 4
"""Least and greatest side in pixels, and the longer by the shorter at most: what is beyond fills the memory."""


def check_size(said: str | None) -> str | None:
    """A size as the user wrote it, checked.

    Raises:
        ValueError: A side or the proportions are out of range.
    """
    if said is None or "x" not in said:
        return said
    sides = [int(side) for side in said.split("x")]
    if min(sides) < SIDES[0] or max(sides) > SIDES[1] or max(sides) > MOST_LENGTHWISE * min(sides):
        raise ValueError(
            f"needs sides of {SIDES[0]} to {SIDES[1]} pixels, at most {MOST_LENGTHWISE} times as long as wide"
        )
    return said


def size_of(said: str | None, usual: Size, frame: Size) -> Size:
    """The requested size in pixels.

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
