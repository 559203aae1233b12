"""A sentence, English, Chinese or mixed, read into a brief: the person, the clothes, the pose, the scene.

A glossary is enough for that. What it does not know is kept in `Brief.rest`.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

from twinset.prompts.chinese import without_grammar
from twinset.prompts.glossary import (
    COUNTABLE,
    GARMENT_WORDS,
    HAIR_LENGTH_WORDS,
    HAIR_STYLE_WORDS,
    POSE_WORDS,
    SCENE_WORDS,
)
from twinset.prompts.languages import anglicised
from twinset.prompts.marks import Mark, Meaning, find_marks, normalise, uncovered
from twinset.prompts.notation import braces_as_weights, read_notation
from twinset.prompts.refusals import dropped_marks, exchanged_spans, find_refusals, refused_marks
from twinset.prompts.rephrasing import rephrased
from twinset.prompts.vocabulary.function_words import FUNCTION_WORDS

__all__ = [
    "GARMENT_WORDS", "HAIR_LENGTH_WORDS", "HAIR_STYLE_WORDS", "POSE_WORDS", "SCENE_WORDS",
    "Brief", "Garment", "read_brief",
]  # fmt: skip

#: Where a phrase with a garment of its own may begin; colours do not reach across.
_BREAK = re.compile(r"[,.;:!?、。|/\n]|\b(?:and|with|over|under|plus|but)\b|和|与|及|配|搭|加上|、")
_ALL_IN = re.compile(r"(?:\b(?:in|wearing|wears)(?: all| only)? |穿着?|身着|[一全]身)$")
_SAID_ALL = re.compile(
    r"\s*(?:$|[,.;:!?、。\n]|\b(?:on|at|in|with|by|near|and|standing|walking|sitting)\b|[^\x00-\x7f])"
)


@dataclass(frozen=True)
class Garment:
    """A piece that is worn or carried.

    Attributes:
        kind: A garment kind (`GARMENT_WORDS`) or an accessory (`ACCESSORY_WORDS`).
        name: Its English noun: "jeans" for the kind `trousers`.
        colour: A key of `COLOUR_WORDS`.
        pattern: A key of `PATTERN_WORDS`.
        material: A key of `MATERIAL_WORDS`.
        shade: The colour in English as the prompt names it: "burgundy" for `red`.
        second: The other colour of "red and white stripes", a key of `COLOUR_WORDS`.
    """

    kind: str
    name: str
    colour: str | None = None
    pattern: str | None = None
    material: str | None = None
    shade: str | None = None
    second: str | None = None


@dataclass(frozen=True)
class Brief:
    """A parsed prompt; `None` or empty where it says nothing.

    Attributes:
        text: The sentence as given.
        clothes: Garments with their looks, in the order of the sentence.
        outfit: Colour of the whole outfit, as in "dressed in black"; a key of `COLOUR_WORDS`.
        accessories: Scarves, gloves and the like, which are not drawn.
        gender: "female" or "male".
        age: A key of `AGE_WORDS`.
        ethnicity: A key of `ETHNICITY_WORDS`.
        count: Number of people, at least 1.
        hair_length: A key of `HAIR_LENGTH_WORDS`.
        hair_style: A key of `HAIR_STYLE_WORDS`.
        hair_colour: A key of `COLOUR_WORDS`.
        beard: A key of `BEARD_WORDS`.
        expression: A key of `EXPRESSION_WORDS`.
        pose: A key of `POSE_WORDS`.
        scene: A key of `SCENE_WORDS`.
        light: A key of `LIGHT_WORDS`.
        art: A key of `ART_WORDS`.
        unwanted: What the prompt excludes ("no hat").
        rest: What was not understood.
    """

    text: str
    clothes: tuple[Garment, ...] = ()
    outfit: str | None = None
    accessories: tuple[Garment, ...] = ()
    gender: str | None = None
    age: str | None = None
    ethnicity: str | None = None
    count: int = 1
    hair_length: str | None = None
    hair_style: str | None = None
    hair_colour: str | None = None
    beard: str | None = None
    expression: str | None = None
    pose: str | None = None
    scene: str | None = None
    light: str | None = None
    art: str | None = None
    unwanted: tuple[Meaning, ...] = ()
    rest: tuple[str, ...] = ()

    @property
    def garments(self) -> tuple[str, ...]:
        """Garment kinds named, each once, in the order of `GARMENT_WORDS`."""
        named = {garment.kind for garment in self.clothes}
        return tuple(kind for kind in GARMENT_WORDS if kind in named)

    @property
    def negatives(self) -> tuple[str, ...]:
        """Keys of what the prompt excludes; beards by their names."""
        return tuple(meaning.english if meaning.field == "beard" else meaning.key for meaning in self.unwanted)


def read_brief(text: str) -> Brief:
    """Read a sentence, English or Chinese or mixed, in any notation of `twinset.prompts.notation`.

    A longer word hides the shorter one inside it: "t-shirt" is no "shirt", 连衣裙 is no 裙子.
    """
    notation = read_notation(braces_as_weights(text))
    plain = normalise(rephrased(anglicised(notation.plain)[0]))
    marks, refused, wanted = read_marks(plain)
    excluded = find_marks(normalise(notation.negative)) if notation.negative else ()
    looks = _looks(plain, wanted)
    hair = next((looks[head] for head in wanted if head in looks and _is_hair(head) and "colour" in looks[head]), {})
    blonde = not hair and any((meaning := mark.meaning("colour")) and meaning.key == "blonde" for mark in wanted)
    return Brief(
        text=text,
        clothes=_pieces(wanted, looks, "garment"),
        outfit=_outfit(plain, wanted, looks),
        accessories=_pieces(wanted, looks, "accessory"),
        count=_count(plain, wanted),
        hair_length=_first(wanted, "length"),
        hair_style=_first(wanted, "style"),
        hair_colour="blonde" if blonde else _hair_colour(hair),
        light=_light(wanted),
        expression=_expression(wanted),
        unwanted=tuple(dict.fromkeys(mark.meanings[0] for mark in (*refused, *excluded) if _can_be_refused(mark))),
        rest=_rest(_without(plain, marks), marks),
        **{field: _first(wanted, field) for field in _PLAIN_FIELDS},  # type: ignore[arg-type]
    )


_PLAIN_FIELDS = ("gender", "age", "ethnicity", "beard", "pose", "scene", "art")


def read_marks(plain: str) -> tuple[tuple[Mark, ...], tuple[Mark, ...], tuple[Mark, ...]]:
    """The marks of a normalised text; those that it refuses; and those that it asks for."""
    marks = find_marks(plain)
    refused = refused_marks(plain, marks)
    spans = [(found.start, found.end) for found in find_refusals(plain, marks)]
    inside = (mark for mark in marks if any(start <= mark.start < end for start, end in spans))
    without = {*refused, *inside, *dropped_marks(plain, marks)}
    wanted = (mark for mark in marks if mark not in without and not mark.meaning("not") and not mark.meaning("instead"))
    people = tuple(mark for mark in wanted if not _is_old_thing(plain, mark, marks))
    return marks, refused, _without_attributes(plain, people)


def _is_old_thing(text: str, mark: Mark, marks: tuple[Mark, ...]) -> bool:
    """Whether "old" is said of a thing: "my old blue jeans"."""
    if text[mark.start : mark.end] != "old":
        return False
    following = next((other for other in marks if other.start >= mark.end), None)
    near = following is not None and text[mark.end : following.start] == " "
    return near and any(following.meaning(field) for field in ("colour", "garment", "material", "pattern"))


_COMPOUND_HEADS = ("dress", "vest", "jacket", "coat", "skirt", "上衣", "外套", "上装")
_UNIFORM = "uniform"


def _without_attributes(text: str, marks: tuple[Mark, ...]) -> tuple[Mark, ...]:
    """Marks without garments that only say of what kind another is: "turtleneck dress", 军装外套."""
    attributes = set()
    for first, second in itertools.pairwise(marks):
        worn = first.meaning("garment") or first.meaning("accessory")
        head = second.meaning("garment")
        if not (worn and head) or text[first.end : second.start].strip(" ") or second.start - first.end > 1:
            continue
        said = text[second.start : second.end]
        if said in _COMPOUND_HEADS or worn.key == _UNIFORM:
            attributes.add(first)
    return tuple(mark for mark in marks if mark not in attributes)


def _can_be_refused(mark: Mark) -> bool:
    return mark.meanings[0].field not in ("colour", "not", "instead", "body", "thing", "hair", "count", "praise")


def _expression(marks: tuple[Mark, ...]) -> str | None:
    """The first one named; "happy, laughing" is a laugh."""
    named = [meaning.key for mark in marks if (meaning := mark.meaning("expression"))]
    return "laugh" if named[:1] == ["smile"] and "laugh" in named else next(iter(named), None)


def _first(marks: tuple[Mark, ...], field: str) -> str | None:
    found = (mark.meaning(field) for mark in marks)
    return next((meaning.key for meaning in found if meaning), None)


def _light(marks: tuple[Mark, ...]) -> str | None:
    """The light that is named, else the one that a scene brings: "night city, neon" is neon."""
    return _first(tuple(mark for mark in marks if not mark.meaning("scene")), "light") or _first(marks, "light")


def _is_hair(mark: Mark) -> bool:
    return any(mark.meaning(field) for field in ("length", "style", "hair"))


def _is_head(mark: Mark) -> bool:
    return _is_hair(mark) or any(mark.meaning(field) for field in ("garment", "accessory", "beard", "body", "thing"))


# Looks of garments and hair


@dataclass(frozen=True)
class ColourWord:
    """A colour word of a garment: characters `start` to `end` say that `kind` is `colour`."""

    start: int
    end: int
    kind: str
    colour: str


def colour_words(text: str) -> tuple[str, tuple[ColourWord, ...]]:
    """The normalised text and its garments' colour words, in order."""
    plain = normalise(text)
    _, _, wanted = read_marks(plain)
    looks: dict[Mark, dict[str, Meaning]] = {mark: {} for mark in wanted if _is_head(mark)}
    words = []
    for mark in wanted:
        colour = mark.meaning("colour")
        head = _owner(plain, wanted, mark, "colour", looks) if colour else None
        garment = head.meaning("garment") if head else None
        if head and colour:
            looks[head].setdefault("colour", colour)
            words += [ColourWord(mark.start, mark.end, garment.key, colour.key)] if garment else []
    return plain, tuple(words)


def _looks(text: str, marks: tuple[Mark, ...]) -> dict[Mark, dict[str, Meaning]]:
    """Every head with the colour, pattern and material that belong to it, and a "second" colour.

    They stand before their head ("red dress"), or after it where no other head follows in the phrase ("dress in red").
    """
    looks: dict[Mark, dict[str, Meaning]] = {mark: {} for mark in marks if _is_head(mark)}
    for mark in marks:
        for field in ("colour", "pattern", "material"):
            meaning = mark.meaning(field)
            head = _owner(text, marks, mark, field, looks) if meaning else None
            if head and meaning and _suits(head, meaning):
                again = field == "colour" and looks[head].get(field, meaning) != meaning
                looks[head].setdefault("second" if again else field, meaning)
    return looks


def _suits(head: Mark, look: Meaning) -> bool:
    """Only hair is blonde, and only garments have patterns and materials."""
    if look.field != "colour":
        return bool(head.meaning("garment") or head.meaning("accessory"))
    return look.key != "blonde" or _is_hair(head)


def _owner(
    text: str, marks: tuple[Mark, ...], mark: Mark, field: str, looks: dict[Mark, dict[str, Meaning]]
) -> Mark | None:
    """The head that a colour, pattern or material belongs to; a head may say its own ("redhead")."""
    if mark in looks:
        return mark
    after = next((head for head in looks if head.start >= mark.end), None)
    if after and not _broken(text, marks, mark, after):
        return after
    before = [head for head in looks if head.end <= mark.start]
    if not before or _apart(text, before[-1], mark):
        return None
    return None if field in looks[before[-1]] else before[-1]


def _apart(text: str, head: Mark, mark: Mark) -> bool:
    """Whether a head before a word is of another phrase; "a hoodie, grey, and shorts" is one."""
    between = text[head.end : mark.start]
    alone = mark.meaning("colour") and re.match(r"\s*(?:$|[,.;!])", text[mark.end :])
    if between.strip() == "," and alone and head.meaning("garment"):
        return False
    return re.search(r"[,.;:!?、。\n]", between) is not None


def _broken(text: str, marks: tuple[Mark, ...], mark: Mark, head: Mark) -> bool:
    """Whether another phrase begins between a word and a head; "blue and white shirt" is one phrase."""
    between = text[mark.end : head.start]
    breaks = list(_BREAK.finditer(between))
    if len(breaks) == 1 and breaks[0][0] in ("and", "和", "与") and mark.meaning("colour"):
        following = next(other for other in marks if other.start >= mark.end)
        return not (following.meaning("colour") and text[mark.end : following.start].strip() == breaks[0][0])
    return bool(breaks)


_TOPS = ("t_shirt", "tank_top", "shirt", "hoodie", "jumper")
_LONG_DRESS = Meaning("garment", "dress", "long dress")
_LONG_SKIRT = Meaning("garment", "skirt", "long skirt")
"""What 长裙 is with a top, and without one."""


def _pieces(marks: tuple[Mark, ...], looks: dict[Mark, dict[str, Meaning]], field: str) -> tuple[Garment, ...]:
    pieces: dict[Garment, None] = {}
    topped = any((worn := mark.meaning("garment")) and worn.key in _TOPS for mark in marks)
    for mark in marks:
        meaning = mark.meaning(field)
        if meaning and topped and meaning == _LONG_DRESS:
            meaning = _LONG_SKIRT
        if meaning:
            look = {name: found.key for name, found in looks[mark].items()}
            shade = looks[mark]["colour"].english if "colour" in look else None
            pieces[Garment(meaning.key, meaning.english, shade=shade, **look)] = None
    return tuple(pieces)


def _outfit(text: str, marks: tuple[Mark, ...], looks: dict[Mark, dict[str, Meaning]]) -> str | None:
    """The colour that is worn without a garment's name: "a man in black", 穿白色的女孩."""
    for mark in marks:
        colour = mark.meaning("colour")
        phrase = re.split(r"[,.;:!?、。\n]", text[: mark.start])[-1]
        dressed = any(mark.start - len(phrase) <= head.start < mark.start for head in looks)
        around = not dressed and _ALL_IN.search(text[: mark.start]) and _SAID_ALL.match(text[mark.end :])
        if colour and around and _owner(text, marks, mark, "colour", looks) is None:
            return colour.key
    return None


def _hair_colour(look: dict[str, Meaning]) -> str | None:
    if "colour" not in look:
        return None
    return "blonde" if look["colour"].key == "yellow" else look["colour"].key


# People and the rest


def _count(text: str, marks: tuple[Mark, ...]) -> int:
    """Number of people: of a number that people follow in its phrase."""
    for mark in marks:
        meaning = mark.meaning("count")
        if not meaning:
            continue
        phrase = re.split(r"[,.;]", text[mark.start : mark.end + 24])[0]
        named = any(re.search(rf"\b{word}\b", phrase) for word in COUNTABLE) or re.search("[女男人友侣孩俩子]", phrase)
        if named:
            return int(meaning.key)
    return 1


def _rest(text: str, marks: tuple[Mark, ...]) -> tuple[str, ...]:
    """Runs of words that no glossary knows, without function words."""
    known = tuple(mark for mark in marks if not mark.meaning("thing"))
    runs = re.split(r"[|,.;:!?、。()\"\n]+", uncovered(text, known))
    return tuple(filter(None, map(_meant, runs)))


def _without(text: str, marks: tuple[Mark, ...]) -> str:
    """The text with refusals and what is exchanged barred: those are understood."""
    for start, end in (
        *((found.start, found.end) for found in find_refusals(text, marks)),
        *exchanged_spans(text, marks),
    ):
        text = text[:start] + "|" * (end - start) + text[end:]
    return text


def _meant(run: str) -> str:
    words = (word for word in without_grammar(run).split() if word not in FUNCTION_WORDS)
    words = (word.strip("-'") for word in words)
    return " ".join(
        word for word in words if re.search(r"[^\W\d_a-z]|[a-z]{2}", word) and not re.match(r"[0-9]|f/", word)
    )
