"""CLIP-IQA: how good a picture looks, asked of a CLIP in pairs of opposite words."""

from __future__ import annotations

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
        clip: A CLIP that was trained with these pairs (`twinset.training.clip`).
        picture: uint8 (H, W, 3).

    Returns:
        Name of the pair → score from 0 (bad) to 1 (good).
    """
    image = clip.encode_image(torch.from_numpy(np.array(picture))[None])
    texts = clip.encode_text([word for pair in ANTONYMS.values() for word in pair])
    logits = (clip.logit_scale.exp() * image @ texts.T).reshape(len(ANTONYMS), 2)
    scores = logits.float().softmax(dim=1)[:, 0].tolist()
    return dict(zip(ANTONYMS, scores, strict=True))
