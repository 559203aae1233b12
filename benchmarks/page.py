"""The benchmark's results for people: a Markdown table and a grid of pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from twinset.benchmarks.figures import Estimate
from twinset.common.sheets import contact_sheet

HEADINGS: dict[str, tuple[str, float, int]] = {
    "identity_recovery": ("identity recovery ↑", 1, 3),
    "sim_gt": ("Sim-GT ↑", 1, 3),
    "sim_ref": ("Sim-Ref ↑", 1, 3),
    "copy_paste": ("copy-paste ↓", 1, 3),
    "garment_difference": ("garment ΔE2000 ↓", 1, 1),
    "light_mismatch": ("light mismatch, ° ↓", 1, 1),
    "skin_difference": ("face/skin ΔE2000 ↓", 1, 1),
    "garment_rank1": ("garment rank-1 of 100, % ↑", 100, 0),
    "pck": ("PCK@0.1, % ↑", 100, 1),
    "parsing_miou": ("parsing mIoU, % ↑", 100, 1),
    "clip_iqa": ("CLIP-IQA, quality ↑", 1, 3),
    "niqe": ("NIQE ↓", 1, 2),
    "kid": ("KID, judge's features (spread of subsets) ↓", 1, 1),
    "lpips": ("LPIPS ↓", 1, 3),
    "psnr": ("PSNR, dB ↑", 1, 1),
    "ssim": ("SSIM ↑", 1, 3),
    "named_english": ("named attributes right, English, % ↑", 100, 1),
    "named_chinese": ("named attributes right, Chinese, % ↑", 100, 1),
}
"""Figure to its heading, factor and decimals, in the table's order."""


def table(results: Mapping[str, Mapping[str, Estimate]]) -> str:
    """Markdown: one row per figure, one column per way of drawing, each `mean [low, high]`.

    Args:
        results: Way of drawing to its figures.
    """
    attributes = [name for name in next(iter(results.values())) if name.startswith("right_")]
    headings = HEADINGS | {
        name: (f"{name.removeprefix('right_').replace('_', ' ')} right, % ↑", 100, 0) for name in attributes
    }
    rows = [["figure", *results], ["---", *("---:" for _ in results)]]
    known = {name for figures in results.values() for name, value in figures.items() if value.people}
    for name, (heading, factor, decimals) in headings.items():
        if name == "lpips" and name not in known:  # its weights are rarely here
            continue
        rows.append([heading, *(_cell(figures.get(name), factor, decimals) for figures in results.values())])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def cost_table(costs: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown: what a picture costs, one column per way.

    Args:
        costs: way to the fields of `twinset.benchmarks.cost.Cost`.
    """
    rows = [["cost of one picture", *costs], ["---", *("---:" for _ in costs)]]
    names = sorted({name for cost in costs.values() for name in cost["cold_calls"]})
    shown = {"seconds, caches empty": "cold_seconds", "seconds, person and garments seen before": "warm_seconds"}
    shown |= {"peak memory, MiB": "peak_mib", "memory before the first picture, MiB": "loaded_mib"}
    rows += [[heading, *(f"{cost[field]:g}" for cost in costs.values())] for heading, field in shown.items()]
    for name in names:
        calls = ((cost[f"{caches}_calls"].get(name, 0) for caches in ("cold", "warm")) for cost in costs.values())
        rows.append([f"calls of {name}: empty, filled caches", *(", ".join(f"{n:g}" for n in each) for each in calls)])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _cell(estimate: Estimate | None, factor: float, decimals: int) -> str:
    if estimate is None or not estimate.people:
        return "–"
    mean, low, high = (f"{value * factor:.{decimals}f}" for value in (estimate.mean, estimate.low, estimate.high))
    return f"{mean} [{low}, {high}]"


def grid(columns: Mapping[str, Sequence[np.ndarray]], most: int = 12) -> Image.Image:
    """Pictures side by side with a heading per column.

    Args:
        columns: Heading to uint8 (H, W, 3) pictures, one per person.
        most: Rows at most.

    Returns:
        RGB picture.
    """
    rows = list(zip(*columns.values(), strict=True))[:most]
    sheet, top = contact_sheet(rows), 20
    page = Image.new("RGB", (sheet.width, sheet.height + top), "white")
    page.paste(sheet, (0, top))
    draw = ImageDraw.Draw(page)
    for index, heading in enumerate(columns):
        centre = 4 + index * 196 + 96
        draw.text((centre, 4 + top // 2), heading, fill="black", anchor="mm", font_size=14)
    return page
