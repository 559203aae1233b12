"""Weights that come and go, and half precision: a joint pass with conditions is the same, or says why not.

diffusers' offloading needs an accelerator. Here the same functions run with the CPU as the place of execution:
sequential offloading then really leaves the weights on the meta device between uses, group offloading on disk; for
model offloading the hooks are replaced by ones that spoil the weights while they are away.
"""

# pyright: reportArgumentType=false
# (diffusers' hints are narrower than what it takes)
from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import cpu_offload
from accelerate.hooks import ModelHook, add_hook_to_module
from diffusers import AutoencoderKL
from diffusers.hooks import apply_group_offloading
from torch import Tensor, nn

from tests.helpers.both_families import FAMILIES, close, face, latents, ours, parts_of
from tests.helpers.diffusers_parts import inputs
from twinset.models.vae import decode_latents

CPU = torch.device("cpu")


class Away(ModelHook):
    """Model offloading where away means not a number: whoever uses the weights without calling for them is found."""

    execution_device = CPU

    def __init__(self, model: nn.Module, previous: Away | None):
        self.model, self.previous = model, previous
        self.kept: list[tuple[Tensor, Tensor]] = []

    def init_hook(self, module: nn.Module) -> nn.Module:
        self.offload()
        return module

    def offload(self) -> None:
        if not self.kept:
            self.kept = [(p, p.data) for p in self.model.parameters()]
            for p, data in self.kept:
                p.data = torch.full_like(data, float("nan"))

    def pre_forward(self, module: nn.Module, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        if self.previous is not None:
            self.previous.offload()
        self.back()
        return args, kwargs

    def back(self) -> None:
        for p, data in self.kept:
            p.data = data.to(p.dtype)
        self.kept = []

    def detach_hook(self, module: nn.Module) -> nn.Module:
        self.back()
        return module


def away(model: nn.Module, _device: Any = None, prev_module_hook: Away | None = None) -> tuple[nn.Module, Away]:
    hook = Away(model, prev_module_hook)
    return add_hook_to_module(model, hook, append=True), hook


def by_layers(model: nn.Module, _device: Any = None, offload_buffers: bool = False) -> None:
    """For diffusers, which would say cpu:0, where torch and accelerate know but one CPU."""
    cpu_offload(model, CPU, offload_buffers)


def by_model(pipe: Any, folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr("accelerate.cpu_offload_with_hook", away)
    pipe.enable_model_cpu_offload(device=CPU)
    assert all(p.isnan().all() for p in pipe.unet.parameters())


def by_layer(pipe: Any, folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr("accelerate.cpu_offload", by_layers)
    pipe.enable_sequential_cpu_offload(device=CPU)
    assert all(p.is_meta for p in pipe.unet.parameters())


def by_group(pipe: Any, folder: Path, patch: pytest.MonkeyPatch) -> None:
    for name, part in pipe.components.items():
        if isinstance(part, nn.Module):  # each in its own folder: diffusers names files by layers alone
            apply_group_offloading(part, CPU, offload_type="leaf_level", offload_to_disk_path=str(folder / name))


WAYS = (by_model, by_layer, by_group)


@pytest.mark.long
@pytest.mark.parametrize("nets", [1, 2])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("family", FAMILIES)
def test_offloaded_parts_draw_the_same(
    family: str, way: Any, nets: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice, as the second picture finds the parts as the first left them; with one ControlNet and with two."""
    parts = parts_of(family)
    if nets == 2:
        parts["controlnet"] = [parts["controlnet"], copy.deepcopy(parts["controlnet"])]
    pipe, condition = ours(family, parts), face(parts["unet"])
    given: dict[str, Any] = {"image": [inputs()["image"]] * 2} if nets == 2 else {}
    both = given | {"conditions": [condition]}
    expected = [latents(pipe, **both), pipe(**inputs() | both).images]
    way(pipe, tmp_path, monkeypatch)
    for _ in range(2):
        close(latents(pipe, **both), expected[0], 1e-6)
    assert abs(pipe(**inputs() | both).images - expected[1]).max() < 1e-5


@pytest.mark.gpu
@pytest.mark.parametrize("way", ["enable_model_cpu_offload", "enable_sequential_cpu_offload", "enable_group_offload"])
@pytest.mark.parametrize("family", FAMILIES)
def test_offloaded_from_a_gpu(family: str, way: str) -> None:
    pipe = ours(family).to("cuda")
    condition = face(pipe.unet)
    expected = latents(pipe, conditions=[condition])
    offloaded = ours(family)
    options: dict[str, Any] = {}
    if way == "enable_group_offload":
        options = {"onload_device": torch.device("cuda"), "offload_type": "leaf_level", "use_stream": True}
    getattr(offloaded, way)(**options)
    for _ in range(2):
        close(latents(offloaded, conditions=[condition]).cpu(), expected.cpu())
    if way == "enable_model_cpu_offload":
        assert offloaded.unet.device.type == offloaded.controlnet.device.type == "cpu"


@pytest.mark.long
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision_is_close_to_single(family: str, dtype: torch.dtype) -> None:
    pipe = ours(family)
    single = latents(pipe, conditions=[face(pipe.unet)], guidance_scale=2.0)
    pipe.to(dtype)
    half = latents(pipe, conditions=[face(pipe.unet)], guidance_scale=2.0)
    assert half.dtype == dtype
    close(half.float(), single, 0.1)
    images = pipe(**inputs(), conditions=[face(pipe.unet)]).images
    assert images.shape == (1, 64, 64, 3) and images.std() > 0.01


def steep(force_upcast: bool = False, gain: float = 1e5) -> AutoencoderKL:
    """A VAE in half precision whose last layer takes back a factor with which the one before overflows."""
    torch.manual_seed(1)
    vae: Any = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",), up_block_types=("UpDecoderBlock2D",), block_out_channels=(4,),
        norm_num_groups=2, latent_channels=4, force_upcast=force_upcast,
    )  # fmt: skip
    middle = vae.decoder.mid_block.resnets[0]
    assert gain > 1
    middle.output_scale_factor = 1 / gain  # its output is divided by this
    return vae.half().eval()


@pytest.mark.parametrize("offloaded", [False, True])
@pytest.mark.parametrize("force_upcast", [False, True])
def test_a_vae_that_overflows_decodes_in_single_precision(force_upcast: bool, offloaded: bool) -> None:
    vae: Any = steep(force_upcast)
    noise = torch.randn(1, 4, 8, 8)
    expected = copy.deepcopy(vae).float().decode(noise / vae.config["scaling_factor"]).sample
    raw = vae.decode(noise.half() / vae.config["scaling_factor"]).sample
    assert not torch.isfinite(raw).all() and torch.isfinite(expected).all()
    if offloaded:
        by_layers(vae)
    pixels = decode_latents(vae, noise.half())
    assert vae.dtype == pixels.dtype == torch.float16
    torch.testing.assert_close(pixels.float(), expected, rtol=2e-2, atol=2e-2)
    assert torch.equal(decode_latents(vae, noise.half()), pixels)


@pytest.mark.parametrize("force_upcast", [False, True])
def test_a_picture_that_is_no_number_is_an_error(force_upcast: bool) -> None:
    vae = steep(force_upcast)
    with pytest.raises(FloatingPointError, match="float32"):
        decode_latents(vae, torch.full((1, 4, 8, 8), float("nan")).half())
    assert vae.dtype == torch.float16


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_picture_that_is_no_number_is_an_error_in_other_formats_too(dtype: torch.dtype) -> None:
    pipe = ours("sd15").to(dtype)
    pipe.vae.decoder.conv_out.bias.data.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="not finite"):
        pipe(**inputs())


@pytest.mark.parametrize("family", FAMILIES)
def test_latents_that_are_no_numbers_are_an_error(family: str) -> None:
    pipe = ours(family)
    pipe.unet.conv_out.bias.data.fill_(float("nan"))
    before = pipe.unet.attn_processors
    with pytest.raises(FloatingPointError, match="not finite"):
        latents(pipe, conditions=[face(pipe.unet)])
    after = pipe.unet.attn_processors
    assert all(after[name] is before[name] for name in before)
