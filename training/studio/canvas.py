"""Train the identity adapter's canvas: from a face's embedding and a look to the face, bald and evenly lit.

    python -m twinset.training.mannequin.store --out data/faces --count 10240 --split train --faces
    python -m twinset.training.studio.canvas --data data/faces --parts runs/parts --out runs/canvas --minutes 5

It is a regression alone; the joint training finds it ready, and lays its faces where they belong. With `--start` it
goes on from another adapter's canvas, and learns what that one does not know: looks above all.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from twinset.adapters.identity import IdentityAdapter
from twinset.errors import InputError
from twinset.figure.face_look import LOOKS
from twinset.models.face_encoder import FaceEncoder
from twinset.models.vae import PatchAutoencoderKL, encode_picture
from twinset.training.core.command_line import options_from_command_line
from twinset.training.mannequin.store import load_store
from twinset.training.studio.options import NetworkTask, StudioOptions
from twinset.training.studio.vae import to_pixels

ENCODED_AT_ONCE = 128


class CanvasOptions(StudioOptions):
    """Options of the canvas's training; the adapter is written to `out`/canvas, its tokens untrained.

    Attributes:
        data: store of faces, or of whole samples.
        start: identity adapter whose canvas it goes on from; from nothing without.
        hidden: width of the canvas's hidden layer, at least that of `start`.
        parts: folder with the trained `vae` and `face_encoder`.
        batch: faces per step.
        held_out: people at the end of the store that are only measured.
        scatter: standard deviation of the noise on an embedding's numbers, by which others' faces are met too.
    """

    data: Path
    parts: Path
    start: Path | None = None
    hidden: int = Field(default=768, ge=1)
    minutes: float = Field(default=5.0, gt=0)
    batch: int = Field(default=128, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0, le=10)
    held_out: int = Field(default=256, ge=0)
    scatter: float = Field(default=0.004, ge=0)


def canvas_adapter(hidden: int = 768) -> IdentityAdapter:
    """An identity adapter with nothing but a canvas."""
    return IdentityAdapter({}, looks=LOOKS, canvas_hidden=hidden)


@torch.no_grad()
def go_on(adapter: IdentityAdapter, earlier: IdentityAdapter) -> None:
    """Give a wider canvas what an earlier one knows: at first both give the same face, whatever the look.

    Raises:
        InputError: the earlier one is wider, or of other sizes.
    """
    layers: list[Any] = [adapter.face_decoder, earlier.face_decoder]
    (inner, _, outer), (old_inner, _, old_outer) = layers
    width, given = old_inner.weight.shape
    if width > inner.out_features or given > inner.in_features or old_outer.bias.shape != outer.bias.shape:
        raise InputError(f"start: a canvas of width {width} does not go into one of {inner.out_features}")
    inner.weight[:width] = 0
    inner.weight[:width, :given], inner.bias[:width] = old_inner.weight.float(), old_inner.bias.float()
    outer.weight[:, width:] = 0
    outer.weight[:, :width], outer.bias[:] = old_outer.weight.float(), old_outer.bias.float()


def train_canvas(options: CanvasOptions) -> Path:
    """Trains and measures a canvas; returns the folder of its adapter, in half precision."""
    store = load_store(options.data, ("crops", "canvas", "look"))
    faces = FaceEncoder.from_pretrained(options.parts / "face_encoder").eval()
    vae = PatchAutoencoderKL.from_pretrained(options.parts / "vae").eval()
    embeddings = torch.stack([_over(faces.embed, store["crops"][:, view]) for view in range(2)], 1)
    targets = _over(lambda pixels: encode_picture(vae, pixels), store["canvas"])
    looks = torch.from_numpy(store["look"])
    count = max(1, len(targets) - options.held_out)
    torch.manual_seed(options.seed)
    adapter = canvas_adapter(options.hidden)
    if options.start is not None:
        go_on(adapter, IdentityAdapter.from_pretrained(options.start))

    def batch_fn(step: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([options.seed, step])
        rows = torch.from_numpy(rng.choice(count, options.batch))
        noise = torch.from_numpy(
            rng.normal(0, options.scatter, (options.batch, embeddings.shape[2])).astype(np.float32)
        )
        given = embeddings[rows, torch.from_numpy(rng.integers(2, size=options.batch))] + noise
        return {"embedding": given, "look": looks[rows], "target": targets[rows]}

    def loss_fn(model: IdentityAdapter, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        error = (model.face(batch["embedding"], batch["look"]).float() - batch["target"]).square().mean()
        return error, {"error": error.detach()}

    def measure() -> dict[str, float]:
        unseen = adapter.face(embeddings[count:, 0], looks[count:]).float() - targets[count:]
        return {"held_out": float(unseen.square().mean())} if len(unseen) else {}

    task = NetworkTask(adapter, adapter, batch_fn, loss_fn, measure)
    return task.train(options.loop(ema=0.998, preview_every=200), options.out / "canvas")


@torch.no_grad()
def _over(encode, pictures: np.ndarray) -> Tensor:
    """`encode` over uint8 (N, H, W, 3), float32."""
    starts = range(0, len(pictures), ENCODED_AT_ONCE)
    return torch.cat([encode(to_pixels(pictures[s : s + ENCODED_AT_ONCE])).float() for s in starts])


if __name__ == "__main__":
    train_canvas(options_from_command_line(CanvasOptions, __doc__))
