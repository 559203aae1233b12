"""Model profiles by name, and the gate that keeps non-commercial parts out of commercial use."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from twinset.errors import InputError
from twinset.models.hub.catalog import (
    BUFFALO_L,
    CLEAN_FACE,
    CONTROL_SEG,
    CONTROL_UNION,
    IMAGDRESSING,
    IMAGE_ENCODER,
    INSTANT_ID,
    MAGIC_CLOTHING,
    PERCEPTION,
    STORY_MAKER,
    USE_RESTRICTIONS,
    face_id,
    half,
    hub_page,
    hyper_sd,
    ip_adapter,
    tokenizer_files,
)
from twinset.models.hub.parts import Part, Profile, holds_data, stays_inside

__all__ = ["Part", "Profile", "clean_names", "profiles", "require_commercial", "resolve"]

BUNDLED = Path(__file__).resolve().parents[1] / "studio"
CHECKSUMS = "checksums.json"
SD15 = Profile(
    name="sd15",
    family="sd15",
    scheduler="ddim",
    size=(512, 768),
    steps=30,
    guidance=7.0,
    description="Stable Diffusion 1.5: OpenPose and Seg, FaceID-PlusV2, IP-Adapter-Plus, IMAGDressing or MagicClothing",
    parts=(
        Part(
            name="base",
            repo="stable-diffusion-v1-5/stable-diffusion-v1-5",
            revision="451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
            files=(
                "model_index.json",
                "scheduler/scheduler_config.json",
                *half("text_encoder", "model"),
                *tokenizer_files("tokenizer"),
                *half("unet", "diffusion_pytorch_model"),
            ),
            licence="LicenseRef-CreativeML-OpenRAIL-M",
            url=hub_page("stable-diffusion-v1-5/stable-diffusion-v1-5"),
            note=USE_RESTRICTIONS,
        ),
        Part(
            name="safety_checker",
            repo="stable-diffusion-v1-5/stable-diffusion-v1-5",
            revision="451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
            file="safety_checker/model.fp16.safetensors",
            files=("safety_checker/config.json", "feature_extractor/preprocessor_config.json"),
            licence="LicenseRef-CreativeML-OpenRAIL-M",
            url=hub_page("stable-diffusion-v1-5/stable-diffusion-v1-5"),
            optional=True,
            note="checks the pictures of all models, once pulled",
        ),
        Part(
            name="vae",
            repo="stabilityai/sd-vae-ft-mse",
            file="diffusion_pytorch_model.safetensors",
            files=("config.json",),
            revision="31f26fdeee1355a5c34592e401dd41e45d25a493",
            sha256="a1d993488569e928462932c8c38a0760b874d166399b14414135bd9c42df5815",
            size=334_643_276,
            licence="MIT",
            url=hub_page("stabilityai/sd-vae-ft-mse"),
        ),
        Part(
            name="pose_controlnet",
            repo="lllyasviel/control_v11p_sd15_openpose",
            file="diffusion_pytorch_model.fp16.safetensors",
            files=("config.json",),
            revision="9ae9f970358db89e211b87c915f9535c6686d5ba",
            licence="LicenseRef-OpenRAIL",
            url=hub_page("lllyasviel/control_v11p_sd15_openpose"),
            note=USE_RESTRICTIONS,
        ),
        CONTROL_SEG,
        face_id(
            "identity_adapter",
            "ip-adapter-faceid-plusv2_sd15.bin",
            sha256="26d0d86a1d60d6cc811d3b8862178b461e1eeb651e6fe2b72ba17aa95411e313",
            size=156_558_509,
        ),
        *BUFFALO_L,
        ip_adapter(
            "garment_adapter",
            "models/ip-adapter-plus_sd15.safetensors",
            sha256="a1c250be40455cc61a43da1201ec3f1edaea71214865fb47f57927e06cbe4996",
            size=98_183_288,
        ),
        IMAGE_ENCODER,
        *PERCEPTION,
        ip_adapter(
            "face_adapter",
            "models/ip-adapter-plus-face_sd15.safetensors",
            sha256="1c9edc21af6f737dc1d6e0e734190e976cfacf802d6b024b77aa3be922f7569b",
            size=98_183_288,
            recogniser="image_encoder",
            optional=True,
        ),
        *CLEAN_FACE,
        face_id("faceid_adapter", "ip-adapter-faceid_sd15.bin", optional=True),
        IMAGDRESSING,
        MAGIC_CLOTHING,
        hyper_sd("Hyper-SD15-8steps-CFG-lora.safetensors"),
    ),
)

SDXL = Profile(
    name="sdxl",
    family="sdxl",
    scheduler="euler_a",
    size=(832, 1216),
    steps=30,
    guidance=5.0,
    description="Stable Diffusion XL: ControlNet-Union, FaceID-PlusV2 or InstantID, IP-Adapter-Plus or StoryMaker",
    parts=(
        Part(
            name="base",
            repo="stabilityai/stable-diffusion-xl-base-1.0",
            revision="462165984030d82259a11f4367a4eed129e94a7b",
            files=(
                "model_index.json",
                "scheduler/scheduler_config.json",
                *half("text_encoder", "model"),
                *half("text_encoder_2", "model"),
                *tokenizer_files("tokenizer"),
                *tokenizer_files("tokenizer_2"),
                *half("unet", "diffusion_pytorch_model"),
            ),
            licence="LicenseRef-CreativeML-OpenRAIL++-M",
            url=hub_page("stabilityai/stable-diffusion-xl-base-1.0"),
            note=USE_RESTRICTIONS,
        ),
        Part(
            name="vae",
            repo="madebyollin/sdxl-vae-fp16-fix",
            file="diffusion_pytorch_model.safetensors",
            files=("config.json",),
            revision="207b116dae70ace3637169f1ddd2434b91b3a8cd",
            sha256="1b909373b28f2137098b0fd9dbc6f97f8410854f31f84ddc9fa04b077b0ace2c",
            licence="MIT",
            url=hub_page("madebyollin/sdxl-vae-fp16-fix"),
            note="the original overflows in half precision",
        ),
        CONTROL_UNION,
        face_id(
            "identity_adapter",
            "ip-adapter-faceid-plusv2_sdxl.bin",
            sha256="c6945d82b543700cc3ccbb98d363b837e9c596281607857c74b713a876daf5fb",
            size=1_487_555_181,
        ),
        *BUFFALO_L,
        ip_adapter(
            "garment_adapter",
            "sdxl_models/ip-adapter-plus_sdxl_vit-h.safetensors",
            sha256="3f5062b8400c94b7159665b21ba5c62acdcd7682262743d7f2aefedef00e6581",
            size=847_517_512,
        ),
        IMAGE_ENCODER,
        *PERCEPTION,
        ip_adapter(
            "face_adapter",
            "sdxl_models/ip-adapter-plus-face_sdxl_vit-h.safetensors",
            sha256="677ad8860204f7d0bfba12d29e6c31ded9beefdf3e4bbd102518357d31a292c1",
            size=847_517_512,
            recogniser="image_encoder",
            optional=True,
        ),
        *CLEAN_FACE,
        face_id("faceid_adapter", "ip-adapter-faceid_sdxl.bin", optional=True),
        *INSTANT_ID,
        STORY_MAKER,
        hyper_sd("Hyper-SDXL-8steps-CFG-lora.safetensors"),
    ),
)

ON_HUB = {profile.name: profile for profile in (SD15, SDXL)}


def profiles() -> tuple[Profile, ...]:
    """All profiles, the bundled one first."""
    return resolve("studio"), *ON_HUB.values()


def resolve(name: str) -> Profile:
    """The profile of that name, or of a model folder with `checksums.json`, as `twinset train` writes one.

    Raises:
        InputError: no such profile or folder; the known names are listed.
    """
    if name in ON_HUB:
        return ON_HUB[name]
    if name == "studio":
        return _folder_profile(name, BUNDLED)
    if (Path(name) / CHECKSUMS).is_file():
        return _folder_profile(name, Path(name))
    known = ", ".join(("studio", *ON_HUB))
    raise InputError(f"profile {name!r} is unknown; choose one of {known}, or a model folder with {CHECKSUMS}")


def require_commercial(profile: Profile, parts: Sequence[Part]) -> None:
    """Lets parts pass that may be used commercially.

    Raises:
        InputError: some may not; each is named with its licence and its clean substitute, or that there is none.
    """
    refused = [part for part in parts if not part.commercial]
    if not refused:
        return
    names = clean_names(profile, parts)
    remedy = f"take the clean parts: twinset models pull {profile.name} --commercial --part " + " --part ".join(names)
    raise InputError(
        f"profile {profile.name!r} is refused for commercial use: {'; '.join(map(_refusal, refused))}; "
        + (remedy if names else "ask its maker")
    )


def clean_names(profile: Profile, parts: Sequence[Part]) -> tuple[str, ...]:
    """Names of the parts that may be used commercially, with substitutes in place of those that may not."""
    names = (part.name if part.commercial else part.substitute for part in parts)
    return tuple(dict.fromkeys(name for name in names if name and profile.part(name).commercial))


def _refusal(part: Part) -> str:
    instead = f"use {part.substitute} instead" if part.substitute else "no clean substitute is known"
    return f"{part.name} ({part.licence}): {instead}" + (f" ({part.note})" if part.note else "")


def _folder_profile(name: str, folder: Path) -> Profile:
    parts = tuple(
        _folder_part(path, sha256, folder == BUNDLED) for path, sha256 in _read_checksums(folder / CHECKSUMS).items()
    )
    return Profile(
        name=name,
        family="studio",
        parts=parts,
        size=(192, 256),
        steps=12,
        guidance=1.5,
        description="bundled: small, works offline, draws stylised people" if folder == BUNDLED else "a model folder",
        folder=folder,
    )


def _folder_part(path: str, sha256: str, bundled: bool) -> Part:
    """One weight file of a folder; in a folder of unknown origin nothing is known to be free."""
    name = str(PurePosixPath(path).parent) if "/" in path else PurePosixPath(path).stem
    return Part(
        name=name,
        repo=None,
        file=path,
        sha256=sha256,
        licence="Apache-2.0" if bundled else "LicenseRef-unstated",
        commercial=bundled,
        recogniser="face_encoder" if name == "identity_adapter" else None,
        url="models/studio/README.md" if bundled else "",
        note="" if bundled else "its folder states no licence",
    )


def _read_checksums(path: Path) -> dict[str, str]:
    """SHA-256 by file of a model folder, as `twinset.training.studio.assemble` writes them."""
    remedy = "restore it from where the model came from"
    try:
        sums = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"checksums {str(path)!r} cannot be read ({type(error).__name__}); {remedy}") from None
    if not isinstance(sums, dict) or not sums:
        raise InputError(f"checksums {str(path)!r} name no files; {remedy}")
    for name, sha256 in sums.items():
        right = isinstance(sha256, str) and re.fullmatch("[0-9a-f]{64}", sha256)
        if not (right and holds_data(name) and stays_inside(name)):
            raise InputError(f"checksums {str(path)!r} have a wrong entry, {name!r}: {sha256!r}; {remedy}")
    return sums
