"""Identity adapter: an ArcFace embedding and the face crop's CLIP features become tokens and a face in its place."""

from __future__ import annotations

import numpy as np
import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional as F

from twinset.adapters.joint_attention import SiteProjections
from twinset.adapters.resampler import Resampler

# ArcFace's template for 112×112 crops (insightface, `arcface_dst`): image-left eye, image-right eye, nose.
TEMPLATE = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366]], np.float64)
CROP = 112


class IdentityAdapter(ModelMixin, ConfigMixin):
    """FaceID-Plus at small size, and a canvas: the face that the embedding means, as latents in ArcFace's frame.

    Tokens: `x = MLP(id)`, `tokens = x + Resampler(x, CLIP hidden states)` (IP-Adapter-FaceID-PlusV2).
    Canvas: an MLP from the embedding to the latents of the neutral, frontal, evenly lit face. It knows nothing of hair,
    clothes, light or expression since the embedding does not; `place` lays it where the pose has the head.
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
    ):
        super().__init__()
        self.proj = nn.Sequential(
            nn.Linear(id_width, 2 * id_width), nn.GELU(), nn.Linear(2 * id_width, token_width * tokens)
        )
        self.norm = nn.LayerNorm(token_width)
        self.perceiver_resampler = Resampler(clip_width, token_width)
        self.face_decoder = nn.Sequential(
            nn.Linear(id_width, canvas_hidden), nn.GELU(), nn.Linear(canvas_hidden, latent_channels * canvas**2)
        )
        self.sites = SiteProjections(cross_sites, token_width)
        self.shape = (latent_channels, canvas, canvas)
        self.token_count = tokens

    def forward(self, embedding: Tensor, clip_states: Tensor) -> Tensor:
        """(B, 512) L2-normed embedding and (B, m, clip_width) hidden states to tokens (B, tokens, X)."""
        x = self.norm(self.proj(embedding * embedding.shape[-1] ** 0.5).unflatten(1, (self.token_count, -1)))
        return x + self.perceiver_resampler(x, clip_states)

    def face(self, embedding: Tensor) -> Tensor:
        """The neutral face's latents in ArcFace's frame, (B, latent_channels, canvas, canvas), from (B, 512)."""
        return self.face_decoder(embedding * embedding.shape[-1] ** 0.5).unflatten(1, self.shape)

    @staticmethod
    def place(face: Tensor, placement: Tensor, size: tuple[int, int]) -> Tensor:
        """Lay canvases (B, C, k, k) onto latent grids (h, w) by `placement` (B, 2, 3), from `face_placement`."""
        grid = F.affine_grid(placement.to(face.dtype), [len(face), face.shape[1], *size], align_corners=False)
        return F.grid_sample(face, grid, align_corners=False, padding_mode="zeros")


def similarity_fit(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Least-squares similarity (2, 3) that maps points `source` (n, 2) onto `target` (Umeyama 1991)."""
    from skimage.transform import SimilarityTransform

    transform = SimilarityTransform.from_estimate(source, target)
    return np.asarray(transform.params[:2], np.float64)


def face_placement(keypoints: np.ndarray, size: tuple[int, int] = (256, 192)) -> Tensor:
    """Where ArcFace's frame lies in a picture, as an `affine_grid` matrix (2, 3): picture [-1, 1]² → crop [-1, 1]².

    Args:
        keypoints: (18, 3) OpenPose keypoints; nose (0), right eye (14, at the image's left) and left eye (15) are used.
        size: (height, width) of the picture in pixels.
    """
    matrix = similarity_fit(keypoints[[14, 15, 0], :2].astype(np.float64), TEMPLATE)
    height, width = size
    to_pixels = np.array([[width / 2, 0, width / 2], [0, height / 2, height / 2], [0, 0, 1.0]])
    to_unit = np.array([[2 / CROP, 0, -1], [0, 2 / CROP, -1], [0, 0, 1.0]])
    full = to_unit @ np.vstack([matrix, [0, 0, 1]]) @ to_pixels
    return torch.from_numpy(full[:2]).float()
