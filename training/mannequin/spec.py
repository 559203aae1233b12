"""What a Mannequin picture shows, drawn deterministically from a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields, replace

import numpy as np

from twinset.figure import colours
from twinset.figure.colours import RGB
from twinset.figure.drawing.garments import GarmentDesign
from twinset.figure.drawing.hair import BALD, HAIR_LENGTHS, HAIR_STYLES
from twinset.figure.face_look import BEARDS, EXPRESSIONS
from twinset.figure.poses import Placement, Pose, placement, random_pose

SPLITS: dict[str, tuple[int, int]] = {
    "train": (0, 400_000_000),
    "judge": (400_000_000, 800_000_000),
    "held_out": (900_000_000, 2_000_000_000),
}
SCENES = ("beach", "city", "park", "studio", "room")
LATER_SCENES = ("night_city", "office", "cafe", "bedroom", "forest", "stage", "snow")
PATTERNS = ("plain", "stripes", "dots", "checks")
LOGOS = ("star", "heart", "bolt", "ring", "A", "B", "T")
UPPERS = ("t_shirt", "tank_top", "shirt", "hoodie", "coat")
LATER_UPPERS = ("suit_jacket", "jumper")
LOWERS = ("trousers", "skirt", "shorts")
FOOTWEAR = ("shoes", "boots", "heels")
HATS = ("beanie", "straw_hat", "cap")
EYEWEAR = ("glasses", "sunglasses")
STRAW = ("beige", "yellow", "brown", "white")
#: Lights with a colour of their own: gain on the side that they come from, and on the other.
COLOURED_LIGHTS = {
    "sunset": ((1.20, 0.80, 0.55), (1.08, 0.64, 0.60)),
    "night": ((0.46, 0.56, 0.85), (0.33, 0.41, 0.67)),
    "neon": ((1.06, 0.50, 0.98), (0.42, 0.92, 1.08)),
}
#: Scene -> how often each of COLOURED_LIGHTS falls on it; other scenes have OTHER_LIGHTS.
SCENE_LIGHTS = {"night_city": (0.0, 0.5, 0.4), "stage": (0.05, 0.1, 0.65)}
OTHER_LIGHTS = (0.1, 0.05, 0.04)
FRAMING_SHARES = {"portrait": 0.2, "half": 0.3, "three_quarter": 0.35, "full": 0.15}


@dataclass(frozen=True)
class Identity:
    """Who it is: every value in [-1, 1], 0 the average. Never hair, clothes or light."""

    face_width: float
    jaw_width: float
    chin_length: float
    chin_width: float
    eye_size: float
    eye_aspect: float
    eye_spacing: float
    eye_height: float
    eye_tilt: float
    iris: float
    brow_thickness: float
    brow_angle: float
    brow_height: float
    brow_length: float
    brow_tone: float
    nose_width: float
    nose_length: float
    nose_shape: float
    mouth_width: float
    mouth_height: float
    lip_fullness: float
    lip_tone: float
    skin_depth: float
    skin_warmth: float
    freckles: float
    blush: float
    mole: float
    mole_x: float
    mole_y: float
    ear_size: float

    @property
    def vector(self) -> np.ndarray:
        """float32 (30,) in [-1, 1]."""
        return np.array(astuple(self), dtype=np.float32)


@dataclass(frozen=True)
class Hair:
    """Hair style, its length word, colour name and colour."""

    style: str
    length: str
    colour_name: str
    colour: RGB


@dataclass(frozen=True)
class Light:
    """Tint gain per channel (the illuminant), direction in degrees, and strength of the directional shading.

    Attributes:
        warmth: from -1, cold, to 1, warm; of no account for a light with a name.
        gain: per channel, the picture's mean.
        direction: in degrees, where the light goes to.
        strength: of the shading along the direction.
        name: a key of COLOURED_LIGHTS; empty for cold, neutral and warm ones.
        sides: gain per channel where the light comes from and where it goes to; None where both are `gain`.
    """

    warmth: float
    gain: tuple[float, float, float]
    direction: float
    strength: float
    name: str = ""
    sides: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None

    @property
    def word(self) -> str:
        """cold, neutral, warm, or the name of a coloured light."""
        if self.name:
            return self.name
        return "cold" if self.warmth < -0.33 else "warm" if self.warmth > 0.33 else "neutral"


@dataclass(frozen=True)
class Spec:
    """Everything that a picture shows."""

    seed: int
    split: str
    identity: Identity
    hair: Hair
    expression: str
    garments: dict[str, GarmentDesign]
    pose_name: str
    pose: Pose
    framing: str
    where: Placement
    scene: str
    scene_seed: int
    light: Light
    beard: str = "none"

    @property
    def head_turn(self) -> float:
        """Sideways turn of the head, -1..1."""
        return self.pose.head_turn

    @property
    def kinds(self) -> tuple[str, ...]:
        """Garment kinds worn, upper first."""
        return tuple(garment.kind for garment in self.garments.values())

    def restyled(self, rng: np.random.Generator, plain: bool = False) -> Spec:
        """The same person with other hair, beard, light, expression, clothes and scene, looking nearly straight on.

        Args:
            rng: draws them.
            plain: without what `enriched` adds.
        """
        name, pose = random_pose(rng)
        turn = float(np.clip(rng.normal(0, 0.4), -1, 1))
        pose = replace(pose, head_turn=turn, head_tilt=float(rng.normal(0, 4)), lean=float(rng.normal(0, 1.5)))
        scene, scene_seed = draw_scene(rng)
        other = replace(
            self, hair=draw_hair(rng), expression=draw_expression(rng), garments=draw_garments(rng), pose_name=name,
            pose=pose, scene=scene, scene_seed=scene_seed, light=draw_light(rng), beard="none",
        )  # fmt: skip
        return other if plain else enriched(other, rng.spawn(len(TAGS)))  # which leaves the stream of `rng` as it is


def draw_identity(rng: np.random.Generator) -> Identity:
    """Uniform in every parameter; three of four people have no freckles, two of three no mole."""
    values = {field.name: float(v) for field, v in zip(fields(Identity), rng.uniform(-1, 1, 30), strict=True)}
    values["freckles"] = max(-1.0, values["freckles"]) if rng.random() < 0.25 else -1.0
    values["mole"] = abs(values["mole"]) if rng.random() < 0.34 else -1.0
    return Identity(**values)


def draw_hair(rng: np.random.Generator) -> Hair:
    """A style and a jittered named colour."""
    style, name = str(rng.choice(HAIR_STYLES)), str(rng.choice(list(colours.HAIR)))
    return Hair(style, HAIR_LENGTHS[style], name, colours.jittered(colours.HAIR[name], rng))


def _second_colour(first: RGB, rng: np.random.Generator) -> RGB:
    """White, black or a named colour far enough in brightness to be seen."""
    choices = [c for c in colours.CLOTH.values() if abs(colours.luminance(c) - colours.luminance(first)) > 55]
    dark = colours.luminance(first) < 150
    plain = (250, 250, 248) if dark else (45, 45, 52)
    return plain if rng.random() < 0.5 else colours.jittered(choices[int(rng.integers(len(choices)))], rng)


def draw_garment(kind: str, rng: np.random.Generator) -> GarmentDesign:
    """A garment of a kind in a jittered named colour with pattern or logo."""
    name = str(rng.choice(list(colours.CLOTH)))
    colour = colours.jittered(colours.CLOTH[name], rng)
    pattern = "plain" if kind in FOOTWEAR or rng.random() < 0.5 else str(rng.choice(PATTERNS[1:]))
    with_logo = kind in ("t_shirt", "tank_top", "hoodie") and pattern == "plain" and rng.random() < 0.6
    return GarmentDesign(
        kind, name, colour, _second_colour(colour, rng), pattern, str(rng.choice(LOGOS)) if with_logo else None
    )


def draw_garments(rng: np.random.Generator) -> dict[str, GarmentDesign]:
    """(dress, shoes) or (upper, lower, shoes), keyed by slot."""
    kinds = (
        {"upper": "dress"}
        if rng.random() < 0.2
        else {"upper": str(rng.choice(UPPERS)), "lower": str(rng.choice(LOWERS))}
    )
    return {slot: draw_garment(kind, rng) for slot, kind in {**kinds, "shoes": "shoes"}.items()}


def light_tint(warmth: float) -> tuple[float, float, float]:
    """Gain per channel of a light from -1, cold, to 1, warm, before its exposure."""
    t = abs(warmth)
    return (1 + 0.10 * t, 1 - 0.03 * t, 1 - 0.30 * t) if warmth > 0 else (1 - 0.27 * t, 1 - 0.07 * t, 1 + 0.08 * t)


def draw_light(rng: np.random.Generator) -> Light:
    """A light from cold over neutral to warm, from any upper direction."""
    warmth = float(rng.uniform(-1, 1))
    exposure = rng.uniform(0.93, 1.06)
    tint = light_tint(warmth)
    gain = (float(tint[0] * exposure), float(tint[1] * exposure), float(tint[2] * exposure))
    return Light(warmth, gain, float(rng.uniform(0, 360)), float(rng.uniform(0.05, 0.4)))


def white_light() -> Light:
    """Neutral light without direction."""
    return Light(0.0, (1.0, 1.0, 1.0), 0.0, 0.0)


def draw_expression(rng: np.random.Generator) -> str:
    """Neutral and smiling faces are the most frequent."""
    return str(rng.choice(EXPRESSIONS, p=(0.25, 0.27, 0.16, 0.11, 0.11, 0.10)))


def draw_scene(rng: np.random.Generator) -> tuple[str, int]:
    """A scene and the seed of its details."""
    return str(rng.choice(SCENES)), int(rng.integers(1 << 30))


def _draw_place(rng: np.random.Generator) -> tuple[str, Placement]:
    framing = str(rng.choice(list(FRAMING_SHARES), p=list(FRAMING_SHARES.values())))
    zoom, dx, dy = rng.uniform(0.9, 1.04), rng.normal(0, 0.035), rng.uniform(-0.01, 0.025)
    return framing, placement(framing, float(zoom), float(np.clip(dx, -0.09, 0.09)), float(dy))


#: Tags of the streams that `enriched` draws from, one for each choice, so that none disturbs another.
TAGS = {
    20: "bald",
    21: "beard",
    22: "upper",
    23: "shoes",
    24: "hat",
    25: "eyewear",
    26: "bag",
    27: "scene",
    28: "light",
}


def enriched(spec: Spec, streams: Sequence[np.random.Generator]) -> Spec:
    """Adds to a plain Spec what few wear or see: hats, eyewear, beards, bags, other shoes and jackets, scenes, lights.

    Args:
        spec: a plain one; person, pose, hair and the clothes' colours stay.
        streams: a generator for each of TAGS.
    """
    rngs = dict(zip(TAGS.values(), streams, strict=True))
    garments = dict(spec.garments)
    garments["upper"] = _other_upper(garments["upper"], rngs["upper"])
    garments["shoes"] = _other_shoes(garments["shoes"], rngs["shoes"])
    for slot, share, draw in (("hat", 0.16, draw_hat), ("eyewear", 0.17, draw_eyewear), ("bag", 0.2, draw_bag)):
        if rngs[slot].random() < share:
            garments[slot] = draw(rngs[slot])
    bald = rngs["bald"].random() < 0.1
    hair = replace(spec.hair, style=BALD, length=HAIR_LENGTHS[BALD]) if bald else spec.hair
    beard = str(rngs["beard"].choice(BEARDS[1:])) if rngs["beard"].random() < 1 / 6 else "none"
    scene = str(rngs["scene"].choice(LATER_SCENES)) if rngs["scene"].random() < 7 / 12 else spec.scene
    light = _scene_light(scene, spec.light, rngs["light"])
    return replace(spec, garments=garments, hair=hair, beard=beard, scene=scene, light=light)


def _other_upper(garment: GarmentDesign, rng: np.random.Generator) -> GarmentDesign:
    """Two uppers of seven (dresses stay) become a later kind of the same colour; jackets are never dotted."""
    if garment.kind == "dress" or rng.random() > 2 / 7:
        return garment
    kind = str(rng.choice(LATER_UPPERS))
    dotted = kind == "suit_jacket" and garment.pattern == "dots"
    return replace(garment, kind=kind, logo=None, pattern="stripes" if dotted else garment.pattern)


def _other_shoes(shoes: GarmentDesign, rng: np.random.Generator) -> GarmentDesign:
    return replace(shoes, kind=str(rng.choice(FOOTWEAR, p=(0.5, 0.25, 0.25))))


def draw_hat(rng: np.random.Generator) -> GarmentDesign:
    """A hat; straw is mostly of its own colours, and only woollen hats have patterns."""
    kind = str(rng.choice(HATS))
    hat = draw_garment(kind, rng)
    straw = str(rng.choice(STRAW))
    if kind == "straw_hat" and rng.random() < 0.6:
        colour = colours.jittered(colours.CLOTH[straw], rng)
        hat = replace(hat, colour_name=straw, colour=colour, second=_second_colour(colour, rng))
    return hat if kind == "beanie" else replace(hat, pattern="plain")


def draw_eyewear(rng: np.random.Generator) -> GarmentDesign:
    """Glasses or sunglasses; two of three frames are black or brown."""
    eyewear = replace(draw_garment(str(rng.choice(EYEWEAR)), rng), pattern="plain")
    if rng.random() < 0.67:
        name = str(rng.choice(("black", "black", "brown")))
        return replace(eyewear, colour_name=name, colour=colours.jittered(colours.CLOTH[name], rng))
    return eyewear


def draw_bag(rng: np.random.Generator) -> GarmentDesign:
    """A plain shoulder bag."""
    return replace(draw_garment("bag", rng), pattern="plain")


def coloured_light(name: str, rng: np.random.Generator) -> Light:
    """A light of COLOURED_LIGHTS from any direction; neon comes from a side."""
    exposure = rng.uniform(0.92, 1.08)
    near, far = (
        (float(red * exposure), float(green * exposure), float(blue * exposure))
        for red, green, blue in COLOURED_LIGHTS[name]
    )
    direction = float(rng.choice((0, 180)) + rng.normal(0, 20)) if name == "neon" else float(rng.uniform(0, 360))
    mean = ((near[0] + far[0]) / 2, (near[1] + far[1]) / 2, (near[2] + far[2]) / 2)
    return Light(0.0, mean, direction, float(rng.uniform(0.05, 0.25)), name, (near, far))


def _scene_light(scene: str, light: Light, rng: np.random.Generator) -> Light:
    shares = SCENE_LIGHTS.get(scene, OTHER_LIGHTS)
    name = str(rng.choice(("", *COLOURED_LIGHTS), p=(1 - sum(shares), *shares)))
    return coloured_light(name, rng) if name else light


def _number(seed: int, split: str) -> int:
    """The number that the seed of a split has among all splits."""
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; choose one of {', '.join(SPLITS)}")
    low, high = SPLITS[split]
    number = seed if split == "held_out" else low + seed
    if seed < 0 or not low <= number < high:
        raise ValueError(
            f"seed {seed} is outside split {split!r}; held_out takes seeds from 900000000, others 0..399999999"
        )
    return number


def draw_spec(seed: int, split: str = "train") -> Spec:
    """The picture of a seed: `draw_plain_spec`, enriched.

    Args:
        seed: 0.. for "train" and "judge" (counted from each split's own range); from 900_000_000 on for "held_out".
        split: "train", "judge" or "held_out"; people, garments and poses are disjoint between them.

    Raises:
        ValueError: if the split is unknown or the seed is outside its range.
    """
    plain = draw_plain_spec(seed, split)
    number = _number(seed, split)
    return enriched(plain, [np.random.default_rng([tag, number]) for tag in TAGS])


def draw_plain_spec(seed: int, split: str = "train") -> Spec:
    """The picture of a seed before hats, eyewear, beards, bags and what else `enriched` adds.

    Args:
        seed: 0.. for "train" and "judge" (counted from each split's own range); from 900_000_000 on for "held_out".
        split: "train", "judge" or "held_out"; people, garments and poses are disjoint between them.

    Raises:
        ValueError: if the split is unknown or the seed is outside its range.
    """
    number = _number(seed, split)
    person, hair, clothes, posing, scenery, lamp, face = (np.random.default_rng([tag, number]) for tag in range(7))
    pose_name, pose = random_pose(posing)
    framing, where = _draw_place(posing)
    scene, scene_seed = draw_scene(scenery)
    return Spec(
        seed, split, draw_identity(person), draw_hair(hair), draw_expression(face), draw_garments(clothes), pose_name,
        pose, framing, where, scene, scene_seed, draw_light(lamp),
    )  # fmt: skip
