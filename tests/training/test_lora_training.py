"""Training of garment LoRAs on tiny pipelines of all families: what is learnt, where, and what stays as it was."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# (diffusers' hints are narrower than what it takes)
from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline
from diffusers.training_utils import compute_snr

from tests.helpers import lora_people as lp
from tests.helpers.both_families import ours
from tests.helpers.tiny import tiny_pipeline
from twinset.adapters.lora.changes import WeightChange
from twinset.adapters.lora.files import read_lora
from twinset.adapters.lora.install import install_lora
from twinset.errors import InputError
from twinset.training.core.batches import TextStates
from twinset.training.core.denoising import denoising_loss, noise_schedule
from twinset.training.core.forward import level_weights, target
from twinset.training.core.optimisers import optimiser_of, rate_of
from twinset.training.core.tensor_cache import TensorCache
from twinset.training.lora.batches import LoraData
from twinset.training.lora.networks import LoraNetworks
from twinset.training.lora.prepare import EncodedExample, encode_examples
from twinset.training.lora.train import train_lora
from twinset.training.studio.joint_model import studio_scheduler

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lp.write_people(tmp_path_factory.mktemp("people"), 4)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TensorCache:
    return TensorCache(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def pipe() -> Any:
    return tiny_pipeline()


@pytest.fixture(scope="module")
def rows(pipe: Any, data: Path, store: TensorCache) -> list[EncodedExample]:
    return encode_examples(pipe, lp.options(data), store)


def batches(pipe: Any, rows: list[EncodedExample], store: TensorCache, data: Path, **more: Any) -> LoraData:
    return LoraData(rows, lp.options(data, **more), store, TextStates(pipe, store))


def bits(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# Batches


def test_batches_repeat_by_number_and_epochs_see_every_picture(
    pipe: Any, rows: list[EncodedExample], store: TensorCache, data: Path
) -> None:
    ones = batches(pipe, rows, store, data)
    first, again, other = ones.batch(5), ones.batch(5), ones.batch(6)
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["noise"], other["noise"])
    assert first["latents"].shape == (2, 16, 32, 24) and first["mask"].shape == (2, 1, 32, 24)
    assert ones.length == 2
    for epoch in range(3):
        assert sorted(ones.chosen(2 * epoch) + ones.chosen(2 * epoch + 1)) == [0, 1, 2, 3]
    assert len({tuple(ones.chosen(2 * e)) for e in range(8)}) > 2
    odd = batches(pipe, rows[:3], store, data)
    assert odd.length == 2 and set(odd.chosen(0) + odd.chosen(1)) == {0, 1, 2}


def test_what_does_not_call_the_garment_is_held_to_the_base(
    pipe: Any, rows: list[EncodedExample], store: TensorCache, data: Path
) -> None:
    held = batches(pipe, rows, store, data, preserve=1.0, uncalled=0.5, caption_dropout=0.2, batch=4)
    off = [float(weight) for number in range(100) for weight in held.batch(number)["weight"]]
    assert set(off) == {0.0, 1.0} and 0.5 < off.count(0.0) / len(off) < 0.7  # 1 - 0.5 · 0.8
    batch = held.batch(3)
    assert torch.equal(batch["mask"].flatten(1).any(1), batch["weight"].bool())
    free = batches(pipe, rows, store, data, preserve=0.0, uncalled=0.5, batch=4)
    assert all(bool(free.batch(number)["weight"].all()) for number in range(20))


def test_noise_offset_shifts_whole_channels(
    pipe: Any, rows: list[EncodedExample], store: TensorCache, data: Path
) -> None:
    plain, shifted = (batches(pipe, rows, store, data, noise_offset=x).batch(0)["noise"] for x in (0.0, 0.5))
    shift = shifted - plain
    assert shift.std() > 0.2 and torch.allclose(shift, shift[..., :1, :1].expand_as(shift), atol=1e-5)


def test_encoded_pictures_are_found_again(
    pipe: Any, rows: list[EncodedExample], store: TensorCache, data: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in store.folder.iterdir()}
    assert [row.keys for row in encode_examples(pipe, lp.options(data), store)] == [row.keys for row in rows]
    assert {path: path.stat().st_mtime_ns for path in store.folder.iterdir()} == before
    (store.folder / f"{rows[0].keys[0]}.safetensors").write_bytes(b"damaged")
    encode_examples(pipe, lp.options(data), store)
    assert (store.folder / f"{rows[0].keys[0]}.safetensors").stat().st_size > 1000
    flipped = encode_examples(pipe, lp.options(data, flip=True), store)
    as_is, mirrored = (store(key, dict)["mask"] for key in flipped[0].keys)
    assert torch.equal(mirrored, as_is.flip(-1))


# The objective


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_min_snr_weights_are_the_papers(kind: str, data: Path) -> None:
    options = lp.options(data, prediction_type=kind, zero_terminal_snr=False, min_snr_gamma=5.0)
    schedule = noise_schedule(studio_scheduler(), options)
    steps = torch.arange(1000)
    snr = compute_snr(schedule, steps)
    expected = torch.minimum(snr, torch.tensor(5.0)) / (snr + (kind == "v_prediction"))
    torch.testing.assert_close(level_weights(schedule, 5.0), expected, rtol=1e-4, atol=1e-6)
    assert level_weights(schedule, None).eq(1).all()
    ended = noise_schedule(studio_scheduler(), lp.options(data, prediction_type=kind, zero_terminal_snr=True))
    assert level_weights(ended, 5.0).isfinite().all() and ended.alphas_cumprod[-1] < 1e-6


def test_the_bundled_models_own_schedule_is_kept(data: Path) -> None:
    schedule = noise_schedule(studio_scheduler(), lp.options(data))
    assert schedule.config["prediction_type"] == "sample"
    torch.testing.assert_close(schedule.alphas_cumprod, studio_scheduler().alphas_cumprod)
    weights = level_weights(schedule, None)
    assert weights.min() >= 1 and weights.max() == 5


def test_targets_are_noise_velocity_or_picture(data: Path) -> None:
    x, noise, t = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8), torch.tensor([10, 900])
    made = {
        kind: noise_schedule(DDIMScheduler(), lp.options(data, prediction_type=kind))
        for kind in ("epsilon", "v_prediction", "sample")
    }
    alpha = made["epsilon"].alphas_cumprod[t].view(-1, 1, 1, 1)
    assert torch.equal(target(made["epsilon"], x, noise, t), noise) and torch.equal(
        target(made["sample"], x, noise, t), x
    )
    torch.testing.assert_close(target(made["v_prediction"], x, noise, t), alpha.sqrt() * noise - (1 - alpha).sqrt() * x)


def test_only_the_garment_counts_when_masked(
    pipe: Any, rows: list[EncodedExample], store: TensorCache, data: Path
) -> None:
    found = {}
    for masked, outside in ((True, 0.0), (True, 0.5), (False, 0.0)):
        options = lp.options(data, masked=masked, outside=outside)
        networks = LoraNetworks(pipe, options)
        loss_fn = denoising_loss(noise_schedule(pipe.scheduler, options), options)
        batch = batches(pipe, rows, store, data).batch(0)
        batch["layout_on"] = batch["layout_on"] * 0  # the ControlNets would carry a change of noise across
        with torch.no_grad():
            first = loss_fn(networks, batch)[0]
            # the same noisy latents, another picture outside the mask
            other = dict(batch)
            alpha = (
                noise_schedule(pipe.scheduler, options).alphas_cumprod[(batch["level"] * 1000).long()].view(-1, 1, 1, 1)
            )
            change = (1 - batch["mask"]).floor() * 3.0
            other["latents"] = batch["latents"] + change
            other["noise"] = batch["noise"] - change * alpha.sqrt() / (1 - alpha).sqrt()
            second = loss_fn(networks, other)[0]
        found[masked, outside] = float((second - first).abs())
        networks.take_off()
    assert found[True, 0.0] < 1e-4 < 0.1 < found[True, 0.5] < found[False, 0.0] * 1.01


def test_preserve_holds_to_the_base_models_own_prediction(
    pipe: Any, rows: list[EncodedExample], store: TensorCache, data: Path
) -> None:
    options = lp.options(data, preserve=1.0)
    networks, batch = LoraNetworks(pipe, options), batches(pipe, rows, store, data).batch(0)
    loss_fn = denoising_loss(noise_schedule(pipe.scheduler, options), options)
    assert float(loss_fn(networks, batch)[1]["kept"]) == 0  # additions start at zero
    with torch.no_grad():
        for weight in networks.parameters():
            weight.add_(torch.randn(weight.shape) * 0.1)
    loss, figures = loss_fn(networks, batch)
    assert float(figures["kept"]) > 1e-6
    loss.backward()
    assert all(p.grad is not None and p.grad.any() for p in networks.parameters())
    networks.take_off()


def test_a_validation_asks_the_trained_network_after_the_base_model(data: Path, tmp_path: Path) -> None:
    """The text's keys that the base model made of the same states are no keys of the LoRA's."""
    pipe, store = ours("sd15"), TensorCache(tmp_path)
    options = lp.options(data, model="sd15", resolution=64, preserve=1.0)
    found = encode_examples(pipe, options, store)
    batch, networks = LoraData(found, options, store, TextStates(pipe, store)).check(0, 2), LoraNetworks(pipe, options)
    for weight in networks.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    loss_fn = denoising_loss(noise_schedule(pipe.scheduler, options), options)
    with torch.no_grad():
        measured = float(loss_fn(networks, batch)[0])
    assert measured == float(loss_fn(networks, batch)[0].detach())  # with gradients every key is made anew
    networks.take_off()


# Optimisers


def test_rates_are_those_of_diffusers(data: Path) -> None:
    for name, expected in (("constant", (0.25, 1, 1)), ("linear", (0.25, 1, 0.5)), ("cosine", (0.25, 1, 0.5))):
        rate = rate_of(lp.options(data, scheduler=name, warmup=4, steps=24))
        assert [round(rate(step), 6) for step in (1, 4, 14)] == list(expected)


@pytest.mark.parametrize(("name", "package"), [("adamw8bit", "bitsandbytes"), ("prodigy", "prodigyopt")])
def test_a_missing_optimiser_is_named(name: str, package: str, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=f"needs the package {package}; run: pip install 'twinset"):
        optimiser_of(lp.options(data, optimiser=name))


def test_the_eight_bit_optimiser_gets_what_was_asked(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    made = SimpleNamespace(AdamW8bit=lambda groups, **options: asked.append((groups, options)))
    monkeypatch.setitem(sys.modules, "bitsandbytes", SimpleNamespace(optim=made))
    groups = [{"params": [torch.nn.Parameter(torch.zeros(2))], "lr": 0.5}]
    optimiser_of(lp.options(data, optimiser="adamw8bit", learning_rate=1.0, weight_decay=0.1))(groups)
    assert asked[-1][0] == groups and asked[-1][1]["weight_decay"] == 0.1


def test_shuffled_captions_are_not_kept_on_disk(pipe: Any, tmp_path: Path) -> None:
    texts = TextStates(pipe, TensorCache(tmp_path))
    first = texts("a, b", keep=False)
    assert not list(tmp_path.iterdir())
    texts.known.clear()
    again = texts("a, b")
    assert torch.equal(first["states"], again["states"]) and len(list(tmp_path.iterdir())) == 1


def test_captions_are_encoded_one_at_a_time(pipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches are prepared in one thread, previews drawn in another, and a tokenizer serves only one."""
    at_work, plain = [0], pipe.encode_prompt

    def slow(*asked: Any) -> Any:
        at_work[0] += 1
        time.sleep(0.05)
        assert at_work[0] == 1
        at_work[0] -= 1
        return plain(*asked)

    monkeypatch.setattr(pipe, "encode_prompt", slow)
    texts = TextStates(pipe, TensorCache(tmp_path))
    with ThreadPoolExecutor(4) as pool:
        lengths = {len(tensors["states"]) for tensors in pool.map(texts, ("a", "a coat", "a red coat", "a coat here"))}
    assert lengths == {77}


def test_targets_without_any_layer_are_refused(pipe: Any, data: Path) -> None:
    with pytest.raises(InputError, match="targets 'to_x, to_y' name no layer of the unet; take attention"):
        LoraNetworks(pipe, lp.options(data, targets="to_x, to_y"))
    networks = LoraNetworks(pipe, lp.options(data, targets="attn2.to_k, mid_block.resnets.0.conv1"))
    names = list(networks.layers()["unet"])
    networks.take_off()
    assert "mid_block.resnets.0.conv1" in names and all(n.endswith(("attn2.to_k", "conv1")) for n in names)


def test_fp16_is_refused_without_a_gpu(pipe: Any, data: Path) -> None:
    with pytest.raises(InputError, match="precision 'fp16' does not train on 'cpu'; take bf16"):
        LoraNetworks(pipe, lp.options(data, precision="fp16"))


# Whole trainings


def test_a_garment_is_learnt_and_the_base_stays_as_it_was(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("twinset.training.lora.batches.CHECKED", 2)
    pipe = tiny_pipeline()
    before, classes = bits(pipe.unet), [type(m) for m in pipe.unet.modules()]
    options = lp.options(data, steps=12, sample_every=4, text_encoder=True, save_every=100, ema=0.5)
    trained = train_lora(pipe, options, tmp_path / "jacket.safetensors")
    assert same(bits(pipe.unet), before) and [type(m) for m in pipe.unet.modules()] == classes
    assert not pipe.attention.processors
    losses = [
        float(line.split()[-1].rstrip("}")) for line in (trained.run / "validation.jsonl").read_text().splitlines()
    ]
    assert len(losses) == 3 and losses[-1] < 0.985 * losses[0]
    lora = read_lora(trained.out)
    assert lora.metadata["modelspec.trigger_phrase"] == "jckt" and set(lora.components) == {"unet", "text_encoder"}
    assert trained.recipe.is_file() and (trained.run / "tensorboard").is_dir()


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
@pytest.mark.parametrize("form", ["kohya", "diffusers"])
def test_public_families_train_and_diffusers_loads_the_file(family: str, form: str, data: Path, tmp_path: Path) -> None:
    more = {"model": family, "steps": 3, "text_encoder": True, "alpha": 1.0, "form": form, "targets": "attention-mlp"}
    pipe = ours(family)
    base, options = bits(pipe.unet), lp.options(data, resolution=64, **more)
    file = train_lora(pipe, options, tmp_path / "x.safetensors").out
    assert same(bits(pipe.unet), base)
    lora = read_lora(file)
    assert lora.form == form and {low.alpha for low in lora.components["unet"].values()} == {
        1.0 if form == "kohya" else 2.0
    }
    kind = StableDiffusionXLPipeline if family == "sdxl" else StableDiffusionPipeline
    parts = {k: v for k, v in ours(family).components.items() if k in kind._get_signature_keys(kind)[0]}
    theirs = kind(**parts, **({} if family == "sdxl" else {"requires_safety_checker": False}))
    theirs.load_lora_weights(str(file))
    install_lora(pipe, lora, "jacket")
    assert not same(said(pipe), said(ours(family)))
    for name, tensor in said(pipe).items():
        torch.testing.assert_close(said(theirs)[name], tensor, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def said(pipe: Any) -> dict[str, torch.Tensor]:
    """What UNet and text encoders make of fixed input."""
    torch.manual_seed(5)
    width = pipe.unet.config["cross_attention_dim"]
    latent, text, ids = torch.randn(1, 4, 16, 16), torch.randn(1, 5, width), torch.tensor([[49406, 320, 1125, 49407]])
    added = {"text_embeds": text[:, 0, :32], "time_ids": torch.zeros(1, 6)}
    found = {"unet": pipe.unet(latent, 10, text, added_cond_kwargs=added).sample, "text": pipe.text_encoder(ids)[0]}
    second = getattr(pipe, "text_encoder_2", None)
    return found if second is None else found | {"second": second(ids)[0]}


@pytest.mark.parametrize(
    "more",
    [
        {"dora": True}, {"gradient_checkpointing": True, "text_encoder": True}, {"precision": "bf16"},
        {"accumulate": 2}, {"fused_backward": True},
        {"min_snr_gamma": 5.0, "preserve": 0.5, "zero_terminal_snr": True, "prediction_type": "v_prediction"},
        {"dropout": 0.3, "ema": 0.9, "flip": True, "shuffle": True, "noise_offset": 0.05},
    ],
)  # fmt: skip
def test_options_train(more: dict[str, Any], data: Path, tmp_path: Path) -> None:
    pipe = ours("sd15")
    options = lp.options(data, model="sd15", resolution=64, steps=2, **more)
    trained = train_lora(pipe, options, tmp_path / "x.safetensors")
    layers = read_lora(trained.out).components["unet"].values()
    assert trained.fit.step == 2
    assert all(low.kind == ("DoRA" if more.get("dora") else "LoRA") for low in layers)
    grown = [low.parts["up"] if isinstance(low, WeightChange) else low.up for low in layers]
    assert any(up.any() for up in grown)


def test_gradient_checkpointing_and_accumulation_change_nothing(data: Path, tmp_path: Path) -> None:
    def ups(name: str, **more: Any) -> list[torch.Tensor]:
        options = lp.options(data, model="sd15", resolution=64, steps=2, caption_dropout=0, **more)
        file = train_lora(ours("sd15"), options, tmp_path / f"{name}.safetensors").out
        return [low.up for low in read_lora(file).components["unet"].values()]

    for one, other in zip(ups("plain"), ups("checkpointed", gradient_checkpointing=True), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-4)


def test_training_ends_early_when_nothing_gets_better(data: Path, tmp_path: Path) -> None:
    more = {"steps": 50, "sample_every": 1, "patience": 2, "learning_rate": 1e-9, "save_every": 100}
    trained = train_lora(
        ours("sd15"), lp.options(data, model="sd15", resolution=64, **more), tmp_path / "x.safetensors"
    )
    assert trained.fit.step < 10


def test_regularisation_pictures_weigh_what_is_asked(data: Path, tmp_path: Path) -> None:
    lp.write_people(tmp_path / "d", 2)
    lp.write_people(tmp_path / "d" / "regularisation", 1)
    pipe, store = ours("sd15"), TensorCache(tmp_path / "s")
    options = lp.options(tmp_path / "d", model="sd15", resolution=64, prior_weight=0.25, batch=4)
    found = encode_examples(pipe, options, store)
    assert [row.caption for row in found][-1] == "a photo of a hoodie" and found[-1].example.repeats == 2
    assert sorted(LoraData(found, options, store, TextStates(pipe, store)).batch(0)["weight"].tolist()) == [
        0.25,
        0.25,
        1,
        1,
    ]
