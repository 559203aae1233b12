"""The consistency controller: a picture is measured, repaired by the gentlest means that help, drawn again, or refused.

In this order: colours and light of a region; the region drawn anew with stronger conditions; another seed; refusal with
the reason. A repair stays only if it betters what it was for and leaves no measure worse than it was in the beginning.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from twinset.common.result_cache import PerceptionCache
from twinset.errors import InputError
from twinset.pipelines.compose import Composition, backend_of
from twinset.pipelines.controller.measures import MEASURES, Measurement, Target, measure
from twinset.pipelines.controller.repairs import Repair, colour_repairs, regions_to_redraw
from twinset.pipelines.denoising.blending import blend
from twinset.pipelines.families.backend import FamilyBackend, Selfie
from twinset.pipelines.families.tryon_photo import FADE
from twinset.pipelines.joint_pass import JointPass
from twinset.pipelines.request import Request
from twinset.pipelines.stages import Stage, redrawn

STRENGTHS = (1.0, 0.5)
"""At which a repair is tried, the first that does no harm is taken."""
MOST_REPAIRS = 8
"""Repairs that are taken of one picture at most."""
STRONGER, STRONGEST = 1.25, 2.0
"""Conditions of a region that is drawn anew, by their own strength; and the most."""

DrawPass = Callable[[int, Sequence[Stage] | None], np.ndarray]
"""One pass: number of the try (each has its own noise), and stages in place of the composition's."""


@dataclass(frozen=True)
class Step:
    """One thing that was tried.

    Attributes:
        what: the repair or seed, such as "light of the face" or "seed 2".
        fault: the measure that it was meant to improve, or the fault's text.
        kept: whether the chosen picture includes it.
        before, after: the measure's value, before and after the step; None where it has none.
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
    """The controller's result for one picture.

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


@dataclass
class Attempt:
    """One seed that was tried.

    Attributes:
        result: the picture, measured and repaired; None where the pass gave no numbers, or was not begun.
        steps: what was tried on the way.
    """

    result: Measurement | None = None
    steps: list[Step] = field(default_factory=list)


def draw_controlled(pipe: JointPass, request: Request, composition: Composition, draw_pass: DrawPass) -> Outcome:
    """Draw a picture until it has no faults or the tries are used up; returns the best one.

    Args:
        pipe: the model.
        request: knobs and limits.
        composition: what is drawn.
        draw_pass: one pass.

    Raises:
        FloatingPointError: no seed gave finite latents.
    """
    return Controller(pipe, request, composition, draw_pass).run()


class Controller:
    """Draws one picture of a request, looks at it and repairs it.

    Args:
        pipe: the model.
        request: knobs and limits.
        composition: what is drawn.
        draw_pass: one pass.
    """

    def __init__(self, pipe: JointPass, request: Request, composition: Composition, draw_pass: DrawPass):
        self.pipe, self.request, self.composition, self.draw_pass = pipe, request, composition, draw_pass
        self.people = backend_of(pipe)
        self.target = target_of(pipe, composition)
        self.deadline = time.monotonic() + request.repair_seconds

    def run(self) -> Outcome:
        """The best picture that the request's tries give."""
        attempts: list[Attempt] = []
        with perception_not_stored(self.pipe):
            for number in range(self.request.candidates if self.request.repair else 1):
                if number and self._time_is_up():
                    attempts.append(Attempt(steps=[Step("out of time", "seconds", kept=False)]))
                    break
                attempts.append(self._attempt(number))
                if attempts[-1].result is not None and not faults_of(attempts[-1].result, self.request):
                    break
        return self._outcome(attempts)

    def measure(self, picture: np.ndarray) -> Measurement:
        """A picture uint8 (H, W, 3), measured by what it should show."""
        return measure(self.people, picture, self.target)

    def _attempt(self, number: int) -> Attempt:
        """One seed: drawn, measured, repaired."""
        attempt = Attempt()
        attempt.result = self._draw(number, attempt.steps)
        if attempt.result is not None and self.request.repair:
            attempt.result = self._repair(attempt.result, attempt.steps)
        return attempt

    def _time_is_up(self) -> bool:
        return time.monotonic() > self.deadline

    def _outcome(self, attempts: list[Attempt]) -> Outcome:
        results = [attempt.result for attempt in attempts if attempt.result is not None]
        if not results:
            raise FloatingPointError("the latents are not finite with any seed; lower the guidance or use float32")
        best = min(results, key=lambda result: preference(result, self.request))  # the first of equals
        steps = [
            step if attempt.result is best else replace(step, kept=False)
            for attempt in attempts
            for step in attempt.steps
        ]
        faults = faults_of(best, self.request)
        return Outcome(best.picture, best.values, faults, tuple(steps), refusal(best, self.request))

    def _draw(self, number: int, steps: list[Step]) -> Measurement | None:
        """A fresh picture, measured; None where the pass gave no numbers."""
        try:
            drawn = self.measure(framed(self.composition, self.request, self.draw_pass(number, None)))
        except FloatingPointError as error:
            steps.append(Step(f"seed {number + 1}", str(error), kept=False))
            return None
        if number:
            faults = ", ".join(faults_of(drawn, self.request)) or "none"
            steps.append(Step(f"seed {number + 1}", faults, kept=True))
        return drawn

    def _repair(self, first: Measurement, steps: list[Step]) -> Measurement:
        """The picture after all repairs that help; `first` if none does."""
        now, tried = first, set[str]()
        for _ in range(MOST_REPAIRS):
            repair = next((one for one in self._repairs(first, now) if one.what not in tried), None)
            if repair is None or self._time_is_up():
                break
            tried.add(repair.what)
            after = self._apply(repair, first, now)
            steps.append(_step(repair, now, after))
            now = after or now
        return now

    def _repairs(self, first: Measurement, now: Measurement) -> Iterator[Repair]:
        """What may be tried, the gentlest first.

        Colours and light, once at fault, are repaired until they are well within their limits; a region is redrawn
        only while still at fault.
        """
        photo = self.composition.photo
        editable = np.ones(first.picture.shape[:2], bool) if photo is None else photo.redrawn
        faults = unmended(first, now)
        yield from colour_repairs(now, faults, self.target, self.request.skin_tone_match, editable)
        for what, fault, region in regions_to_redraw(now, faults_of(now, self.request), editable):
            yield Repair(what, fault, lambda _, r=region: self._redraw(now.picture, r), redraws=True)

    def _apply(self, repair: Repair, first: Measurement, now: Measurement) -> Measurement | None:
        """The picture after a repair at the first strength that helps and does no harm; None if there is none."""
        for strength in STRENGTHS[:1] if repair.redraws else STRENGTHS:
            picture = repair.apply(strength * self.request.fusion_strength)
            if np.array_equal(picture, now.picture):
                return None
            after = self.measure(picture)
            if helps(repair.fault, now, after) and harmless(first, after):
                return after
        return None

    def _redraw(self, picture: np.ndarray, region: np.ndarray) -> np.ndarray:
        """A region drawn anew under stronger conditions, the rest of the picture kept and seen by the pass."""
        stronger_ones = [strengthened(stage) for stage in self.composition.stages]
        stages = redrawn(stronger_ones, self.pipe.photo, picture, region)
        return blend(picture, self.draw_pass(0, stages), region)


def strengthened(stage: Stage) -> Stage:
    """A stage whose conditions are as strong as a region that is drawn anew has them."""
    return replace(stage, conditions=tuple(replace(c, weight=stronger(float(c.weight))) for c in stage.conditions))


def stronger(weight: float) -> float:
    """A condition's weight for a region that is drawn anew."""
    return min(STRONGER * weight, STRONGEST)


def target_of(pipe: JointPass, composition: Composition) -> Target:
    """What the pictures of a composition should show."""
    people, selfie, layout = backend_of(pipe), composition.selfie, composition.layout
    has_identity = any(c.kind == "identity" for c in composition.conditions)
    worn = composition.flats if any(c.kind == "garment" for c in composition.conditions) else {}
    embedding, skin = None, None
    if selfie is not None and has_identity:
        embedding, skin = _embedding(people, selfie), people.skin(selfie)
    measured = composition.posed and not composition.members
    asked = (layout.keypoints, layout.labels) if measured else (None, None)
    return Target(embedding, skin, worn, *asked, composition.prompt, _drafts(pipe, composition))


def _drafts(pipe: JointPass, composition: Composition) -> dict[str, np.ndarray]:
    """Garment kind to what the parsing ControlNet is shown of it, for families whose ControlNet reads that."""
    garments = [c for c in composition.conditions if c.kind == "garment"]
    pairs = zip(composition.flats, garments, strict=False)
    return {kind: pipe.decode(garment.draft) for kind, garment in pairs if garment.draft is not None}


def _embedding(people: FamilyBackend, selfie: Selfie) -> np.ndarray | None:
    """Of one selfie or of several together; None where the family has no recogniser to compare with."""
    try:
        return people.embedding(selfie) if selfie.embedding is None else selfie.embedding
    except InputError:
        return None


def faults_of(measurement: Measurement, request: Request) -> dict[str, str]:
    """What is wrong with a picture, the request's own threshold included."""
    faults = dict(measurement.faults)
    if request.min_identity is not None and measurement.values.get("identity", -1.0) < request.min_identity:
        faults["identity"] = MEASURES["identity"].fault
    return faults


def refusal(measurement: Measurement, request: Request) -> str | None:
    """Why a picture must not be shown, if so."""
    if "blank" in measurement.faults:
        return "the picture is blank"
    identity = measurement.values.get("identity", -1.0)
    if request.min_identity is not None and identity < request.min_identity:
        return f"identity {identity:.2f} is below --min-identity {request.min_identity:g}"
    return None


def preference(measurement: Measurement, request: Request) -> tuple[bool, int, float]:
    """A key that sorts pictures, the best first: not refused, fewer faults, nearer to usual values."""
    faulty = [name for name in measurement.faults if name in measurement.values]
    limits = {name: MEASURES[name].limit(measurement.coarse_colours) or 0.0 for name in faulty}
    beyond = [MEASURES[name].gain(measurement.values[name], limit) for name, limit in limits.items()]
    return refusal(measurement, request) is not None, len(faults_of(measurement, request)), sum(beyond)


def unmended(first: Measurement, now: Measurement) -> set[str]:
    """Measures of colour and light that were at fault, and are not yet below half their limits."""
    limits = {name: MEASURES[name].limit(now.coarse_colours) for name in first.faults if name in now.values}
    return {name for name, limit in limits.items() if limit is not None and now.values[name] > limit / 2}


def helps(fault: str, before: Measurement, after: Measurement) -> bool:
    """Whether a measure got better by more than its scatter."""
    return MEASURES[fault].gain(before.values.get(fault, np.nan), after.values.get(fault, np.nan)) > 1


def harmless(first: Measurement, after: Measurement) -> bool:
    """Whether no measure is worse, by more than its scatter, than in the beginning, and none is lost."""
    all_there = first.values.keys() <= after.values.keys()
    return all_there and all(
        MEASURES[name].gain(value, after.values[name]) > -1 for name, value in first.values.items()
    )


def _step(repair: Repair, before: Measurement, after: Measurement | None) -> Step:
    value = None if after is None else round(after.values[repair.fault], 4)
    return Step(repair.what, repair.fault, after is not None, round(before.values[repair.fault], 4), value)


def framed(composition: Composition, request: Request, drawn: np.ndarray) -> np.ndarray:
    """What was drawn, in photo mode within what the frame shows of the photo."""
    photo = composition.photo
    return drawn if photo is None else blend(photo.seen, drawn, photo.redrawn, request.blend, width=FADE)


@contextmanager
def perception_not_stored(pipe: JointPass) -> Iterator[None]:
    """Perception of pictures on their way is not written to disk."""
    former, pipe.perception_cache = pipe.perception_cache, PerceptionCache()
    try:
        yield
    finally:
        pipe.perception_cache = former
