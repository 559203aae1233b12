"""Long trainings: stopped anywhere they go on bit by bit; what is damaged, full or not finite costs nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from tests.helpers import lora_people as lp
from tests.helpers.tiny import tiny_pipeline
from twinset.adapters.lora.files import LowRank, read_lora
from twinset.errors import InputError
from twinset.training.core import checkpoints as checkpoints_room
from twinset.training.core import training_run
from twinset.training.core.checkpoints import Checkpoints
from twinset.training.core.run_folder import forget_run
from twinset.training.lora import train as train_room
from twinset.training.lora.batches import LoraData

STEPS = lp.STRAIGHT["steps"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lp.write_people(tmp_path_factory.mktemp("people"), 4)


@pytest.fixture(scope="module")
def straight(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The LoRA of a run that was never stopped, its folder beside it."""
    out = tmp_path_factory.mktemp("straight") / "x.safetensors"
    lp.train(data, out, **lp.STRAIGHT)
    return out


def last(out: Path) -> dict[str, Any]:
    state = Checkpoints(out.with_suffix(".run") / "checkpoints").newest()
    assert state is not None
    return state


def assert_same(one: Any, other: Any, where: str = "state") -> None:
    """Bit by bit, in every tensor and number below."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one.keys() - {"seconds", "figures"}:  # what the clock and the log interval say
            assert_same(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list):
        for index, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{where}[{index}]")
    else:
        assert one == other, where


def unet_pairs(path: Path) -> dict[str, LowRank]:
    """The UNet's layers of a LoRA file."""
    return {name: low for name, low in read_lora(path).components["unet"].items() if isinstance(low, LowRank)}


def command(data: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "tests.helpers.lora_people", str(data), str(out), str(torch.get_num_threads())]


@pytest.mark.long
def test_a_killed_process_goes_on_bit_by_bit(data: Path, straight: Path, tmp_path: Path) -> None:
    """SIGKILL as soon as the second checkpoint is there, wherever the process is then."""
    out, root = tmp_path / "x.safetensors", Path(__file__).resolve().parents[2]
    process = subprocess.Popen(command(data, out), cwd=root, env=os.environ | {"PYTHONPATH": str(root)})
    folder, began = out.with_suffix(".run") / "checkpoints", time.monotonic()
    while not (folder / "step-00000004.pt").is_file():
        assert process.poll() is None and time.monotonic() - began < 600
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not out.exists()
    reached = last(out)["step"]
    assert 4 <= reached < STEPS
    lp.train(data, out, **lp.STRAIGHT)
    assert_same(last(out), last(straight))
    ours, theirs = unet_pairs(out), unet_pairs(straight)
    assert all(torch.equal(ours[name].up, low.up) for name, low in theirs.items())


@pytest.mark.long
@pytest.mark.parametrize("stop", [1, 3, 6])
def test_a_run_stopped_at_any_batch_goes_on_bit_by_bit(
    stop: int, data: Path, straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights, optimiser, average, generators and the data's order; at most one interval is done again."""
    out, plain, asked = tmp_path / "x.safetensors", LoraData.batch, []

    def failing(self: LoraData, number: int) -> Any:
        asked.append(number)
        if number == stop and len(asked) < 100:
            raise KeyboardInterrupt
        return plain(self, number)

    monkeypatch.setattr(LoraData, "batch", failing)
    with pytest.raises(KeyboardInterrupt):
        lp.train(data, out, **lp.STRAIGHT)
    asked[:] = [0] * 100
    lp.train(data, out, **lp.STRAIGHT)
    assert asked[100] == stop // 2 * 2  # from the last even step on
    assert_same(last(out), last(straight))


@pytest.mark.long
def test_a_loss_that_is_not_finite_stops_before_anything_is_saved(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, plain = tmp_path / "x.safetensors", LoraData.batch

    def poisoned(self: LoraData, number: int) -> Any:
        batch = plain(self, number)
        return batch | {"latents": batch["latents"] * float("nan")} if number == 3 else batch

    monkeypatch.setattr(LoraData, "batch", poisoned)
    with pytest.raises(FloatingPointError, match=r"loss is nan at step 4; .*step-00000002\.pt"):
        lp.train(data, out, steps=STEPS)
    assert last(out)["step"] == 2 and not out.exists()
    assert all(bool(weight.isfinite().all()) for weight in last(out)["model"].values())


@pytest.mark.long
def test_weights_that_are_not_finite_are_not_saved(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Exploding(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:
            for group in self.param_groups:
                group["params"][0].data.fill_(float("inf"))

    monkeypatch.setattr(training_run, "optimiser_of", lambda options: lambda groups: Exploding(groups, lr=1.0))
    with pytest.raises(FloatingPointError, match="is not finite at step"):
        lp.train(data, tmp_path / "x.safetensors", steps=2, save_every=1)
    assert not list((tmp_path / "x.run" / "checkpoints").glob("*")) and not (tmp_path / "x.safetensors").exists()


@pytest.mark.long
def test_a_full_disk_keeps_the_old_checkpoints(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, plain = tmp_path / "x.safetensors", torch.save

    def full(state: Any, file: Any) -> None:
        if state["step"] >= 4:
            file.write(b"half of it")
            raise OSError(28, "No space left on device")
        plain(state, file)

    monkeypatch.setattr(checkpoints_room.torch, "save", full)
    with pytest.raises(OSError, match=r"No space left on device.*resumes from the last one .*step-00000002"):
        lp.train(data, out, steps=STEPS)
    assert [path.name for path in (tmp_path / "x.run" / "checkpoints").iterdir()] == ["step-00000002.pt"]
    monkeypatch.undo()
    assert lp.train(data, out, steps=STEPS).fit.step == STEPS


@pytest.mark.long
def test_a_damaged_checkpoint_is_passed_over_loudly(data: Path, straight: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.safetensors"
    shutil.copytree(straight.with_suffix(".run"), out.with_suffix(".run"))
    newest, before = Checkpoints(tmp_path / "x.run" / "checkpoints").files()
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 0xFF  # one byte in the middle: still a zip archive
    newest.write_bytes(content)
    with pytest.warns(UserWarning, match="step-00000008.pt cannot be read; trying the one before"):
        lp.train(data, out, **lp.STRAIGHT)
    assert_same(last(out), last(straight))
    for path in (newest, before):
        path.write_bytes(b"nothing")
    with (
        pytest.warns(UserWarning, match="cannot be read"),
        pytest.raises(ValueError, match=r"no checkpoint in .* can be read; delete the folder"),
    ):
        lp.train(data, out, **lp.STRAIGHT)


@pytest.mark.long
def test_a_run_is_not_continued_with_other_options_or_pictures(data: Path, tmp_path: Path) -> None:
    own = lp.write_people(tmp_path / "own", 2)
    out = tmp_path / "x.safetensors"
    lp.train(own, out, steps=2)
    with pytest.raises(InputError, match="was started with rank = 2, not 3; use that, another --run, or --fresh"):
        lp.train(own, out, steps=2, rank=3)
    lp.write_people(own, 3)
    with pytest.raises(InputError, match="was started with another data"):
        lp.train(own, out, steps=2)
    forget_run(out.with_suffix(".run"))
    assert lp.train(own, out, steps=2, rank=3).fit.step == 2
    with pytest.raises(InputError, match="holds no run"):
        forget_run(data)


@pytest.mark.long
def test_the_recipe_gives_the_same_file_again(data: Path, tmp_path: Path) -> None:
    from twinset.training.core.options import read_recipe
    from twinset.training.lora.options import LoraOptions, read_options

    first = lp.train(data, tmp_path / "a.safetensors", steps=3)
    options = read_options(read_recipe(first.recipe, LoraOptions))
    second = train_room.train_lora(tiny_pipeline(), options, tmp_path / "b.safetensors")
    one, other = (unet_pairs(x.out) for x in (first, second))
    assert all(
        torch.equal(low.up, other[name].up) and torch.equal(low.down, other[name].down) for name, low in one.items()
    )
    assert any(low.up.any() for low in one.values())


def one_of_two(data: Path, out: Path) -> None:
    torch.set_num_threads(1)
    trained = lp.train(data, out)
    weights = {name: low.up.sum().item() for name, low in unet_pairs(out).items()}
    said = {"steps": trained.fit.step, "weights": weights}
    (out.parent / f"rank-{os.environ['RANK']}.json").write_text(json.dumps(said), encoding="utf-8")


@pytest.mark.slow
def test_several_processes_train_one_lora(data: Path, tmp_path: Path) -> None:
    launch = LaunchConfig(1, 1, 2, rdzv_backend="c10d", rdzv_endpoint="localhost:0", run_id="lora", max_restarts=0)
    elastic_launch(launch, one_of_two)(data, tmp_path / "two.safetensors")
    first, second = (json.loads((tmp_path / f"rank-{rank}.json").read_text("utf-8")) for rank in (0, 1))
    assert first == second and first["steps"] == 6 and any(first["weights"].values())
    state = last(tmp_path / "two.safetensors")
    alone = lp.train(data, tmp_path / "one.safetensors")
    assert state["step"] == 6 and alone.fit.step == 6
    ours, theirs = unet_pairs(tmp_path / "two.safetensors"), unet_pairs(alone.out)
    assert not all(torch.equal(ours[name].up, low.up) for name, low in theirs.items())  # twice the pictures a step
