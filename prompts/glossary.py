"""The words that a sentence is read by, English and Chinese: field → key → words.

A word may carry what it is called in an English prompt after "=": `酒红色=burgundy`. Without it an English
word is called by itself and a Chinese one by its key. `*` stands for one English word between.
"""

from __future__ import annotations

from collections.abc import Mapping

from twinset.prompts.garment_words import ACCESSORY_WORDS, GARMENT_WORDS, Words

__all__ = ["ACCESSORY_WORDS", "FIELDS", "GARMENT_WORDS"]

HAIR_LENGTH_WORDS: Words = {
    "short": (
        "short hair", "short-haired", "cropped hair", "short * hair", "short * * hair", "短发", "短头发", "短卷发",
        "短直发",
    ),
    "medium": (
        "medium hair", "medium-length hair", "shoulder-length hair", "shoulder-length * hair", "medium * hair",
        "medium-length * hair", "中长发", "齐肩发", "中长卷发", "中长直发", "及肩发",
    ),
    "long": (
        "long hair", "long-haired", "long * hair", "long * * hair", "长发", "长头发", "长卷发", "长直发", "披肩发",
    ),
}  # fmt: skip
HAIR_STYLE_WORDS: Words = {
    "bun": ("bun", "top bun", "topknot", "丸子头", "发髻"),
    "buns": ("buns", "two buns", "space buns", "双丸子头"),
    "ponytail": ("ponytail", "pony tail", "马尾", "马尾辫"),
    "twin_tails": ("twintails", "twin tails", "pigtails", "双马尾"),
    "bob": ("bob", "bob cut", "波波头", "齐耳发", "齐耳短发"),
    "curly": ("curly hair", "curls", "curly * hair", "curly", "卷发", "卷头发", "短卷发", "长卷发", "中长卷发"),
    "spiky": ("spiky hair", "spiky * hair", "spiky", "刺猬头"),
    "bald": ("bald", "bald-headed", "bald head", "shaved head", "光头", "秃头", "秃顶", "剃光头", "没有头发"),
    "centre": ("centre parting", "center parting", "middle parting", "centre-parted", "parted in the middle", "中分"),
}  # fmt: skip
BEARD_WORDS: Words = {
    "full": (
        "beard", "full beard", "bearded", "long beard", "胡子", "大胡子", "络腮胡", "胡须", "长胡子",
    ),
    "stubble": ("stubble", "stubbly", "unshaven", "five o'clock shadow", "胡茬", "胡渣", "胡子拉碴"),
    "moustache": ("moustache", "mustache", "moustached", "小胡子", "八字胡", "唇胡"),
}  # fmt: skip
POSE_WORDS: Words = {
    "walking": ("walking", "walks", "strolling", "taking a walk", "走路", "走在", "行走", "散步", "漫步"),
    "running": ("running", "runs", "jogging", "跑步", "奔跑", "跑在"),
    "waving": ("waving", "waves hello", "waves at", "waving a hand", "挥手", "招手", "挥着手"),
    "arms_up": (
        "arms up", "raised arms", "arms raised", "hands up", "hands raised", "举起双手", "双手举起", "举手",
        "双臂高举", "高举双手",
    ),
    "hands_on_hips": (
        "hands on hips", "hands on the hips", "hands on her hips", "hands on his hips", "akimbo", "叉腰",
        "双手叉腰",
    ),
    "arms_crossed": (
        "arms crossed", "crossed arms", "folded arms", "arms folded", "抱臂", "双臂交叉", "抱胸", "双手抱胸",
    ),
    "thinking": ("thinking", "thoughtful pose", "hand at the chin", "思考", "托腮", "托着下巴", "沉思"),
    "pointing": ("pointing", "points", "指向", "指着"),
    "peace": ("peace sign", "victory sign", "v sign", "比耶", "剪刀手"),
    "leaning": ("leaning", "leans", "倚靠", "斜靠", "靠在", "倚着", "靠着"),
    "dancing": ("dancing", "dances", "跳舞", "舞蹈", "起舞"),
    "cheering": ("cheering", "cheers", "欢呼"),
    "shrugging": ("shrugging", "shrugs", "耸肩"),
    "hand_on_heart": (
        "hand on heart", "hand on the heart", "hand on her heart", "hand on his heart", "手放在胸口", "手放胸前",
        "捂胸",
    ),
    "standing": ("standing", "stands", "站在", "站着", "站立"),
}  # fmt: skip
SCENE_WORDS: Words = {
    "beach": ("beach", "seaside", "shore", "by the sea", "at the sea", "海边", "海滩", "沙滩"),
    "city": (
        "city", "city street", "street", "streets", "downtown", "城市", "城市街道", "街头", "街上", "街道", "都市",
    ),
    "night_city": (
        "night city", "city at night", "city street at night", "street at night", "streets at night",
        "downtown at night", "neon city", "night skyline", "city lights", "夜景", "城市夜景", "夜晚的城市",
        "夜晚的街头", "夜市", "都市夜景", "夜晚的街道",
    ),
    "park": ("park", "garden", "meadow", "lawn", "公园", "花园", "草地", "草坪"),
    "forest": ("forest", "woods", "woodland", "jungle", "among the trees", "森林", "树林", "林间", "丛林", "林中"),
    "office": ("office", "workplace", "meeting room", "办公室", "写字楼", "会议室"),
    "cafe": (
        "cafe", "café", "coffee shop", "coffee house", "coffeehouse", "coffee bar", "咖啡馆", "咖啡厅", "咖啡店",
        "咖啡屋",
    ),
    "bedroom": ("bedroom", "in bed", "卧室", "寝室", "卧房"),
    "stage": (
        "stage", "on stage", "concert stage", "concert", "music festival", "舞台", "舞台上", "演唱会", "音乐会", "台上",
    ),
    "snow": (
        "snow", "snowy", "in the snow", "snowfield", "snowy landscape", "snowy mountains", "winter landscape",
        "snowing",
        "雪地", "雪景", "雪山", "下雪", "白雪", "冰天雪地", "雪中", "雪",
    ),
    "studio": (
        "studio", "studio backdrop", "plain background", "white background", "摄影棚", "影棚", "工作室", "纯色背景",
        "白色背景", "白背景",
    ),
    "room": (
        "room", "living room", "indoors", "indoor", "at home", "kitchen", "library",
        "房间", "室内", "屋里", "家里", "客厅", "图书馆", "教室",
    ),
}  # fmt: skip
EXPRESSION_WORDS: Words = {
    "neutral": (
        "neutral expression", "neutral face", "calm face", "calm", "serious", "expressionless", "表情平静",
        "面无表情", "平静", "严肃",
    ),
    "smile": (
        "smiling", "smile", "smiles", "happy", "joyful", "grinning", "微笑", "笑着", "笑容", "开心", "高兴", "含笑",
        "笑",
    ),
    "laugh": ("laughing", "laughs", "big laugh", "laughter", "大笑", "大笑着", "哈哈笑"),
    "surprised": ("surprised", "astonished", "shocked", "惊讶", "吃惊", "惊喜"),
    "wink": ("winking", "winks", "wink", "one eye closed", "眨眼", "眨着一只眼"),
    "sad": ("sad", "crying", "unhappy", "难过", "悲伤", "伤心", "忧伤"),
}  # fmt: skip
LIGHT_WORDS: Words = {
    "cold": ("cold light", "cool light", "bluish light", "moonlight", "冷光", "冷色光线", "月光"),
    "neutral": ("neutral light", "daylight", "natural light", "自然光", "中性光线", "日光"),
    "warm": (
        "warm light", "golden light", "golden hour", "candlelight", "warm lighting", "暖光", "暖色光线",
    ),
    "sunset": (
        "sunset", "sunset light", "setting sun", "dusk", "evening glow", "twilight", "日落", "落日", "夕阳", "晚霞",
        "黄昏", "傍晚",
    ),
    "night": (
        "night", "at night", "night light", "nighttime", "midnight", "night city", "city at night",
        "city street at night", "street at night", "streets at night", "downtown at night", "night skyline", "夜晚",
        "夜里", "夜间", "深夜", "晚上", "午夜", "夜色", "夜景", "城市夜景", "夜晚的城市", "夜晚的街头", "夜市",
        "都市夜景", "夜晚的街道",
    ),
    "neon": (
        "neon", "neon light", "neon lights", "neon lighting", "neon glow", "neon signs", "neon city", "霓虹", "霓虹灯",
        "霓虹光", "霓虹灯光",
    ),
}  # fmt: skip
ART_WORDS: Words = {
    "photo": ("photo", "photograph", "photorealistic", "realistic", "照片", "写实", "写实摄影", "真实感"),
    "anime": ("anime", "manga", "动漫", "二次元", "动画"),
    "watercolour": ("watercolour", "watercolor", "水彩", "水彩画"),
    "oil painting": ("oil painting", "油画"),
    "sketch": ("sketch", "pencil drawing", "素描", "速写"),
    "ink wash": ("ink wash", "水墨", "水墨画", "国画"),
    "cyberpunk": ("cyberpunk", "赛博朋克"),
    "pixel art": ("pixel art", "像素画"),
    "3d render": ("3d render", "3d", "三维渲染"),
}  # fmt: skip
GENDER_WORDS: Words = {
    "female": (
        "woman", "women", "lady", "ladies", "girl", "girls", "female", "she", "her", "little girl", "old woman",
        "女性", "女人", "女子", "女士", "女孩", "少女", "姑娘", "女生", "美女", "小女孩", "老奶奶", "奶奶", "她",
    ),
    "male": (
        "man", "men", "guy", "guys", "boy", "boys", "male", "gentleman", "he", "his", "little boy", "old man",
        "男性", "男人", "男子", "男士", "男孩", "少年", "小伙子", "男生", "帅哥", "小男孩", "老爷爷", "爷爷", "他",
    ),
}  # fmt: skip
AGE_WORDS: Words = {
    "child": (
        "child", "children", "kid", "kids", "little girl", "little boy", "小女孩", "小男孩", "小孩", "儿童", "孩子",
    ),
    "teen": ("teenager", "teen", "teenage", "青少年"),
    "young": (
        "young", "girl", "girls", "boy", "boys", "年轻", "青年", "女孩", "男孩", "少女", "少年", "姑娘", "女生",
        "男生", "小伙子",
    ),
    "middle_aged": ("middle-aged", "middle aged", "中年"),
    "old": ("old", "elderly", "老奶奶", "奶奶", "老爷爷", "爷爷", "老人", "老年", "年老"),
}  # fmt: skip
ETHNICITY_WORDS: Words = {
    "asian": ("asian", "亚洲", "亚裔"),
    "chinese": ("chinese", "中国", "华人"),
    "japanese": ("japanese", "日本"),
    "korean": ("korean", "韩国"),
    "african": ("african", "非洲", "非裔"),
    "indian": ("indian", "印度"),
    "european": ("european", "caucasian", "欧洲", "白人"),
    "latin": ("latin", "latina", "latino", "hispanic", "拉丁裔", "拉美"),
    "arab": ("arab", "middle eastern", "阿拉伯", "中东"),
}  # fmt: skip
COLOUR_WORDS: Words = {
    "red": (
        "red", "burgundy", "crimson", "scarlet", "maroon", "dark red", "wine red=burgundy", "红色", "红", "大红色",
        "酒红色=burgundy", "酒红=burgundy", "深红色=dark red", "深红=dark red", "暗红色=dark red", "暗红=dark red",
        "枣红色=maroon", "枣红=maroon",
    ),
    "orange": ("orange", "coral", "peach", "橙色", "橙", "橘色", "橘", "橘红色", "珊瑚色=coral"),
    "yellow": (
        "yellow", "mustard", "gold", "golden", "light yellow", "pale yellow=light yellow", "黄色", "黄", "金色=golden",
        "金=golden", "浅黄色=light yellow", "淡黄色=light yellow", "鹅黄色=light yellow", "姜黄色=mustard",
    ),
    "green": (
        "green", "olive", "mint", "dark green", "light green", "olive green=olive", "mint green=mint", "emerald",
        "emerald green=emerald", "forest green=dark green", "pale green=light green", "lime", "lime green=lime",
        "深绿色=dark green", "深绿=dark green", "淡绿色=light green", "浅绿=light green", "翠绿色=emerald",
        "薄荷绿=mint", "橄榄绿=olive", "绿色", "绿", "墨绿色=dark green", "墨绿=dark green",
        "浅绿色=light green", "军绿色=olive",
    ),
    "teal": ("teal", "turquoise", "cyan", "aqua", "青色", "青", "蓝绿色", "湖蓝色=turquoise", "湖蓝=turquoise"),
    "blue": (
        "blue", "light blue", "sky blue", "royal blue", "pale blue=light blue", "baby blue=light blue", "cobalt",
        "cobalt blue=cobalt", "denim blue", "淡蓝色=light blue", "淡蓝=light blue", "宝蓝色=royal blue",
        "宝蓝=royal blue", "牛仔蓝=denim blue", "蓝色", "蓝", "浅蓝色=light blue", "浅蓝=light blue",
        "天蓝色=sky blue", "天蓝=sky blue",
    ),
    "navy": (
        "navy", "navy blue=navy", "dark blue=navy", "藏青色", "藏青", "深蓝色", "深蓝", "海军蓝", "藏蓝色", "藏蓝",
    ),
    "purple": (
        "purple", "violet", "lavender", "lilac", "dark purple", "light purple=lavender", "pale purple=lavender", "plum",
        "紫色", "紫", "淡紫色=lavender", "淡紫=lavender", "浅紫色=lavender", "浅紫=lavender", "深紫色=dark purple",
        "深紫=dark purple",
    ),
    "pink": (
        "pink", "light pink", "pale pink=light pink", "baby pink=light pink", "hot pink", "magenta", "fuchsia", "粉色",
        "粉", "粉红色", "粉红", "浅粉色=light pink", "浅粉=light pink", "淡粉色=light pink", "玫红色=hot pink",
        "玫红=hot pink", "桃红色=hot pink", "桃红=hot pink",
    ),
    "brown": (
        "brown", "tan", "chestnut", "dark brown", "light brown", "棕色", "棕", "褐色", "咖啡色", "栗色=chestnut",
        "深棕色=dark brown", "深棕=dark brown", "浅棕色=light brown", "浅棕=light brown", "深褐色=dark brown",
    ),
    "white": (
        "white", "off-white", "off white=off-white", "snow white=white", "snow-white=white", "雪白", "雪白色", "白色",
        "白", "纯白色",
    ),
    "grey": (
        "grey", "gray=grey", "silver", "silver grey", "charcoal", "light grey", "light gray=light grey",
        "dark grey=charcoal", "dark gray=charcoal", "charcoal grey=charcoal", "浅灰=light grey", "深灰=charcoal",
        "灰色", "灰", "灰白色", "灰白", "银色=silver",
        "银=silver", "银灰色=silver grey", "银灰=silver grey", "深灰色=charcoal", "浅灰色=light grey", "花白",
    ),
    "black": ("black", "黑色", "黑"),
    "beige": (
        "beige", "cream", "ivory", "khaki", "camel", "米色", "米白色=cream", "米白=cream", "奶油色=cream",
        "卡其色=khaki", "卡其=khaki", "驼色=camel", "杏色",
    ),
    "blonde": ("blonde", "blond=blonde"),
}  # fmt: skip
PATTERN_WORDS: Words = {
    "plain": ("plain", "solid", "纯色", "素色"),
    "stripes": ("striped", "stripes", "stripe", "pinstriped=striped", "条纹", "横条", "竖条"),
    "dots": ("dotted", "dots", "polka dot", "polka dots", "polka-dot", "polka-dotted", "圆点", "波点"),
    "checks": ("checked", "checks", "plaid", "checkered", "tartan", "gingham", "格子", "格纹", "方格"),
    "floral": ("floral", "flowered", "flower print", "碎花", "花卉", "印花"),
}
MATERIAL_WORDS: Words = {
    "denim": ("denim", "牛仔"),
    "leather": ("leather", "皮", "皮革", "皮质", "真皮"),
    "silk": ("silk", "丝绸", "真丝"),
    "satin": ("satin", "缎面"),
    "cotton": ("cotton", "棉质", "纯棉", "棉"),
    "wool": ("wool", "woollen", "woolen", "羊毛", "毛呢"),
    "knit": ("knit", "knitted", "针织"),
    "linen": ("linen", "亚麻"),
    "lace": ("lace", "蕾丝"),
    "velvet": ("velvet", "天鹅绒", "丝绒"),
    "chiffon": ("chiffon", "雪纺"),
    "corduroy": ("corduroy", "灯芯绒"),
    "flannel": ("flannel", "法兰绒"),
    "cashmere": ("cashmere", "羊绒"),
    "fur": ("fur", "皮草", "毛绒"),
}  # fmt: skip
COUNT_WORDS: Words = {
    "2": ("two", "2", "couple", "两个", "两名", "两位", "二人", "两人", "情侣", "2个", "俩"),
    "3": ("three", "3", "三个", "三名", "三位", "三人", "3个"),
    "4": ("four", "4", "四个", "四名", "四位", "四人", "4个"),
    "5": ("five", "5", "五个", "五名", "五位", "五人", "5个"),
}
COUNTABLE: tuple[str, ...] = (
    "woman", "women", "ladies", "girls", "men", "guys", "boys", "people", "persons", "friends", "kids", "children",
    "sisters", "brothers", "teenagers", "couple",
)  # fmt: skip
HAIR_WORDS: tuple[str, ...] = ("hair", "haired", "hairs", "头发", "发色", "秀发", "发")
#: Parts of the body whose colour belongs to no garment.
BODY_WORDS: tuple[str, ...] = (
    "eyes", "eye", "eyed", "lips", "lipstick", "skin", "nails", "flowers", "wall", "sky", "background", "light",
    "眼睛", "眼", "唇", "嘴唇", "皮肤", "指甲", "花", "墙", "天空", "背景", "光",
)  # fmt: skip
NEGATION_WORDS: tuple[str, ...] = (
    "no", "not", "without", "neither", "nor", "never", "isn't", "doesn't", "don't",
    "不要", "不戴", "不穿", "没有", "没戴", "没穿", "没", "不带", "不", "无", "别", "不想要",
)  # fmt: skip
#: Words that only hide shorter ones inside them: 特别 is no 别, "on top of" no top.
HIDING_WORDS: tuple[str, ...] = (
    "on top of", "top of", "shades of", "night gown", "雪糕",
    "特别", "级别", "性别", "不错", "不同", "面包", "包括", "其他", "金属", "银行", "青春",
    "白天", "发型", "发光", "白云",
)  # fmt: skip
FIELDS: Mapping[str, Words] = {
    "garment": GARMENT_WORDS, "accessory": ACCESSORY_WORDS, "colour": COLOUR_WORDS, "pattern": PATTERN_WORDS,
    "material": MATERIAL_WORDS, "length": HAIR_LENGTH_WORDS, "style": HAIR_STYLE_WORDS,
    "beard": BEARD_WORDS,
    "expression": EXPRESSION_WORDS,
    "pose": POSE_WORDS, "scene": SCENE_WORDS, "light": LIGHT_WORDS, "art": ART_WORDS, "gender": GENDER_WORDS,
    "age": AGE_WORDS, "ethnicity": ETHNICITY_WORDS, "count": COUNT_WORDS,
    "hair": {"hair": HAIR_WORDS}, "body": {"body": BODY_WORDS}, "not": {"not": NEGATION_WORDS},
    "hidden": {"hidden": HIDING_WORDS},
}  # fmt: skip
