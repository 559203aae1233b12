"""Identity adapter: an ArcFace embedding and the face crop's CLIP features become tokens and a face in its place."""

from __future__ import annotations

import numpy as np
import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from twinset.adapters.joint_attention import SiteProjections
from twinset.adapters.resampler import Resampler
from twinset.figure.face_look import face_look
from twinset.models.face_finder import warp

# ArcFace's template for 112×112 crops (insightface, `arcface_dst`): image-left eye, image-right eye, nose.
TEMPLATE = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366]], np.float64)
CROP = 112


class IdentityAdapter(ModelMixin, ConfigMixin):
    """FaceID-Plus at small size, and a canvas: the face that the embedding means, as latents in ArcFace's frame.

    Tokens: `x = MLP(id)`, `tokens = x + Resampler(x, CLIP hidden states)` (IP-Adapter-FaceID-PlusV2).
    Canvas: an MLP from the embedding and the look asked for (`twinset.figure.face_look`) to the latents of the bald,
    evenly lit face. Of hair, clothes and light the embedding knows nothing; `face_draft` lays the decoded canvas where
    the pose has the head.

    Args:
        looks: numbers of a look; 0 for adapters whose canvas is always neutral and frontal.
    """

    @register_to_config
    def __init__(
        self,
        cross_sites: dict[str, int],
        token_width: int = 128,
        tokens: int = 4,
        id_width: int = 512,
        clip_width: int = 192,
        latent_channels: int = 16,
        canvas: int = 14,
        canvas_hidden: int = 384,
        looks: int = 0,
    ):
        super().__init__()
        self.proj = nn.Sequential(
            nn.Linear(id_width, 2 * id_width), nn.GELU(), nn.Linear(2 * id_width, token_width * tokens)
        )
        self.norm = nn.LayerNorm(token_width)
        self.perceiver_resampler = Resampler(clip_width, token_width)
        self.face_decoder = nn.Sequential(
            nn.Linear(id_width + looks, canvas_hidden),
            nn.GELU(),
            nn.Linear(canvas_hidden, latent_channels * canvas**2),
        )
        self.looks = looks
        self.sites = SiteProjections(cross_sites, token_width)
        self.shape = (latent_channels, canvas, canvas)
        self.token_count = tokens

    def forward(self, embedding: Tensor, clip_states: Tensor) -> Tensor:
        """(B, 512) L2-normed embedding and (B, m, clip_width) hidden states to tokens (B, tokens, X)."""
        x = self.norm(self.proj(embedding * embedding.shape[-1] ** 0.5).unflatten(1, (self.token_count, -1)))
        return x + self.perceiver_resampler(x, clip_states)

    def face(self, embedding: Tensor, look: Tensor | None = None) -> Tensor:
        """The face's latents in ArcFace's frame.

        Args:
            embedding: (B, 512) of length 1.
            look: (B, looks) or (1, looks); None for neutral, frontal and shaven. Not used by a canvas without looks.

        Returns:
            (B, latent_channels, canvas, canvas)
        """
        given = embedding * embedding.shape[-1] ** 0.5
        if self.looks:
            look = torch.from_numpy(face_look()[None]) if look is None else look
            given = torch.cat([given, look.to(given).expand(len(given), -1)], 1)
        return self.face_decoder(given).unflatten(1, self.shape)


def similarity_fit(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Least-squares similarity (2, 3) that maps points `source` (n, 2) onto `target` (Umeyama 1991)."""
    from skimage.transform import SimilarityTransform

    transform = SimilarityTransform.from_estimate(source, target)
    return np.asarray(transform.params[:2], np.float64)


def face_draft(canvas: np.ndarray, keypoints: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A canvas laid where a pose has the face; in pixels, since latents do not scale.

    Args:
        canvas: uint8 (112, 112, 3) in ArcFace's frame.
        keypoints: (18, 3) OpenPose keypoints; nose (0), right eye (14, at the image's left) and left eye (15) are used.
        size: (width, height) of the picture in pixels.

    Returns:
        uint8 (height, width, 3); around the canvas its edge goes on.
    """
    matrix = similarity_fit(TEMPLATE, keypoints[[14, 15, 0], :2].astype(np.float64))
    return warp(canvas, matrix, size)
