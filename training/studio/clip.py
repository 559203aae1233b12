"""Trains the small CLIP: pictures and flat garments against captions, attributes, faces, and spoiled pictures.

On one CPU core, about ten minutes:

    python -m twinset.training.mannequin.store --out data/train --count 20000 --split train
    OMP_NUM_THREADS=1 python -m twinset.training.studio.clip --data data/train --out runs/clip --minutes 9
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from open_clip.loss import ClipLoss
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from twinset.models.clip import GARMENT_SENTENCES, PATCH, StudioCLIP, letterbox, token_ids
from twinset.scoring.iqa import ANTONYMS
from twinset.training.core.command_line import options_from_command_line
from twinset.training.mannequin.attributes import ATTRIBUTES
from twinset.training.mannequin.spec import LATER_UPPERS
from twinset.training.mannequin.store import load_store
from twinset.training.studio.clip_words import garment_caption, mentioned_attributes, shortened
from twinset.training.studio.options import NetworkTask, StudioOptions
from twinset.training.studio.spoil import SPOILS, VERDICTS, spoil

#: What a garment's flat picture is recognised by; pattern and logo are known of upper garments only.
GARMENT_HEADS = {
    "kind": (*GARMENT_SENTENCES, *LATER_UPPERS),
    "colour": ATTRIBUTES["upper_colour"],
    "pattern": ATTRIBUTES["upper_pattern"],
    "logo": ATTRIBUTES["logo"],
}
FIELDS = ("picture", "captions", "attributes", "flats", "crops", "identity_vector")
#: Class index that cross-entropy passes over.
UNKNOWN = -100


class ClipOptions(StudioOptions):
    """Options of the CLIP training; the model is written to `out`/clip as `StudioCLIP.save_pretrained` does.

    Attributes:
        data: Store written by `twinset.training.mannequin.store`.
        pictures: Pictures of people in a step.
        garments: Pictures of flat garments in a step.
        faces: Faces in a step. They have no text: their patches learn to tell who it is, for the identity adapter.
        spoiled: Spoiled pictures in a step, which are its first pictures once more.
        held_out: Samples at the end of the store that are only measured.
    """

    data: Path
    minutes: float = Field(default=9.0, gt=0)
    pictures: int = Field(default=32, ge=1)
    garments: int = Field(default=16, ge=1)
    faces: int = Field(default=8, ge=1)
    spoiled: int = Field(default=8, ge=1)
    learning_rate: float = Field(default=1.2e-3, gt=0, le=10)
    held_out: int = Field(default=128, ge=0)
    seed: int = Field(default=3, ge=0, lt=2**32)


class ClipWithHeads(nn.Module):
    """CLIP with linear readings of what must be in its states; only CLIP is kept."""

    def __init__(self, clip: StudioCLIP, identity: int):
        super().__init__()
        self.clip = clip
        image, text = clip.image_encoder.config.hidden_size, clip.text_encoder.config.hidden_size
        self.picture_heads = _heads(image, ATTRIBUTES)
        self.text_heads = _heads(text, ATTRIBUTES)
        self.garment_heads = _heads(image, GARMENT_HEADS)
        self.identity = nn.Linear(image, identity)
        self.patch_colour = nn.Linear(image, 3)


def _heads(width: int, classes: Mapping[str, tuple[str, ...]]) -> nn.ModuleDict:
    return nn.ModuleDict({name: nn.Linear(width, len(names)) for name, names in classes.items()})


def train_clip(options: ClipOptions) -> Path:
    """Trains and measures a CLIP; returns the folder of the model, in half precision."""
    return train_clip_on(load_store(options.data, FIELDS), options)


def train_clip_on(store: Mapping[str, np.ndarray], options: ClipOptions, clip: StudioCLIP | None = None) -> Path:
    """As `train_clip`, on a store in memory, and with a CLIP of other sizes if one is given."""
    torch.manual_seed(options.seed)
    clip = clip or StudioCLIP.new()
    # fused attention has no fast bfloat16 gradient on CPUs: written out it is twice as fast
    clip.text_encoder.set_attn_implementation("eager")
    clip.image_encoder.set_attn_implementation("eager")
    count = len(store["picture"])
    train_count = max(1, count - options.held_out)
    model = ClipWithHeads(clip, store["identity_vector"].shape[1])
    antonyms = token_ids(clip.tokenizer, [word for pair in ANTONYMS.values() for word in pair])

    def batch_fn(step: int) -> dict[str, Tensor]:
        return draw_captioned(store, train_count, options, clip, np.random.default_rng((options.seed, step)))

    def loss_fn(model: ClipWithHeads, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        return clip_losses(model, batch, antonyms)

    def measured() -> dict[str, float]:
        return measure_clip(clip, store, np.arange(train_count, count)) if count > train_count else {}

    loop = options.loop(warmup=50, weight_decay=0.02, betas=(0.9, 0.98), preview_every=300)
    return NetworkTask(clip, model, batch_fn, loss_fn, measured).train(loop, options.out / "clip")


def draw_captioned(
    store: Mapping[str, np.ndarray], train_count: int, options: ClipOptions, clip: StudioCLIP, rng: np.random.Generator
) -> dict[str, Tensor]:
    """Draws pictures with a caption each, garments with a caption each, faces, and spoiled pictures."""
    rows = rng.integers(train_count, size=options.pictures)
    classes = store["attributes"][rows].astype(np.int64)
    column = int(rng.integers(4))  # one wording per step: English steps are then short and fast
    texts = [shortened(str(text), clip.tokenizer, rng) for text in store["captions"][rows, column]]
    mentioned = np.array(
        [mentioned_attributes(text, values, column) for text, values in zip(texts, classes, strict=True)]
    )
    worn, slots = rng.integers(train_count, size=options.garments), rng.integers(2, size=options.garments)
    slots[store["attributes"][worn, _LOWER] == 0] = 0  # dresses come without a lower garment
    labels = [garment_classes(values, slot) for values, slot in zip(store["attributes"][worn], slots, strict=True)]
    texts += [garment_caption(values, GARMENT_HEADS, column % 2 == 1, rng) for values in labels]
    ids = token_ids(clip.tokenizer, texts)
    faces, views = rng.integers(train_count, size=options.faces), rng.integers(2, size=options.faces)
    ways = rng.integers(len(SPOILS), size=options.spoiled)
    bad = [spoil(picture, SPOILS[way], rng) for picture, way in zip(store["picture"][rows], ways, strict=False)]
    groups = store["picture"][rows], store["flats"][worn, slots], store["crops"][faces, views], np.array(bad)
    return {
        "pixels": torch.cat([letterbox(torch.from_numpy(np.ascontiguousarray(group))) for group in groups]),
        "sizes": torch.tensor([len(group) for group in groups]),
        "ids": ids[:, : int((ids == ids[0, -1]).int().argmax(1).max()) + 1],
        "classes": torch.from_numpy(classes),
        "mentioned": torch.from_numpy(np.where(mentioned, classes, UNKNOWN)),
        "garments": torch.tensor(labels),
        "identity": torch.from_numpy(store["identity_vector"][faces].astype(np.float32)),
        "verdicts": torch.from_numpy(np.concatenate([np.zeros_like(VERDICTS[ways]), VERDICTS[ways]])),
    }


_LOWER = list(ATTRIBUTES).index("lower_kind")


def garment_classes(values: np.ndarray, slot: int) -> list[int]:
    """A sample's attributes → the classes of GARMENT_HEADS of its upper (slot 0) or lower (1) garment."""
    index = dict(zip(ATTRIBUTES, (int(v) for v in values), strict=True))
    name = "lower" if slot else "upper"
    kind = GARMENT_HEADS["kind"].index(ATTRIBUTES[f"{name}_kind"][index[f"{name}_kind"]])
    colour = GARMENT_HEADS["colour"].index(ATTRIBUTES[f"{name}_colour"][index[f"{name}_colour"]])
    return [kind, colour, UNKNOWN, UNKNOWN] if slot else [kind, colour, index["upper_pattern"], index["logo"]]


def clip_losses(
    model: ClipWithHeads, batch: Mapping[str, Tensor], antonyms: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """The sum of CLIP's own loss and the auxiliary ones, and each of them by name."""
    clip, sizes = model.clip, batch["sizes"].tolist()
    image = clip.image_encoder(batch["pixels"], output_hidden_states=True)
    patches = image.hidden_states[-2][:, 1:].float()  # what the adapters read
    embeddings = F.normalize(image.image_embeds.float(), dim=1).split(sizes)
    pooled = image.last_hidden_state[:, 0].float().split(sizes)
    text = clip.text_encoder(batch["ids"]).pooler_output.float()
    scale = clip.logit_scale.exp().clamp(max=100)
    matched = torch.cat(embeddings[:2])
    losses: dict[str, Tensor] = {"clip": ClipLoss()(matched, clip.text_embedding(text).float(), scale)}
    losses["picture"] = _classification(model.picture_heads, pooled[0], batch["classes"])
    losses["text"] = _classification(model.text_heads, text[: sizes[0]], batch["mentioned"])
    losses["garment"] = _classification(model.garment_heads, pooled[1], batch["garments"])
    who = model.identity(patches.split(sizes)[2].mean(1)).float()
    losses["identity"] = F.mse_loss(who, batch["identity"])
    colour = F.avg_pool2d(batch["pixels"], PATCH).flatten(2).transpose(1, 2)
    losses["colour"] = F.mse_loss(model.patch_colour(patches).float(), colour)
    words = clip.text_embedding(clip.text_encoder(antonyms.to(text.device)).pooler_output).float()
    judged = torch.cat([embeddings[0][: sizes[3]], embeddings[3]])
    verdict = (scale * judged @ words.T).unflatten(1, (-1, 2)).transpose(1, 2)  # (B, good/bad, pair)
    losses["iqa"] = F.cross_entropy(verdict, batch["verdicts"], ignore_index=UNKNOWN)
    return torch.stack(list(losses.values())).sum(), losses


def _classification(heads: nn.ModuleDict, states: Tensor, classes: Tensor) -> Tensor:
    """Mean cross-entropy over the heads, each divided by that of guessing, so that all start at 1."""
    losses = []
    for (_, head), labels in zip(heads.items(), classes.T, strict=True):
        logits = head(states).float()
        if (labels != UNKNOWN).any():
            losses.append(F.cross_entropy(logits, labels, ignore_index=UNKNOWN) / np.log(logits.shape[1]))
    return torch.stack(losses).mean() if losses else states.sum() * 0


@torch.no_grad()
def measure_clip(clip: StudioCLIP, store: Mapping[str, np.ndarray], rows: np.ndarray) -> dict[str, float]:
    """Measures on held-out samples.

    Returns:
        `english`, `chinese`: rank-1 of a picture's caption among 64; `garment_kind`: zero-shot accuracy on flat
        pictures; `iqa`: how often the quality score of a picture exceeds that of the same picture spoiled.
    """
    rng = np.random.default_rng(0)
    rows = rows[: max(1, len(rows) // 64) * 64]
    pictures = torch.cat([clip.encode_image(torch.from_numpy(store["picture"][part])) for part in _parts(rows)])
    figures: dict[str, Any] = {}
    for column, language in enumerate(("english", "chinese")):
        texts = [shortened(str(text), clip.tokenizer, rng) for text in store["captions"][rows, column]]
        similar = pictures @ clip.encode_text(texts).T
        blocks = [similar[k : k + 64, k : k + 64] for k in range(0, len(rows), 64)]
        hits = [block.argmax(1).cpu() == torch.arange(len(block)) for block in blocks]
        figures[language] = float(torch.cat(hits).float().mean())
    kinds = clip.encode_text(list(GARMENT_SENTENCES.values()))
    truth = np.array([garment_classes(values, 0)[0] for values in store["attributes"][rows]])
    asked = np.flatnonzero(truth < len(GARMENT_SENTENCES))  # of the later kinds there are no sentences
    flats = torch.cat([clip.encode_image(torch.from_numpy(store["flats"][part, 0])) for part in _parts(rows[asked])])
    right = (flats @ kinds.T).argmax(1).cpu() == torch.from_numpy(truth[asked])
    figures["garment_kind"] = float(right.float().mean())
    words = clip.encode_text(ANTONYMS["quality"])
    bad = np.stack([spoil(store["picture"][row], SPOILS[k % len(SPOILS)], rng) for k, row in enumerate(rows)])
    spoiled = torch.cat([clip.encode_image(torch.from_numpy(bad[part])) for part in _parts(np.arange(len(bad)))])
    better = (pictures - spoiled) @ (words[0] - words[1]) > 0
    return {**figures, "iqa": float(better.float().mean())}


def _parts(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[k : k + 64] for k in range(0, len(rows), 64)]


if __name__ == "__main__":
    print(train_clip(options_from_command_line(ClipOptions, __doc__)))
