"""CLIP-IQA: how good a picture looks, asked of a CLIP in pairs of opposite words."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from twinset.models.clip import StudioCLIP

#: Quality → (what a good picture is called, what a bad one is called).
ANTONYMS: dict[str, tuple[str, str]] = {
    "quality": ("Good photo.", "Bad photo."),
    "sharpness": ("Sharp photo.", "Blurry photo."),
    "noisiness": ("Clean photo.", "Noisy photo."),
    "smoothness": ("Smooth photo.", "Blocky photo."),
    "colour": ("Natural colours.", "Distorted colours."),
    "contrast": ("High contrast photo.", "Low contrast photo."),
}


@torch.no_grad()
def clip_iqa(clip: StudioCLIP, picture: np.ndarray) -> dict[str, float]:
    """Scores a picture per pair of antonyms.

    Wang et al., "Exploring CLIP for Assessing the Look and Feel of Images" (AAAI 2023), eqs. 1 and 2: with s₁, s₂ the
    cosines of the picture with the good and the bad prompt, the score is e^s₁ / (e^s₁ + e^s₂), at CLIP's own logit
    scale as in the authors' code.

    Args:
        clip: A CLIP that was trained with these pairs (`twinset.training.studio.clip`).
        picture: uint8 (H, W, 3).

    Returns:
        Name of the pair → score from 0 (bad) to 1 (good).
    """
    image = clip.encode_image(torch.from_numpy(np.array(picture))[None])
    texts = clip.encode_text([word for pair in ANTONYMS.values() for word in pair])
    logits = (clip.logit_scale.exp() * image @ texts.T).reshape(len(ANTONYMS), 2)
    scores = logits.float().softmax(dim=1)[:, 0].tolist()
    return dict(zip(ANTONYMS, scores, strict=True))


RN50_FILES = ("RN50.pt", "RN50.safetensors")
"""OpenAI's weights as open_clip and CLIP's own package keep them in `~/.cache/clip`."""
RN50_HUB = ("timm/resnet50_clip.openai", ("open_clip_model.safetensors", "open_clip_pytorch_model.bin"))
"""Repository and files as newer open_clip keeps them in the Hugging Face cache."""


def find_rn50() -> Path | None:
    """OpenAI's CLIP RN50, of which the paper's figures are, where it is on this machine; nothing is downloaded."""
    from huggingface_hub import try_to_load_from_cache

    folder = Path.home() / ".cache" / "clip"
    found = [folder / name for name in RN50_FILES if (folder / name).is_file()]
    repository, names = RN50_HUB
    cached = [try_to_load_from_cache(repository, name) for name in names]
    found += [Path(path) for path in cached if isinstance(path, str)]
    return found[0] if found else None


@lru_cache(maxsize=1)
def rn50() -> OpenClipIqa | None:
    """The paper's judge, once per process; None where its weights are not here."""
    weights = find_rn50()
    return None if weights is None else OpenClipIqa.load(weights)


class OpenClipIqa:
    """CLIP-IQA by an open_clip model, as in the paper: any size of picture, no positional embedding in the pooling.

    Args:
        model: open_clip's RN50, or another of its ResNets; its positional embedding is taken out.
        tokenizer: texts to token ids.
    """

    def __init__(self, model: Any, tokenizer: Any):
        self.model, self.tokenizer = model.eval(), tokenizer
        pool = model.visual.attnpool
        # one row of zeros is added to any number of positions: section 3.2, "removing the positional embedding"
        pool.positional_embedding = torch.nn.Parameter(torch.zeros_like(pool.positional_embedding[:1]), False)
        with torch.no_grad():
            texts = model.encode_text(tokenizer([word for pair in ANTONYMS.values() for word in pair]))
        self.texts = torch.nn.functional.normalize(texts, dim=-1)

    @classmethod
    def load(cls, weights: Path, name: str = "RN50") -> OpenClipIqa:
        """Read a model's weights from a file."""
        import open_clip

        model = open_clip.create_model(f"{name}-quickgelu" if name == "RN50" else name, pretrained=str(weights))
        return cls(model, open_clip.get_tokenizer(name))

    @torch.no_grad()
    def __call__(self, picture: np.ndarray) -> dict[str, float]:
        """Name of the pair → score of a picture uint8 (H, W, 3), from 0 (bad) to 1 (good)."""
        from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255
        mean, deviation = (torch.tensor(v).view(1, 3, 1, 1) for v in (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD))
        image = torch.nn.functional.normalize(self.model.encode_image((pixels - mean) / deviation), dim=-1)
        logits = (self.model.logit_scale.exp() * image @ self.texts.T).reshape(len(ANTONYMS), 2)
        return dict(zip(ANTONYMS, logits.softmax(dim=1)[:, 0].tolist(), strict=True))
