"""The full-size families at small size with random weights: their networks, and base folders as the hub has them."""

# pyright: reportArgumentType=false
# (diffusers' hints are narrower than what it takes)
from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from diffusers import (
    ControlNetModel,
    ControlNetUnionModel,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from tests.adapters.test_assembly import parts as sd15_networks
from tests.helpers.public_files import random_state, shapes_of, write
from tests.perception.test_onnx_faces import recogniser_graph, scrfd_graph, yunet_graph
from tests.pipelines.test_families import tiny_xl
from twinset.models.hub.parts import Part, Profile
from twinset.models.hub.profiles import ON_HUB

SIZE = (192, 256)
"""Width and height of their pictures."""
FORMS = {
    "identity_adapter": "face-id-plus-v2",
    "faceid_adapter": "face-id",
    "face_adapter": "ip-adapter-plus",
    "instantid_adapter": "instant-id",
    "garment_adapter": "ip-adapter-plus",
    "imagdressing_adapter": "imagdressing",
    "magic_clothing_adapter": "magic-clothing",
    "storymaker_adapter": "story-maker",
}
"""Adapter parts, and the form of their files."""


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


def with_values(net: Any) -> Any:
    """A network whose zero-initialised layers have values, so that it is heard."""
    for parameter in net.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return net.eval()


def union_net(unet: UNet2DConditionModel) -> ControlNetUnionModel:
    """A small Union net for a UNet."""
    like = ControlNetUnionModel.from_unet(unet, conditioning_embedding_out_channels=(8, 16, 16, 16))
    width = unet.config["block_out_channels"][0]
    config = dict(like.config) | {"num_trans_channel": width, "num_proj_channel": width, "num_trans_head": 2}
    config.pop("_use_default_values", None)
    return with_values(ControlNetUnionModel.from_config(config))


def small_net(unet: UNet2DConditionModel) -> ControlNetModel:
    """A small ControlNet for a UNet."""
    return with_values(ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 16, 16, 16)))


def control_nets(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """The profile's ControlNets by part name."""
    if name == "sdxl":
        return {"union_controlnet": union_net(given["unet"]), "instantid_controlnet": small_net(given["unet"])}
    return {"pose_controlnet": given["controlnet"], "parsing_controlnet": small_net(given["unet"])}


def adapter_files(name: str, unet: Any, folder: Path) -> dict[str, Path]:
    """The profile's adapters by part name, each with its published name."""
    files = {part.name: folder / Path(str(part.file)).name for part in ON_HUB[name].parts if part.name in FORMS}
    return {part: write(path, random_state(shapes_of(FORMS[part], unet))) for part, path in files.items()}


def image_encoder() -> CLIPVisionModelWithProjection:
    """CLIP's image half with ViT-H's width."""
    config = CLIPVisionConfig(
        hidden_size=1280, intermediate_size=64, num_hidden_layers=2, num_attention_heads=8, image_size=28, patch_size=14
    )
    return CLIPVisionModelWithProjection(config).eval()


def fast_lora(unet: Any, path: Path) -> Path:
    """A LoRA in diffusers' keys over the UNet's attention queries."""
    state: dict[str, torch.Tensor] = {}
    for layer, module in unet.named_modules():
        if layer.endswith("attn1.to_q"):
            state[f"unet.{layer}.lora_A.weight"] = torch.randn(4, module.in_features) / 4
            state[f"unet.{layer}.lora_B.weight"] = torch.randn(module.out_features, 4) / 4
    save_file(state, path)
    return path


def profile_on_disk(name: str, given: dict[str, Any], folder: Path) -> Profile:
    """The family's profile with small parts that lie in a folder: the base, and all that `PartsOnDemand` loads."""
    nets = control_nets(name, given)
    networks = nets | {"vae": given["vae"], "image_encoder": image_encoder()}
    for part, network in networks.items():
        network.save_pretrained(folder / part)
    own = {part: f"{part}/diffusion_pytorch_model.safetensors" for part in (*nets, "vae")}
    own |= {
        "image_encoder": "image_encoder/model.safetensors",
        "buffalo_l": recogniser_graph(folder / "arcface.onnx", seed=0).name,
        "antelopev2": recogniser_graph(folder / "glintr100.onnx", seed=1).name,
        "buffalo_l_detector": scrfd_graph(folder / "scrfd.onnx", size=(640, 640)).name,
        "antelopev2_detector": "scrfd.onnx",
        "auraface": recogniser_graph(folder / "auraface.onnx", seed=2).name,
        "yunet": yunet_graph(folder / "yunet.onnx", size=(640, 640)).name,
        "fast_lora": fast_lora(given["unet"], folder / "few-steps.safetensors").name,
    }
    own |= {part: path.name for part, path in adapter_files(name, given["unet"], folder).items()}
    base = saved_base(name, given, folder / "base")

    def local(part: Part) -> Part:
        gone = {"repo": None, "revision": None, "sha256": None, "size": None}
        if part.name == "base":
            paths = (path for path in base.rglob("*") if path.is_file() and path.parent.name != "vae")
            return replace(part, **gone, files=tuple(path.relative_to(folder).as_posix() for path in paths))
        if part.name not in own:
            return part
        config = (f"{part.name}/config.json",) if (folder / part.name).is_dir() else ()
        return replace(part, **gone, file=own[part.name], files=config)

    full = ON_HUB[name]
    return replace(full, parts=tuple(map(local, full.parts)), folder=folder, size=SIZE, steps=2, guidance=3.0)


def family_on_disk(name: str, folder: Path) -> Profile:
    """As `profile_on_disk`, of new random networks."""
    return profile_on_disk(name, networks(name), folder)
