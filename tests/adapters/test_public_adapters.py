"""Public adapter files: read by key, numerically what their authors' formulas and diffusers make of them."""

# pyright: reportArgumentType=false
# (diffusers' hints are narrower than what it takes)
from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor
from torch.nn import functional as F

from tests.helpers.public_files import channels, nested, random_state, shapes_of, tiny_unet, write
from twinset.adapters.condition import Condition
from twinset.adapters.joint_attention import JointAttention, SiteProjections
from twinset.adapters.public import LayoutError, PublicAdapter, read_adapter
from twinset.adapters.public.face_id import read_face_id

NAMES = {
    "face-id": "ip-adapter-faceid_sd15.bin",
    "face-id-plus": "ip-adapter-faceid-plus_sd15.bin",
    "face-id-plus-v2": "ip-adapter-faceid-plusv2_sdxl.bin",
    "ip-adapter-plus": "ip-adapter-plus_sd15.safetensors",
    "instant-id": "ip-adapter.bin",
    "imagdressing": "IMAGDressing-v1_512.pt",
    "magic-clothing": "magic_clothing_768_vitonhd_joint.safetensors",
    "story-maker": "mask.bin",
}
CLIP_STATES = 9  # 257 in the real encoder


def published(form: str, folder: Path, unet: UNet2DConditionModel) -> tuple[Path, dict[str, Tensor]]:
    state = random_state(shapes_of(form, unet))
    return write(folder / NAMES[form], state), state


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    """Latents, text tokens, timestep; the same at every call."""
    same = torch.Generator().manual_seed(3)
    return torch.randn(2, 4, 8, 8, generator=same), torch.randn(2, 7, 128, generator=same), torch.tensor(500)


def joint_output(
    unet: UNet2DConditionModel, adapter: PublicAdapter, tokens: Tensor, reference: dict[str, Tensor] | None = None
) -> Tensor:
    """The UNet's output with the adapter's tokens or reference in joint attention."""
    latents, text, t = inputs()
    condition = Condition(
        adapter.kind,
        tokens,
        torch.ones(1, 1, 8, 8),
        adapter.sites or SiteProjections({}, None),
        reference=reference,
        reference_sites=adapter.reference_sites,
    )
    attention = JointAttention(unet).inject()
    attention.attach(condition, (8, 8))
    attention.set_weights(0, 1, [(adapter.kind,)], len(latents))
    output = unet(latents, t, encoder_hidden_states=text).sample
    attention.clear()
    attention.eject()
    return output


# --- against diffusers ------------------------------------------------------------------------------------------


def in_diffusers(unet: UNet2DConditionModel, state: dict[str, Tensor], image: Tensor, **options: Any) -> Tensor:
    """The UNet's output with the file loaded by diffusers; `options` are set on its projection layer."""
    theirs, file = copy.deepcopy(unet), nested(state, ("image_proj", "ip_adapter"))
    lora = theirs._load_ip_adapter_loras([file]).get(0)
    theirs._load_ip_adapter_weights([file])
    if lora is not None:
        theirs.load_lora_adapter(lora, prefix="unet", adapter_name="faceid_0")
    for name, value in options.items():
        setattr(theirs.get_submodule("encoder_hid_proj.image_projection_layers.0"), name, value)
    latents, text, t = inputs()
    embeds = {"image_embeds": [image[:, None]]}
    return theirs(latents, t, encoder_hidden_states=text, added_cond_kwargs=embeds).sample


def agree(unet: UNet2DConditionModel, adapter: PublicAdapter, tokens: Tensor, expected: Tensor) -> None:
    """Our output is diffusers', and not that of the plain UNet."""
    latents, text, t = inputs()
    plain = unet(latents, t, encoder_hidden_states=text).sample
    if adapter.lora is not None:
        unet.load_lora_adapter(adapter.lora, prefix=None, adapter_name="face")
    ours = joint_output(unet, adapter, tokens)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-4)
    assert (ours - plain).abs().max() > 1e-3


@pytest.mark.parametrize("layers", [1, 2])
def test_face_id_equals_diffusers(tmp_path: Path, layers: int):
    unet = tiny_unet(layers)
    path, state = published("face-id", tmp_path, unet)
    embedding = F.normalize(torch.randn(2, 512))
    expected = in_diffusers(unet, state, embedding)
    adapter = read_adapter(path, unet)
    agree(unet, adapter, adapter.projector(embedding), expected)


@pytest.mark.parametrize("form", ["face-id-plus", "face-id-plus-v2"])
def test_face_id_plus_equals_diffusers(tmp_path: Path, form: str):
    unet = tiny_unet()
    path, state = published(form, tmp_path, unet)
    embedding, states = F.normalize(torch.randn(2, 512)), torch.randn(2, CLIP_STATES, 1280)
    v2 = form.endswith("v2")
    expected = in_diffusers(unet, state, embedding, clip_embeds=states[:, None], shortcut=v2, shortcut_scale=0.7)
    adapter = read_adapter(path, unet)
    agree(unet, adapter, adapter.projector(embedding, states, s=0.7), expected)


@pytest.mark.long
@pytest.mark.parametrize(("form", "kind"), [("ip-adapter-plus", "garment"), ("instant-id", "identity")])
def test_query_resamplers_equal_diffusers(tmp_path: Path, form: str, kind: str):
    unet = tiny_unet()
    path, state = published(form, tmp_path, unet)
    states = torch.randn(2, 1, 512) if form == "instant-id" else torch.randn(2, CLIP_STATES, 1280)
    expected = in_diffusers(unet, state, states)
    adapter = read_adapter(path, unet)
    assert (adapter.kind, adapter.lora) == (kind, None)
    agree(unet, adapter, adapter.projector(states), expected)


# --- against the formulas ---------------------------------------------------------------------------------------


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """softmax(q kᵀ / √d) v, head by head."""
    size = q.shape[-1] // heads
    parts = []
    for a, b, c in zip(q.split(size, -1), k.split(size, -1), v.split(size, -1), strict=True):
        parts.append(((a @ b.transpose(1, 2)) / math.sqrt(size)).softmax(-1) @ c)
    return torch.cat(parts, -1)


def resample(state: dict[str, Tensor], prefix: str, tokens: Tensor, states: Tensor) -> Tensor:
    """IP-Adapter's resampler, written out."""
    w = {k.removeprefix(prefix): t for k, t in state.items() if k.startswith(prefix)}

    def normed(key: str, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * w[f"{key}.weight"] + w[f"{key}.bias"]

    features = states @ w["proj_in.weight"].T + w["proj_in.bias"]
    for i in range(4):
        inner = normed(f"layers.{i}.0.norm2", tokens)
        context = torch.cat([normed(f"layers.{i}.0.norm1", features), inner], 1)
        k, v = (context @ w[f"layers.{i}.0.to_kv.weight"].T).chunk(2, -1)
        q = inner @ w[f"layers.{i}.0.to_q.weight"].T
        tokens = tokens + attend(q, k, v, q.shape[-1] // 64) @ w[f"layers.{i}.0.to_out.weight"].T
        hidden = F.gelu(normed(f"layers.{i}.1.0", tokens) @ w[f"layers.{i}.1.1.weight"].T)
        tokens = tokens + hidden @ w[f"layers.{i}.1.3.weight"].T
    return normed("norm_out", tokens @ w["proj_out.weight"].T + w["proj_out.bias"])


def test_story_maker_tokens_are_its_formula(tmp_path: Path):
    unet = tiny_unet()
    path, state = published("story-maker", tmp_path, unet)
    adapter = read_adapter(path, unet)
    people, faces, bodies = torch.randn(2, 512), torch.randn(2, CLIP_STATES, 1280), torch.randn(2, CLIP_STATES, 1280)
    w = {k.removeprefix("image_proj_model."): t for k, t in state.items()}
    hidden = F.gelu(people @ w["proj.0.weight"].T + w["proj.0.bias"])
    x = (hidden @ w["proj.2.weight"].T + w["proj.2.bias"]).reshape(2, 4, 128)
    x = F.layer_norm(x, (128,), w["norm.weight"], w["norm.bias"])
    body = resample(w, "resample.", w["resample.latents"].expand(2, -1, -1), bodies)
    t = torch.cat([x + resample(w, "perceiver_resampler.", x, faces), body], 1) + w["pos_embed"][:2]
    residual = F.layer_norm(
        t @ w["proj_out.weight"].T + w["proj_out.bias"], (128,), w["norm_out.weight"], w["norm_out.bias"]
    )
    expected = torch.cat([w["bg_embed"], t + residual])
    torch.testing.assert_close(adapter.projector(people, faces, bodies), expected, atol=1e-4, rtol=1e-4)
    assert (adapter.kind, adapter.strength) == ("identity", 0.8)
    assert adapter.sites is not None and adapter.lora is not None
    with pytest.raises(ValueError, match="4 people; StoryMaker has positions for 3"):
        adapter.projector(torch.zeros(4, 512), faces, bodies)


class WrittenOut(AttnProcessor2_0):
    """IMAGDressing's self-attention site: `out(Attn(q, K, V) + Attn(q, ref K_refᵀ, ref V_refᵀ))`."""

    def __init__(self, key: Tensor, value: Tensor, reference: Tensor):
        super().__init__()
        self.key, self.value, self.reference = key, value, reference

    def __call__(self, attn: Attention, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:  # type: ignore[override]
        q = attn.to_q(hidden_states)
        own = attend(q, attn.to_k(hidden_states), attn.to_v(hidden_states), attn.heads)
        added = attend(q, self.reference @ self.key.T, self.reference @ self.value.T, attn.heads)
        return attn.to_out[0](own + added)


def test_imagdressing_adds_its_reference_attention(tmp_path: Path):
    unet = tiny_unet()
    path, state = published("imagdressing", tmp_path, unet)
    adapter = read_adapter(path, unet)
    assert (adapter.kind, adapter.attention, adapter.sites, adapter.lora) == ("garment", "added", None, None)
    assert adapter.reference_unet_state is not None
    reference_unet = tiny_unet()
    reference_unet.load_state_dict(adapter.reference_unet_state)
    torch.testing.assert_close(reference_unet.conv_in.weight, state["module.ref_unet.conv_in.weight"])
    words = adapter.projector(torch.randn(2, CLIP_STATES, 1280))
    recorder = JointAttention(reference_unet).inject()
    with recorder.recording() as features:
        reference_unet(torch.randn(2, 4, 8, 8), 0, encoder_hidden_states=words)

    theirs = copy.deepcopy(unet)
    sites = [name.removesuffix(".processor") for name in theirs.attn_processors]
    modules = "module.adapter_modules"
    for i, name in enumerate(sites):
        if i % 2 == 0:
            k, v = state[f"{modules}.{i}.to_k_ref.weight"], state[f"{modules}.{i}.to_v_ref.weight"]
            theirs.get_submodule(name).set_processor(WrittenOut(k, v, features[name]))  # type: ignore[operator]
    latents, text, t = inputs()
    expected = theirs(latents, t, encoder_hidden_states=text).sample
    torch.testing.assert_close(joint_output(unet, adapter, words, features), expected, atol=1e-5, rtol=1e-4)
    assert (unet(latents, t, encoder_hidden_states=text).sample - expected).abs().max() > 1e-3


def test_magic_clothing_is_a_garment_unet(tmp_path: Path):
    path, state = published("magic-clothing", tmp_path, tiny_unet())
    for unet in (tiny_unet(), tiny_unet(in_channels=9)):  # the garment's UNet has 4 channels beside an inpainting one
        adapter = read_adapter(path, unet)
        assert (adapter.kind, adapter.attention, adapter.projector) == ("garment", "concatenated", None)
        tiny_unet().load_state_dict(adapter.reference_unet_state or {}, strict=True)
    assert torch.equal((adapter.reference_unet_state or {})["conv_out.weight"], state["conv_out.weight"])


# --- LoRA -------------------------------------------------------------------------------------------------------


def base_weights(unet: UNet2DConditionModel) -> dict[str, Tensor]:
    """The UNet's own weights, also while PEFT wraps its layers."""
    return {k.replace(".base_layer", ""): t.clone() for k, t in unet.state_dict().items() if ".lora_" not in k}


def test_lora_is_added_at_scale_one_and_leaves_no_trace(tmp_path: Path):
    unet = tiny_unet()
    path, state = published("face-id", tmp_path, unet)
    adapter = read_adapter(path, unet)
    before, (latents, text, t) = base_weights(unet), inputs()
    plain = unet(latents, t, encoder_hidden_states=text).sample
    merged = copy.deepcopy(unet)
    for i, name in enumerate(n.removesuffix(".processor") for n in unet.attn_processors):
        for target in ("q", "k", "v", "out"):
            layer = merged.get_submodule(f"{name}.to_{target}" + (".0" if target == "out" else ""))
            key = f"ip_adapter.{i}.to_{target}_lora"
            layer.weight.add_(state[f"{key}.up.weight"] @ state[f"{key}.down.weight"])  # type: ignore[operator]
    unet.load_lora_adapter(adapter.lora, prefix=None, adapter_name="face")
    with_lora = unet(latents, t, encoder_hidden_states=text).sample
    expected = merged(latents, t, encoder_hidden_states=text).sample
    torch.testing.assert_close(with_lora, expected, atol=1e-4, rtol=1e-4)
    assert (with_lora - plain).abs().max() > 1e-3
    unet.delete_adapters("face")
    after = base_weights(unet)
    assert after.keys() == before.keys() and all(torch.equal(after[k], before[k]) for k in before)
    assert torch.equal(unet(latents, t, encoder_hidden_states=text).sample, plain)
    unet.unload_lora()
    assert unet.state_dict().keys() == before.keys()


def test_a_file_can_be_read_beside_a_loaded_lora_and_ip_adapter(tmp_path: Path):
    unet = tiny_unet()
    path, state = published("face-id", tmp_path, unet)
    first = read_adapter(path, unet)
    unet.load_lora_adapter(first.lora, prefix=None, adapter_name="face")
    unet._load_ip_adapter_weights([nested(state, ("image_proj", "ip_adapter"))])
    again = read_adapter(path, unet)
    assert again.lora is not None and first.lora is not None
    assert all(torch.equal(again.lora[k], first.lora[k]) for k in first.lora)
    garment, _ = published("magic-clothing", tmp_path, tiny_unet())
    assert read_adapter(garment, unet).reference_unet_state


# --- what is refused --------------------------------------------------------------------------------------------


@pytest.mark.long
def test_the_form_is_told_from_the_keys(tmp_path: Path):
    unet = tiny_unet()
    for form in NAMES:
        path, _ = published(form, tmp_path, unet)
        assert isinstance(read_adapter(path, unet), PublicAdapter)
    plus, _ = published("face-id-plus-v2", tmp_path, unet)
    renamed = plus.rename(tmp_path / "face.bin")
    with pytest.raises(LayoutError, match='only the name tells apart; keep the published name or say form="face-id'):
        read_adapter(renamed, unet)
    assert read_adapter(renamed, unet, form="face-id-plus-v2").projector.shortcut  # type: ignore[union-attr]
    assert not read_adapter(renamed, unet, form="face-id-plus").projector.shortcut  # type: ignore[union-attr]
    unknown = write(tmp_path / "x.safetensors", {"weight": torch.ones(2)})
    with pytest.raises(LayoutError, match=r"no known adapter \(its keys begin weight\); known: face-id, face-id-plus"):
        read_adapter(unknown, unet)
    with pytest.raises(LayoutError, match="unknown adapter form 'plus'; one of face-id"):
        read_adapter(unknown, unet, form="plus")  # type: ignore[arg-type]


def test_layout_errors_name_up_to_five_keys(tmp_path: Path):
    unet = tiny_unet()
    state = random_state(shapes_of("face-id", unet))
    for i in range(7):
        state[f"image_proj.extra_{i}"] = torch.ones(1)
    missing = [k for k in state if k.startswith("ip_adapter.1.to_") and "lora" in k]
    for key in missing:
        del state[key]
    state["image_proj.norm.weight"] = torch.ones(64)
    path = write(tmp_path / "face.bin", state)
    with pytest.raises(LayoutError) as caught:
        read_face_id(path, unet, "face-id")
    text = str(caught.value)
    assert f"face-id file {path}: missing (8): {', '.join(missing[:5])} …" in text
    assert "unexpected (7): " + ", ".join(f"image_proj.extra_{i}" for i in range(5)) + " …" in text
    assert "wrong shape (1): image_proj.norm.weight (64,) instead of (128,)" in text
    assert text.endswith("use a base model of the family it was trained for, or download it again")
    assert "\n" not in text


@pytest.mark.parametrize("rank", [64, 100_000])
def test_a_lora_of_another_rank_is_refused(tmp_path: Path, rank: int):
    unet = tiny_unet()
    shapes = shapes_of("face-id", unet)
    key = "ip_adapter.0.to_q_lora"
    shapes |= {f"{key}.down.weight": (rank, channels(unet)[0]), f"{key}.up.weight": (channels(unet)[0], rank)}
    path = write(tmp_path / NAMES["face-id"], random_state(shapes))
    before = base_weights(unet)
    with pytest.raises(LayoutError, match=rf"wrong shape \(2\): {key}.down.weight \({rank}, 16\) instead of"):
        read_adapter(path, unet)
    after = base_weights(unet)
    assert all(torch.equal(after[k], before[k]) for k in before)


def test_a_file_of_the_other_family_is_refused(tmp_path: Path):
    path, _ = published("ip-adapter-plus", tmp_path, tiny_unet(layers=2))
    with pytest.raises(LayoutError, match=r"unexpected .*use a base model of the family it was trained for"):
        read_adapter(path, tiny_unet())


def test_adapters_keep_half_precision_and_own_their_memory(tmp_path: Path):
    unet = tiny_unet()
    half = {k: t.half() for k, t in random_state(shapes_of("face-id", unet)).items()}
    path = write(tmp_path / NAMES["face-id"], half)
    adapter = read_adapter(path, unet)
    path.write_bytes(bytes(path.stat().st_size))  # the same file, now zeros
    assert adapter.projector is not None and adapter.sites is not None and adapter.lora is not None
    assert torch.equal(adapter.projector.state_dict()["norm.weight"], half["image_proj.norm.weight"])
    assert {t.dtype for t in (adapter.sites.state_dict() | adapter.lora).values()} == {torch.float16}
    assert not any(p.requires_grad for p in (*adapter.projector.parameters(), *adapter.sites.parameters()))
