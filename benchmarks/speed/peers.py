"""Contestants of the speed benchmark: one denoising pass each, ours and the ways of others."""

# pyright: reportArgumentType=false
# (diffusers' hints are narrower than what it takes)
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from diffusers import (
    ControlNetModel,
    StableDiffusionControlNetPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from torch import Tensor, nn

from twinset.adapters.condition import Condition, TextConditioning
from twinset.adapters.garment import reference_features
from twinset.adapters.joint_attention import JointAttention
from twinset.benchmarks.speed.parts import NetworkParts
from twinset.pipelines.denoising.controlnets import Control, Residuals, evaluate_controlnet
from twinset.pipelines.denoising.denoise import denoise, predict
from twinset.pipelines.denoising.economy import EXACT, Economy
from twinset.pipelines.denoising.guidance import Guidance

SCALE = 7.5
KINDS = ("garment", "identity")
PIPELINES: dict[tuple[str, bool], Any] = {
    ("sd15", False): StableDiffusionPipeline,
    ("sd15", True): StableDiffusionControlNetPipeline,
    ("sdxl", False): StableDiffusionXLPipeline,
    ("sdxl", True): StableDiffusionXLControlNetPipeline,
}


class Contestant:
    """One way of denoising.

    Attributes:
        parts: what it is made of.
        nets: networks that `torch.compile` may take.
        embedders: layers whose only work is for the whole pass, although it comes in the first step.
        eager_first: whether each pass begins with an uncompiled step. What a pass computes once, in its first step,
            must outlive the step; memory of CUDA graphs does not.
    """

    nets: list[nn.Module]
    embedders: Sequence[nn.Module] = ()
    eager_first = False

    def __init__(self, parts: NetworkParts):
        self.parts = parts

    def once(self) -> Any:
        """What is computed once per picture, before the loop."""

    def loop(self, ready: Any, steps: int) -> Tensor:
        """The loop, from noise to clean latents (N, 4, h, w).

        Args:
            ready: what `once` gave.
            steps: denoising steps.
        """
        raise NotImplementedError

    def modules(self) -> list[nn.Module]:
        """Everything whose weights the pass reads, each with weights of its own in real use."""
        return self.nets

    def compile(self, mode: str) -> None:
        """Have torch.compile take the networks."""
        self.eager_first = mode in ("reduce-overhead", "max-autotune")
        for net in self.nets:
            net.compile(mode=mode)

    def run(self, steps: int) -> Tensor:
        """A whole pass."""
        return self.loop(self.once(), steps)

    def begin(self, step: int) -> None:
        """Tell torch.compile that a step begins."""
        if self.eager_first:
            torch.compiler.set_stance("force_eager" if step == 0 else "default")
            torch.compiler.cudagraph_mark_step_begin()

    def timesteps(self, steps: int) -> tuple[Any, Tensor]:
        """A scheduler, and its timesteps."""
        scheduler = self.parts.scheduler()
        scheduler.set_timesteps(steps, self.parts.setting.device)
        return scheduler, scheduler.timesteps

    def text(self) -> TextConditioning:
        """The words of both branches, negative prompt first, (2N) rows."""
        count = self.parts.setting.batch
        return TextConditioning.cat([self.parts.empty.repeat(count), self.parts.words.repeat(count)])


class Diffusers(Contestant):
    """diffusers' own pipeline: plain, or with two ControlNets and two masked IP-Adapters (FaceID-Plus with its LoRA).

    Args:
        parts: what it is made of.
        controlled: with the two ControlNets.
        adapted: with the two IP-Adapters.
    """

    def __init__(self, parts: NetworkParts, controlled: bool = False, adapted: bool = False):
        super().__init__(parts)
        self.controlled, self.adapted = controlled, adapted
        self.unet = parts.dressed_unet("none")
        if adapted:
            self._adapt()
        more: dict[str, Any] = {"controlnet": parts.controlnets()} if controlled else {}
        bare = ["vae", "text_encoder", "tokenizer", "feature_extractor"]
        if parts.setting.family == "sdxl":
            bare += ["text_encoder_2", "tokenizer_2"]
            more["add_watermarker"] = False
        else:
            bare += ["safety_checker"]
            more["requires_safety_checker"] = False
        kind = PIPELINES[parts.setting.family, controlled]
        self.pipe = kind(**dict.fromkeys(bare), unet=self.unet, scheduler=parts.scheduler(), **more)
        self.pipe.set_progress_bar_config(disable=True)
        self.nets = [self.unet, *(more["controlnet"] if controlled else [])]

    def _adapt(self) -> None:
        """Load both adapters as `load_ip_adapter` does."""
        nests = []
        for state in (self.parts.face_state, self.parts.garment_state):
            nest: dict[str, dict[str, Tensor]] = {"image_proj": {}, "ip_adapter": {}}
            for key, value in state.items():
                group, _, name = key.partition(".")
                nest[group][name] = value
            nests.append(nest)
        lora = self.unet._load_ip_adapter_loras(nests)[0]
        self.unet._load_ip_adapter_weights(nests)
        self.unet.load_lora_adapter(lora, prefix="unet", adapter_name="faceid_0")
        face = cast(Any, self.unet.encoder_hid_proj).image_projection_layers[0]
        count = self.parts.setting.batch
        face.clip_embeds = torch.cat([x[1].repeat(count, 1, 1) for x in (self.parts.nobody, self.parts.face)])[:, None]
        face.shortcut = False

    def loop(self, ready: Any, steps: int) -> Tensor:
        """diffusers' own loop."""
        p, count = self.parts, self.parts.setting.batch
        self.begin(0)
        given: dict[str, Any] = {"prompt_embeds": p.words.states, "negative_prompt_embeds": p.empty.states}
        if p.setting.family == "sdxl":
            given["pooled_prompt_embeds"] = p.words.added["text_embeds"]
            given["negative_pooled_prompt_embeds"] = p.empty.added["text_embeds"]
        if self.controlled:
            given["image"] = p.pictures
        if self.adapted:
            pairs = [(p.nobody[0], p.face[0]), (p.nothing, p.clothes)]
            given["ip_adapter_image_embeds"] = [torch.cat(pair)[:, None] for pair in pairs]
            given["cross_attention_kwargs"] = {"ip_adapter_masks": list(p.regions)}
        return self.pipe(
            **given,
            num_images_per_prompt=count,
            latents=p.latents,
            height=p.setting.pixels,
            width=p.setting.pixels,
            num_inference_steps=steps,
            guidance_scale=SCALE,
            output_type="latent",
            return_dict=False,
            callback_on_step_end=self._step_done,
        )[0]

    def _step_done(self, _pipe: Any, step: int, _timestep: Any, given: dict[str, Any]) -> dict[str, Any]:
        self.begin(step + 1)
        return given


class Ours(Contestant):
    """This project's pass.

    Args:
        parts: what it is made of.
        controlled: with two ControlNets.
        tokens: with identity and garment tokens, each in its region.
        reference: with reference attention to the garment.
        lora: see `NetworkParts.dressed_unet`.
        economy: what is reused although it comes out a little different.
        guided: part of the pass in which guidance acts.
    """

    def __init__(
        self,
        parts: NetworkParts,
        controlled: bool = True,
        tokens: bool = True,
        reference: bool = True,
        lora: str = "beside",
        economy: Economy = EXACT,
        guided: tuple[float, float] = (0.0, 1.0),
    ):
        super().__init__(parts)
        self.tokens, self.reference, self.economy = tokens, reference, economy
        self.guidance = Guidance(SCALE, start=guided[0], end=guided[1])
        self.unet: UNet2DConditionModel = parts.dressed_unet(lora)
        self.reference_unet = parts.dressed_unet("none")
        self.controlnets: list[ControlNetModel] = parts.controlnets() if controlled else []
        self.attention = JointAttention(self.unet).inject()
        self.reader = JointAttention(self.reference_unet).inject()
        self.nets = [self.unet, *self.controlnets]
        self.embedders = [net.controlnet_cond_embedding for net in self.controlnets]

    def modules(self) -> list[nn.Module]:
        """Networks, adapters and reference UNet."""
        p = self.parts
        tokens = [p.face_tokens, p.face_sites, p.garment_tokens, p.garment_sites] if self.tokens else []
        return [*self.nets, *tokens, *([self.reference_unet, p.reference_sites] if self.reference else [])]

    @torch.no_grad()
    def once(self) -> list[Control]:
        """Tokens, reference pass, all keys and values; the ControlNets embed their pictures in the first step."""
        self.attention.clear()
        for condition in self.conditions():
            self.attention.attach(condition, self.parts.latent_size)
        return [Control(net, (picture,)) for net, picture in zip(self.controlnets, self.parts.pictures, strict=False)]

    def conditions(self) -> list[Condition]:
        """The identity and the garment."""
        p, found = self.parts, []
        face, clothes = p.regions
        if self.tokens:
            present, absent = p.face_tokens(*p.face), p.face_tokens(*p.nobody)
            found.append(Condition("identity", present, face, p.face_sites, absent=absent))
            present, absent = p.garment_tokens(p.clothes), p.garment_tokens(p.nothing)
            found.append(Condition("garment", present, clothes, p.garment_sites, absent=absent))
        if self.reference:
            features = self.features(p.garment_latents)
            sites = p.reference_sites
            found.append(Condition("garment", None, clothes, None, reference=features, reference_sites=sites))
        return found

    def features(self, latents: Tensor) -> dict[str, Tensor]:
        """What the reference UNet sees in a garment."""
        return reference_features(self.reader, self.reference_unet, latents, self.parts.empty)

    def loop(self, ready: list[Control], steps: int) -> Tensor:
        """The pass of `twinset.pipelines.denoising.denoise`."""
        p = self.parts
        scheduler, timesteps = self.timesteps(steps)
        counted = p.setting.device == "meta"

        def step_done(step: int, _timestep: Tensor, latents: Tensor, *words: TextConditioning) -> Any:
            self.begin(step + 1)
            return (torch.zeros(latents.shape) if counted and step == steps - 1 else latents, *words)

        def branches_at(step: int, steps: int) -> list[Any]:
            return self.guidance.at(step, steps, KINDS if self.tokens or self.reference else ())

        self.begin(0)
        return denoise(
            self.unet,
            ready,
            self.attention,
            scheduler,
            p.latents,
            timesteps,
            p.words,
            p.empty,
            branches_at,
            economy=self.economy,
            on_step=step_done,
        )


class Naive(Ours):
    """The same picture as `Ours`, with everything computed anew at every step, as in IDM-VTON.

    The reference UNet runs beside the UNet; keys and values of text, tokens and reference are projected for both
    branches, with zeros in place of the garment in the unconditional one; ControlNets embed their pictures.

    Args:
        parts: what it is made of.
        both: whether the reference UNet runs for both branches too (IDM-VTON runs it for one).
        options: as `Ours`.
    """

    def __init__(self, parts: NetworkParts, both: bool = False, **options: Any):
        super().__init__(parts, **options)
        self.both, self.embedders = both, ()

    def once(self) -> None:
        """Nothing."""

    def conditions(self) -> list[Condition]:
        """As `Ours`, but with rows for both branches, absence first."""
        count, found = self.parts.setting.batch, []
        for c in super().conditions():
            tokens = None if c.tokens is None else _both(cast(Tensor, c.absent), c.tokens, count)
            reference = c.reference and {
                name: _both(torch.zeros_like(x[-1:]), x[-1:], count) for name, x in c.reference.items()
            }
            found.append(
                Condition(c.kind, tokens, c.region, c.sites, reference=reference, reference_sites=c.reference_sites)
            )
        return found

    def features(self, latents: Tensor) -> dict[str, Tensor]:
        """As `Ours`; in both branches if asked for."""
        return super().features(latents.repeat(1 + self.both, 1, 1, 1))

    @torch.no_grad()
    def loop(self, ready: None, steps: int) -> Tensor:
        """Everything anew at every step."""
        count, text = self.parts.setting.batch, self.text()
        scheduler, timesteps = self.timesteps(steps)
        latents = self.parts.latents * scheduler.init_noise_sigma
        for step, timestep in enumerate(timesteps):
            self.begin(step)
            self.attention.clear()
            for condition in self.conditions():
                self.attention.attach(condition, self.parts.latent_size)
            self.attention.set_weights(step, steps, [KINDS, KINDS], count)
            noisy = scheduler.scale_model_input(latents, timestep).repeat(2, 1, 1, 1)
            said = [
                evaluate_controlnet(net, noisy, timestep, text, picture.repeat(2 * count, 1, 1, 1))
                for net, picture in zip(self.controlnets, self.parts.pictures, strict=False)
            ]
            output = predict(self.unet, noisy, timestep, text, Residuals.sum(said))
            latents = scheduler.step(guided(output), timestep, latents, return_dict=False)[0]
        return latents


class Concatenated(Contestant):
    """CatVTON's way: the garment's latents below the picture's, and no cross-attention; twice the tokens at every step.

    CatVTON's own UNet has nine input channels, which add nothing that counts.
    """

    def __init__(self, parts: NetworkParts):
        super().__init__(parts)
        self.unet = parts.dressed_unet("none")
        former = self.unet.attn_processors
        self.unet.set_attn_processor({n: Skipped() if "attn2" in n else f for n, f in former.items()})
        self.nets = [self.unet]

    @torch.no_grad()
    def loop(self, ready: None, steps: int) -> Tensor:
        """The garment's latents below the picture's, in one attention."""
        garment, count = self.parts.garment_latents, self.parts.setting.batch
        below = _both(torch.zeros_like(garment), garment, count)
        added = dict(self.text().added) or None
        scheduler, timesteps = self.timesteps(steps)
        latents = self.parts.latents * scheduler.init_noise_sigma
        for step, timestep in enumerate(timesteps):
            self.begin(step)
            noisy = torch.cat([scheduler.scale_model_input(latents, timestep).repeat(2, 1, 1, 1), below], 2)
            output = self.unet(noisy, timestep, None, added_cond_kwargs=added).sample[:, :, : latents.shape[2]]
            latents = scheduler.step(guided(output), timestep, latents, return_dict=False)[0]
        return latents


class Skipped:
    """Attention processor that gives back what it gets."""

    def __call__(self, attn: Any, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        return hidden_states


def guided(output: Tensor) -> Tensor:
    """Classifier-free guidance over two branches, unconditional first."""
    without, given = output.chunk(2)
    return without + SCALE * (given - without)


def _both(absent: Tensor, present: Tensor, count: int) -> Tensor:
    """`count` rows of each."""
    return torch.cat([x.expand(count, *x.shape[1:]) for x in (absent, present)])
