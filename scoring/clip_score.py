"""What CLIP says of a picture beside another, or beside words."""

from __future__ import annotations

import numpy as np
import torch

from twinset.models.clip import StudioCLIP

SCALE = 2.5
"""w of CLIPScore, which spreads its values to about 0 to 1."""


@torch.no_grad()
def clip_score(clip: StudioCLIP, picture: np.ndarray, words: str) -> float:
    """CLIPScore: w · max(cos(picture, words), 0) (Hessel et al. 2021, eq. 1).

    Args:
        clip: Image and text encoder in one space.
        picture: uint8 (H, W, 3).
        words: Of which the text encoder reads what fits.
    """
    image, text = _encoded(clip, picture), clip.encode_text([words])
    return SCALE * max(float((image @ text.T).item()), 0.0)


@torch.no_grad()
def clip_similarity(clip: StudioCLIP, a: np.ndarray, b: np.ndarray) -> float:
    """Cosine of two pictures uint8 (H, W, 3) in CLIP's space."""
    return float((_encoded(clip, a) @ _encoded(clip, b).T).item())


def _encoded(clip: StudioCLIP, picture: np.ndarray) -> torch.Tensor:
    return clip.encode_image(torch.from_numpy(np.array(picture))[None])
