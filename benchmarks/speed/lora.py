"""Time and memory of a LoRA training's step against the loop of diffusers' own example, on the same shapes.

    python -m twinset.benchmarks.speed.lora                          SD1.5 at 256², random weights, CPU (minutes)
    python -m twinset.benchmarks.speed.lora --family sdxl --pixels 1024 --device cuda --dtype bfloat16
    python -m twinset.benchmarks.speed.lora --tiny --steps 2 --out /tmp/lora

diffusers' `examples/text_to_image/train_text_to_image_lora.py` encodes picture and caption at every step; here both are
read from disk. So that the caches' share is told apart from the loop's, its loop is also fed with cached ones. The ways
take turns within one process; peak memory is that of a process of its own for each way.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
import torch
from diffusers import AutoencoderKL, DDPMScheduler
from peft import LoraConfig
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from twinset.benchmarks.cost import peak_memory
from twinset.benchmarks.speed.parts import NetworkParts, Setting, twin
from twinset.pipelines.joint import JointPipeline
from twinset.pipelines.joint_xl import JointXLPipeline
from twinset.pipelines.record import machine
from twinset.training.core.denoising import denoising_loss
from twinset.training.core.optimisers import optimiser_of
from twinset.training.core.tensor_cache import TensorCache, Tensors
from twinset.training.lora.networks import LoraNetworks
from twinset.training.lora.options import ATTENTION, LoraOptions

Step = Callable[[int], None]
RANK, TOKENS, SIZES = 16, 77, 6
WAYS = (
    "diffusers' example",
    "diffusers' example, cached",
    "ours",
    "ours, held to the base model",
)


class Bench:
    """What both loops train on: networks of the family's size with random weights, and one encoded picture.

    Args:
        setting: family, size, device, type and batch.
        store: folder of what is cached.
    """

    def __init__(self, setting: Setting, store: Path):
        self.setting, self.parts, self.store = setting, NetworkParts(setting), TensorCache(store)
        self.schedule = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
        self.vae: Any = self.parts.filled(AutoencoderKL(**self._vae_shape()))
        self.texts: list[Any] = self._text_encoders()
        self.pixels = self.parts.random(setting.batch, 3, setting.pixels, setting.pixels, scale=0.5).clamp(-1, 1)
        self.ids = torch.randint(0, 49_000, (setting.batch, TOKENS), device=setting.device)

    def _vae_shape(self) -> dict[str, Any]:
        widths = (16, 16, 16, 16) if self.setting.tiny else (128, 256, 512, 512)
        blocks = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
        groups = 8 if self.setting.tiny else 32
        return {"block_out_channels": widths, "layers_per_block": 2, "norm_num_groups": groups, **blocks}

    def _text_encoders(self) -> list[nn.Module]:
        width = self.parts.unet.config["cross_attention_dim"]
        if self.setting.family == "sd15":
            return [self._text(CLIPTextModel, width, 12)]
        first = width * 3 // 8  # 768 of 2048
        return [self._text(CLIPTextModel, first, 12), self._text(CLIPTextModelWithProjection, width - first, 32)]

    def _text(self, kind: Any, width: int, layers: int) -> nn.Module:
        layers, heads = (1, 4) if self.setting.tiny else (layers, width // 64)
        config = CLIPTextConfig(
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            projection_dim=1280,
        )
        with torch.device("meta"):
            made = kind(config)
        net = self.parts.filled(made)
        for name, buffer in net.named_buffers():
            if name.endswith("position_ids"):
                buffer.copy_(torch.arange(TOKENS)[None])
        return net

    @torch.no_grad()
    def encoded(self) -> Tensors:
        """Latents and hidden states of the picture and its caption; for SDXL the pooled one too."""
        latents = self.vae.encode(self.pixels).latent_dist.sample() * self.vae.config["scaling_factor"]
        said = [net(self.ids, output_hidden_states=True) for net in self.texts]
        if len(said) == 1:
            return {"latents": latents, "states": said[0].last_hidden_state}
        states = torch.cat([one.hidden_states[-2] for one in said], dim=-1)
        return {"latents": latents, "states": states, "pooled": said[1].text_embeds}

    def added(self, tensors: Tensors) -> dict[str, Tensor] | None:
        """SDXL's further conditions."""
        if "pooled" not in tensors:
            return None
        sizes = torch.tensor([[self.setting.pixels, self.setting.pixels, 0, 0] + [self.setting.pixels] * 2])
        time_ids = sizes.repeat(self.setting.batch, 1).to(tensors["pooled"])
        return {"text_embeds": tensors["pooled"], "time_ids": time_ids}

    def cached(self) -> Tensors:
        """The same read from disk, as at every step of a training."""
        return {name: x.to(**self.setting.options) for name, x in self.store("picture", self.encoded).items()}


def diffusers_step(bench: Bench, cached: bool) -> Step:
    """A step as diffusers' example takes it: noise, prediction, mean squared error, clipping, AdamW."""
    unet: Any = twin(bench.parts.unet)
    unet.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, init_lora_weights="gaussian", target_modules=list(ATTENTION)))
    trained = [p for p in unet.parameters() if p.requires_grad]
    for parameter in trained:
        parameter.data = parameter.data.float()
    optimiser = torch.optim.AdamW(trained, lr=1e-4, betas=(0.9, 0.999), weight_decay=1e-2, eps=1e-8)

    def step(number: int) -> None:
        tensors = bench.cached() if cached else bench.encoded()
        latents = tensors["latents"]
        noise = torch.randn_like(latents)
        timesteps = torch.randint(0, 1000, (len(latents),), device=latents.device)
        noisy: Any = bench.schedule.add_noise(latents, noise, timesteps)  # type: ignore[arg-type]
        more = {"added_cond_kwargs": bench.added(tensors)}
        with torch.autocast(latents.device.type, dtype=latents.dtype, enabled=latents.dtype != torch.float32):
            predicted = unet(noisy, timesteps, tensors["states"], return_dict=False, **more)[0]
        F.mse_loss(predicted.float(), noise.float()).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        optimiser.zero_grad()

    return step


def our_step(bench: Bench, preserve: float) -> Step:
    """A step as `twinset train lora` takes it: the error on the garment, and with `preserve` one more evaluation."""
    options = LoraOptions(data=Path("."), rank=RANK, targets="attention", preserve=preserve, learning_rate=1e-4)
    networks = LoraNetworks(_pipeline(bench), options)
    loss_fn = denoising_loss(bench.schedule, options)
    optimiser = optimiser_of(options)(networks.groups())
    side = bench.setting.pixels // 8
    mask = torch.zeros(bench.setting.batch, 1, side, side, device=bench.setting.device)
    mask[..., side // 4 : -side // 4, side // 4 : -side // 4] = 1
    # as the training chooses: fused attention is slow backwards on a CPU
    kernels = [SDPBackend.MATH] if bench.setting.device == "cpu" else list(SDPBackend.__members__.values())[1:]

    def step(number: int) -> None:
        tensors = bench.cached()
        added = bench.added(tensors)
        batch = tensors | ({} if added is None else {"sizes": added["time_ids"]})
        batch |= {"noise": torch.randn_like(tensors["latents"]), "mask": mask}
        batch |= {"weight": torch.ones(len(mask)), "level": torch.rand(len(mask))}
        latents = tensors["latents"]
        mixed = torch.autocast(latents.device.type, dtype=latents.dtype, enabled=latents.dtype != torch.float32)
        with sdpa_kernel(kernels), mixed:
            loss, _ = loss_fn(networks, batch)
            loss.backward()
        torch.nn.utils.clip_grad_norm_(list(networks.parameters()), 1.0)
        optimiser.step()
        optimiser.zero_grad()

    return step


def _pipeline(bench: Bench) -> Any:
    parts: dict[str, Any] = dict.fromkeys(("tokenizer", "controlnet"))
    parts |= {"vae": bench.vae, "unet": twin(bench.parts.unet), "scheduler": bench.schedule}
    if bench.setting.family == "sd15":
        return JointPipeline(text_encoder=bench.texts[0], **parts)
    first, second = bench.texts
    return JointXLPipeline(text_encoder=first, text_encoder_2=second, tokenizer_2=cast(Any, None), **parts)


def step_of(way: str, bench: Bench) -> Step:
    """The loop's step of one of `WAYS`."""
    makers: dict[str, Callable[[], Step]] = {
        WAYS[0]: partial(diffusers_step, bench, cached=False),
        WAYS[1]: partial(diffusers_step, bench, cached=True),
        WAYS[2]: partial(our_step, bench, preserve=0.0),
        WAYS[3]: partial(our_step, bench, preserve=1.0),
    }
    return makers[way]()


def timed(setting: Setting, rounds: int, store: Path) -> dict[str, list[float]]:
    """Seconds of each way's steps; the ways take turns, and a first turn is not counted."""
    bench = Bench(setting, store)
    steps = {way: step_of(way, bench) for way in WAYS}
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(rounds + 1):
        for way, step in steps.items():
            started = time.perf_counter()
            step(number)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seconds[way] += [time.perf_counter() - started] if number else []
    return seconds


def memory(setting: Setting, way: str, store: Path) -> float:
    """Peak MiB of two steps of one way; for a process of its own."""
    step = step_of(way, Bench(setting, store))
    for number in range(2):
        step(number)
    return peak_memory()


def lora_page(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    setting, first = result["setting"], np.median(result["seconds"][WAYS[0]])
    lines = [
        f"{setting['family']}, {setting['pixels']}², batch {setting['batch']}, rank {RANK}, {setting['dtype']}, "
        f"{setting['device']}, random weights, {len(result['seconds'][WAYS[0]])} steps each.",
        "",
        "| step of a LoRA training | seconds, median | by diffusers' example | peak memory, MiB |",
        "| --- | ---: | ---: | ---: |",
    ]
    for way, seconds in result["seconds"].items():
        median = float(np.median(seconds))
        lines.append(f"| {way} | {median:.2f} | {median / first:.2f} | {result['peak_mib'][way]:.0f} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure; write `lora_speed.json` and `.md`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", choices=("sd15", "sdxl"), default="sd15")
    parser.add_argument("--pixels", type=int, default=256)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--steps", type=int, default=5, help="of each way")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--tiny", action="store_true", help="few channels, to try it out")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    o = parser.parse_args(arguments)
    setting = Setting(o.family, o.pixels, 1, o.batch, o.device, o.dtype, o.tiny)
    with TemporaryDirectory() as folder:
        seconds, peaks = timed(setting, o.steps, Path(folder)), {}
        for way in WAYS:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                peaks[way] = round(process.submit(memory, setting, way, Path(folder)).result(), 1)
    result = {"setting": asdict(setting), "seconds": seconds, "peak_mib": peaks, "machine": machine(o.device)}
    o.out.mkdir(parents=True, exist_ok=True)
    (o.out / "lora_speed.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (o.out / "lora_speed.md").write_text(lora_page(result), encoding="utf-8")
    Console().print(lora_page(result), markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
