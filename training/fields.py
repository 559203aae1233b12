"""Reads only the fields of a store that a training needs: 20,000 samples whole would fill 12 GB of memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def load_fields(store: Path, *names: str) -> dict[str, np.ndarray]:
    """Reads fields of all shards of a store, in the order of their seeds.

    Args:
        store: Folder written by `twinset.training.mannequin.store`.
        names: Fields, such as "crops".

    Returns:
        Name → array (N, …).

    Raises:
        ValueError: The folder has no shards, or no such field.
    """
    shards = sorted(Path(store).glob("*.npz"))
    if not shards:
        raise ValueError(f"no shards (*.npz) in {store}: write some with python -m twinset.training.mannequin.store")
    parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for path in shards:
        with np.load(path) as shard:
            if unknown := sorted(set(names) - set(shard.files)):
                raise ValueError(f"{path} has no field {unknown[0]!r}; it has {', '.join(shard.files)}")
            for name in names:
                parts[name].append(shard[name])
    return {name: np.concatenate(parts.pop(name)) for name in names}
