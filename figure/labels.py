"""Parsing labels of the ATR data set and the garment kinds drawn with them.

Source of the label order: Liang et al., "Deep Human Parsing with Active Template Regression" (ATR, 2015).
"""

from __future__ import annotations

import numpy as np

LABELS: tuple[str, ...] = (
    "background", "hat", "hair", "sunglasses", "upper-clothes", "skirt", "pants", "dress", "belt",
    "left-shoe", "right-shoe", "face", "left-leg", "right-leg", "left-arm", "right-arm", "bag", "scarf",
)  # fmt: skip

#: One distinct colour per label, in label order (the order and colours used by common ATR viewers).
PALETTE = np.array(
    [
        (0, 0, 0), (128, 0, 0), (255, 0, 0), (0, 85, 0), (170, 0, 51), (255, 85, 0), (0, 0, 85), (0, 119, 221),
        (85, 85, 0), (0, 85, 85), (85, 51, 0), (52, 86, 128), (0, 128, 0), (0, 0, 255), (51, 170, 221),
        (0, 255, 255), (85, 255, 170), (170, 255, 85),
    ],
    dtype=np.uint8,
)  # fmt: skip

BACKGROUND, HAT, HAIR, SUNGLASSES, UPPER, SKIRT, PANTS, DRESS = 0, 1, 2, 3, 4, 5, 6, 7
LEFT_SHOE, RIGHT_SHOE, FACE, LEFT_LEG, RIGHT_LEG, LEFT_ARM, RIGHT_ARM, BAG = 9, 10, 11, 12, 13, 14, 15, 16

#: Label -> the same in a mirror.
MIRRORED_LABELS = np.arange(len(LABELS), dtype=np.uint8)
MIRRORED_LABELS[[LEFT_SHOE, RIGHT_SHOE, LEFT_LEG, RIGHT_LEG, LEFT_ARM, RIGHT_ARM]] = (
    RIGHT_SHOE, LEFT_SHOE, RIGHT_LEG, LEFT_LEG, RIGHT_ARM, LEFT_ARM
)  # fmt: skip

#: Garment kind -> (slot, labels that the kind owns in a parsing map); drawn figures wear these.
GARMENT_KINDS: dict[str, tuple[str, tuple[int, ...]]] = {
    "t_shirt": ("upper", (UPPER,)),
    "tank_top": ("upper", (UPPER,)),
    "shirt": ("upper", (UPPER,)),
    "hoodie": ("upper", (UPPER,)),
    "coat": ("upper", (UPPER,)),
    "dress": ("upper", (DRESS,)),
    "skirt": ("lower", (SKIRT,)),
    "trousers": ("lower", (PANTS,)),
    "shorts": ("lower", (PANTS,)),
    "shoes": ("shoes", (LEFT_SHOE, RIGHT_SHOE)),
    "suit_jacket": ("upper", (UPPER,)),
    "jumper": ("upper", (UPPER,)),
    "boots": ("shoes", (LEFT_SHOE, RIGHT_SHOE)),
    "heels": ("shoes", (LEFT_SHOE, RIGHT_SHOE)),
    "beanie": ("hat", (HAT,)),
    "straw_hat": ("hat", (HAT,)),
    "cap": ("hat", (HAT,)),
    "glasses": ("eyewear", (SUNGLASSES,)),
    "sunglasses": ("eyewear", (SUNGLASSES,)),
    "bag": ("bag", (BAG,)),
}
#: What ordinary people may wear or carry.
ALL_KINDS = GARMENT_KINDS


def garment_slot(kind: str) -> str:
    """Slot ("upper", "lower", "shoes", "hat", "eyewear" or "bag") of a garment kind.

    Raises:
        ValueError: if the kind is unknown.
    """
    return _known(kind)[0]


def garment_labels(kind: str) -> tuple[int, ...]:
    """Parsing labels that a garment kind owns, e.g. `dress` → (7,).

    Raises:
        ValueError: if the kind is unknown.
    """
    return _known(kind)[1]


def _known(kind: str) -> tuple[str, tuple[int, ...]]:
    if kind not in ALL_KINDS:
        raise ValueError(f"unknown garment kind {kind!r}; choose one of {', '.join(ALL_KINDS)}")
    return ALL_KINDS[kind]


def colourise(labels: np.ndarray) -> np.ndarray:
    """Colours a label map (H, W) with PALETTE; returns uint8 (H, W, 3).

    Raises:
        ValueError: if a label is outside 0..17.
    """
    if labels.size and int(labels.max()) >= len(LABELS):
        raise ValueError(f"label {int(labels.max())} is not an ATR label; expected 0..{len(LABELS) - 1}")
    return PALETTE[labels]
