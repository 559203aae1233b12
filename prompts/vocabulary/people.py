"""Who is drawn: hair, beard, pose, expression, gender, age, ethnicity and number, English and Chinese."""

from __future__ import annotations

from twinset.prompts.vocabulary.garments import Words

HAIR_LENGTH_WORDS: Words = {
    "short": (
        "short hair", "short-haired", "cropped hair", "short * hair", "short * * hair", "短发", "短头发", "短卷发",
        "短直发", "hair short", "short-cropped hair", "short hairstyle", "short haircut", "pixie cut",
        "pixie hair=pixie cut", "buzz cut", "buzzcut=buzz cut", "crew cut", "close-cropped hair",
        "shorthair=short hair", "hair cut short", "寸头=buzz cut", "短寸=buzz cut", "板寸=crew cut", "平头=crew cut",
        "超短发=short hair", "短碎发=short hair", "圆寸=buzz cut", "短直头发=short hair", "利落短发=short hair",
        "碎短发=short hair",
    ),
    "medium": (
        "medium hair", "medium-length hair", "shoulder-length hair", "shoulder-length * hair", "medium * hair",
        "medium-length * hair", "中长发", "齐肩发", "中长卷发", "中长直发", "及肩发", "mid-length hair",
        "mid length hair", "shoulder length hair", "shoulder-length", "hair to her shoulders", "hair to his shoulders",
        "chin-length hair", "collarbone-length hair", "medium length hair", "medium long hair",
        "锁骨发=shoulder-length hair", "中发=medium hair", "及肩长发=shoulder-length hair",
        "及肩的头发=shoulder-length hair", "中等长度的头发=medium hair", "齐肩短发=shoulder-length hair",
        "齐肩长发=shoulder-length hair", "半长发=medium hair",
    ),
    "long": (
        "long hair", "long-haired", "long * hair", "long * * hair", "长发", "长头发", "长卷发", "长直发", "披肩发",
        "hair long", "very long hair", "waist-length hair", "hip-length hair", "knee-length hair",
        "hair down to her waist", "flowing hair", "longhair=long hair", "absurdly long hair", "long haired",
        "long locks", "long tresses", "长发及腰=waist-length hair", "及腰长发=waist-length hair", "披肩长发=long hair",
        "长直=long straight hair", "长长的头发=long hair", "长辫子=long braid", "长头髪=long hair",
        "过腰长发=long hair", "长发飘飘=long flowing hair", "公主切=long hair with a hime cut",
    ),
}  # fmt: skip
HAIR_STYLE_WORDS: Words = {
    "bun": (
        "bun", "top bun", "topknot", "丸子头", "发髻", "updo", "up-do=updo", "chignon", "messy bun=bun",
        "hair bun=bun", "low bun=bun", "high bun=bun", "top knot=topknot", "hair in a bun", "man bun=bun",
        "french twist=updo", "盘发=updo", "挽发=updo", "挽发髻=bun", "盘起来=updo", "头发盘起=updo", "盘起头发=updo",
        "道姑头=topknot", "盘头=updo", "丸子=bun", "挽起头发=updo", "高髻=bun", "低髻=bun",
    ),
    "buns": (
        "buns", "two buns", "space buns", "双丸子头", "double buns=two buns", "double bun=two buns", "odango=two buns",
        "twin buns=two buns", "hair buns=two buns", "包子头=two buns", "哪吒头=two buns", "双丸子=two buns",
        "双髻=two buns",
    ),
    "ponytail": (
        "ponytail", "pony tail", "马尾", "马尾辫", "high ponytail=ponytail", "low ponytail=ponytail",
        "side ponytail=ponytail", "pony-tail=ponytail", "hair tied back", "hair tied up", "pony=ponytail",
        "高马尾=ponytail", "低马尾=ponytail", "单马尾=ponytail", "侧马尾=ponytail", "扎马尾=ponytail",
        "扎起头发=ponytail", "马尾头=ponytail",
    ),
    "twin_tails": (
        "twintails", "twin tails", "pigtails", "双马尾", "twin-tails=twin tails", "pig tails=pigtails",
        "twin ponytails=twin tails", "two ponytails=twin tails", "low twintails=twin tails", "twin tail=twin tails",
        "two pigtails=pigtails", "双马尾辫=twin tails", "双尾=twin tails", "两个马尾=twin tails", "羊角辫=pigtails",
    ),
    "bob": (
        "bob", "bob cut", "波波头", "齐耳发", "齐耳短发", "bob haircut=bob", "bob hair=bob", "bobbed hair=bob",
        "lob=bob", "bob hairstyle=bob", "pageboy=bob", "妹妹头=bob", "学生头=bob", "bob头=bob", "bobo头=bob",
        "蘑菇头=bob", "娃娃头=bob", "短波波头=bob", "齐短发=bob", "齐下巴短发=bob", "鲍勃头=bob",
    ),
    "curly": (
        "curly hair", "curls", "curly * hair", "curly", "卷发", "卷头发", "短卷发", "长卷发", "中长卷发",
        "curled hair=curly hair", "permed hair=curly hair", "perm=curly hair", "afro", "ringlets=curls",
        "curly-haired=curly hair", "frizzy hair=curly hair", "curly locks=curls", "大波浪=big curls", "波浪卷=curls",
        "羊毛卷=curls", "自然卷=curly hair", "烫发=curly hair", "大卷=big curls", "微卷=curls", "卷毛=curly hair",
        "爆炸头=afro", "波浪长发=long curls", "卷卷的头发=curly hair", "泡面头=curly hair", "大波浪卷发=big curls",
        "卷卷=curls",
    ),
    "spiky": (
        "spiky hair", "spiky * hair", "spiky", "刺猬头", "spikey hair=spiky hair", "spiked hair=spiky hair",
        "gelled hair=spiky hair", "刺头=spiky hair", "竖起的头发=spiky hair", "炸毛=spiky hair",
    ),
    "bald": (
        "bald", "bald-headed", "bald head", "shaved head", "光头", "秃头", "秃顶", "剃光头", "没有头发",
        "balding=bald", "hairless head=bald", "no hair=bald", "shaven head=bald", "大光头=bald", "没头发=bald",
        "光脑袋=bald",
    ),
    "centre": (
        "centre parting", "center parting", "middle parting", "centre-parted", "parted in the middle", "中分",
        "curtain bangs", "parted hair=centre parting", "center-parted hair=centre parting",
        "curtain hair=centre parting", "中分头=centre parting", "中分发型=centre parting", "八字刘海=curtain bangs",
    ),
}  # fmt: skip
BEARD_WORDS: Words = {
    "full": (
        "beard", "full beard", "bearded", "long beard", "胡子", "大胡子", "络腮胡", "胡须", "长胡子", "goatee",
        "beards=beard", "full-bearded=beard", "bushy beard=beard", "goateed=goatee", "sideburns and beard=beard",
        "络腮胡子=beard", "大络腮胡=beard", "山羊胡=goatee", "长胡须=beard", "蓄须=beard",
    ),
    "stubble": (
        "stubble", "stubbly", "unshaven", "five o'clock shadow", "胡茬", "胡渣", "胡子拉碴",
        "5 o'clock shadow=stubble", "designer stubble=stubble", "scruffy=stubble", "胡茬子=stubble", "青茬=stubble",
    ),
    "moustache": (
        "moustache", "mustache", "moustached", "小胡子", "八字胡", "唇胡", "mustached=moustache",
        "mustaches=moustache", "handlebar moustache=moustache", "tash=moustache", "两撇胡子=moustache",
        "小胡髭=moustache", "髭=moustache",
    ),
}  # fmt: skip
POSE_WORDS: Words = {
    "walking": (
        "walking", "walks", "strolling", "taking a walk", "走路", "走在", "行走", "散步", "漫步", "walk", "on a walk",
        "taking a stroll", "strolls", "wandering", "walking along", "sauntering", "逛街", "走着", "走来", "走过",
        "遛狗", "踱步", "遛弯", "漫步在", "走在街上", "行走在", "走向镜头",
    ),
    "running": (
        "running", "runs", "jogging", "跑步", "奔跑", "跑在", "run", "jog", "jogs", "sprinting", "sprints", "慢跑",
        "晨跑", "夜跑", "小跑", "跑起来", "飞奔", "跑着", "奔跑着", "狂奔", "跑动", "冲刺",
    ),
    "waving": (
        "waving", "waves hello", "waves at", "waving a hand", "挥手", "招手", "挥着手", "waving hello", "waves hi",
        "waving at", "waving her hand", "waving his hand", "waving goodbye", "wave at the camera", "saying hi",
        "greeting", "打招呼", "挥着手臂", "挥挥手", "摆手", "招着手",
    ),
    "arms_up": (
        "arms up", "raised arms", "arms raised", "hands up", "hands raised", "举起双手", "双手举起", "举手",
        "双臂高举", "高举双手", "arms in the air", "hands in the air", "raising both arms", "raising arms",
        "raised hands", "raising his hands", "raising her hands", "raises both arms", "arms above her head",
        "arms above his head", "arms over head", "arms overhead", "both arms raised", "双手举高", "举高双手",
        "双手高举", "高举手臂", "双臂举起", "双手上举", "举双手", "举着双手", "双手举过头顶", "投降",
    ),
    "hands_on_hips": (
        "hands on hips", "hands on the hips", "hands on her hips", "hands on his hips", "akimbo", "叉腰", "双手叉腰",
        "hand on hip", "hand on her hip", "hand on his hip", "hands on my hips", "hands at her hips", "hands on waist",
        "hand on waist", "手叉腰", "叉着腰", "插腰", "双手放在腰上", "手放在腰间", "手扶腰", "掐腰",
    ),
    "arms_crossed": (
        "arms crossed", "crossed arms", "folded arms", "arms folded", "抱臂", "双臂交叉", "抱胸", "双手抱胸",
        "with crossed arms", "arms are crossed", "crossing her arms", "crossing his arms", "crossing arms",
        "cross-armed", "arms folded across", "folding her arms", "folding his arms", "arms crossed over", "抱着胳膊",
        "抱着手臂", "双手交叉", "抱胳膊", "环抱双臂", "双手环胸", "双臂环抱", "环胸", "交叉双臂", "双手抱臂", "抱手",
    ),
    "thinking": (
        "thinking", "thoughtful pose", "hand at the chin", "思考", "托腮", "托着下巴", "沉思", "hand on chin",
        "hand on her chin", "hand on his chin", "chin in hand", "chin on hand", "pondering", "deep in thought",
        "thoughtful", "in thought", "stroking his chin", "contemplating", "想事情", "托着腮", "手托下巴", "思索",
        "摸着下巴", "手托腮", "若有所思", "手扶下巴", "撑着下巴",
    ),
    "pointing": (
        "pointing", "points", "指向", "指着", "pointing at", "point at", "points at", "pointing at viewer",
        "finger pointing", "指着镜头", "用手指", "手指向", "指着前方", "伸手指",
    ),
    "peace": (
        "peace sign", "victory sign", "v sign", "比耶", "剪刀手", "v-sign", "peace signs", "making a v",
        "two fingers up", "v for victory", "peace sign pose", "double peace", "doing a v", "victory pose", "比v",
        "比个耶", "yeah手势", "耶的手势", "比剪刀手", "比个v", "v字手势", "胜利手势", "比出剪刀手",
    ),
    "leaning": (
        "leaning", "leans", "倚靠", "斜靠", "靠在", "倚着", "靠着", "lean on", "lean against", "leans against",
        "leaning against a wall", "leaned", "leaning on", "倚在", "靠墙", "靠着墙", "倚墙", "倚靠在", "斜倚", "背靠",
        "倚栏",
    ),
    "dancing": (
        "dancing", "dances", "跳舞", "舞蹈", "起舞", "dance", "dancer pose", "ballet", "twirling", "dancing pose",
        "跳着舞", "舞动", "翩翩起舞", "跳芭蕾", "旋转跳舞", "舞姿",
    ),
    "cheering": (
        "cheering", "cheers", "欢呼", "cheer", "celebrating", "celebrates", "fist pump", "fist in the air",
        "victorious", "庆祝", "加油", "振臂", "挥拳", "喝彩", "握拳庆祝",
    ),
    "shrugging": (
        "shrugging", "shrugs", "耸肩", "shrug", "shoulder shrug", "shrugged", "摊手", "耸耸肩", "耸了耸肩", "无奈摊手",
    ),
    "hand_on_heart": (
        "hand on heart", "hand on the heart", "hand on her heart", "hand on his heart", "手放在胸口", "手放胸前",
        "捂胸", "hand on chest", "hand over heart", "hand over her heart", "hand over his heart", "hand on her chest",
        "hand on his chest", "hands on heart", "hands on chest", "手按胸口", "捂着胸口", "手捂胸口", "手放心口",
        "手按在胸前", "手抚胸口",
    ),
    "arms_out": (
        "arms out", "arms outstretched", "arms wide open", "open arms", "t-pose", "arms spread", "张开双臂",
        "双臂张开", "伸开双臂", "张开手臂",
    ),
    "star": ("star pose", "star jump", "arms and legs spread", "大字型"),
    "standing": (
        "standing", "stands", "站在", "站着", "站立", "stand", "standing up", "standing pose", "upright", "stood",
        "站姿", "立正", "站", "直立", "站直", "伫立", "亭亭玉立",
    ),
}  # fmt: skip
EXPRESSION_WORDS: Words = {
    "neutral": (
        "neutral expression", "neutral face", "calm face", "calm", "serious", "expressionless", "表情平静", "面无表情",
        "平静", "严肃", "poker face", "blank expression", "no expression", "straight face", "stern", "deadpan",
        "emotionless", "stoic", "serious face", "serious expression", "calm expression", "cold expression",
        "poker-faced", "冷漠", "高冷", "淡定", "冷脸", "没有表情", "无表情", "严肃脸", "一脸严肃", "神情平静", "淡然",
        "冷酷", "不苟言笑", "沉稳", "扑克脸",
    ),
    "smile": (
        "smiling", "smile", "smiles", "happy", "joyful", "grinning", "微笑", "笑着", "笑容", "开心", "高兴", "含笑",
        "笑", "grin", "grins", "beaming", "cheerful", "delighted", "smiley", "happily", "smiling face", "smiled",
        "toothy grin", "light smile", "gentle smile", "happiness", "joy", "beams", "甜笑", "笑眯眯", "笑脸",
        "嘴角上扬", "喜悦", "愉快", "快乐", "面带微笑", "笑嘻嘻", "乐呵呵", "笑意", "欢快", "浅笑", "笑盈盈", "咧嘴",
        "阳光的笑", "温柔一笑",
    ),
    "laugh": (
        "laughing", "laughs", "big laugh", "laughter", "大笑", "大笑着", "哈哈笑", "laugh", "cracking up",
        "laughing out loud", "lol", "bursting with laughter", "giggling", "giggles", "chuckling",
        "roaring with laughter", "哈哈大笑", "狂笑", "捧腹", "开怀", "开怀大笑", "笑得很开心", "爆笑", "仰天大笑",
        "笑出声",
    ),
    "surprised": (
        "surprised", "astonished", "shocked", "惊讶", "吃惊", "惊喜", "amazed", "surprise", "wide-eyed",
        "astonishment", "stunned", "startled", "gasping", "jaw dropped", "surprised look", "in shock", "open-mouthed",
        "惊呆", "震惊", "诧异", "惊讶脸", "目瞪口呆", "错愕", "瞪大眼睛", "惊恐", "大吃一惊", "惊讶表情",
    ),
    "wink": (
        "winking", "winks", "wink", "one eye closed", "眨眼", "眨着一只眼", "one eye shut", "wink at", "单眼",
        "抛媚眼", "眨一只眼", "闭一只眼", "眨着眼", "眨眼睛",
    ),
    "sad": (
        "sad", "crying", "unhappy", "难过", "悲伤", "伤心", "忧伤", "tearful", "weeping", "in tears", "sorrowful",
        "depressed", "sadness", "melancholic", "melancholy", "gloomy", "cries", "teary", "sobbing", "heartbroken",
        "哭泣", "流泪", "哭", "难受", "忧郁", "沮丧", "落泪", "泪流满面", "含泪", "忧愁", "眼泪", "泪水", "泪光",
        "哭脸", "愁眉苦脸", "悲痛", "心碎", "失落", "愁容",
    ),
}  # fmt: skip
GENDER_WORDS: Words = {
    "female": (
        "woman", "women", "lady", "ladies", "girl", "girls", "female", "she", "her", "little girl", "old woman",
        "女性", "女人", "女子", "女士", "女孩", "少女", "姑娘", "女生", "美女", "小女孩", "老奶奶", "奶奶", "她",
        "1girl", "1woman", "1lady", "2girls", "girlfriend", "bride", "mother", "mom", "mum", "mommy", "daughter",
        "sister", "wife", "queen", "princess", "actress", "businesswoman", "waitress", "grandma", "grandmother",
        "granny", "ballerina", "witch", "nun", "lass", "gal", "goddess", "heroine", "sorceress", "schoolgirl",
        "housewife", "bridesmaid", "cheerleader", "girly", "herself", "ms", "mrs", "miss", "fashionista", "小姐姐",
        "妹子", "萌妹", "萌妹子", "御姐", "女友", "女朋友", "妈妈", "母亲", "女儿", "姐姐", "妹妹", "女王", "公主",
        "新娘", "美少女", "学生妹", "妇人", "妇女", "老太太", "大妈", "阿姨", "女郎", "仙女", "少妇", "婆婆", "辣妹",
        "闺蜜", "女神", "女", "妻子", "老婆", "千金", "姥姥", "外婆", "姐妹", "熟女", "名媛", "小姐",
    ),
    "male": (
        "man", "men", "guy", "guys", "boy", "boys", "male", "gentleman", "he", "his", "little boy", "old man", "男性",
        "男人", "男子", "男士", "男孩", "少年", "小伙子", "男生", "帅哥", "小男孩", "老爷爷", "爷爷", "他", "1boy",
        "1man", "1guy", "boyfriend", "father", "dad", "daddy", "son", "brother", "husband", "king", "prince",
        "businessman", "actor", "waiter", "grandpa", "grandfather", "dude", "bloke", "lad", "bro", "groom", "himself",
        "him", "mr", "wizard", "schoolboy", "fisherman", "fireman", "policeman", "cowboy", "salaryman", "males",
        "mens", "小哥哥", "小哥", "大叔", "叔叔", "爸爸", "父亲", "儿子", "哥哥", "弟弟", "国王", "王子", "新郎",
        "男友", "男朋友", "男模", "老头", "大爷", "大哥", "肌肉男", "老公", "型男", "正太", "男", "丈夫", "书生",
        "外公", "姥爷", "兄弟", "少爷", "先生", "小鲜肉", "暖男", "直男", "帅小伙", "总裁", "爷们",
    ),
}  # fmt: skip
AGE_WORDS: Words = {
    "child": (
        "child", "children", "kid", "kids", "little girl", "little boy", "小女孩", "小男孩", "小孩", "儿童", "孩子",
        "toddler", "baby", "infant", "childlike", "preschooler", "小朋友", "宝宝", "小孩子", "娃娃", "萝莉", "正太",
        "小男生", "小女生", "幼儿", "小宝贝", "童年",
    ),
    "teen": (
        "teenager", "teen", "teenage", "青少年", "adolescent", "high school student", "teenaged", "teens",
        "high schooler", "中学生", "高中生", "初中生", "十几岁",
    ),
    "young": (
        "young", "girl", "girls", "boy", "boys", "年轻", "青年", "女孩", "男孩", "少女", "少年", "姑娘", "女生",
        "男生", "小伙子", "youthful", "youngish", "in her 20s", "in his 20s", "in her twenties", "in his twenties",
        "20-year-old", "college student", "schoolgirl", "schoolboy", "2girls", "2boys", "年轻人", "学生妹", "小姐姐",
        "小哥哥", "妹子", "萌妹", "大学生", "20岁", "二十岁", "二十多岁", "小鲜肉", "美少女", "帅哥", "年青", "小伙",
    ),
    "middle_aged": (
        "middle-aged", "middle aged", "中年", "in her 40s", "in his 40s", "in her forties", "in his forties",
        "in her 50s", "in his 50s", "middle age", "大叔", "阿姨", "大妈", "叔叔", "中年人", "四十岁", "四十多岁",
        "五十岁",
    ),
    "old": (
        "old", "elderly", "old man", "old woman", "old lady", "old men", "old people", "老奶奶", "奶奶", "老爷爷",
        "爷爷", "老人", "老年", "年老", "grandma", "grandmother", "granny", "grandpa", "grandfather", "senior", "aged",
        "elder", "in her 70s", "in his 70s", "老太太", "老头", "大爷", "婆婆", "老年人", "老先生", "老妇人", "外婆",
        "外公", "姥姥", "姥爷", "年迈", "七十岁", "白发苍苍",
    ),
}  # fmt: skip
ETHNICITY_WORDS: Words = {
    "asian": (
        "asian", "亚洲", "亚裔", "east asian", "southeast asian", "亚洲人", "东亚", "东南亚", "亚洲女孩",
    ),
    "chinese": (
        "chinese", "中国", "华人", "中国人", "华裔", "国人",
    ),
    "japanese": (
        "japanese", "日本", "日本人", "日系", "和风",
    ),
    "korean": (
        "korean", "韩国", "kpop", "k-pop", "韩国人", "韩系", "韩式", "韩风",
    ),
    "african": (
        "african", "非洲", "非裔", "african american", "afro-american", "black woman", "black man", "black girl",
        "black guy", "dark-skinned", "dark skinned", "黑人", "深肤色",
    ),
    "indian": (
        "indian", "印度", "south asian", "印度人", "desi",
    ),
    "european": (
        "european", "caucasian", "欧洲", "白人", "white woman", "white man", "scandinavian", "nordic", "欧美",
        "欧洲人", "外国人", "俄罗斯",
    ),
    "latin": (
        "latin", "latina", "latino", "hispanic", "拉丁裔", "拉美", "latin american", "brazilian", "mexican", "拉丁",
    ),
    "arab": (
        "arab", "middle eastern", "阿拉伯", "中东", "arabic", "persian", "阿拉伯人", "中东人",
    ),
}  # fmt: skip
COUNT_WORDS: Words = {
    "2": (
        "two", "2", "couple", "两个", "两名", "两位", "二人", "两人", "情侣", "2个", "俩", "2girls", "2boys",
        "two of us", "both of us", "我们俩", "两人合照", "一对", "两只", "两姐妹", "两兄弟", "双人", "二女", "两女",
        "两男", "2女", "2男", "2人", "2位", "2名",
    ),
    "3": (
        "three", "3", "三个", "三名", "三位", "三人", "3个", "3girls", "3boys", "三个女孩", "trio", "三只", "三姐妹",
        "3人", "3位", "3名", "三女", "三男",
    ),
    "4": (
        "four", "4", "四个", "四名", "四位", "四人", "4个", "4girls", "4boys", "quartet", "4人", "4位", "4名",
    ),
    "5": (
        "five", "5", "五个", "五名", "五位", "五人", "5个", "5girls", "5boys", "5人", "5位", "5名",
    ),
}  # fmt: skip
COUNTABLE: tuple[str, ...] = (
    "woman",
    "women",
    "ladies",
    "girls",
    "men",
    "guys",
    "boys",
    "people",
    "persons",
    "friends",
    "kids",
    "children",
    "sisters",
    "brothers",
    "teenagers",
    "couple",
)
