"""The consistency controller: a picture is measured, repaired by the gentlest means that help, drawn again, or refused.

In this order: colours and light of a region; the region drawn anew with stronger conditions; another seed; refusal with
the reason. A repair stays only if it betters what it was for and leaves no measure worse than it was in the beginning.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from twinset.adapters.condition import Condition
from twinset.common.result_cache import Seen
from twinset.errors import InputError
from twinset.pipelines.blending import blend
from twinset.pipelines.compose import Composition, people_of
from twinset.pipelines.controller.measures import MEASURES, Measured, Wanted, look
from twinset.pipelines.controller.repairs import Repair, colour_repairs, redrawn_regions
from twinset.pipelines.families.drawn import People, Selfie
from twinset.pipelines.families.tryon_photo import FADE
from twinset.pipelines.joint_pass import JointPass
from twinset.pipelines.request import Request

STRENGTHS = (1.0, 0.5)
"""At which a repair is tried, the first that does no harm is taken."""
MOST = 8
"""Repairs that are taken of one picture at most."""
STRONGER, STRONGEST = 1.25, 2.0
"""Conditions of a region that is drawn anew, by their own strength; and the most."""


@dataclass(frozen=True)
class Step:
    """One thing that was tried.

    Attributes:
        what: "light of the face", "seed 2".
        fault: the measure that it was for, or what was wrong.
        kept: whether it is in the picture that was taken.
        before, after: that measure's value; None where there is none.
    """

    what: str
    fault: str
    kept: bool
    before: float | None = None
    after: float | None = None

    def to_json(self) -> dict[str, Any]:
        """For the record."""
        return {name: getattr(self, name) for name in ("what", "fault", "kept", "before", "after")}


@dataclass(frozen=True)
class Outcome:
    """What came of one picture.

    Attributes:
        picture: uint8 (H, W, 3), of the family's size.
        values: measures by name.
        faults: measure to what is still wrong by it.
        steps: all that was tried, in order.
        refused: why it should not be shown; None if it may be.
    """

    picture: np.ndarray
    values: dict[str, float]
    faults: dict[str, str]
    steps: tuple[Step, ...] = ()
    refused: str | None = None


Draw = Callable[[int, Sequence[Condition] | None], np.ndarray]
"""One pass: number of the try (each has its own noise), and conditions in place of the composition's."""


def controlled(pipe: JointPass, request: Request, composition: Composition, draw: Draw) -> Outcome:
    """Draw a picture until nothing is wrong with it, or the tries are used up; the best one is given.

    Args:
        pipe: the model.
        request: knobs and limits.
        composition: what is drawn.
        draw: one pass.
    """
    wanted, until = wanted_of(pipe, composition), time.monotonic() + request.repair_seconds
    tried: list[tuple[Measured | None, list[Step]]] = []
    best: Measured | None = None
    with keeping_nothing(pipe):
        for attempt in range(request.candidates if request.repair else 1):
            steps: list[Step] = []
            if attempt and time.monotonic() > until:
                tried.append((None, [Step("time is up", "seconds", kept=False)]))
                break
            seen = _drawn(pipe, request, composition, draw, attempt, wanted, steps)
            if seen is not None and request.repair:
                seen = _repaired(pipe, request, composition, draw, seen, wanted, until, steps)
            tried.append((seen, steps))
            if seen is not None and (best is None or rank(seen, request) < rank(best, request)):
                best = seen
            if best is not None and not faults_of(best, request):
                break
    if best is None:
        raise FloatingPointError("the latents are not finite with any seed; lower the guidance or use float32")
    steps = [step if seen is best else replace(step, kept=False) for seen, taken in tried for step in taken]
    return Outcome(best.picture, best.values, faults_of(best, request), tuple(steps), refusal(best, request))


def wanted_of(pipe: JointPass, composition: Composition) -> Wanted:
    """What the pictures of a composition should show."""
    people, selfie, layout = people_of(pipe), composition.selfie, composition.layout
    given = any(c.kind == "identity" for c in composition.conditions)
    worn = composition.flats if any(c.kind == "garment" for c in composition.conditions) else {}
    embedding, skin = None, None
    if selfie is not None and given:
        embedding, skin = _embedding(people, selfie), people.skin(selfie)
    asked = (layout.keypoints, layout.labels) if composition.posed else (None, None)
    return Wanted(embedding, skin, worn, *asked, composition.prompt, _drafts(pipe, composition))


def _drafts(pipe: JointPass, composition: Composition) -> dict[str, np.ndarray]:
    """Garment kind to what the parsing ControlNet is shown of it, for families whose ControlNet reads that."""
    garments = [c for c in composition.conditions if c.kind == "garment"]
    pairs = zip(composition.flats, garments, strict=False)
    return {kind: pipe.decode(garment.draft) for kind, garment in pairs if garment.draft is not None}


def _embedding(people: People, selfie: Selfie) -> np.ndarray | None:
    """Of one selfie or of several together; None where the family has no recogniser to compare with."""
    try:
        return people.embedding(selfie) if selfie.embedding is None else selfie.embedding
    except InputError:
        return None


def faults_of(seen: Measured, request: Request) -> dict[str, str]:
    """What is wrong with a picture, the request's own threshold included."""
    faults = dict(seen.faults)
    if request.min_identity is not None and seen.values.get("identity", -1.0) < request.min_identity:
        faults["identity"] = MEASURES["identity"].fault
    return faults


def refusal(seen: Measured, request: Request) -> str | None:
    """Why a picture must not be shown, if so."""
    if "blank" in seen.faults:
        return "the picture is blank"
    identity = seen.values.get("identity", -1.0)
    if request.min_identity is not None and identity < request.min_identity:
        return f"identity {identity:.2f} is below --min-identity {request.min_identity:g}"
    return None


def rank(seen: Measured, request: Request) -> tuple[bool, int, float]:
    """Pictures in order, the best first: not refused, fewer faults, nearer to usual values."""
    limits = {n: MEASURES[n].limit(seen.roughly) or 0.0 for n in seen.faults if n in seen.values}
    beyond = [MEASURES[n].gain(limit, seen.values[n]) for n, limit in limits.items()]
    return refusal(seen, request) is not None, len(faults_of(seen, request)), -sum(beyond)


def _drawn(
    pipe: JointPass,
    request: Request,
    composition: Composition,
    draw: Draw,
    attempt: int,
    wanted: Wanted,
    steps: list[Step],
) -> Measured | None:
    """A fresh picture, measured; None where the pass gave no numbers."""
    try:
        seen = look(people_of(pipe), framed(composition, request, draw(attempt, None)), wanted)
    except FloatingPointError as error:
        steps.append(Step(f"seed {attempt + 1}", str(error), kept=False))
        return None
    if attempt:
        steps.append(Step(f"seed {attempt + 1}", ", ".join(faults_of(seen, request)) or "none", kept=True))
    return seen


def _repaired(
    pipe: JointPass,
    request: Request,
    composition: Composition,
    draw: Draw,
    first: Measured,
    wanted: Wanted,
    until: float,
    steps: list[Step],
) -> Measured:
    """The picture after all repairs that help; `first` if none does.

    Colours and light, once at fault, are mended until they are well within their limits; a region is drawn anew only
    while still at fault.
    """
    people, now, tried = people_of(pipe), first, set[str]()
    allowed = np.ones(first.picture.shape[:2], bool) if composition.photo is None else composition.photo.redrawn

    def options() -> Iterator[Repair]:
        yield from colour_repairs(now, unmended(first, now), wanted, request.skin_tone_match, allowed)
        for what, fault, region in redrawn_regions(now, faults_of(now, request), allowed):
            yield Repair(what, fault, lambda _, r=region: anew(pipe, composition, draw, now.picture, r))

    for _ in range(MOST):
        chosen = next((o for o in options() if o.what not in tried), None)
        if chosen is None or time.monotonic() > until:
            break
        tried.add(chosen.what)
        after = _tried(chosen, request.fusion_strength, first, now, lambda p: look(people, p, wanted))
        steps.append(_step(chosen, now, after))
        now = after or now
    return now


def unmended(first: Measured, now: Measured) -> set[str]:
    """Measures of colour and light that were at fault, and are not yet below half their limits."""
    limits = {name: MEASURES[name].limit(now.roughly) for name in first.faults if name in now.values}
    return {name for name, limit in limits.items() if limit is not None and now.values[name] > limit / 2}


def _tried(
    repair: Repair, fusion: float, first: Measured, now: Measured, measured: Callable[[np.ndarray], Measured]
) -> Measured | None:
    """The picture after a repair at the first strength that helps and does no harm; None if there is none."""
    strengths = STRENGTHS if not repair.what.endswith("drawn anew") else STRENGTHS[:1]
    for strength in strengths:
        picture = repair.apply(strength * fusion)
        if np.array_equal(picture, now.picture):
            return None
        after = measured(picture)
        if helps(repair.fault, now, after) and harmless(first, after):
            return after
    return None


def helps(fault: str, before: Measured, after: Measured) -> bool:
    """Whether a measure got better by more than its scatter."""
    return MEASURES[fault].gain(before.values.get(fault, np.nan), after.values.get(fault, np.nan)) > 1


def harmless(first: Measured, after: Measured) -> bool:
    """Whether no measure is worse, by more than its scatter, than in the beginning, and none is lost."""
    kept = first.values.keys() <= after.values.keys()
    return kept and all(MEASURES[name].gain(value, after.values[name]) > -1 for name, value in first.values.items())


def _step(repair: Repair, before: Measured, after: Measured | None) -> Step:
    now = None if after is None else round(after.values[repair.fault], 4)
    return Step(repair.what, repair.fault, after is not None, round(before.values[repair.fault], 4), now)


def framed(composition: Composition, request: Request, drawn: np.ndarray) -> np.ndarray:
    """What was drawn, in photo mode within what the frame shows of the photo."""
    photo = composition.photo
    return drawn if photo is None else blend(photo.seen, drawn, photo.redrawn, request.blend, width=FADE)


def anew(pipe: JointPass, composition: Composition, draw: Draw, picture: np.ndarray, region: np.ndarray) -> np.ndarray:
    """A region drawn anew under stronger conditions, the rest of the picture kept and seen by the pass."""
    stronger = [
        replace(c, weight=min(STRONGER * float(c.weight), STRONGEST))
        for c in composition.conditions
        if c.kind != "photo"
    ]
    return blend(picture, draw(0, [*stronger, pipe.photo(picture, region)]), region)


@contextmanager
def keeping_nothing(pipe: JointPass) -> Iterator[None]:
    """Perception of pictures on their way is not written to disk."""
    former, pipe.seen = pipe.seen, Seen()
    try:
        yield
    finally:
        pipe.seen = former
