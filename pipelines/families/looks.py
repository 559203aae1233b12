"""How the person looks beside clothes: hair, beard and expression, from the words, else the selfie, else the seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from twinset.figure.colours import HAIR, RGB
from twinset.figure.drawing.hair import BALD, HAIR_LENGTHS, HAIR_STYLES
from twinset.figure.drawn_parsing import draw_layout
from twinset.figure.face_look import BEARDS, EXPRESSIONS, face_look, head_turn_of
from twinset.figure.keypoints import Keypoints
from twinset.figure.labels import FACE
from twinset.figure.labels import HAIR as HAIR_LABEL
from twinset.models.figure_reader import Figure
from twinset.prompts.brief import Brief
from twinset.prompts.undrawn import drawn_hair_colour
from twinset.scoring.garment import region_inside

Source = Literal["words", "selfie", "seed"]
"""What says how the hair is."""
HAIR_SEED = 31
"""Tag of the seed's stream for the hair's colour."""
LEAST_HAIR = 0.05
"""Share of the face's area that hair must have, else the head is bald."""
FEWEST = 40
"""Pixels of a face, and of hair, that their colours are read from."""


@dataclass(frozen=True)
class SelfieHair:
    """The hair of a selfie.

    Attributes:
        style: one of HAIR_STYLES, or "bald".
        colour: 0 to 255, in white light.
    """

    style: str
    colour: RGB


@dataclass(frozen=True)
class Looks:
    """How somebody shall look.

    Attributes:
        hair: style, one of HAIR_STYLES or "bald".
        hair_colour: 0 to 255.
        style_from, colour_from: what said so.
        expression: one of EXPRESSIONS.
        beard: one of BEARDS.
    """

    hair: str
    hair_colour: RGB
    style_from: Source = "seed"
    colour_from: Source = "seed"
    expression: str = "neutral"
    beard: str = "none"

    def face(self, keypoints: Keypoints) -> np.ndarray:
        """For the identity adapter's canvas, float32 (LOOKS,), the head turned as the pose has it."""
        return face_look(self.expression, head_turn_of(keypoints), self.beard, self.hair_colour)

    def note(self) -> list[str]:
        """What comes from the selfie without anybody's saying so, in one line."""
        parts = {"colour": self.colour_from, "style": self.style_from}
        taken = [name for name, source in parts.items() if source == "selfie"]
        if not taken:
            return []
        colour = nearest_hair(self.hair_colour)
        found = {"colour": f"colour ({colour})", "style": f"style ({self.hair.replace('_', ' ')})"}
        named = " and ".join(found[name] for name in taken)
        return [f"hair {named} as in the selfie; to change it, name it in the prompt or use --hair seed"]


def choose_looks(brief: Brief, selfie: SelfieHair | None, drawn_style: str, seed: int) -> Looks:
    """Hair, expression and beard of a picture.

    Args:
        brief: what the words say; it wins.
        selfie: the selfie's hair; None where it cannot be read, or is not wanted.
        drawn_style: what the seed draws among the styles that the words leave.
        seed: of the request.
    """
    style, style_from = drawn_style, "words" if brief.hair_style or brief.hair_length else "seed"
    if selfie is not None and not brief.hair_style and brief.hair_length in (None, HAIR_LENGTHS[selfie.style]):
        style, style_from = selfie.style, style_from if brief.hair_length else "selfie"
    by_seed = str(np.random.default_rng([HAIR_SEED, seed]).choice(list(HAIR)))
    colour: RGB = HAIR[by_seed]
    colour_from: Source = "seed"
    if brief.hair_colour is not None:
        colour, colour_from = HAIR[drawn_hair_colour(brief.hair_colour)], "words"
    elif selfie is not None and selfie.style != BALD:
        colour, colour_from = selfie.colour, "selfie"
    expression = brief.expression if brief.expression in EXPRESSIONS else "neutral"
    beard = brief.beard if brief.beard in BEARDS else "none"
    return Looks(style, colour, style_from, colour_from, expression or "neutral", beard or "none")  # type: ignore[arg-type]


def nearest_hair(colour: RGB) -> str:
    """The name of the hair colour nearest to one."""
    return min(HAIR, key=lambda name: float(np.linalg.norm(np.subtract(HAIR[name], colour))))


def read_hair(picture: np.ndarray, figure: Figure, skin: np.ndarray | None) -> SelfieHair | None:
    """Style and colour of a drawn person's hair.

    The style is the one whose hair, drawn on the same pose, covers most nearly what was read; the colour is taken out
    of the selfie's light, which the skin tells.

    Args:
        picture: uint8 (H, W, 3).
        figure: its keypoints and parsing map.
        skin: (3,) the person's skin in white light; None where that is unknown.

    Returns:
        None where no face was read.
    """
    face, hair = (region_inside(figure.labels, (label,)) for label in (FACE, HAIR_LABEL))
    if not figure.found or face.sum() < FEWEST:
        return None
    if hair.sum() < max(FEWEST, LEAST_HAIR * face.sum()):
        return SelfieHair(BALD, (0, 0, 0))
    light = np.ones(3) if skin is None else np.median(picture[face], axis=0) / np.maximum(skin, 1.0)
    red, green, blue = (np.median(picture[hair], axis=0) / np.maximum(light, 0.05)).clip(0, 255).round().tolist()
    return SelfieHair(_likeliest_style(figure), (int(red), int(green), int(blue)))


def _likeliest_style(figure: Figure) -> str:
    """By intersection over union of the hair that was read and each style's on the average head."""
    height, width = figure.labels.shape
    read = figure.labels == HAIR_LABEL

    def overlap(style: str) -> float:
        drawn = draw_layout(figure.keypoints, (), style, (width, height)) == HAIR_LABEL
        return float((read & drawn).sum() / max(1, (read | drawn).sum()))

    return max(HAIR_STYLES, key=overlap)
