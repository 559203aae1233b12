"""What somebody wears: the kinds that a sentence names, and the clothes that no picture shows, drawn flat.

The bundled model takes a garment's looks from its picture; colours in words hardly reach it. So what the sentence
says of a garment is drawn as a picture of it, laid flat, and given to the model in the same way.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from twinset.figure.colours import CLOTH, RGB, SHADES, luminance
from twinset.figure.drawing.flat_garments import render_flat
from twinset.figure.drawing.garments import GarmentDesign
from twinset.figure.labels import garment_slot
from twinset.prompts import brief as words
from twinset.prompts.brief import Brief

SEEDED_KINDS = {"upper": ("t_shirt", "shirt", "hoodie"), "lower": ("trousers", "skirt", "shorts"), "shoes": ("shoes",)}
"""Kinds that the seed draws from where neither picture nor word says what is worn in a slot."""
DRAWN_SLOTS = ("upper", "lower", "shoes", "hat", "eyewear", "bag")
"""Every place; a seed draws each from a stream of its own, so the order stays."""
OUTERMOST = (
    "dress", "coat", "suit_jacket", "hoodie", "jumper", "shirt", "t_shirt", "tank_top", "skirt", "shorts", "trousers",
    "boots", "heels", "shoes", "beanie", "straw_hat", "cap", "sunglasses", "glasses", "bag",
)  # fmt: skip
"""Of several pieces named for one place, the one that is seen."""
USUAL_COLOURS = {
    "jeans": "denim blue", "denim": "denim blue", "leather": "black", "wedding dress": "white", "lab coat": "white",
    "straw hat": "beige", "glasses": "black", "sunglasses": "black",
}  # fmt: skip
"""Colour of a piece of which only its name or its material is said."""
DRAWN_PATTERNS = {"floral": "dots"}
"""Patterns that are not drawn, and the nearest one that is."""
PALE, COLOURLESS = 190, 20
"""Brightness from which white does not show on a colour, and range of the channels below which it is a grey."""
OWN_NAMES = {
    "t_shirt": ("t-shirt",),
    "tank_top": ("tank top", "sleeveless top"),
    "shirt": ("shirt", "dress shirt", "button-up shirt"),
    "hoodie": ("hoodie", "hooded sweatshirt"),
    "coat": ("coat", "open coat"),
    "dress": ("dress", "short dress", "sundress", "minidress"),
    "skirt": ("skirt", "pleated skirt", "short skirt", "miniskirt", "mini skirt"),
    "trousers": ("trousers", "pants", "long pants", "slacks"),
    "shorts": ("shorts",),
    "shoes": ("shoes", "sneakers", "canvas shoes"),
    "suit_jacket": ("suit jacket", "suit", "blazer"),
    "jumper": ("jumper", "sweater", "pullover"),
    "boots": ("boots", "rubber boots", "high boots"),
    "heels": ("heels", "high heels", "pumps", "stilettos"),
    "beanie": ("beanie",),
    "straw_hat": ("straw hat", "sun hat", "hat"),
    "cap": ("cap", "baseball cap"),
    "glasses": ("glasses",),
    "sunglasses": ("sunglasses",),
    "bag": ("bag", "shoulder bag", "handbag"),
}
"""Names under which a kind is drawn as one imagines it; any other name gets its nearest kind."""


@dataclass(frozen=True)
class DrawnGarment:
    """A garment that no picture shows, as it is drawn.

    Attributes:
        garment: kind, colours and pattern.
        name: what the sentence calls it; the kind where it does not.
        asked_pattern: the pattern in the words, of which the drawn one may be the nearest.
        named: whether the prompt names the garment at all.
        from_words: whether the prompt names its colour; else the seed drew it.
    """

    garment: GarmentDesign
    name: str
    asked_pattern: str = "plain"
    named: bool = True
    from_words: bool = True

    @property
    def flat(self) -> np.ndarray:
        """uint8 (256, 192, 3), laid flat on white."""
        return render_flat(self.garment)

    @property
    def description(self) -> str:
        """For people: "burgundy dress (for gown)"."""
        garment = self.garment
        pattern = {"stripes": "striped", "dots": "dotted", "checks": "checked"}.get(garment.pattern, "")
        asked = [] if self.name in OWN_NAMES[garment.kind] else [self.name]
        asked += [] if self.asked_pattern == garment.pattern else [self.asked_pattern]
        noun = kind_name(garment.kind)
        found = " ".join(filter(None, (garment.colour_name, pattern, noun)))
        return f"{found} (for {', '.join(asked)})" if asked else found

    def to_json(self) -> dict[str, str]:
        """For the record."""
        garment = self.garment
        return {
            "kind": garment.kind,
            "name": self.name,
            "colour": garment.colour_name,
            "pattern": garment.pattern,
            "colour_from": "words" if self.from_words else "seed",
        }


def kind_name(kind: str) -> str:
    """A kind as people write it."""
    return "t-shirt" if kind == "t_shirt" else kind.replace("_", " ")


# Which kinds are worn


def slots(kind: str) -> set[str]:
    """Places on the body that a kind takes; a dress takes two."""
    return {"upper", "lower"} if kind == "dress" else {garment_slot(kind)}


def named_pieces(brief: Brief) -> tuple[words.Garment, ...]:
    """The pieces that a sentence names; a suit has trousers."""
    suits = [replace(piece, kind="trousers") for piece in brief.clothes if piece.name == "suit"]
    without_legs = not any("lower" in slots(piece.kind) for piece in brief.clothes)
    return (*brief.clothes, *(suits if without_legs else []))


def named_kinds(brief: Brief, known: Collection[str]) -> tuple[str, ...]:
    """The kinds that a sentence names and a family knows, the outermost first."""
    named = {piece.kind for piece in named_pieces(brief)}
    return tuple(kind for kind in OUTERMOST if kind in named and kind in known)


def dress_person(
    given: Sequence[str], named: Sequence[str], rng: np.random.Generator, refused: Collection[str] = ()
) -> tuple[str, ...]:
    """Complete the garments given: by those that the prompt names, else from the seed, without those that it refuses.

    Returns:
        Kinds for a whole outfit (upper, lower, shoes, or a dress and shoes), those given first.
    """
    wanted = ([kind for kind in kinds if kind not in refused] for kinds in SEEDED_KINDS.values())
    drawn = tuple(str(rng.choice(kinds)) for kinds in wanted if kinds)
    worn: list[str] = []
    for kind in (*given, *named, *drawn):
        if not any(slots(other) & slots(kind) for other in worn):
            worn.append(kind)
    return tuple(worn)


# How they look


def draw_clothes(brief: Brief, kinds: Sequence[str], seed: int) -> tuple[DrawnGarment, ...]:
    """The clothes of some kinds, as the words say or, where they say nothing, the seed.

    Args:
        brief: what the words say.
        kinds: of garments that are worn and that no picture shows.
        seed: of the request; what it draws for one place does not depend on the others.
    """
    named = {piece.kind: piece for piece in reversed(named_pieces(brief))}
    return tuple(_draw(kind, named.get(kind), brief.outfit, seed) for kind in kinds)


def _draw(kind: str, piece: words.Garment | None, outfit: str | None, seed: int) -> DrawnGarment:
    rng = np.random.default_rng([seed, DRAWN_SLOTS.index(garment_slot(kind))])
    by_seed = str(rng.choice(list(CLOTH)))
    if piece is None:
        colour, said = colour_of(outfit or by_seed), outfit is not None
        garment = GarmentDesign(kind, outfit or by_seed, colour, second_colour(colour))
        return DrawnGarment(garment, kind_name(kind), named=said, from_words=said)
    usual = USUAL_COLOURS.get(piece.name) or USUAL_COLOURS.get(piece.material or "")
    said = piece.shade or usual or outfit
    name, pattern = said or by_seed, piece.pattern or "plain"
    colour = colour_of(name)
    second = colour_of(piece.second) if piece.second else second_colour(colour)
    garment = GarmentDesign(kind, name, colour, second, DRAWN_PATTERNS.get(pattern, pattern))
    return DrawnGarment(garment, piece.name, pattern, from_words=said is not None)


def colour_of(name: str) -> RGB:
    """A colour or shade of the glossary as cloth."""
    return SHADES.get(name) or CLOTH[name]


def second_colour(first: RGB) -> RGB:
    """Of a pattern: white; on light colours a darker tone of the same, which leaves yellow yellow; on white black."""
    if luminance(first) < PALE:
        return (250, 250, 248)
    dark = tuple(round(0.55 * level) for level in first)
    return (45, 45, 52) if max(first) - min(first) < COLOURLESS else dark  # type: ignore[return-value]


# What is said of it


def drawing_note(drawn: Sequence[DrawnGarment]) -> list[str]:
    """One line that says which pieces of the words were drawn for want of pictures, if any."""
    by_words = [each.description for each in drawn if each.from_words]
    by_seed = [each.description for each in drawn if each.named and not each.from_words]
    parts = [f"as the prompt says: {', '.join(by_words)}"] if by_words else []
    parts += [f"in colours chosen by the seed: {', '.join(by_seed)}"] if by_seed else []
    if not parts:
        return []
    kind = next(each.garment.kind for each in drawn if each.named)
    return [f"clothes drawn {'; '.join(parts)}; give --garment {kind}=FILE for your own"]


def missing_notes(brief: Brief, worn: Sequence[str], in_sight: Collection[str], known: Collection[str]) -> list[str]:
    """One line for each piece that the sentence names and the picture does not show.

    Args:
        brief: what the words say.
        worn: kinds that have a place.
        in_sight: those of them that the layout shows.
        known: kinds that the family draws.
    """
    notes = {}
    for piece in brief.clothes:
        if piece.kind in known and piece.kind not in worn:
            taken = next(other for other in worn if slots(other) & slots(piece.kind))
            notes[f"{piece.name}: left out, its place is taken by the {kind_name(taken)}"] = None
        elif piece.kind in known and piece.kind not in in_sight:
            notes[f"{piece.name}: out of sight, outside the frame or under other clothes"] = None
    return list(notes)
