"""What a Mannequin picture shows, drawn deterministically from a seed."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields, replace

import numpy as np

from twinset.figure import colours
from twinset.figure.colours import RGB
from twinset.figure.garments import GarmentDesign
from twinset.figure.hair import HAIR_LENGTHS, HAIR_STYLES
from twinset.figure.poses import Placement, Pose, placement, random_pose

SPLITS: dict[str, tuple[int, int]] = {
    "train": (0, 400_000_000),
    "judge": (400_000_000, 800_000_000),
    "held_out": (900_000_000, 2_000_000_000),
}
EXPRESSIONS = ("neutral", "smile", "laugh", "surprised", "wink", "sad")
SCENES = ("beach", "city", "park", "studio", "room")
PATTERNS = ("plain", "stripes", "dots", "checks")
LOGOS = ("star", "heart", "bolt", "ring", "A", "B", "T")
UPPERS = ("t_shirt", "tank_top", "shirt", "hoodie", "coat")
LOWERS = ("trousers", "skirt", "shorts")
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
    """Tint gain per channel (the illuminant), direction in degrees, and strength of the directional shading."""

    warmth: float
    gain: tuple[float, float, float]
    direction: float
    strength: float

    @property
    def word(self) -> str:
        """cold, neutral or warm."""
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

    @property
    def head_turn(self) -> float:
        """Sideways turn of the head, -1..1."""
        return self.pose.head_turn

    @property
    def kinds(self) -> tuple[str, ...]:
        """Garment kinds worn, upper first."""
        return tuple(garment.kind for garment in self.garments.values())

    def restyled(self, rng: np.random.Generator) -> Spec:
        """The same person with other hair, light, expression, clothes and scene, looking nearly straight on."""
        name, pose = random_pose(rng)
        turn = float(np.clip(rng.normal(0, 0.4), -1, 1))
        pose = replace(pose, head_turn=turn, head_tilt=float(rng.normal(0, 4)), lean=float(rng.normal(0, 1.5)))
        scene, scene_seed = draw_scene(rng)
        return replace(
            self, hair=draw_hair(rng), expression=draw_expression(rng), garments=draw_garments(rng), pose_name=name,
            pose=pose, scene=scene, scene_seed=scene_seed, light=draw_light(rng),
        )  # fmt: skip


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
    pattern = "plain" if kind == "shoes" or rng.random() < 0.5 else str(rng.choice(PATTERNS[1:]))
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


def draw_spec(seed: int, split: str = "train") -> Spec:
    """The picture of a seed.

    Args:
        seed: 0.. for "train" and "judge" (counted from each split's own range); from 900_000_000 on for "held_out".
        split: "train", "judge" or "held_out"; people, garments and poses are disjoint between them.

    Raises:
        ValueError: if the split is unknown or the seed is outside its range.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; choose one of {', '.join(SPLITS)}")
    low, high = SPLITS[split]
    number = seed if split == "held_out" else low + seed
    if seed < 0 or not low <= number < high:
        raise ValueError(
            f"seed {seed} is outside split {split!r}; held_out takes seeds from 900000000, others 0..399999999"
        )
    person, hair, clothes, posing, scenery, lamp, face = (np.random.default_rng([tag, number]) for tag in range(7))
    pose_name, pose = random_pose(posing)
    framing, where = _draw_place(posing)
    scene, scene_seed = draw_scene(scenery)
    return Spec(
        seed, split, draw_identity(person), draw_hair(hair), draw_expression(face), draw_garments(clothes), pose_name,
        pose, framing, where, scene, scene_seed, draw_light(lamp),
    )  # fmt: skip
