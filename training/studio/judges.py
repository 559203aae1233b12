"""Trains the three judges of the benchmark on people of their own (split "judge").

On one CPU core, twelve minutes each for faces and garments, four times as long for whole pictures:

    python -m twinset.training.mannequin.store --out data/judge --count 6144 --split judge
    OMP_NUM_THREADS=1 python -m twinset.training.studio.judges --data data/judge --out runs/judges --minutes 12
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from twinset.figure.labels import GARMENT_KINDS
from twinset.models.face_encoder import crops_to_tensor
from twinset.training.core.command_line import options_from_command_line
from twinset.training.mannequin.attributes import ATTRIBUTES
from twinset.training.mannequin.store import load_store
from twinset.training.studio.face_encoder import augment, recognition, three_views
from twinset.training.studio.face_finder import quality_focal_loss
from twinset.training.studio.judge_networks import (
    STRIDE,
    FaceJudge,
    GarmentJudge,
    PictureJudge,
    flat_mask,
    garment_crop,
    heatmap_peaks,
)
from twinset.training.studio.options import NetworkTask, StudioOptions

Store = Mapping[str, np.ndarray]
#: Judge → how much longer than the others it is trained.
LONGER = {"picture": 4}
#: Judge → the fields of the store that it learns from.
FIELDS = {
    "face": ("crops", "canvas", "identity_vector"),
    "picture": ("picture", "parsing", "keypoints", "attributes"),
    "garment": ("picture", "parsing", "flats", "attributes"),
}
WORN = tuple(kind for kind, (slot, _) in GARMENT_KINDS.items() if slot in ("upper", "lower"))
#: What a garment's crop is recognised by; pattern and logo are known of upper garments only.
GARMENT_CLASSES = {
    "kind": WORN,
    "colour": ATTRIBUTES["upper_colour"],
    "pattern": ATTRIBUTES["upper_pattern"],
    "logo": ATTRIBUTES["logo"],
}
UNKNOWN = -100


class JudgeOptions(StudioOptions):
    """Options of the judges' trainings; each model is written to `out`/<judge>.

    Attributes:
        data: Store of split "judge".
        judge: "face", "picture", "garment", or "all" one after the other.
        minutes: Length of each run; that of the judge of pictures takes four times as long.
        batch_size: People, pictures or pairs of garments in a step.
        held_out: Samples at the end of the store that are only measured.
    """

    data: Path
    judge: Literal["all", "face", "picture", "garment"] = "all"
    minutes: float = Field(default=5.0, gt=0)
    batch_size: int = Field(default=32, ge=1)
    learning_rate: float = Field(default=1.5e-3, gt=0, le=10)
    held_out: int = Field(default=300, ge=0)
    seed: int = Field(default=20_001, ge=0, lt=2**32)


def train_judges(options: JudgeOptions) -> Path:
    """Trains and measures one judge or all; returns the folder above the models, which are in half precision."""
    for judge in FIELDS if options.judge == "all" else (options.judge,):
        train_judges_on(load_store(options.data, FIELDS[judge]), judge, options)
    return options.out


def train_judges_on(store: Store, judge: str, options: JudgeOptions) -> Path:
    """Trains one judge on a store in memory; returns the folder of the model."""
    torch.manual_seed(options.seed)
    train_count = max(1, len(next(iter(store.values()))) - options.held_out)
    make = {"face": face_judge, "picture": picture_judge, "garment": garment_judge}[judge]
    task = make(store, train_count, options)
    minutes = None if options.steps else options.minutes * LONGER.get(judge, 1)
    loop = options.loop(
        out=options.out / "runs" / judge, minutes=minutes, weight_decay=0.02, clip=5.0, preview_every=250
    )
    return task.train(loop, options.out / judge)


def face_judge(store: Store, train_count: int, options: JudgeOptions) -> NetworkTask:
    """Softmax over cosines of every two pictures of the people in a batch, beside the true identity."""
    judge, truth = FaceJudge(), store["identity_vector"].astype(np.float32)
    model = nn.ModuleDict({"judge": judge, "identity": nn.Linear(judge.config["size"], truth.shape[1])})
    spread = torch.from_numpy(truth[:train_count].var(axis=0) + 1e-3)

    def batch_fn(step: int) -> dict[str, Tensor]:
        rng, generator = np.random.default_rng((options.seed, step)), torch.Generator().manual_seed(step + 7)
        people = rng.choice(train_count, min(train_count, options.batch_size), replace=False)
        views = three_views(store["crops"], store["canvas"], people)
        crops = augment(crops_to_tensor(views.reshape(-1, 112, 112, 3)), generator)
        return {"crops": crops, "identity": torch.from_numpy(truth[people])}

    def loss_fn(model: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        embeddings = judge(batch["crops"]).float().unflatten(0, (-1, 3))
        unit = F.normalize(embeddings, dim=-1)
        own = torch.arange(len(unit), device=unit.device)
        pairs = [(a, b) for a in range(3) for b in range(3) if a != b]
        softmax = torch.stack([F.cross_entropy(16 * unit[:, a] @ unit[:, b].T, own) for a, b in pairs]).mean()
        error = model["identity"](embeddings).float() - batch["identity"][:, None]  # type: ignore[index]
        identity = (error.square() / spread.to(error)).mean()
        return softmax + identity, {"softmax": softmax, "identity": identity}

    def measure() -> dict[str, float]:
        people = np.arange(train_count, len(truth))
        return recognition(judge, three_views(store["crops"], store["canvas"], people)) if len(people) > 1 else {}

    return NetworkTask(judge, model, batch_fn, loss_fn, measure)


def picture_judge(store: Store, train_count: int, options: JudgeOptions) -> NetworkTask:
    """Keypoint heat maps, parsing and attributes of pictures, a third of them softened."""
    judge = PictureJudge({name: len(names) for name, names in ATTRIBUTES.items()})

    def batch_fn(step: int) -> dict[str, Tensor]:
        rng, generator = np.random.default_rng((options.seed, step)), torch.Generator().manual_seed(step + 8)
        rows = rng.integers(train_count, size=options.batch_size)
        pictures = _pixels(store["picture"][rows])
        noise = 0.04 * torch.rand((), generator=generator) * torch.randn(pictures.shape, generator=generator)
        return {
            "pictures": _softened(pictures, rng) + noise,
            "heat": torch.from_numpy(np.stack([keypoint_heat(points) for points in store["keypoints"][rows]])),
            "parsing": torch.from_numpy(store["parsing"][rows][:, STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]).long(),
            "attributes": torch.from_numpy(store["attributes"][rows].astype(np.int64)),
        }

    def loss_fn(model: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        heat, parsing, attributes = model(batch["pictures"])
        losses = {
            "keypoints": quality_focal_loss(heat.float(), batch["heat"]),
            "parsing": F.cross_entropy(parsing.float(), batch["parsing"]),
            "attributes": classification(attributes, batch["attributes"]),
        }
        return torch.stack(list(losses.values())).sum(), losses

    @torch.no_grad()
    def measure() -> dict[str, float]:
        rows, hits, right, same = np.arange(train_count, len(store["picture"])), [], [], []
        for part in np.array_split(rows, max(1, len(rows) // 50)):
            heat, parsing, attributes = judge(_pixels(store["picture"][part]).to(judge.device))
            truth = store["keypoints"][part]
            distance = np.linalg.norm(heatmap_peaks(heat).cpu().numpy()[..., :2] - truth[..., :2], axis=-1)
            hits.append(distance[truth[..., 2] > 0] < 0.1 * 60)
            labels = store["parsing"][part][:, STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]
            right.append(parsing.argmax(1).cpu().numpy() == labels)
            guesses = np.stack([logits.argmax(1).cpu().numpy() for logits in attributes.values()], axis=1)
            same.append(guesses == store["attributes"][part])
        names = dict(zip(ATTRIBUTES, np.concatenate(same).mean(0).tolist(), strict=True)) if len(rows) else {}
        return {"within_6_px": _mean(hits), "pixels": _mean(right), **names}

    return NetworkTask(judge, judge, batch_fn, loss_fn, measure)


def garment_judge(store: Store, train_count: int, options: JudgeOptions) -> NetworkTask:
    """Contrast between garments as worn and as flat pictures, beside what they are."""
    judge = GarmentJudge({name: len(names) for name, names in GARMENT_CLASSES.items()})
    pieces = worn_crops(store)
    train_pieces, held_out_pieces = pieces[pieces[:, 0] < train_count], pieces[pieces[:, 0] >= train_count]

    def crops(chosen: np.ndarray) -> dict[str, Tensor]:
        worn = np.stack(
            [garment_crop(store["picture"][row], _owned(store["parsing"][row], slot)) for row, slot in chosen]
        )
        flats = [store["flats"][row, slot] for row, slot in chosen]
        flat = np.stack([garment_crop(picture, flat_mask(picture)) for picture in flats])
        classes = [piece_classes(store["attributes"][row], slot) for row, slot in chosen]
        return {"worn": _pixels(worn), "flat": _pixels(flat), "classes": torch.tensor(classes)}

    def batch_fn(step: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((options.seed, step))
        batch = crops(train_pieces[rng.integers(len(train_pieces), size=2 * options.batch_size)])
        return {**batch, "worn": _softened(batch["worn"], rng), "flat": _softened(batch["flat"], rng)}

    def loss_fn(model: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        embeddings, logits = model(torch.cat([batch["worn"], batch["flat"]]))
        worn, flat = embeddings.chunk(2)
        similar = judge.scale.clamp(1, 40) * worn @ flat.T
        own = torch.arange(len(worn), device=worn.device)
        contrast = (F.cross_entropy(similar, own) + F.cross_entropy(similar.T, own)) / 2
        named = classification(logits, batch["classes"].repeat(2, 1))
        return contrast + named, {"contrast": contrast, "classes": named}

    @torch.no_grad()
    def measure() -> dict[str, float]:
        batch = crops(held_out_pieces[:100])
        (worn, logits), (flat, _) = (judge(batch[key].to(judge.device)) for key in ("worn", "flat"))
        rank1 = ((worn @ flat.T).argmax(1).cpu() == torch.arange(len(worn))).float().mean()
        right = {}
        for (name, guess), truth in zip(logits.items(), batch["classes"].T, strict=True):
            right[name] = _mean([(guess.argmax(1).cpu() == truth)[truth != UNKNOWN].numpy()])
        return {"rank1": float(rank1), **right}

    return NetworkTask(judge, judge, batch_fn, loss_fn, measure if len(held_out_pieces) else dict)


def keypoint_heat(keypoints: np.ndarray, height: int = 64, width: int = 48, spread: float = 1.2) -> np.ndarray:
    """Gaussians float32 (18, 64, 48) at the visible keypoints (18, 3), with `spread` in cells."""
    at = keypoints[:, :2] / STRIDE - 0.5
    ys, xs = np.mgrid[:height, :width]
    squared = (xs - at[:, 0, None, None]) ** 2 + (ys - at[:, 1, None, None]) ** 2
    return (np.exp(-squared / (2 * spread**2)) * (keypoints[:, 2, None, None] > 0)).astype(np.float32)


def worn_crops(store: Store, least: int = 400) -> np.ndarray:
    """Rows and slots (0 upper, 1 lower) of garments of which at least `least` pixels are seen, (M, 2)."""
    areas = np.array([[_owned(parsing, slot).sum() for slot in (0, 1)] for parsing in store["parsing"]])
    return np.argwhere(areas >= least)


def piece_classes(values: np.ndarray, slot: int) -> list[int]:
    """A sample's attributes → classes of GARMENT_CLASSES of its upper (slot 0) or lower (slot 1) garment."""
    named = {name: (names[int(k)], int(k)) for (name, names), k in zip(ATTRIBUTES.items(), values, strict=True)}
    side = "lower" if slot else "upper"
    kind, colour = WORN.index(named[f"{side}_kind"][0]), GARMENT_CLASSES["colour"].index(named[f"{side}_colour"][0])
    return [kind, colour, UNKNOWN, UNKNOWN] if slot else [kind, colour, named["upper_pattern"][1], named["logo"][1]]


def classification(logits: Mapping[str, Tensor], classes: Tensor) -> Tensor:
    """Mean cross-entropy of the heads, each divided by that of guessing; UNKNOWN classes are passed over."""
    losses = []
    for guess, truth in zip(logits.values(), classes.T, strict=True):
        if (truth != UNKNOWN).any():
            losses.append(F.cross_entropy(guess.float(), truth, ignore_index=UNKNOWN) / np.log(guess.shape[1]))
    return torch.stack(losses).mean()


def _owned(parsing: np.ndarray, slot: int) -> np.ndarray:
    return np.isin(parsing, (5, 6) if slot else (4, 7))


def _pixels(pictures: np.ndarray) -> Tensor:
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous().float() / 127.5 - 1


def _softened(pictures: Tensor, rng: np.random.Generator) -> Tensor:
    """A third of the pictures sampled down and up again, as generated ones are softer than drawn ones."""
    size = pictures.shape[-2:]
    chosen = torch.from_numpy(rng.random(len(pictures)) < 1 / 3)
    if chosen.any():
        factor = float(rng.uniform(0.35, 0.9))
        down = F.interpolate(pictures[chosen], scale_factor=factor, mode="bilinear", antialias=True)
        pictures[chosen] = F.interpolate(down, size, mode="bilinear")
    return pictures


def _mean(parts: list[np.ndarray]) -> float:
    return float(np.concatenate([np.ravel(part) for part in parts]).mean()) if parts else 0.0


if __name__ == "__main__":
    print(train_judges(options_from_command_line(JudgeOptions, __doc__)))
