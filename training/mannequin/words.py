"""The words of captions, English and Chinese."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class CaptionWords:
    """One language's vocabulary: names are keyed by the classes of a Spec, phrases are alternatives."""

    colours: dict[str, str]
    hair_colours: dict[str, str]
    lengths: dict[str, str]
    styles: dict[str, str]
    hair: tuple[str, ...]
    kinds: dict[str, tuple[str, ...]]
    patterns: dict[str, str]
    logos: dict[str, str]
    with_logo: str
    wearing: tuple[str, ...]
    expressions: dict[str, tuple[str, ...]]
    poses: dict[str, tuple[str, ...]]
    scenes: dict[str, tuple[str, ...]]
    lights: dict[str, tuple[str, ...]]
    openings: tuple[str, ...]
    joiner: str
    list_joiner: str
    comma: str
    article: Callable[[str], str]


def english_article(phrase: str) -> str:
    """The phrase with "a" or "an"; plural garments take none."""
    head = phrase.split(" with ")[0]
    if head.endswith("s") and not head.endswith("dress"):
        return phrase
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


_COLOUR_NAMES = (
    "red",
    "orange",
    "yellow",
    "green",
    "teal",
    "blue",
    "navy",
    "purple",
    "pink",
    "brown",
    "white",
    "grey",
    "black",
    "beige",
)
_HAIR_NAMES = ("black", "brown", "blonde", "red", "grey", "blue", "pink", "green", "purple", "orange")
_STYLE_NAMES = ("short", "bob", "long", "ponytail", "twin_tails", "bun", "curly", "buns", "spiky", "centre")

ENGLISH = CaptionWords(
    colours={name: {"navy": "navy blue"}.get(name, name) for name in _COLOUR_NAMES},
    hair_colours={name: {"grey": "silver grey"}.get(name, name) for name in _HAIR_NAMES},
    lengths={"short": "short", "medium": "medium-length", "long": "long"},
    styles=dict(zip(_STYLE_NAMES, ("side-swept hair", "bob with bangs", "straight hair", "ponytail", "twin tails", "top bun", "curls", "two buns", "spiky hair", "bob parted in the middle"), strict=True)),
    hair=("{length} {colour} hair", "{length} {colour} hair, {style}", "with {length} {colour} hair", "{colour} {length} hair in the style {style}"),
    kinds={
        "t_shirt": ("t-shirt", "tee"), "tank_top": ("tank top", "sleeveless top"), "shirt": ("shirt", "button-up shirt"),
        "hoodie": ("hoodie", "hooded sweatshirt"), "coat": ("coat", "open coat"), "dress": ("dress", "short dress"),
        "skirt": ("skirt", "pleated skirt"), "trousers": ("trousers", "long pants"), "shorts": ("shorts", "short pants"),
        "shoes": ("shoes", "sneakers"),
    },
    patterns={"plain": "", "stripes": "striped", "dots": "dotted", "checks": "checked"},
    logos={"star": "a star", "heart": "a heart", "bolt": "a lightning bolt", "ring": "a ring", "A": "the letter A", "B": "the letter B", "T": "the letter T"},
    with_logo="{garment} with {logo}",
    wearing=("wearing {clothes}", "dressed in {clothes}", "in {clothes}", "{clothes}"),
    expressions={
        "neutral": ("neutral expression", "calm face"), "smile": ("smiling", "with a smile", "a friendly smile"),
        "laugh": ("laughing", "with a big laugh"), "surprised": ("surprised", "looking surprised"),
        "wink": ("winking", "with one eye closed"), "sad": ("sad", "looking sad"),
    },
    poses={
        "standing": ("standing", "standing upright"), "walking": ("walking", "taking a walk"), "waving": ("waving", "waving a hand"),
        "arms_up": ("arms up", "both arms raised"), "hands_on_hips": ("hands on hips",), "arms_crossed": ("arms crossed", "with crossed arms"),
        "thinking": ("thinking", "hand at the chin"), "pointing": ("pointing", "pointing to the side"), "peace": ("making a peace sign", "peace sign"),
        "running": ("running",), "leaning": ("leaning",), "dancing": ("dancing",), "cheering": ("cheering",), "shrugging": ("shrugging",),
        "hand_on_heart": ("hand on heart",), "free": ("posing", "in a free pose"),
    },
    scenes={
        "beach": ("on the beach", "beach", "by the sea"), "city": ("in the city", "city", "on a city street"),
        "park": ("in a park", "park", "among trees and grass"), "studio": ("in a studio", "studio backdrop"), "room": ("in a room", "indoors, room"),
    },
    lights={"cold": ("cold light", "cool bluish light"), "neutral": ("neutral light", "daylight"), "warm": ("warm light", "golden light")},
    openings=("a person", "portrait of a person", "a drawn person", "virtual idol", "", ""),
    joiner=" ", list_joiner=" and ", comma=", ", article=english_article,
)  # fmt: skip

CHINESE = CaptionWords(
    colours=dict(zip(_COLOUR_NAMES, ("红色", "橙色", "黄色", "绿色", "青色", "蓝色", "藏青色", "紫色", "粉色", "棕色", "白色", "灰色", "黑色", "米色"), strict=True)),
    hair_colours=dict(zip(_HAIR_NAMES, ("黑色", "棕色", "金色", "红色", "银灰色", "蓝色", "粉色", "绿色", "紫色", "橙色"), strict=True)),
    lengths={"short": "短发", "medium": "中长发", "long": "长发"},
    styles=dict(zip(_STYLE_NAMES, ("侧分", "齐刘海波波头", "直发", "马尾", "双马尾", "丸子头", "卷发", "双丸子头", "刺猬头", "中分波波头"), strict=True)),
    hair=("{colour}{length}", "{colour}{length}，{style}", "留着{colour}{length}", "{colour}的{length}"),
    kinds={
        "t_shirt": ("T恤", "短袖T恤"), "tank_top": ("背心", "无袖上衣"), "shirt": ("衬衫", "长袖衬衫"), "hoodie": ("卫衣", "连帽衫"),
        "coat": ("外套", "大衣"), "dress": ("连衣裙", "短连衣裙"), "skirt": ("裙子", "半身裙"), "trousers": ("长裤", "裤子"),
        "shorts": ("短裤",), "shoes": ("鞋子", "运动鞋"),
    },
    patterns={"plain": "", "stripes": "条纹", "dots": "圆点", "checks": "格子"},
    logos={"star": "星星", "heart": "爱心", "bolt": "闪电", "ring": "圆环", "A": "字母A", "B": "字母B", "T": "字母T"},
    with_logo="印有{logo}的{garment}",
    wearing=("穿着{clothes}", "身穿{clothes}", "{clothes}"),
    expressions={
        "neutral": ("表情平静", "面无表情"), "smile": ("微笑", "面带微笑"), "laugh": ("大笑", "开怀大笑"), "surprised": ("惊讶", "一脸惊讶"),
        "wink": ("眨眼", "眨着一只眼"), "sad": ("难过", "表情悲伤"),
    },
    poses={
        "standing": ("站立", "站着"), "walking": ("走路", "行走"), "waving": ("挥手",), "arms_up": ("举起双手", "双臂高举"),
        "hands_on_hips": ("双手叉腰",), "arms_crossed": ("双臂交叉", "抱臂"), "thinking": ("思考", "托着下巴"), "pointing": ("指向一边",),
        "peace": ("比耶", "剪刀手"), "running": ("跑步",), "leaning": ("倚靠",), "dancing": ("跳舞",), "cheering": ("欢呼",),
        "shrugging": ("耸肩",), "hand_on_heart": ("手放胸前",), "free": ("摆姿势",),
    },
    scenes={
        "beach": ("在海滩", "海边"), "city": ("在城市", "城市街道"), "park": ("在公园", "公园草地"), "studio": ("在摄影棚", "影棚背景"), "room": ("在房间里", "室内"),
    },
    lights={"cold": ("冷光", "冷色光线"), "neutral": ("自然光", "中性光线"), "warm": ("暖光", "暖色光线")},
    openings=("一个人", "人物肖像", "虚拟偶像", "", ""),
    joiner="", list_joiner="和", comma="，", article=str,
)  # fmt: skip
