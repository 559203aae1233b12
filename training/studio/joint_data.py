"""Everything that the joint training reads, encoded once and kept on disk beside the picture store.

The frozen networks (autoencoder, face encoder, CLIP) see every picture once; a training step then only gathers rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from rich.progress import track
from torch import Tensor
from torch.nn import functional as F

from twinset.adapters.condition import FACE_LABELS
from twinset.adapters.identity import IdentityAdapter, face_draft
from twinset.adapters.regions import redrawn_cells
from twinset.common.atomic_files import atomic_path
from twinset.figure.face_look import head_turn_of
from twinset.figure.keypoints import FRAME, draw_skeleton
from twinset.figure.labels import (
    BAG,
    HAT,
    LEFT_ARM,
    LEFT_LEG,
    LEFT_SHOE,
    PALETTE,
    RIGHT_ARM,
    RIGHT_LEG,
    RIGHT_SHOE,
    SUNGLASSES,
    garment_labels,
)
from twinset.figure.poses import EYE_X, EYE_Y, TURN_SHIFT
from twinset.figure.rig import build_rig
from twinset.models.clip import StudioCLIP, letterbox, token_ids
from twinset.models.face_encoder import FaceEncoder
from twinset.models.vae import decode_latents, encode_picture
from twinset.pipelines.studio import FIGURE_LABELS
from twinset.training.mannequin.store import load_store
from twinset.training.studio.clip_words import shortened
from twinset.training.studio.options import has_fast_bfloat16
from twinset.training.studio.vae import to_pixels

SHARED = ("seed", "flats", "crops", "look", "upper_kind", "lower_kind", "captions")
"""Fields of the store that a picture and its window have in common."""
OWN = ("picture", "draft", "figure_draft", "layout", "layout_keypoints")
"""Those that each has its own of; the window's are called `window_…`."""
WINDOW = "window_"
OTHERS = (HAT, SUNGLASSES, LEFT_SHOE, RIGHT_SHOE, BAG)
"""Labels of the pieces that have a draft alone."""
MOUTH_Y = 0.285
"""Of the average mouth, in head coordinates."""
DETAIL_RADIUS = {"eye": 0.16, "mouth": 0.16, "hand": 0.16, "foot": 0.2}
"""Around what is small and looked at, in head heights."""
COARSE_FROM, COARSE_TO = 0.15, 0.42
"""Levels of noise between which a window's start goes over from its own latents to those of the enlarged picture."""


@dataclass(frozen=True)
class Encoders:
    """The frozen networks that turn pictures and words into what the joint model sees."""

    vae: AutoencoderKL
    faces: FaceEncoder
    clip: StudioCLIP
    canvas: IdentityAdapter

    @torch.no_grad()
    def latents(self, pictures: np.ndarray) -> np.ndarray:
        """uint8 (B, H, W, 3) → scaled latents (B, C, H/8, W/8), float16."""
        fast = has_fast_bfloat16()
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):  # its rounding is far below what the decoder shows
            latents = encode_picture(self.vae, to_pixels(pictures))
        return latents.half().numpy()

    @torch.no_grad()
    def embeddings(self, crops: np.ndarray) -> np.ndarray:
        """uint8 (B, 112, 112, 3) → L2-normed embeddings (B, 512), float16."""
        return self.faces.embed(to_pixels(crops)).half().numpy()

    @torch.no_grad()
    def face_drafts(self, crops: np.ndarray, looks: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
        """Latents (B, C, H/8, W/8), float16, of canvases of crops (B, 112, 112, 3), laid by keypoints (B, 18, 3)."""
        given = torch.from_numpy(looks) if self.canvas.looks else None
        canvases = self.canvas.face(self.faces.embed(to_pixels(crops)), given)
        pixels = ((decode_latents(self.vae, canvases) + 1) * 127.5).round().clamp(0, 255).byte()
        faces = zip(pixels.permute(0, 2, 3, 1).numpy(), keypoints, strict=True)
        return self.latents(np.stack([face_draft(face, points, FRAME) for face, points in faces]))

    @torch.no_grad()
    def states(self, pictures: np.ndarray) -> np.ndarray:
        """uint8 (B, H, W, 3) → CLIP hidden states (B, 50, 192), float16."""
        return _states(self.clip, pictures)


def _states(clip: StudioCLIP, pictures: np.ndarray) -> np.ndarray:
    pixels = letterbox(torch.from_numpy(np.ascontiguousarray(pictures)))
    return clip.image_encoder(pixels, output_hidden_states=True).hidden_states[-2].half().numpy()


def encode_store(data: Path, cache: Path, encoders: Encoders, batch: int = 64) -> Path:
    """Encode a picture store: one `.npy` file per field, written whole or not at all; those there are kept."""
    store = load_store(data, (*SHARED, *OWN, *(f"{WINDOW}{name}" for name in OWN)))
    cache.mkdir(parents=True, exist_ok=True)

    def pieces(field: str, encode: Callable[[np.ndarray], np.ndarray]) -> Callable[[slice], np.ndarray]:
        """Encode a field that holds several pictures per sample, (B, k, …)."""
        return lambda rows: np.stack([encode(store[field][rows][:, k]) for k in range(store[field].shape[1])], axis=1)

    def own(prefix: str) -> dict[str, Callable[[slice], np.ndarray]]:
        """What a picture (prefix "") and its window each have."""
        layout, points = store[f"{prefix}layout"], store[f"{prefix}layout_keypoints"]

        def faces(rows: slice) -> np.ndarray:
            views = range(store["crops"].shape[1])
            looks = store["look"][rows], points[rows]
            return np.stack([encoders.face_drafts(store["crops"][rows][:, view], *looks) for view in views], axis=1)

        made: dict[str, Callable[[slice], np.ndarray]] = {
            "latents": lambda rows: encoders.latents(store[f"{prefix}picture"][rows]),
            "draft": lambda rows: encoders.latents(store[f"{prefix}draft"][rows]),
            "figure_draft": lambda rows: encoders.latents(store[f"{prefix}figure_draft"][rows]),
            "face_drafts": faces,
            "skeleton": lambda rows: np.stack([draw_skeleton(k) for k in points[rows]]),
            "layout": lambda rows: layout[rows],
            "masks": lambda rows: _masks(layout[rows]),
            "detail": lambda rows: np.stack([detail_mask(k) for k in points[rows]]),
        }
        return {f"{prefix}{name}": rows_of for name, rows_of in made.items()}

    fields: dict[str, Callable[[slice], np.ndarray]] = {
        **own(""),
        **own(WINDOW),
        "coarse": lambda rows: encoders.latents(coarse(store[f"{WINDOW}picture"][rows])),
        "flats": pieces("flats", encoders.latents),
        "face_embedding": pieces("crops", encoders.embeddings),
        "face_states": pieces("crops", encoders.states),
        "flat_states": pieces("flats", encoders.states),
        "garment_labels": lambda rows: _garment_labels(store, rows),
        "words": lambda rows: _words(encoders.clip, store["captions"][rows], store["seed"][rows]),
    }
    count = len(store["seed"])
    for name, rows_of in fields.items():
        if not (cache / f"{name}.npy").exists():
            starts = range(0, count, batch)
            parts = [rows_of(slice(s, s + batch)) for s in track(starts, description=f"encoding {name}")]
            _save(cache / f"{name}.npy", np.concatenate(parts))
    return cache


def coarse(pictures: np.ndarray) -> np.ndarray:
    """Pictures uint8 (B, H, W, 3) as a first stage leaves them to a second: of half the size, enlarged."""
    small = ((Image.fromarray(p), (p.shape[1] // 2, p.shape[0] // 2)) for p in pictures)
    halves = ((image.resize(size, Image.Resampling.BOX), image.size) for image, size in small)
    return np.stack([np.asarray(half.resize(size, Image.Resampling.LANCZOS)) for half, size in halves])


def detail_mask(keypoints: np.ndarray) -> np.ndarray:
    """Where eyes, mouth, hands and feet are, float16 (1, H/8, W/8) in [0, 1]: share of each cell."""
    rig = build_rig(keypoints)
    head, turn = rig.frames["head"], TURN_SHIFT * head_turn_of(keypoints)
    places = {
        "eye": [head @ (turn + side * EYE_X, EYE_Y, 1) for side in (-1, 1)],
        "mouth": [head @ (turn, MOUTH_Y, 1)],
        "hand": [rig.frames[f"{side}_hand"] @ (0, 0.06, 1) for side in ("left", "right")],
        "foot": [rig.frames[f"{side}_foot"] @ (0, 0.05, 1) for side in ("left", "right")],
    }
    ys, xs = np.mgrid[: FRAME[1] // 2, : FRAME[0] // 2] * 2 + 1.0
    near = np.zeros(ys.shape, bool)
    for name, points in places.items():
        for x, y in points:
            near |= np.hypot(xs - x, ys - y) < DETAIL_RADIUS[name] * rig.unit
    cells = near.reshape(FRAME[1] // 8, 4, FRAME[0] // 8, 4)
    return cells.mean((1, 3), dtype=np.float32).astype("f2")[None]


def _garment_labels(store: dict[str, np.ndarray], rows: slice) -> np.ndarray:
    """The label owned by the upper and the lower piece, (B, 2); 255 where there is none."""
    kinds = zip(store["upper_kind"][rows], store["lower_kind"][rows], strict=True)
    return np.array(
        [[garment_labels(str(k))[0] if str(k) not in ("", "none") else 255 for k in pair] for pair in kinds], np.uint8
    )


def _labelled(layout: Tensor, labels: tuple[int, ...]) -> Tensor:
    """Mask (B, 1, H, W) in {0, 1} of some labels."""
    return torch.isin(layout, torch.tensor(labels, dtype=layout.dtype))[:, None].float()


def _palette(layout: np.ndarray) -> Tensor:
    """uint8 (B, H, W) labels → palette pictures (B, 3, H, W) in [0, 1]."""
    return torch.from_numpy(PALETTE)[torch.from_numpy(layout).long()].permute(0, 3, 1, 2).float() / 255


def _masks(layout: np.ndarray) -> np.ndarray:
    """`label_masks` of the layouts' palette pictures, (B, 18, H/8, W/8), float16, without the way over colours."""
    rows, height, width = layout.shape
    cells = layout.reshape(rows, height // 8, 8, width // 8, 8)
    return np.stack([(cells == label).mean((2, 4), dtype=np.float32) for label in range(len(PALETTE))], 1).astype("f2")


@torch.no_grad()
def _words(clip: StudioCLIP, captions: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Text states (B, 4, 77, X), float16, of captions (B, 4), each cut to what fits by leaving clauses out."""
    rng = np.random.default_rng([int(s) for s in seeds])
    texts = [shortened(str(text), clip.tokenizer, rng) for text in captions.ravel()]
    states = clip.text_encoder(token_ids(clip.tokenizer, texts))[0]
    return states.unflatten(0, captions.shape).half().numpy()


def _save(path: Path, array: np.ndarray) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, array)


@dataclass(frozen=True, kw_only=True)
class Dropout:
    """How often each condition is left out in training, so that each may be absent later."""

    words: float = 0.1
    identity: float = 0.1
    garment: float = 0.15
    others: float = 0.15
    figure: float = 0.15
    pose: float = 0.1
    parsing: float = 0.05


@dataclass(frozen=True, kw_only=True)
class PhotoMode:
    """How often a training picture is a photo of which a part is drawn anew, and what is.

    Attributes:
        share: of the samples.
        face: how often its face is drawn anew, and with it arms and legs, whose skin belongs to it.
        garment: how often each of its garments is.
        skin: how often arms and legs are where the face is not: sleeves may become shorter or longer.
    """

    share: float = 0.4
    face: float = 0.6
    garment: float = 0.6
    skin: float = 0.5


class JointData:
    """Training batches from an encoded store.

    Args:
        cache: folder written by `encode_store`.
        clip: whose text encoder says what the empty sentence is.
        size: samples per batch.
        dropout: how often conditions are absent.
        photo: how often a part of the picture is given.
        windows: how often a sample is a window of the picture at twice the size.
        window_levels: levels of noise that windows have, from 0 on.
        seed: of the batch order and all draws; batch `step` is always the same.
    """

    def __init__(
        self,
        cache: Path,
        clip: StudioCLIP,
        size: int,
        dropout: Dropout,
        seed: int = 0,
        photo: PhotoMode = PhotoMode(),
        windows: float = 0.4,
        window_levels: float = 0.6,
    ):
        self.fields = {p.stem: np.load(p, mmap_mode="r") for p in sorted(cache.glob("*.npy"))}
        self.size, self.dropout, self.photo, self.seed = size, dropout, photo, seed
        self.windows, self.window_levels = windows, window_levels
        self.count = len(self.fields["latents"])
        with torch.no_grad():
            self.empty = clip.text_encoder(token_ids(clip.tokenizer, [""]))[0]

    def batch(self, step: int) -> dict[str, Tensor]:
        """Batch number `step`: latents (B, C, h, w), noise, levels (B,), words (B, 77, X) and all conditions."""
        rng = np.random.default_rng([self.seed, step])
        rows = np.sort(rng.choice(self.count, self.size, replace=self.count < self.size))
        window = rng.random(self.size) < self.windows
        take = self._take(rows, window)
        each = torch.arange(self.size)
        selfie = torch.from_numpy(rng.integers(2, size=self.size))
        caption = torch.from_numpy(rng.integers(4, size=self.size))
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        # stratified levels: every batch covers the schedule evenly
        uniform = (torch.arange(self.size) + torch.rand(self.size, generator=generator)) / self.size
        regions = self._regions(take["layout"], take["garment_labels"])
        level = uniform[torch.randperm(self.size, generator=generator)]
        level = torch.where(torch.from_numpy(window), self.window_levels * level, level)
        return self._as_photos(
            rng,
            {
                "latents": take["latents"].float(),
                "noise": torch.randn(take["latents"].shape, generator=generator),
                "level": level,
                "start": self._start(take, window, level),
                "face_draft": take["face_drafts"][each, selfie].float(),
                "figure_draft": take["figure_draft"].float(),
                "detail": take["detail"].float(),
                "draft": take["draft"].float(),
                "flats": take["flats"].float(),
                "face_embedding": take["face_embedding"][each, selfie].float(),
                "face_states": take["face_states"][each, selfie].float(),
                "flat_states": take["flat_states"].float(),
                "skeleton": take["skeleton"].permute(0, 3, 1, 2).float() / 255,
                "palette": _palette(take["layout"].numpy()),
                "masks": take["masks"].float(),
                "words": self._words(take["words"][each, caption].float(), rng),
                "empty": self.empty,
                "with_reference": torch.tensor(rng.random() < 1 / 3),
                **regions,
                **self._switches(rng),
            },
        )

    def _take(self, rows: np.ndarray, window: np.ndarray) -> dict[str, Tensor]:
        """Fields of some rows; of those that are windows, the window's own."""
        found = {}
        for name, field in self.fields.items():
            if name.startswith(WINDOW):
                continue
            values = np.array(field[rows])
            if f"{WINDOW}{name}" in self.fields:
                values[window] = self.fields[f"{WINDOW}{name}"][rows[window]]
            found[name] = torch.from_numpy(values)
        return found

    @staticmethod
    def _start(take: dict[str, Tensor], window: np.ndarray, level: Tensor) -> Tensor:
        """On what the noise lies: a window's start is the enlarged picture that a first stage leaves."""
        latents = take["latents"].float()
        share = ((level - COARSE_FROM) / (COARSE_TO - COARSE_FROM)).clamp(0, 1) * torch.from_numpy(window)
        return latents + share.view(-1, 1, 1, 1) * (take["coarse"].float() - latents)

    def _words(self, states: Tensor, rng: np.random.Generator) -> Tensor:
        silent = torch.from_numpy(rng.random(self.size) < self.dropout.words)
        return torch.where(silent[:, None, None], self.empty, states)

    def _regions(self, layout: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Soft regions of the face (B, 1, h, w) and of the upper and lower garment (B, 2, h, w) on the latent grid."""
        size = self.fields["latents"].shape[2:]
        face = _labelled(layout, FACE_LABELS)
        garments = layout[:, None] == labels[:, :, None, None]
        return {
            "face_region": F.adaptive_avg_pool2d(face, size),
            "garment_region": F.adaptive_avg_pool2d(garments.float(), size),
            "others_region": F.adaptive_avg_pool2d(_labelled(layout, OTHERS), size),
            "figure_region": F.adaptive_avg_pool2d(_labelled(layout, FIGURE_LABELS), size),
        }

    def _as_photos(self, rng: np.random.Generator, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The batch with `photo_region` (B, 1, h, w), 1 where the picture is given; what is there has no condition."""

        def chosen(probability: float, *shape: int) -> Tensor:
            return torch.from_numpy(rng.random((self.size, *shape)) < probability)

        photo, garments = chosen(self.photo.share, 1), chosen(self.photo.garment, 2)
        face = chosen(self.photo.face, 1) | ~garments.any(1, keepdim=True)  # something is drawn anew
        skin = face | chosen(self.photo.skin, 1)
        limbs = batch["masks"][:, [LEFT_LEG, RIGHT_LEG, LEFT_ARM, RIGHT_ARM]].sum(1, keepdim=True)
        parts = torch.cat([batch["face_region"], limbs, batch["garment_region"]], dim=1)
        anew = parts * torch.cat([face, skin, garments], dim=1)[:, :, None, None]
        region = photo[:, :, None, None] & ~redrawn_cells(anew.amax(1, keepdim=True))
        batch["identity_on"] = batch["identity_on"] * (face | ~photo)[:, 0]
        batch["garment_on"] = batch["garment_on"] * (garments | ~photo)
        batch["others_on"], batch["figure_on"] = (batch[name] * ~photo[:, 0] for name in ("others_on", "figure_on"))
        return batch | {"photo_region": region.float()}

    def _switches(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Which conditions are there: 1 or 0 per sample."""

        def on(probability: float, *shape: int) -> Tensor:
            return torch.from_numpy((rng.random((self.size, *shape)) >= probability).astype(np.float32))

        return {
            "identity_on": on(self.dropout.identity),
            "garment_on": on(self.dropout.garment, 2),
            "others_on": on(self.dropout.others),
            "figure_on": on(self.dropout.figure),
            "pose_on": on(self.dropout.pose, 1, 1, 1),
            "parsing_on": on(self.dropout.parsing, 1, 1, 1),
        }
