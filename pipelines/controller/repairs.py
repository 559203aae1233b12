"""Which repairs a picture's faults call for, the gentlest first; each touches one region, as strongly as asked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import numpy as np

from twinset.pipelines.controller.colour_repair import even_shading, match_skin, reinhard, relight
from twinset.pipelines.controller.measures import Measured, Wanted

PERSON = ("face", "skin")


@dataclass(frozen=True)
class Repair:
    """One thing to try.

    Attributes:
        what: for people: "light of the coat".
        fault: the measure that it is to better.
        apply: strength from 0 to 1 → picture uint8 (H, W, 3).
    """

    what: str
    fault: str
    apply: Callable[[float], np.ndarray]


def colour_repairs(
    seen: Measured, faults: Collection[str], wanted: Wanted, skin_tone_match: float, allowed: np.ndarray
) -> Iterator[Repair]:
    """Repairs that only change colours and light.

    Args:
        seen: the picture, measured.
        faults: measures that are to get better.
        wanted: what it should show.
        skin_tone_match: 0 to 1, how far skins are brought together.
        allowed: bool (H, W), what may change.
    """
    if "light_mismatch" in faults:
        yield from _one_light(seen, allowed)
    if "garment_colour" in faults:
        yield from _own_colours(seen, wanted, allowed)
    if "skin_difference" in faults:
        yield from _one_skin(seen, skin_tone_match, allowed)
    if "shading_mismatch" in faults:
        face, body = seen.region("face"), seen.body
        yield Repair(
            "shading of the face",
            "shading_mismatch",
            lambda strength: even_shading(seen.picture, face & allowed, body, strength),
        )


def _one_light(seen: Measured, allowed: np.ndarray) -> Iterator[Repair]:
    """Each region to the mean of all lights by area, the farthest first, at its own brightness."""
    lights = {name: light / max(float(light.mean()), 1e-6) for name, light in seen.lights.items()}
    areas = [seen.region(name).sum() for name in lights]
    middle = np.average(list(lights.values()), axis=0, weights=areas)
    for name in sorted(lights, key=lambda name: -float(np.linalg.norm(lights[name] - middle))):
        gain = middle / np.maximum(lights[name], 1e-6)
        region = seen.region(name) & allowed
        yield Repair(
            f"light of the {said(name)}", "light_mismatch", lambda s, r=region, g=gain: relight(seen.picture, r, g, s)
        )


def _own_colours(seen: Measured, wanted: Wanted, allowed: np.ndarray) -> Iterator[Repair]:
    """Garments to the colours of their pictures, in the light of the person."""
    known = [seen.lights[name] for name in PERSON if name in seen.lights]
    light = np.mean(known, axis=0) if known else np.ones(3)
    for kind in wanted.flats:
        cloth = wanted.cloth(kind, seen.figure.labels)[1] if seen.figure is not None else []
        if kind not in seen.lights or not len(cloth):
            continue
        like = (cloth * light).clip(0, 255).astype(np.uint8)
        region = seen.region(kind) & allowed
        yield Repair(
            f"colour of the {said(kind)}",
            "garment_colour",
            lambda s, r=region, c=like: reinhard(seen.picture, r, c, s, spread=False),
        )


def _one_skin(seen: Measured, match: float, allowed: np.ndarray) -> Iterator[Repair]:
    """Arms and legs to the face, whose skin is the selfie's; where they may not change, the face to them."""
    face, limbs = seen.region("face"), seen.region("skin")
    pairs = (("arms and legs", limbs, face), ("face", face, limbs))
    for name, region, like in pairs:
        yield Repair(
            f"skin of the {name}",
            "skin_difference",
            lambda s, r=region & allowed, k=like: match_skin(seen.picture, r, k, s * match),
        )


def redrawn_regions(
    seen: Measured, faults: Collection[str], allowed: np.ndarray
) -> Iterator[tuple[str, str, np.ndarray]]:
    """What to draw anew where colours don't help: (what, fault, region bool (H, W))."""
    if "identity" in faults and "identity" in seen.values and seen.region("face").any():
        yield "face drawn anew", "identity", seen.region("face") & allowed
    if "garment_colour" in faults:
        for kind in seen.lights.keys() - set(PERSON):
            yield f"{said(kind)} drawn anew", "garment_colour", seen.region(kind) & allowed


def said(name: str) -> str:
    """A region's name for people: "t_shirt" → "t-shirt"."""
    return name.replace("_", "-")
