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
        (r"黑长直", "黑色长直发"),
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
    return _LABEL.sub(_field, text) if re.search("[:：=]", text) else text


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
