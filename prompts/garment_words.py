"""The garments and accessories that a sentence names, English and Chinese; see `twinset.prompts.glossary`."""

from __future__ import annotations

from collections.abc import Mapping

Words = Mapping[str, tuple[str, ...]]

GARMENT_WORDS: Words = {
    "t_shirt": (
        "t-shirt", "t shirt=t-shirt", "tee shirt=t-shirt", "tshirt=t-shirt", "tee=t-shirt", "top", "crop top",
        "polo", "打底衫=t-shirt", "t恤=t-shirt", "短袖t恤=t-shirt", "短袖=t-shirt", "上衣=top", "短上衣=crop top",
        "polo衫=polo",
    ),
    "tank_top": (
        "tank top", "vest top", "vest", "waistcoat", "马甲=vest", "camisole", "sleeveless top", "背心=tank top",
        "吊带=camisole",
        "无袖上衣=sleeveless top",
    ),
    "shirt": ("shirt", "dress shirt", "blouse", "button-up shirt", "衬衫=shirt", "长袖衬衫=shirt", "衬衣=shirt"),
    "hoodie": (
        "hoodie", "hooded sweatshirt", "sweatshirt", "卫衣=hoodie", "连帽衫=hoodie", "连帽卫衣=hoodie",
    ),
    "jumper": (
        "jumper", "sweater", "pullover", "turtleneck", "turtleneck sweater", "knitted sweater=sweater",
        "knit sweater=sweater", "cable-knit sweater=sweater", "woolly jumper=jumper", "knitwear=sweater",
        "针织衫=sweater", "羊毛衫=sweater", "毛衣=sweater", "套头衫=pullover", "毛线衣=sweater",
        "高领毛衣=turtleneck", "高领衫=turtleneck",
    ),
    "suit_jacket": (
        "suit jacket", "suit", "blazer", "tuxedo", "dinner jacket", "sports jacket", "business suit=suit",
        "西装=suit", "西装外套=blazer", "西服=suit", "西服外套=blazer", "西装上衣=suit jacket", "燕尾服=tuxedo",
    ),
    "coat": (
        "coat", "open coat", "lab coat", "trench coat", "trench", "raincoat", "jacket", "down jacket", "parka",
        "cardigan", "overcoat", "bomber=bomber jacket", "皮衣=leather jacket", "冲锋衣=jacket",
        "大衣=coat", "外套=jacket", "夹克=jacket", "风衣=trench coat",
        "羽绒服=down jacket", "雨衣=raincoat", "棉衣=padded coat", "开衫=cardigan",
    ),
    "dress": (
        "dress", "gown", "sundress", "wedding dress", "cheongsam", "qipao", "evening dress", "long dress", "maxi dress",
        "ball gown", "frock=dress", "minidress", "衬衫裙=shirt dress", "连衣裙=dress",
        "短连衣裙=short dress", "长裙=long dress", "裙装=dress", "礼服=gown", "晚礼服=evening gown",
        "婚纱=wedding dress", "旗袍=cheongsam", "吊带裙=slip dress",
    ),
    "skirt": (
        "skirt", "pleated skirt", "pencil skirt", "miniskirt", "mini skirt", "半身裙=skirt", "短裙=short skirt",
        "百褶裙=pleated skirt", "包臀裙=pencil skirt", "裙子=skirt", "裙=skirt",
    ),
    "trousers": (
        "trousers", "pants", "long pants", "jeans", "slacks", "leggings", "chinos", "sweatpants", "joggers",
        "长裤=trousers",
        "裤子=trousers", "牛仔裤=jeans", "西裤=suit trousers", "紧身裤=leggings", "阔腿裤=wide trousers",
        "运动裤=sweatpants", "裤=trousers",
    ),
    "shorts": ("shorts", "short pants=shorts", "短裤=shorts"),
    "shoes": (
        "shoes", "shoe=shoes", "sneakers", "trainers=sneakers", "sandals", "loafers", "slippers", "flip-flops",
        "拖鞋=slippers", "球鞋=sneakers", "鞋子=shoes", "运动鞋=sneakers", "皮鞋=leather shoes", "凉鞋=sandals",
        "乐福鞋=loafers", "帆布鞋=canvas shoes", "鞋=shoes",
    ),
    "boots": (
        "boots", "ankle boots", "rain boots", "rubber boots", "wellies=rubber boots", "wellingtons=rubber boots",
        "wellington boots=rubber boots", "cowboy boots", "combat boots", "hiking boots", "snow boots", "chelsea boots",
        "knee-high boots", "high boots", "靴子=boots", "长靴=boots", "短靴=ankle boots", "雨靴=rubber boots",
        "马丁靴=combat boots", "雪地靴=snow boots", "靴=boots",
    ),
    "heels": (
        "heels=high heels", "high heels", "high-heels=high heels", "high-heeled shoes=high heels", "pumps", "stilettos",
        "stiletto heels=stilettos", "court shoes=pumps", "高跟鞋=high heels", "高跟=high heels", "细跟鞋=stilettos",
    ),
    "bag": (
        "bag", "handbag", "backpack", "purse", "tote bag", "shoulder bag", "crossbody bag=shoulder bag",
        "messenger bag=shoulder bag", "satchel", "手提包=handbag", "手袋=handbag", "背包=backpack", "书包=school bag",
        "挎包=shoulder bag", "斜挎包=shoulder bag", "单肩包=shoulder bag", "包包=handbag", "包=bag",
    ),
    "beanie": (
        "beanie", "woolly hat=beanie", "wool hat=beanie", "knitted hat=beanie", "knit hat=beanie", "knit cap=beanie",
        "winter hat=beanie", "bobble hat=beanie", "beret", "毛线帽=beanie", "针织帽=beanie", "冷帽=beanie",
        "贝雷帽=beret",
    ),
    "straw_hat": (
        "straw hat", "sun hat", "sunhat=sun hat", "hat", "boater=straw hat", "panama hat=straw hat", "fedora",
        "wide-brimmed hat", "bucket hat", "cowboy hat", "top hat", "草帽=straw hat", "遮阳帽=sun hat",
        "太阳帽=sun hat", "渔夫帽=bucket hat", "礼帽=top hat", "帽子=hat", "帽=hat",
    ),
    "cap": (
        "cap", "baseball cap", "flat cap", "peaked cap=cap", "trucker cap=cap", "snapback=cap", "棒球帽=baseball cap",
        "鸭舌帽=cap", "运动帽=cap",
    ),
    "glasses": (
        "glasses", "eyeglasses=glasses", "spectacles=glasses", "specs=glasses", "reading glasses=glasses",
        "round glasses=glasses", "眼镜=glasses", "圆框眼镜=glasses", "近视镜=glasses",
    ),
    "sunglasses": (
        "sunglasses", "sunnies=sunglasses", "shades=sunglasses", "dark glasses=sunglasses", "aviators=sunglasses",
        "墨镜=sunglasses", "太阳镜=sunglasses", "太阳眼镜=sunglasses",
    ),
}  # fmt: skip
ACCESSORY_WORDS: Words = {
    "scarf": ("scarf", "围巾=scarf"),
    "belt": ("belt", "腰带=belt", "皮带=leather belt"),
    "gloves": ("gloves", "手套=gloves"),
    "tie": ("tie", "necktie=tie", "bow tie", "领带=tie", "领结=bow tie"),
    "necklace": ("necklace", "项链=necklace"),
    "earrings": ("earrings", "耳环=earrings"),
    "watch": ("wristwatch", "手表=wristwatch"),
    "mask": ("mask", "face mask", "口罩=face mask"),
    "socks": ("socks", "stockings", "袜子=socks", "丝袜=stockings"),
}  # fmt: skip
