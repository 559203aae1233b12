"""The folder of a training's run: claimed by one training at a time, and continued only as it was begun."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from accelerate import PartialState
from filelock import FileLock, Timeout

from twinset.common.atomic_files import write_atomic
from twinset.errors import InputError
from twinset.training.core.options import DenoisingOptions, checked, read_recipe, recipe_text

RECIPE = "recipe.toml"


def processes() -> PartialState:
    """The processes that train together and this one's place among them; each takes a GPU of its own."""
    several = int(os.environ.get("WORLD_SIZE", 1)) > 1
    return PartialState(cpu=several and not torch.cuda.is_available())


@contextmanager
def claimed(run: Path) -> Iterator[None]:
    """The run's folder for this training alone; of several processes of one training the first claims it for all.

    Raises:
        InputError: another training has it.
    """
    if not processes().is_main_process:
        yield
        return
    run.mkdir(parents=True, exist_ok=True)
    lock = FileLock(run / "run.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"run {str(run)!r} is in use by another process; wait for it, or give another --run") from None
    try:
        yield
    finally:
        lock.release()


def same_run(run: Path, options: DenoisingOptions, content: Mapping[str, str]) -> None:
    """Compare with the options that the run was started with; record them when it is new.

    Args:
        run: its folder.
        options: of this training.
        content: what the options do not say, by name: hashes of the pictures and of the base model.

    Raises:
        InputError: it was started with other options, pictures or another base model.
    """
    path = run / RECIPE
    if not path.is_file():
        text = "".join(f"# {name} {value}\n" for name, value in content.items())
        write_atomic(path, text + recipe_text(options))
        return
    same_options(run, options)
    lines = path.read_text(encoding="utf-8").splitlines()
    for name, value in content.items():
        if f"# {name} {value}" not in lines:
            raise InputError(f"run {str(run)!r} was started with another {name}; use another --run, or --fresh")


def same_options(run: Path, options: DenoisingOptions) -> None:
    """Compare with the options that the run was started with, if it was.

    Raises:
        InputError: it was started with others.
    """
    path, kind = run / RECIPE, type(options)
    if not path.is_file():
        return
    begun = checked(kind, read_recipe(path, kind), str(path))
    for name in kind.model_fields:
        now, then = getattr(options, name), getattr(begun, name)
        longer = name in ("steps", "epochs") and now is not None and then is not None and now > then
        if now != then and name not in kind.free and not longer:
            raise InputError(
                f"run {str(run)!r} was started with {name} = {then}, not {now}; use that, another --run, or --fresh"
            )


def forget_run(run: Path) -> None:
    """Delete what a run keeps, the encoded pictures aside, so that it starts from nothing.

    Raises:
        InputError: the folder is no run's.
    """
    if not run.exists():
        return
    if not (run / RECIPE).is_file():
        raise InputError(f"{str(run)!r} holds no run ({RECIPE} is missing); give the folder of a run")
    for path in [*(run / "checkpoints").glob("step-*"), run / "validation.jsonl", run / RECIPE]:
        path.unlink(missing_ok=True)
