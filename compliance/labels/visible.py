"""The label that people see: a few words in a corner, legible on any ground.

GB 45438-2025 (read in secondary sources) asks for words that join 人工智能 or AI with 生成 or 合成, at least 5 % of the
picture's shortest side high; the offered wordings do. The font is a subset of Noto Sans CJK SC Bold under the SIL Open
Font License 1.1 (`font/OFL.txt`).
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Literal

from PIL import Image, ImageDraw, ImageFont

from twinset.errors import InputError

Corner = Literal["top_left", "top_right", "bottom_left", "bottom_right", "none"]
WORDINGS = ("AI生成", "人工智能生成", "AI合成", "人工智能合成", "AI生成 · AI-generated")
"""Each fulfils GB 45438."""
HEIGHT = 0.055
"""Height of the characters by the shortest side: the law's 5 %, and a little for rounding."""
PLATE, INK = (0, 0, 0, 150), (255, 255, 255, 255)
FONT = Path(__file__).parent / "font" / "TwinsetLabel-Bold.otf"


def fulfils_gb45438(text: str) -> bool:
    """Whether words say what the standard asks for: 人工智能 or AI, and 生成 or 合成."""
    return bool(re.search("人工智能|AI", text) and re.search("生成|合成", text))


def check_text(text: str) -> str:
    """The words as they will be drawn.

    Raises:
        InputError: They are empty, or the font lacks a character.
    """
    text = text.strip()
    missing = [letter for letter in dict.fromkeys(text) if not _has(letter)]
    if not text or missing:
        letters = "".join(letter if letter.isprintable() else f"U+{ord(letter):04X} " for letter in missing).strip()
        fault = f"has characters that the label's font lacks ({letters})" if missing else "is empty"
        raise InputError(f"label text {text!r} {fault}; use one of {', '.join(WORDINGS)}, or plain Latin letters")
    return text


def draw_label(picture: Image.Image, text: str, corner: Corner) -> Image.Image:
    """The picture with words in a corner, white on a dark translucent plate.

    Args:
        picture: RGB.
        text: See `check_text`.
        corner: Where; "none" leaves the picture as it is.

    Returns:
        RGB, of the same size.

    Raises:
        InputError: The words are wider than the picture.
    """
    if corner == "none":
        return picture
    size = _font_size(HEIGHT * min(picture.size), text)
    font = ImageFont.truetype(FONT, size)
    left, top, right, bottom = font.getbbox(text)
    pad = max(2, round(size / 4))
    plate = Image.new("RGBA", (round(right - left) + 2 * pad, round(bottom - top) + 2 * pad))
    if plate.width > picture.width:
        raise InputError(f"label text {text!r} is wider than the picture ({picture.width} pixels); use {WORDINGS[0]!r}")
    brush = ImageDraw.Draw(plate)
    brush.rounded_rectangle((0, 0, plate.width - 1, plate.height - 1), radius=pad, fill=PLATE)
    brush.text((pad - left, pad - top), text, font=font, fill=INK)
    labelled = picture.convert("RGBA")
    labelled.alpha_composite(plate, _place(picture.size, plate.size, corner, pad))
    return labelled.convert("RGB")


def _place(size: tuple[int, int], plate: tuple[int, int], corner: str, gap: int) -> tuple[int, int]:
    """Left and top of a plate in a corner, a gap away from the rim where there is room."""
    gap = min(gap, size[0] - plate[0], size[1] - plate[1])
    down, across = corner.split("_")
    left = gap if across == "left" else size[0] - plate[0] - gap
    return left, gap if down == "top" else size[1] - plate[1] - gap


def _font_size(height: float, text: str) -> int:
    """The least size at which the lowest of the characters that count is so many pixels high."""
    size = max(8, round(height))
    while _lowest(text, size) < height:
        size += 1
    return size


def _lowest(text: str, size: int) -> float:
    """Height in pixels of the lowest capital, digit or ideograph of words, which small letters stand beside."""
    counted = [letter for letter in text if letter.isupper() or letter.isdigit() or ord(letter) > 0x2E80] or ["x"]
    font = ImageFont.truetype(FONT, size)
    boxes = [font.getbbox(letter) for letter in counted if letter not in "，。：（）"]
    return min((bottom - top for _, top, _, bottom in boxes), default=size)


@lru_cache(maxsize=512)
def _has(letter: str) -> bool:
    """Whether the font has a character, and draws something for it."""
    font = ImageFont.truetype(FONT, 32)
    return letter == " " or (_drawn(font, letter) != _drawn(font, "\uffff") and any(_drawn(font, letter)[1]))


def _drawn(font: ImageFont.FreeTypeFont, letter: str) -> tuple[tuple[int, ...], bytes]:
    """Box and pixels of a character."""
    box = tuple(int(side) for side in font.getbbox(letter))
    picture = Image.new("L", (box[2] + 1, box[3] + 1))
    ImageDraw.Draw(picture).text((0, 0), letter, font=font, fill=255)
    return box, picture.tobytes()
