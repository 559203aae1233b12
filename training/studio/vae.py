"""Train the bundled model's autoencoder on drawn people.

    python -m twinset.training.studio.vae --data data/train --faces runs/face_encoder --out runs/vae --minutes 10

Losses: L1 and MSE in pixels (faces weigh more), 1 − cosine of face embeddings before and after (aligned crops, as
small as they are in pictures), and a small KL. It starts from the principal components of picture cells, at 24 dB.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from twinset.models.face_encoder import FaceEncoder
from twinset.models.vae import PatchAutoencoderKL
from twinset.training.core.command_line import options_from_command_line
from twinset.training.core.loop import fit
from twinset.training.mannequin.store import load_store
from twinset.training.studio.options import StudioOptions


class VaeOptions(StudioOptions):
    """Options of the autoencoder's training; the result is in `out`/model.

    Attributes:
        data: picture store (`twinset.training.mannequin.store`).
        faces: trained face encoder, for the identity loss.
        crops: crops per step.
        size: their side in pixels, divisible by 8.
        aligned: aligned face crops per step.
    """

    data: Path
    faces: Path
    crops: int = Field(default=12, ge=1)
    size: int = Field(default=96, ge=8, multiple_of=8)
    aligned: int = Field(default=8, ge=1)


def to_pixels(pictures: np.ndarray) -> Tensor:
    """uint8 (B, H, W, 3) to float (B, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def draw_windows(store: dict[str, np.ndarray], options: VaeOptions, step: int) -> dict[str, Tensor]:
    """Random crops (half of them at a face, a few of flat garments) and aligned faces at random picture size."""
    rng = np.random.default_rng([options.seed, step])
    rows = rng.integers(len(store["picture"]), size=options.crops)
    crops = [_crop(store, row, options.size, rng, at_face=i % 2 == 0) for i, row in enumerate(rows)]
    faces = to_pixels(store["crops"][rng.integers(len(store["crops"]), size=options.aligned), rng.integers(2)])
    side = int(rng.choice([48, 56, 64, 80]))
    return {
        "picture": to_pixels(np.stack([c for c, _ in crops])),
        "weight": torch.from_numpy(np.stack([w for _, w in crops]))[:, None],
        "faces": F.interpolate(faces, size=(side, side), mode="area"),
    }


def _crop(
    store: dict[str, np.ndarray], row: int, size: int, rng: np.random.Generator, at_face: bool
) -> tuple[np.ndarray, np.ndarray]:
    picture, labels = store["picture"][row], store["parsing"][row]
    if rng.random() < 0.1:
        picture = store["flats"][row][0]
        labels = np.zeros_like(picture[..., 0])
    height, width = labels.shape
    y, x = rng.integers(height - size + 1), rng.integers(width - size + 1)
    if at_face and (labels == 11).any():
        nose = store["keypoints"][row][0]
        y = int(np.clip(nose[1] - size / 2 + rng.integers(-16, 17), 0, height - size))
        x = int(np.clip(nose[0] - size / 2 + rng.integers(-16, 17), 0, width - size))
    weight = 1.0 + 2.0 * (labels[y : y + size, x : x + size] == 11).astype(np.float32)
    return picture[y : y + size, x : x + size], weight


def make_loss(faces: FaceEncoder):
    """The loss function for `fit`."""

    def loss_fn(model: PatchAutoencoderKL, batch: dict[str, Tensor]):
        rebuilt, kl = _rebuild(model, batch["picture"])
        error = rebuilt - batch["picture"]
        pixel = (batch["weight"] * (error.abs() + 2 * error.square())).mean()
        small, _ = _rebuild(model, batch["faces"])
        face_error = small - batch["faces"]
        cosine = _cosine(faces, small, batch["faces"])
        loss = pixel + (face_error.abs() + 2 * face_error.square()).mean() + 0.1 * (1 - cosine) + 1e-5 * kl
        psnr = -10 * torch.log10(error.square().mean() / 4)
        return loss, {"psnr": psnr.detach(), "identity": cosine.detach(), "kl": kl.detach()}

    return loss_fn


def _rebuild(model: PatchAutoencoderKL, pictures: Tensor) -> tuple[Tensor, Tensor]:
    posterior = model.encode(pictures, return_dict=False)[0]
    rebuilt = model.decode(posterior.sample(), return_dict=False)[0]  # type: ignore[arg-type]
    return rebuilt, posterior.kl().mean() / posterior.mean[0].numel()


def _cosine(faces: FaceEncoder, rebuilt: Tensor, truth: Tensor) -> Tensor:
    def embed(x: Tensor) -> Tensor:
        return faces.embed(F.interpolate(x, size=(112, 112), mode="bilinear"))

    with torch.no_grad():
        target = embed(truth)
    return (embed(rebuilt) * target).sum(-1).mean()


def train_vae(options: VaeOptions) -> Path:
    """Train, then write the model with its latents scaled to unit variance; returns the model's folder."""
    result = options.out / "model"
    store = load_store(options.data, ("picture", "parsing", "keypoints", "flats", "crops"))
    torch.manual_seed(options.seed)
    model = PatchAutoencoderKL()
    model.start_linear(to_pixels(store["picture"][:256]))
    faces = FaceEncoder.from_pretrained(options.faces).eval().requires_grad_(False)
    fit(
        model,
        lambda step: draw_windows(store, options, step),
        make_loss(faces),
        options.loop(ema=0.998),
    )
    with torch.no_grad():
        latents = model.encode(to_pixels(store["picture"][-256:]), return_dict=False)[0].mean
    model.register_to_config(scaling_factor=1 / float(latents.std()))
    model.save_pretrained(result)
    return result


if __name__ == "__main__":
    print(train_vae(options_from_command_line(VaeOptions, __doc__)))
