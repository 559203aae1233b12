"""The part of a photo that a pass leaves as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from twinset.adapters.condition import Condition
from twinset.adapters.regions import redrawn_cells


def photo_condition(latents: Tensor, redrawn: np.ndarray) -> Condition:
    """The condition "this photo, except here".

    Args:
        latents: (1, C, h, w) of the photo.
        redrawn: bool (H, W) of the pixels that may change.
    """
    changed = torch.from_numpy(redrawn)[None, None].float()
    stays = ~redrawn_cells(F.adaptive_avg_pool2d(changed, (latents.shape[2], latents.shape[3])))
    return Condition("photo", None, stays.to(latents), None, latents)


@dataclass(frozen=True)
class PreservedRegion:
    """The region of a photo that a pass preserves (blended latent diffusion, Avrahami et al. 2022).

    Attributes:
        clean: (1, C, h, w) latents of the photo.
        region: (1, 1, h, w), 1 where it stays.
        noise: (N, C, h, w) the noise that the pass starts from.
        timesteps: (T,) of the pass.
        scheduler: whose noise it is.
    """

    clean: Tensor
    region: Tensor
    noise: Tensor
    timesteps: Tensor
    scheduler: Any

    @classmethod
    def of(cls, photo: Condition, noise: Tensor, timesteps: Tensor, scheduler: Any) -> PreservedRegion:
        """A condition of kind "photo" in a pass from `noise`.

        Raises:
            ValueError: the photo has no latents.
        """
        if photo.draft is None:
            raise ValueError("a photo needs its latents as `draft`; make it with pipe.photo(picture, redrawn)")
        region = photo.mask((noise.shape[2], noise.shape[3])).to(noise)
        return cls(photo.draft.to(noise), region, noise, timesteps, scheduler)

    def blend(self, latents: Tensor, step: int) -> Tensor:
        """Latents (N, C, h, w) before step `step`, the photo at the same noise where it stays; clean after the last."""
        known = self.clean
        if step < len(self.timesteps):
            known = self.scheduler.add_noise(self.clean, self.noise, self.timesteps[step : step + 1])
        return self.region * known + (1 - self.region) * latents
