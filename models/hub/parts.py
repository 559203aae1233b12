"""What a profile consists of: parts (files with a source, a hash and a licence), and the family's usual settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from twinset.errors import InputError

# Types that hold data and no code. A pickle is taken only where a part names that one file as its weights.
SAFE_TYPES = frozenset({".safetensors", ".json", ".txt", ".onnx", ".model"})


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of a profile: a weight file, or some files of a diffusers folder.

    Attributes:
        name: unique within its profile.
        repo: hub id; None for a part in the profile's own folder.
        file: path of the weight file; None where `files` are those of a whole diffusers folder.
        files: paths of what belongs to it (configuration, vocabulary), or of the folder's files.
        revision: commit, or None: unpinned, the commit of the first pull is kept.
        sha256: of `file`, or None: unpinned, recorded at the first pull.
        size: bytes of `file`, where known.
        licence: SPDX-like id.
        commercial: whether the licences of the weights, and of what they need, allow commercial use.
        recogniser: for identity adapters, the part whose embedding they were trained with.
        url: page with licence and model card.
        substitute: part of the same profile that can stand in for it commercially.
        optional: pulled only when named.
        note: what a user of this part, or of its substitute, must know.

    Raises:
        ValueError: a path leaves the folder, or is of a type that may hold code.
    """

    name: str
    repo: str | None
    file: str | None = None
    files: tuple[str, ...] = ()
    revision: str | None = None
    sha256: str | None = None
    size: int | None = None
    licence: str
    commercial: bool = True
    recogniser: str | None = None
    url: str
    substitute: str | None = None
    optional: bool = False
    note: str = ""

    def __post_init__(self) -> None:
        for path in self.wanted:
            named_pickle = path == self.file and path.endswith((".bin", ".pt"))
            if not stays_inside(path):
                raise ValueError(f"part {self.name!r} may not hold {path!r}; paths stay inside their folder")
            if not (holds_data(path) or named_pickle):
                raise ValueError(
                    f"part {self.name!r} may not hold {path!r}; allowed are {', '.join(sorted(SAFE_TYPES))}"
                )

    @property
    def wanted(self) -> tuple[str, ...]:
        """All its paths, the weight file first."""
        return (*((self.file,) if self.file else ()), *self.files)


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A model family's parts and its usual settings.

    Attributes:
        name: as the command line takes it.
        family: "studio", "sd15" or "sdxl".
        parts: the parts, optional ones too.
        size: default picture, (width, height) in pixels.
        steps: default denoising steps.
        guidance: default guidance weight.
        description: one line.
        folder: where parts without a hub id lie.
        scheduler: name of the scheduler that its parts' authors draw with; None for the base's own.
    """

    name: str
    family: str
    parts: tuple[Part, ...]
    size: tuple[int, int]
    steps: int
    guidance: float
    description: str
    folder: Path | None = None
    scheduler: str | None = None

    def part(self, name: str) -> Part:
        """The part of that name.

        Raises:
            InputError: there is none; the known names are listed.
        """
        for part in self.parts:
            if part.name == name:
                return part
        known = ", ".join(part.name for part in self.parts)
        raise InputError(f"part {name!r} is unknown in profile {self.name!r}; choose among {known}")

    def chosen(self, names: Sequence[str] = ()) -> tuple[Part, ...]:
        """The parts named; without names, all that are not optional."""
        return tuple(map(self.part, names)) or tuple(part for part in self.parts if not part.optional)


def holds_data(path: str) -> bool:
    """Whether a file of this name is of a type that holds no code."""
    return PurePosixPath(path).suffix in SAFE_TYPES


def stays_inside(path: str) -> bool:
    """Whether a relative path leads to nothing outside its folder, on any system."""
    pure = PurePosixPath(path)
    return not (pure.is_absolute() or ".." in pure.parts or "\\" in path or ":" in path or "\0" in path)
