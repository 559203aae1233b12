"""The face encoder: an aligned crop → an identity embedding."""

from __future__ import annotations

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional as F


class FaceEncoder(ModelMixin, ConfigMixin):
    """A small residual network in the manner of ArcFace (Deng et al., CVPR 2019) and MobileFaceNet.

    Crops are 112×112, aligned to ArcFace's five points (`twinset.models.face_finder.align`). The last 7×7 cells are
    joined by a depthwise kernel as large as they are (MobileFaceNet's global depthwise convolution), because in an
    aligned crop every cell has its own meaning, which average pooling would wash out.
    """

    config_name = "config.json"

    @register_to_config
    def __init__(self, stem: int = 16, widths: tuple[int, ...] = (32, 64, 128), blocks: int = 2, embedding: int = 512):
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(3, stem, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(stem),
            nn.PReLU(stem),
        ]
        for before, width in zip((stem, *widths), widths, strict=False):
            layers += [ResidualBlock(before, width, stride=2)]
            layers += [ResidualBlock(width, width) for _ in range(blocks - 1)]
        self.body = nn.Sequential(*layers)
        cells = 112 // 2 ** (len(widths) + 1)
        self.pool = nn.Conv2d(widths[-1], widths[-1], cells, groups=widths[-1], bias=False)
        self.norm = nn.BatchNorm1d(widths[-1])
        self.head = nn.Linear(widths[-1], embedding, bias=False)
        self.head_norm = nn.BatchNorm1d(embedding)

    def forward(self, crops: Tensor) -> Tensor:
        """Embeds aligned crops.

        Args:
            crops: float (B, 3, 112, 112) in [-1, 1].

        Returns:
            float (B, 512), not normalised; its components have about unit variance over people.
        """
        if crops.shape[1:] != (3, 112, 112):
            raise ValueError(f"face crops have shape {tuple(crops.shape)}; expected (B, 3, 112, 112): use align()")
        return self.head_norm(self.head(self.norm(self.pool(self.body(crops)).flatten(1))))

    def embed(self, crops: Tensor) -> Tensor:
        """As `forward`, brought to length 1: the inner product of two rows is the cosine of two faces."""
        return F.normalize(self(crops), dim=1)


class ResidualBlock(nn.Module):
    """BN - conv - BN - PReLU - conv - BN beside a short cut: ArcFace's "IR" block, section 3.1 and its code."""

    def __init__(self, before: int, width: int, stride: int = 1):
        super().__init__()
        self.residual = nn.Sequential(
            nn.BatchNorm2d(before),
            # ArcFace strides in the second convolution; in the first it is four times cheaper
            nn.Conv2d(before, width, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.PReLU(width),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )
        same = before == width and stride == 1
        self.short_cut = (
            nn.Identity()
            if same
            else nn.Sequential(nn.AvgPool2d(stride), nn.Conv2d(before, width, 1, bias=False), nn.BatchNorm2d(width))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, before, H, W) to (B, width, H / stride, W / stride)."""
        return self.residual(x) + self.short_cut(x)


def crops_to_tensor(crops) -> Tensor:
    """uint8 (B, 112, 112, 3) arrays or tensors → float (B, 3, 112, 112) in [-1, 1]."""
    return torch.as_tensor(crops).permute(0, 3, 1, 2).contiguous().float() / 127.5 - 1
