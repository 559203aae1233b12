"""Speed and FLOPs of the joint pass against plain Stable Diffusion, diffusers' own assembly, and the ways of others.

Examples:
    python -m twinset.benchmarks.speed                              everything, full size, below 15 minutes on two cores
    python -m twinset.benchmarks.speed --only sd15-512 --rounds 0   FLOPs alone: no clock, no weights
    python -m twinset.benchmarks.speed --only sd15-256 --compile default
    python -m twinset.benchmarks.speed --tiny --out /tmp/speed      a few minutes, to see that it runs
    python -m twinset.benchmarks.speed --device cuda --dtype float16 --only sd15-512 sdxl-1024 --steps 30 --batch 4 \\
        --compile max-autotune --channels-last --peak-tflops 989

Contestants run turn by turn, so what slows the machine down slows all of them down. Times are given as ratios only.
A section that was measured with the same settings is kept unless --fresh is given; an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

from twinset.benchmarks.speed.count import Lap, count, lap, weights
from twinset.benchmarks.speed.economy import ECONOMICAL, GUIDANCE, STEPS, compare, described
from twinset.benchmarks.speed.page import speed_page
from twinset.benchmarks.speed.parts import NetworkParts, Setting
from twinset.benchmarks.speed.peers import Concatenated, Contestant, Diffusers, Naive, Ours
from twinset.common.atomic_files import write_atomic
from twinset.pipelines.record import machine

PLAIN = "plain SD"
FIELD: dict[str, Callable[[NetworkParts], Contestant]] = {
    PLAIN: Diffusers,
    "two ControlNets alone, diffusers": lambda parts: Diffusers(parts, controlled=True),
    "diffusers' assembly": lambda parts: Diffusers(parts, controlled=True, adapted=True),
    "ours, same conditions": lambda parts: Ours(parts, reference=False),
    "ours, full stack": Ours,
    "ours, full stack, LoRA merged": lambda parts: Ours(parts, lora="merged"),
    "ours, economical": lambda parts: Ours(parts, economy=ECONOMICAL[0], guided=ECONOMICAL[1]),
    "naive: reference at every step": Naive,
    "naive, reference for both branches": lambda parts: Naive(parts, both=True),
    "token concatenation (CatVTON)": Concatenated,
    "ours, two ControlNets alone": lambda parts: Ours(parts, tokens=False, reference=False, lora="none"),
    "ours, ControlNets and tokens": lambda parts: Ours(parts, reference=False, lora="none"),
    "ours, ControlNets and reference": lambda parts: Ours(parts, tokens=False, lora="none"),
}
"""Everybody whose FLOPs are counted."""
PERIODS = {"ours, economical": 4}
"""Those whose steps differ, and after how many steps their costs repeat."""
CLOCKED = (
    *(PLAIN, "diffusers' assembly", "ours, same conditions", "ours, full stack", "ours, economical"),
    *("naive: reference at every step", "token concatenation (CatVTON)"),
)
SECTIONS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "sd15-256": ({"family": "sd15", "pixels": 256, "steps": 2}, CLOCKED),
    "sd15-512": ({"family": "sd15", "pixels": 512, "steps": 1}, CLOCKED[:-1]),
    "sdxl-512": ({"family": "sdxl", "pixels": 512, "steps": 1, "dtype": "bfloat16"}, (PLAIN, "ours, full stack")),
    "sdxl-1024": ({"family": "sdxl", "pixels": 1024, "steps": 1, "dtype": "bfloat16"}, ()),
}
"""Name to its setting on a CPU, and who is put on the clock there."""
MOST_ROUNDS = {"sdxl-512": 2}
STUDIO, SIDE_OF_TINY = "studio", 64
Results = dict[str, Any]


def measure_setting(
    name: str, setting: Setting, options: argparse.Namespace, advance: Callable[[str], None], clocked: Sequence[str]
) -> Results:
    """FLOPs of everybody, and times and memory of `clocked`.

    Args:
        name: of the section.
        setting: family, size and device.
        options: the command line.
        advance: called with what has been done.
        clocked: who is timed; nobody with `--rounds 0`.
    """
    shapes, flops = NetworkParts(setting.counted()), {}
    for one, make in FIELD.items():
        flops[one] = count(make(shapes), PERIODS.get(one, 1))
        advance(f"{name}: FLOPs")
    laps: dict[str, list[Lap]] = {one: [] for one in clocked}
    parts = NetworkParts(setting)
    runners = {one: FIELD[one](parts) for one in clocked}
    warm(list(runners.values()), options)
    for _ in range(rounds_of(name, options)):
        for one, runner in runners.items():
            laps[one].append(lap(runner, whole_periods(one, setting.steps)))
            advance(f"{name}: {one}")
    sizes = {one: weights(runner) for one, runner in runners.items()}
    return {"flops": flops, "times": times(laps, sizes, flops, setting, options.peak_tflops)}


def whole_periods(name: str, steps: int) -> int:
    """Steps rounded up to whole periods of a contestant, so that their mean is that of a long pass."""
    period = PERIODS.get(name, 1)
    return -(-steps // period) * period


def warm(runners: Sequence[Contestant], options: argparse.Namespace) -> None:
    """Compile what is to be compiled; on a GPU also run once, for the kernels that are chosen at first use."""
    for runner in runners:
        if options.compile:
            runner.compile(options.compile)
        if options.compile or options.device != "cpu":
            runner.run(3)


def times(
    laps: Mapping[str, Sequence[Lap]],
    sizes: Mapping[str, int],
    flops: Mapping[str, Mapping[str, float]],
    setting: Setting,
    peak: float | None,
) -> dict[str, dict[str, Any]]:
    """Ratios to plain SD of the time of a pass of 30 steps, and gigabytes.

    Args:
        laps: passes of each contestant, round by round.
        sizes: bytes of each contestant's weights.
        flops: as counted.
        setting: for the number of steps.
        peak: TFLOP per second that the device can do.
    """
    if not laps or not all(laps.values()):
        return {}
    seconds = {name: [one.seconds(30) for one in row] for name, row in laps.items()}
    plain, found = seconds[PLAIN], {}
    for name, row in seconds.items():
        memory = [one.memory for one in laps[name] if one.memory is not None]
        found[name] = {
            "minimum": min(row) / min(plain),
            "median": median(a / b for a, b in zip(row, plain, strict=True)),
            "rounds": [a / b for a, b in zip(row, plain, strict=True)],
            "weights": sizes[name] / 1e9,
            "memory": median(memory) / 1e9 if memory else None,
            "of_limit": flops[name]["30"] / min(row) / peak if peak else None,
        }
    return found


def setting_of(name: str, options: argparse.Namespace) -> Setting:
    """A section's setting under the command line's options."""
    given = SECTIONS[name][0] | {"device": options.device, "batch": options.batch, "tiny": options.tiny}
    asked = {"steps": options.steps, "dtype": options.dtype, "channels_last": options.channels_last}
    given |= {key: value for key, value in asked.items() if value}
    return Setting(**given | ({"pixels": SIDE_OF_TINY, "dtype": "float32"} if options.tiny else {}))


def studio(options: argparse.Namespace, advance: Callable[[str], None]) -> Results:
    """What economical mode costs in the picture, on the trained model."""
    found: list[dict[str, Any]] = []
    for records in compare([ECONOMICAL], options.people):
        found += records
        advance("studio: exact and economical")
    return {"modes": found}


def settings_of(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """All that a section's result depends on."""
    if name == STUDIO:
        return {"people": options.people, "steps": STEPS, "guidance": GUIDANCE, "mode": described(ECONOMICAL)}
    shared = {key: getattr(options, key) for key in ("rounds", "compile", "peak_tflops")}
    return asdict(setting_of(name, options)) | shared | {"economical": described(ECONOMICAL)}


def work_of(name: str, options: argparse.Namespace) -> int:
    """How often a section reports that it has advanced."""
    return (
        options.people + 1 if name == STUDIO else len(FIELD) + rounds_of(name, options) * len(clocked_of(name, options))
    )


def rounds_of(name: str, options: argparse.Namespace) -> int:
    """Turns of every contestant: as asked, fewer where one takes minutes."""
    return min(options.rounds, MOST_ROUNDS.get(name, options.rounds)) if options.device == "cpu" else options.rounds


def clocked_of(name: str, options: argparse.Namespace) -> tuple[str, ...]:
    """Who is timed: on a GPU everybody, everywhere."""
    return () if not options.rounds else SECTIONS[name][1] if options.device == "cpu" else CLOCKED


def described_machine(device: str) -> dict[str, str]:
    """What the results depend on."""
    return machine(device) | {"processor": processor(device), "date": f"{datetime.now(UTC):%Y-%m-%d}"}


def processor(device: str) -> str:
    """The GPU's name or the CPU's."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    known = Path("/proc/cpuinfo")
    lines = known.read_text(encoding="utf-8").splitlines() if known.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def save(out: Path, results: Results) -> None:
    """Write `speed.json` and `speed.md`, each whole or not at all."""
    out.mkdir(parents=True, exist_ok=True)
    texts = {"speed.json": json.dumps(results, indent=1, ensure_ascii=False) + "\n", "speed.md": speed_page(results)}
    for name, text in texts.items():
        write_atomic(out / name, text)


def load_results(out: Path, device: str, fresh: bool) -> Results:
    """Results so far, if they are of this machine."""
    here, file = described_machine(device), out / "speed.json"
    if not fresh and file.exists():
        results = json.loads(file.read_text(encoding="utf-8"))
        same = {key for key in here if key != "date"}
        if all(results["machine"].get(key) == here[key] for key in same):
            return results
    return {"machine": here, "sections": {}}


def parse_settings(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*SECTIONS, STUDIO]
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="sections to run")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--fresh", action="store_true", help="measure again what is there")
    parser.add_argument("--rounds", type=int, default=3, help="turns of every contestant; 0 counts FLOPs alone")
    parser.add_argument("--steps", type=int, help="steps measured (each section has its own default)")
    parser.add_argument("--people", type=int, default=12, help="people drawn with the bundled model")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], help="float32, for SDXL bfloat16")
    parser.add_argument("--batch", type=int, default=1, help="pictures at once")
    modes = ["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]
    parser.add_argument("--compile", choices=modes, help="torch.compile of UNet and ControlNets")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--peak-tflops", type=float, help="TFLOP per second that the device can do at this dtype")
    parser.add_argument("--tiny", action="store_true", help="networks of few channels, to try the benchmark out")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the sections asked for and write the results after each."""
    options = parse_settings(arguments)
    results = load_results(options.out, options.device, options.fresh)
    kept = {name: section["settings"] for name, section in results["sections"].items()}
    wanted = [name for name in options.only if kept.get(name) != settings_of(name, options)]
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("speed", total=sum(work_of(name, options) for name in wanted))

        def advance(words: str) -> None:
            bar.update(task, advance=1, description=words)

        for name in wanted:
            if name == STUDIO:
                result = studio(options, advance)
            else:
                result = measure_setting(name, setting_of(name, options), options, advance, clocked_of(name, options))
            results["sections"][name] = {"settings": settings_of(name, options)} | result
            save(options.out, results)
            gc.collect()
    Console().print((options.out / "speed.md").read_text(encoding="utf-8"), markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
