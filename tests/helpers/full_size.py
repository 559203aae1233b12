"""The full-size families at small size with random weights: their networks, and base folders as the hub has them."""

# pyright: reportArgumentType=false
# (diffusers' hints are narrower than what it takes)
from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from diffusers import ControlNetModel, StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from tests.adapters.test_assembly import parts as sd15_networks
from tests.helpers.public_files import random_state, shapes_of, write
from tests.perception.test_onnx_faces import recogniser_graph, scrfd_graph
from tests.pipelines.test_families import tiny_xl
from twinset.models.hub.parts import Part, Profile
from twinset.models.hub.profiles import ON_HUB
from twinset.perception.faces.onnx import Detector, Recogniser
from twinset.pipelines.loading.assembly import Parts

SIZE = (192, 256)
"""Width and height of their pictures."""
FORMS = {"identity_adapter": "face-id-plus-v2", "garment_adapter": "ip-adapter-plus"}


def networks(name: str) -> dict[str, Any]:
    """UNet, VAE, text encoders, tokenizers, scheduler and one pose ControlNet."""
    if name == "sd15":
        given = sd15_networks()
        return given | {"controlnet": given["controlnet"][0]}
    given = tiny_xl()
    text = given["text_encoder"].config.to_dict() | {"hidden_size": 96}  # other than the first: files tell them by that
    config = {**given["unet"].config, "cross_attention_dim": 32 + 96}
    unet = cast(UNet2DConditionModel, UNet2DConditionModel.from_config(config))
    net = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 16, 16, 16))
    for parameter in net.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    second = CLIPTextModelWithProjection(CLIPTextConfig(**text)).eval()
    return given | {"unet": unet.eval(), "controlnet": net.eval(), "text_encoder_2": second}


def saved_base(name: str, given: dict[str, Any], folder: Path) -> Path:
    """The base folder as the hub has it: no ControlNet, and for SD1.5 an index that names more than is there."""
    own = {k: v for k, v in given.items() if k != "controlnet"}
    if name == "sdxl":
        StableDiffusionXLPipeline(**own, add_watermarker=False).save_pretrained(folder)
    else:
        nothing = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        StableDiffusionPipeline(**own, **nothing).save_pretrained(folder)
    return folder


def adapter_files(name: str, unet: Any, folder: Path) -> dict[str, Path]:
    """Files of FaceID-PlusV2 and IP-Adapter-Plus."""
    files = {
        "identity_adapter": folder / f"ip-adapter-faceid-plusv2_{name}.bin",
        "garment_adapter": folder / "ip-adapter-plus.safetensors",
    }
    return {part: write(path, random_state(shapes_of(FORMS[part], unet))) for part, path in files.items()}


def image_encoder() -> CLIPVisionModelWithProjection:
    """CLIP's image half with ViT-H's width."""
    config = CLIPVisionConfig(
        hidden_size=1280, intermediate_size=64, num_hidden_layers=2, num_attention_heads=8, image_size=28, patch_size=14
    )
    return CLIPVisionModelWithProjection(config).eval()


def small_parts(name: str, folder: Path) -> Parts:
    """A family's parts, as `load_parts` gives them."""
    given = networks(name)
    return Parts(
        base=saved_base(name, given, folder / "base"),
        vae=given["vae"],
        pose_controlnet=given["controlnet"],
        image_encoder=image_encoder(),
        adapters=adapter_files(name, given["unet"], folder),
        recogniser=Recogniser(recogniser_graph(folder / "arcface.onnx", seed=0)),
        detector=Detector(scrfd_graph(folder / "scrfd.onnx", size=(640, 640))),
        notes=("identity_adapter: FaceID",),
        revision="0" * 64,
    )


def profile_on_disk(name: str, given: dict[str, Any], folder: Path) -> Profile:
    """The family's profile with small parts that lie in a folder: all that `PartsOnDemand` loads, and the VAE."""
    given["controlnet"].save_pretrained(folder / "pose_controlnet")
    given["vae"].save_pretrained(folder / "vae")
    image_encoder().save_pretrained(folder / "image_encoder")
    files = {
        "pose_controlnet": "pose_controlnet/diffusion_pytorch_model.safetensors",
        "vae": "vae/diffusion_pytorch_model.safetensors",
        "image_encoder": "image_encoder/model.safetensors",
        "buffalo_l": recogniser_graph(folder / "arcface.onnx", seed=0).name,
        "buffalo_l_detector": scrfd_graph(folder / "scrfd.onnx", size=(640, 640)).name,
    }
    files |= {part: path.name for part, path in adapter_files(name, given["unet"], folder).items()}

    def local(part: Part) -> Part:
        if part.name not in files:
            return part
        config = (f"{part.name}/config.json",) if (folder / part.name).is_dir() else ()
        return replace(part, repo=None, revision=None, sha256=None, size=None, file=files[part.name], files=config)

    full = ON_HUB[name]
    parts = tuple(local(part) for part in full.parts)
    return replace(full, parts=parts, folder=folder, size=SIZE, steps=2, guidance=3.0)
