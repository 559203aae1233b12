"""What a sentence says and the bundled model does not draw, and the nearest thing that it does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from twinset.figure.poses import NAMED
from twinset.prompts.brief import Brief
from twinset.prompts.chinese import in_english

NEAREST: Mapping[str, tuple[str, ...]] = {
    "city": (
        "castle", "bridge", "temple", "church", "tower", "palace", "station", "subway", "airport", "market", "ruins",
        "square", "parking", "village", "stadium", "amusement park", "hospital", "harbour", "port", "shop", "mall",
        "campus", "school", "tram", "train", "bus", "metro", "pagoda", "shrine", "supermarket", "store", "wall street",
    ),
    "beach": ("desert", "sea", "pool", "swimming pool", "lake", "river", "island", "boat", "ship", "waterfall", "dune", "coast"),
    "park": ("farm", "vineyard", "hill", "valley", "zoo", "football field", "basketball court", "tennis court", "track"),
    "forest": ("mountain", "jungle", "cave", "swamp", "canyon", "cliff"),
    "room": ("gym", "gymnasium", "laboratory", "ballroom", "banqueting hall", "spaceship", "elevator", "lift", "dungeon", "cellar"),
    "night city": ("space", "moon", "nightclub", "club", "galaxy"),
    "twin tails or a ponytail": ("braid", "braids", "plait", "plaits", "dreadlocks", "cornrows"),
    "short hair": ("mohawk", "undercut", "bangs", "fringe"),
    "standing": ("sitting", "kneeling", "lying", "crouching", "squatting", "sleeping", "floating", "riding", "holding hands"),
    "arms up": ("jumping", "flying", "leaping", "stretching"),
    "peace sign": ("thumbs up", "heart sign", "heart hands", "saluting", "praying"),
    "a neutral face": ("angry", "tired", "scared", "bored", "pouting", "blushing", "shy", "disgusted", "confident"),
    "a checked pattern": ("leopard", "camouflage", "camo", "paisley", "tie-dye", "rainbow"),
}  # fmt: skip
"""Drawn thing → English words of what is drawn as it, or could be."""
SEVERAL = "one person is drawn"
_LOOK = {"gender": "gender", "age": "age", "ethnicity": "ethnicity"}


def undrawn_notes(brief: Brief) -> list[str]:
    """One line with everything in a sentence that the bundled model does not draw, if there is anything."""
    things = [*_undrawn(brief), *(_with_nearest(run) for run in brief.rest)]
    if not things:
        return []
    return [f"not drawn by the bundled model: {', '.join(dict.fromkeys(things))}"]


def _undrawn(brief: Brief) -> Iterator[str]:
    """The parts of a brief that have no place in a drawing."""
    if brief.count > 1:
        yield f"{brief.count} people ({SEVERAL})"
    yield from (piece.name for piece in brief.accessories)
    for piece in brief.clothes:
        if piece.material and piece.material not in ("denim", "leather", "knit"):
            yield piece.material
    if brief.pose and brief.pose not in NAMED:
        yield brief.pose
    if brief.art and brief.art != "photo":
        yield f"{brief.art} (its own drawn style)"
    yield from filter(None, (brief.age, brief.ethnicity))


def _with_nearest(run: str) -> str:
    """What was not understood, in English too, with the nearest thing that is drawn."""
    english = in_english(run)
    said = run if english in ("", run) else f"{run} ({english})"
    near = nearest(english or run)
    return f"{said} (the nearest is {near})" if near else said


def nearest(words: str) -> str:
    """The drawn thing nearest to what some English words name; "" where none is near."""
    known = {word: thing for thing, names in NEAREST.items() for word in names}
    padded = f" {words.lower()} "
    found = [word for word in known if f" {word} " in padded or f" {word}s " in padded]
    return known[max(found, key=len)] if found else ""
