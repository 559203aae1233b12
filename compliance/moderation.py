"""Moderation of pictures by diffusers' safety checker, where its weights were pulled."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from safetensors import SafetensorError
from transformers import CLIPImageProcessor

from twinset.errors import InputError
from twinset.models.hub.download import locate
from twinset.models.hub.parts import Part, Profile

PART = "safety_checker"
logging.getLogger(StableDiffusionSafetyChecker.__module__).setLevel(logging.ERROR)  # it tells of black pictures


class Moderator:
    """Flags pictures that come close to one of the checker's concepts of nudity.

    Args:
        checker: compares CLIP embeddings with those of the concepts (Rando et al. 2022, "Red-Teaming the Stable
            Diffusion Safety Filter", arXiv:2210.04610, describes how).
        processor: makes its inputs.
    """

    def __init__(self, checker: StableDiffusionSafetyChecker, processor: CLIPImageProcessor):
        self.checker, self.processor = checker, processor

    @classmethod
    def from_folder(cls, base: Path) -> Moderator:
        """Read `safety_checker/` and `feature_extractor/` of a diffusers folder.

        Raises:
            InputError: a file is damaged or of another network.
        """
        try:
            half = (base / PART / "model.fp16.safetensors").is_file()
            checker = StableDiffusionSafetyChecker.from_pretrained(
                base / PART, variant="fp16" if half else None, use_safetensors=True, local_files_only=True,
                dtype=torch.float32,
            )  # fmt: skip
            processor = CLIPImageProcessor.from_pretrained(base / "feature_extractor", local_files_only=True)
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            told = str(error).splitlines()[0]
            raise InputError(
                f"the safety checker in {str(base)!r} does not load ({told}); "
                "replace it: twinset models pull sd15 --part safety_checker"
            ) from None
        return cls(checker, processor)

    @torch.no_grad()
    def flags(self, picture: np.ndarray) -> bool:
        """Whether a picture, uint8 (H, W, 3), should not be shown."""
        given: Any = self.processor(np.array(picture), return_tensors="pt")
        wanted = next(self.checker.parameters())
        pixels = given.pixel_values.to(wanted.device, wanted.dtype)
        _, found = self.checker(images=np.zeros((1, 8, 8, 3), np.float32), clip_input=pixels)  # it blackens these
        return bool(found[0])


def cached_moderator(profile: Profile) -> Moderator | None:
    """The checker of a profile's part `safety_checker`; None where that was not pulled."""
    part: Part = profile.part(PART)
    found = [locate(profile, part, path) for path in part.wanted]
    if not found or any(path is None for path in found):
        return None
    weights = Path(str(found[0]))
    return Moderator.from_folder(weights.parents[1])
