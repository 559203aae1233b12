"""What a sentence says and the bundled model does not draw, and the nearest thing that it does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from twinset.figure.colours import HAIR
from twinset.prompts.brief import Brief
from twinset.prompts.chinese import in_english

NEAREST: Mapping[str, tuple[str, ...]] = {
    "city": (
        "castle", "bridge", "temple", "church", "tower", "palace", "station", "subway", "airport", "market", "ruins",
        "square", "parking", "village", "stadium", "amusement park", "hospital", "harbour", "port", "shop", "mall",
        "campus", "school", "tram", "train", "bus", "metro", "pagoda", "shrine", "supermarket", "store", "wall street",
    ),
    "beach": (
        "desert", "sea", "pool", "swimming pool", "lake", "river", "island", "boat", "ship", "waterfall", "dune",
        "coast",
    ),
    "park": (
        "farm", "vineyard", "hill", "valley", "zoo", "football field", "basketball court", "tennis court", "track",
    ),
    "forest": ("mountain", "jungle", "cave", "swamp", "canyon", "cliff"),
    "room": (
        "gym", "gymnasium", "laboratory", "ballroom", "banqueting hall", "spaceship", "elevator", "lift", "dungeon",
        "cellar",
    ),
    "night city": ("space", "moon", "nightclub", "club", "galaxy"),
    "twin tails or a ponytail": ("braid", "braids", "braided", "plait", "plaits", "dreadlocks", "cornrows"),
    "short hair": ("mohawk", "undercut", "bangs", "fringe"),
    "standing": (
        "sitting", "kneeling", "lying", "crouching", "squatting", "sleeping", "floating", "riding", "holding hands",
    ),
    "arms up": ("jumping", "flying", "leaping", "stretching"),
    "peace sign": ("thumbs up", "heart sign", "heart hands", "saluting", "praying"),
    "a neutral face": ("angry", "tired", "scared", "bored", "pouting", "blushing", "shy", "disgusted", "confident"),
    "a checked pattern": ("leopard", "camouflage", "camo", "paisley", "tie-dye", "rainbow"),
}  # fmt: skip
"""Drawn thing → English words of what is drawn as it, or could be."""
_NEAREST_HAIR = {"white": "grey", "beige": "blonde", "yellow": "blonde", "navy": "blue", "teal": "green"}
_DRAWN_MATERIALS = ("denim", "leather", "knit")
"""Materials that give a garment its usual colour or are part of its name."""


def drawn_hair_colour(colour: str) -> str:
    """The colour of hair that is drawn for one that a sentence names: white hair is drawn grey."""
    return colour if colour in HAIR else _NEAREST_HAIR[colour]


def undrawn_notes(brief: Brief) -> list[str]:
    """One line with everything in a sentence that the bundled model does not draw, if there is anything.

    Women and men, and young people, are drawn alike: their faces come from a selfie or from the seed.
    """
    things = [*_undrawn(brief), *map(_with_nearest, brief.rest)]
    return [f"not drawn by the bundled model: {', '.join(dict.fromkeys(things))}"] if things else []


def _undrawn(brief: Brief) -> Iterator[str]:
    """The parts of a brief that have no place in a drawing."""
    if brief.count > 1:
        yield f"{brief.count} people (one person is drawn)"
    yield from (piece.name for piece in brief.accessories)
    yield from (piece.material for piece in brief.clothes if piece.material not in (None, *_DRAWN_MATERIALS))
    if brief.hair_colour is not None and brief.hair_colour not in HAIR:
        yield f"{brief.hair_colour} hair (the nearest is {drawn_hair_colour(brief.hair_colour)})"
    if brief.art is not None:
        yield f"{brief.art} (the model has one style of drawing)"
    yield from (word.replace("_", "-") for word in (brief.age, brief.ethnicity) if word not in (None, "young"))


def _with_nearest(run: str) -> str:
    """What was not understood, in English too, with the nearest thing that is drawn."""
    english = in_english(run)
    told = [english] if english not in ("", run) else []
    near = nearest_drawn(english or run)
    told += [f"the nearest is {near}"] if near else []
    return f"{run} ({', '.join(told)})" if told else run


def nearest_drawn(words: str) -> str:
    """The drawn thing nearest to what some English words name; "" where none is near."""
    known = {word: thing for thing, names in NEAREST.items() for word in names}
    padded = f" {words.lower()} "
    found = [word for word in known if f" {word} " in padded or f" {word}s " in padded]
    return known[max(found, key=len)] if found else ""
