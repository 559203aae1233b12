"""Class labels of a Spec, for judges and auxiliary heads."""

from __future__ import annotations

from twinset.figure import colours
from twinset.figure.hair import HAIR_STYLES
from twinset.training.mannequin.spec import EXPRESSIONS, LOGOS, LOWERS, PATTERNS, SCENES, UPPERS, Spec

#: Attribute -> class names; the order of both is part of the store's format.
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "hair_style": HAIR_STYLES,
    "hair_length": ("short", "medium", "long"),
    "hair_colour": tuple(colours.HAIR),
    "expression": EXPRESSIONS,
    "upper_kind": (*UPPERS, "dress"),
    "upper_colour": tuple(colours.CLOTH),
    "upper_pattern": PATTERNS,
    "logo": ("none", *LOGOS),
    "lower_kind": ("none", *LOWERS),
    "lower_colour": ("none", *colours.CLOTH),
    "shoes_colour": tuple(colours.CLOTH),
    "scene": SCENES,
    "light": ("cold", "neutral", "warm"),
}


def attribute_names(spec: Spec) -> dict[str, str]:
    """Class name of every attribute."""
    upper, lower = spec.garments["upper"], spec.garments.get("lower")
    return {
        "hair_style": spec.hair.style,
        "hair_length": spec.hair.length,
        "hair_colour": spec.hair.colour_name,
        "expression": spec.expression,
        "upper_kind": upper.kind,
        "upper_colour": upper.colour_name,
        "upper_pattern": upper.pattern,
        "logo": upper.logo or "none",
        "lower_kind": lower.kind if lower else "none",
        "lower_colour": lower.colour_name if lower else "none",
        "shoes_colour": spec.garments["shoes"].colour_name,
        "scene": spec.scene,
        "light": spec.light.word,
    }


def attributes(spec: Spec) -> dict[str, int]:
    """Class index of every attribute, in the order of ATTRIBUTES."""
    return {name: ATTRIBUTES[name].index(value) for name, value in attribute_names(spec).items()}
