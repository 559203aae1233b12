"""Where a model runs: by what is here, what is free and what the user says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from twinset.cli import app
from twinset.errors import InputError
from twinset.pipelines.loading import placement
from twinset.pipelines.loading.placement import GIB, DevicePlacement, choose_placement, put_on_device


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Says which devices a machine has, and how much of them is free."""

    def has(*devices: str, free: int = 0) -> None:
        monkeypatch.setattr(placement, "is_here", lambda name: name == "cpu" or name in devices)
        monkeypatch.setattr(placement, "free_device_memory", lambda name: 2**63 if name == "cpu" else free)

    monkeypatch.delenv("TWINSET_DEVICE", raising=False)
    monkeypatch.delenv("TWINSET_MEMORY", raising=False)
    return has


@pytest.mark.parametrize(
    ("family", "free", "offload"),
    [("sd15", 24, False), ("sd15", 4, True), ("sdxl", 24, False), ("sdxl", 12, True), ("studio", 4, False)],
)
def test_a_gpu_holds_what_fits(machine: Any, family: str, free: int, offload: bool) -> None:
    machine("cuda", free=free * GIB)
    dtype = torch.float32 if family == "studio" else torch.float16
    assert choose_placement(family) == DevicePlacement("cuda", dtype, offload)
    assert choose_placement(family, memory="low").offload and not choose_placement(family, memory="high").offload


def test_a_cpu_draws_in_full_precision_and_has_nowhere_to_offload_to(machine: Any) -> None:
    machine()
    assert choose_placement("sdxl", memory="low") == DevicePlacement("cpu", torch.float32)


def test_the_users_word_comes_before_the_environment(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    machine("cuda", "xpu", free=99 * GIB)
    assert choose_placement("sd15").device == "cuda"
    monkeypatch.setenv("TWINSET_DEVICE", "xpu")
    monkeypatch.setenv("TWINSET_MEMORY", "low")
    assert choose_placement("sd15") == DevicePlacement("xpu", torch.float16, offload=True)
    assert choose_placement("sd15", "cpu") == DevicePlacement("cpu", torch.float32)


def test_what_is_not_here_or_unknown_is_one_line(machine: Any) -> None:
    machine("mps")
    with pytest.raises(InputError, match=r"device 'cuda' is not available .*take --device mps"):
        choose_placement("sd15", "cuda")
    with pytest.raises(InputError, match="device 'tpu' is unknown; choose one of auto, cuda, xpu, mps, cpu"):
        choose_placement("sd15", "tpu")
    with pytest.raises(InputError, match="memory 'tiny' is unknown; choose one of auto, low, high"):
        choose_placement("sd15", memory="tiny")


def test_the_command_line_says_it_before_it_loads_anything() -> None:
    found = CliRunner().invoke(app, ["generate", "--prompt", "x", "--device", "tpu"])
    assert isinstance(found.exception, InputError) and "device 'tpu' is unknown" in str(found.exception)


def test_offloading_tiles_the_vae_and_moves_part_by_part() -> None:
    calls: list[Any] = []
    pipe = SimpleNamespace(
        to=lambda device: calls.append(("to", device)),
        enable_model_cpu_offload=lambda device: calls.append(("offload", device)),
        vae=SimpleNamespace(enable_tiling=lambda: calls.append("tiling")),
    )
    put_on_device(pipe, DevicePlacement("cuda", torch.float16))
    put_on_device(pipe, DevicePlacement("cuda", torch.float16, offload=True))
    assert calls == [("to", "cuda"), ("offload", "cuda"), "tiling"]
