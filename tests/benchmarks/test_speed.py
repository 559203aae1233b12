"""The speed benchmark at tiny sizes: contestants compute what they claim, and counts and ratios are right."""

# pyright: reportArgumentType=false
# (diffusers' hints are narrower than what it takes)
from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention
from torch import nn

from tests.helpers.tiny import batches
from twinset.benchmarks.speed import count as speed_count
from twinset.benchmarks.speed import run as speed
from twinset.benchmarks.speed.count import Lap, count, flops_of, lap, on_the_clock, weights
from twinset.benchmarks.speed.economy import ECONOMICAL, away, described
from twinset.benchmarks.speed.page import ratio
from twinset.benchmarks.speed.parts import NetworkParts, Setting
from twinset.benchmarks.speed.peers import Concatenated, Contestant, Diffusers, Naive, Ours

SETTING = Setting("sd15", 64, 2, tiny=True)


@pytest.fixture(scope="module", params=["sd15", "sdxl"])
def parts(request: pytest.FixtureRequest) -> NetworkParts:
    return NetworkParts(replace(SETTING, family=request.param, batch=2))


@pytest.fixture(scope="module")
def shapes() -> NetworkParts:
    return NetworkParts(SETTING.counted())


def note(seen: list[int], _layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    """Write down the number of tokens."""
    seen.append(inputs[0].shape[1])


@pytest.mark.long
def test_ours_draws_what_diffusers_assembly_draws(parts: NetworkParts) -> None:
    ours, theirs = Ours(parts, reference=False).run(2), Diffusers(parts, controlled=True, adapted=True).run(2)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    bare = Ours(parts, controlled=False, tokens=False, reference=False, lora="none").run(2)
    torch.testing.assert_close(bare, Diffusers(parts).run(2), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(ours, bare, atol=1e-2)


@pytest.mark.long
def test_the_naive_way_draws_what_ours_draws_and_reads_the_garment_at_every_step(parts: NetworkParts) -> None:
    ours, naive, both = Ours(parts), Naive(parts), Naive(parts, both=True)
    with batches(ours.reference_unet) as once:
        expected = ours.run(2)
    with batches(naive.reference_unet) as every:
        torch.testing.assert_close(naive.run(2), expected, rtol=1e-4, atol=1e-4)
    with batches(both.reference_unet) as doubled:
        torch.testing.assert_close(both.run(2), expected, rtol=1e-4, atol=1e-4)
    assert (once, every, doubled) == ([1], [1, 1], [2, 2])


@pytest.mark.long
def test_every_part_of_the_full_stack_has_its_say(parts: NetworkParts) -> None:
    ways = [Ours(parts), Ours(parts, controlled=False), Ours(parts, tokens=False), Ours(parts, reference=False)]
    full, *lacking = (way.run(2) for way in (*ways, Ours(parts, lora="none")))
    assert all((full - less).abs().max() > 1e-3 for less in lacking)


def test_a_merged_lora_draws_the_same_and_leaves_the_shared_weights_alone(parts: NetworkParts) -> None:
    before = {name: weight.clone() for name, weight in parts.unet.state_dict().items()}
    beside, merged = Ours(parts), Ours(parts, lora="merged")
    torch.testing.assert_close(beside.run(2), merged.run(2), rtol=1e-4, atol=1e-4)
    assert all(torch.equal(before[name], weight) for name, weight in parts.unet.state_dict().items())


def test_token_concatenation_doubles_the_tokens_and_reads_no_words(parts: NetworkParts) -> None:
    way, plain = Concatenated(parts), Diffusers(parts)
    tokens: dict[Contestant, list[int]] = {}
    for one in (way, plain):
        block = next(module for module in one.unet.modules() if isinstance(module, BasicTransformerBlock))
        seen: list[int] = []
        tokens[one] = seen
        block.attn1.register_forward_pre_hook(partial(note, seen))
    crossed = next(module for module in way.unet.modules() if isinstance(module, BasicTransformerBlock)).attn2
    with batches(crossed.to_q) as read:
        assert way.run(2).shape == plain.run(2).shape
    assert tokens[way] == [2 * count for count in tokens[plain]] and not read


def test_flops_of_a_known_layer() -> None:
    """A linear layer 2·L·C·C', a convolution 2·9·C·C'·h·w, attention four of the former and 4·L·L·C."""
    rows, channels = 24, 16
    with torch.device("meta"):
        linear, convolution = nn.Linear(channels, 32), nn.Conv2d(channels, 8, 3, padding=1)
        attention = Attention(channels, heads=2, dim_head=8)
        x, picture = torch.empty(1, rows, channels), torch.empty(1, channels, 4, 6)
    assert flops_of(lambda: linear(x))[0] == 2 * rows * channels * 32
    assert flops_of(lambda: convolution(picture))[0] == 2 * 9 * channels * 8 * 4 * 6
    assert flops_of(lambda: attention(x))[0] == 4 * 2 * rows * channels**2 + 4 * rows**2 * channels


@pytest.mark.long
@pytest.mark.parametrize("way", [Diffusers, Ours, Naive, Concatenated])
def test_shapes_alone_give_the_count_of_real_numbers(way: type, shapes: NetworkParts) -> None:
    """On the CPU attention is one fused kernel, on the meta device two matrix products."""
    real, counted = way(NetworkParts(SETTING)), way(shapes)
    assert flops_of(lambda: real.run(2))[0] == flops_of(lambda: counted.run(2))[0] > 0


@pytest.mark.slow
def test_counts_of_a_pass_go_on_in_a_straight_line(shapes: NetworkParts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed_count, "LENGTHS", (6,))
    for way, period in ((Ours(shapes), 1), (Ours(shapes, economy=ECONOMICAL[0], guided=ECONOMICAL[1]), 4)):
        counted = count(way, period)
        assert 8 * counted["per_step"] + counted["once"] == pytest.approx(
            flops_of(lambda way=way: way.run(8))[0] / 1e12
        )
        assert counted["6"] == pytest.approx(flops_of(lambda way=way: way.run(6))[0] / 1e12)


def test_weights_and_laps() -> None:
    parts = NetworkParts(SETTING)
    plain, full = Diffusers(parts), Ours(parts)
    assert weights(plain) == sum(4 * p.numel() for p in parts.unet.parameters())
    assert weights(full) > 2 * weights(plain)  # the reference UNet has weights of its own
    taken = lap(full, 2)
    assert taken.once > 0 and taken.seconds(30) == pytest.approx(taken.once + 30 * taken.per_step)


def test_what_is_embedded_in_the_first_step_counts_as_done_once() -> None:
    layer = nn.Sequential(nn.Linear(2, 2))
    with on_the_clock([layer], cuda=False) as taken:
        layer(torch.zeros(1, 2))
    assert len(taken) == 1 and taken[0] > 0
    layer(torch.zeros(1, 2))
    assert len(taken) == 1
    assert (
        len(Ours(NetworkParts(SETTING.counted())).embedders) == 2
        and not Naive(NetworkParts(SETTING.counted())).embedders
    )
    assert [speed.whole_periods(name, 1) for name in (speed.PLAIN, "ours, economical")] == [1, 4]


def test_ratios_are_those_of_passes_of_30_steps() -> None:
    """Three rounds, the machine half as fast in the second."""
    laps = {
        speed.PLAIN: [Lap(0, x, 10**9) for x in (1, 2, 1)],
        "ours, full stack": [Lap(30 * x, 2 * x, None) for x in (1, 2, 1.5)],
    }
    flops = {speed.PLAIN: {"30": 30.0}, "ours, full stack": {"30": 60.0}}
    found = speed.times(laps, dict.fromkeys(laps, 10**9), flops, SETTING, peak=4.0)
    assert found["ours, full stack"]["minimum"] == 3 and found["ours, full stack"]["rounds"] == [3, 3, 4.5]
    assert found["ours, full stack"]["memory"] is None and found[speed.PLAIN]["memory"] == 1
    assert found[speed.PLAIN]["of_limit"] == pytest.approx(0.25)
    section = {"flops": flops, "times": found}
    assert ratio(section, "ours, full stack", speed.PLAIN) == {"flops": 2, "minimum": 3, "median": 3}


@pytest.mark.slow
def test_the_command_writes_results_and_keeps_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = (speed.PLAIN, "diffusers' assembly", "ours, same conditions", "ours, full stack", "ours, economical")
    field = {name: speed.FIELD[name] for name in (*names, "naive: reference at every step")}
    monkeypatch.setattr(speed, "FIELD", field)
    monkeypatch.setitem(speed.SECTIONS, "sd15-512", (speed.SECTIONS["sd15-512"][0], names[:1]))
    command = ["--tiny", "--only", "sd15-512", "--rounds", "1", "--out", str(tmp_path)]
    speed.main(command)
    results = json.loads((tmp_path / "speed.json").read_text(encoding="utf-8"))
    section = results["sections"]["sd15-512"]
    assert section["flops"].keys() == field.keys() and section["times"].keys() == {speed.PLAIN}
    assert 1 < ratio(section, "ours, full stack", speed.PLAIN)["flops"] < ratio(section, names[1], speed.PLAIN)["flops"]
    assert "economical, against plain SD" in (tmp_path / "speed.md").read_text(encoding="utf-8")
    monkeypatch.setattr(speed, "measure_setting", None)  # would fail if called
    speed.main(command)


def test_modes_in_words() -> None:
    assert described(ECONOMICAL) == "ControlNets run at every 4. step, deep blocks run at every 2. step"
    assert away(torch.tensor([3.0]), torch.tensor([2.0])) == 0.5
