"""Parts on the hub that the profiles are made of: where each comes from, and what its licence allows.

Revisions and SHA-256 stand here only where independent public records agree on them. Everything else is unpinned: it
is recorded at the first pull and compared from then on (`twinset.models.hub.download`).
"""

from __future__ import annotations

from typing import Any

from twinset.models.hub.parts import Part

INSIGHTFACE = "https://github.com/deepinsight/insightface/tree/master/model_zoo"
USE_RESTRICTIONS = "commercial use is allowed within the licence's use restrictions"
CLIP_TOKENIZER = ("merges.txt", "special_tokens_map.json", "tokenizer_config.json", "vocab.json")


def hub_page(repo: str) -> str:
    """The hub's page of a repository."""
    return f"https://huggingface.co/{repo}"


def tokenizer_files(folder: str) -> tuple[str, ...]:
    """Files of a CLIP tokenizer."""
    return tuple(f"{folder}/{name}" for name in CLIP_TOKENIZER)


def half(folder: str, weights: str) -> tuple[str, str]:
    """Configuration and half-precision weights of a folder in a diffusers repository."""
    return f"{folder}/config.json", f"{folder}/{weights}.fp16.safetensors"


def apache(name: str, repo: str, file: str, **more: Any) -> Part:
    """A part under Apache-2.0."""
    return Part(name=name, repo=repo, file=file, licence="Apache-2.0", url=hub_page(repo), **more)


def ip_adapter(name: str, file: str, **more: Any) -> Part:
    """A part of the permissive IP-Adapter repository."""
    return apache(name, "h94/IP-Adapter", file, revision="018e402774aeeddd60609b4ecdb7e298259dc729", **more)


def research(name: str, repo: str, file: str, licence: str, url: str = "", **more: Any) -> Part:
    """A part whose licence forbids commercial use."""
    url = url or hub_page(repo)
    return Part(name=name, repo=repo, file=file, licence=licence, commercial=False, url=url, **more)


def face_id(name: str, file: str, **more: Any) -> Part:
    """A FaceID file: trained on the embedding of buffalo_l, and bound by its terms."""
    return research(
        name,
        "h94/IP-Adapter-FaceID",
        file,
        "LicenseRef-research-only",
        revision="43907e6f44d079bf1a9102d9a6e56aef7a219bae",
        recogniser="buffalo_l",
        substitute="face_adapter",
        note="FaceID weights exist for buffalo_l only; face_adapter sees the face through CLIP and is less exact",
        **more,
    )


def insightface(name: str, repo: str, file: str, substitute: str, **more: Any) -> Part:
    """A part of InsightFace's model zoo, wherever it is mirrored."""
    return research(
        name, repo, file, "LicenseRef-InsightFace-non-commercial", INSIGHTFACE, substitute=substitute, **more
    )


BUFFALO_L = (
    insightface(
        "buffalo_l",
        "public-data/insightface",
        "models/buffalo_l/w600k_r50.onnx",
        "auraface",
        revision="33c1063c49c785b7652d3fd529f86fa4f149392b",
        sha256="4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43",
        size=174_383_860,
        note="auraface measures likeness; it cannot drive FaceID, which needs buffalo_l",
    ),
    insightface(
        "buffalo_l_detector",
        "public-data/insightface",
        "models/buffalo_l/det_10g.onnx",
        "yunet",
        revision="33c1063c49c785b7652d3fd529f86fa4f149392b",
        sha256="5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91",
        size=16_923_827,
    ),
)

# Only this file of the repository is AuraFace's own; its detector and landmarks are InsightFace's, byte for byte.
CLEAN_FACE = (
    apache(
        "auraface",
        "fal/AuraFace-v1",
        "glintr100.onnx",
        revision="af6d057c9b0ec4071d4c49c80e3539258798b609",
        sha256="a7933ea5330113b01c9b60351d8f4c33003f145d8470ac5f0e52ee2effe25c60",
        size=260_694_151,
        optional=True,
        note="no public adapter was trained with it",
    ),
    Part(
        name="yunet",
        repo="opencv/face_detection_yunet",
        file="face_detection_yunet_2023mar.onnx",
        sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        size=232_589,
        licence="MIT",
        url=hub_page("opencv/face_detection_yunet"),
        optional=True,
    ),
)

IMAGE_ENCODER = ip_adapter(
    "image_encoder",
    "models/image_encoder/model.safetensors",
    files=("models/image_encoder/config.json",),
    sha256="6ca9667da1ca9e0b0f75e46bb030f7e011f44f86cbfb8d5a36590fcd7507b030",
    size=2_528_373_448,
    note="CLIP ViT-H/14, for both families",
)

PERCEPTION = (
    research(
        "parser",
        "mattmdjaga/segformer_b2_clothes",
        "model.safetensors",
        "LicenseRef-NVIDIA-SegFormer",
        files=("config.json", "preprocessor_config.json"),
        note="tagged MIT, but fine-tuned from SegFormer, whose licence is non-commercial; "
        "without a parser, give the pose and let the layout be drawn",
    ),
    apache(
        "pose_estimator",
        "yzd-v/DWPose",
        "dw-ll_ucoco_384.onnx",
        revision="1a7144101628d69ee7a3768d1ee3a094070dc388",
        sha256="724f4ff2439ed61afb86fb8a1951ec39c6220682803b4a8bd4f598cd913b1843",
        size=134_399_116,
        note="run by rtmlib",
    ),
    apache(
        "person_detector",
        "yzd-v/DWPose",
        "yolox_l.onnx",
        revision="1a7144101628d69ee7a3768d1ee3a094070dc388",
        sha256="7860ae79de6c89a3c1eb72ae9a2756c0ccfbe04b7791bb5880afabd97855a411",
        size=216_746_733,
        note="run by rtmlib",
    ),
)

INSTANT_ID = (
    research(
        "instantid_adapter",
        "InstantX/InstantID",
        "ip-adapter.bin",
        "LicenseRef-research-only",
        revision="57b32dfee076092ad2930c71fd6d439c2c3b1820",
        sha256="02b3618e36d803784166660520098089a81388e61a93ef8002aa79a5b1c546e1",
        size=1_691_134_141,
        recogniser="antelopev2",
        substitute="face_adapter",
        optional=True,
        note="tagged Apache-2.0, but it needs antelopev2, which is non-commercial",
    ),
    research(
        "instantid_controlnet",
        "InstantX/InstantID",
        "ControlNetModel/diffusion_pytorch_model.safetensors",
        "LicenseRef-research-only",
        files=("ControlNetModel/config.json",),
        revision="57b32dfee076092ad2930c71fd6d439c2c3b1820",
        sha256="c8127be9f174101ebdafee9964d856b49b634435cf6daa396d3f593cf0bbbb05",
        size=2_502_139_136,
        substitute="union_controlnet",
        optional=True,
        note="works with instantid_adapter only",
    ),
    insightface(
        "antelopev2",
        "DIAMONIK7777/antelopev2",
        "glintr100.onnx",
        "auraface",
        sha256="4ab1d6435d639628a6f3e5008dd4f929edf4c4124b1a7169e1048f9fef534cdf",
        size=260_665_334,
        optional=True,
        note="auraface measures likeness; it cannot drive InstantID, which needs antelopev2",
    ),
    insightface(
        "antelopev2_detector",
        "DIAMONIK7777/antelopev2",
        "scrfd_10g_bnkps.onnx",
        "yunet",
        sha256="5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91",
        size=16_923_827,
        optional=True,
    ),
)

CONTROL_SEG = Part(
    name="parsing_controlnet",
    repo="lllyasviel/control_v11p_sd15_seg",
    file="diffusion_pytorch_model.fp16.safetensors",
    files=("config.json",),
    licence="LicenseRef-OpenRAIL",
    url=hub_page("lllyasviel/control_v11p_sd15_seg"),
    note=f"reads ADE20K's classes; {USE_RESTRICTIONS}",
)
CONTROL_UNION = apache(
    "union_controlnet",
    "xinsir/controlnet-union-sdxl-1.0",
    "diffusion_pytorch_model.safetensors",
    files=("config.json",),
    note="skeleton and parsing map in one network",
)

IMAGDRESSING = research(
    "imagdressing_adapter",
    "feishen29/IMAGDressing",
    "IMAGDressing-v1_512.pt",
    "LicenseRef-research-only",
    substitute="garment_adapter",
    optional=True,
    note="its authors allow its weights for research only",
)
MAGIC_CLOTHING = research(
    "magic_clothing_adapter",
    "ShineChen1024/MagicClothing",
    "magic_clothing_768_vitonhd_joint.safetensors",
    "CC-BY-NC-SA-4.0",
    substitute="garment_adapter",
    optional=True,
)
STORY_MAKER = research(
    "storymaker_adapter",
    "RED-AIGC/StoryMaker",
    "mask.bin",
    "LicenseRef-research-only",
    recogniser="buffalo_l",
    substitute="garment_adapter",
    optional=True,
    note="tagged Apache-2.0, but it needs buffalo_l, which is non-commercial",
)


def hyper_sd(file: str) -> Part:
    """Few steps with guidance kept: Hyper-SD's LoRA for 8 steps (Ren 2024, arXiv:2404.13686)."""
    return Part(
        name="fast_lora",
        repo="ByteDance/Hyper-SD",
        file=file,
        licence="LicenseRef-OpenRAIL++-M",
        url=hub_page("ByteDance/Hyper-SD"),
        optional=True,
        note=f"for --fast; {USE_RESTRICTIONS}",
    )
