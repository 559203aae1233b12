"""Pictures cut to their buckets and encoded once, the part that is the same for everything that is learnt."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from twinset.errors import InputError
from twinset.models.vae import encode_picture
from twinset.pipelines.compose import backend_of
from twinset.pipelines.joint_pass import JointPass
from twinset.training.core.buckets import BucketRule, Fit, Size, fitted
from twinset.training.core.options import DenoisingOptions
from twinset.training.core.tensor_cache import TensorCache, Tensors


class PictureEncoder:
    """Cuts pictures to their buckets and encodes them.

    Args:
        pipe: the base model.
        options: of the training.
        store: where tensors are kept.
        one_frame: whether the model's ControlNets know the frame of its own people alone.
    """

    def __init__(self, pipe: JointPass, options: DenoisingOptions, store: TensorCache, one_frame: bool):
        self.pipe, self.people, self.store = pipe, backend_of(pipe), store
        side = self._side(options)
        self.one_frame = one_frame
        self.rule = (
            BucketRule(self.people.size, several=False)
            if one_frame
            else BucketRule((side, side), options.bucket_step, upscale=not options.bucket_no_upscale)
        )

    def _side(self, options: DenoisingOptions) -> int:
        """Side of a square with the pixels of a picture, px."""
        size = self.pipe.unet.config["sample_size"]
        side = size if isinstance(size, int) else max(size)
        return options.resolution or side * self.pipe.vae_scale_factor

    def fit(self, picture: np.ndarray, mask: np.ndarray | None = None, rule: BucketRule | None = None) -> Fit:
        """How a picture (H, W, 3) is brought to its bucket, around a mask (H, W) where there is one.

        Args:
            picture: uint8.
            mask: of what should stay in the frame.
            rule: in place of the training's own.
        """
        size = (picture.shape[1], picture.shape[0])
        return fitted(size, (rule or self.rule).bucket(size), mask)

    def picture_tensors(self, picture: np.ndarray, size: Size, fit: Fit) -> Tensors:
        """`latents` (C, h, w), and the `sizes` (6,) that SDXL is told (Podell et al. 2023, section 2.2).

        Args:
            picture: uint8 (H, W, 3), as it was cut.
            size: (width, height) before that, px.
            fit: how it was cut.
        """
        sizes = torch.tensor([size[1], size[0], fit.corner[1], fit.corner[0], fit.bucket[1], fit.bucket[0]])
        return {"latents": latents_of(self.pipe, picture), "sizes": sizes}


@torch.no_grad()
def latents_of(pipe: JointPass, picture: np.ndarray) -> Tensor:
    """Scaled latents (C, H / f, W / f) of a picture uint8 (H, W, 3), float32 on the CPU.

    Raises:
        InputError: the autoencoder gives what is not finite.
    """
    vae: Any = pipe.vae
    dtype = vae.dtype
    pixels = torch.from_numpy(picture).permute(2, 0, 1)[None].to(vae.device, torch.float32) / 127.5 - 1
    if dtype != torch.float32:  # SDXL's own overflows in half precision
        vae.to(torch.float32)
    latents = encode_picture(vae, pixels)[0].cpu()
    if dtype != torch.float32:
        vae.to(dtype)
    if not latents.isfinite().all():
        raise InputError("the model's VAE gives latents that are not finite; get another copy of the model")
    return latents
