"""The words that a sentence is read by, English and Chinese: field → key → words.

A word may carry what it is called in an English prompt after "=": `酒红色=burgundy`. Without it an English word is
called by itself and a Chinese one by the first of its key. `*` stands for one English word between.
"""

from __future__ import annotations

from collections.abc import Mapping

from twinset.prompts.vocabulary.colours import COLOUR_WORDS, MATERIAL_WORDS, PATTERN_WORDS
from twinset.prompts.vocabulary.garments import ACCESSORY_WORDS, GARMENT_WORDS, Words
from twinset.prompts.vocabulary.people import (
    AGE_WORDS,
    BEARD_WORDS,
    COUNT_WORDS,
    COUNTABLE,
    ETHNICITY_WORDS,
    EXPRESSION_WORDS,
    GENDER_WORDS,
    HAIR_LENGTH_WORDS,
    HAIR_STYLE_WORDS,
    POSE_WORDS,
)
from twinset.prompts.vocabulary.places import ART_WORDS, LIGHT_WORDS, PRAISE_WORDS, SCENE_WORDS

__all__ = [
    "ACCESSORY_WORDS", "BEARD_WORDS", "COLOUR_WORDS", "COUNTABLE", "EXPRESSION_WORDS", "FIELDS", "GARMENT_WORDS",
    "HAIR_LENGTH_WORDS", "HAIR_STYLE_WORDS", "LIGHT_WORDS", "MATERIAL_WORDS", "PATTERN_WORDS", "POSE_WORDS",
    "SCENE_WORDS",
]  # fmt: skip

HAIR_WORDS: Words = {
    "hair": (
        "hair", "haired", "hairs", "hairstyle=hair", "wig", "redhead", "red-haired=hair", "red-head=redhead",
        "brunette", "brown-haired=hair", "grey-haired=hair", "gray-haired=hair", "silver-haired=hair",
        "white-haired=hair", "golden-haired=hair", "fair-haired=hair", "blond-haired=hair", "blonde-haired=hair",
        "blondie=hair", "头发", "发色", "秀发", "发", "长发及腰", "刘海=bangs", "假发=wig", "头髮",
    ),
}  # fmt: skip
BODY_WORDS: Words = {
    "eyes": ("eyes", "eye", "eyed", "eye shadow", "eyeshadow", "eyebrows", "眼睛", "眼", "眼影", "瞳", "眼眸"),
    "lips": ("lips", "lipstick", "lip", "lip gloss", "唇", "嘴唇", "口红", "红唇", "唇膏"),
    "skin": ("skin", "skinned", "complexion", "freckles", "皮肤", "肌肤", "肤"),
    "nails": ("nails", "nail polish", "指甲", "美甲"),
    "flowers": ("flowers", "flower", "rose", "roses", "花", "花瓣", "玫瑰"),
    "wall": ("wall", "brick wall", "curtain", "curtains", "墙", "窗帘"),
    "sky": ("sky", "clouds", "天空", "云"),
    "background": ("background", "backdrop", "bg", "背景", "底色"),
    "light": ("light", "lights", "lighting", "sunlight", "sunshine", "光", "灯光", "灯", "阳光", "光线"),
    "border": ("border", "trim", "buttons", "logo", "镶边", "纽扣"),
}  # fmt: skip
"""Parts of the body and of the surroundings, whose colour belongs to no garment."""
THING_WORDS: Words = {
    "thing": (
        "car", "bus", "bicycle", "bike", "motorbike", "umbrella", "balloon", "horse", "dog", "cat", "bird", "guitar",
        "book", "phone", "cup", "coffee", "wine", "sword", "fan", "tree", "trees", "table", "chair", "door", "candle",
        "ball", "cake", "wings", "tail", "moon", "house", "boat", "flag", "butterfly", "teddy bear", "doll", "snake",
        "fish", "apple", "汽车", "自行车", "摩托车", "车", "伞", "气球", "马", "狗", "猫", "鸟", "吉他", "书", "手机",
        "杯子", "咖啡", "剑", "扇子", "树", "桌子", "椅子", "门", "蜡烛", "球", "蛋糕", "翅膀", "尾巴", "月亮", "船",
        "旗", "蝴蝶", "玩偶", "鱼", "苹果", "团扇",
    ),
}  # fmt: skip
"""Things that are not drawn: their colour belongs to no garment, and they are said to be left over."""
NEGATION_WORDS: Words = {
    "no": (
        "no", "not", "without", "neither", "nor", "never", "isn't", "doesn't", "don't", "isnt", "doesnt", "dont",
        "do not", "without any", "remove", "take off", "takes off", "get rid of", "lose the", "drop the", "don't want",
        "minus", "sans", "avoid", "exclude", "excluding", "can't", "won't", "wasn't", "aren't", "free of",
        "don't give me", "don't add", "don't include", "not wearing", "isn't wearing", "do not want", "不要", "不戴",
        "不穿", "没有", "没戴", "没穿", "没", "不带", "不", "无", "别", "不想要", "去掉", "去除", "请勿添加", "请勿",
        "切勿", "不添加", "千万别", "拿掉", "摘掉", "摘下", "脱掉", "脱下", "不需要", "不想", "不能有", "不用", "别给",
        "不许", "禁止", "不留", "不加", "不背", "不拿", "不系", "取消", "移除", "除去", "删掉", "删除", "别戴", "别穿",
        "别加", "不要有", "不得有", "未戴", "未穿", "避免", "去了", "不要戴", "不要穿", "不要给", "别给我", "别给她",
        "别给他", "也没", "也不要", "也别", "也不",
    ),
}  # fmt: skip
INSTEAD_WORDS: Words = {
    "instead": ("instead of", "rather than", "in place of", "而不是", "而非", "代替", "替代", "取代"),
}
"""What stands behind them is what somebody does not want any more."""
HIDING_WORDS: Words = {
    "hidden": (
        "on top of", "top of", "shades of", "night gown", "on top", "at the top", "top view", "top-down", "top model",
        "tie-dye", "tie dye", "tie-dyed", "dress code", "dress up", "dressed up", "cap sleeves", "glass of",
        "glasses of", "wine glass", "wine glasses", "magnifying glass", "year old", "years old", "year-old",
        "years-old", "red wine", "green tea", "orange juice", "white house", "black forest", "bullet points",
        "points of", "cherry blossom", "cherry blossoms", "white background story", "no one", "no matter", "not only",
        "no problem", "why not", "of course not", "if not", "not too", "not very", "not sure", "no doubt",
        "nothing but", "golden retriever", "golden ratio", "chain link", "old school", "old-school", "old fashioned",
        "old-fashioned", "boot camp", "train station", "white balance", "black and white photo",
        "black and white photography", "man-made", "blue hour", "green screen", "gold medal", "silver screen",
        "run-down", "runs in", "bob dylan", "house music", "street food", "snow globe", "in stock", "home page",
        "雪糕", "特别", "级别", "性别", "不错", "不同", "面包", "包括", "其他", "金属", "银行", "青春", "白天", "发型",
        "发光", "白云", "不规则", "不对称", "能不能", "要不要", "好不好", "是不是", "可不可以", "行不行", "会不会",
        "有没有", "个别", "区别", "告别", "别墅", "别致", "不管", "不止", "不少", "不一样", "无敌", "无比", "无论",
        "差不多", "忍不住", "不过", "不然", "不但", "不仅", "不光", "不如", "没事", "没想到", "没问题", "无所谓",
        "上海", "海报", "地铁站", "车站", "火车站", "网站", "价格", "风格", "规格", "性格", "资格", "合格", "橡皮",
        "皮肤白", "调皮", "顽皮", "俏皮", "儿女", "男女", "子女", "出发", "发生", "发布", "发现", "沙发上的人", "理发",
        "洗发", "发票", "激发", "散发", "爆发", "包含", "包围", "包裹", "书法", "金鱼", "黄金时间", "蓝图", "红包",
        "白酒", "红酒", "绿茶", "红茶", "黑板", "白板", "银杏", "青花瓷", "白领", "照明", "按照", "参照", "照样",
        "照顾", "依照", "护照", "拍照", "关照", "夜店", "车站牌", "大夜", "笑话", "背包客", "分站", "无线", "无数",
        "不断", "不停", "不禁", "不锈钢", "black-tie", "white-collar", "blue-collar", "black tie event", "月台",
        "柜台", "吧台", "平台上", "梳妆台", "walking stick", "walking cane", "running late", "run away", "不可思议",
        "不见", "了不起", "对不起", "别的", "别人", "特写", "没关系", "没错", "格外", "表格", "严格", "白皙", "空白",
        "明白", "告白", "红色系列",
    ),
}  # fmt: skip
"""Words that only hide shorter ones inside them: 特别 is no 别, "on top of" no top."""
FIELDS: Mapping[str, Words] = {
    "garment": GARMENT_WORDS, "accessory": ACCESSORY_WORDS, "colour": COLOUR_WORDS, "pattern": PATTERN_WORDS,
    "material": MATERIAL_WORDS, "length": HAIR_LENGTH_WORDS, "style": HAIR_STYLE_WORDS,
    "beard": BEARD_WORDS,
    "expression": EXPRESSION_WORDS,
    "pose": POSE_WORDS, "scene": SCENE_WORDS, "light": LIGHT_WORDS, "art": ART_WORDS, "gender": GENDER_WORDS,
    "age": AGE_WORDS, "ethnicity": ETHNICITY_WORDS, "count": COUNT_WORDS,
    "hair": HAIR_WORDS, "body": BODY_WORDS, "thing": THING_WORDS, "not": NEGATION_WORDS, "instead": INSTEAD_WORDS,
    "hidden": HIDING_WORDS, "praise": PRAISE_WORDS,
}  # fmt: skip
