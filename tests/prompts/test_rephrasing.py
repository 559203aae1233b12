"""Turns of phrase that the glossary does not hold, read as what they mean."""

from __future__ import annotations

import pytest

from twinset.prompts.brief import Brief, read_brief


def shown(brief: Brief) -> dict[str, object]:
    """What a brief says, without what it leaves open."""
    worn = {piece.kind: piece.colour for piece in brief.clothes}
    hair = {"length": brief.hair_length, "style": brief.hair_style, "hair": brief.hair_colour}
    told = {"worn": worn, "not": brief.negatives, "age": brief.age, **hair}
    return {name: value for name, value in told.items() if value}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("long, straight, red hair", {"length": "long", "hair": "red"}),
        ("her hair is shoulder length, brown and curly", {"length": "medium", "hair": "brown", "style": "curly"}),
        ("a short brown bob", {"length": "short", "hair": "brown", "style": "bob"}),
        ("long red dress, brown hair", {"worn": {"dress": "red"}, "hair": "brown"}),
        ("a blue-haired man", {"hair": "blue"}),
        ("长长的黑色头发", {"length": "long", "hair": "black"}),
        ("头发很短，白T", {"length": "short", "worn": {"t_shirt": "white"}}),
        ("Hair: short, black. Shirt: white", {"length": "short", "hair": "black", "worn": {"shirt": "white"}}),
        ("发型：波波头；上衣：黄色卫衣", {"style": "bob", "worn": {"hoodie": "yellow"}}),
        ("hatless, redshirt, blackjeans", {"not": ("straw_hat",), "worn": {"shirt": "red", "trousers": "black"}}),
        ("a 5 year old boy", {"age": "child"}),
        ("70岁的男人", {"age": "old"}),
        ("a barefoot man in my old blue jeans", {"not": ("shoes",), "worn": {"trousers": "blue"}}),
        ("cream turtleneck dress", {"worn": {"dress": "beige"}}),
        ("军装外套", {"worn": {"coat": None}}),
        ("白色衬衫，蓝色长裙", {"worn": {"shirt": "white", "skirt": "blue"}}),
        ("change my jacket to dark green", {"worn": {"coat": "green"}}),
        ("把裙子换成白色的裤子", {"worn": {"trousers": "white"}}),
        ("a suit but not a black one", {"worn": {"suit_jacket": None}}),
        ("mediumseagreen dress, thanks", {"worn": {"dress": "green"}}),
    ],
)
def test_a_turn_of_phrase(text: str, told: dict[str, object]) -> None:
    assert shown(read_brief(text)) == told
