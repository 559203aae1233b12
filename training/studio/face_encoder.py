"""Trains the face encoder on Mannequin's aligned crops, with ArcFace's margin and the true identity as a second aim.

On one CPU core, about ten minutes to rank-1 of 100 near 1:

    python -m twinset.training.mannequin.store --out data/train --count 20000 --split train
    export OMP_NUM_THREADS=1
    python -m twinset.training.studio.face_encoder --data data/train --out runs/face_encoder --minutes 9
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from twinset.models.face_encoder import FaceEncoder, crops_to_tensor
from twinset.training.core.command_line import options_from_command_line
from twinset.training.mannequin.store import load_store
from twinset.training.studio.options import NetworkTask, StudioOptions


class FaceEncoderOptions(StudioOptions):
    """Options of the face encoder's training; the model is written to `out`/face_encoder.

    Attributes:
        data: Store written by `twinset.training.mannequin.store`.
        people: People per step, each with three pictures.
        margin: ArcFace's additive angle m, radians.
        margin_steps: Steps after which the whole margin is reached.
        scale: ArcFace's s.
        identity_weight: Weight of the regression of the true identity parameters.
        held_out: People at the end of the store that are only measured.
    """

    data: Path
    minutes: float = Field(default=9.0, gt=0)
    people: int = Field(default=40, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0, le=10)
    margin: float = Field(default=0.35, ge=0)
    margin_steps: int = Field(default=300, ge=1)
    scale: float = Field(default=24.0, gt=0)
    identity_weight: float = Field(default=1.0, ge=0)
    held_out: int = Field(default=400, ge=0)
    seed: int = Field(default=1, ge=0, lt=2**32)


class IdentityRegression(nn.Module):
    """The face encoder with a linear reading of the drawn person's parameters; only the encoder is kept."""

    def __init__(self, encoder: FaceEncoder, parameters: int):
        super().__init__()
        self.encoder = encoder
        self.identity = nn.Linear(encoder.config["embedding"], parameters)


def train_face_encoder(options: FaceEncoderOptions) -> Path:
    """Trains and measures a face encoder; returns the folder of the model, in half precision."""
    return train_face_encoder_on(load_store(options.data, ("crops", "canvas", "identity_vector")), options)


def train_face_encoder_on(store: Mapping[str, np.ndarray], options: FaceEncoderOptions) -> Path:
    """As `train_face_encoder`, on a store in memory: `crops` (N, 2, 112, 112, 3), `canvas`, `identity_vector`."""
    pictures, truth = (store["crops"], store["canvas"]), store["identity_vector"].astype(np.float32)
    train_count = max(1, len(truth) - options.held_out)
    torch.manual_seed(options.seed)
    model = IdentityRegression(FaceEncoder(), truth.shape[1])
    spread = torch.from_numpy(truth[:train_count].var(axis=0) + 1e-3)

    def batch_fn(step: int) -> dict[str, Tensor]:
        rng, generator = np.random.default_rng((options.seed, step)), torch.Generator().manual_seed(step)
        people = lookalikes(truth[:train_count], options.people, rng)
        crops = crops_to_tensor(three_views(*pictures, people).reshape(-1, 112, 112, 3))
        margin = options.margin * min(1.0, step / options.margin_steps)
        return {
            "crops": augment(crops, generator),
            "identity": torch.from_numpy(truth[people]),
            "margin": torch.tensor(margin),
        }

    def loss_fn(model: IdentityRegression, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        embeddings = model.encoder(batch["crops"]).float().unflatten(0, (-1, 3))
        arcface = arcface_among_people(embeddings, batch["margin"], options.scale)
        error = model.identity(embeddings).float() - batch["identity"][:, None]
        identity = (error.square() / spread.to(error)).mean()
        return arcface + options.identity_weight * identity, {"arcface": arcface, "identity": identity}

    def measure() -> dict[str, float]:
        people = np.arange(train_count, len(truth))
        return recognition(model.encoder, three_views(*pictures, people)) if len(people) > 1 else {}

    task = NetworkTask(model.encoder, model, batch_fn, loss_fn, measure)
    return task.train(options.loop(weight_decay=0.02, clip=5.0, preview_every=200), options.out / "face_encoder")


def three_views(crops: np.ndarray, canvas: np.ndarray, people: np.ndarray) -> np.ndarray:
    """Two selfies and the canvas of some people, uint8 (P, 3, 112, 112, 3)."""
    return np.concatenate([crops[people], canvas[people, None]], axis=1)


def lookalikes(truth: np.ndarray, count: int, rng: np.random.Generator, among: int = 400) -> np.ndarray:
    """Draws people, each followed by the most similar of `among` others: near misses teach more than strangers."""
    first = rng.choice(len(truth), (count + 1) // 2, replace=len(truth) < count)
    others = rng.choice(len(truth), min(among, len(truth)), replace=False)
    distance = np.square(truth[first, None] - truth[None, others]).sum(-1)
    distance[first[:, None] == others[None]] = np.inf
    second = others[distance.argmin(1)]
    return np.unique(np.concatenate([first, second]))[:count] if len(truth) >= count else first


def arcface_among_people(embeddings: Tensor, margin: Tensor | float, scale: float) -> Tensor:
    """ArcFace loss whose class centres are the other pictures of the people in the batch.

    Deng et al. (CVPR 2019), eq. 3, with W_j = the normalised mean of person j's embeddings other than the one
    looked at. ArcFace learns W_j; with 20,000 people and a few minutes each would be visited twice.

    Args:
        embeddings: float (P, V, D), V pictures of each of P people.
        margin: m, radians.
        scale: s.

    Returns:
        Scalar loss.
    """
    unit = F.normalize(embeddings, dim=-1)
    own = torch.arange(len(unit), device=unit.device)
    losses = []
    for view in range(unit.shape[1]):
        others = [k for k in range(unit.shape[1]) if k != view]
        centres = F.normalize(unit[:, others].mean(1), dim=-1)
        cosine = (unit[:, view] @ centres.T).clamp(-1 + 1e-6, 1 - 1e-6)
        angle = (cosine.diagonal().acos() + margin).clamp(max=torch.pi)
        logits = cosine - torch.diag(cosine.diagonal() - angle.cos())
        losses.append(F.cross_entropy(scale * logits, own))
    return torch.stack(losses).mean()


def augment(crops: Tensor, generator: torch.Generator) -> Tensor:
    """What separates a picture from the ideal: misaligned, another exposure, soft, partly hidden.

    Args:
        crops: float (B, 3, H, W) in [-1, 1].
        generator: Where the random numbers come from.

    Returns:
        Crops of the same shape: shifted by up to 4 %, scaled by 5 %, turned by 5°, gains of 8 % per channel, a
        third blurred down to a third of the pixels, one in seven with a grey rectangle. Never mirrored: faces
        are not symmetric.
    """

    def uniform(*shape: int) -> Tensor:
        return torch.rand(len(crops), *shape, generator=generator) * 2 - 1

    turn, scale, shift = 0.09 * uniform(), 1 + 0.05 * uniform(), 0.07 * uniform(2)
    cos, sin = scale * turn.cos(), scale * turn.sin()
    matrix = torch.stack([torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)], 1)
    grid = F.affine_grid(matrix, list(crops.shape), align_corners=False)
    crops = F.grid_sample(crops, grid, padding_mode="border", align_corners=False)
    crops = (crops + 1) * (1 + 0.08 * uniform(3, 1, 1)) * (1 + 0.1 * uniform(1, 1, 1)) - 1
    crops = soften_crops(crops.clamp(-1, 1), generator)
    for row in torch.nonzero(torch.rand(len(crops), generator=generator) < 1 / 7).flatten().tolist():
        side, y, x = (int(v) for v in torch.randint(12, 80, (3,), generator=generator))
        crops[row, :, y : y + side // 2, x : x + side // 2] = float(uniform()[0])
    return crops


def soften_crops(pictures: Tensor, generator: torch.Generator, share: float = 0.33) -> Tensor:
    """Blurs a share of the pictures by sampling them down, as small faces and decoders do."""
    size = pictures.shape[-1]
    small = int(torch.randint(size // 3, size, (), generator=generator))
    chosen = torch.rand(len(pictures), generator=generator) < share
    if chosen.any():
        down = F.interpolate(pictures[chosen], (small, small), mode="bilinear", antialias=True)
        pictures[chosen] = F.interpolate(down, (size, size), mode="bilinear")
    return pictures


@torch.no_grad()
def recognition(encoder: nn.Module, views: np.ndarray, gallery: int = 100) -> dict[str, float]:
    """Measures recognition on people never seen.

    Args:
        encoder: Maps float (B, 3, 112, 112) to embeddings (B, D).
        views: uint8 (P, V, 112, 112, 3).
        gallery: People among whom one is to be recognised.

    Returns:
        `rank1` among `gallery` people, `tar` = share of same-person pairs accepted where 1 in 1000 strangers is,
        and the mean cosine of the `same` person and of `different` people.
    """
    people, count = len(views), views.shape[1]
    crops = crops_to_tensor(views.reshape(-1, *views.shape[2:]))
    device = next(encoder.parameters()).device
    unit = torch.cat([F.normalize(encoder(part.to(device)).float(), dim=1).cpu() for part in crops.split(128)])
    unit = unit.unflatten(0, (people, count))
    own = torch.eye(people, dtype=torch.bool)
    same, different, hits = [], [], []
    for a, b in ((a, b) for a in range(count) for b in range(count) if a != b):
        cosine = unit[:, a] @ unit[:, b].T
        same.append(cosine[own])
        different.append(cosine[~own])
        hits += [block.argmax(1) == torch.arange(len(block)) for block in _blocks(cosine, gallery)]
    pairs, strangers = torch.cat(same), torch.cat(different)
    threshold = strangers.kthvalue(max(1, round(0.999 * len(strangers)))).values
    return {
        "rank1": float(torch.cat(hits).float().mean()),
        "tar": float((pairs > threshold).float().mean()),
        "same": float(pairs.mean()),
        "different": float(strangers.mean()),
    }


def _blocks(cosine: Tensor, size: int) -> list[Tensor]:
    starts = range(0, max(1, len(cosine) - size + 1), size)
    return [cosine[start : start + size, start : start + size] for start in starts]


if __name__ == "__main__":
    print(train_face_encoder(options_from_command_line(FaceEncoderOptions, __doc__)))
