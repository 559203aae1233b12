"""Stores of rendered samples: shards of 256 written by several processes, resumable.

Run: `python -m twinset.training.mannequin.store --out data/train --count 20000 --split train --workers 2`
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from twinset.figure.drawing.flat_garments import garment_draft, render_flat
from twinset.figure.face_look import face_look
from twinset.figure.keypoints import FRAME, L_ANKLE, L_WRIST, NOSE, R_ANKLE, R_WRIST
from twinset.training.mannequin import render
from twinset.training.mannequin.attributes import attributes
from twinset.training.mannequin.captions import captions
from twinset.training.mannequin.render import WHOLE, Window
from twinset.training.mannequin.spec import SPLITS, Spec, draw_spec

SHARD = 256
FLAT_SIZE = (FRAME[0] // 2, FRAME[1] // 2)
HELD_OUT_START = 900_000_000
LATENT = 8
"""Pixels of a latent's side."""
WINDOW_AIMS = (NOSE, NOSE, NOSE, R_WRIST, L_WRIST, R_ANKLE, L_ANKLE)
"""Keypoints around which windows lie."""


def _worn_flats(spec: Spec) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """(2, 128, 96, 3) upper and lower (white when absent), and all that is worn by kind at full size."""
    flats = np.full((2, FLAT_SIZE[1], FLAT_SIZE[0], 3), 255, dtype=np.uint8)
    for index, slot in enumerate(("upper", "lower")):
        if slot in spec.garments:
            flats[index] = render_flat(spec.garments[slot], FLAT_SIZE)
    return flats, {garment.kind: render_flat(garment) for garment in spec.garments.values()}


def window_near(keypoints: np.ndarray, rng: np.random.Generator) -> Window:
    """A window of the frame's size in a picture of twice that size, its corner on the grid of latents.

    It lies around the face, a hand, a foot or anything else: what is small in a picture is what stages are for.

    Args:
        keypoints: (18, 3) in the frame.
        rng: chooses.
    """
    aim, frame = int(rng.choice(WINDOW_AIMS)) if rng.random() < 0.8 else -1, np.array(FRAME)
    centre = 2 * keypoints[aim, :2] if aim >= 0 and keypoints[aim, 2] > 0 else rng.uniform((0, 0), 2 * frame)
    corner = centre + rng.normal(0, 24, 2) - frame / 2
    left, top = (np.clip(corner, 0, FRAME) / LATENT).round().astype(int) * LATENT
    return Window(2, int(left), int(top))


def render_fields(spec: Spec, by_kind: dict[str, np.ndarray], window: Window = WHOLE) -> dict[str, np.ndarray]:
    """What the denoiser learns from: the picture, its layout, and the drafts of garments, hair and skin."""
    layout, keypoints = render.render_layout(spec, window), render.layout_keypoints(spec, window)
    return {
        "picture": render.render_picture(spec, window),
        "layout": layout,
        "layout_keypoints": keypoints,
        "draft": garment_draft(layout, keypoints, by_kind),
        "figure_draft": render.render_figure_draft(spec, window),
    }


def render_sample(seed: int, split: str) -> dict[str, np.ndarray]:
    """One sample with all its ground truth, by field."""
    spec = draw_spec(seed, split)
    rng, aims = (np.random.default_rng([tag, SPLITS[split][0] + seed]) for tag in (7, 8))
    flats, by_kind = _worn_flats(spec)
    words = captions(spec, rng)
    lower = spec.garments.get("lower")
    window = window_near(render.layout_keypoints(spec), aims)
    return {
        "seed": np.int64(seed),
        **render_fields(spec, by_kind),
        **{f"window_{name}": field for name, field in render_fields(spec, by_kind, window).items()},
        "parsing": render.render_parsing(spec),
        "keypoints": render.true_keypoints(spec),
        "crops": np.stack([render.render_crop(spec.restyled(rng)) for _ in range(2)]),
        "canvas": render.render_canvas(spec),
        "look": face_look(spec.expression, spec.head_turn, spec.beard, spec.hair.colour),
        "flats": flats,
        "upper_kind": np.str_(spec.garments["upper"].kind),
        "lower_kind": np.str_(lower.kind if lower else "none"),
        "identity_vector": spec.identity.vector,
        "illuminant": np.array(spec.light.gain, dtype=np.float32),
        "attributes": np.array(list(attributes(spec).values()), dtype=np.int16),
        "captions": np.array([words.english, words.chinese, words.english_plain, words.chinese_plain]),
    }  # type: ignore[dict-item]


def render_face_sample(seed: int, split: str) -> dict[str, np.ndarray]:
    """One face for the canvas: two crops in other styles, the canvas and its look; a tenth of a whole sample's work."""
    spec = draw_spec(seed, split)
    rng = np.random.default_rng([7, SPLITS[split][0] + seed])
    return {
        "seed": np.array(seed),
        "crops": np.stack([render.render_crop(spec.restyled(rng)) for _ in range(2)]),
        "canvas": render.render_canvas(spec),
        "look": face_look(spec.expression, spec.head_turn, spec.beard, spec.hair.colour),
    }


def _shard_path(out: Path, start: int) -> Path:
    return out / f"{start:010d}.npz"


def write_shard(job: tuple[int, int], out: Path, split: str, faces: bool = False) -> int:
    """Renders seeds start..start+count to one file (by a temporary name, then renamed); returns the count."""
    start, count = job
    render_one = render_face_sample if faces else render_sample
    samples = [render_one(seed, split) for seed in range(start, start + count)]
    fields = {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}
    target = _shard_path(out, start)
    temporary = target.with_suffix(f".{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **fields)  # type: ignore[arg-type]
    temporary.replace(target)
    return count


def _jobs(out: Path, count: int, start: int) -> list[tuple[int, int]]:
    """Shards of the request that are not there in full."""
    wanted = [(s, min(SHARD, start + count - s)) for s in range(start, start + count, SHARD)]
    return [job for job in wanted if not _has(_shard_path(out, job[0]), job[1])]


def _has(path: Path, count: int) -> bool:
    if not path.exists():
        return False
    with np.load(path) as shard:
        return len(shard["seed"]) >= count


class Speed(ProgressColumn):
    """Samples per second in a progress bar."""

    def render(self, task: Task) -> Text:
        """The column's text."""
        return Text(f"{task.speed or 0:.1f} samples/s")


def _written(jobs: list[tuple[int, int]], out: Path, split: str, workers: int, faces: bool) -> Iterator[int]:
    work = partial(write_shard, out=out, split=split, faces=faces)
    if workers <= 1:
        yield from map(work, jobs)
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap_unordered(work, jobs)


def render_store(out: Path, count: int, split: str, workers: int = 2, start: int = 0, faces: bool = False) -> None:
    """Writes `count` samples as shards of 256; complete shards are kept, so a stopped run goes on.

    Args:
        out: folder.
        count: number of samples.
        split: "train", "judge" or "held_out".
        workers: processes.
        start: first seed; for "held_out" 0 means 900_000_000.
        faces: render nothing but faces, see `render_face_sample`.

    Raises:
        ValueError: if count or workers is not positive, or the split or the seeds are not valid.
    """
    if count < 1 or workers < 1:
        raise ValueError(f"count {count} and workers {workers} must be at least 1")
    start = HELD_OUT_START if split == "held_out" and start == 0 else start
    for seed in (start, start + count - 1):
        draw_spec(seed, split)  # refuses a seed outside the split before anything is written
    out.mkdir(parents=True, exist_ok=True)
    jobs = _jobs(out, count, start)
    columns = (TextColumn("rendering"), BarColumn(), MofNCompleteColumn(), Speed(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task("render", total=count, completed=count - sum(size for _, size in jobs))
        for written in _written(jobs, out, split, workers, faces):
            progress.advance(task, written)


def load_store(path: Path, fields: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Fields of all shards of a folder, in the order of their seeds.

    Args:
        path: Folder written by `render_store`.
        fields: Names of the fields to read; none means all (about 570 KB per sample).

    Raises:
        ValueError: if the folder has no shards, or a shard lacks a field.
    """
    shards = sorted(Path(path).glob("*.npz"))
    if not shards:
        raise ValueError(f"no shards (*.npz) in {path}; write some with python -m twinset.training.mannequin.store")
    parts: dict[str, list[np.ndarray]] = {}
    for path in shards:
        with np.load(path) as shard:
            if missing := sorted(set(fields) - set(shard.files)):
                raise ValueError(f"{path} has no field {missing[0]!r}; it has {', '.join(shard.files)}")
            for name in fields or shard.files:
                parts.setdefault(name, []).append(shard[name])
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def main() -> None:
    """Command line of the module."""
    parser = argparse.ArgumentParser(description="Render a store of Mannequin samples.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--split", default="train", choices=("train", "judge", "held_out"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--faces", action="store_true", help="faces alone, for the canvas")
    given = parser.parse_args()
    render_store(given.out, given.count, given.split, given.workers, given.start, given.faces)


if __name__ == "__main__":
    main()
