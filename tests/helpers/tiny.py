"""A whole joint pipeline of the real classes at a size that tests can run, with random weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tests.helpers.small_tokenizer import small_tokenizer
from twinset.figure.drawn_parsing import draw_layout
from twinset.figure.poses import preset
from twinset.models.clip import StudioCLIP
from twinset.models.face_encoder import FaceEncoder
from twinset.models.face_finder import FaceFinder
from twinset.models.figure_reader import FigureReader
from twinset.models.region_controlnet import JointControlNets
from twinset.models.vae import PatchAutoencoderKL
from twinset.pipelines.joint import Layout
from twinset.pipelines.studio import StudioPipeline
from twinset.training.studio.joint_model import JointModel, JointShape, studio_scheduler

SHAPE = JointShape(widths=(16, 32), heads=(2, 2), text_width=32, clip_width=32)


def tiny_model() -> JointModel:
    """A joint model of few channels; zero-initialised layers are made random so that every path speaks."""
    torch.manual_seed(0)
    model = JointModel(SHAPE)
    for parameter in model.parameters():
        if parameter.ndim > 1 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return model.eval().requires_grad_(False)


def tiny_pipeline() -> StudioPipeline:
    """The pipeline around `tiny_model`."""
    model = tiny_model()
    model.attention.eject()
    clip = StudioCLIP.new(text_width=32, image_width=32, layers=2).eval()
    clip.tokenizer = small_tokenizer()
    pipe = StudioPipeline(
        vae=PatchAutoencoderKL(block_out_channels=(16, 16, 16, 16)).eval(), text_encoder=clip.text_encoder,
        tokenizer=clip.tokenizer,
        unet=model.unet, controlnet=JointControlNets([model.pose_net, model.parsing_net]),
        scheduler=studio_scheduler(), image_encoder=clip.image_encoder, identity_adapter=model.identity,
        garment_adapter=model.garment, face_encoder=FaceEncoder().eval(), face_finder=FaceFinder().eval(),
        figure_reader=FigureReader().eval(),
        default_steps=12, default_guidance=1.5,
    )  # fmt: skip
    pipe.__dict__["clip"] = clip
    pipe.set_progress_bar_config(disable=True)
    return pipe


def seeded(*seeds: int) -> list[torch.Generator]:
    """A generator for each picture."""
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def dressed(kinds: tuple[str, ...] = ("t_shirt", "trousers", "shoes")) -> Layout:
    """A layout of a standing person."""
    keypoints = preset("standing")
    return Layout(keypoints, draw_layout(keypoints, kinds, "short"))


def noise_picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """uint8 (height, width, 3) noise."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save_tiny(folder: Path) -> Path:
    """Write the tiny pipeline and its CLIP head to a folder that `from_pretrained` reads."""
    pipe = tiny_pipeline()
    pipe.save_pretrained(folder)
    pipe.clip.save_pretrained(folder)
    return folder


@contextmanager
def batches(network: nn.Module) -> Iterator[list[int]]:
    """Sizes of the batches that a network sees meanwhile."""
    seen: list[int] = []
    hook = network.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    try:
        yield seen
    finally:
        hook.remove()
