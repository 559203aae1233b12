"""From a profile to the networks that a full-size pipeline needs: pulled, hashed, bound to each other and loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, ControlNetModel, ControlNetUnionModel
from safetensors import SafetensorError
from transformers import CLIPVisionModelWithProjection

from twinset.errors import InputError
from twinset.models.hub.download import Announce, FileReport, PartReport, pull_parts
from twinset.models.hub.parts import Part, Profile
from twinset.models.hub.profiles import clean_names, require_commercial
from twinset.perception.faces.onnx import Detector, Recogniser
from twinset.perception.people.parsing import Parser, segformer_parser

#: Parts by what becomes of them; others (parser, pose, person detector) are loaded by those who use them.
NETWORKS: dict[str, Any] = {
    "vae": AutoencoderKL,
    "pose_controlnet": ControlNetModel,
    "parsing_controlnet": ControlNetModel,
    "union_controlnet": ControlNetUnionModel,
    "instantid_controlnet": ControlNetModel,
    "image_encoder": CLIPVisionModelWithProjection,
}
ADAPTERS = (
    "identity_adapter", "faceid_adapter", "face_adapter", "instantid_adapter",
    "garment_adapter", "imagdressing_adapter", "magic_clothing_adapter", "storymaker_adapter",
)  # fmt: skip
LORAS = ("fast_lora",)
RECOGNISERS = ("buffalo_l", "antelopev2", "auraface")
DETECTORS = ("buffalo_l_detector", "antelopev2_detector", "yunet")
ASSEMBLED = ("base", *NETWORKS, *ADAPTERS, *LORAS, *RECOGNISERS, *DETECTORS)


@dataclass(frozen=True)
class Parts:
    """The parts of a family as a pipeline takes them; None where the profile, or the choice, has none.

    Attributes:
        base: diffusers folder with UNet, text encoders, tokenizers and scheduler. It holds no VAE, safety checker or
            feature extractor: give `from_pretrained` the VAE from here, and None for the others. None where the parts
            are for another base.
        networks: by part name (`NETWORKS`): the VAE in place of the base's own, ControlNets, CLIP's image encoder.
        adapters: weight file by part name (`ADAPTERS`).
        loras: LoRA file by part name (`LORAS`).
        recogniser: the one that the identity adapter was trained with.
        detector: finds the faces that the recogniser measures.
        notes: one line each, of what a user of these parts must know.
        variant: of the base's weight files, as `from_pretrained` takes it: "fp16" or None.
        files: "part/path" of each file of all parts to its SHA-256.
        licences: of each part, by its name.
    """

    base: Path | None
    networks: Mapping[str, Any]
    adapters: Mapping[str, Path]
    recogniser: Recogniser | None = None
    detector: Detector | None = None
    notes: tuple[str, ...] = ()
    loras: Mapping[str, Path] = field(default_factory=dict)
    variant: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    licences: Mapping[str, str] = field(default_factory=dict)


def load_parts(
    profile: Profile,
    *,
    dtype: torch.dtype,
    names: Sequence[str] = (),
    beside: Sequence[str] = (),
    base: bool = True,
    commercial: bool = False,
    offline: bool = False,
    endpoint: str | None = None,
    progress: Callable[[str], None] | None = None,
    announce: Announce | None = None,
) -> Parts:
    """Pulls what is missing of a profile, compares every file with its hash, and loads the networks on the CPU.

    Args:
        profile: of the family "sd15" or "sdxl".
        dtype: of the networks; graphs of ONNX keep theirs.
        names: parts to take beside the base, optional ones too; all that are not optional when empty.
        beside: parts that were loaded before, to which these may be bound.
        base: take the profile's own base; without it the named parts alone are for another one.
        commercial: take clean substitutes for parts that may not be used commercially.
        offline: use the cache only.
        endpoint: the hub or a mirror of it, as of `pull_parts`.
        progress: called with one line on what comes next.
        announce: called with what will be downloaded, as of `pull_parts`.

    Returns:
        Parts.

    Raises:
        InputError: a part is unknown, missing, damaged, another file, does not load, has no clean substitute, or is an
            adapter without its recogniser; the line names the remedy.
    """
    wanted, notes = choose(profile, names, commercial, base)
    recogniser = _bound_recogniser(wanted, beside)
    say = progress or (lambda line: None)
    reports = _pull_all(profile, wanted, offline, endpoint, say, announce)
    say("loading the networks")
    networks = {
        part.name: _load_network(profile, reports[part.name], dtype) for part in wanted if part.name in NETWORKS
    }
    detector = next((part.name for part in wanted if part.name in DETECTORS), None)
    return Parts(
        base=_folder(reports["base"]) if base else None,
        networks=networks,
        adapters={name: _weights(reports[name])[0] for name in ADAPTERS if name in reports},
        loras={name: _weights(reports[name])[0] for name in LORAS if name in reports},
        recogniser=_load_recogniser(reports[recogniser.name]) if recogniser else None,
        detector=_load_detector(reports[detector]) if detector else None,
        notes=notes,
        variant=_variant(profile.part("base")) if base else None,
        files={f"{name}/{file.path}": str(file.sha256) for name, part in reports.items() for file in part.files},
        licences={part.name: part.licence for part in wanted},
    )


def load_parser(profile: Profile, *, offline: bool = False, endpoint: str | None = None) -> Parser:
    """Pulls and loads the part `parser`, which reads pictures given as poses; `load_parts` leaves it where it is.

    Args:
        profile: of the family "sd15" or "sdxl".
        offline: use the cache only.
        endpoint: the hub or a mirror of it, as of `pull_parts`.

    Raises:
        InputError: the profile has none, or it is missing, damaged or another network; the line names the remedy.
    """
    (report,) = pull_parts(profile, [profile.part("parser")], offline=offline, endpoint=endpoint)
    return segformer_parser(_weights(report)[0].parent)


def choose(
    profile: Profile, names: Sequence[str], commercial: bool, base: bool = True
) -> tuple[tuple[Part, ...], tuple[str, ...]]:
    """The parts to assemble and notes on them; for commercial use with clean substitutes.

    Without the profile's own base (`base`) these are the parts named, and no more.

    Raises:
        InputError: a name is unknown, or a part has no clean substitute.
    """
    names = names or [part.name for part in profile.chosen()]
    taken = dict.fromkeys(["base", *names] if base else names)
    wanted = [part for part in profile.chosen([*taken]) if part.name in ASSEMBLED]
    replaced = [part for part in wanted if commercial and not part.commercial]
    require_commercial(profile, [part for part in replaced if part.substitute is None])
    chosen = profile.chosen(clean_names(profile, wanted)) if replaced else tuple(wanted)
    notes = [f"{part.name}: {part.note}" for part in chosen if part.note]
    instead = [f"{part.name} is replaced by {part.substitute} for commercial use" for part in replaced]
    return chosen, (*instead, *notes)


def _bound_recogniser(parts: Sequence[Part], beside: Sequence[str] = ()) -> Part | None:
    """The one recogniser among parts, which every adapter that was trained with another one refuses."""
    names = [*(part.name for part in parts), *beside]
    for adapter in parts:
        if adapter.name in ADAPTERS and adapter.recogniser and adapter.recogniser not in names:
            raise InputError(
                f"adapter {adapter.name!r} works only with recogniser {adapter.recogniser!r}, which is not among the "
                f"parts ({', '.join(names)}); add part {adapter.recogniser!r}, or leave the adapter out"
            )
    recognisers = [part for part in parts if part.name in RECOGNISERS]
    if len(recognisers) > 1:
        raise InputError(
            f"parts {', '.join(part.name for part in recognisers)} are {len(recognisers)} recognisers, but an adapter "
            "works with its own only; keep one of them, and the adapters that belong to it"
        )
    return next(iter(recognisers), None)


def _pull_all(
    profile: Profile,
    parts: Sequence[Part],
    offline: bool,
    endpoint: str | None,
    say: Callable[[str], None],
    announce: Announce | None,
) -> dict[str, PartReport]:
    pulling = iter(pull_parts(profile, parts, offline=offline, endpoint=endpoint, announce=announce))
    reports = {}
    for number, part in enumerate(parts, 1):
        say(f"part {number} of {len(parts)}: {part.name}")
        reports[part.name] = next(pulling)
    return reports


def _weights(report: PartReport) -> tuple[Path, str]:
    """Where the weight file of a pulled part lies, and its SHA-256."""
    by_path: Mapping[str, FileReport] = {file.path: file for file in report.files}
    file = by_path[str(report.part.file)]
    return Path(str(file.local)), str(file.sha256)


def _folder(report: PartReport) -> Path:
    """The folder of a pulled diffusers folder: where its `model_index.json` lies, in the hub's cache a snapshot."""
    for file in report.files:
        if file.local and file.local.name == "model_index.json":
            return file.local.parent
    raise InputError(f"part {report.part.name!r} has no model_index.json; use a diffusers folder ({report.part.url})")


def _variant(part: Part) -> str | None:
    """ "fp16" where weight files are named so."""
    return "fp16" if any(path.endswith(".fp16.safetensors") for path in part.wanted) else None


def _load_network(profile: Profile, report: PartReport, dtype: torch.dtype) -> Any:
    part, (path, _) = report.part, _weights(report)
    network_class: Any = NETWORKS[part.name]
    usual = torch.get_default_dtype()
    try:
        network, loaded = network_class.from_pretrained(
            path.parent,
            variant=_variant(part),
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            dtype=dtype,
        )
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise _unfit(profile, part, path, reason) from error
    finally:
        torch.set_default_dtype(usual)  # diffusers changes it for the process, and leaves it so when it fails
    lacking = [*loaded["missing_keys"], *loaded["mismatched_keys"]]
    if lacking:  # they would be left random
        raise _unfit(profile, part, path, f"{len(lacking)} tensors do not fit its config.json, such as {lacking[0]!r}")
    if not all(values.isfinite().all() for values in network.state_dict().values()):
        raise _unfit(profile, part, path, f"it holds NaN or infinity as {dtype}")
    return network


def _unfit(profile: Profile, part: Part, path: Path, reason: str) -> InputError:
    return InputError(
        f"part {part.name!r}: {str(path)!r} does not load as {NETWORKS[part.name].__name__} ({reason}); "
        f"compare it with {part.url}; if it is damaged, replace it: "
        f"twinset models pull {profile.name} --part {part.name}"
    )


def _load_recogniser(report: PartReport) -> Recogniser:
    path, sha256 = _weights(report)
    return Recogniser(path, name=report.part.name, sha256=sha256)


def _load_detector(report: PartReport) -> Detector:
    path, sha256 = _weights(report)
    return Detector(path, sha256=sha256)
