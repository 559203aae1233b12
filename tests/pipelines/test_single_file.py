"""`from_single_file`: a checkpoint in the layout it was published in becomes the same pipeline as its parts."""

# pyright: reportArgumentType=false
# (diffusers' hints are narrower than what it takes)
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    ControlNetModel,
    StableDiffusionControlNetPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from tests.helpers.both_families import parts_of
from tests.helpers.diffusers_parts import inputs
from tests.helpers.ldm_layout import original_state
from twinset.pipelines.joint import JointPipeline
from twinset.pipelines.joint_xl import JointXLPipeline


def sd15() -> dict[str, Any]:
    return parts_of("sd15")


def sdxl() -> dict[str, Any]:
    """SDXL's; the converter tells its text encoders apart by their widths."""
    parts = parts_of("sdxl")
    config = {**parts["unet"].config, "cross_attention_dim": 32 + 48, "projection_class_embeddings_input_dim": 80}
    unet: Any = UNet2DConditionModel.from_config(config)
    text: CLIPTextConfig = parts["text_encoder"].config
    second = CLIPTextConfig(**{**text.to_dict(), "hidden_size": 48, "projection_dim": 32})
    parts["controlnet"] = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(16, 32))
    return parts | {"unet": unet, "text_encoder_2": CLIPTextModelWithProjection(second)}


def published(parts: dict[str, Any], folder: Path) -> tuple[Path, Path]:
    """The checkpoint's file, and a folder of the family's configurations without any weights, as the hub has it."""
    plain: Any = StableDiffusionXLPipeline if "text_encoder_2" in parts else StableDiffusionPipeline
    own = {name: part for name, part in parts.items() if name not in ("controlnet", "add_watermarker")}
    plain(**own).save_pretrained(folder / "config")
    for weights in (folder / "config").rglob("*.safetensors"):
        weights.unlink()
    save_file(original_state(parts), folder / "checkpoint.safetensors")
    return folder / "checkpoint.safetensors", folder / "config"


def same_weights(one: nn.Module, other: nn.Module) -> None:
    ours, theirs = one.state_dict(), other.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def picture(pipe: Any) -> np.ndarray:
    pipe.set_progress_bar_config(disable=True)
    return pipe(**inputs()).images[0]


@pytest.mark.long
@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_a_single_file_is_the_same_model(family: str, tmp_path: Path) -> None:
    parts, cls = (sd15(), JointPipeline) if family == "sd15" else (sdxl(), JointXLPipeline)
    path, config = published(parts, tmp_path)
    own = {name: parts[name] for name in ("controlnet", "add_watermarker") if name in parts}
    loaded: Any = cls.from_single_file(str(path), config=str(config), local_files_only=True, **own)
    assert type(loaded) is cls
    for name in ("unet", "vae", "text_encoder", *(["text_encoder_2"] if family == "sdxl" else [])):
        same_weights(getattr(loaded, name), parts[name])
    assert type(loaded.scheduler) is type(parts["scheduler"])
    made: Any = cls(**parts)
    np.testing.assert_allclose(picture(loaded), picture(made), atol=1e-5)


def test_a_single_file_alone_draws_from_words(tmp_path: Path) -> None:
    """Without any ControlNet, in half the precision, with the family's configuration found by itself."""
    path, config = published(sd15(), tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("diffusers.loaders.single_file.snapshot_download", lambda name, **_: str(config))
        pipe: Any = JointPipeline.from_single_file(str(path), dtype=torch.bfloat16)
    assert pipe.controlnet is None and {pipe.unet.dtype, pipe.vae.dtype, pipe.text_encoder.dtype} == {torch.bfloat16}
    assert pipe.config["default_steps"] == 50 and pipe.config["default_guidance"] == 7.5
    images = pipe("a dress", height=64, width=64, num_inference_steps=1).images
    assert images[0].size == (64, 64)


def test_a_single_file_needs_all_its_weights(tmp_path: Path) -> None:
    """As in diffusers' own pipeline, an error names the part whose weights are missing."""
    parts = sd15()
    path, config = published(parts, tmp_path)
    state = {key: value for key, value in original_state(parts).items() if not key.startswith("cond_stage_model")}
    save_file(state, path)
    for cls in (JointPipeline, StableDiffusionControlNetPipeline):
        with pytest.raises(Exception, match="CLIPTextModel"):
            cls.from_single_file(str(path), config=str(config), controlnet=parts["controlnet"], local_files_only=True)
