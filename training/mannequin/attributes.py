"""Class labels of a Spec, for judges and auxiliary heads."""

from __future__ import annotations

from twinset.figure import colours
from twinset.figure.drawing.hair import BALD, HAIR_STYLES
from twinset.training.mannequin.spec import (
    BEARDS,
    COLOURED_LIGHTS,
    EXPRESSIONS,
    EYEWEAR,
    FOOTWEAR,
    HATS,
    LATER_SCENES,
    LATER_UPPERS,
    LOGOS,
    LOWERS,
    PATTERNS,
    SCENES,
    UPPERS,
    GarmentDesign,
    Spec,
)

#: Attribute -> class names; the order of both is part of the store's format, so both only grow at
#: their ends.
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "hair_style": (*HAIR_STYLES, BALD),
    "hair_length": ("short", "medium", "long", "none"),
    "hair_colour": (*colours.HAIR, "none"),
    "expression": EXPRESSIONS,
    "upper_kind": (*UPPERS, "dress", *LATER_UPPERS),
    "upper_colour": tuple(colours.CLOTH),
    "upper_pattern": PATTERNS,
    "logo": ("none", *LOGOS),
    "lower_kind": ("none", *LOWERS),
    "lower_colour": ("none", *colours.CLOTH),
    "shoes_colour": tuple(colours.CLOTH),
    "scene": (*SCENES, *LATER_SCENES),
    "light": ("cold", "neutral", "warm", *COLOURED_LIGHTS),
    "shoes_kind": FOOTWEAR,
    "hat_kind": ("none", *HATS),
    "hat_colour": ("none", *colours.CLOTH),
    "eyewear": ("none", *EYEWEAR),
    "bag_colour": ("none", *colours.CLOTH),
    "beard": BEARDS,
}


def attribute_names(spec: Spec) -> dict[str, str]:
    """Class name of every attribute; the bald have no colour of hair."""
    upper, lower, shoes = spec.garments["upper"], spec.garments.get("lower"), spec.garments["shoes"]
    hat, eyewear, bag = (spec.garments.get(slot) for slot in ("hat", "eyewear", "bag"))
    return {
        "hair_style": spec.hair.style,
        "hair_length": spec.hair.length,
        "hair_colour": "none" if spec.hair.style == BALD else spec.hair.colour_name,
        "expression": spec.expression,
        "upper_kind": upper.kind,
        "upper_colour": upper.colour_name,
        "upper_pattern": upper.pattern,
        "logo": upper.logo or "none",
        "lower_kind": _kind(lower),
        "lower_colour": _colour(lower),
        "shoes_colour": shoes.colour_name,
        "scene": spec.scene,
        "light": spec.light.word,
        "shoes_kind": shoes.kind,
        "hat_kind": _kind(hat),
        "hat_colour": _colour(hat),
        "eyewear": _kind(eyewear),
        "bag_colour": _colour(bag),
        "beard": spec.beard,
    }


def _kind(garment: GarmentDesign | None) -> str:
    return garment.kind if garment else "none"


def _colour(garment: GarmentDesign | None) -> str:
    return garment.colour_name if garment else "none"


def attributes(spec: Spec) -> dict[str, int]:
    """Class index of every attribute, in the order of ATTRIBUTES."""
    return {name: ATTRIBUTES[name].index(value) for name, value in attribute_names(spec).items()}
