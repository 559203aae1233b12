"""Numbers that are none, pictures of one colour, and two requests on one pipeline at the same time."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.cli.test_lora_commands import low
from tests.helpers.tiny import dressed, save_tiny, seeded
from tests.pipelines.test_joint import both_conditions
from twinset import cli
from twinset.adapters.lora.files import Layers
from twinset.adapters.lora.write import write_lora
from twinset.errors import InputError
from twinset.pipelines.generate import generate
from twinset.pipelines.loading.load import load_pipeline
from twinset.pipelines.named_files import LoraChoice
from twinset.pipelines.request import Request
from twinset.pipelines.safety import CONCERN

HAT = {"prompt": "hat", "seed": 3, "steps": 2, "repair": False, "candidates": 1}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("model"))


@pytest.fixture
def pipe(model: Path) -> Any:
    pipe: Any = load_pipeline(str(model))
    pipe.set_progress_bar_config(disable=True)
    return pipe


# Numbers


@pytest.mark.long
@pytest.mark.parametrize("step", [0, 2])
@pytest.mark.parametrize("output", ["pil", "latent"])
def test_one_latent_that_is_no_number_is_an_error(step: int, output: str, pipe: Any) -> None:
    def spoil(_: Any, now: int, timestep: Any, given: dict[str, Any]) -> dict[str, Any]:
        if now == step:
            given["latents"][0, 3, 5, 7] = torch.nan
        return given

    with pytest.raises(FloatingPointError, match="latents are not finite"):
        pipe(
            "hat", layout=dressed(), num_inference_steps=3, generator=seeded(1), callback_on_step_end=spoil,
            output_type=output,
        )  # fmt: skip


def test_the_command_writes_no_picture_of_what_is_no_number(
    pipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    pipe.unet.conv_out.bias.data[5] = torch.nan  # of some latents only
    monkeypatch.setattr("twinset.cli.draw.load", lambda *_, **__: pipe)
    line = [
        "twinset",
        "generate",
        "--prompt",
        "hat",
        "--steps",
        "1",
        "--candidates",
        "2",
        "--out",
        str(tmp_path / "out"),
    ]
    monkeypatch.setattr(sys, "argv", line)
    with pytest.raises(SystemExit) as end:
        cli.main()
    said = capsys.readouterr().err
    assert end.value.code == 2 and "not finite" in said and "Traceback" not in said
    assert not list(tmp_path.rglob("*.png"))


def test_a_picture_of_one_colour_is_refused_and_not_as_unsafe(pipe: Any, tmp_path: Path) -> None:
    for layer in (pipe.vae.decoder.conv_out, pipe.vae.linear_decoder):
        layer.weight.data.zero_()
        layer.bias.data.fill_(-1.0)  # black
    with pytest.raises(InputError, match=r"refused 1 of 1 pictures \(seed 3: the picture is blank\)") as error:
        generate(pipe, Request(**HAT), tmp_path)
    assert CONCERN not in str(error.value) and not list(tmp_path.glob("*.png"))


# Two at once


def together(*calls: Any) -> None:
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.long
def test_requests_of_two_threads_give_the_bytes_of_a_serial_run(pipe: Any, tmp_path: Path) -> None:
    """One of them brings a LoRA, of which nothing must be in the other's picture."""
    lora = tmp_path / "x.safetensors"
    named = {name: module for name, module in pipe.unet.named_modules() if name.endswith(("attn1.to_q", "ff.net.2"))}
    layers: dict[str, Layers] = {"unet": {name: low(module, 2, 1.0) for name, module in named.items()}}
    write_lora(lora, layers, {"unet": pipe.unet}, "diffusers", {})
    worn = Request(**HAT, loras=(LoraChoice(path=lora, weight=2.0),), labels=False)
    plain = Request(**HAT, labels=False)

    def drawn(request: Request, name: str) -> bytes:
        generate(pipe, request, tmp_path / name)
        return (tmp_path / name / "0003.png").read_bytes()

    before = {name: tensor.clone() for name, tensor in pipe.unet.state_dict().items()}
    alone = {"plain": drawn(plain, "a"), "worn": drawn(worn, "b")}
    assert alone["plain"] != alone["worn"]
    got: dict[str, bytes] = {}
    together(
        lambda: got.update(worn=drawn(worn, "c")), lambda: got.update(plain=drawn(plain, "d")),
        lambda: got.update(again=drawn(plain, "e")),
    )  # fmt: skip
    assert got == {**alone, "again": alone["plain"]}
    after = pipe.unet.state_dict()
    assert after.keys() == before.keys() and all(torch.equal(after[name], before[name]) for name in before)


def test_passes_of_two_threads_give_the_numbers_of_a_serial_run(pipe: Any) -> None:
    """What one pass remembers of its conditions is not seen by the other."""
    both = both_conditions(pipe)

    def drawn(seed: int, got: dict[int, torch.Tensor]) -> None:
        options: dict[str, Any] = {"num_inference_steps": 6, "generator": seeded(seed), "output_type": "latent"}
        options["conditions"] = both if seed == 1 else ()
        got[seed] = pipe("hat", layout=dressed(), **options).images

    alone: dict[int, torch.Tensor] = {}
    threads: dict[int, torch.Tensor] = {}
    for seed in (1, 2):
        drawn(seed, alone)
    together(lambda: drawn(1, threads), lambda: drawn(2, threads))
    assert threads.keys() == alone.keys() and all(torch.equal(threads[seed], alone[seed]) for seed in (1, 2))
