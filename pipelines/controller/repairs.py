"""Which repairs a picture's faults call for, the gentlest first; each touches one region, as strongly as asked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import numpy as np

from twinset.pipelines.controller.colour_repair import even_shading, match_skin, reinhard, relight
from twinset.pipelines.controller.measures import Measurement, Target

PERSON = ("face", "skin")


@dataclass(frozen=True)
class Repair:
    """One thing to try.

    Attributes:
        what: for people: "light of the coat".
        fault: the measure that it is to better.
        apply: strength from 0 to 1 → picture uint8 (H, W, 3).
        redraws: whether a part is drawn anew, which has one strength only.
    """

    what: str
    fault: str
    apply: Callable[[float], np.ndarray]
    redraws: bool = False


def colour_repairs(
    measurement: Measurement, faults: Collection[str], target: Target, skin_tone_match: float, editable: np.ndarray
) -> Iterator[Repair]:
    """Repairs that only change colours and light.

    Args:
        measurement: the picture, measured.
        faults: measures that are to get better.
        target: what it should show.
        skin_tone_match: 0 to 1, how far skins are brought together.
        editable: bool (H, W), what may change.
    """
    if "light_mismatch" in faults:
        yield from _one_light(measurement, editable)
    if "garment_colour" in faults:
        yield from _own_colours(measurement, target, editable)
    if "skin_difference" in faults:
        yield from _one_skin(measurement, skin_tone_match, editable)
    if "shading_mismatch" in faults:
        face, body = measurement.region("face"), measurement.body
        yield Repair(
            "shading of the face",
            "shading_mismatch",
            lambda strength: even_shading(measurement.picture, face & editable, body, strength),
        )


def _one_light(measurement: Measurement, editable: np.ndarray) -> Iterator[Repair]:
    """Each region to the mean of all lights by area, the farthest first, at its own brightness."""
    lights = {name: light / max(float(light.mean()), 1e-6) for name, light in measurement.lights.items()}
    areas = [measurement.region(name).sum() for name in lights]
    middle = np.average(list(lights.values()), axis=0, weights=areas)
    for name in sorted(lights, key=lambda name: -float(np.linalg.norm(lights[name] - middle))):
        gain = middle / np.maximum(lights[name], 1e-6)
        region = measurement.region(name) & editable
        yield Repair(
            f"light of the {region_name(name)}",
            "light_mismatch",
            lambda s, r=region, g=gain: relight(measurement.picture, r, g, s),
        )


def _own_colours(measurement: Measurement, target: Target, editable: np.ndarray) -> Iterator[Repair]:
    """Garments to the colours of their pictures, in the light of the person."""
    known = [measurement.lights[name] for name in PERSON if name in measurement.lights]
    light = np.mean(known, axis=0) if known else np.ones(3)
    for kind in target.flats:
        cloth = target.cloth(kind, measurement.figure.labels)[1] if measurement.figure is not None else []
        if kind not in measurement.lights or not len(cloth):
            continue
        like = (cloth * light).clip(0, 255).astype(np.uint8)
        region = measurement.region(kind) & editable
        yield Repair(
            f"colour of the {region_name(kind)}",
            "garment_colour",
            lambda s, r=region, c=like: reinhard(measurement.picture, r, c, s, spread=False),
        )


def _one_skin(measurement: Measurement, match: float, editable: np.ndarray) -> Iterator[Repair]:
    """Arms and legs to the face, whose skin is the selfie's; where they may not change, the face to them."""
    face, limbs = measurement.region("face"), measurement.region("skin")
    pairs = (("arms and legs", limbs, face), ("face", face, limbs))
    for name, region, like in pairs:
        yield Repair(
            f"skin of the {name}",
            "skin_difference",
            lambda s, r=region & editable, k=like: match_skin(measurement.picture, r, k, s * match),
        )


def regions_to_redraw(
    measurement: Measurement, faults: Collection[str], editable: np.ndarray
) -> Iterator[tuple[str, str, np.ndarray]]:
    """What to draw anew where colours don't help: (what, fault, region bool (H, W))."""
    if "identity" in faults and "identity" in measurement.values and measurement.region("face").any():
        yield "face drawn anew", "identity", measurement.region("face") & editable
    if "garment_colour" in faults:
        for kind in measurement.lights.keys() - set(PERSON):
            yield f"{region_name(kind)} drawn anew", "garment_colour", measurement.region(kind) & editable


def region_name(name: str) -> str:
    """A region's name for people: "t_shirt" → "t-shirt"."""
    return name.replace("_", "-")
