"""What the options of a garment's LoRA do, each told by its effect on small networks."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportIndexIssue=false
from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers import lora_people as lp
from tests.helpers.both_families import ours
from twinset.adapters.lora.files import read_lora
from twinset.adapters.lora.install import install_lora
from twinset.errors import InputError
from twinset.training.core.batches import pyramid_noise
from twinset.training.core.denoising import denoising_loss, noise_schedule
from twinset.training.core.optimisers import optimiser_of, rate_of
from twinset.training.core.tensor_cache import TensorCache
from twinset.training.lora.batches import LoraData
from twinset.training.lora.caption_rules import CaptionRule
from twinset.training.lora.networks import LoraNetworks
from twinset.training.lora.sample_prompts import sample_requests
from twinset.training.lora.train import LoraTraining, check_before_loading, train_lora

STEP = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lp.write_people(tmp_path_factory.mktemp("people"), 2)


@pytest.fixture(scope="module")
def pipe() -> Any:
    return ours("sd15")


def small(data: Path, **more: Any) -> Any:
    fields = {"model": "sd15", "resolution": 64, "targets": "attention", "steps": 2, "save_every": 100, "preserve": 0.0}
    return lp.options(data, **fields | more)


def networks(pipe: Any, data: Path, **more: Any) -> LoraNetworks:
    return LoraNetworks(pipe, small(data, **more))


@torch.no_grad()
def grown(made: LoraNetworks, seed: int = 0) -> LoraNetworks:
    """With every weight away from where it started."""
    generator = torch.Generator().manual_seed(seed)
    for weight in made.weights.values():
        weight.add_(0.2 * torch.randn(weight.shape, generator=generator))
    return made


@torch.no_grad()
def drawn(pipe: Any) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    latents = torch.randn(1, 4, 8, 8, generator=generator)
    text = torch.randn(1, 5, pipe.unet.config["cross_attention_dim"], generator=generator)
    return pipe.unet(latents, 10, text).sample


# Optimisers


@pytest.mark.parametrize(
    ("name", "rate"), [("adamw", 0.1), ("adafactor", 0.1), ("lion", 0.03), ("prodigy", 1.0), ("schedulefree", 0.1)]
)
def test_every_optimiser_finds_the_minimum(name: str, rate: float, data: Path) -> None:
    """Of |w - 3|², by its real package."""
    weight = torch.nn.Parameter(torch.zeros(4))
    optimiser: Any = optimiser_of(small(data, optimiser=name, learning_rate=rate, weight_decay=0))(
        [{"params": [weight], "lr": rate}]
    )
    getattr(optimiser, "train", lambda: None)()
    for _ in range(300):
        optimiser.zero_grad()
        (weight - 3).square().sum().backward()
        optimiser.step()
    getattr(optimiser, "eval", lambda: None)()
    assert float((weight - 3).abs().max()) < 0.3, name


def test_arguments_reach_the_optimiser_or_are_refused(data: Path) -> None:
    weight = torch.nn.Parameter(torch.zeros(4))
    made = optimiser_of(small(data, optimiser="prodigy", optimiser_args="d_coef=2 betas=0.5,0.6"))(
        [{"params": [weight], "lr": 1}]
    )
    assert made.defaults["d_coef"] == 2 and made.defaults["betas"] == (0.5, 0.6)
    with pytest.raises(InputError, match=r"'d_cof=2' do not go with prodigy .*; correct or delete"):
        optimiser_of(small(data, optimiser="prodigy", optimiser_args="d_cof=2"))
    with pytest.raises(InputError, match="'fast' is no name=value; write, as in betas"):
        optimiser_of(small(data, optimiser_args="fast"))
    assert {rate_of(small(data, optimiser="schedulefree", warmup=5))(step) for step in range(9)} == {1.0}


# What is trained


def test_convolutions_and_blocks_have_ranks_and_rates_of_their_own(pipe: Any, data: Path) -> None:
    made = networks(
        pipe, data, targets="all", rank=4, alpha=2.0, conv_rank=2, conv_alpha=1.0,
        block_ranks="mid_block=6, up_blocks.1=3", block_rates="down_blocks=0.5, mid_block=0", learning_rate=1e-3,
    )  # fmt: skip
    layers = made.layers()["unet"]
    rates = {group["lr"] for group in made.groups()}
    trained = sum(len(group["params"]) for group in made.groups())
    made.take_off()
    sizes = {name: (low.rank, low.alpha) for name, low in layers.items()}
    assert sizes["down_blocks.0.resnets.0.conv1"] == (2, 1.0) and sizes[STEP] == (4, 2.0)
    assert {size[0] for name, size in sizes.items() if name.startswith("mid_block")} == {6}
    assert {size[0] for name, size in sizes.items() if name.startswith("up_blocks.1")} == {3}
    assert rates == {5e-4, 1e-3}
    assert trained == 2 * sum(not name.startswith("mid_block") for name in layers)
    with pytest.raises(InputError, match="write blocks and numbers, such as mid_block=4"):
        small(data, block_ranks="middle=4")


@pytest.mark.parametrize("more", [{"algorithm": "loha"}, {"algorithm": "lokr", "factor": 4}, {"dora": True}, {}])
def test_what_is_trained_is_what_the_file_draws(pipe: Any, data: Path, tmp_path: Path, more: dict[str, Any]) -> None:
    base = drawn(pipe)
    made = grown(
        networks(pipe, data, rank=2, alpha=1.0, targets="all" if "dora" in more else "attention", **more)
    ).eval()
    with made.as_base({}):
        torch.testing.assert_close(drawn(pipe), base, rtol=0, atol=0)
    trained, layers = drawn(pipe), made.layers()
    from twinset.adapters.lora.write import write_lora

    file = write_lora(tmp_path / "x.safetensors", layers, {"unet": pipe.unet}, "kohya", {}, torch.float32)
    made.take_off()
    assert torch.equal(drawn(pipe), base) and (trained - base).abs().max() > 1e-3
    again = ours("sd15")
    install_lora(again, read_lora(file), "jacket")
    torch.testing.assert_close(drawn(again), trained, rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_a_dora_is_drawn_by_comfyui_as_it_was_trained(pipe: Any, data: Path) -> None:
    """ComfyUI (0.3.77) divides by the lengths of the base model's rows, or of the changed columns: these are ours."""
    made = grown(networks(pipe, data, rank=2, dora=True))
    low, weight = made.layers()["unet"][STEP], pipe.unet.get_submodule(STEP).weight
    made.take_off()
    scale = low.parts["magnitude"]
    assert scale.shape == (1, weight.shape[1])  # ComfyUI takes (1, in) for columns
    changed = weight + low.alpha / low.rank * low.parts["up"] @ low.parts["down"]
    expected = changed * (scale / (changed.norm(dim=0, keepdim=True) + torch.finfo(torch.float32).eps))
    torch.testing.assert_close(weight + low.difference(weight), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("more", [{}, {"algorithm": "loha"}, {"dora": True}])
def test_a_training_goes_on_from_a_file(pipe: Any, data: Path, tmp_path: Path, more: dict[str, Any]) -> None:
    from twinset.adapters.lora.write import write_lora

    made = grown(networks(pipe, data, rank=2, alpha=1.0, **more)).eval()
    expected = drawn(pipe)
    file = write_lora(tmp_path / "x.safetensors", made.layers(), {"unet": pipe.unet}, "kohya", {}, torch.float32)
    made.take_off()
    on = networks(pipe, data, rank=2, alpha=2.0, start=file, **more).eval()
    torch.testing.assert_close(drawn(pipe), expected, rtol=1e-3, atol=1e-4)
    on.take_off()
    with pytest.raises(InputError, match=r"start .*x.safetensors: .* of rank 2, not of rank 3; give --rank 2"):
        networks(pipe, data, rank=3, start=file, **more)
    assert not any(".lora_" in name for name, _ in pipe.unet.named_parameters())  # nothing is left of it


def test_dropouts_leave_ranks_and_layers_out(pipe: Any, data: Path) -> None:
    def spread(**more: Any) -> float:
        made = grown(networks(pipe, data, rank=4, **more)).train()
        torch.manual_seed(0)
        found = torch.stack([drawn(pipe) for _ in range(4)])
        still = made.eval() and torch.equal(drawn(pipe), drawn(pipe))
        made.take_off()
        assert still
        return float(found.std(0).max())

    assert spread() == 0
    assert spread(rank_dropout=0.5) > 1e-4 and spread(module_dropout=0.5) > 1e-4
    assert spread(algorithm="loha", module_dropout=0.5) > 1e-4


@pytest.mark.parametrize("more", [{}, {"algorithm": "loha"}, {"algorithm": "lokr"}, {"dora": True}])
@torch.no_grad()
def test_norms_over_the_limit_are_brought_down_to_it(pipe: Any, data: Path, more: dict[str, Any]) -> None:
    made = grown(networks(pipe, data, rank=3, alpha=2.0, max_norm=0.05, **more))

    def norms() -> list[float]:
        found = []
        for name, low in made.layers()["unet"].items():
            weight = pipe.unet.get_submodule(name).weight
            if more:
                parts = {part: t for part, t in low.parts.items() if part != "magnitude"}
                found.append(float(type(low)(low.algorithm, parts, low.alpha).difference(weight).norm()))
            else:
                found.append(float((low.alpha / low.rank * low.up @ low.down).norm()))
        return found

    before = norms()
    made.limit()
    after = norms()
    made.take_off()
    assert max(before) > 0.05 and after == pytest.approx([min(0.05, norm) for norm in before], rel=1e-3)


# The objective


def test_coarse_noise_is_alike_in_neighbours_and_has_the_same_strength() -> None:
    fine, coarse = (pyramid_noise((4, 4, 32, 32), n, 0.8, torch.Generator().manual_seed(0)) for n in (0, 6))

    def alike(noise: torch.Tensor) -> float:
        return float((noise[..., 1:] * noise[..., :-1]).mean())

    assert abs(alike(fine)) < 0.05 < 0.3 < alike(coarse) and coarse.std() == pytest.approx(1, abs=1e-3)
    assert fine.std() == pytest.approx(1, abs=0.05)


def test_bounded_losses_let_a_single_error_count_for_less(data: Path) -> None:
    """sd-scripts' formulas, of an error of 2 with c = 0.1: 4, 2c(√(4 + c²) - c), 2(√(4 + c²) - c)."""
    batch = {name: torch.zeros(1, 4, 8, 8) for name in ("latents", "noise")}
    batch |= {"level": torch.tensor([0.5]), "weight": torch.ones(1), "mask": torch.ones(1, 1, 8, 8)}
    found = {}
    for kind in ("l2", "huber", "smooth_l1"):
        options = small(data, loss=kind, huber_c=0.1, prediction_type="epsilon")
        from diffusers import DDPMScheduler

        loss = denoising_loss(noise_schedule(DDPMScheduler(), options), options)
        found[kind] = float(loss(lambda latents, t, b: torch.full_like(latents, 2.0), batch)[0])
    root = (4 + 0.01) ** 0.5 - 0.1
    assert found == pytest.approx({"l2": 4.0, "huber": 0.2 * root, "smooth_l1": 2 * root})


# The run


@pytest.mark.long
def test_more_steps_and_epochs_go_on_and_files_are_written_on_the_way(pipe: Any, data: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    out = tmp_path / "x.safetensors"
    first = train_lora(pipe, small(data, epochs=2, batch=1, write_every=2), out, report=lines.append)
    assert first.fit.step == 4 and any("2 epoch(s) of 2 batch(es) are 4 steps" in line for line in lines)
    assert [p.name for p in sorted(tmp_path.glob("*.safetensors"))] == ["x-000002.safetensors", "x.safetensors"]
    early, late = (read_lora(tmp_path / f"{name}.safetensors") for name in ("x-000002", "x"))
    assert early.metadata["ss_steps"] == "2" and late.metadata["ss_steps"] == "4"
    assert any(not torch.equal(early.components["unet"][k].up, low.up) for k, low in late.components["unet"].items())
    assert train_lora(pipe, small(data, epochs=3, batch=1, write_every=2), out).fit.step == 6
    with pytest.raises(InputError, match="was started with epochs = 2, not 1"):
        train_lora(pipe, small(data, epochs=1, batch=1), out)


@pytest.mark.long
def test_a_schedule_free_run_ends_with_its_average_and_goes_on_bit_for_bit(
    pipe: Any, data: Path, tmp_path: Path
) -> None:
    def ups(name: str, **more: Any) -> list[torch.Tensor]:
        options = small(data, optimiser="schedulefree", learning_rate=0.01, save_every=1, sample_every=1, **more)
        file = train_lora(pipe, options, tmp_path / f"{name}.safetensors").out
        return [low.up for low in read_lora(file).components["unet"].values()]

    whole = ups("whole", steps=4)
    ups("parts", steps=2)
    assert all(torch.equal(one, other) for one, other in zip(whole, ups("parts", steps=4), strict=True))


@pytest.mark.long
def test_figures_go_to_weights_and_biases(
    pipe: Any, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[tuple[int, dict[str, Any]]] = []
    run = SimpleNamespace(
        log=lambda figures, step: logged.append((step, figures)), finish=lambda: logged.append((-1, {}))
    )
    begun: list[dict[str, Any]] = []
    library = SimpleNamespace(init=lambda **options: begun.append(options) or run, Image=lambda picture: "picture")
    monkeypatch.setitem(sys.modules, "wandb", library)
    train_lora(pipe, small(data, log_with="both"), tmp_path / "x.safetensors")
    assert begun[0]["config"]["rank"] == 2 and begun[0]["resume"] == "allow"
    assert {"train/loss", "held_out/loss"} <= {name for _, figures in logged for name in figures} and logged[-1][
        0
    ] == -1
    assert any((tmp_path / "x.run" / "tensorboard").iterdir())
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(InputError, match=r"needs the package wandb; run: pip install 'twinset\[wandb\]'"):
        check_before_loading(small(data, log_with="wandb"), tmp_path / "y.safetensors", tmp_path / "y.run")


# Before the model is loaded


def test_sample_prompts_are_read_as_sd_scripts_writes_them(data: Path, tmp_path: Path) -> None:
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(tmp_path / "me.png")
    path = tmp_path / "prompts.txt"
    path.write_text("# none\n\nwearing jckt, park --n blurry --d 7 --s 20 --l 6.5 --w 512\n"
                    "wearing jckt --selfie me.png --garment me.png --pose walking\n")  # fmt: skip
    first, second = sample_requests(small(data, sample_prompts=path, seed=3))
    assert (first.prompt, first.negative, first.seed, first.steps, first.guidance) == (
        "wearing jckt, park",
        "blurry",
        7,
        20,
        6.5,
    )
    assert (second.seed, second.pose, second.selfies, second.garments[0].path) == (
        4, "walking", (tmp_path / "me.png",), tmp_path / "me.png"
    )  # fmt: skip
    for line, message in (
        ("a --x 3", "'--x 3' is unknown or has no value; there are --n"),
        ("a --s many", "line 1: .*steps"),
        ("a --selfie no.png", "sample picture .*no.png' is not a file"),
    ):
        path.write_text(line)
        with pytest.raises(InputError, match=message):
            sample_requests(small(data, sample_prompts=path))


def test_what_can_be_told_without_the_model_is_told_before(data: Path, tmp_path: Path) -> None:
    out, run = tmp_path / "x.safetensors", tmp_path / "x.run"
    check_before_loading(small(data), out, run)
    bad = tmp_path / "bad"
    lp.write_people(bad, 1)
    (bad / "01.png").write_bytes(b"nothing")
    cases = [
        ({"data": bad}, "1 picture.* cannot be learnt"),
        ({"start": bad / "no.safetensors"}, "no file at"),
        ({"sample_prompts": bad / "no.txt"}, "is not a file; give a text file"),
        ({"sample_selfie": bad / "no.png", "samples": 1}, "is not a file"),
        ({"optimiser_args": "x"}, "is no name=value"),
    ]
    for more, message in cases:
        with pytest.raises(InputError, match=message):
            check_before_loading(small(**{"data": data} | more), out, run)


@pytest.mark.long
def test_no_step_needs_the_vae_or_the_text_encoders(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They leave the device's memory once everything is encoded; captions that vary keep the text encoders."""
    own = ours("sd15")
    training = LoraTraining(own, small(data, uncalled=0.5, preserve=1.0, caption_dropout=0.3, steps=6))
    rows = training.encode(TensorCache(tmp_path / "cache"), lambda line: None)
    batches = training.data(rows, TensorCache(tmp_path / "cache"))
    assert {"vae", "text_encoder", "controlnet"} <= set(training.unused(batches))
    monkeypatch.setattr(type(own), "encode_prompt", lambda *_: pytest.fail("read by a step"))
    for part in (own.vae, own.text_encoder):
        monkeypatch.setattr(part, "forward", lambda *_, **__: pytest.fail("used by a step"))
    assert all(len(batches.batch(number)["states"]) == 2 for number in range(30))
    shuffled = LoraTraining(own, small(data, shuffle=True))
    assert "text_encoder" not in shuffled.unused(
        LoraData(rows_of(rows, shuffle=True), shuffled.options, batches.store, batches.texts)
    )


def rows_of(rows: Any, **words: Any) -> list[Any]:
    return [replace(row, example=replace(row.example, words=CaptionRule(**words))) for row in rows]


def test_only_the_parts_that_a_training_needs_are_loaded(data: Path) -> None:
    assert small(data, samples=0).needed_parts == ("vae",)
    assert small(data, samples=2).needed_parts == ("vae", "pose_controlnet", "union_controlnet")
    assert small(data, samples=2, sample_selfie=Path("me.png")).needed_parts == ()  # all


def test_a_base_of_eight_bits_is_small_trains_and_comes_back_whole(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twinset.training.core.frozen.FEWEST_WEIGHTS", 16)
    own = ours("sd15")
    before, base = {name: weight.clone() for name, weight in own.unet.state_dict().items()}, drawn(own)

    def size() -> int:
        return sum(p.numel() * p.element_size() for name, p in own.unet.named_parameters() if ".lora_" not in name)

    whole = size()
    made = networks(own, data, fp8_base=True, gradient_checkpointing=True)
    assert size() < 0.4 * whole  # of float32
    found = drawn(own)
    assert 0 < float((found - base).abs().max()) < 0.2 * float(base.abs().max())
    latents, text = torch.randn(1, 4, 8, 8), torch.randn(1, 5, own.unet.config["cross_attention_dim"])
    own.unet(latents, 10, text).sample.square().mean().backward()
    assert any(weight.grad is not None and weight.grad.any() for weight in made.weights.values())
    made.take_off()
    assert torch.equal(drawn(own), base)
    assert all(torch.equal(weight, before[name]) for name, weight in own.unet.state_dict().items())
    with pytest.raises(InputError, match="fp8_base is for a plain LoRA"):
        small(data, fp8_base=True, dora=True)
