"""How well the pixel mark lasts, how little of it is seen, and whether unmarked pictures ever seem marked.

python -m twinset.benchmarks.labels                         some 210 marked and 10,000 unmarked pictures, half an hour
python -m twinset.benchmarks.labels --share 0.02 --out /tmp/labels
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import skimage
from PIL import Image
from rich.progress import track

from twinset.compliance.labels.find import find_mark
from twinset.compliance.labels.mark import add_mark
from twinset.pipelines.record import machine
from twinset.training.mannequin import render
from twinset.training.mannequin.spec import draw_spec

FIRST_SEED = 900_760_000
RESULTS = Path(__file__).parent / "results"
KEY = b"benchmark of the pixel mark"
PHOTOS = (
    "astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "hubble_deep_field.jpg", "motorcycle_left.png",
    "ihc.png", "brick.png", "grass.png", "gravel.png", "camera.png",
)  # fmt: skip
ABOUT = (
    "Drawn: Mannequin's held-out people at 192 x 256, at seeds that no other benchmark uses. Drawn, large: the same "
    "enlarged to 512 x 683 with film grain and uneven light laid over. Fields: dead leaves and 1/f noise at 512 x 768, "
    "whose spectra are those of photographs (Lee, Mumford and Huang 2001). Photographs: those in scikit-image's "
    "package, shorter side 512. Each cell: share of pictures whose payload of 32 bits is read without an error. "
    "Rotation leaves black corners; cropping keeps 90 % of both sides, in the middle or in a corner."
)
Attack = Callable[[Image.Image], Image.Image]


def jpeg(quality: int) -> Attack:
    """Saved as JPEG (4:2:0) and read again."""

    def attack(picture: Image.Image) -> Image.Image:
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=quality)
        return Image.open(file).convert("RGB")

    return attack


def resized(factor: float) -> Attack:
    """Sampled to another size, bicubic."""
    return lambda picture: picture.resize((round(picture.width * factor), round(picture.height * factor)))


def cropped(across: float, down: float) -> Attack:
    """Nine tenths of both sides, from the left and upper edge (0) to the right and lower one (1)."""

    def attack(picture: Image.Image) -> Image.Image:
        width, height = round(0.9 * picture.width), round(0.9 * picture.height)
        left, top = round((picture.width - width) * across), round((picture.height - height) * down)
        return picture.crop((left, top, left + width, top + height))

    return attack


def turned_picture(degrees: float) -> Attack:
    """Turned about the middle in the same frame."""
    return lambda picture: picture.rotate(degrees, Image.Resampling.BICUBIC)


def noisy(picture: Image.Image) -> Image.Image:
    """With Gaussian noise of 5 grey levels."""
    noise = np.random.default_rng(0).normal(0, 5, (picture.height, picture.width, 3))
    return Image.fromarray((np.asarray(picture) + noise).round().clip(0, 255).astype(np.uint8))


def brightened(picture: Image.Image) -> Image.Image:
    """Brighter by a fifth, and with less contrast."""
    return picture.point([min(255, round(0.85 * value + 35)) for value in range(256)] * len(picture.getbands()))


def mirrored_picture(picture: Image.Image) -> Image.Image:
    """Left for right."""
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


ATTACKS: dict[str, Attack] = {
    "none": lambda picture: picture,
    "JPEG 90": jpeg(90),
    "JPEG 75": jpeg(75),
    "JPEG 50": jpeg(50),
    "resized to 0.5": resized(0.5),
    "resized to 0.75": resized(0.75),
    "resized to 1.5": resized(1.5),
    "resized to 2": resized(2.0),
    "cropped by 10 %, middle": cropped(0.5, 0.5),
    "cropped by 10 %, corner": cropped(0.0, 1.0),
    "mirrored": mirrored_picture,
    "turned by 1°": turned_picture(1),
    "turned by 2°": turned_picture(-2),
    "noise of 5": noisy,
    "brighter, paler": brightened,
    "resized to 0.75, JPEG 75": lambda picture: jpeg(75)(resized(0.75)(picture)),
    "cropped, JPEG 75": lambda picture: jpeg(75)(cropped(0.3, 0.8)(picture)),
    "mirrored, turned by 1°, JPEG 75": lambda picture: jpeg(75)(turned_picture(1)(mirrored_picture(picture))),
}


def drawn_pictures(seed: int) -> np.ndarray:
    """A Mannequin person, uint8 (256, 192, 3)."""
    return render.render_picture(draw_spec(FIRST_SEED + seed, "held_out"))


def drawn_large(seed: int) -> np.ndarray:
    """A person enlarged, with grain of 3 grey levels and uneven light, uint8 (683, 512, 3)."""
    rng = np.random.default_rng(seed)
    large = np.asarray(
        Image.fromarray(drawn_pictures(5_000 + seed)).resize((512, 683), Image.Resampling.LANCZOS), np.float32
    )
    light = 1 + 0.15 * _one_over_f(rng, (683, 512), 1.5)[..., None]
    return (large * light + rng.normal(0, 3, large.shape)).round().clip(0, 255).astype(np.uint8)


def field(seed: int, size: tuple[int, int] = (512, 768)) -> np.ndarray:
    """Dead leaves or 1/f noise in colour, uint8 (H, W, 3) of a size (width, height)."""
    rng = np.random.default_rng(seed)
    shape = (size[1], size[0])
    if seed % 2:
        channels = [_one_over_f(rng, shape, 1.0) for _ in range(2)]
        mixed = channels[0][..., None] + 0.4 * channels[1][..., None] * rng.normal(size=3)
        return (128 + 45 * mixed).round().clip(0, 255).astype(np.uint8)
    return _dead_leaves(rng, shape)


def _one_over_f(rng: np.random.Generator, shape: tuple[int, int], power: float) -> np.ndarray:
    """Gaussian field whose amplitude falls as frequency^-power; mean 0, standard deviation 1."""
    down, across = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None]
    falls = np.hypot(down, across) + 1 / max(shape)
    made = np.fft.irfft2(np.fft.rfft2(rng.normal(size=shape)) / falls**power, shape)
    return (made - made.mean()) / made.std()


def _dead_leaves(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Discs over discs, their radii by the law r^-3, each with its colour and a little texture."""
    picture = np.full((*shape, 3), 128.0)
    down, across = np.mgrid[: shape[0], : shape[1]]
    for radius in np.sort(min(shape) / 40 / np.sqrt(rng.uniform(0.02, 1, 150)))[::-1]:
        row, column = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        top, left = max(0, int(row - radius)), max(0, int(column - radius))
        part = np.s_[top : int(row + radius) + 1, left : int(column + radius) + 1]
        inside = (down[part] - row) ** 2 + (across[part] - column) ** 2 <= radius**2
        picture[part][inside] = rng.uniform(0, 255, 3)
    grain = 6 * _one_over_f(rng, shape, 0.7)[..., None]
    return (picture + grain).round().clip(0, 255).astype(np.uint8)


def photograph(index: int) -> np.ndarray:
    """One of scikit-image's pictures, the shorter side 512, uint8 (H, W, 3)."""
    with Image.open(Path(skimage.__file__).parent / "data" / PHOTOS[index]) as file:
        picture = file.convert("RGB")
    scale = 512 / min(picture.size)
    return np.asarray(picture.resize((round(picture.width * scale), round(picture.height * scale))))


GROUPS: dict[str, tuple[Callable[[int], np.ndarray], int]] = {
    "drawn": (drawn_pictures, 110),
    "drawn, large": (drawn_large, 45),
    "fields": (field, 45),
    "photographs": (photograph, len(PHOTOS)),
}


def lasting(make: Callable[[int], np.ndarray], count: int, name: str) -> dict[str, Any]:
    """Share of payloads read after each attack, PSNR and margin, of one group."""
    read = {attack: 0 for attack in ATTACKS}
    quality, margins, wrong = [], [], 0
    for index in track(range(count), name):
        payload = (0x9E3779B9 * (index + 1)) % 2**32
        marked = add_mark(make(index), payload, KEY)
        quality.append(marked.psnr)
        margins.append(marked.margin)
        for attack, done in ATTACKS.items():
            found = find_mark(np.asarray(done(Image.fromarray(marked.picture))), KEY)
            read[attack] += found is not None and found.payload == payload
            wrong += found is not None and found.payload != payload
    told = {"mean": float(np.mean(quality)), "least": float(np.min(quality))}
    shares = {attack: times / count for attack, times in read.items()}
    return {"pictures": count, "read": shares, "psnr": told, "margins": margins, "wrong_payloads": wrong}


def unmarked(count: int) -> Iterator[np.ndarray]:
    """Pictures without a mark: four tenths drawn, the rest fields, one of fifty of them at 512 x 768."""
    for index in range(count):
        if index % 5 < 2:
            yield drawn_pictures(10_000 + index)
        else:
            yield field(10_000 + index, (512, 768) if index % 50 == 4 else (192, 256))


def false_alarms(count: int) -> dict[str, Any]:
    """How many unmarked pictures seem marked, of so many."""
    alarms = sum(find_mark(picture, KEY) is not None for picture in track(unmarked(count), "unmarked", count))
    return {"pictures": count, "seem_marked": alarms}


def labels_page(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    groups = results["groups"]
    lines = ["# The pixel mark", "", ABOUT, ""]
    lines += ["; ".join(f"{name} {value}" for name, value in results["machine"].items()), ""]
    rows: dict[str, list[str]] = {"": list(groups), "---": ["---:"] * len(groups)}
    rows["pictures"] = [str(group["pictures"]) for group in groups.values()]
    rows |= {attack: [f"{group['read'][attack]:.1%}" for group in groups.values()] for attack in ATTACKS}
    for figure in ("mean", "least"):
        rows[f"PSNR, dB, {figure}"] = [f"{group['psnr'][figure]:.1f}" for group in groups.values()]
    rows["wrong payloads"] = [str(group["wrong_payloads"]) for group in groups.values()]
    lines += [f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()] + [""]
    alarms = results["false_alarms"]
    lines += [f"Of {alarms['pictures']:,} unmarked pictures {alarms['seem_marked']} seemed marked."]
    return "\n".join([*lines, f"{results['seconds']:.0f} s on one core."]) + "\n"


def main() -> None:
    """Measure, write `labels.json` and `labels.md`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0, help="of the pictures")
    parser.add_argument("--unmarked", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    started = time.perf_counter()
    groups = {name: lasting(make, max(1, round(count * options.share)), name) for name, (make, count) in GROUPS.items()}
    results = {"groups": groups, "false_alarms": false_alarms(round(options.unmarked * options.share))}
    results |= {"machine": machine("cpu"), "seconds": round(time.perf_counter() - started, 1)}
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "labels.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (options.out / "labels.md").write_text(labels_page(results), encoding="utf-8")
    print(labels_page(results))


if __name__ == "__main__":
    main()
