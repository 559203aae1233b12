"""Sentences that name garments and their colours as users write them, English and Chinese, drawn from a seed.

What is named (kinds, colours, patterns, hair, scene) comes of a Mannequin description of that seed; how it is said, of
the words and templates here. They know nothing of the glossary that reads them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from twinset.training.mannequin.spec import Spec

FRAMING_SHARES = {"portrait": 0.15, "half": 0.25, "three_quarter": 0.3, "full": 0.3}
NAMED_SHARES = {"upper": 1.0, "lower": 0.8, "shoes": 0.65}
"""How often a sentence names the piece of a slot."""
HELD_OUT = 900_000_000
"""Sentences from this number on use all templates; those below, to look at while tuning, every second one."""


@dataclass(frozen=True)
class NamedPiece:
    """A garment that a sentence names.

    Attributes:
        slot: "dress", "upper", "lower" or "shoes".
        kind: garment kind.
        noun: the word for it.
        colour: a key of `twinset.figure.colours.CLOTH`.
        shade: the word for it.
        pattern: of Mannequin's patterns.
    """

    slot: str
    kind: str
    noun: str
    colour: str
    shade: str
    pattern: str


@dataclass(frozen=True)
class NamedSentence:
    """A sentence and what it names.

    Attributes:
        text: as a user would write it.
        pieces: what is to be seen.
        framing: of the picture.
        hair_colour: the hair's colour in the words, a key of `twinset.figure.colours.HAIR`, or None.
    """

    text: str
    pieces: tuple[NamedPiece, ...]
    framing: str
    hair_colour: str | None


@dataclass(frozen=True)
class Speech:
    """How a language says things: each value lists alternatives, the usual ones several times."""

    nouns: dict[str, tuple[str, ...]]
    colours: dict[str, tuple[str, ...]]
    patterns: dict[str, tuple[str, ...]]
    lengths: dict[str, str]
    hair_colours: dict[str, str]
    scenes: dict[str, tuple[str, ...]]
    expressions: dict[str, str]
    people: tuple[str, ...]
    templates: tuple[str, ...]
    phrases: tuple[str, ...]
    joiners: tuple[str, ...]


ENGLISH = Speech(
    nouns={
        "t_shirt": ("t-shirt", "t-shirt", "T-shirt", "tee", "tshirt", "top"),
        "tank_top": ("tank top", "tank top", "camisole", "vest"),
        "shirt": ("shirt", "shirt", "blouse", "button-up shirt"),
        "hoodie": ("hoodie", "hoodie", "sweater", "sweatshirt", "jumper"),
        "coat": ("coat", "jacket", "trench coat", "blazer", "leather jacket", "cardigan"),
        "dress": ("dress", "dress", "dress", "gown", "evening dress", "sundress"),
        "skirt": ("skirt", "skirt", "pleated skirt", "mini skirt"),
        "trousers": ("trousers", "pants", "jeans", "leggings", "chinos"),
        "shorts": ("shorts",),
        "shoes": ("shoes", "shoes", "sneakers", "boots", "heels", "sandals", "trainers"),
    },
    colours={
        "red": ("red", "red", "red", "burgundy", "crimson", "dark red", "scarlet"),
        "orange": ("orange", "orange", "orange", "coral"),
        "yellow": ("yellow", "yellow", "yellow", "mustard", "light yellow"),
        "green": ("green", "green", "green", "dark green", "olive", "mint green", "emerald", "light green"),
        "teal": ("teal", "turquoise", "cyan"),
        "blue": ("blue", "blue", "blue", "light blue", "sky blue", "royal blue"),
        "navy": ("navy", "navy blue", "dark blue"),
        "purple": ("purple", "purple", "violet", "lavender"),
        "pink": ("pink", "pink", "pink", "hot pink", "light pink"),
        "brown": ("brown", "brown", "dark brown", "light brown"),
        "white": ("white",),
        "grey": ("grey", "gray", "charcoal", "silver", "light grey"),
        "black": ("black",),
        "beige": ("beige", "beige", "cream", "khaki"),
    },
    patterns={"plain": ("",), "stripes": ("striped",), "dots": ("polka dot", "dotted"), "checks": ("checked", "plaid")},
    lengths={"short": "short", "medium": "medium-length", "long": "long"},
    hair_colours={
        "black": "black", "brown": "brown", "blonde": "blonde", "red": "red", "grey": "silver grey", "blue": "blue",
        "pink": "pink", "green": "green", "purple": "purple", "orange": "orange",
    },
    scenes={
        "beach": ("beach", "on the beach", "by the sea"),
        "city": ("city", "in the city", "on a city street"),
        "park": ("park", "in the park", "in a park"),
        "studio": ("studio", "in a studio", "studio backdrop"),
        "room": ("room", "in a room", "indoors"),
    },
    expressions={
        "neutral": "neutral expression", "smile": "smiling", "laugh": "laughing", "surprised": "surprised",
        "wink": "winking", "sad": "sad",
    },
    people=("a woman", "a girl", "a man", "a young woman", "a person", "someone"),
    templates=(
        "{hair}, {list}, {scene}", "{list}, {scene}", "{person} in {clothes}, {scene}",
        "{person} with {hair} wearing {clothes}, {expression}, {scene}", "{person} wearing {clothes}",
        "{scene}, {expression}, {list}", "photo of {person} in {clothes}, {hair}",
        "{person}, {hair}, dressed in {clothes}, {scene}", "{hair} {bare} {scene}", "me in {clothes} {scene}",
        "{said}, {scene}", "{expression}, {list}, {hair}",
        "portrait of {person} wearing {clothes}, {scene}, {expression}",
        "{behind}, {hair}, {scene}", "{person} {scene}: {list}", "{Person} stands {scene}. {Said}.",
        "I want to see myself in {clothes}, {expression}", "{list}", "{person} with {hair}, {behind}",
        "{clothes}, {hair}, {expression}", "wearing {clothes}, {hair}, {scene}",
        "{scene}, {person} who wears {clothes}",
        "{person} with {hair}. {Said}.", "{expression} {person} in {clothes} {scene}",
    ),
    phrases=("{colour} {pattern} {noun}", "{pattern} {noun} in {colour}", "the {pattern} {noun} {is} {colour}"),
    joiners=(" and ", ", ", ", "),
)  # fmt: skip

CHINESE = Speech(
    nouns={
        "t_shirt": ("T恤", "T恤", "短袖", "上衣"),
        "tank_top": ("背心", "背心", "吊带", "无袖上衣"),
        "shirt": ("衬衫", "衬衫", "衬衣"),
        "hoodie": ("卫衣", "卫衣", "连帽衫", "毛衣"),
        "coat": ("外套", "大衣", "风衣", "夹克", "西装外套"),
        "dress": ("连衣裙", "连衣裙", "连衣裙", "长裙", "礼服", "旗袍"),
        "skirt": ("半身裙", "裙子", "短裙", "百褶裙"),
        "trousers": ("长裤", "裤子", "牛仔裤", "阔腿裤", "紧身裤"),
        "shorts": ("短裤",),
        "shoes": ("鞋子", "鞋", "运动鞋", "靴子", "高跟鞋", "凉鞋", "帆布鞋"),
    },
    colours={
        "red": ("红色", "红色", "红", "酒红色", "大红色", "深红色"),
        "orange": ("橙色", "橙色", "橘色"),
        "yellow": ("黄色", "黄色", "浅黄色", "姜黄色"),
        "green": ("绿色", "绿色", "墨绿色", "浅绿色", "军绿色"),
        "teal": ("青色", "蓝绿色"),
        "blue": ("蓝色", "蓝色", "浅蓝色", "天蓝色", "宝蓝色"),
        "navy": ("藏青色", "深蓝色", "藏蓝色"),
        "purple": ("紫色", "紫色", "淡紫色", "深紫色"),
        "pink": ("粉色", "粉色", "粉红色", "浅粉色"),
        "brown": ("棕色", "褐色", "咖啡色", "深棕色"),
        "white": ("白色", "白"),
        "grey": ("灰色", "灰色", "银灰色", "深灰色", "浅灰色"),
        "black": ("黑色", "黑"),
        "beige": ("米色", "米白色", "卡其色"),
    },
    patterns={"plain": ("",), "stripes": ("条纹",), "dots": ("波点", "圆点"), "checks": ("格子", "格纹")},
    lengths={"short": "短发", "medium": "中长发", "long": "长发"},
    hair_colours={
        "black": "黑色", "brown": "棕色", "blonde": "金色", "red": "红色", "grey": "银灰色", "blue": "蓝色",
        "pink": "粉色", "green": "绿色", "purple": "紫色", "orange": "橙色",
    },
    scenes={
        "beach": ("海边", "在海滩", "沙滩上"),
        "city": ("城市街道", "在城市里", "街头"),
        "park": ("公园", "在公园里", "公园草地"),
        "studio": ("摄影棚", "在摄影棚里"),
        "room": ("室内", "在房间里"),
    },
    expressions={
        "neutral": "表情平静", "smile": "微笑", "laugh": "大笑", "surprised": "惊讶", "wink": "眨眼", "sad": "难过",
    },
    people=("一个女孩", "一位女士", "一个男孩", "一个人", "美女", "年轻女子"),
    templates=(
        "{hair}，{list}，{scene}", "{list}，{scene}", "{person}穿着{clothes}，{scene}",
        "{person}，{hair}，穿着{clothes}，{expression}，{scene}", "{person}身穿{clothes}",
        "{scene}，{expression}，{list}",
        "{person}的照片，{clothes}，{hair}", "{person}，{hair}，身穿{clothes}，{scene}", "{hair}{bare}{scene}",
        "我穿着{clothes}{scene}", "{said}，{scene}", "{expression}，{list}，{hair}",
        "{person}的半身像，穿{clothes}，{scene}，{expression}",
        "{behind}，{hair}，{scene}", "{scene}的{person}：{list}", "{person}站着，{scene}。{said}。",
        "想看我穿{clothes}的样子，{expression}", "{list}", "{person}，{hair}，{behind}",
        "{clothes}，{hair}，{expression}",
        "穿着{clothes}，{hair}，{scene}", "{scene}，{person}穿着{clothes}", "{person}，{hair}。{said}。",
        "{expression}的{person}，{clothes}，{scene}",
    ),
    phrases=("{colour}{pattern}{noun}", "{colour}的{pattern}{noun}", "{pattern}{noun}是{colour}的"),
    joiners=("和", "，", "、", "配"),
)  # fmt: skip
SPEECH = {"en": ENGLISH, "zh": CHINESE}


def named_sentence(spec: Spec, language: str, number: int) -> NamedSentence:
    """A sentence about the clothes of a person.

    Args:
        spec: whose garments, hair, expression and scene are named.
        language: "en" or "zh".
        number: chooses the words, and the templates in turn.
    """
    rng, speech = np.random.default_rng([number, ("en", "zh").index(language)]), SPEECH[language]
    framing = str(rng.choice(list(FRAMING_SHARES), p=list(FRAMING_SHARES.values())))
    pieces = tuple(
        _piece("dress" if garment.kind == "dress" else slot, garment, speech, rng)
        for slot, garment in spec.garments.items()
        if rng.random() < NAMED_SHARES[slot]
    )
    templates = speech.templates if number >= HELD_OUT else speech.templates[::2]
    template = templates[number % len(templates)]
    names_hair = rng.random() < 0.3 and "{hair}" in template
    hair = _hair(spec, language, speech, names_hair)
    parts = _clothes(pieces, language, speech, rng)
    parts |= {"hair": hair, "person": _pick(speech.people, rng), "expression": speech.expressions[spec.expression]}
    parts |= {"scene": _pick(speech.scenes[spec.scene], rng)}
    parts |= {"Person": parts["person"].capitalize(), "Said": parts["said"].capitalize()}
    return NamedSentence(template.format(**parts), pieces, framing, spec.hair.colour_name if names_hair else None)


def _pick(words: tuple[str, ...], rng: np.random.Generator) -> str:
    return words[int(rng.integers(len(words)))]


def _piece(slot: str, garment, speech: Speech, rng: np.random.Generator) -> NamedPiece:
    noun = _pick(speech.nouns[garment.kind], rng)
    shade = _pick(speech.colours[garment.colour_name], rng)
    return NamedPiece(slot, garment.kind, noun, garment.colour_name, shade, garment.pattern)


def _hair(spec: Spec, language: str, speech: Speech, coloured: bool) -> str:
    length, colour = speech.lengths[spec.hair.length], speech.hair_colours[spec.hair.colour_name] if coloured else ""
    return colour + length if language == "zh" else " ".join(filter(None, (length, colour, "hair")))


def _clothes(pieces: tuple[NamedPiece, ...], language: str, speech: Speech, rng: np.random.Generator) -> dict[str, str]:
    """The clothes in each of the ways in which a template may want them."""
    looks = [
        {"colour": piece.shade, "pattern": _pick(speech.patterns[piece.pattern], rng), "noun": piece.noun}
        | {"is": "are" if piece.noun.endswith("s") and piece.slot != "dress" else "is"}
        for piece in pieces
    ]
    before, behind, said = (
        [" ".join(form.format(**look).split()) for look in looks] for form in (speech.phrases[0], *speech.phrases[1:])
    )
    if language == "zh":
        return {
            "clothes": _pick(speech.joiners, rng).join(before), "list": "，".join(before), "bare": "".join(before),
            "behind": "，".join(behind), "said": "，".join(said),
        }  # fmt: skip
    article = [_with_article(phrase, piece) for phrase, piece in zip(before, pieces, strict=True)]
    last = [_pick(speech.joiners, rng).join(article[:-1]), article[-1]]
    return {
        "clothes": " and ".join(filter(None, last)), "list": ", ".join(before), "bare": " ".join(before),
        "behind": ", ".join(behind), "said": " and ".join(said),
    }  # fmt: skip


def _with_article(phrase: str, piece: NamedPiece) -> str:
    plural = piece.kind in ("trousers", "shorts", "shoes")
    return phrase if plural else ("an " if phrase[0] in "aeiou" else "a ") + phrase
