"""What lies in a folder of pictures: the pictures, sd-scripts' `10_name` folders, and what is passed over."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from twinset.training.core.picture_files import CAPTIONS, PICTURES

MASK = ".mask.png"
REGULARISATION = ("regularisation", "regularization", "reg")
VALIDATION = ("validation",)
OURS = (".run", "__MACOSX")
"""Endings of folders that hold no pictures to learn from: runs with their samples, and macOS's doubles in a ZIP."""
_READ = (*CAPTIONS, ".jsonl", ".json", ".toml")
"""Endings of files that are read for what they say of pictures."""


@dataclass(frozen=True)
class PictureFolder:
    """A folder whose pictures are learnt alike.

    Attributes:
        path: the folder.
        repeats: 10 of `10_jckt hoodie`; None where its name says none.
        words: "jckt hoodie" of that name.
        regularisation, validation: whether it lies in a folder of that name.
    """

    path: Path
    repeats: int | None = None
    words: str | None = None
    regularisation: bool = False
    validation: bool = False


@dataclass
class PassedOver:
    """Files that are not learnt from, counted."""

    hidden: int = 0
    others: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        """E.g. "2 hidden, 3 .mp4", empty where there are none."""
        hidden = [f"{self.hidden} hidden"] if self.hidden else []
        return ", ".join([*hidden, *(f"{count} {ending or 'without ending'}" for ending, count in self.others.items())])


def picture_folders(data: Path) -> list[PictureFolder]:
    """A folder and all below it; of a project of sd-scripts' GUI (`img`, `reg`, `model`, `log`) the first two alone."""
    if any(_named(each) for each in _folders(data / "img")):
        return [*_below(PictureFolder(data / "img")), *_below(PictureFolder(data / "reg", regularisation=True))]
    return list(_below(PictureFolder(data)))


def first_words(data: Path) -> str | None:
    """What the first `10_jckt hoodie` calls its garment: "jckt hoodie"; None without such a folder."""
    return next((f.words for f in picture_folders(data) if f.words and not f.regularisation), None)


def picture_files(folder: Path, passed: PassedOver | None = None) -> list[Path]:
    """The pictures right in a folder, by name; what else lies there is counted."""
    found, passed = [], passed or PassedOver()
    for path in sorted(folder.iterdir()):
        if path.is_dir() or path.name.endswith(MASK):
            continue
        if _hidden(path):
            passed.hidden += 1
        elif path.suffix.lower() in PICTURES:
            found.append(path)
        elif path.suffix.lower() not in _READ:
            passed.others[path.suffix.lower()] += 1
    return found


def _hidden(path: Path) -> bool:
    return path.name.startswith(".") or path.name.lower() in ("thumbs.db", "desktop.ini")


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [p for p in sorted(folder.iterdir()) if p.is_dir() and not _hidden(p) and not p.name.endswith(OURS)]


def _below(folder: PictureFolder) -> Iterator[PictureFolder]:
    if not folder.path.is_dir():
        return
    named = _named(folder.path)
    if named is not None:
        folder = PictureFolder(folder.path, *named, folder.regularisation, folder.validation)
    yield folder
    for path in _folders(folder.path):
        name = path.name.lower()
        reg, val = folder.regularisation or name in REGULARISATION, folder.validation or name in VALIDATION
        yield from _below(PictureFolder(path, folder.repeats, folder.words, reg, val))


def _named(folder: Path) -> tuple[int, str | None] | None:
    """(10, "jckt hoodie") of `10_jckt hoodie`."""
    match = re.fullmatch(r"(\d{1,4})_(.*)", folder.name)
    return (max(1, int(match[1])), match[2].replace("_", " ").strip() or None) if match else None
