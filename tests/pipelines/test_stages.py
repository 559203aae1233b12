"""The stages of a pass: their sizes, what each sees, and that a picture drawn in them comes again byte for byte."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers.tiny import tiny_pipeline
from twinset.adapters.condition import Condition, Layout
from twinset.figure.drawn_parsing import draw_layout
from twinset.figure.keypoints import FRAME, rescaled
from twinset.figure.labels import FACE
from twinset.figure.poses import preset
from twinset.pipelines.compose import compose
from twinset.pipelines.denoising.schedule import noisy_start, set_schedule
from twinset.pipelines.generate import generate
from twinset.pipelines.record import load_record
from twinset.pipelines.replay import replay
from twinset.pipelines.request import Request
from twinset.pipelines.sizes import FORMATS, size_of
from twinset.pipelines.stages import (
    Stage,
    View,
    by_area,
    draw_stages,
    face_view,
    redrawn,
    stages_of,
    steps_of,
    within_frame,
)

DOUBLE = (2 * FRAME[0], 2 * FRAME[1])


def layout_at(size: tuple[int, int], framing: str = "full") -> Layout:
    """Somebody standing, at a size of the frame's proportions."""
    points = rescaled(preset("standing", framing), FRAME, size)
    return Layout(points, draw_layout(points, ("dress", "shoes"), "short", size))


def test_the_first_stage_holds_the_frame_and_the_last_is_near_the_size() -> None:
    assert within_frame(FRAME, FRAME) == [FRAME]
    assert within_frame(DOUBLE, FRAME) == [FRAME, DOUBLE]
    for size in [*FORMATS.values(), (512, 512), (250, 300), (600, 200)]:
        sizes = within_frame(size, FRAME)
        assert sizes[0][0] >= FRAME[0] - 4 and sizes[0][1] >= FRAME[1] - 4, size
        assert all(b == (2 * a[0], 2 * a[1]) for a, b in pairwise(sizes)), size
        assert all(wanted / made < 2.1 for wanted, made in zip(size, sizes[-1], strict=True)), size
        assert abs(sizes[-1][0] / sizes[-1][1] * size[1] / size[0] - 1) < 0.04, size


def test_full_size_families_begin_at_their_area_and_end_at_the_size() -> None:
    assert by_area((512, 768), (512, 768)) == [(512, 768)]
    assert by_area((576, 832), (512, 768)) == [(576, 832)]  # a little more needs no second stage
    first, last = by_area((1024, 1536), (512, 768))
    assert first == (512, 768) and last == (1024, 1536)
    sizes = by_area((1920, 1080), (832, 1216))
    assert sizes[-1] == (1920, 1080) and 0.8 < sizes[0][0] * sizes[0][1] / (832 * 1216) < 1.25


def test_sizes_are_said_in_pixels_or_by_name() -> None:
    said = {None: DOUBLE, "frame": FRAME, "story": (1080, 1920), "640x480": (640, 480)}
    assert {word: size_of(word, DOUBLE, FRAME) for word in said} == said
    for wrong in ("0x10", "big", "640", "-3x5", "640x480x2", "10x9999", "9999x9999", "100x900"):
        with pytest.raises(ValueError, match="size"):
            Request(prompt="beach", size=wrong)


def test_a_window_sees_its_part_where_it_lies() -> None:
    """Pixel and keypoint of one place stay together."""
    layout, view = layout_at(DOUBLE), View((96, 128), (0.25, 0.0, 0.75, 0.5))
    seen = view.layout(layout)
    assert seen.labels.shape == (128, 96)
    nose = layout.keypoints[0, :2]
    there = (nose - (0.25 * DOUBLE[0], 0)) / 2
    assert np.allclose(seen.keypoints[0, :2], there, atol=0.01)
    assert seen.labels[int(there[1]), int(there[0])] == layout.labels[int(nose[1]), int(nose[0])] == FACE
    picture = np.zeros((*layout.labels.shape, 3), np.uint8)
    picture[layout.labels == FACE] = 255
    agrees = (view.picture(picture)[..., 0] > 127) == (seen.labels == FACE)
    assert agrees.mean() > 0.99 and np.array_equal(view.mask(layout.labels == FACE), seen.labels == FACE)


def test_small_faces_are_looked_at_and_laid_back_alone() -> None:
    layout = layout_at(DOUBLE)
    view = face_view(layout, FRAME)
    assert view is not None and face_view(layout_at(DOUBLE, "portrait"), FRAME) is None
    closely = view.layout(layout)
    rows = np.flatnonzero((closely.labels == FACE).any(1))
    assert 0.35 < np.ptp(rows) / FRAME[1] < 0.7
    before, drawn = np.full((*layout.labels.shape, 3), 90, np.uint8), np.full((FRAME[1], FRAME[0], 3), 200, np.uint8)
    after = Stage(view, closely, (), 0.4).laid_back(before, drawn)
    changed = (after != before).any(-1)
    assert changed[layout.labels == FACE].mean() > 0.8 and changed[layout.labels == 0].mean() < 0.02


def test_each_stage_begins_with_the_picture_before_it() -> None:
    layout, calls = layout_at(DOUBLE), []
    stages = stages_of(layout, lambda view, there: (), [View(FRAME), View(DOUBLE)], 0.42)
    assert [stage.strength for stage in stages] == [1.0, 0.42] and steps_of(stages, 12) == 12 + 5

    def one_pass(number: int, stage: Stage, begin: np.ndarray | None) -> np.ndarray:
        calls.append((number, None if begin is None else begin.shape))
        return np.full((stage.view.size[1], stage.view.size[0], 3), 10 * (number + 1), np.uint8)

    assert (draw_stages(one_pass, stages) == 20).all()
    assert calls == [(0, None), (1, (DOUBLE[1], DOUBLE[0], 3))]
    with pytest.raises(ValueError, match="at least one"):
        draw_stages(one_pass, [])


def test_what_is_drawn_anew_keeps_the_rest_in_every_stage() -> None:
    layout, given = layout_at(DOUBLE), []

    def photo(picture: np.ndarray, region: np.ndarray) -> Any:
        given.append((picture.shape[:2], region.mean()))
        return Condition("photo", None, torch.ones(1, 1, 4, 4), None)

    stages = stages_of(layout, lambda view, there: (), [View(FRAME), View(DOUBLE)], 0.42)
    region = layout.labels == FACE
    made = redrawn(stages, photo, np.zeros((*region.shape, 3), np.uint8), region)
    assert [len(stage.conditions) for stage in made] == [1, 1]
    assert [shape for shape, _ in given] == [FRAME[::-1], DOUBLE[::-1]]
    assert np.allclose([share for _, share in given], region.mean(), rtol=0.1)


def test_a_share_of_the_schedule_is_its_end() -> None:
    scheduler = tiny_pipeline().scheduler
    whole, none = set_schedule(scheduler, 12, torch.device("cpu"))
    rest, passed = set_schedule(scheduler, 12, torch.device("cpu"), strength=0.42)
    assert (len(whole), none, len(rest), passed) == (12, 0, 5, 7) and torch.equal(rest, whole[7:])
    clean, noise = torch.randn(1, 4, 8, 6), torch.randn(1, 4, 8, 6)
    start = noisy_start(scheduler, noise, rest, clean)
    assert torch.equal(start, scheduler.add_noise(clean, noise, rest[:1]))
    assert torch.equal(noisy_start(scheduler, noise, whole), noise * scheduler.init_noise_sigma)


@pytest.mark.long
def test_a_pass_goes_on_from_a_picture() -> None:
    """It runs its share of the steps, from that picture; none at all, or without a picture, is refused."""
    pipe, layout = tiny_pipeline(), layout_at(FRAME)
    begin = np.asarray(Image.effect_noise(FRAME, 60).convert("RGB"))

    def drawn(strength: float, picture: np.ndarray) -> tuple[int, np.ndarray]:
        steps: list[int] = []

        def told(_pipe: object, step: int, _timestep: object, given: dict[str, Any]) -> dict[str, Any]:
            steps.append(step)
            return given

        noise = torch.Generator().manual_seed(1)
        how: Any = {"num_inference_steps": 10, "strength": strength, "output_type": "latent"}
        made = pipe("beach", layout=layout, generator=noise, init_image=picture, callback_on_step_end=told, **how)
        return len(steps), made.images.numpy()

    counts, latents = zip(*(drawn(strength, begin) for strength in (0.05, 0.5, 1.0)), strict=True)
    assert counts == (1, 5, 10)
    assert not np.allclose(latents[0], drawn(0.05, 255 - begin)[1], atol=1e-3)
    assert np.array_equal(latents[1], drawn(0.5, begin)[1])
    for strength, picture in ((0.0, begin), (1.5, begin), (0.5, None)):
        with pytest.raises(ValueError, match="strength"):
            pipe("beach", layout=layout, init_image=picture, strength=strength)


@pytest.mark.long
@pytest.mark.parametrize("size", ["384x512", "256x256", "300x300"])
def test_a_picture_of_two_stages_is_drawn_again_to_the_same_bytes(size: str, tmp_path: Path) -> None:
    pipe = tiny_pipeline()
    pipe.revision = "tiny"
    request = Request(
        prompt="red dress, beach", size=size, seed=3, steps=3, pose="standing", labels=False, repair=False
    )
    told: list[tuple[int, int, int]] = []
    (record,) = generate(pipe, request, tmp_path, lambda *done: told.append(done))
    width, height = (int(side) for side in size.split("x"))
    assert Image.open(tmp_path / record.picture).size == (width, height)
    assert record.request.size == size and told[-1][1] == told[-1][2] == len(told)
    _, equal = replay(pipe, load_record(tmp_path / record.picture.replace(".png", ".json")), tmp_path / "again")
    assert equal


def test_conditions_are_laid_anew_at_each_size() -> None:
    pipe = tiny_pipeline()
    made = compose(pipe, Request(prompt="red dress, beach", size="384x512", seed=3, pose="standing"))
    sizes = [(stage.layout.labels.shape[1], stage.layout.labels.shape[0]) for stage in made.stages]
    assert sizes == [FRAME, DOUBLE] and made.layout is made.stages[-1].layout
    for stage in made.stages:
        for condition in stage.conditions:
            assert condition.region.shape[2:] == stage.layout.labels.shape
            assert condition.draft is None or condition.draft.shape[3] * pipe.vae_scale_factor == stage.view.size[0]
