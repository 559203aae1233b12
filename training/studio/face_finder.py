"""Trains the face finder on Mannequin's selfies and pictures, and on everything that has no face.

On one CPU core, five minutes after a minute of drawing:

    OMP_NUM_THREADS=1 python -m twinset.training.studio.face_finder --out runs/face_finder --minutes 5
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from twinset.figure.drawing.flat_garments import render_flat
from twinset.figure.rig import build_rig
from twinset.models.face_finder import (
    STRIDE,
    WINDOW,
    WINDOW_FACE,
    FaceFinder,
    face_centre,
    face_size,
    similarity_transform,
    warp,
)
from twinset.training.core.command_line import options_from_command_line
from twinset.training.mannequin import face
from twinset.training.mannequin.render import (
    layout_keypoints,
    render_picture,
    render_scene,
    render_selfie,
    selfie_landmarks,
)
from twinset.training.mannequin.spec import Spec, draw_spec
from twinset.training.studio.options import NetworkTask, StudioOptions


class FaceFinderOptions(StudioOptions):
    """Options of the face finder's training, whose minutes do not count the drawing; the model is in `out`/face_finder.

    Attributes:
        batch_size: Windows in a step.
        scenes: Scenes drawn with, and as many without, a person.
        held_out: Further ones that are only measured.
        close: Share of windows as the finder's second look sees them: a face in the middle at one size.
        empty: Share of windows without any face.
    """

    minutes: float = Field(default=5.0, gt=0)
    batch_size: int = Field(default=48, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0, le=10)
    scenes: int = Field(default=1500, ge=1)
    held_out: int = Field(default=60, ge=0)
    close: float = Field(default=0.35, ge=0, le=1)
    empty: float = Field(default=0.2, ge=0, le=1)
    seed: int = Field(default=2, ge=0, lt=2**32)


@dataclass(frozen=True)
class Pool:
    """Pictures with a face, uint8 (N, H, W, 3), its landmarks (N, 5, 2) in px, and pictures without a face."""

    faces: np.ndarray
    landmarks: np.ndarray
    empty: np.ndarray


def train_face_finder(options: FaceFinderOptions) -> Path:
    """Draws a pool of pictures, then trains and measures a face finder; returns the folder of the model."""
    pool = draw_pool(options.scenes + options.held_out, first_seed=100_000_000)
    return train_face_finder_on(pool, options)


def draw_pool(count: int, first_seed: int) -> Pool:
    """Draws `count` pictures with a face, selfies and whole figures in turn, and as many scenes and flat garments."""
    specs = [draw_spec(first_seed + k) for k in range(count)]
    faces = [render_picture(spec) if k % 3 == 0 else render_selfie(spec) for k, spec in enumerate(specs)]
    points = [picture_landmarks(spec) if k % 3 == 0 else selfie_landmarks(spec) for k, spec in enumerate(specs)]
    empty = [render_scene(s) if k % 2 else render_flat(s.garments["upper"]) for k, s in enumerate(specs)]
    return Pool(np.stack(faces), np.stack(points).astype(np.float32), np.stack(empty))


def picture_landmarks(spec: Spec) -> np.ndarray:
    """The five landmarks (5, 2) px of a spec in its whole picture."""
    frame = build_rig(layout_keypoints(spec)).frames["head"]
    local = face.landmarks(spec.identity, spec.expression, spec.head_turn)
    return local @ frame[:, :2].T + frame[:, 2]


def train_face_finder_on(pool: Pool, options: FaceFinderOptions) -> Path:
    """As `train_face_finder`, on a pool in memory."""
    train_count = max(1, len(pool.faces) - options.held_out)
    train_pool = Pool(pool.faces[:train_count], pool.landmarks[:train_count], pool.empty[:train_count])
    held_out_pool = Pool(pool.faces[train_count:], pool.landmarks[train_count:], pool.empty[train_count:])
    torch.manual_seed(options.seed)
    model = FaceFinder()

    def batch_fn(step: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((options.seed, step))
        windows = [draw_window(train_pool, options, rng) for _ in range(options.batch_size)]
        pictures = np.stack([picture for picture, _ in windows])
        targets = [targets_of(landmarks) for _, landmarks in windows]
        return {
            "pictures": torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous(),
            "heat": torch.from_numpy(np.stack([heat for heat, _ in targets])),
            "size": torch.tensor([size for _, size in targets]),
        }

    def loss_fn(model: FaceFinder, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        heat, size = model(batch["pictures"].float() / 127.5 - 1)
        found = quality_focal_loss(heat.float(), batch["heat"])
        near = batch["heat"][:, :1] * (batch["heat"][:, :1] > 0.3)
        difference = (size.float() - batch["size"][:, None, None, None]).abs()
        size_error = (near * difference).sum() / near.sum().clamp(min=1)
        return found + size_error, {"heat": found, "size": size_error}

    task = NetworkTask(model, model, batch_fn, loss_fn, lambda: measure_face_finder(model, held_out_pool))
    return task.train(options.loop(clip=10.0, preview_every=400), options.out / "face_finder")


def draw_window(pool: Pool, options: FaceFinderOptions, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draws a training window: uint8 (128, 128, 3) and its landmarks (5, 2), all NaN where it shows no face."""
    if rng.random() < options.empty:
        return _jitter(_empty_window(pool, rng), rng), np.full((5, 2), np.nan)
    k = rng.integers(len(pool.faces))
    picture, landmarks = pool.faces[k], pool.landmarks[k]
    if rng.random() < options.close:
        size, turn = WINDOW_FACE * np.exp(rng.uniform(-0.25, 0.25)), rng.uniform(-0.15, 0.15)
        target = WINDOW / 2 + rng.uniform(-8, 8, 2)
    else:
        size, turn = np.exp(rng.uniform(np.log(8), np.log(56))), rng.uniform(-0.25, 0.25)
        target = rng.uniform(0, WINDOW, 2)
    matrix = _about(face_centre(landmarks), size / face_size(landmarks), turn, target)
    window = warp(picture, matrix, (WINDOW, WINDOW))
    inside = _footprint(matrix, picture.shape[:2])
    if not inside.all():  # the picture ends in the window: lay it on something else
        window = np.where(inside[..., None], window, _empty_window(pool, rng))
    return _jitter(window, rng), landmarks @ matrix[:, :2].T + matrix[:, 2]


def targets_of(landmarks: np.ndarray) -> tuple[np.ndarray, float]:
    """Heat maps float32 (6, 32, 32) of the centre and the landmarks, and the logarithm of the relative size.

    Gaussians with a standard deviation of one cell; wider for the centre of a large face.
    """
    if np.isnan(landmarks).any():
        return np.zeros((6, WINDOW // STRIDE, WINDOW // STRIDE), np.float32), 0.0
    size = face_size(landmarks)
    points = np.concatenate([face_centre(landmarks)[None], landmarks]) / STRIDE - 0.5
    width = np.array([max(1.0, 0.1 * size / STRIDE), *[1.0] * 5])[:, None, None]
    ys, xs = np.mgrid[: WINDOW // STRIDE, : WINDOW // STRIDE]
    squared = (xs - points[:, 0, None, None]) ** 2 + (ys - points[:, 1, None, None]) ** 2
    return np.exp(-squared / (2 * width**2)).astype(np.float32), float(np.log(size / WINDOW_FACE))


def quality_focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Focal loss for targets between 0 and 1: |y − σ|² · BCE (Li et al., NeurIPS 2020, eq. 3), per unit of target."""
    weight = (target - logits.sigmoid()).square()
    loss = weight * F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return loss.sum() / target.sum().clamp(min=1)


@torch.no_grad()
def measure_face_finder(model: FaceFinder, pool: Pool) -> dict[str, float]:
    """Measures finding on whole pictures.

    Returns:
        `found`: share of faces found; `error`: mean distance of their landmarks as a share of the face's size;
        `false`: share of pictures without a face in which one is seen.
    """
    errors = []
    for picture, landmarks in zip(pool.faces, pool.landmarks, strict=True):
        if faces := model.find(picture):
            distance = np.linalg.norm(faces[0].landmarks - landmarks, axis=1).mean()
            errors.append(distance / face_size(landmarks))
    hits = [error for error in errors if error < 0.5]
    false = [bool(model.find(picture)) for picture in pool.empty]
    return {
        "found": len(hits) / max(1, len(pool.faces)),
        "error": float(np.mean(hits or [1.0])),
        "false": float(np.mean(false or [0.0])),
    }


def _about(centre: np.ndarray, scale: float, turn: float, target: np.ndarray) -> np.ndarray:
    """The similarity (2, 3) that scales and turns about `centre` and brings it to `target`."""
    across = scale * np.array([np.cos(turn), np.sin(turn)])
    return similarity_transform(np.stack([centre, centre + np.array([1, 0])]), np.stack([target, target + across]))


def _footprint(matrix: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Where in the window a picture of `shape` (H, W) lies, bool (128, 128)."""
    ys, xs = np.mgrid[:WINDOW, :WINDOW] + 0.5
    offset = np.stack([xs - matrix[0, 2], ys - matrix[1, 2]], -1)
    source = offset @ np.linalg.inv(matrix[:, :2]).T
    return np.all((source >= 0) & (source < np.array(shape[1::-1])), axis=-1)


def _empty_window(pool: Pool, rng: np.random.Generator) -> np.ndarray:
    """A piece of a picture without a face, or, one time in six, noise or one colour."""
    if rng.random() < 1 / 6:
        cells = int(rng.choice([1, 4, 16, 64]))
        noise = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        return noise.repeat(WINDOW // cells, 0).repeat(WINDOW // cells, 1)
    picture = pool.empty[rng.integers(len(pool.empty))]
    middle = rng.uniform(0.2, 0.8, 2) * picture.shape[1::-1]
    matrix = _about(middle, np.exp(rng.uniform(-0.7, 0.7)), rng.uniform(-0.3, 0.3), np.full(2, WINDOW / 2))
    return warp(picture, matrix, (WINDOW, WINDOW))


def _jitter(window: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another exposure and white balance, sometimes mild noise."""
    gain = rng.uniform(0.8, 1.2) * rng.uniform(0.9, 1.1, 3)
    noise = rng.normal(0, 6, window.shape) if rng.random() < 0.2 else 0.0
    return np.clip(window * gain + noise, 0, 255).astype(np.uint8)


if __name__ == "__main__":
    print(train_face_finder(options_from_command_line(FaceFinderOptions, __doc__)))
