"""From what a user calls a model to its pipeline: bundled, a folder, or a full-size profile with all its parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import nn

from twinset.adapters.weights import open_weights
from twinset.compliance.moderation import Moderator
from twinset.errors import InputError
from twinset.models.hub.download import Announce
from twinset.models.hub.parts import Profile
from twinset.models.hub.profiles import ON_HUB
from twinset.pipelines.denoising.schedulers import SchedulerName
from twinset.pipelines.families.photo import PhotoBackend
from twinset.pipelines.families.photo_pose import PhotoReader
from twinset.pipelines.joint import JointPipeline
from twinset.pipelines.joint_pass import JointPass
from twinset.pipelines.joint_xl import JointXLPipeline
from twinset.pipelines.loading.assembly import Parts, load_parts
from twinset.pipelines.loading.own_base import OwnBase, own_base
from twinset.pipelines.loading.parts_on_demand import PartsOnDemand, require_cached
from twinset.pipelines.loading.placement import DevicePlacement, choose_placement, put_on_device
from twinset.pipelines.loading.pretrained import INDEX, read_index
from twinset.pipelines.loading.single_file import read_single_file

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
    announce: Announce | None = None,
    device: str | None = None,
    memory: str | None = None,
    parts: Sequence[str] = (),
) -> JointPass:
    """The pipeline of a model, on the GPU where there is one.

    Args:
        model: "studio", "sd15", "sdxl", a folder that `save_pretrained` or diffusers wrote, or a `.safetensors`
            checkpoint of Stable Diffusion 1.5 or XL.
        commercial: take parts that may be used commercially, or refuse.
        offline: use what is here only.
        endpoint: the hub or a mirror of it.
        say: called with one line on what comes next.
        announce: called with what will be downloaded, before the first byte, where anything is.
        device, memory: as of `twinset.pipelines.loading.placement.choose_placement`.
        parts: of a profile, beside its base; all that are not optional when empty.

    Raises:
        InputError: there is no such model, or a part is missing, damaged or not allowed; the line names the remedy.
    """
    if model in ON_HUB:
        profile, where = ON_HUB[model], choose_placement(ON_HUB[model].family, device, memory)
        loaded = load_parts(
            profile,
            dtype=where.dtype,
            names=[name for name in parts if any(part.name == name for part in profile.parts)],
            commercial=commercial,
            offline=offline,
            endpoint=endpoint,
            progress=say,
            announce=announce,
        )
        return assembled(profile, loaded, where, commercial)
    if commercial and model != "studio":
        raise InputError(f"model {model!r} states no licence; with --commercial use studio, {', '.join(ON_HUB)}")
    base = None if model == "studio" else own_base(model)
    if base is not None:
        return around(base, ON_HUB[base.family], choose_placement(base.family, device, memory))
    return put_on_device(_from_folder(model), choose_placement("studio", device, memory))


def assembled(profile: Profile, parts: Parts, where: DevicePlacement, commercial: bool = False) -> JointPass:
    """A full-size pipeline of a profile's parts, adapters fitted in; `commercial` as of `load_pipeline`."""
    pipe: Any = FAMILIES[profile.family].from_pretrained(
        parts.base,
        vae=parts.vae,
        controlnet=parts.pose_controlnet,
        image_encoder=parts.image_encoder,
        feature_extractor=None,
        variant=parts.variant,
        dtype=where.dtype,
        use_safetensors=True,
        local_files_only=True,
        default_steps=profile.steps,
        default_guidance=profile.guidance,
        **({"safety_checker": None} if profile.family == "sd15" else {"add_watermarker": False}),
    )
    put_on_device(pipe, where)
    for name, path in parts.adapters.items():
        pipe.load_adapter(path, name)
    reader, scheduler = PhotoReader(profile, commercial), cast("SchedulerName | None", profile.scheduler)
    pipe.backend = PhotoBackend(pipe, profile.size, parts.recogniser, parts.detector, reader, scheduler)
    pipe.revision, pipe.licences = parts.revision, dict(parts.licences)
    return pipe


def around(base: OwnBase, profile: Profile, where: DevicePlacement) -> JointPass:
    """The pipeline of a base of the user's own; parts of its family's profile come in as requests need them.

    Raises:
        InputError: the base is damaged, or lacks a VAE, and the profile's is not here.
    """
    model, given, files = str(base.path), {"default_steps": profile.steps, "default_guidance": profile.guidance}, {}
    given |= {"add_watermarker": False} if base.family == "sdxl" else {}
    if "vae" in base.absent:
        require_cached(profile, ["vae"], f"model {model!r} has no VAE of its own:")
        parts = load_parts(profile, dtype=where.dtype, names=["vae"], base=False, offline=True)
        given, files = given | {"vae": parts.vae}, parts.files

    pipe = _checked(model, lambda: base.weights, lambda: _read_base(base, where.dtype, given))
    put_on_device(pipe, where)
    if getattr(pipe, "safety_checker", None) is not None:  # as the request's level of safety has it, not always
        pipe.moderator = Moderator(pipe.safety_checker, pipe.feature_extractor)
        pipe.register_modules(safety_checker=None)
    pipe.parts_on_demand = PartsOnDemand(pipe, profile, model, base.revision(), files, where)
    return pipe


def _read_base(base: OwnBase, dtype: torch.dtype, given: dict[str, Any]) -> Any:
    family = FAMILIES[base.family]
    if base.is_file:
        return read_single_file(family, base.path, base.family, dtype, **given)
    options = {"variant": base.variant, "use_safetensors": True, "local_files_only": True}
    return family.from_pretrained(base.path, dtype=dtype, **options, **dict.fromkeys(base.absent), **given)


def _from_folder(model: str) -> Any:
    """A bundled or trained model's folder."""
    return _checked(
        model, lambda: sorted(Path(model).rglob("*.safetensors")), lambda: family_of(model).from_pretrained(model)
    )


def _checked(model: str, weights: Callable[[], Sequence[Path]], read: Callable[[], Any]) -> Any:
    """A pipeline: its weight files checked before, its numbers afterwards, and that they are still the same.

    Raises:
        InputError: there is no such folder, or something in it is damaged, unsafe or was exchanged meanwhile.
    """
    seen = _states(weights())
    for path in seen:
        open_weights(path)  # stricter than the library that reads them next
    usual = torch.get_default_dtype()
    try:
        pipe = read()
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
    if _states(weights()) != seen:
        raise InputError(f"model {model!r} changed while it was loaded; leave it unchanged and load it again")
    return pipe


def _states(paths: Sequence[Path]) -> dict[Path, tuple[int, int, int]]:
    """Inode, bytes and time of files, which change when one is exchanged."""
    found = {path: path.stat() for path in paths}
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
