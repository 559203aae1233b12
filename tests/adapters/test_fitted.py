"""Public adapters in a pipeline: each against its authors' mathematics, written out here, and out without a trace."""

# pyright: reportArgumentType=false
# (diffusers' hints are narrower than what it takes)
from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from diffusers import (
    ControlNetUnionModel,
    DDIMScheduler,
    StableDiffusionXLControlNetUnionPipeline,
    UNet2DConditionModel,
)
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from tests.adapters.test_assembly import halves, parts
from tests.helpers.public_files import random_state, shapes_of, write
from tests.helpers.tiny import dressed, noise_picture, seeded
from tests.pipelines.test_families import tiny_xl
from twinset.adapters.condition import FACE_LABELS
from twinset.adapters.lora.install import weigh_lora
from twinset.errors import InputError
from twinset.pipelines.denoising.guidance import Guidance
from twinset.pipelines.joint import JointPipeline
from twinset.pipelines.joint_xl import JointXLPipeline
from twinset.pipelines.loading.public_adapters import PersonReference

PROMPT, STEPS = "short hair, on the beach", 3
NAMES = {
    "face-id": "ip-adapter-faceid_sd15.bin",
    "face-id-plus-v2": "ip-adapter-faceid-plusv2_sd15.bin",
    "instant-id": "ip-adapter.bin",
    "ip-adapter-plus": "ip-adapter-plus_sd15.safetensors",
    "imagdressing": "IMAGDressing-v1_512.pt",
    "magic-clothing": "magic_clothing_768_vitonhd_joint.safetensors",
    "story-maker": "mask.bin",
}
WHOLE = torch.ones(1, 1, 256, 192)


def pipeline() -> JointPipeline:
    """A small pipeline with a CLIP image encoder of ViT-H's width."""
    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=1280, intermediate_size=64, num_hidden_layers=2, num_attention_heads=8, image_size=28, patch_size=14
    )
    pipe = JointPipeline(**parts(), image_encoder=CLIPVisionModelWithProjection(config).eval())
    pipe.set_progress_bar_config(disable=True)
    return pipe


def file(form: str, folder: Path, pipe: JointPipeline, seed: int = 5) -> tuple[Path, dict[str, Tensor]]:
    torch.manual_seed(seed)
    state = random_state(shapes_of(form, pipe.unet))
    return write(folder / NAMES[form], state), state


def drawn(pipe: JointPipeline, conditions: Any = (), **options: Any) -> Tensor:
    given = {"layout": dressed(), "generator": seeded(1), "num_inference_steps": STEPS, "output_type": "latent"}
    return pipe(PROMPT, conditions=conditions, **(given | options)).images


def heads(attn: Attention, x: Tensor) -> Tensor:
    return x.unflatten(2, (attn.heads, -1)).transpose(1, 2)


def softmax_attention(attn: Attention, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q kᵀ / √d) v, written out."""
    q, k, v = (heads(attn, x) for x in (q, k.expand(len(q), -1, -1), v.expand(len(q), -1, -1)))
    return ((q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1) @ v).transpose(1, 2).flatten(2)


class Decoupled:
    """h = Attn(q, K, V) + w Attn(q, K_ip t, V_ip t), IP-Adapter's equation 5; `tokens` by row of the batch."""

    def __init__(self, key: Tensor, value: Tensor, tokens: Tensor, weight: float):
        self.key, self.value, self.tokens, self.weight = key, value, tokens, weight

    def __call__(self, attn: Attention, hidden_states: Tensor, encoder_hidden_states: Any = None, **_: Any) -> Tensor:
        q, text = attn.to_q(hidden_states), encoder_hidden_states
        h = softmax_attention(attn, q, attn.to_k(text), attn.to_v(text))
        h = h + self.weight * softmax_attention(attn, q, self.tokens @ self.key.T, self.tokens @ self.value.T)
        return attn.to_out[0](h)


class Concatenated:
    """MagicClothing: attn1 over cat([h, ref], 1), the first half of what comes out."""

    def __init__(self, reference: Tensor):
        self.reference = reference

    def __call__(self, attn: Attention, hidden_states: Tensor, encoder_hidden_states: Any = None, **_: Any) -> Tensor:
        both = torch.cat([hidden_states, self.reference], dim=1)
        h = softmax_attention(attn, attn.to_q(both), attn.to_k(both), attn.to_v(both))
        return attn.to_out[0](h[:, : hidden_states.shape[1]])


def decoupled(unet: UNet2DConditionModel, state: dict[str, Tensor], tokens: Tensor, weight: float) -> Any:
    """A copy of the UNet in which tokens (B, n, X) speak at every cross-attention site."""
    theirs = copy.deepcopy(unet)
    for i, name in enumerate(theirs.attn_processors):
        if i % 2:
            k, v = (state[f"ip_adapter.{i}.to_{x}_ip.weight"] for x in "kv")
            attn: Any = theirs.get_submodule(name.removesuffix(".processor"))
            attn.set_processor(Decoupled(k, v, tokens, weight))
    return theirs


def loop(pipe: JointPipeline, evaluate: Any, coefficients: list[float]) -> Tensor:
    """DDIM by hand: `evaluate(latents, t)` gives the branches' noise, which are summed with their coefficients."""
    scheduler: Any = DDIMScheduler.from_config(pipe.scheduler.config)
    scheduler.set_timesteps(STEPS)
    latents = torch.randn(1, 4, 32, 24, generator=seeded(1)[0])
    for t in scheduler.timesteps:
        branches = evaluate(latents, t).chunk(len(coefficients))
        noise = sum(c * b for c, b in zip(coefficients, branches, strict=True))
        latents = scheduler.step(noise, t, latents, return_dict=False)[0]
    return latents


def texts(pipe: JointPipeline) -> tuple[Tensor, Tensor]:
    """(prompt, no prompt) hidden states."""
    words, empty = pipe.encode_texts(PROMPT, None, 1, (256, 192))
    return words.states, empty.states


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * float(theirs.abs().max()))


@pytest.mark.long
@torch.no_grad()
def test_instant_id_with_its_identity_net(tmp_path: Path) -> None:
    """Tokens in the UNet beside the text; the IdentityNet reads the tokens, and no text at all."""
    pipe = pipeline()
    pose_net, identity_net = pipe.nets
    path, state = file("instant-id", tmp_path, pipe)
    pipe.load_adapter(path, "face")
    embedding = np.random.default_rng(0).normal(size=512).astype(np.float32) * 3
    condition = pipe.face_condition("face", embedding, WHOLE, weight=0.8)
    pictures = [torch.rand(1, 3, 256, 192) for _ in pipe.nets]
    ours = drawn(pipe, [condition], layout=None, image=pictures, guidance_scale=3.0, controlnet_reads=[None, condition])

    projector = pipe.adapters["face"].adapter.projector
    assert projector is not None
    tokens = torch.cat([projector(torch.zeros(1, 1, 512)), projector(torch.tensor(embedding)[None, None])])
    words = torch.cat([texts(pipe)[1], texts(pipe)[0]])
    theirs = decoupled(pipe.unet, state, tokens, 0.8)

    def evaluate(latents: Tensor, t: Tensor) -> Tensor:
        both, residuals = latents.repeat(2, 1, 1, 1), []
        for net, read, picture in ((pose_net, words, pictures[0]), (identity_net, tokens, pictures[1])):
            down, mid = net(both, t, read, picture.repeat(2, 1, 1, 1), return_dict=False)
            residuals.append([*down, mid])
        *down, mid = (a + b for a, b in zip(*residuals, strict=True))
        return theirs(
            both, t, words, down_block_additional_residuals=tuple(down), mid_block_additional_residual=mid
        ).sample

    close(ours, loop(pipe, evaluate, [-2.0, 3.0]))
    assert (ours - drawn(pipe, [condition], layout=None, image=pictures, guidance_scale=3.0)).abs().max() > 1e-2


@torch.no_grad()
def test_magic_clothing_by_its_three_branches(tmp_path: Path) -> None:
    """u + g_cloth (cloth − u) + g_text (text − cloth); u attends to zeros in place of the garment."""
    pipe = pipeline()
    path, state = file("magic-clothing", tmp_path, pipe)
    pipe.load_adapter(path, "cloth")
    picture = noise_picture(256, 192)
    ours = drawn(
        pipe, [pipe.garment_condition("cloth", picture, WHOLE)], controlnet_conditioning_scale=0.0,
        guidance_scale=Guidance(7.5, garment=2.5, order=("garment", "text", "identity")),
    )  # fmt: skip

    garment_unet, seen = copy.deepcopy(pipe.unet), {}
    garment_unet.load_state_dict(state)
    for name, module in garment_unet.named_modules():
        if name.endswith("attn1"):
            module.register_forward_pre_hook(lambda _, inputs, name=name: seen.__setitem__(name, inputs[0]))
    words, empty = texts(pipe)
    garment_unet(pipe.encode(picture), 0, empty)
    theirs = copy.deepcopy(pipe.unet)
    for name, reference in seen.items():
        rows = torch.cat([torch.zeros_like(reference), reference, reference])
        attn: Any = theirs.get_submodule(name)
        attn.set_processor(Concatenated(rows))

    def evaluate(latents: Tensor, t: Tensor) -> Tensor:
        return theirs(latents.repeat(3, 1, 1, 1), t, torch.cat([empty, empty, words])).sample

    close(ours, loop(pipe, evaluate, [1 - 2.5, 2.5 - 7.5, 7.5]))


@pytest.mark.long
@torch.no_grad()
def test_story_maker_puts_everybody_into_one_attention(tmp_path: Path) -> None:
    pipe = pipeline()
    path, state = file("story-maker", tmp_path, pipe)
    pipe.load_adapter(path, "story")
    people = two_people(None, None)
    ours = drawn(pipe, pipe.person_conditions("story", people), guidance_scale=3.0, controlnet_conditioning_scale=0.0)

    projector = pipe.adapters["story"].adapter.projector
    assert projector is not None
    embeddings = F.normalize(torch.tensor(np.stack([p.embedding for p in people])).float())
    faces, bodies = (torch.cat([pipe.clip_states(getattr(p, x)) for p in people]) for x in ("crop", "body"))
    present = projector(embeddings, faces, bodies).flatten(0, 1)[None]
    absent = projector(0 * embeddings, 0 * faces, 0 * bodies).flatten(0, 1)[None]
    assert present.shape[1] == 60
    weigh_lora(pipe.unet, "story", 0.8)
    theirs = decoupled(pipe.unet, state, torch.cat([absent, present]), 0.8)  # the LoRA at 0.8 is in the copy, too
    weigh_lora(pipe.unet, "story", 0.0)
    words = torch.cat([texts(pipe)[1], texts(pipe)[0]])
    close(ours, loop(pipe, lambda latents, t: theirs(latents.repeat(2, 1, 1, 1), t, words).sample, [-2.0, 3.0]))


def two_people(*regions: Tensor | None) -> list[PersonReference]:
    rng = np.random.default_rng(1)
    return [
        PersonReference(rng.normal(size=512), noise_picture(224, 224, i), noise_picture(300, 200, i), region)
        for i, region in enumerate(regions)
    ]


@pytest.mark.long
@torch.no_grad()
def test_story_maker_gives_each_person_a_region(tmp_path: Path) -> None:
    """A person's tokens, beside the background's, speak in the person's region and nowhere else."""
    pipe = pipeline()
    pipe.load_adapter(file("story-maker", tmp_path, pipe)[0], "story")
    left, right = halves()
    both = pipe.person_conditions("story", two_people(None, None))[0]
    background, *persons = cast(Tensor, both.tokens)[0].split(20)
    nobody, *absent = cast(Tensor, both.absent)[0].split(20)
    apart = pipe.person_conditions("story", two_people(left, right))
    assert len(apart) == 2 and not torch.allclose(persons[0], persons[1]) and not torch.allclose(absent[0], absent[1])
    for condition, region, tokens, silence in zip(apart, (left, right), persons, absent, strict=True):
        torch.testing.assert_close(condition.tokens, torch.cat([background, tokens])[None])
        torch.testing.assert_close(condition.absent, torch.cat([nobody, silence])[None])
        assert torch.equal(condition.region, region)
        assert (condition.lora, condition.weight, condition.lora_weight) == ("story", 0.8, 0.8)
    with pytest.raises(InputError, match="1 of 2 people have a region; give one to each, or to none"):
        pipe.person_conditions("story", two_people(left, None))


@pytest.mark.long
@torch.no_grad()
def test_an_adapter_goes_where_the_pipeline_goes(tmp_path: Path) -> None:
    """Loaded in single precision, used in double: each of its networks is cast, its garment UNet too."""
    pipe, forms = pipeline(), ("face-id-plus-v2", "ip-adapter-plus", "imagdressing")
    for form, path in {form: file(form, tmp_path, pipe)[0] for form in forms}.items():
        pipe.load_adapter(path, form)
    crop, cloth = noise_picture(224, 224), noise_picture(256, 192)
    embedding = np.random.default_rng(1).normal(size=512)

    def conditions() -> list[Any]:
        return [
            pipe.face_condition("face-id-plus-v2", embedding, WHOLE, crop),
            pipe.image_condition("ip-adapter-plus", cloth, WHOLE),
            pipe.garment_condition("imagdressing", cloth, WHOLE),
        ]

    options = {"guidance_scale": 3.0, "latents": torch.randn(1, 4, 32, 24)}
    single = drawn(pipe, conditions(), **options)
    pipe.to(torch.float64)
    options["latents"] = options["latents"].double()
    moved = conditions()
    networks = [x for c in moved for x in (c.sites, c.reference_sites) if x is not None]
    tensors = [x for c in moved for x in (c.tokens, c.absent, *(c.reference or {}).values()) if x is not None]
    assert {p.dtype for n in networks for p in n.parameters()} == {x.dtype for x in tensors} == {torch.float64}
    double = drawn(pipe, moved, **options)
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), single, rtol=1e-2, atol=1e-3 * float(single.abs().max()))


@pytest.mark.long
@torch.no_grad()
def test_face_id_plus_reads_embedding_and_crop(tmp_path: Path) -> None:
    pipe = pipeline()
    path, _ = file("face-id-plus-v2", tmp_path, pipe)
    fitted = pipe.load_adapter(path, "face")
    crop, embedding = noise_picture(224, 224), np.full(512, 2.0)
    condition = pipe.face_condition("face", embedding, dressed().region(FACE_LABELS), crop, structure=0.5)
    projector: Any = fitted.adapter.projector
    normed, states = torch.full((1, 512), 512**-0.5), pipe.clip_states(crop)
    x = projector.norm(projector.proj(normed).reshape(1, 4, -1))
    torch.testing.assert_close(condition.tokens, x + 0.5 * projector.perceiver_resampler(x, states))
    assert (drawn(pipe, [condition]) - drawn(pipe)).abs().max() > 1e-2
    with pytest.raises(InputError, match="also reads the face crop"):
        pipe.face_condition("face", embedding, WHOLE)
    with pytest.raises(InputError, match="use face_condition for FaceID"):
        pipe.image_condition("face", crop, WHOLE)


@pytest.mark.long
def test_several_adapters_and_a_lora_leave_no_trace(tmp_path: Path) -> None:
    """FaceID with its LoRA, IP-Adapter-Plus and a garment UNet beside a LoRA of the user's; out again one by one."""
    from peft import LoraConfig

    pipe = pipeline()
    files = {form: file(form, tmp_path, pipe)[0] for form in ("face-id", "ip-adapter-plus", "imagdressing")}
    before = {name: weight.clone() for name, weight in pipe.unet.state_dict().items()}
    plain = drawn(pipe)
    pipe.unet.add_adapter(LoraConfig(r=2, target_modules=["to_q"], init_lora_weights=False), "mine")
    pipe.unet.set_adapters(["mine"], [0.5])
    with_lora = drawn(pipe)
    for form, path in files.items():
        pipe.load_adapter(path, form)
    face = pipe.face_condition("face-id", np.ones(512), WHOLE)
    clothes = (
        pipe.image_condition("ip-adapter-plus", noise_picture(300, 200), WHOLE),
        pipe.garment_condition("imagdressing", noise_picture(256, 192), WHOLE),
    )
    everything = drawn(pipe, [face, *clothes], guidance_scale=3.0)
    assert not torch.allclose(everything, with_lora)
    with pytest.raises(InputError, match="'mine' is there already"):
        pipe.load_adapter(files["face-id"], "mine")
    for form in files:
        pipe.unload_adapter(form)
    torch.testing.assert_close(drawn(pipe), with_lora)  # the user's LoRA is awake again, at its weight
    assert not torch.allclose(with_lora, plain)
    pipe.unet.unload_lora()
    assert all(torch.equal(before[name], weight) for name, weight in pipe.unet.state_dict().items())
    assert torch.equal(drawn(pipe), plain)
    with pytest.raises(InputError, match="'face-id' is not loaded; loaded: none"):
        pipe.unload_adapter("face-id")


def test_a_bad_file_changes_nothing(tmp_path: Path) -> None:
    pipe = pipeline()
    before = {name: weight.clone() for name, weight in pipe.unet.state_dict().items()}
    path, state = file("face-id", tmp_path, pipe)
    key = "ip_adapter.0.to_q_lora.down.weight"
    for wrong in (state[key][:, :-1], torch.full_like(state[key], float("nan"))):
        write(path, state | {key: wrong})
        with pytest.raises(InputError):
            pipe.load_adapter(path, "face")
        assert pipe.adapters == {} and not getattr(pipe.unet, "_hf_peft_config_loaded", False)
    assert all(torch.equal(before[name], weight) for name, weight in pipe.unet.state_dict().items())


def test_controlnet_union_sees_the_pose() -> None:
    """A Union net is told that it sees a pose: the latents of diffusers' own pipeline for it."""
    given = tiny_xl()
    torch.manual_seed(0)
    net = ControlNetUnionModel(
        block_out_channels=(16, 32), down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), layers_per_block=1,
        cross_attention_dim=64, attention_head_dim=(2, 4), norm_num_groups=8, use_linear_projection=True,
        conditioning_embedding_out_channels=(8, 16, 16, 16), num_trans_channel=16, num_trans_head=2,
        num_proj_channel=16, addition_time_embed_dim=8, projection_class_embeddings_input_dim=80,
        transformer_layers_per_block=(1, 2),
    ).eval()  # fmt: skip
    for parameter in net.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.05)
    given["controlnet"] = net
    picture, start = torch.rand(1, 3, 256, 192), torch.randn(1, 4, 32, 24)
    call = {"latents": start, "num_inference_steps": 2, "guidance_scale": 3.0, "output_type": "latent"}
    theirs: Any = StableDiffusionXLControlNetUnionPipeline(**given, add_watermarker=False)(
        PROMPT, control_image=[picture], control_mode=[0], **call
    )
    pipe = JointXLPipeline(**given, add_watermarker=False)
    ours = pipe(PROMPT, picture, **call).images
    close(ours, theirs.images)
    assert (ours - pipe(PROMPT, picture, controlnet_conditioning_scale=0.0, **call).images).abs().max() > 1e-2
