"""The benchmark's figures of whole sets and of cost: KID, LPIPS, network calls, memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.models import alexnet

from tests.helpers.tiny import tiny_pipeline
from twinset.benchmarks import cost as costing
from twinset.benchmarks import perceptual
from twinset.benchmarks.cost import counted_calls, forget_peak, peak_memory
from twinset.benchmarks.drawing import Drawing, joint_pass
from twinset.benchmarks.figures import spread
from twinset.benchmarks.page import cost_table
from twinset.benchmarks.people import person_of
from twinset.benchmarks.speed import lora as lora_speed
from twinset.benchmarks.speed.parts import Setting
from twinset.scoring.kid import kernel_distances, polynomial_mmd

RNG = np.random.default_rng(0)


def test_polynomial_mmd_written_out() -> None:
    """Two points on each side, the sums by hand: k(x, y) = (xy + 1)³ in one dimension."""
    a, b = np.array([[0.0], [1.0]]), np.array([[2.0], [0.0]])
    within = 1.0 + 1.0  # k(0, 1) and k(2, 0)
    across = (1 + 1 + 27 + 1) / 4  # k(0, 2), k(0, 0), k(1, 2), k(1, 0)
    assert polynomial_mmd(a, b) == pytest.approx(within - 2 * across)


def test_kid_is_about_0_for_one_distribution_and_grows_with_distance() -> None:
    true, alike = RNG.normal(size=(2, 200, 16))
    same, near, far = (kernel_distances(x, true).mean() for x in (alike, alike + 0.5, alike + 1.0))
    assert abs(same) < 0.02 < near < far
    assert abs(kernel_distances(true, true).mean()) < 0.02  # never against the same people
    with pytest.raises(ValueError, match="3 people"):
        kernel_distances(true[:3], true[:3])


def test_spread_is_of_subsets() -> None:
    estimate = spread(np.arange(101.0), people=7)
    assert (estimate.mean, estimate.low, estimate.high, estimate.people) == (50, 2.5, 97.5, 7)


def test_lpips_needs_its_weights_and_then_tells_pictures_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lpips", reason="pip install lpips")
    perceptual.perceptual_distance.cache_clear()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert perceptual.perceptual_distance() is None
    perceptual.perceptual_distance.cache_clear()
    path = perceptual.alexnet_file()
    path.parent.mkdir(parents=True)
    torch.save(alexnet(weights=None).state_dict(), path)
    distance = perceptual.perceptual_distance()
    assert distance is not None
    truths = RNG.integers(0, 255, (2, 64, 64, 3), dtype=np.uint8)
    other = truths.copy()
    other[1] = 255 - other[1]
    found = distance(other, truths)
    assert found[0] == pytest.approx(0, abs=1e-6) and found[1] > 1e-4
    perceptual.perceptual_distance.cache_clear()


@pytest.mark.long
def test_calls_are_counted_and_caches_spare_some() -> None:
    pipe, person = tiny_pipeline(), person_of(tiny_pipeline(), 60_000, 0)
    counts = []
    for _ in range(2):
        with counted_calls(pipe) as calls:
            joint_pass(pipe, person, 3, 1.0)
        counts.append(calls)
    cold, warm = counts
    assert cold["unet"] > warm["unet"] == 3 + 1 == warm["controlnet 1"] == warm["controlnet 2"]  # two stages
    assert cold["face_encoder"] == 2 and "face_encoder" not in warm
    joint_pass(pipe, person, 1, 1.0)
    assert warm["unet"] == 4  # hooks are gone


def test_peak_memory_is_counted_anew() -> None:
    block = np.ones(2**25)  # 256 MiB
    high = peak_memory()
    del block
    low = forget_peak()
    assert low < high - 200 and peak_memory() < high - 200


@pytest.mark.long
def test_cost_of_a_way_and_its_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pipe = tiny_pipeline()
    monkeypatch.setattr(costing, "studio_pipeline", lambda model: pipe)
    plan = Drawing("tiny", tmp_path, people=1, steps=1, guidance=1.0, first_seed=60_000)
    found = {way: costing.cost(plan, way, 1) for way in costing.COSTED}
    assert found["serial"].cold_calls["unet"] > found["joint"].cold_calls["unet"]
    assert all(c.peak_mib >= c.loaded_mib > 0 and c.cold_seconds > 0 < c.warm_seconds for c in found.values())
    text = cost_table({way: vars(c) for way, c in found.items()})
    assert (
        text.startswith("| cost of one picture | joint | serial |")
        and "| calls of unet: empty, filled caches |" in text
    )


@pytest.mark.long
def test_lora_steps_are_timed_and_train_the_same_layers(tmp_path: Path) -> None:
    setting = Setting("sdxl", 64, 1, tiny=True)
    bench = lora_speed.Bench(setting, tmp_path)
    before = [p.clone() for p in bench.parts.unet.parameters()]
    seconds = lora_speed.timed(setting, 1, tmp_path)
    assert list(seconds) == list(lora_speed.WAYS) and all(len(row) == 1 and row[0] > 0 for row in seconds.values())
    lora_speed.step_of("ours", bench)(0)
    assert all(torch.equal(a, b) for a, b in zip(before, bench.parts.unet.parameters(), strict=True))
    result = {"setting": vars(setting), "seconds": seconds, "peak_mib": dict.fromkeys(lora_speed.WAYS, 1.0)}
    assert "| diffusers' example |" in lora_speed.lora_page(result) and "| 1.00 |" in lora_speed.lora_page(result)
