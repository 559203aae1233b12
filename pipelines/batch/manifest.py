"""The manifest of a batch: people × looks × scenes × poses, and the items that it comes to."""

from __future__ import annotations

import hashlib
import itertools
import math
import string
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from twinset.common.validation import one_line
from twinset.compliance.labels.visible import Corner
from twinset.errors import InputError
from twinset.pipelines.batch.formats import FORMATS
from twinset.pipelines.loading.pasted_settings import LARGEST_SEED
from twinset.pipelines.named_files import GarmentPicture, LoraChoice
from twinset.pipelines.request import Request, read_request

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$")]
Words = Annotated[str, Field(max_length=2000)]
"""For a person, an outfit or a place: they are repeated in the prompt of every item."""
MOST_BYTES, MOST_ITEMS, MOST_COMBINATIONS, MOST_PROMPT = 1_000_000, 100_000, 1_000_000, 8000
"""Of a manifest's file, of its pictures, of its people times looks times scenes, and letters of an item's prompt."""
TAKEN = {"prompt", "selfie", "selfies", "people", "garments", "loras", "pose", "seed", "num", "consent"}
"""Fields of `Request` that the manifest itself says."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ManifestPerson(_Table):
    """One person.

    Attributes:
        selfies: Pictures of the person; several become one identity. None for somebody whom the words describe.
        consent: Reference of the person's consent, needed with selfies: `twinset consent add`.
        words: Text for the person in prompts.
    """

    selfies: tuple[Path, ...] = ()
    consent: str | None = None
    words: Words = ""

    @model_validator(mode="after")
    def _has_consent(self) -> ManifestPerson:
        if self.selfies and self.consent is None:
            raise ValueError("has selfies but no consent; record one: twinset consent add NAME --purpose promotion …")
        return self


class Look(_Table):
    """One outfit.

    Attributes:
        garments: Pictures, each `path` or `kind=path`.
        loras: LoRA files, each `path` or `path=weight`.
        words: Text for the outfit in prompts.
    """

    garments: tuple[GarmentPicture, ...] = ()
    loras: tuple[LoraChoice, ...] = ()
    words: Words = ""


class Manifest(_Table):
    """What a batch should draw.

    Attributes:
        prompt: Template of all prompts: $person, $look and $scene stand for their words; {a|b} is drawn by the item's
            seed, as in any prompt.
        people: Name → person.
        looks: Name → outfit.
        scenes: Name → words.
        poses: Presets or files, see `Request.pose`.
        formats: Of `twinset.pipelines.batch.formats.FORMATS`, made of every picture.
        variants: Pictures of each combination, of different seeds.
        seed: Of the whole; each item has a seed of its own, made of this one and of its name, so that items that are
            added later change no others.
        leave_out: Combinations not to draw, as `person/look/scene`, with * for any.
        defaults: Fields of `Request` for all items: model, steps, framing, candidates, min_identity, ….
    """

    prompt: Words = "$person, $look, $scene"
    people: dict[Name, ManifestPerson] = Field(min_length=1)
    looks: dict[Name, Look] = Field(min_length=1)
    scenes: dict[Name, Words] = Field(min_length=1)
    poses: tuple[str, ...] = Field(default=("standing",), min_length=1)
    formats: tuple[str, ...] = ("original",)
    variants: int = Field(default=1, ge=1, le=1000)
    seed: int = Field(default=0, ge=0, le=LARGEST_SEED)
    leave_out: tuple[str, ...] = Field(default=(), max_length=1000)
    defaults: dict[str, Any] = {}

    @field_validator("formats")
    @classmethod
    def _known_formats(cls, formats: tuple[str, ...]) -> tuple[str, ...]:
        for name in formats:
            if name not in FORMATS:
                raise ValueError(f"{name!r} is unknown; choose among {', '.join(FORMATS)}")
        return formats

    @field_validator("defaults")
    @classmethod
    def _only_what_is_left(cls, defaults: dict[str, Any]) -> dict[str, Any]:
        for name in defaults:
            if name in TAKEN or name not in Request.model_fields:
                raise ValueError(f"{name!r} cannot be set here: it is no option, or the manifest sets it elsewhere")
        return defaults


class Item(_Table):
    """One picture of a batch.

    Attributes:
        name: Unique, fit for a file name.
        person, look, scene, pose: What is combined.
        request: To be drawn.
        corner: Of the visible label in every format; the drawn picture itself has none where others are made of it.
    """

    name: str
    person: str
    look: str
    scene: str
    pose: str
    request: Request
    corner: Corner = "bottom_right"

    @property
    def sha256(self) -> str:
        """Hash of everything the item is drawn from: the request, and the bytes of its files."""
        content = hashlib.sha256(self.request.model_dump_json().encode())
        given = [*self.request.selfies, *(g.path for g in self.request.garments), *(x.path for x in self.request.loras)]
        for path in given:
            content.update(path.read_bytes())
        return content.hexdigest()


def read_batch_manifest(path: Path) -> Manifest:
    """Read a manifest in YAML (or JSON, which is YAML); nothing in it is executed.

    Raises:
        InputError: in one line: where, what is wrong, and the remedy.
    """
    if not path.is_file():
        raise InputError(f"manifest {str(path)!r} is not a file; start with: twinset batch template promo > promo.yaml")
    if path.stat().st_size > MOST_BYTES:
        raise InputError(f"manifest {str(path)!r} has over {MOST_BYTES / 1e6:.0f} MB; split it into several")
    try:
        fields = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(
            f"manifest {str(path)!r} is not YAML ({' '.join(str(error).split())}); fix the syntax"
        ) from None
    if not isinstance(fields, dict):
        raise InputError(f"manifest {str(path)!r} is not a mapping; see: twinset batch template promo")
    try:
        return Manifest.model_validate(fields)
    except ValidationError as error:
        raise InputError(f"{path}: {one_line(error, 'manifest')}") from None


def items_of(manifest: Manifest, base: Path) -> list[Item]:
    """All items, those of one person and look next to each other, so that cached results are reused.

    Args:
        manifest: what to draw.
        base: folder from which relative paths count.

    Raises:
        InputError: an item cannot be drawn, there are too many, or a file is missing.
    """
    return list(_items(manifest, base, _combinations(manifest)))


def _combinations(manifest: Manifest) -> list[tuple[str, str, str]]:
    """(person, look, scene) of all that is to be drawn, counted before anything is built.

    Raises:
        InputError: there are none, or too many.
    """
    axes, each = (manifest.people, manifest.looks, manifest.scenes), len(manifest.poses) * manifest.variants
    patterns = [_pattern(text) for text in manifest.leave_out]
    if math.prod(map(len, axes)) > MOST_COMBINATIONS:
        raise InputError(
            f"the manifest combines {math.prod(map(len, axes))} people, looks and scenes; "
            f"{MOST_COMBINATIONS} may be looked through, so split it into several"
        )
    found = [names for names in itertools.product(*axes) if not any(_matches(one, names) for one in patterns)]
    if not found:
        raise InputError("the manifest leaves out every combination; loosen leave_out")
    if len(found) * each > MOST_ITEMS:
        raise InputError(f"the manifest comes to {len(found) * each} pictures; a batch may have {MOST_ITEMS} at most")
    return found


def _items(manifest: Manifest, base: Path, combinations: Sequence[tuple[str, str, str]]) -> Iterator[Item]:
    axes = (combinations, range(len(manifest.poses)), range(manifest.variants))
    for (person, look, scene), pose, variant in itertools.product(*axes):
        name = f"{person}.{look}.{scene}.{pose + 1}.{variant + 1}"
        request = _request(manifest, base, name, person, look, scene, manifest.poses[pose])
        corner = request.label_corner
        if manifest.formats != ("original",):
            request = request.model_copy(update={"label_corner": "none"})
        told = {"person": person, "look": look, "scene": scene, "pose": manifest.poses[pose]}
        yield Item(name=name, **told, request=request, corner=corner)


def _pattern(text: str) -> tuple[str, ...]:
    parts = tuple(text.split("/"))
    if len(parts) != 3:
        raise InputError(f"leave_out: {text!r} is not person/look/scene; write * for any")
    return parts


def _matches(pattern: tuple[str, ...], names: tuple[str, str, str]) -> bool:
    return all(part in ("*", name) for part, name in zip(pattern, names, strict=True))


def item_seed(seed: int, name: str) -> int:
    """An item's own seed, the same whatever else is in the batch."""
    return int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:4], "big") & 0x7FFFFFFF


def _request(manifest: Manifest, base: Path, name: str, person: str, look: str, scene: str, pose: str) -> Request:
    face, outfit = manifest.people[person], manifest.looks[look]
    words = {"person": face.words, "look": outfit.words, "scene": manifest.scenes[scene]}
    try:
        prompt = string.Template(manifest.prompt).substitute(words)
    except (KeyError, ValueError) as error:
        raise InputError(f"prompt {manifest.prompt!r}: {error} is none of $person, $look, $scene") from None
    if len(prompt) > MOST_PROMPT:
        raise InputError(f"prompt {manifest.prompt[:40]!r}… comes to {len(prompt)} letters; write a shorter one")
    fields = manifest.defaults | {
        "prompt": ", ".join(part for part in map(str.strip, prompt.split(",")) if part) or "a person",
        "selfies": [_found(base, path) for path in face.selfies],
        "garments": [g.model_copy(update={"path": _found(base, g.path)}) for g in outfit.garments],
        "loras": [x.model_copy(update={"path": _found(base, x.path)}) for x in outfit.loras],
        "pose": str(_found(base, Path(pose))) if pose.endswith((".json", ".png", ".jpg")) else pose,
        "seed": item_seed(manifest.seed, name),
        "consent": face.consent,
    }
    return read_request(fields).with_networks(lambda path: _found(base, path))


def _found(base: Path, path: Path) -> Path:
    whole = path if path.is_absolute() else base.absolute() / path
    if not whole.is_file():
        raise InputError(f"{str(path)!r} is not a file; paths are relative to the manifest's folder {str(base)!r}")
    return whole
