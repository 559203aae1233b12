"""Fit NIQE's parameters on pristine pictures: a folder of them, or drawn people.

python -m twinset.training.studio.niqe --out models/studio/niqe.npz --patch 32
python -m twinset.training.studio.niqe --pictures photographs/ --out niqe.npz
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from pydantic import Field
from rich.progress import track

from twinset.common.image_io import read_picture
from twinset.errors import InputError
from twinset.scoring.niqe import fit_niqe
from twinset.training.core.command_line import options_from_command_line
from twinset.training.core.options import RecipeOptions
from twinset.training.mannequin.render import render_picture
from twinset.training.mannequin.spec import draw_spec

ENDINGS = (".png", ".jpg", ".jpeg", ".webp")


class NiqeOptions(RecipeOptions):
    """What NIQE's parameters are fitted on.

    Attributes:
        out: .npz file to write.
        pictures: Folder of pristine pictures; drawn people without it.
        patch: Side of what is measured at once, px, even; 192 x 256 pictures need less than 96.
        people: Number drawn.
    """

    out: Path
    pictures: Path | None = None
    patch: int = Field(default=96, ge=2, multiple_of=2)
    people: int = Field(default=300, ge=0)


def pristine(folder: Path | None, people: int, first_seed: int = 50_000) -> Iterator[np.ndarray]:
    """Pristine pictures, uint8 (H, W, 3).

    Args:
        folder: of pictures; people of the train split are drawn without it.
        people: how many are drawn.
        first_seed: of the first one.

    Raises:
        InputError: the folder holds none.
    """
    if folder is None:
        seeds = range(first_seed, first_seed + people)
        yield from (render_picture(draw_spec(seed, "train")) for seed in track(seeds, description="drawing"))
        return
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)
    if not files:
        raise InputError(f"{str(folder)!r} holds no pictures ({', '.join(ENDINGS)}); give another folder")
    yield from (read_picture(path, "pristine picture") for path in track(files, description="reading"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit and write."""
    options = options_from_command_line(NiqeOptions, __doc__, arguments)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    fit_niqe(pristine(options.pictures, options.people), options.patch).save(options.out)
    print(options.out)


if __name__ == "__main__":
    main()
