"""The stages of a pass: the picture so far enlarged, noised to a share of the schedule and denoised on.

Every stage obeys the same conditions, laid anew at its size. Stable Diffusion's users know this as hires fix; a stage
may also look at one region closely, and is then laid back into the picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from twinset.adapters.condition import Condition, Layout
from twinset.figure.keypoints import with_visibility
from twinset.figure.labels import FACE, HAIR, HAT, SUNGLASSES
from twinset.pipelines.denoising.blending import blend
from twinset.pipelines.denoising.colour_hold import HeldColour, hold_colours

Size = tuple[int, int]
"""(width, height) in pixels."""
MOST_STAGES = 3
"""Sizes that a picture goes through at most."""
GRID = 8
"""Pixels to which the sides of a stage are rounded: a latent's."""
HEAD = (FACE, HAIR, SUNGLASSES, HAT)
"""Labels of what a close look at the face draws anew."""
HEAD_RIM = 0.02
"""Width over which it fades, as a share of the window's height."""
FACE_ROOM = 2.0
"""Height of the window around a face by the face's own."""
SMALL_FACE = 0.3
"""Share of the picture's height below which a face is looked at closely."""


@dataclass(frozen=True)
class View:
    """What a stage sees of the picture.

    Attributes:
        size: of the stage.
        window: left, top, right and bottom of what it sees, as shares of the picture; None for all of it.
    """

    size: Size
    window: tuple[float, float, float, float] | None = None

    def box(self, shape: tuple[int, ...]) -> tuple[float, float, float, float]:
        """The window in pixels of a picture (H, W, …)."""
        left, top, right, bottom = self.window or (0.0, 0.0, 1.0, 1.0)
        return left * shape[1], top * shape[0], right * shape[1], bottom * shape[0]

    def picture(self, picture: np.ndarray) -> np.ndarray:
        """uint8 (H, W, 3) as the stage sees it, (h, w, 3)."""
        return self._seen(picture, Image.Resampling.LANCZOS)

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """bool (H, W) as the stage sees it, (h, w)."""
        return self._seen(mask, Image.Resampling.NEAREST)

    def layout(self, layout: Layout) -> Layout:
        """Keypoints and parsing map as the stage sees them."""
        left, top, right, bottom = self.box(layout.labels.shape)
        scale = np.array([self.size[0] / (right - left), self.size[1] / (bottom - top)])

        def seen(keypoints: np.ndarray) -> np.ndarray:
            points, known = (keypoints[:, :2] - (left, top)) * scale, (keypoints != 0).any(1)
            return np.where(known[:, None], with_visibility(points, self.size), 0).astype(np.float32)

        labels = self._seen(layout.labels, Image.Resampling.NEAREST)
        return Layout(seen(layout.keypoints), labels, tuple(map(seen, layout.others)))

    def _seen(self, array: np.ndarray, how: Image.Resampling) -> np.ndarray:
        if self.window is None and array.shape[1::-1] == self.size:
            return array
        return np.array(Image.fromarray(array).resize(self.size, how, box=self.box(array.shape)))


@dataclass(frozen=True)
class Stage:
    """One stage of a pass.

    Attributes:
        view: what it sees, and how large.
        layout: keypoints and parsing map there.
        conditions: identity, garments and photo laid there.
        strength: share of the schedule that it runs; 1 begins with noise.
    """

    view: View
    layout: Layout
    conditions: tuple[Condition, ...]
    strength: float = 1.0

    def laid_back(self, picture: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        """The picture with what the stage drew; of a window the head alone, whose rim fades into the rest."""
        if self.view.window is None:
            return drawn
        left, top, right, bottom = (round(side) for side in self.view.box(picture.shape))
        size = right - left, bottom - top
        part = np.asarray(Image.fromarray(drawn).resize(size, Image.Resampling.LANCZOS))
        head = np.asarray(Image.fromarray(np.isin(self.layout.labels, HEAD)).resize(size, Image.Resampling.NEAREST))
        done, inside = picture.copy(), (slice(top, bottom), slice(left, right))
        done[inside] = blend(picture[inside], part, head, width=HEAD_RIM * size[1])
        return done


Lay = Callable[[View, Layout], Sequence[Condition]]
"""Conditions for what a stage sees, laid at its layout."""
OnePass = Callable[[int, Stage, np.ndarray | None], np.ndarray]
"""One denoising pass: the stage's number, the stage, and the picture uint8 (h, w, 3) that it goes on from, if any."""


def stages_of(layout: Layout, lay: Lay, views: Sequence[View], strength: float) -> tuple[Stage, ...]:
    """The stages through some views, the first from noise.

    Args:
        layout: of the picture, at its full size.
        lay: makes the conditions.
        views: what the stages see, in order.
        strength: share of the schedule that the second runs, and a close look; a third runs its square, since less is
            left to decide.
    """
    stages: list[Stage] = []
    for number, view in enumerate(views):
        seen = view.layout(layout)
        share = strength if view.window else strength**number
        stages.append(Stage(view, seen, tuple(lay(view, seen)), share))
    return tuple(stages)


def draw_stages(one_pass: OnePass, stages: Sequence[Stage], held: Sequence[HeldColour] = ()) -> np.ndarray:
    """Run a pass through its stages, uint8 (H, W, 3) of the last whole view's size.

    Args:
        one_pass: draws a stage.
        stages: in order.
        held: plain pieces that keep their colours from stage to stage.
    """
    picture: np.ndarray | None = None
    for number, stage in enumerate(stages):
        begin = None if picture is None else stage.view.picture(picture)
        drawn = one_pass(number, stage, begin)
        if stage.view.window is None:
            drawn = hold_colours(drawn, stage.layout.labels, held)
        picture = drawn if picture is None else stage.laid_back(picture, drawn)
    if picture is None:
        raise ValueError("stages = (): a pass has at least one")
    return picture


def steps_of(stages: Sequence[Stage], steps: int) -> int:
    """Denoising steps of all stages of a pass that has `steps` in full."""
    return sum(max(1, int(steps * stage.strength)) for stage in stages)


def redrawn(
    stages: Sequence[Stage],
    photo: Callable[[np.ndarray, np.ndarray], Condition],
    picture: np.ndarray,
    region: np.ndarray,
) -> tuple[Stage, ...]:
    """Stages in which only a region of a picture is drawn anew, the rest kept and seen by the pass.

    Args:
        stages: of the picture.
        photo: the pipeline's `photo`.
        picture: uint8 (H, W, 3), as it is.
        region: bool (H, W), what is drawn anew.
    """

    def kept(stage: Stage) -> Stage:
        there = photo(stage.view.picture(picture), stage.view.mask(region))
        return replace(stage, conditions=(*(c for c in stage.conditions if c.kind != "photo"), there))

    return tuple(kept(s) for s in stages if s.view.window is None or s.view.mask(region).any())


# Which stages there are


def within_frame(size: Size, frame: Size) -> list[Size]:
    """Sizes of a pass whose model knows one frame: the first holds that frame, each further one doubles it.

    Args:
        size: of the picture that is wanted.
        frame: that the model was trained on.

    Returns:
        Sizes of the stages; the last is at most 1.42 times smaller than `size`, or as large as stages allow.
    """
    scale = min(size[0] / frame[0], size[1] / frame[1])
    first = _on_grid((size[0] / scale, size[1] / scale))
    count = min(MOST_STAGES, 1 + max(0, math.ceil(math.log2(scale / math.sqrt(2)))))
    return [(first[0] << doubling, first[1] << doubling) for doubling in range(count)]


def by_area(size: Size, frame: Size) -> list[Size]:
    """Sizes of a pass whose model knows an area: the first has about it, the last is `size` to 8 pixels.

    Args:
        size: of the picture that is wanted.
        frame: (width, height) of the model's own size.
    """
    scale = math.sqrt(size[0] * size[1] / (frame[0] * frame[1]))
    count = min(MOST_STAGES, 1 + max(0, math.ceil(math.log2(scale / math.sqrt(1.5)))))
    steps = [scale ** (1 - number / max(count - 1, 1)) for number in range(count)] if count > 1 else [1.0]
    return [_on_grid((size[0] / step, size[1] / step)) for step in steps]


def face_view(layout: Layout, frame: Size) -> View | None:
    """A close look at the face, as large as a portrait's in the model's frame; None where it is large already."""
    rows, columns = np.nonzero(layout.labels == FACE)
    height, width = layout.labels.shape
    if not len(rows) or np.ptp(rows) + 1 > SMALL_FACE * height:
        return None
    high = FACE_ROOM * max(np.ptp(rows) + 1, (np.ptp(columns) + 1) * frame[1] / frame[0])
    wide = high * frame[0] / frame[1]
    if wide > width or high > height:
        return None
    left = float(np.clip((columns.min() + columns.max() + 1 - wide) / 2, 0, width - wide))
    top = float(np.clip((rows.min() + rows.max() + 1 - high) / 2, 0, height - high))
    sides = (left / width, top / height, (left + wide) / width, (top + high) / height)
    return View(frame, (float(sides[0]), float(sides[1]), float(sides[2]), float(sides[3])))


def _on_grid(size: tuple[float, float]) -> Size:
    width, height = (max(GRID, round(side / GRID) * GRID) for side in size)
    return width, height
