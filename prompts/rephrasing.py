"""Turns of phrase that the glossary does not hold, in its words: "hatless", 白T, "Hair: short"."""

from __future__ import annotations

import re

_PHRASES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.I), words)
    for pattern, words in (
        (r"\b(hat|shoe|beard|glove|sock|scarf|tie)less\b", r"no \1,"),
        (r"\bbare-?(?: )?foot(?:ed)?\b|光着?脚丫?|赤脚|赤足", " no shoes, "),
        (r"\bclean[- ]shaven\b|刮了胡子|刮干净胡子", " no beard, "),
        (r"([红白黑蓝灰粉绿黄紫橙棕])[tT](?![a-zA-Z恤])", r"\1色T恤"),
        (r"\btak(?:e|es|ing) (?:the |her |his |my |your )?([a-z]+) off\b", r"no \1,"),
        (r"\b(hat|cap|glasses|sunglasses|coat|jacket|scarf|shoes|boots|gloves) (?:off|removed)\b", r"no \1,"),
        (
            r"(^|[,，。;；!！])\s*(?:把|将)?([^,，。;；!！]{1,8}?)(?:也|都|就)?(?:去掉|拿掉|摘掉|脱掉|去除|删掉|不要了?|不需要)"
            r"(?=$|[,，。;；!！])",
            r"\1不要\2",
        ),
        (r"(^|[,，。;；])\s*(上衣|上身|下装|下身|鞋子|发型|背景)(?:是|为)", r"\1\2:"),
        (r"黑长直", "黑色长直发"),
        (r"(?:头发|秀发)(?:很|比较|超|非常|留得很)?长(?=$|[,，。、;；])", "长发"),
        (r"(?:头发|秀发)(?:很|比较|超|非常|剪得很)?短(?=$|[,，。、;；])", "短发"),
        (r"(?:头发|秀发)?(?:长?及|齐|到|过|垂到)腰的?(?:长发|头发|秀发)?", "长发"),
        (r"(?:头发|秀发)?(?:长?及|齐|到|过|垂到)肩的?(?:长发|短发|头发|秀发)?", "中长发"),
        (r"([长短])\1?的?((?:[黑棕金红白银灰蓝粉紫绿橙栗]色?的?){1,2})(?:头|秀)?([卷直]?发)", r"\2\1\3"),
        (r"([长短])\1的(?:头|秀)?([卷直]?发)", r"\1\2"),
        (r"\b(?!long|short)([a-z]+)-haired\b", r"\1 hair"),
        (r"(?<!碎)花(?=衬衫|裙子|裙|上衣|短裤|裤子|t恤|T恤)", "碎花"),
        (r"\b([2-9])\s*\+?\s*(girls|boys|women|men|people|ladies|guys|kids|children|friends|persons)\b", r"\1 \2"),
        (r"\bw/o\b", "without"),
        (r"\bw/\s*", "with "),
        (r"\b(?:n|&)\s+(?=[a-z])", "and "),
        (r"\s@\s", " at "),
        (r"\bblack[- ]and[- ](white|red|blue|green|yellow|pink|grey|gray)\b", r"black and \1"),
        (r"\b(\w+)[- ]and[- ](white|black) (?=strip|check|plaid|dot)", r"\1 and \2 "),
    )
)
_LENGTHS = {
    "long": r"long|waist[- ](?:length|long)|hip[- ](?:length|long)|knee[- ]length|floor[- ]length",
    "medium": r"medium[- ](?:length|long)|mid[- ]length|medium|(?:shoulder|chin|collarbone)[- ]length",
    "short": r"short|cropped|close[- ]cropped|buzzed",
}
_OF_HAIR = (
    r"straight|wavy|curly|messy|thick|thin|fine|silky|flowing|beautiful|shiny|glossy|spiky|sleek|wild|loose|dark|light|bright"
    r"|platinum|ash|jet|dirty|deep|pale|soft|natural|wet|dyed|bleached|ombre|shaggy|layered|very|black|brown|blonde?|red"
    r"|auburn|ginger|brunette|gr[ea]y|silver|white|pink|blue|green|purple|orange|teal|lilac|golden|chestnut|copper|straight"
)
"""What is said of hair between its length and its name."""
_ANY_LENGTH = "|".join(_LENGTHS.values())
_HAIR_BEFORE = re.compile(
    rf"\b(?P<length>{_ANY_LENGTH})(?P<between>(?:[, ]+(?:and )?(?:{_OF_HAIR}))*)[, ]+"
    r"(?P<noun>hair|locks|tresses|haired|bob|curls|waves|ponytail|pigtails|twin ?tails|braids?)\b",
    re.I,
)
_HAIR_AFTER = re.compile(
    rf"\bhair(?P<is> is| was|:)?(?P<said>(?:,? (?:and )?(?:{_ANY_LENGTH}|{_OF_HAIR})\b)+)(?=\s*(?:$|[,.;]|and\b))", re.I
)
_YEARS = re.compile(r"\b(\d{1,2})[- ]?(?:(?:years?|yrs?|y)[- ]old|yo|y/o)\b|(\d{1,2})岁", re.I)
_AGES = (
    (12, "child", "小孩"),
    (17, "teenage", "青少年"),
    (35, "young", "年轻"),
    (59, "middle-aged", "中年"),
    (99, "elderly", "老年"),
)
"""Years up to which an age is called so."""
_SEPARATORS = "[,.;\n，。；|]"
_FIELDS = {
    "hair": r"hair(?:style)?|发型|头发|髮型",
    "": r"top|tops|bottoms?|outfit|clothes|clothing|bg|background|place|scene|location|setting|pose|expression|mood"
    r"|face|light|lighting|style|accessories|shoes|footwear|hat|headwear|person|subject|gender|上衣|下装|下身|上身|场景|背景|地点"
    r"|姿势|动作|表情|光线|灯光|鞋子|鞋|人物|主体|服装|衣服|配饰|风格|穿搭|帽子|性别",
}  # fmt: skip
_LABEL = re.compile(
    rf"(?P<edge>^|{_SEPARATORS}|\+)\s*(?:(?P<hair>{_FIELDS['hair']})|(?P<label>{_FIELDS['']}|[a-z]+(?: [a-z]+)?))"
    rf"\s*[:：=]\s*(?P<value>[^.;\n，。；|]*?)(?=\s*(?:$|[.;\n，。；|]|,\s*[a-z]+\s*[:=]))",
    re.I,
)


def rephrased(text: str) -> str:
    """A sentence with the turns of phrase above in plain words, and lists of fields ("Hair: short") as phrases."""
    for pattern, words in _PHRASES:
        text = pattern.sub(words, text)
    text = _YEARS.sub(_age, text)
    text = _HAIR_BEFORE.sub(_length_at_hair, _HAIR_AFTER.sub(_said_before_hair, text))
    return _LABEL.sub(_field, text) if re.search("[:：=]", text) else text


def _said_before_hair(found: re.Match[str]) -> str:
    """ "hair is long, brown" → "long brown hair"."""
    return f"{found['said'].replace(',', ' ').replace(' and ', ' ')} hair"


def _length_at_hair(found: re.Match[str]) -> str:
    """ "long, straight, red hair" → "long hair, straight red hair", "short brown bob" → "short hair, brown bob"."""
    length = next(name for name, pattern in _LENGTHS.items() if re.fullmatch(pattern, found["length"], re.I))
    between = " ".join(re.sub(r"[,]|\band\b", " ", found["between"]).split())
    if found["noun"].lower() in ("hair", "haired", "locks", "tresses"):
        return f"{length} hair, {between} hair" if between else f"{length} hair"
    return f"{length} hair, {between} {found['noun']}"


def _age(found: re.Match[str]) -> str:
    """ "5 year old" → "child", 20岁 → 年轻."""
    years = int(found[1] or found[2])
    english, chinese = next(words for most, *words in _AGES if years <= most)
    return english if found[1] else chinese


def _field(found: re.Match[str]) -> str:
    """ "Hair: short, black" → "short black hair"; "Shirt: white" → "white Shirt"; "Top: green vest" → "green vest"."""
    from twinset.prompts.marks import find_marks, normalise

    value = found["value"].strip()
    if found["hair"]:
        has_head = any(word in value for word in "发头辫") or re.search(r"hair|tail|bob|bun|bald|cut", value, re.I)
        noun = "" if has_head else ("头发" if not value.isascii() else " hair")
        return f"{found['edge']} {value if not noun else value.replace(',', ' ')}{noun}"
    kept = "" if re.fullmatch(_FIELDS[""], found["label"], re.I) else f"{found['label']}, "
    named = find_marks(normalise(value))
    if any(mark.meaning("garment") or mark.meaning("scene") or mark.meaning("accessory") for mark in named):
        return f"{found['edge']} {kept}{value}"
    head = find_marks(normalise(found["label"]))
    stays = any(mark.meaning("garment") or mark.meaning("accessory") for mark in head)
    return f"{found['edge']} {value} {found['label']}" if stays else f"{found['edge']} {kept}{value}"
