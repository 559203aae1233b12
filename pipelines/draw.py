"""One picture of a request, drawn in the stages of a single pass: what the family's pipeline is called with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from diffusers import ControlNetModel

from twinset.models.region_controlnet import RegionControlNetModel
from twinset.pipelines.baseline.serial import serially
from twinset.pipelines.compose import Composition, backend_of
from twinset.pipelines.denoising.economy import EXACT, LEAN
from twinset.pipelines.denoising.guidance import CHAIN, Guidance
from twinset.pipelines.denoising.net_pictures import NetRole
from twinset.pipelines.families.photo_adapters import IDENTITYNET_SCALE
from twinset.pipelines.joint_pass import JointPass
from twinset.pipelines.loading.pasted_settings import LARGEST_SEED
from twinset.pipelines.request import Request
from twinset.pipelines.stages import OnePass, Stage, draw_stages, steps_of
from twinset.prompts.sentence import Sentence
from twinset.prompts.weighting import is_long, is_weighted, weighted_embeddings

Progress = Callable[[int, int, int], None]
"""Called with the picture's index, the number of steps done, and how many it takes in all stages."""
STAGE_SEEDS, ATTEMPT_SEEDS = 2**40, 2**32
"""Between the seeds of two stages of one picture, and of two tries at it."""


def draw(
    pipe: JointPass,
    request: Request,
    composition: Composition,
    index: int,
    progress: Progress | None = None,
    attempt: int = 0,
    stages: Sequence[Stage] | None = None,
) -> np.ndarray:
    """Draw one picture of a request once, uint8 (H, W, 3) of its last stage's size.

    It is the same picture whether it is drawn alone or among others, which is what lets a record give it again
    byte for byte.

    Args:
        pipe: The model.
        request: What to draw.
        composition: Of the request.
        index: Which of its pictures.
        progress: Called after each step of the first try.
        attempt: Each try has its own noise.
        stages: In place of the composition's.
    """
    arguments = {
        **prompt_arguments(pipe, composition.sentence),
        "num_inference_steps": request.steps,
        "guidance_scale": guidance_of(pipe, request),
        "economy": LEAN if request.economical else EXACT,
        "controlnet_conditioning_scale": net_scales(pipe, request),
    }
    chosen = composition.stages if stages is None else stages
    first_try = progress is not None and stages is None and not attempt
    count = _StepCount(index, progress, steps_of(chosen, request.steps or 0)) if first_try else None
    one_pass = passes(pipe, arguments, seed_of(request, index) + attempt * ATTEMPT_SEEDS, count)
    if request.way == "serial" and stages is None:
        return serially(pipe, backend_of(pipe), one_pass, composition)
    return draw_stages(one_pass, chosen, composition.held)


def guidance_of(pipe: JointPass, request: Request) -> float | Guidance | None:
    """The request's guidance; where the garment's adapter has a weight of its own, in its authors' order."""
    own = backend_of(pipe).settings(request)
    worn = any(one.garments for one in request.each_person)
    if own.garment_guidance is None or not worn or request.guidance is None:
        return request.guidance
    return Guidance(request.guidance, garment=own.garment_guidance, order=own.order or CHAIN)


def net_scales(pipe: JointPass, request: Request) -> list[float | list[float]]:
    """Conditioning scale of each ControlNet; of one with several roles a list."""
    weights = {
        "pose": request.pose_strength,
        "parsing": request.parsing_strength,
        "face": request.identity_strength * IDENTITYNET_SCALE,
    }

    def scale(net: ControlNetModel, roles: Sequence[NetRole]) -> float | list[float]:
        if isinstance(net, RegionControlNetModel):  # which the bundled model was trained with, at full weight
            return 1.0
        own = [weights[role] for role in roles]
        return own[0] if len(own) == 1 else own

    return [scale(net, roles) for net, roles in zip(pipe.nets, pipe.roles, strict=True)]


def passes(
    pipe: JointPass, arguments: dict[str, Any], seed: int, callback: Callable[..., Any] | None = None
) -> OnePass:
    """`pipe` as a function of a stage; the noise of each of a picture's stages has a seed of its own.

    Args:
        pipe: The model.
        arguments: Of all stages.
        seed: Of the first stage's noise.
        callback: Of diffusers' kind, called after each step.
    """

    def draw_stage(number: int, stage: Stage, begin: np.ndarray | None) -> np.ndarray:
        output: Any = pipe(
            **arguments,
            layout=stage.layout,
            conditions=list(stage.conditions),
            init_image=begin,
            strength=stage.strength,
            generator=torch.Generator().manual_seed((seed + number * STAGE_SEEDS) % (LARGEST_SEED + 1)),
            callback_on_step_end=callback,
        )
        return np.array(output.images[0])

    return draw_stage


class _StepCount:
    """Counts the steps of all stages of a picture, as a callback of its passes."""

    def __init__(self, index: int, progress: Progress | None, steps: int):
        self.index, self.progress, self.steps, self.done = index, progress, steps, 0

    def __call__(self, _pipe: object, _step: int, _timestep: object, given: dict[str, Any]) -> dict[str, Any]:
        self.done += 1
        if self.progress is not None:
            self.progress(self.index, self.done, max(self.steps, self.done))
        return given


def prompt_arguments(pipe: JointPass, sentence: Sentence) -> dict[str, Any]:
    """The pipeline's prompt arguments: plain texts, or embeddings where words carry weights or a text is long.

    What a text encoder does not take in one piece is read in windows of its length.
    """
    texts = sentence.prompt, sentence.negative or ""
    if any(is_weighted(text) or is_long(pipe, text) for text in texts):
        return weighted_embeddings(pipe, *texts)
    return {"prompt": sentence.prompt, "negative_prompt": sentence.negative}


def seed_of(request: Request, index: int) -> int:
    """Seed of picture `index` of a request; after the largest one comes 0."""
    return request.of_picture(index).seed or 0
