"""One denoising pass of one picture of a request: what the family's pipeline is called with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from twinset.adapters.condition import Condition
from twinset.models.region_controlnet import RegionControlNetModel
from twinset.pipelines.baseline.serial import passes, serially
from twinset.pipelines.compose import Composition, backend_of
from twinset.pipelines.denoising.economy import EXACT, LEAN
from twinset.pipelines.joint_pass import JointPass
from twinset.pipelines.request import LARGEST_SEED, Request
from twinset.prompts.sentence import Sentence
from twinset.prompts.weighting import is_weighted, weighted_embeddings

Progress = Callable[[int, int], None]
"""Called with the picture's index and the number of steps done."""


def draw(
    pipe: JointPass,
    request: Request,
    composition: Composition,
    index: int,
    progress: Progress | None = None,
    attempt: int = 0,
    conditions: Sequence[Condition] | None = None,
) -> np.ndarray:
    """Draw one picture of a request once, uint8 (H, W, 3) of the family's size.

    It is the same picture whether it is drawn alone or among others, which is what lets a record give it again
    byte for byte.

    Args:
        pipe: The model.
        request: What to draw.
        composition: Of the request.
        index: Which of its pictures.
        progress: Told after each step of the first try.
        attempt: Each try has its own noise.
        conditions: In place of the composition's.
    """

    def told(_pipe: object, step: int, _timestep: object, given: dict[str, Any]) -> dict[str, Any]:
        if progress is not None:
            progress(index, step + 1)
        return given

    arguments = {
        **prompt_arguments(pipe, composition.sentence),
        "num_inference_steps": request.steps,
        "guidance_scale": request.guidance,
        "economy": LEAN if request.economical else EXACT,
        "controlnet_conditioning_scale": [
            1.0 if isinstance(net, RegionControlNetModel) else request.pose_strength for net in pipe.nets
        ],
        "callback_on_step_end": None if attempt or progress is None or conditions is not None else told,
    }
    noise = seed_of(request, index) + attempt * (LARGEST_SEED + 1)
    one_pass = passes(pipe, arguments, lambda: torch.Generator().manual_seed(noise))
    if request.way == "serial" and conditions is None:
        return serially(pipe, backend_of(pipe), one_pass, composition)
    return one_pass(composition.layout, composition.conditions if conditions is None else conditions)


def prompt_arguments(pipe: JointPass, sentence: Sentence) -> dict[str, Any]:
    """The arguments that tell a pipeline the words: as they are, or as embeddings where some have weights."""
    if is_weighted(sentence.prompt):
        return weighted_embeddings(pipe, sentence.prompt, sentence.negative or "")
    return {"prompt": sentence.prompt, "negative_prompt": sentence.negative}


def seed_of(request: Request, index: int) -> int:
    """Seed of picture `index` of a request."""
    if request.seed is None:
        raise ValueError("request.seed is None; call request.seeded() first")
    return request.seed + index
