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
    accessories: dict[str, tuple[str, ...]]
    beards: dict[str, tuple[str, ...]]
    bald: tuple[str, ...]
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
_STYLE_NAMES = ("short", "bob", "long", "ponytail", "twin_tails", "bun", "curly", "buns", "spiky", "centre", "bald")

ENGLISH = CaptionWords(
    colours={name: {"navy": "navy blue"}.get(name, name) for name in _COLOUR_NAMES},
    hair_colours={name: {"grey": "silver grey"}.get(name, name) for name in _HAIR_NAMES} | {"none": "no"},
    lengths={"short": "short", "medium": "medium-length", "long": "long", "none": "bald"},
    styles=dict(zip(_STYLE_NAMES, ("side-swept hair", "bob with bangs", "straight hair", "ponytail", "twin tails", "top bun", "curls", "two buns", "spiky hair", "bob parted in the middle", "bald"), strict=True)),
    hair=("{length} {colour} hair", "{length} {colour} hair, {style}", "with {length} {colour} hair", "{colour} {length} hair in the style {style}"),
    kinds={
        "t_shirt": ("t-shirt", "tee"), "tank_top": ("tank top", "sleeveless top"), "shirt": ("shirt", "button-up shirt"),
        "hoodie": ("hoodie", "hooded sweatshirt"), "coat": ("coat", "open coat"), "dress": ("dress", "short dress"),
        "skirt": ("skirt", "pleated skirt"), "trousers": ("trousers", "long pants"), "shorts": ("shorts", "short pants"),
        "shoes": ("shoes", "sneakers", "trainers"),
        "suit_jacket": ("suit jacket", "blazer", "jacket and tie"), "jumper": ("jumper", "sweater", "knitted pullover"),
        "boots": ("boots", "rubber boots", "high boots"), "heels": ("high heels", "heels", "pumps"),
        "beanie": ("beanie", "woolly hat", "knitted hat"), "straw_hat": ("straw hat", "sun hat", "hat with a brim"),
        "cap": ("cap", "baseball cap"), "glasses": ("glasses", "round glasses", "eyeglasses"),
        "sunglasses": ("sunglasses", "dark glasses", "shades"), "bag": ("bag", "shoulder bag", "handbag"),
    },
    patterns={"plain": "", "stripes": "striped", "dots": "dotted", "checks": "checked"},
    logos={"star": "a star", "heart": "a heart", "bolt": "a lightning bolt", "ring": "a ring", "A": "the letter A", "B": "the letter B", "T": "the letter T"},
    with_logo="{garment} with {logo}",
    wearing=("wearing {clothes}", "dressed in {clothes}", "in {clothes}", "{clothes}"),
    accessories={
        "hat": ("wearing {clothes}", "with {clothes}", "{clothes} on the head", "{clothes}"),
        "eyewear": ("wearing {clothes}", "with {clothes}", "{clothes}"),
        "bag": ("carrying {clothes}", "with {clothes}", "{clothes} over the shoulder"),
    },
    beards={
        "full": ("with a full beard", "bearded", "with a beard"), "stubble": ("with stubble", "unshaven", "with a short stubble beard"),
        "moustache": ("with a moustache", "with a mustache"),
    },
    bald=("bald", "with a bald head", "with a shaved head", "bald-headed"),
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
        "night_city": ("in the city at night", "night city", "on a city street at night", "among skyscrapers at night"),
        "office": ("in an office", "office", "at the office"), "cafe": ("in a cafe", "cafe", "in a coffee shop"),
        "bedroom": ("in a bedroom", "bedroom"), "forest": ("in a forest", "forest", "in the woods"),
        "stage": ("on stage", "stage", "on a concert stage"), "snow": ("in the snow", "snowy landscape", "in a snowy winter"),
    },
    lights={
        "cold": ("cold light", "cool bluish light"), "neutral": ("neutral light", "daylight"), "warm": ("warm light", "golden light"),
        "sunset": ("sunset light", "at sunset", "glowing sunset"), "night": ("night light", "at night", "in the dark of night"),
        "neon": ("neon light", "neon lights", "magenta and cyan neon light"),
    },
    openings=("a person", "portrait of a person", "a drawn person", "virtual idol", "", ""),
    joiner=" ", list_joiner=" and ", comma=", ", article=english_article,
)  # fmt: skip

CHINESE = CaptionWords(
    colours=dict(zip(_COLOUR_NAMES, ("红色", "橙色", "黄色", "绿色", "青色", "蓝色", "藏青色", "紫色", "粉色", "棕色", "白色", "灰色", "黑色", "米色"), strict=True)),
    hair_colours=dict(zip(_HAIR_NAMES, ("黑色", "棕色", "金色", "红色", "银灰色", "蓝色", "粉色", "绿色", "紫色", "橙色"), strict=True)) | {"none": "无"},
    lengths={"short": "短发", "medium": "中长发", "long": "长发", "none": "光头"},
    styles=dict(zip(_STYLE_NAMES, ("侧分", "齐刘海波波头", "直发", "马尾", "双马尾", "丸子头", "卷发", "双丸子头", "刺猬头", "中分波波头", "光头"), strict=True)),
    hair=("{colour}{length}", "{colour}{length}，{style}", "留着{colour}{length}", "{colour}的{length}"),
    kinds={
        "t_shirt": ("T恤", "短袖T恤"), "tank_top": ("背心", "无袖上衣"), "shirt": ("衬衫", "长袖衬衫"), "hoodie": ("卫衣", "连帽衫"),
        "coat": ("外套", "大衣"), "dress": ("连衣裙", "短连衣裙"), "skirt": ("裙子", "半身裙"), "trousers": ("长裤", "裤子"),
        "shorts": ("短裤",), "shoes": ("鞋子", "运动鞋"),
        "suit_jacket": ("西装外套", "西装", "西服"), "jumper": ("毛衣", "针织衫"), "boots": ("靴子", "长靴", "雨靴"), "heels": ("高跟鞋",),
        "beanie": ("毛线帽", "针织帽"), "straw_hat": ("草帽", "遮阳帽"), "cap": ("棒球帽", "鸭舌帽"), "glasses": ("眼镜", "圆框眼镜"),
        "sunglasses": ("墨镜", "太阳镜"), "bag": ("包", "挎包", "手提包"),
    },
    patterns={"plain": "", "stripes": "条纹", "dots": "圆点", "checks": "格子"},
    logos={"star": "星星", "heart": "爱心", "bolt": "闪电", "ring": "圆环", "A": "字母A", "B": "字母B", "T": "字母T"},
    with_logo="印有{logo}的{garment}",
    wearing=("穿着{clothes}", "身穿{clothes}", "{clothes}"),
    accessories={"hat": ("戴着{clothes}", "头戴{clothes}"), "eyewear": ("戴着{clothes}", "戴{clothes}"), "bag": ("背着{clothes}", "挎着{clothes}", "拎着{clothes}")},
    beards={"full": ("留着大胡子", "络腮胡", "有胡子"), "stubble": ("有胡茬", "胡子拉碴"), "moustache": ("留着八字胡", "留着小胡子")},
    bald=("光头", "剃光了头", "没有头发"),
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
        "night_city": ("城市夜景", "在夜晚的城市", "夜景"), "office": ("在办公室", "办公室里"), "cafe": ("在咖啡馆", "咖啡厅里"),
        "bedroom": ("在卧室", "卧室里"), "forest": ("在森林里", "树林中"), "stage": ("在舞台上", "舞台"), "snow": ("在雪地里", "雪景"),
    },
    lights={
        "cold": ("冷光", "冷色光线"), "neutral": ("自然光", "中性光线"), "warm": ("暖光", "暖色光线"),
        "sunset": ("日落时分", "夕阳余晖", "晚霞"), "night": ("夜晚", "夜色中"), "neon": ("霓虹灯光", "霓虹光"),
    },
    openings=("一个人", "人物肖像", "虚拟偶像", "", ""),
    joiner="", list_joiner="和", comma="，", article=str,
)  # fmt: skip
