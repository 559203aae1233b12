"""Settings of a training script from its command line: one option per field of its dataclass, nothing else accepted."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

T = TypeVar("T")


def from_command_line(cls: type[T], arguments: Sequence[str] | None = None) -> T:
    """Parse `--field value` options into the settings dataclass `cls`; unknown options end with exit code 2."""
    parser = argparse.ArgumentParser(description=cls.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = {name: _plain(kind) for name, kind in get_type_hints(cls).items()}
    for f in fields(cls):  # type: ignore[arg-type]
        required = f.default is MISSING and f.default_factory is MISSING
        default = {} if required else {"default": f.default, "help": f"default {f.default}"}
        parser.add_argument("--" + f.name.replace("_", "-"), type=kinds[f.name], required=required, **default)
    return cls(**vars(parser.parse_args(arguments)))


def from_mapping(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """Settings from a recipe's table.

    Raises:
        ValueError: a key is not a field of `cls`; the message names the key, the table and the keys there are.
    """
    kinds = {name: _plain(kind) for name, kind in get_type_hints(cls).items()}
    unknown = sorted(set(values) - set(kinds))
    if unknown:
        raise ValueError(f"{where}: unknown option {unknown[0]!r}; there are {', '.join(sorted(kinds))}")
    return cls(**{k: Path(v) if kinds[k] is Path else v for k, v in values.items()})


def _plain(kind: Any) -> Any:
    """`Path | None` → Path, and so on: the type that reads one word of the command line."""
    options = [k for k in get_args(kind) if k is not type(None)]
    return options[0] if options else kind
