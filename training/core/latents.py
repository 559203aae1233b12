"""Pictures to latents for training."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from twinset.errors import InputError
from twinset.models.vae import encode_picture
from twinset.pipelines.joint_pass import JointPass


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
