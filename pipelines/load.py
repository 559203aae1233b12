"""From what a user calls a model to its pipeline: bundled, a folder, or a full-size profile with all its parts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from twinset.errors import InputError
from twinset.models.assembly import Parts, load_parts
from twinset.models.part import Profile
from twinset.models.profiles import ON_HUB

from .joint import JointPipeline
from .joint_pass import JointPass
from .joint_xl import JointXLPipeline
from .photo_pose import PhotoReader
from .real_people import RealPeople

FAMILIES: dict[str, type[Any]] = {"sd15": JointPipeline, "sdxl": JointXLPipeline}


def load_pipeline(
    model: str,
    *,
    commercial: bool = False,
    offline: bool = False,
    endpoint: str | None = None,
    say: Callable[[str], None] | None = None,
) -> JointPass:
    """The pipeline of a model, on the GPU where there is one.

    Args:
        model: "studio", "sd15", "sdxl", or a folder that `save_pretrained` or diffusers wrote.
        commercial: take parts that may be used commercially, or refuse.
        offline: use what is here only.
        endpoint: the hub or a mirror of it.
        say: told in one line what comes next.

    Raises:
        InputError: there is no such model, or a part is missing, damaged or not allowed; the line names the remedy.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if model in ON_HUB:
        profile, dtype = ON_HUB[model], torch.float16 if device == "cuda" else torch.float32
        parts = load_parts(
            profile, dtype=dtype, commercial=commercial, offline=offline, endpoint=endpoint, progress=say
        )
        return assembled(profile, parts, dtype, device, commercial)
    if commercial and model != "studio":
        raise InputError(f"model {model!r} states no licence; --commercial takes studio, {', '.join(ON_HUB)}")
    pipe: Any = family_of(model).from_pretrained(model)
    return pipe.to(device)


def assembled(profile: Profile, parts: Parts, dtype: torch.dtype, device: str, commercial: bool = False) -> JointPass:
    """A full-size pipeline of a profile's parts, adapters fitted in; `commercial` as of `load_pipeline`."""
    pipe: Any = (
        FAMILIES[profile.family]
        .from_pretrained(
            parts.base,
            vae=parts.vae,
            controlnet=parts.pose_controlnet,
            image_encoder=parts.image_encoder,
            feature_extractor=None,
            variant=parts.variant,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            default_steps=profile.steps,
            default_guidance=profile.guidance,
            **({"safety_checker": None} if profile.family == "sd15" else {"add_watermarker": False}),
        )
        .to(device)
    )
    for name, path in parts.adapters.items():
        pipe.load_adapter(path, name)
    pipe.draws = RealPeople(pipe, profile.size, parts.recogniser, parts.detector, PhotoReader(profile, commercial))
    pipe.revision = parts.revision
    return pipe


def family_of(model: str) -> type[Any]:
    """The pipeline class of a folder, told from its `model_index.json`; SD1.5's for everything else."""
    index = Path(model) / "model_index.json"
    name = json.loads(index.read_text(encoding="utf-8")).get("_class_name", "") if index.is_file() else ""
    return JointXLPipeline if "XL" in name else JointPipeline
