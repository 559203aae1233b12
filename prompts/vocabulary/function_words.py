"""Words that ask, join and point, and name nothing that could be drawn."""

from __future__ import annotations

FUNCTION_WORDS = frozenset((
    "a", "an", "the", "and", "or", "of", "in", "on", "at", "with", "by", "to", "is", "are", "was", "that", "this",
    "it", "its", "as", "for", "from", "wearing", "dressed", "wore", "all", "who", "has", "have", "someone", "person",
    "people", "please", "thanks", "thank", "you", "i", "i'd", "i'm", "im", "me", "my", "myself", "we", "us", "want",
    "like", "love", "would", "could", "can", "make", "put", "give", "draw", "show", "see", "look", "hi", "hey",
    "hello", "pls", "up", "into", "so", "be", "am", "if", "what", "how", "do", "does", "get", "let", "around", "their",
    "them", "they", "these", "those", "there", "here", "then", "also", "too", "really", "it's", "she's", "he's", "out",
    "off", "down", "near", "n", "w", "u", "go", "going", "own", "keep", "add", "change", "swap", "replace", "instead",
    "rather", "than", "picture", "image", "solo", "masterpiece", "viewer", "camera", "body", "full", "shot", "wears",
    "wear", "outfit", "hd", "8k", "4k", "plus", "over", "under", "one", "some", "very", "looking", "making", "having",
    "while", "but", "just", "only", "against", "light",
))  # fmt: skip
CHINESE_FUNCTION_WORDS = frozenset((
    "身着", "身披", "内搭", "外搭", "下身", "上身", "脚踩", "身背", "腰间", "一袭", "改为", "来个", "坐在", "请画",
    "我要", "还要", "一个", "一位", "一名", "一件", "一条", "一双", "一顶", "一对", "一张", "一只", "一款", "一身",
    "一些", "一点", "一下", "穿着", "身穿", "穿", "戴着", "戴", "拿着", "拿", "背着", "背", "留着", "梳着", "有着",
    "有", "带着", "带", "表情", "姿势", "搭配", "配", "配上", "和", "与", "跟", "的", "地", "得", "在", "着", "是",
    "里", "上", "下", "中", "前", "后", "旁", "边", "旁边", "里面", "上面", "下面", "人物", "人", "个", "位", "件",
    "条", "张", "款", "都", "也", "了", "过", "把", "将", "被", "给", "让", "向", "从", "到", "对", "于", "为", "之",
    "其", "这", "那", "哪", "它", "我", "你", "您", "他", "她", "我们", "你们", "自己", "吗", "呢", "吧", "啊", "呀",
    "嘛", "哦", "一", "就", "很", "最", "更", "太", "真", "想", "想要", "要", "会", "能", "可以", "可", "能不能",
    "能否", "请", "帮", "帮我", "画", "画面", "用", "看看", "看", "做", "拍", "搞", "整", "来", "去", "再", "再来",
    "又", "还", "还有", "谢谢", "麻烦", "随意", "行", "就行", "就好", "好", "样子", "成", "换", "换成", "改成", "加",
    "脸", "身", "头", "手", "脚", "身上", "头上", "脚上", "脚穿", "头戴", "手持", "系", "系着", "扎", "扎着", "披着",
    "换个", "保持", "不", "不要", "色", "图", "图片", "以及", "及", "但", "但是", "只", "只要", "反正", "别", "杰作",
    "最佳", "质量", "最佳质量", "品质", "超清", "高清", "画质", "质感", "细节", "精致", "完美", "全身", "正面", "面",
    "面带", "打", "打着", "顶", "双", "副",
))  # fmt: skip
