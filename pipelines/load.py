"""From what a user calls a model to its pipeline: bundled, a folder, or a full-size profile with all its parts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from twinset.adapters.weights import open_weights
from twinset.errors import InputError
from twinset.models.hub.parts import Profile
from twinset.models.hub.profiles import ON_HUB
from twinset.pipelines.assembly import Parts, load_parts
from twinset.pipelines.families.photo import RealPeople
from twinset.pipelines.families.photo_pose import PhotoReader
from twinset.pipelines.joint import JointPipeline
from twinset.pipelines.joint_pass import JointPass
from twinset.pipelines.joint_xl import JointXLPipeline
from twinset.pipelines.pretrained import INDEX, read_index

UNLOADABLE = (OSError, ValueError, TypeError, KeyError, AttributeError, ImportError, RuntimeError)
"""What the libraries raise where a folder's files are damaged, lacking, of other shapes, or name foreign code."""
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
    return _from_folder(model).to(device)


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


def _from_folder(model: str) -> Any:
    """A folder's pipeline: its weight files checked before, its numbers afterwards, and that they are still the same.

    Raises:
        InputError: there is no such folder, or something in it is damaged, unsafe or was exchanged meanwhile.
    """
    folder = Path(model)
    seen = _weight_files(folder)
    for path in seen:
        open_weights(path)  # stricter than the library that reads them next
    usual = torch.get_default_dtype()
    try:
        pipe: Any = family_of(model).from_pretrained(model)
    except InputError:
        raise
    except (*UNLOADABLE, SafetensorError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise InputError(f"model {model!r} does not load ({reason}); save or download it again") from error
    finally:
        torch.set_default_dtype(usual)  # diffusers changes it for the process, and leaves it so when it fails
    for name, part in pipe.components.items():
        fault = _fault(part) if isinstance(part, nn.Module) else None
        if fault is not None:
            raise InputError(f"model {model!r}: its {name} {fault}; save or download it again")
    if _weight_files(folder) != seen:
        raise InputError(f"model {model!r} changed while it was loaded; leave it alone, and load it again")
    return pipe


def _weight_files(folder: Path) -> dict[Path, tuple[int, int, int]]:
    """Inode, bytes and time of every weight file, which change when one is exchanged."""
    found = {path: path.stat() for path in sorted(folder.rglob("*.safetensors"))}
    return {path: (state.st_ino, state.st_size, state.st_mtime_ns) for path, state in found.items()}


def _fault(network: nn.Module) -> str | None:
    """What makes a network unfit; None for a sound one."""
    for name, values in network.state_dict().items():
        if values.is_meta:
            return f"lacks {name!r}"
        if values.is_floating_point() and not values.isfinite().all():
            return f"holds NaN or infinity in {name!r}"
    return None


def family_of(model: str) -> type[Any]:
    """The pipeline class of a folder, told from its `model_index.json`; SD1.5's for everything else."""
    folder = Path(model)
    name = str(read_index(folder).get("_class_name", "")) if (folder / INDEX).is_file() else ""
    return JointXLPipeline if "XL" in name else JointPipeline
