"""Train the joint model: UNet, ControlNets, identity and garment adapters, from nothing, together.

    python -m twinset.training.studio.joint --data data/train --parts models/studio --out runs/joint --minutes 60

Needs the autoencoder, face encoder and CLIP trained before (`--parts` holds their folders).
"""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from safetensors.torch import load_file
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from torch.nn.attention import SDPBackend, sdpa_kernel

from twinset.adapters.identity import IdentityAdapter
from twinset.errors import InputError
from twinset.models.clip import StudioCLIP
from twinset.models.face_encoder import FaceEncoder
from twinset.models.vae import PatchAutoencoderKL, decode_latents
from twinset.training.core.checkpoints import Checkpoints
from twinset.training.core.command_line import options_from_command_line
from twinset.training.core.loop import fit
from twinset.training.studio.joint_data import Dropout, Encoders, JointData, encode_store
from twinset.training.studio.joint_model import JointModel, JointShape, joint_loss, studio_scheduler
from twinset.training.studio.options import StudioOptions

WEIGHTS = "diffusion_pytorch_model.safetensors"
IDENTITY_WIDTH = 512
"""Numbers of a face's embedding."""


class JointOptions(StudioOptions):
    """Options of the joint model's training; the encoded store goes to `out`/cache, samples to `out`/samples.

    Attributes:
        data: picture store.
        parts: folder with the trained `vae`, `face_encoder`, `canvas` and CLIP.
        batch: samples per step and process.
        processes: on a CPU, one per core trains nearly twice as fast as one process of many threads.
        wide: 1 for the size that two CPU cores can train, 2 for twice the channels on a large GPU.
        preview_every: steps between sample pictures.
        start: folder of a bundled model whose denoiser and adapters are trained on; from nothing without.
    """

    data: Path
    parts: Path
    minutes: float = Field(default=60.0, gt=0)
    batch: int = Field(default=16, ge=1)
    processes: int = Field(default=1, ge=1)
    wide: int = Field(default=1, ge=1, le=8)
    preview_every: int = Field(default=250, ge=0)
    start: Path | None = None


def load_encoders(parts: Path) -> Encoders:
    """The frozen networks from their folders below `parts`."""
    return Encoders(
        PatchAutoencoderKL.from_pretrained(parts / "vae").eval(),
        FaceEncoder.from_pretrained(parts / "face_encoder").eval(),
        StudioCLIP.from_pretrained(parts),
        IdentityAdapter.from_pretrained(parts / "canvas").eval(),
    )


def new_model(wide: int, canvas: torch.Size) -> JointModel:
    """An untrained joint model.

    Args:
        wide: times as many channels as the CPU size.
        canvas: shape (hidden, embedding and looks) of its canvas's first layer.
    """
    widths, (hidden, given) = tuple(wide * c for c in JointShape().widths), canvas
    return JointModel(JointShape(widths=widths, looks=given - IDENTITY_WIDTH, canvas_hidden=hidden))


def continued(model: JointModel, folder: Path) -> None:
    """Give a model the weights of a bundled model's folder, its canvas aside."""
    nets = {
        "unet": (model.unet, "unet"), "pose_net": (model.pose_net, "controlnet"),
        "parsing_net": (model.parsing_net, "controlnet_1"), "identity": (model.identity, "identity_adapter"),
        "garment": (model.garment, "garment_adapter"),
    }  # fmt: skip
    for name, (network, place) in nets.items():
        weights = {key: tensor.float() for key, tensor in load_file(folder / place / WEIGHTS).items()}
        own = {key: tensor for key, tensor in weights.items() if not key.startswith("face_decoder.")}
        missing, unexpected = network.load_state_dict(own, strict=False)
        if unexpected or any(not key.startswith("face_decoder.") for key in missing):
            raise InputError(f"{folder / place} is no {name} of this shape: {[*unexpected, *missing][:3]}")


def train_joint(options: JointOptions) -> JointModel:
    """Encode the store, train, return the model with its averaged weights (also in the run's checkpoints)."""
    encoders = load_encoders(options.parts)
    encode_store(options.data, options.out / "cache", encoders)
    if options.processes == 1:
        return _train_here(options)
    launch = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=options.processes,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        run_id=options.out.name,
    )
    elastic_launch(launch, _train_one_of_several)(options)
    return trained(options.out, options.wide)


def _train_one_of_several(options: JointOptions) -> None:
    """What each process of a launch runs; the model is in the run's checkpoints."""
    if not torch.cuda.is_available():
        os.environ["ACCELERATE_USE_CPU"] = "true"
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // options.processes))
    _train_here(options)


def _train_here(options: JointOptions) -> JointModel:
    torch.manual_seed(options.seed)
    encoders = load_encoders(options.parts)
    data = JointData(options.out / "cache", encoders.clip, options.batch, Dropout(), options.seed)
    decoder: Any = encoders.canvas.face_decoder
    model = new_model(options.wide, decoder[0].weight.shape)
    model.identity.face_decoder.load_state_dict(encoders.canvas.face_decoder.float().state_dict())
    if options.start is not None:
        continued(model, options.start)
    # fused attention is slow backwards in bfloat16 on a CPU; the plain kernel trains about 20 % faster
    kernel = nullcontext() if torch.cuda.is_available() else sdpa_kernel(SDPBackend.MATH)
    with kernel:
        _fit(model, data, encoders, options)
    return model


def trained(run: Path, wide: int = 1) -> JointModel:
    """The model of a run's newest good checkpoint, with its averaged weights.

    Raises:
        ValueError: the run has no checkpoint.
    """
    state = Checkpoints(run / "checkpoints").newest()
    if state is None:
        raise ValueError(f"{run} holds no checkpoint: train with python -m twinset.training.studio.joint")
    weights = {**state["model"], **state["average"]}
    model = new_model(wide, weights["identity.face_decoder.0.weight"].shape)
    model.load_state_dict(weights)
    return model.eval()


def _fit(model: JointModel, data: JointData, encoders: Encoders, options: JointOptions) -> None:
    fit(
        model,
        data.batch,
        joint_loss(studio_scheduler()),
        options.loop(ema=0.998, preview_every=options.preview_every),
        preview=lambda step: preview(model, data, encoders, options.out / "samples" / f"{step:07d}.png"),
    )


@torch.no_grad()
def preview(
    model: JointModel, data: JointData, encoders: Encoders, path: Path, steps: int = 8, shown: int = 10
) -> dict[str, np.ndarray]:
    """Sample pictures of fixed training rows, truth above result; written to `path` and logged."""
    device = next(model.parameters()).device
    batch = {k: v[:shown] if len(v.shape) and len(v) == data.size else v for k, v in data.batch(2**40).items()}
    batch = {k: v.to(device) for k, v in batch.items()}
    batch["with_reference"] = torch.tensor(True)
    for switch in ("identity_on", "garment_on", "pose_on", "parsing_on"):
        batch[switch] = torch.ones_like(batch[switch])
    latents = model.sample(batch, studio_scheduler(), steps)
    rows = [_pictures(encoders, x.cpu()) for x in (batch["latents"], latents)]
    sheet = np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet).save(path)
    return {"samples": sheet}


def _pictures(encoders: Encoders, latents: torch.Tensor) -> np.ndarray:
    pixels = decode_latents(encoders.vae, latents)
    return ((pixels.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()


if __name__ == "__main__":
    train_joint(options_from_command_line(JointOptions, __doc__))
