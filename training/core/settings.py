"""Settings of a training script from a recipe's table: known options only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

T = TypeVar("T")


def from_mapping(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """A settings dataclass from a table of a recipe.

    Raises:
        ValueError: a key is not a field of `kind`; the message names the key, the table and the keys there are.
    """
    hints = get_type_hints(kind)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise ValueError(f"[{where}]: unknown option {unknown[0]!r}; there are {', '.join(sorted(hints))}")
    return kind(
        **{k: Path(v) if Path in (hints[k], *getattr(hints[k], "__args__", ())) else v for k, v in values.items()}
    )
