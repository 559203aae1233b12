"""A small data set of drawn people in one garment, a tiny pipeline, and a training that another process can run.

python -m tests.helpers.lora_people DATA LORA_FILE THREADS
"""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image

from tests.helpers.tiny import tiny_pipeline
from twinset.figure.labels import UPPER
from twinset.training.core.training_run import Trained
from twinset.training.lora.dataset import Example
from twinset.training.lora.masks import ParsedPicture, read_parsed
from twinset.training.lora.options import LoraOptions, read_options
from twinset.training.lora.train import train_lora
from twinset.training.mannequin.render import render_parsing, render_picture
from twinset.training.mannequin.spec import GarmentDesign, Spec, draw_garment, draw_plain_spec

STRAIGHT: dict[str, Any] = {"steps": 8, "ema": 0.5, "dropout": 0.1}
"""A run to compare with: everything that has a state is on."""
JACKET = GarmentDesign("hoodie", "red", (205, 30, 40), (250, 250, 250), "stripes")


@cache
def person(seed: int) -> Spec:
    """Somebody in the jacket."""
    rng = np.random.default_rng(seed)
    lower, shoes = draw_garment("trousers", rng), draw_garment("shoes", rng)
    return replace(draw_plain_spec(seed), garments={"upper": JACKET, "lower": lower, "shoes": shoes})


def write_people(folder: Path, count: int = 4, masks: bool = True) -> Path:
    """Pictures 00.png, …, masks beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(count):
        Image.fromarray(render_picture(person(seed))).save(folder / f"{seed:02d}.png")
        if masks:
            mask = (render_parsing(person(seed)) == UPPER).astype(np.uint8) * 255
            Image.fromarray(mask).save(folder / f"{seed:02d}.mask.png")
    return folder


def parsed(path: Path, labels: np.ndarray | None = None, **more: Any) -> ParsedPicture:
    """A picture in which somebody wears what a parsing map says, or nobody anything."""
    people: Any = SimpleNamespace(worn=lambda picture: labels)
    return read_parsed(Example(path, **more), people)


def options(data: Path, **more: Any) -> LoraOptions:
    """A short training without samples."""
    fields = {"data": data, "trigger": "jckt", "kind": "hoodie", "rank": 2, "batch": 2, "steps": 6, "save_every": 2}
    return read_options(fields | {"samples": 0, "sample_every": 0, "learning_rate": 1e-2} | more)


@cache
def pipeline() -> Any:
    """One for all trainings, which leave it as it was."""
    return tiny_pipeline()


def train(data: Path, out: Path, **more: Any) -> Trained:
    """Train on the tiny pipeline; without holding to the base model's own prediction, which doubles the work."""
    return train_lora(pipeline(), options(data, **{"preserve": 0.0} | more), out)


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[3]))
    train(Path(sys.argv[1]), Path(sys.argv[2]), **STRAIGHT)
