"""A sentence, English or Chinese, read as far as the layout needs it: garments to wear, hair, pose, scene.

A glossary is enough for that: the sentence itself goes to the text encoder unchanged, so a word that is not in
here is not lost, it only leaves the layout as it would be without it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

GARMENT_WORDS: Mapping[str, tuple[str, ...]] = {
    "t_shirt": ("t-shirt", "tee shirt", "tshirt", "tee", "top", "t恤", "短袖", "上衣"),
    "tank_top": ("tank top", "vest top", "camisole", "背心", "吊带"),
    "shirt": ("shirt", "blouse", "衬衫", "衬衣"),
    "hoodie": ("hoodie", "hooded sweatshirt", "sweatshirt", "sweater", "jumper", "卫衣", "连帽衫", "毛衣"),
    "coat": ("coat", "jacket", "parka", "大衣", "外套", "夹克", "风衣"),
    "dress": ("dress", "gown", "连衣裙", "长裙", "裙装", "礼服"),
    "skirt": ("skirt", "半身裙", "短裙", "裙子"),
    "trousers": ("trousers", "pants", "jeans", "slacks", "长裤", "裤子", "牛仔裤"),
    "shorts": ("shorts", "短裤"),
    "shoes": ("shoes", "shoe", "sneakers", "trainers", "boots", "鞋子", "运动鞋", "靴子", "鞋"),
}
HAIR_LENGTH_WORDS: Mapping[str, tuple[str, ...]] = {
    "short": ("short hair", "short-haired", "cropped hair", "short * hair", "短发", "短头发"),
    "medium": ("medium hair", "shoulder-length hair", "shoulder-length * hair", "medium * hair", "中长发", "齐肩发"),
    "long": ("long hair", "long-haired", "long * hair", "长发", "长头发"),
}
HAIR_STYLE_WORDS: Mapping[str, tuple[str, ...]] = {
    "bun": ("bun", "topknot", "丸子头", "发髻"),
    "buns": ("buns", "space buns", "双丸子头"),
    "ponytail": ("ponytail", "pony tail", "马尾", "马尾辫"),
    "twin_tails": ("twintails", "twin tails", "pigtails", "双马尾"),
    "bob": ("bob", "bob cut", "波波头", "齐耳发"),
    "curly": ("curly hair", "curls", "curly * hair", "curly", "卷发"),
    "spiky": ("spiky hair", "spiky * hair", "spiky", "刺猬头"),
    "centre": ("centre parting", "center parting", "middle parting", "centre-parted", "中分"),
}
POSE_WORDS: Mapping[str, tuple[str, ...]] = {
    "walking": ("walking", "walks", "strolling", "走路", "走在", "行走", "散步"),
    "running": ("running", "runs", "jogging", "跑步", "奔跑", "跑在"),
    "waving": ("waving", "waves hello", "挥手", "招手"),
    "arms_up": ("arms up", "raised arms", "arms raised", "举起双手", "双手举起", "举手"),
    "hands_on_hips": ("hands on hips", "hands on the hips", "akimbo", "叉腰"),
    "arms_crossed": ("arms crossed", "crossed arms", "folded arms", "抱臂", "双臂交叉", "抱胸"),
    "thinking": ("thinking", "thoughtful pose", "思考", "托腮"),
    "pointing": ("pointing", "points", "指向", "指着"),
    "peace": ("peace sign", "victory sign", "v sign", "比耶", "剪刀手"),
    "leaning": ("leaning", "leans", "倚靠", "斜靠", "靠在"),
    "dancing": ("dancing", "dances", "跳舞", "舞蹈"),
    "cheering": ("cheering", "cheers", "欢呼"),
    "shrugging": ("shrugging", "shrugs", "耸肩"),
    "hand_on_heart": ("hand on heart", "hand on the heart", "手放在胸口", "捂胸"),
    "standing": ("standing", "stands", "站在", "站着", "站立"),
}
SCENE_WORDS: Mapping[str, tuple[str, ...]] = {
    "beach": ("beach", "seaside", "shore", "by the sea", "海边", "海滩", "沙滩"),
    "city": ("city", "street", "downtown", "城市", "街头", "街上"),
    "park": ("park", "garden", "meadow", "公园", "花园", "草地"),
    "studio": ("studio", "plain background", "摄影棚", "影棚", "工作室"),
    "room": ("room", "indoors", "at home", "房间", "室内", "屋里"),
}


@dataclass(frozen=True)
class Brief:
    """What a sentence asks of the layout; `None` or empty where it says nothing.

    Attributes:
        text: The sentence as given.
        garments: Garment kinds named, in the order of `GARMENT_WORDS`.
        hair_length: A key of `HAIR_LENGTH_WORDS`.
        hair_style: A key of `HAIR_STYLE_WORDS`.
        pose: A key of `POSE_WORDS`.
        scene: A key of `SCENE_WORDS`.
    """

    text: str
    garments: tuple[str, ...] = ()
    hair_length: str | None = None
    hair_style: str | None = None
    pose: str | None = None
    scene: str | None = None


def read_brief(text: str) -> Brief:
    """Read a sentence, English or Chinese or mixed.

    A longer word hides the shorter one inside it: "t-shirt" is no "shirt", 连衣裙 is no 裙子.
    """
    return Brief(
        text=text,
        garments=tuple(_find(text, GARMENT_WORDS)),
        hair_length=next(iter(_find(text, HAIR_LENGTH_WORDS)), None),
        hair_style=next(iter(_find(text, HAIR_STYLE_WORDS)), None),
        pose=next(iter(_find(text, POSE_WORDS)), None),
        scene=next(iter(_find(text, SCENE_WORDS)), None),
    )


def _find(text: str, glossary: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Keys of the glossary whose words occur, in the glossary's order."""
    pairs = [(word, key) for key, words in glossary.items() for word in words]
    left, found = text.lower(), set()
    for word, key in sorted(pairs, key=lambda pair: -len(pair[0])):
        left, times = re.subn(_pattern(word), " ", left)
        if times:
            found.add(key)
    return [key for key in glossary if key in found]


def _pattern(word: str) -> str:
    """Whole English words with `*` for one word between; Chinese wherever it stands."""
    if not word.isascii():
        return re.escape(word)
    return r"\b" + re.escape(word).replace(r"\*", r"[\w-]+") + r"\b"
