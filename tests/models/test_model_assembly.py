"""From a profile to loaded networks: tiny parts, laid out as the real ones, on a hub on the loopback."""

# pyright: reportArgumentType=false
# (diffusers' hints are narrower than what it takes)
from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, CLIPVisionConfig, CLIPVisionModelWithProjection

from tests.helpers.hub import COMMIT, PICKLE, WEIGHTS, Hub, sha256
from tests.helpers.hub import hub as hub
from tests.perception.test_onnx_faces import recogniser_graph, scrfd_graph, yunet_graph
from twinset.common.hashing import file_hash
from twinset.errors import InputError
from twinset.models.hub import profiles
from twinset.models.hub.download import locate
from twinset.models.hub.parts import Part, Profile
from twinset.perception.faces.onnx import aligned
from twinset.pipelines.loading import assembly
from twinset.pipelines.loading.assembly import Parts, load_parts

VAE = "stabilityai/sd-vae-ft-mse"
OLD_ATTENTION = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def tiny_networks() -> dict[str, nn.Module]:
    """Networks of the real classes, few channels, random weights."""
    torch.manual_seed(0)
    blocks = {"block_out_channels": (32, 32), "norm_num_groups": 8}
    down, up = ("CrossAttnDownBlock2D", "DownBlock2D"), ("UpBlock2D", "CrossAttnUpBlock2D")
    unet = UNet2DConditionModel(
        **blocks, down_block_types=down, up_block_types=up, cross_attention_dim=16, attention_head_dim=4
    )
    vision = CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14,
        projection_dim=16,
    )  # fmt: skip
    text = CLIPTextConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, vocab_size=6,
        max_position_embeddings=8, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    return {
        "unet": unet,
        "text_encoder": CLIPTextModel(text),
        "vae": AutoencoderKL(
            **blocks, down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2
        ),
        "pose_controlnet": ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 8, 8, 8)),
        "image_encoder": CLIPVisionModelWithProjection(vision),
    }


def save_base(folder: Path, networks: dict[str, nn.Module]) -> None:
    """A diffusers folder as SD1.5's: its index names a VAE, a safety checker and a feature extractor too."""
    for name in ("unet", "text_encoder"):
        networks[name].half().save_pretrained(folder / name, variant="fp16")  # type: ignore[operator]
    DDIMScheduler(steps_offset=1, clip_sample=False).save_pretrained(folder / "scheduler")
    tokens = ("<|startoftext|>", "<|endoftext|>", "a", "b", "a</w>", "b</w>")
    (folder / "tokenizer").mkdir()
    texts = {
        "vocab.json": json.dumps({token: index for index, token in enumerate(tokens)}),
        "merges.txt": "#version: 0.2\n",
        "tokenizer_config.json": json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 8}),
        "special_tokens_map.json": json.dumps({"bos_token": tokens[0], "eos_token": tokens[1]}),
    }
    for name, text in texts.items():
        (folder / "tokenizer" / name).write_text(text)
    index = {
        "scheduler": ["diffusers", "DDIMScheduler"], "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"], "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"], "feature_extractor": ["transformers", "CLIPImageProcessor"],
        "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
    }  # fmt: skip
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline", **index}))


def save_old_vae(vae: AutoencoderKL, folder: Path) -> None:
    """As the public file of 2022: the attention's keys have other names."""
    vae.save_pretrained(folder)
    path = folder / "diffusion_pytorch_model.safetensors"
    renamed = {}
    for key, values in load_file(path).items():
        for new, old in OLD_ATTENTION.items() if "attentions" in key else ():
            key = key.replace(f".{new}.", f".{old}.")
        renamed[key] = values
    assert any("proj_attn" in key for key in renamed)
    save_file(renamed, path, metadata={"format": "pt"})


def save_image_encoder(encoder: CLIPVisionModelWithProjection, folder: Path) -> None:
    """As the public file of 2023: with the positions, which are no weights."""
    encoder.save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    positions = {"vision_model.embeddings.position_ids": torch.arange(5)[None]}
    save_file(weights | positions, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.fixture(scope="module")
def originals() -> dict[str, nn.Module]:
    return tiny_networks()


@pytest.fixture(scope="module")
def served(originals: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Every file of the profile sd15, by `<hub id>/<path>`."""
    root, real = tmp_path_factory.mktemp("served"), profiles.resolve("sd15")
    repos = {part.name: root / str(part.repo) for part in real.parts}
    save_base(repos["base"], originals)
    save_old_vae(originals["vae"], repos["vae"])
    for name in ("pose_controlnet", "parsing_controlnet"):
        originals["pose_controlnet"].half().save_pretrained(repos[name], variant="fp16")
    save_image_encoder(originals["image_encoder"], repos["image_encoder"] / "models/image_encoder")
    for part in real.parts:
        path = root / str(part.repo) / str(part.file or "model_index.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        if part.name in assembly.RECOGNISERS:
            recogniser_graph(path, seed=len(part.name))
        elif part.name in assembly.DETECTORS:
            (yunet_graph if part.name == "yunet" else scrfd_graph)(path, size=(640, 640))
        elif not path.exists():
            path.write_bytes(PICKLE if path.suffix == ".bin" else WEIGHTS)
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def shelf(hub: Hub, served: dict[str, bytes]) -> Hub:
    hub.files = dict(served)
    return hub


@pytest.fixture
def profile(served: dict[str, bytes]) -> Profile:
    """sd15 with the hashes and revisions of the tiny files where the real ones are pinned."""
    real = profiles.resolve("sd15")

    def tiny(part: Part) -> Part:
        pinned = part.sha256 and sha256(served[f"{part.repo}/{part.file}"])
        return replace(part, sha256=pinned, size=None, revision=part.revision and COMMIT)

    return replace(real, name="tiny", parts=tuple(map(tiny, real.parts)))


def load(profile: Profile, shelf: Hub, **more: Any) -> Parts:
    return load_parts(profile, dtype=torch.float16, endpoint=shelf.url, **more)


def with_part(profile: Profile, name: str, **changes: Any) -> Profile:
    return replace(
        profile, parts=tuple(replace(part, **changes) if part.name == name else part for part in profile.parts)
    )


def assert_same(found: nn.Module | None, original: nn.Module) -> None:
    """Bitwise, as half precision."""
    assert found is not None and not found.training
    weights, expected = found.state_dict(), original.state_dict()
    assert set(weights) == set(expected)
    for key, values in expected.items():
        assert weights[key].dtype == torch.float16 and torch.equal(weights[key], values.half()), key


def weights_of(profile: Profile, name: str) -> Path:
    """Where a pulled part's weight file lies, behind the cache's link."""
    part = profile.part(name)
    return (locate(profile, part, str(part.file)) or Path()).resolve()


class TestLoading:
    def test_networks_equal_the_originals(self, profile: Profile, shelf: Hub, originals: dict[str, Any]) -> None:
        lines: list[str] = []
        parts = load(profile, shelf, progress=lines.append)
        for name in ("vae", "pose_controlnet", "image_encoder"):
            assert_same(parts.networks[name], originals[name])
        assert set(parts.adapters) == {"identity_adapter", "garment_adapter"}
        assert parts.adapters["identity_adapter"].read_bytes() == PICKLE
        assert parts.recogniser and parts.recogniser.name == "buffalo_l" == profile.part("identity_adapter").recogniser
        assert parts.recogniser.sha256 == profile.part("buffalo_l").sha256
        assert parts.detector and parts.detector.sha256 == profile.part("buffalo_l_detector").sha256
        assert any(note.startswith("identity_adapter: FaceID weights") for note in parts.notes)
        assert lines[0] == "part 1 of 9: base" and lines[-1] == "loading the networks"

    def test_only_what_is_assembled_is_pulled(self, profile: Profile, shelf: Hub) -> None:
        load(profile, shelf)
        assert not [path for _, path, _ in shelf.requests if "segformer" in path or "DWPose" in path or "yunet" in path]

    def test_base_becomes_a_pipeline_with_the_given_vae(self, profile: Profile, shelf: Hub, originals: Any) -> None:
        parts = load(profile, shelf)
        shelf.requests.clear()
        pipe = StableDiffusionPipeline.from_pretrained(
            parts.base, vae=parts.networks["vae"], safety_checker=None, feature_extractor=None,
            requires_safety_checker=False, variant=parts.variant, dtype=torch.float16, use_safetensors=True,
            local_files_only=True,
        )  # fmt: skip
        assert parts.variant == "fp16" and pipe.vae is parts.networks["vae"]
        assert isinstance(pipe.tokenizer, CLIPTokenizer) and pipe.tokenizer("a b").input_ids == [0, 4, 5, 1]
        assert_same(pipe.unet, originals["unet"])
        assert_same(pipe.text_encoder, originals["text_encoder"])
        assert shelf.requests == []

    def test_found_faces_are_measured(self, profile: Profile, shelf: Hub) -> None:
        parts = load(profile, shelf)
        assert parts.detector and parts.recogniser
        picture = np.full((640, 640, 3), 255, np.uint8)
        face = parts.detector.find(picture)[0]
        crop = aligned(picture, face.landmarks)
        np.testing.assert_allclose(parts.recogniser.embed(crop)[:3], 1, atol=1e-6)

    def test_second_call_needs_no_network(self, profile: Profile, shelf: Hub, originals: dict[str, Any]) -> None:
        load(profile, shelf)
        shelf.requests.clear()
        parts = load(profile, shelf, offline=True)
        assert shelf.requests == []
        assert_same(parts.networks["vae"], originals["vae"])
        with pytest.raises(InputError, match=r"part 'auraface' .* lacks 'glintr100.onnx' .* without --offline"):
            load(profile, shelf, offline=True, names=["auraface"])

    def test_parts_may_be_named(self, profile: Profile, shelf: Hub) -> None:
        parts = load(profile, shelf, names=["vae"])
        assert parts.base and parts.base.is_dir() and parts.adapters == {} and set(parts.networks) == {"vae"}
        assert parts.recogniser is parts.detector is None


class TestCommercial:
    def test_substitutes(self, profile: Profile, shelf: Hub) -> None:
        parts = load(profile, shelf, commercial=True)
        assert set(parts.adapters) == {"face_adapter", "garment_adapter"}
        assert parts.recogniser and parts.recogniser.name == "auraface"
        assert parts.detector and parts.detector.sha256 == profile.part("yunet").sha256
        assert parts.notes[0] == "identity_adapter is replaced by face_adapter for commercial use"
        unwanted = ("faceid", "buffalo", "segformer")
        assert not [path for _, path, _ in shelf.requests if any(word in path for word in unwanted)]

    def test_part_without_substitute_is_refused(self, profile: Profile, shelf: Hub) -> None:
        bare = with_part(profile, "identity_adapter", substitute=None)
        with pytest.raises(InputError, match=r"identity_adapter .*no clean substitute is known"):
            load(bare, shelf, commercial=True)
        assert shelf.requests == []


class TestBinding:
    @pytest.mark.parametrize("beside", [(), ("auraface",)])
    def test_adapter_without_its_recogniser_is_refused(self, beside: tuple, profile: Profile, shelf: Hub) -> None:
        with pytest.raises(
            InputError, match=r"'identity_adapter' works only with recogniser 'buffalo_l', which is not"
        ):
            load(profile, shelf, names=["identity_adapter", *beside])
        with pytest.raises(InputError, match=r"'face_adapter' works only with recogniser 'image_encoder'"):
            load(profile, shelf, names=["face_adapter"])
        assert shelf.requests == []

    def test_two_recognisers_are_refused(self, profile: Profile, shelf: Hub) -> None:
        with pytest.raises(InputError, match="buffalo_l, auraface are 2 recognisers"):
            load(profile, shelf, names=["buffalo_l", "auraface"])

    @pytest.mark.parametrize("name", ["sd15", "sdxl"])
    def test_real_profiles_bind(self, name: str) -> None:
        real = profiles.resolve(name)
        for commercial, recogniser in ((False, "buffalo_l"), (True, "auraface")):
            chosen, _ = assembly.choose(real, (), commercial)
            bound = assembly._bound_recogniser(chosen)
            assert bound and bound.name == recogniser
            assert {part.name for part in chosen} <= set(assembly.ASSEMBLED)
            assert not commercial or all(part.commercial for part in chosen)

    def test_instantid_takes_antelopev2(self) -> None:
        names = ("instantid_adapter", "instantid_controlnet", "antelopev2", "antelopev2_detector")
        chosen, _ = assembly.choose(profiles.resolve("sdxl"), names, commercial=False)
        bound = assembly._bound_recogniser(chosen)
        assert bound and bound.name == "antelopev2" and [part.name for part in chosen] == ["base", *names]
        clean, _ = assembly.choose(profiles.resolve("sdxl"), (*names, "image_encoder"), commercial=True)
        expected = ["base", "face_adapter", "union_controlnet", "auraface", "yunet", "image_encoder"]
        assert [part.name for part in clean] == expected


class TestFaults:
    def test_profile_without_a_base(self) -> None:
        with pytest.raises(InputError, match="part 'base' is unknown in profile 'studio'"):
            load_parts(profiles.resolve("studio"), dtype=torch.float32)

    @pytest.mark.parametrize("name", ["vae", "buffalo_l", "pose_controlnet"])
    def test_corrupted_file_is_refused_and_named(self, name: str, profile: Profile, shelf: Hub) -> None:
        """Pinned by the profile, pinned graph, recorded by the first pull."""
        load(profile, shelf)
        part = profile.part(name)
        blob = weights_of(profile, name)
        data = bytearray(blob.read_bytes())
        data[-1] ^= 1
        blob.write_bytes(data)
        with pytest.raises(
            InputError, match=rf"{name} (is|has) .*{part.file}' has SHA-256 {sha256(bytes(data))}.*run: "
        ):
            load(profile, shelf, offline=True)
        load(profile, shelf)
        assert file_hash(blob) == sha256(shelf.files[f"{part.repo}/{part.file}"])

    def test_file_swapped_between_its_hash_and_its_loading(
        self, profile: Profile, shelf: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        pull = assembly.pull_parts

        def swap(profile: Profile, parts: list[Part], **more: Any) -> Iterator[Any]:
            for report in pull(profile, parts, **more):
                if report.part.name == "buffalo_l":
                    recogniser_graph(weights_of(profile, "buffalo_l"), seed=99)
                yield report

        monkeypatch.setattr(assembly, "pull_parts", swap)
        with pytest.raises(InputError, match=r"w600k_r50.onnx' has SHA-256 .*, expected .*; replace it"):
            load(profile, shelf)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda weights: weights.pop("quant_conv.bias"), r"1 tensors do not fit .* as 'quant_conv.bias'"),
            (lambda weights: weights.update({"quant_conv.bias": torch.zeros(3)}), "quant_conv.bias expected shape"),
            (lambda weights: weights["quant_conv.bias"].fill_(float("nan")), r"NaN or infinity as torch.float16"),
            (lambda weights: weights["quant_conv.bias"].fill_(1e9), r"NaN or infinity as torch.float16"),
        ],
    )
    def test_weights_that_do_not_fit(
        self, change: Any, words: str, profile: Profile, shelf: Hub, tmp_path: Path, served: dict[str, bytes]
    ) -> None:
        file = f"{VAE}/diffusion_pytorch_model.safetensors"
        (tmp_path / "vae").write_bytes(served[file])
        weights = load_file(tmp_path / "vae")
        change(weights)
        save_file(weights, tmp_path / "vae", metadata={"format": "pt"})
        shelf.files[file] = (tmp_path / "vae").read_bytes()
        with pytest.raises(InputError, match=rf"part 'vae': .* does not load as AutoencoderKL \(.*{words}") as error:
            load(with_part(profile, "vae", sha256=None), shelf, names=["vae"])
        assert torch.get_default_dtype() == torch.float32
        assert "\n" not in str(error.value) and f"compare it with https://huggingface.co/{VAE}; " in str(error.value)
        assert str(error.value).endswith(
            f"; if it is damaged, replace it: twinset models pull {profile.name} --part vae"
        )

    @pytest.mark.parametrize("config", [b"{", b"[]", b'{"block_out_channels": "wide"}'])
    def test_configuration_that_is_none(self, config: bytes, profile: Profile, shelf: Hub) -> None:
        shelf.files[f"{VAE}/config.json"] = config
        with pytest.raises(InputError, match=r"part 'vae': .* does not load as AutoencoderKL"):
            load(profile, shelf, names=["vae"])
        assert torch.get_default_dtype() == torch.float32

    def test_base_that_is_no_diffusers_folder(self, profile: Profile, shelf: Hub) -> None:
        with pytest.raises(InputError, match=r"part 'base' has no model_index.json"):
            load(with_part(profile, "base", files=("unet/config.json",)), shelf, names=["vae"])
