"""The autoencoder of the bundled model: diffusers' AutoencoderKL working on patches, with a linear short cut."""

from __future__ import annotations

from typing import cast

import torch
from diffusers import AutoencoderKL, ModelMixin
from diffusers.configuration_utils import FrozenDict, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput
from torch import Tensor, nn
from torch.nn import functional as F

# diffusers loads a part through the ModelMixin that it finds beside it
__all__ = [
    "ModelMixin",
    "PatchAutoencoderKL",
    "decode_latents",
    "encode_picture",
]


class PatchAutoencoderKL(AutoencoderKL):
    """AutoencoderKL whose convolutions see `patch`×`patch` pixel patches, beside a linear (PCA) path over whole cells.

    Why: a plain AutoencoderKL spends most of its time at full resolution and needs days to leave the blur. Folding
    patches into channels makes a step about five times cheaper, and the linear path, set by `start_linear` from the
    principal components of real patches, is a usable autoencoder before the first step.

    The interface is AutoencoderKL's: `encode(x).latent_dist`, `decode(z).sample`, `config.scaling_factor`,
    tiling, slicing, `save_pretrained`. Pictures are (B, 3, H, W) in [-1, 1], H and W divisible
    by `factor`; latents (B, latent_channels, H / factor, W / factor).
    """

    @register_to_config
    def __init__(
        self,
        patch: int = 4,
        block_out_channels: tuple[int, ...] = (64, 64, 64, 128),
        latent_channels: int = 16,
        layers_per_block: int = 1,
        norm_num_groups: int = 16,
        scaling_factor: float = 1.0,
    ):
        own = dict(self.config)
        # The first log2(patch) halvings are the folding; diffusers reads the factor off the number of entries.
        widths = tuple(block_out_channels)[patch.bit_length() - 1 :]
        super().__init__(
            in_channels=3 * patch**2,
            out_channels=3 * patch**2,
            down_block_types=("DownEncoderBlock2D",) * len(widths),  # type: ignore[arg-type]
            up_block_types=("UpDecoderBlock2D",) * len(widths),  # type: ignore[arg-type]
            block_out_channels=widths,  # type: ignore[arg-type]
            layers_per_block=layers_per_block,
            latent_channels=latent_channels,
            norm_num_groups=norm_num_groups,
            scaling_factor=scaling_factor,
            mid_block_add_attention=False,
        )
        self._internal_dict = FrozenDict(own)  # the file says how this class is made, not its parent
        self.patch = patch
        self.factor = patch * 2 ** (len(widths) - 1)
        cell = 3 * self.factor**2
        self.linear_encoder = nn.Conv2d(cell, latent_channels, 1)
        self.linear_decoder = nn.Conv2d(latent_channels, cell, 1)

    def _encode(self, x: Tensor) -> Tensor:
        moments = super()._encode(F.pixel_unshuffle(x, self.patch))
        mean, log_variance = moments.chunk(2, dim=1)
        return torch.cat([mean + self.linear_encoder(F.pixel_unshuffle(x, self.factor)), log_variance], dim=1)

    def _decode(self, z: Tensor, return_dict: bool = True):
        detail = F.pixel_shuffle(
            self.decoder(z if self.post_quant_conv is None else self.post_quant_conv(z)), self.patch
        )
        sample = detail + F.pixel_shuffle(self.linear_decoder(z), self.factor)
        return DecoderOutput(sample=sample) if return_dict else (sample,)

    @torch.no_grad()
    def start_linear(self, pictures: Tensor) -> None:
        """Set the linear path to the whitened principal components of `pictures` (B, 3, H, W) and silence the rest."""
        cells = F.pixel_unshuffle(pictures.float(), self.factor).permute(0, 2, 3, 1).flatten(0, 2)
        mean = cells.mean(0)
        values, vectors = torch.linalg.eigh(torch.cov((cells - mean).T))
        k = self.config["latent_channels"]
        basis, scale = vectors[:, -k:].flip(1).T, values[-k:].flip(0).clamp_min(1e-8).sqrt()[:, None]
        # Not fully whitened: the square root keeps strong components strong, so that noise hides weak ones first.
        scale = scale.sqrt() * scale.max().sqrt()
        self.linear_encoder.weight.copy_((basis / scale)[:, :, None, None])
        self.linear_encoder.bias.copy_(-(basis / scale) @ mean)
        self.linear_decoder.weight.copy_((basis * scale).T[:, :, None, None])
        self.linear_decoder.bias.copy_(mean)
        for conv in (self.encoder.conv_out, self.decoder.conv_out):
            nn.init.zeros_(conv.weight)
            nn.init.zeros_(conv.get_parameter("bias"))
        if self.quant_conv is not None:
            latent = self.config["latent_channels"]
            nn.init.constant_(self.quant_conv.bias[latent:], -6.0)


def encode_picture(vae: AutoencoderKL, pixels: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) in [-1, 1] to scaled latents (B, C, H / f, W / f): the posterior's mean, no sampling."""
    return vae.encode(pixels, return_dict=False)[0].mean * vae.config["scaling_factor"]


def decode_latents(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """Scaled latents (B, C, h, w) to pictures (B, 3, h · f, w · f), about in [-1, 1].

    In half precision a VAE that is known to overflow (`force_upcast`: SDXL's own) decodes in float32, and so does any
    other whose pictures come out not finite.

    Raises:
        FloatingPointError: the pictures are not finite in float32 either.
    """
    half = vae.dtype == torch.float16
    if not (half and vae.config["force_upcast"]):
        pixels = _decode(vae, latents.to(vae.dtype))
        if torch.isfinite(pixels).all():
            return pixels
        if not half:
            raise FloatingPointError(f"the VAE's pictures are not finite in {vae.dtype}; the latents are damaged")
    cast(nn.Module, vae).to(torch.float32)
    try:
        pixels = _decode(vae, latents.float())
    finally:
        cast(nn.Module, vae).to(torch.float16)
    if not torch.isfinite(pixels).all():
        raise FloatingPointError("the VAE's pictures are not finite, in float32 either; the latents are damaged")
    return pixels.to(latents.dtype)


def _decode(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    return vae.decode(latents / vae.config["scaling_factor"], return_dict=False)[0]
