"""Named colours of cloth and hair, skin and iris scales, and small colour arithmetic (RGB in 0..255)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RGB = tuple[int, int, int]

CLOTH: dict[str, RGB] = {
    "red": (208, 40, 45), "orange": (240, 130, 35), "yellow": (245, 208, 60), "green": (58, 160, 72),
    "teal": (40, 165, 165), "blue": (62, 120, 220), "navy": (38, 48, 105), "purple": (130, 70, 180),
    "pink": (245, 135, 180), "brown": (125, 80, 50), "white": (245, 245, 243), "grey": (140, 142, 148),
    "black": (42, 42, 48), "beige": (218, 196, 160),
}  # fmt: skip
#: Shades that people name besides, as cloth of that name looks in white light.
SHADES: dict[str, RGB] = {
    "crimson": (182, 22, 48), "scarlet": (226, 44, 38), "burgundy": (122, 22, 42), "maroon": (112, 24, 34),
    "dark red": (140, 20, 30),
    "coral": (246, 118, 82), "peach": (252, 178, 118),
    "mustard": (212, 168, 42), "gold": (222, 178, 52), "golden": (232, 188, 52), "light yellow": (250, 232, 130),
    "olive": (106, 110, 46), "mint": (165, 222, 192), "dark green": (22, 92, 46), "light green": (140, 208, 130),
    "emerald": (18, 142, 86), "lime": (150, 212, 62),
    "turquoise": (48, 188, 184), "cyan": (60, 196, 206), "aqua": (70, 200, 200),
    "light blue": (150, 195, 235), "sky blue": (118, 184, 240), "royal blue": (38, 74, 190), "cobalt": (30, 84, 178),
    "denim blue": (66, 104, 168),
    "violet": (138, 78, 198), "lavender": (192, 170, 226), "lilac": (196, 164, 222), "dark purple": (84, 38, 124),
    "plum": (108, 46, 118),
    "light pink": (254, 180, 192), "hot pink": (238, 84, 152), "magenta": (222, 70, 150), "fuchsia": (226, 74, 160),
    "tan": (168, 118, 76), "chestnut": (116, 66, 42), "dark brown": (82, 52, 36), "light brown": (156, 104, 66),
    "off-white": (240, 240, 236),
    "silver": (192, 195, 201), "silver grey": (180, 183, 190), "charcoal": (76, 78, 84), "light grey": (188, 190, 195),
    "cream": (246, 230, 196), "ivory": (250, 240, 214), "khaki": (172, 152, 106), "camel": (206, 176, 130),
    "blonde": (236, 202, 96),
}  # fmt: skip
HAIR: dict[str, RGB] = {
    "black": (38, 34, 40), "brown": (98, 62, 40), "blonde": (232, 196, 110), "red": (176, 58, 36),
    "grey": (196, 200, 210), "blue": (66, 108, 205), "pink": (240, 130, 175), "green": (85, 170, 115),
    "purple": (140, 95, 200), "orange": (232, 136, 50),
}  # fmt: skip
#: Light to dark; human skin tones after the Monk scale, spaced for the drawing.
SKIN = np.array(
    [(252, 228, 212), (246, 210, 184), (236, 188, 152), (218, 162, 120), (190, 130, 90), (156, 100, 66), (120, 74, 50), (90, 56, 42)],
    dtype=np.float64,
)  # fmt: skip
#: Brown, amber, green, teal, blue, violet.
IRIS = np.array(
    [(92, 54, 30), (170, 110, 40), (80, 140, 60), (50, 150, 150), (60, 110, 200), (130, 80, 190)], np.float64
)


def along(scale: np.ndarray, value: float) -> np.ndarray:
    """Colour at `value` in [-1, 1] of a scale of colours (N, 3)."""
    position = (float(np.clip(value, -1, 1)) + 1) / 2 * (len(scale) - 1)
    low = min(int(position), len(scale) - 2)
    return scale[low] + (scale[low + 1] - scale[low]) * (position - low)


def jittered(colour: RGB, rng: np.random.Generator, spread: float = 9.0) -> RGB:
    """A random neighbour of a named colour: one shift of all channels, and a small one of each."""
    moved = np.array(colour) * rng.uniform(0.93, 1.06) + rng.normal(0, spread / 2, 3)
    return tuple(int(v) for v in np.clip(moved, 12, 252))  # type: ignore[return-value]


def shaded(colour: Sequence[float] | np.ndarray, factor: float) -> str:
    """CSS colour darkened (factor < 1) or moved towards white (factor > 1, 2 is white)."""
    base = np.asarray(colour, dtype=np.float64)
    mixed = base * factor if factor <= 1 else base + (255 - base) * (factor - 1)
    return "#{:02x}{:02x}{:02x}".format(*(round(v) for v in np.clip(mixed, 0, 255)))


def outline_of(colour: Sequence[float] | np.ndarray) -> str:
    """A darker tone for outlines."""
    return shaded(colour, 0.55)


def luminance(colour: Sequence[float]) -> float:
    """Relative brightness 0..255 (Rec. 601 weights)."""
    return float(np.dot(colour, (0.299, 0.587, 0.114)))
