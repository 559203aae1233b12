"""Trains the reader of drawn people (keypoints and parsing) on Mannequin's pictures.

On one CPU core, about twenty minutes:

    python -m twinset.training.mannequin.store --out data/train --count 10000 --split train
    export OMP_NUM_THREADS=1
    python -m twinset.training.studio.figure_reader --data data/train --out runs/figure_reader --minutes 20
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from twinset.figure.keypoints import FRAME
from twinset.figure.labels import MIRRORED_LABELS
from twinset.models.face_finder import warp
from twinset.models.figure_reader import FigureReader
from twinset.perception.people.keypoint_files import MIRRORED
from twinset.scoring.pose import mean_iou, pck, torso_length
from twinset.training.core.command_line import options_from_command_line
from twinset.training.mannequin.store import load_store
from twinset.training.studio.face_finder import quality_focal_loss
from twinset.training.studio.judges import keypoint_heat
from twinset.training.studio.options import NetworkTask, StudioOptions

Store = Mapping[str, np.ndarray]


class FigureReaderOptions(StudioOptions):
    """Options of the figure reader's training; the model is written to `out`/figure_reader.

    Attributes:
        data: store of split "train".
        batch_size: pictures in a step.
        held_out: samples at the end of the store that are only measured.
    """

    data: Path
    minutes: float = Field(default=20.0, gt=0)
    batch_size: int = Field(default=24, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0, le=10)
    held_out: int = Field(default=240, ge=0)
    seed: int = Field(default=11, ge=0, lt=2**32)


def train_figure_reader(options: FigureReaderOptions) -> Path:
    """Trains and measures a reader; returns the folder of the model, in half precision."""
    return train_figure_reader_on(load_store(options.data, ("picture", "parsing", "keypoints")), options)


def train_figure_reader_on(store: Store, options: FigureReaderOptions) -> Path:
    """As `train_figure_reader`, on a store in memory."""
    torch.manual_seed(options.seed)
    model, train_count = FigureReader(), max(1, len(store["picture"]) - options.held_out)

    def batch_fn(step: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((options.seed, step))
        rows = rng.integers(train_count, size=options.batch_size)
        drawn = [varied_pictures(store["picture"][r], store["parsing"][r], store["keypoints"][r], rng) for r in rows]
        pictures, labels, points = (np.stack(column) for column in zip(*drawn, strict=True))
        return {
            "pictures": torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous(),
            "labels": torch.from_numpy(labels[:, 1::2, 1::2].astype(np.int64)),
            "heat": torch.from_numpy(np.stack([keypoint_heat(p) for p in points])),
        }

    def loss_fn(model: FigureReader, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        heat, labels = model(batch["pictures"].float() / 127.5 - 1)
        found = quality_focal_loss(heat.float(), batch["heat"])
        named = F.cross_entropy(labels.float(), batch["labels"])
        return found + 2 * named, {"keypoints": found, "labels": named}

    held_out = {name: column[train_count:] for name, column in store.items()}
    task = NetworkTask(model, model, batch_fn, loss_fn, lambda: measure_figure_reader(model, held_out))
    return task.train(options.loop(clip=10.0, preview_every=500), options.out / "figure_reader")


def varied_pictures(
    picture: np.ndarray, labels: np.ndarray, keypoints: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A sample mirrored, moved, turned, smaller or larger, under another exposure, sometimes soft or noisy.

    Args:
        picture: uint8 (256, 192, 3).
        labels: uint8 (256, 192).
        keypoints: (18, 3) px.
        rng: draws the changes.

    Returns:
        The same three, changed; keypoints that leave the frame are unseen.
    """
    points = keypoints.astype(np.float32).copy()
    if rng.random() < 0.5:
        picture, labels = picture[:, ::-1], MIRRORED_LABELS[labels[:, ::-1]]
        points = points[list(MIRRORED)]
        points[:, 0] = np.where(points[:, 2] > 0, FRAME[0] - points[:, 0], 0)
    if rng.random() < 0.7:
        matrix = _nearby(rng)
        picture, labels = warp(np.ascontiguousarray(picture), matrix, FRAME), _moved(labels, matrix)
        points[:, :2] = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    inside = ((points[:, :2] >= 0) & (points[:, :2] < FRAME)).all(1)
    points[:, 2] *= inside
    return _exposed(np.ascontiguousarray(picture), rng), labels, points


def _nearby(rng: np.random.Generator) -> np.ndarray:
    """A similarity (2, 3) about the frame's middle that keeps most of the frame in view."""
    middle, zoom, turn = np.array(FRAME) / 2, np.exp(rng.uniform(-0.35, 0.25)), rng.uniform(-0.2, 0.2)
    linear = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return np.column_stack([linear, middle + rng.uniform(-16, 16, 2) - linear @ middle])


def _moved(labels: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """A label map under a map of pixels; the border is repeated, as in the picture."""
    back = np.linalg.inv(np.vstack([matrix, (0, 0, 1)]))
    pad = 96
    around = Image.fromarray(np.pad(labels, pad, mode="edge"))
    back[:2, 2] += pad
    return np.array(around.transform(FRAME, Image.Transform.AFFINE, tuple(back[:2].ravel()), Image.Resampling.NEAREST))


def _exposed(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another exposure and white balance; a third are sampled down and up again, a fifth are noisy."""
    if rng.random() < 1 / 3:
        share = rng.uniform(0.4, 0.9)
        small = round(FRAME[0] * share), round(FRAME[1] * share)
        soft = Image.fromarray(picture).resize(small, Image.Resampling.BOX).resize(FRAME, Image.Resampling.BILINEAR)
        picture = np.array(soft)
    gain = rng.uniform(0.8, 1.2) * rng.uniform(0.92, 1.08, 3)
    noise = rng.normal(0, 6, picture.shape) if rng.random() < 0.2 else 0.0
    return np.clip(picture * gain + noise, 0, 255).astype(np.uint8)


@torch.no_grad()
def measure_figure_reader(model: FigureReader, store: Store) -> dict[str, float]:
    """Means over a store's pictures: PCK at a tenth of the torso, and the parsing maps' mIoU."""
    right, same = [], []
    for picture, labels, points in zip(store["picture"], store["parsing"], store["keypoints"], strict=True):
        figure = model.read(picture)
        right.append(pck(figure.keypoints, points, torso_length(points)))
        same.append(mean_iou(figure.labels, labels))
    return {"pck": float(np.nanmean(right)), "miou": float(np.mean(same))} if right else {}


if __name__ == "__main__":
    print(train_figure_reader(options_from_command_line(FigureReaderOptions, __doc__)))
