"""The speed benchmark's results for people: bars and tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

Record = Mapping[str, Any]
BARS: tuple[tuple[str, str, str, float], ...] = (
    ("full stack, exact, against plain SD", "ours, full stack", "plain SD", 1.9),
    ("full stack against the naive way", "ours, full stack", "naive: reference at every step", 1 / 1.25),
    ("same conditions, against diffusers' assembly", "ours, same conditions", "diffusers' assembly", 1.0),
    ("economical, against plain SD", "ours, economical", "plain SD", 1.2),
)
"""What is promised at 512² with SD1.5: (in words, dividend, divisor, at most)."""


def ratio(section: Record, name: str, against: str) -> dict[str, float]:
    """How much of `against` a contestant takes, in a pass of 30 steps.

    Args:
        section: result of one section.
        name, against: contestants.

    Returns:
        `flops`; where both were timed also `minimum` (of minima) and `median` (of the rounds' ratios).
    """
    flops, times = section["flops"], section["times"]
    found = {"flops": flops[name]["30"] / flops[against]["30"]}
    if name in times and against in times:
        found["minimum"] = times[name]["minimum"] / times[against]["minimum"]
        found["median"] = median(a / b for a, b in zip(times[name]["rounds"], times[against]["rounds"], strict=True))
    return found


def speed_page(results: Record) -> str:
    """The whole page."""
    blocks = [["# Speed", *_machine(results["machine"])]]
    sections = results["sections"]
    if "sd15-512" in sections:
        blocks.append(["## Bars (SD1.5, 512², 30 steps)", *_bars(sections["sd15-512"])])
    blocks += [[f"## {name}", *_section(section)] for name, section in sections.items() if name != "studio"]
    if "studio" in sections:
        blocks.append(["## What economical mode costs in the picture", *_studio(sections["studio"])])
    return "\n\n".join("\n\n".join(block) for block in blocks) + "\n"


def _machine(machine: Record) -> Iterator[str]:
    yield (
        "One denoising pass (UNet, ControlNets, adapters; no text encoder, no VAE) with classifier-free guidance and "
        "DDIM, random weights. All ratios are to plain SD on diffusers' own pipeline in the same round and are for a "
        "pass of 30 steps: what is done once plus 30 times the mean of the steps measured. Work space is memory at its "
        "peak beyond the weights; the reference UNet counts with weights of its own, as in IMAGDressing."
    )
    yield "; ".join(f"{key} {value}" for key, value in machine.items())


def _bars(section: Record) -> Iterator[str]:
    rows = [["bar", "at most", "by FLOPs", "by time, minimum", "by time, median", "kept"]]
    for words, name, against, limit in BARS:
        found = ratio(section, name, against)
        shown = [_number(found.get(key)) for key in ("flops", "minimum", "median")]
        kept = "yes" if all(value <= limit for value in found.values()) else "no"
        rows.append([words, f"{limit:.2f}", *shown, kept])
    yield speed_table(rows)


def _section(section: Record) -> Iterator[str]:
    yield "; ".join(f"{key} {value}" for key, value in section["settings"].items())
    heading = ["way", "TFLOP once", "TFLOP per step", "30 steps", "50 steps", "FLOPs ratio", "time, minimum"]
    rows = [[*heading, "time, median", "weights, GB", "work space, GB", "of FLOP limit"]]
    for name, counted in section["flops"].items():
        found, timed = ratio(section, name, "plain SD"), section["times"].get(name, {})
        cells = [_number(counted["once"], 3), _number(counted["per_step"], 3)]
        cells += [_number(counted[steps], 1) for steps in ("30", "50")]
        cells += [_number(found.get(key)) for key in ("flops", "minimum", "median")]
        cells += [_number(timed.get(key)) for key in ("weights", "memory")]
        rows.append([name, *cells, f"{timed['of_limit']:.0%}" if timed.get("of_limit") else "–"])
    yield speed_table(rows)


def _studio(section: Record) -> Iterator[str]:
    yield f"Bundled model, {section['settings']['steps']} steps, guidance {section['settings']['guidance']}."
    for row in section["modes"]:
        yield (
            f"{row['mode']}: {row['time_of_exact']:.2f} of exact mode's time; {row['people']} people from seed "
            f"{row['first_seed']}; pictures {row['psnr']:.1f} dB from exact ones; final latents "
            f"{row['latents_away']:.1%} away (relative L2), the noise predicted at a step {row['noise_away']:.1%}."
        )
        rows = [["figure of the joint benchmark", "exact", "economical"]]
        for name, pair in row["figures"].items():
            rows.append([name, _number(pair["exact"], 3), _number(pair["economical"], 3)])
        yield speed_table(rows)


def speed_table(rows: Sequence[Sequence[str]]) -> str:
    """Markdown, the first row a heading."""
    rule = ["---", *("---:" for _ in rows[0][1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (rows[0], rule, *rows[1:]))


def _number(value: float | None, decimals: int = 2) -> str:
    return "–" if value is None else f"{value:.{decimals}f}"
