"""Scenes, light and kinds of pictures, English and Chinese."""

from __future__ import annotations

from twinset.prompts.vocabulary.garments import Words

SCENE_WORDS: Words = {
    "beach": (
        "beach", "seaside", "shore", "by the sea", "at the sea", "海边", "海滩", "沙滩", "ocean", "seashore",
        "beachfront", "sandy shore", "seafront", "beachside", "oceanside", "seacoast", "tropical island", "the sea",
        "sea", "seascape", "by the ocean", "海岸", "海滨", "大海", "海滩上", "海岛", "海边沙滩", "沙滩上", "海岸线",
        "海上", "海里", "海景", "海風", "三亚", "夏威夷",
    ),
    "city": (
        "city", "city street", "street", "streets", "downtown", "城市", "城市街道", "街头", "街上", "街道", "都市",
        "urban", "town", "avenue", "sidewalk", "crosswalk", "alley", "alleyway", "road", "street corner",
        "skyscrapers", "rooftop", "shopping street", "times square", "city centre", "city center", "cityscape",
        "old town", "market square", "street style", "pavement", "city skyline", "in paris", "in new york",
        "in london", "in tokyo", "街", "马路", "巷子", "小巷", "商业街", "老街", "胡同", "步行街", "路口", "天台",
        "街景", "市中心", "大街", "人行道", "十字路口", "闹市", "古镇", "小镇", "路边", "城里", "斑马线", "弄堂",
        "街角", "高楼",
    ),
    "night_city": (
        "night city", "city at night", "city street at night", "street at night", "streets at night",
        "downtown at night", "neon city", "night skyline", "city lights", "夜景", "城市夜景", "夜晚的城市",
        "夜晚的街头", "夜市", "都市夜景", "夜晚的街道", "city night", "nighttime city", "night street",
        "night time city", "downtown night", "urban night", "night in the city", "neon street", "neon streets",
        "neon alley", "tokyo at night", "city by night", "夜晚街头", "夜晚街道", "霓虹城市", "夜晚的都市", "夜晚城市",
        "城市的夜晚", "城市之夜", "深夜街头", "霓虹街头", "霓虹街道", "夜间城市", "街头夜景", "夜幕下的城市",
    ),
    "park": (
        "park", "garden", "meadow", "lawn", "公园", "花园", "草地", "草坪", "gardens", "field", "fields", "grassland",
        "flower field", "botanical garden", "orchard", "backyard", "back yard", "front yard", "picnic", "prairie",
        "courtyard", "rose garden", "grassy field", "grass field", "park bench", "countryside", "cherry blossom tree",
        "cherry blossom trees", "wildflowers", "playground", "花海", "花田", "草原", "田野", "庭院", "院子", "樱花树",
        "樱花树下", "植物园", "绿地", "后院", "果园", "花丛", "草坪上", "樱花林", "湖边", "乡间", "薰衣草田",
        "油菜花田", "向日葵田", "树下", "花圃", "公园里",
    ),
    "forest": (
        "forest", "woods", "woodland", "jungle", "among the trees", "森林", "树林", "林间", "丛林", "林中",
        "rainforest", "bamboo forest", "bamboo grove", "pine forest", "in the wood", "forests", "birch forest", "竹林",
        "山林", "树丛", "林子", "枫林", "松林", "原始森林", "雨林", "森林里", "密林", "银杏林", "白桦林",
    ),
    "office": (
        "office", "workplace", "meeting room", "办公室", "写字楼", "会议室", "conference room", "boardroom", "cubicle",
        "workspace", "coworking space", "work desk", "in the workplace", "办公桌", "公司", "职场", "办公楼", "工位",
        "办公区", "会议厅",
    ),
    "cafe": (
        "cafe", "café", "coffee shop", "coffee house", "coffeehouse", "coffee bar", "咖啡馆", "咖啡厅", "咖啡店",
        "咖啡屋", "restaurant", "diner", "bistro", "pub", "tea house", "teahouse", "coffeeshop", "cafeteria", "bakery",
        "patisserie", "wine bar", "cocktail bar", "at a bar", "in a bar", "餐厅", "酒吧", "饭店", "茶馆", "奶茶店",
        "甜品店", "饭馆", "面包店", "咖啡吧", "咖啡廳", "西餐厅", "茶餐厅", "清吧", "食堂",
    ),
    "bedroom": (
        "bedroom", "in bed", "卧室", "寝室", "卧房", "on the bed", "bed", "hotel room", "dormitory", "dorm room",
        "床上", "床边", "酒店房间", "大床", "被窝", "床头", "宿舍",
    ),
    "stage": (
        "stage", "on stage", "concert stage", "concert", "music festival", "舞台", "舞台上", "演唱会", "音乐会",
        "台上", "theatre", "theater", "catwalk", "runway", "festival", "spotlight", "red carpet", "concert hall",
        "opera house", "stage lights", "fashion show", "rock concert", "红毯", "t台", "秀场", "剧院", "舞台灯光",
        "聚光灯", "音乐节", "时装秀", "t型台", "戏台", "livehouse",
    ),
    "snow": (
        "snow", "snowy", "in the snow", "snowfield", "snowy landscape", "snowy mountains", "winter landscape",
        "snowing", "雪地", "雪景", "雪山", "下雪", "白雪", "冰天雪地", "雪中", "雪", "ski slope", "snowfall",
        "blizzard", "snowstorm", "snow-covered", "snow covered", "snowdrifts", "in snow", "ski resort",
        "snow mountain", "snow field", "snowflakes", "雪天", "雪地里", "滑雪场", "滑雪", "飘雪", "下着雪", "雪花",
        "雪原", "大雪", "雪中漫步", "雪白的世界", "风雪", "雪后",
    ),
    "studio": (
        "studio", "studio backdrop", "plain background", "white background", "摄影棚", "影棚", "工作室", "纯色背景",
        "白色背景", "白背景", "photo studio", "photography studio", "seamless backdrop", "grey backdrop",
        "plain backdrop", "simple background", "blank background", "solid background", "white backdrop",
        "gradient background", "studio background", "studio lighting", "studio light", "grey background",
        "gray background", "black background", "gray backdrop", "solid colour background", "solid color background",
        "neutral background", "empty background", "blue background", "beige background", "studio shot",
        "transparent background", "white bg", "plain bg", "no background", "白底", "白墙", "灰色背景", "纯白背景",
        "简单背景", "纯色底", "棚拍", "照相馆", "灰背景", "黑色背景", "干净的背景", "简约背景", "红底", "蓝底",
        "空白背景", "单色背景", "无背景", "浅色背景", "灰底", "透明背景",
    ),
    "room": (
        "room", "living room", "indoors", "indoor", "at home", "kitchen", "library", "房间", "室内", "屋里", "家里",
        "客厅", "图书馆", "教室", "lounge", "hallway", "corridor", "sofa", "couch", "apartment", "house", "home",
        "interior", "classroom", "bathroom", "at school", "inside", "window seat", "by the window", "armchair",
        "fireplace", "dining room", "hall", "cottage", "bookshop", "bookstore", "museum", "gallery", "dressing room",
        "changing room", "mirror selfie", "窗边", "阳台上", "屋内", "沙发", "书房", "厨房", "走廊", "店里", "窗前",
        "客厅里", "教室里", "阳台", "更衣室", "餐桌", "书店", "博物馆", "美术馆", "家中", "公寓", "浴室", "洗手间",
        "窗台", "壁炉", "落地窗", "镜子前", "试衣间",
    ),
}  # fmt: skip
LIGHT_WORDS: Words = {
    "cold": (
        "cold light", "cool light", "bluish light", "moonlight", "冷光", "冷色光线", "月光", "cold lighting",
        "moonlit", "moon light", "blue light", "cool lighting", "cold tones", "cool tones", "icy light", "冷色调",
        "蓝光", "清冷的光", "冷白光", "月色", "冷色灯光", "冷光源",
    ),
    "neutral": (
        "neutral light", "daylight", "natural light", "自然光", "中性光线", "日光", "natural lighting", "day light",
        "overcast light", "daytime", "neutral lighting", "by day", "bright daylight", "自然光线", "日间光线", "天光",
        "柔和自然光",
    ),
    "warm": (
        "warm light", "golden light", "golden hour", "candlelight", "warm lighting", "暖光", "暖色光线",
        "candle light", "candlelit", "warm tones", "warm glow", "lamplight", "firelight", "campfire", "warm sunlight",
        "golden sunlight", "golden lighting", "cosy light", "cozy lighting", "暖色", "暖色调", "烛光", "暖黄灯光",
        "暖黄色灯光", "暖色灯光", "温暖的灯光", "暖阳", "篝火", "暖黄光", "温暖的光",
    ),
    "sunset": (
        "sunset", "sunset light", "setting sun", "dusk", "evening glow", "twilight", "日落", "落日", "夕阳", "晚霞",
        "黄昏", "傍晚", "sundown", "magic hour", "sun set", "at sunset", "sunset glow", "sunset sky", "sunrise",
        "dawn", "夕照", "落日余晖", "日暮", "夕阳西下", "夕阳下", "余晖", "日出", "清晨", "晨光", "黎明", "火烧云",
        "金色夕阳",
    ),
    "night": (
        "night", "at night", "night light", "nighttime", "midnight", "night city", "city at night",
        "city street at night", "street at night", "streets at night", "downtown at night", "night skyline", "夜晚",
        "夜里", "夜间", "深夜", "晚上", "午夜", "夜色", "夜景", "城市夜景", "夜晚的城市", "夜晚的街头", "夜市",
        "都市夜景", "夜晚的街道", "nights", "night time", "late at night", "night sky", "starry night", "starry sky",
        "dark night", "by night", "nighttime city", "night street", "city night", "夜", "星空", "夜空", "晚间", "半夜",
        "大晚上", "黑夜", "夜幕", "繁星", "夜晚街头", "夜晚街道", "夜晚的都市", "夜晚城市", "城市的夜晚", "城市之夜",
        "深夜街头",
    ),
    "neon": (
        "neon", "neon light", "neon lights", "neon lighting", "neon glow", "neon signs", "neon city", "霓虹", "霓虹灯",
        "霓虹光", "霓虹灯光", "neons", "neon-lit", "neon sign", "neon street", "neon streets", "neon alley",
        "霓虹灯下", "霓虹灯牌", "霓虹街头", "霓虹街道", "霓虹城市",
    ),
}  # fmt: skip
ART_WORDS: Words = {
    "photo": (
        "photo", "photograph", "photorealistic", "realistic", "照片", "写实", "写实摄影", "真实感", "raw photo",
        "photography", "selfie", "photo-realistic", "hyperrealistic", "hyper-realistic", "dslr", "film still",
        "photoshoot", "photo shoot", "snapshot", "polaroid", "editorial shot", "portrait photo", "film photo",
        "analog photo", "realism", "lifelike", "photograph of", "pic", "写真", "证件照", "摄影", "实拍", "全身照",
        "自拍", "人像", "真人", "人像摄影", "艺术照", "胶片", "拍立得", "街拍", "大头照", "半身照", "照",
    ),
    "anime": (
        "anime", "manga", "动漫", "二次元", "动画", "anime style", "manga style", "source anime", "cel shading",
        "cel-shaded", "chibi", "动漫风", "日漫", "动画风", "漫画风", "漫画", "二次元风", "日系动漫", "番剧",
    ),
    "watercolour": (
        "watercolour", "watercolor", "水彩", "水彩画", "watercolours", "watercolors", "watercolor painting",
        "watercolour painting", "水彩风", "水彩画风", "水彩插画",
    ),
    "oil painting": (
        "oil painting", "油画", "oil on canvas", "oil paint", "oil-painting", "油画风", "油画质感",
    ),
    "sketch": (
        "sketch", "pencil drawing", "素描", "速写", "pencil sketch", "charcoal drawing", "line art", "lineart",
        "line drawing", "ink drawing", "素描画", "线稿", "铅笔画", "手绘",
    ),
    "ink wash": (
        "ink wash", "水墨", "水墨画", "国画", "sumi-e", "chinese painting", "ink painting", "ink wash painting",
        "水墨风", "水墨画风", "中国画", "水墨画风格", "工笔画",
    ),
    "cyberpunk": (
        "cyberpunk", "赛博朋克", "cyber punk", "cyberpunk style", "赛博朋克风", "赛博", "赛博朋克风格",
    ),
    "pixel art": (
        "pixel art", "像素画", "pixel-art", "pixelated", "8-bit", "像素风", "像素",
    ),
    "3d render": (
        "3d render", "3d", "三维渲染", "3d rendering", "cgi", "unreal engine", "octane render", "blender render",
        "3d风格", "3d渲染", "建模", "c4d",
    ),
    "illustration": (
        "illustration", "cartoon", "comic", "cartoon style", "vector art", "flat illustration", "digital art",
        "digital painting", "storybook illustration", "插画", "卡通", "插图", "手绘插画", "扁平插画", "绘本",
    ),
}  # fmt: skip
PRAISE_WORDS: Words = {
    "praise": (
        "masterpiece", "best quality", "high quality", "highest quality", "good quality", "top quality",
        "amazing quality", "highly detailed", "ultra detailed", "ultra-detailed", "extremely detailed",
        "very detailed", "hyper detailed", "hyperdetailed", "detailed", "super detailed", "intricate",
        "intricate details", "intricate detail", "detailed eyes", "detailed face", "detailed background",
        "detailed skin", "high detailed skin", "beautiful detailed eyes", "beautiful", "gorgeous", "stunning",
        "pretty", "handsome", "cute", "lovely", "elegant", "attractive", "charming", "sexy", "hot", "cool", "fancy",
        "fashionable", "stylish", "chic", "trendy", "perfect", "flawless", "amazing", "8k", "4k", "8k uhd", "4k uhd",
        "uhd", "hdr", "hd", "full hd", "ultra hd", "high resolution", "high-resolution", "highres", "absurdres",
        "high res", "sharp focus", "sharp", "in focus", "crisp", "bokeh", "depth of field", "shallow depth of field",
        "blurred background", "blurry background", "film grain", "grainy", "cinematic", "cinematic still",
        "cinematic lighting", "cinematic light", "dramatic lighting", "dramatic light", "rim lighting", "rim light",
        "backlight", "backlit", "backlighting", "volumetric lighting", "volumetric light", "soft lighting",
        "soft light", "studio quality", "professional", "professional photography", "professional photo",
        "award winning", "award-winning", "kodak portra", "kodak portra 400", "kodak", "fujifilm", "fujifilm xt3",
        "canon eos", "canon", "nikon", "leica", "sony alpha", "hasselblad", "iphone", "trending on artstation",
        "artstation", "deviantart", "pixiv", "very aesthetic", "aesthetic", "newest", "vivid", "vivid colors",
        "vivid colours", "vibrant", "colorful", "colourful", "looking at viewer", "looking at the viewer",
        "looking at camera", "looking at the camera", "facing viewer", "facing the camera", "solo", "full body",
        "full-body", "full body shot", "full length", "upper body", "half body", "cowboy shot", "close-up", "close up",
        "closeup", "headshot", "portrait", "medium shot", "wide shot", "wide angle", "front view", "from the front",
        "from front", "official art", "wallpaper", "very beautiful", "ootd", "editorial", "lookbook", "vogue",
        "fashion photography", "杰作", "最佳质量", "最高质量", "高质量", "最佳品质", "最佳画质", "高品质", "高清",
        "超清", "超高清", "高分辨率", "电影感", "电影质感", "电影级", "质感", "胶片感", "细节丰富", "极致细节",
        "超精细", "精细", "精致", "精美", "唯美", "完美", "景深", "虚化", "背景虚化", "大片", "氛围感", "精致五官",
        "五官精致", "看向镜头", "看着镜头", "面向镜头", "直视镜头", "全身", "半身", "半身像", "全身像", "特写", "正面",
        "漂亮", "好看", "帅气", "可爱", "优雅", "气质", "时尚", "酷", "酷酷的", "清纯", "甜美", "性感", "美丽", "英俊",
        "绝美", "高级感", "高级", "氛围", "大师作品", "画质", "逆光", "侧光", "柔光", "光影", "穿搭", "造型", "风格",
        "写实风格", "古风", "中国风", "复古",
    ),
}  # fmt: skip
"""Words that praise a picture, or tell a camera; the figure, its clothes and the scene do not depend on them."""
