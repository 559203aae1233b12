"""Every word of the glossary is drawn by the bundled model, or said not to be; and each has an English name."""

from __future__ import annotations

import pytest

from twinset.figure.colours import HAIR
from twinset.figure.drawing.hair import BALD, HAIR_STYLES
from twinset.figure.face_look import BEARDS, EXPRESSIONS
from twinset.figure.poses import NAMED
from twinset.pipelines.families.looks import choose_looks
from twinset.pipelines.wardrobe import draw_clothes
from twinset.prompts.brief import Brief, read_brief
from twinset.prompts.glossary import FIELDS
from twinset.prompts.marks import find_marks, normalise
from twinset.prompts.sentence import understand
from twinset.prompts.undrawn import NEAREST, nearest_drawn, undrawn_notes
from twinset.prompts.wording import write_prompts

SAID = {
    "colour": "{} dress", "pattern": "{} dress", "material": "{} dress", "count": "{} people", "instead": "{} dress",
}  # fmt: skip
"""How a word of a field is said; alone where nothing else is named."""
SILENT = ("gender", "hair", "body", "not", "instead", "hidden", "praise")
"""Fields whose words say nothing that could be drawn alone: women and men are drawn alike."""


def words(field: str) -> list[str]:
    """The words of a field, `*` filled."""
    every = (entry.partition("=")[0] for entries in FIELDS[field].values() for entry in entries)
    return [word.replace("*", "very") for word in every]


def is_drawn(field: str, brief: Brief) -> bool:
    """Whether a brief changes what is drawn by one field."""
    garments = [each.garment for each in draw_clothes(brief, brief.garments, 0)]
    looks = choose_looks(brief, None, brief.hair_style or "bob", 0)
    return {
        "garment": bool(garments),
        "colour": brief.hair_colour is not None or any(piece.shade for piece in brief.clothes),
        "pattern": any(garment.pattern != "plain" for garment in garments) or "plain" in str(brief.clothes),
        "material": any(piece.material in ("denim", "leather", "knit") for piece in brief.clothes),
        "length": brief.hair_length is not None, "style": brief.hair_style in (*HAIR_STYLES, BALD),
        "beard": looks.beard in BEARDS[1:], "expression": brief.expression in EXPRESSIONS, "pose": brief.pose in NAMED,
        "scene": brief.scene is not None, "light": brief.light is not None, "age": brief.age == "young",
    }.get(field, False)  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("field", [field for field in FIELDS if field not in SILENT])
def test_each_word_is_drawn_or_noted(field: str) -> None:
    lost = []
    for word in words(field):
        brief = read_brief(SAID.get(field, "{}").format(word))
        alone = read_brief(word)
        if not any(is_drawn(field, each) or undrawn_notes(each) for each in (brief, alone)):
            lost.append(word)
    assert lost == []


@pytest.mark.long
def test_every_word_is_english_in_an_english_prompt() -> None:
    for field, glossary in FIELDS.items():
        english = {entry.rpartition("=")[2] for entries in glossary.values() for entry in entries}
        for word in words(field):
            spoken = {meaning.english for mark in find_marks(normalise(word)) for meaning in mark.meanings}
            assert all(each.isascii() for each in spoken), word
            assert not spoken & ({"body", "hidden", "praise", "thing", "full", "t_shirt", "twin_tails"} - english), word


def test_no_key_reaches_a_prompt() -> None:
    text = "没有胡子的男人，不要花，红唇，短发，T恤，双马尾，夜景，比耶，冷光"
    for family in ("sd15", "sdxl"):
        made = write_prompts(read_brief(text), family)
        spoken = understand(text, family)
        for prompt in (made.positive, made.negative, spoken.prompt, spoken.negative or ""):
            assert not {"body", "full", "t_shirt", "twin_tails", "night_city", "hidden"} & set(
                prompt.replace(",", "").split()
            )


def test_what_is_near_is_named() -> None:
    assert nearest_drawn("an old castle") == "city" and nearest_drawn("quantum") == ""
    assert {"white", "navy", "teal"} & set(HAIR) == set()
    assert undrawn_notes(read_brief("white hair, castle, a tie, two women")) == [
        "not drawn by the bundled model: 2 people (one person is drawn), tie, white hair (the nearest is grey), "
        "castle (the nearest is city)"
    ]
    assert undrawn_notes(read_brief("short black hair, red dress, beach, smiling")) == []
    assert all(names for names in NEAREST.values())
