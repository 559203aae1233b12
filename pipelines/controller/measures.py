"""What a picture is measured by: for its record, for the controller, and for `twinset score`.

The eyes are the pipeline's own (face finder and encoder, figure reader, CLIP); the benchmark's judges never look here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from twinset.errors import InputError
from twinset.figure.keypoints import Keypoints
from twinset.figure.labels import BACKGROUND, FACE, garment_labels
from twinset.models.figure_reader import Figure
from twinset.pipelines.families.backend import FamilyBackend
from twinset.scoring.garment import FEWEST_PIXELS, NEARLY_WHITE, colour_difference, region_inside
from twinset.scoring.identity import cosine
from twinset.scoring.iqa import ANTONYMS
from twinset.scoring.light import illuminant, mismatch, shading_slope
from twinset.scoring.pose import mean_iou, pck, torso_length
from twinset.scoring.skin import LIMBS, skin_difference, skin_tone

SMALLEST = 0.003
"""Share of the picture that a garment must cover for its colour to be told: of a sliver, outlines are the most."""
FLATTEST = 6.0
"""Standard deviation of all pixels below which a picture is blank."""


@dataclass(frozen=True)
class Measure:
    """One way of measuring.

    Attributes:
        title: for people.
        better: "high" or "low".
        unit: of the value.
        least: smallest difference that counts; anything smaller is the measurement's own scatter.
        bad: the limit beyond which a picture has a fault; None for measures that only inform.
        fault: the text of that fault, for people.
        source: of the definition.
        rough: limit used instead of `bad` where garment colours are known only as a whole, not as seen in this pose.
    """

    title: str
    better: Literal["high", "low"]
    unit: str
    least: float
    bad: float | None
    fault: str
    source: str
    rough: float | None = None

    def limit(self, coarse_colours: bool = False) -> float | None:
        """Beyond which a value is a fault, if there is such."""
        return self.rough if coarse_colours and self.rough is not None else self.bad

    def is_bad(self, value: float, coarse_colours: bool = False) -> bool:
        """Whether a value is beyond what is usual; unknown ones are not."""
        limit = self.limit(coarse_colours)
        if limit is None or not np.isfinite(value):
            return False
        return value < limit if self.better == "high" else value > limit

    def gain(self, before: float, after: float) -> float:
        """By how much a value got better, negative where it got worse, in units of `least`; 0 for unknown ones."""
        if not np.isfinite([before, after]).all():
            return 0.0
        return (after - before if self.better == "high" else before - after) / self.least


# Beyond `bad` lie at most 5 of 100 true drawings (seeds 60000 to 60039), and for `identity` none. `least` of what CLIP
# says is the median difference of two true drawings of one person in two lights that the words allow (same seeds).
MEASURES: dict[str, Measure] = (
    {
        "identity": Measure(
            "face like the selfie",
            "high",
            "cosine",
            0.005,
            0.35,
            "the face does not match the selfie",
            "ArcFace (Deng 2019)",
        ),
        "skin_difference": Measure(
            "face and body skin", "low", "ΔE2000", 0.2, 6.5, "skin of face and body differ", "CIEDE2000 (Sharma 2005)"
        ),
        "light_mismatch": Measure(
            "light of the regions",
            "low",
            "°",
            0.1,
            4.0,
            "regions are lit differently",
            "recovery error (Finlayson 2014)",
            rough=6.0,
        ),
        "shading_mismatch": Measure(
            "shading of face and body",
            "low",
            "log",
            0.01,
            0.5,
            "face and body are lit from different sides",
            "plane fit",
        ),
        "garment_colour": Measure(
            "garment's colour", "low", "ΔE2000", 0.2, 5.5, "the garment's colour is off", "CIEDE2000 (Sharma 2005)", 8.5
        ),
        "garment_similarity": Measure(
            "garment like its picture", "high", "cosine", 0.012, None, "", "CLIP (Radford 2021)"
        ),
        "pose": Measure(
            "keypoints in place",
            "high",
            "PCK@0.1",
            0.03,
            0.5,
            "the pose is not the one asked for",
            "Yang & Ramanan 2013",
        ),
        "parsing": Measure(
            "regions in place", "high", "mIoU", 0.01, 0.3, "body and clothes are out of place", "intersection by union"
        ),
        "prompt": Measure("words and picture", "high", "CLIPScore", 0.05, None, "", "Hessel et al. 2021"),
        "clip_iqa_quality": Measure(
            "good looks", "high", "0 to 1", 0.04, 0.2, "image quality is low", "CLIP-IQA (Wang 2023)"
        ),
    }
    | {
        f"clip_iqa_{name}": Measure(f"CLIP-IQA, {name}", "high", "0 to 1", 0.02, None, "", "CLIP-IQA, Wang et al. 2023")
        for name in ANTONYMS
        if name != "quality"
    }
    | {"niqe": Measure("natural statistics", "low", "NIQE", 0.3, None, "", "Mittal et al. 2013")}
)
"""Name to measure, in the order in which they are reported."""


@dataclass(frozen=True)
class Target:
    """What a picture should show; whatever is None or empty is not measured.

    Attributes:
        embedding: (512,) of the person's face.
        skin: (3,) of the person's skin in white light, 0 to 255.
        flats: garment kind to its picture on white, uint8 (h, w, 3).
        keypoints: (18, 3) asked for.
        labels: uint8 (H, W) parsing map asked for.
        prompt: the words.
        drafts: garment kind to uint8 (H, W, 3), the garment as it lies in `labels`, in white light.
    """

    embedding: np.ndarray | None = None
    skin: np.ndarray | None = None
    flats: Mapping[str, np.ndarray] = field(default_factory=dict)
    keypoints: Keypoints | None = None
    labels: np.ndarray | None = None
    prompt: str | None = None
    drafts: Mapping[str, np.ndarray] = field(default_factory=dict)

    def cloth(self, kind: str, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where a garment is seen, and its own colours there.

        The draft tells what is seen of a garment and what is hidden; without one the whole garment has to do.

        Args:
            kind: a key of `flats`.
            labels: uint8 (H, W) parsing map of the picture.

        Returns:
            bool (H, W), and uint8 (N, 3).
        """
        region = region_inside(labels, garment_labels(kind))
        if kind not in self.drafts or self.labels is None:
            flat = self.flats[kind]
            return region, flat[(flat < NEARLY_WHITE).any(-1)]
        region &= np.isin(self.labels, garment_labels(kind))
        return region, self.drafts[kind][region]


@dataclass(frozen=True)
class Measurement:
    """A picture, and everything that was measured of it.

    Attributes:
        picture: uint8 (H, W, 3).
        figure: its keypoints and parsing map; None where the family cannot read people.
        lights: region ("face", "skin", garment kinds) to what lights it, (3,).
        values: measure to value; what could not be measured is left out.
        coarse_colours: whether garments' colours are known as a whole only.
    """

    picture: np.ndarray
    figure: Figure | None
    lights: dict[str, np.ndarray]
    values: dict[str, float]
    coarse_colours: bool = False

    @property
    def faults(self) -> dict[str, str]:
        """Measure to what is wrong by it."""
        bad = {
            name: MEASURES[name].fault
            for name, value in self.values.items()
            if MEASURES[name].is_bad(value, self.coarse_colours)
        }
        return bad | ({"blank": "the picture is blank"} if is_blank(self.picture) else {})

    @property
    def body(self) -> np.ndarray:
        """Pixels of the person but the face, bool (H, W)."""
        labels = np.zeros(self.picture.shape[:2], np.uint8) if self.figure is None else self.figure.labels
        return ~np.isin(labels, (BACKGROUND, FACE))

    def region(self, name: str) -> np.ndarray:
        """Pixels of "face", "skin" or a garment kind, bool (H, W)."""
        labels = np.zeros(self.picture.shape[:2], np.uint8) if self.figure is None else self.figure.labels
        return np.isin(labels, {"face": (FACE,), "skin": LIMBS}.get(name) or garment_labels(name))


def is_blank(picture: np.ndarray) -> bool:
    """Whether a picture uint8 (H, W, 3) shows nothing: one colour, as a pass that went wrong leaves it."""
    return float(picture.std((0, 1)).mean()) < FLATTEST


def measure(people: FamilyBackend, picture: np.ndarray, target: Target) -> Measurement:
    """Measure a picture by everything that is known of what it should show.

    Args:
        people: of the pipeline.
        picture: uint8 (H, W, 3).
        target: what it should show.
    """
    figure = _figure(people, picture)
    lights = {} if figure is None else region_lights(picture, figure.labels, target)
    values = people.scores(picture) | _face(people, picture, target)
    if figure is not None:
        values |= _body(picture, figure, target, lights)
        values |= people.similarities(picture, figure.labels, target.flats, target.prompt)
    known = {name: float(value) for name, value in values.items() if np.isfinite(value)}
    coarse_colours = not target.flats.keys() <= target.drafts.keys()
    return Measurement(
        picture, figure, lights, {name: known[name] for name in MEASURES if name in known}, coarse_colours
    )


def _figure(people: FamilyBackend, picture: np.ndarray) -> Figure | None:
    """None where the family's networks that read people are not here."""
    try:
        return people.figure(picture)
    except InputError:
        return None


def _face(people: FamilyBackend, picture: np.ndarray, target: Target) -> dict[str, float]:
    """Of the largest face; a picture in which none is found is as far from the person as one can be."""
    if target.embedding is None:
        return {}
    found = people.embedded(picture)
    return {"identity": -1.0 if found is None else float(cosine(found, target.embedding))}


def _body(picture: np.ndarray, figure: Figure, target: Target, lights: Mapping[str, np.ndarray]) -> dict[str, float]:
    labels = figure.labels
    values = {
        "skin_difference": skin_difference(picture, labels),
        "light_mismatch": mismatch(lights),
        "shading_mismatch": shading_mismatch(picture, labels),
        "garment_colour": garment_colour(picture, labels, target, lights),
    }
    if target.keypoints is not None and figure.found:
        values["pose"] = pck(figure.keypoints, target.keypoints, torso_length(target.keypoints))
    if target.labels is not None:
        values["parsing"] = mean_iou(labels, target.labels)
    return values


def region_lights(picture: np.ndarray, labels: np.ndarray, target: Target) -> dict[str, np.ndarray]:
    """What lights each region whose own colour is known.

    Face and limbs against the person's skin in white light; without it they are compared with each other alone, the
    face's being white. Garments against the mean of their pictures, which are taken to be in white light. Regions too
    small to be sure of are left out.

    Args:
        picture: uint8 (H, W, 3).
        labels: uint8 (H, W) parsing map.
        target: skin and garments.

    Returns:
        "face", "skin" and garment kinds to float (3,).
    """
    face = skin_tone(picture, labels)
    skin = target.skin if target.skin is not None or target.flats else face
    own = np.ones(3) if skin is None else np.maximum(skin, 1.0)
    tones = {} if skin is None else {"face": face, "skin": skin_tone(picture, labels, LIMBS)}
    lights = {name: tone / own for name, tone in tones.items() if tone is not None}
    for kind in target.flats:
        region, own_colours = target.cloth(kind, labels)
        if len(own_colours) and region.mean() >= SMALLEST:
            light = illuminant(picture, region, own_colours.mean(0))
            lights |= {} if light is None else {kind: light}
    return lights


def garment_colour(picture: np.ndarray, labels: np.ndarray, target: Target, lights: Mapping[str, np.ndarray]) -> float:
    """CIEDE2000 between garments and their pictures in the light of the person's skin, mean; NaN without any."""
    skin = [lights[name] for name in ("face", "skin") if name in lights]
    light = np.mean(skin, axis=0) if skin else np.ones(3)
    wrong = []
    for kind in target.flats:
        region, own_colours = target.cloth(kind, labels)
        if len(own_colours) and region.mean() >= SMALLEST:
            seen, told = picture[region].mean(0), own_colours.mean(0) * light
            wrong.append(float(colour_difference(seen / 255, (told / 255).clip(0, 1))))
    return float(np.mean(wrong)) if wrong else float("nan")


def shading_mismatch(picture: np.ndarray, labels: np.ndarray) -> float:
    """How differently face and body are shaded: difference of their slopes of brightness over the face's size."""
    face, body = region_inside(labels, (FACE,)), ~np.isin(labels, (BACKGROUND, FACE))
    if min(face.sum(), body.sum()) < FEWEST_PIXELS:
        return float("nan")
    apart = shading_slope(picture, face) - shading_slope(picture, body)
    return float(np.linalg.norm(apart) * np.sqrt(face.sum()))
