"""From a brief to positive and negative prompts in the words that a family was trained with."""

from __future__ import annotations

from dataclasses import dataclass

from twinset.errors import InputError
from twinset.prompts.brief import Brief, Garment
from twinset.prompts.chinese import in_english

FAMILIES = ("studio", "sd15", "sdxl")
#: Phrases of the captions that `studio` was trained on.
_STYLES = {
    "bob": "bob with bangs", "ponytail": "ponytail", "twin_tails": "twin tails", "bun": "top bun", "curly": "curls",
    "buns": "two buns", "spiky": "spiky hair", "centre": "bob parted in the middle", "bald": "bald",
}  # fmt: skip
_BEARDS = {"full": "with a full beard", "stubble": "with stubble", "moustache": "with a moustache"}
_EXPRESSIONS = {
    "neutral": "neutral expression", "smile": "smiling", "laugh": "laughing", "surprised": "surprised",
    "wink": "winking", "sad": "sad",
}  # fmt: skip
_SCENES = {
    "beach": "on the beach",
    "city": "in the city",
    "park": "in a park",
    "studio": "in a studio",
    "room": "in a room",
    "night_city": "in the city at night",
    "office": "in an office",
    "cafe": "in a cafe",
    "bedroom": "in a bedroom",
    "forest": "in a forest",
    "stage": "on stage",
    "snow": "in the snow",
}
_PATTERNS = {"plain": "plain", "stripes": "striped", "dots": "dotted", "checks": "checked", "floral": "floral"}
_PEOPLE = {"female": ("woman", "women"), "male": ("man", "men"), None: ("person", "people")}
_YOUNG = {"female": ("girl", "girls"), "male": ("boy", "boys"), None: ("child", "children")}
_NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five"}


@dataclass(frozen=True)
class Prompts:
    """Positive and negative prompt of one picture."""

    positive: str
    negative: str


def write_prompts(brief: Brief, family: str) -> Prompts:
    """Word a brief for a family.

    `studio` gets only phrases of its own captions; `sd15` and `sdxl` get English tags with what was not understood
    behind them, Chinese as the dictionary has it.

    Raises:
        InputError: An unknown family.
    """
    require_family(family)
    parts = _studio(brief) if family == "studio" else _tags(brief)
    refused = dict.fromkeys(meaning.english for meaning in brief.unwanted)
    return Prompts(", ".join(filter(None, parts)), ", ".join(refused))


def require_family(family: str) -> None:
    """Refuse a family that has no words.

    Raises:
        InputError: it is unknown; the known ones are listed.
    """
    if family not in FAMILIES:
        raise InputError(f"family {family!r} is unknown; choose one of {', '.join(FAMILIES)}")


def _studio(brief: Brief) -> list[str]:
    clothes = [
        _piece(garment, garment.kind.replace("_", "-" if garment.kind == "t_shirt" else " "), False)
        for garment in brief.clothes
    ]
    return ["a person", *_hair(brief), *(["wearing " + " and ".join(clothes)] if clothes else []), *_around(brief)]


def _tags(brief: Brief) -> list[str]:
    art = [brief.art] if brief.art else []
    worn = [_piece(garment, garment.name, True) for garment in (*brief.clothes, *brief.accessories)]
    known = map(in_english, brief.rest)
    return [*art, _people(brief), *_hair(brief), *worn, *_around(brief), *known]


def _people(brief: Brief) -> str:
    words = (_YOUNG if brief.age == "child" else _PEOPLE)[brief.gender]
    age = {"young": "young", "old": "old", "middle_aged": "middle-aged", "teen": "teenage"}.get(brief.age or "", "")
    ethnicity = (brief.ethnicity or "").capitalize()
    several = brief.count > 1
    number = _NUMBERS.get(brief.count, str(brief.count)) if several else _article(age or ethnicity or words[0])
    return " ".join(filter(None, (number, age, ethnicity, words[several])))


def _article(word: str) -> str:
    return "an" if word[0].lower() in "aeiou" else "a"


def _hair(brief: Brief) -> list[str]:
    length = {"medium": "medium-length"}.get(brief.hair_length or "", brief.hair_length)
    hair = " ".join(filter(None, (length, brief.hair_colour)))
    found = (f"{hair} hair" if hair else None, _STYLES.get(brief.hair_style or ""), _BEARDS.get(brief.beard or ""))
    return list(filter(None, found))


def _piece(garment: Garment, noun: str, shades: bool) -> str:
    colour = garment.shade if shades else garment.colour
    pattern = _PATTERNS.get(garment.pattern or "")
    return " ".join(filter(None, (colour, pattern, garment.material if shades else None, noun)))


def _around(brief: Brief) -> list[str]:
    said = [
        _EXPRESSIONS.get(brief.expression or ""),
        (brief.pose or "").replace("_", " "),
        _SCENES.get(brief.scene or ""),
    ]
    return [*filter(None, said), *([f"{brief.light} light"] if brief.light else [])]
