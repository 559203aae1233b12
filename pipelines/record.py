"""What is written for a picture: the PNG, and a JSON record from which the same bytes come again."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from twinset.common.atomic_files import write_atomic
from twinset.common.hashing import file_hash
from twinset.common.paths import file_name
from twinset.common.sheets import contact_sheet, in_rows
from twinset.common.validation import one_line
from twinset.compliance.consent import enter_file
from twinset.compliance.labels.xmp import encode_png
from twinset.errors import InputError
from twinset.figure.keypoints import openpose_skeleton, stick_of
from twinset.figure.labels import colourise
from twinset.models.hub.profiles import ON_HUB
from twinset.pipelines.compose import Composition
from twinset.pipelines.named_files import PersonChoice
from twinset.pipelines.request import Request
from twinset.pipelines.sizes import FRAME_WORD

MOST_BYTES, MOST_THREADS = 16_000_000, 4096
"""Of a record's file, and of the machine that it was drawn on."""
LIBRARIES = ("twinset", "torch", "diffusers", "transformers", "numpy", "pillow", "resvg_py")


class Record(BaseModel):
    """How one picture came about.

    Attributes:
        format: Version of these keys.
        picture: File name beside the record.
        sha256: Of that file's bytes before it was signed; a signature holds the time and is never the same twice.
        index: Which picture of the request, from 0.
        seed: The picture's own seed, `request.seed + index`.
        request: As asked, with the seed that was drawn and absolute paths.
        inputs: SHA-256 of every file read, by path.
        composed: What was decided: prompt, pose, hair, kinds worn, clothes drawn for want of pictures, notes.
        model: Name and revision (SHA-256 over all weights).
        machine: Libraries, device and number of threads: bytes are equal where these are.
        scores: Measures of the picture by name, see `twinset.pipelines.controller.measures`.
        scored_by: Which CLIP gave the CLIP-IQA scores.
        faults: What is still wrong with it, in words.
        controller: The controller's steps: `what`, `fault`, `kept`, and the measure `before` and `after`.
        seconds: Duration of this picture's pass.
        labels: What was put on the picture, see `twinset.compliance.labels.labelled.Labelled`; empty without labels.
            Its `mark` is what the pixel mark says, its `file_sha256` that of the signed file.
        licences: Of the model's parts that the picture was made with, by name; empty for a model of one folder.
        safety: `level`, whether a checker was `active`, and its `concern`; see `twinset.pipelines.safety`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 6
    picture: str
    sha256: str
    index: int
    seed: int
    request: Request
    inputs: dict[str, str]
    composed: dict[str, Any]
    model: dict[str, str]
    machine: dict[str, str]
    scores: dict[str, float]
    scored_by: str
    faults: list[str]
    controller: list[dict[str, Any]]
    seconds: float
    labels: dict[str, Any] = {}
    licences: dict[str, str] = {}
    safety: dict[str, Any] = {}

    @field_validator("picture")
    @classmethod
    def _is_a_name(cls, picture: str) -> str:
        """A record may come from anybody, and its picture is written beside it: a path would lead elsewhere."""
        return file_name(picture)

    @field_validator("machine")
    @classmethod
    def _has_a_number_of_threads(cls, machine: dict[str, str]) -> dict[str, str]:
        threads = machine.get("threads", "1")
        if not threads.isascii() or not threads.isdigit() or not 0 < int(threads[:9]) <= MOST_THREADS:
            raise ValueError(f"threads is {threads[:20]!r}; it must be a number from 1 to {MOST_THREADS}")
        return machine

    @model_validator(mode="before")
    @classmethod
    def _read_older(cls, fields: Any) -> Any:
        """Pictures of format 2 had no labels, those of format 3 one stage, and are replayed so.

        Those of format 4 held no colours, those of format 5 composed all pictures of a request alike, see
        `twinset.pipelines.replay`.
        """
        if not isinstance(fields, dict) or not isinstance(fields.get("request"), dict):
            return fields
        unlabelled = {"labels": False} if fields.get("format") == 2 else {}
        one_stage = {"size": FRAME_WORD, "detail": "none", "hair": "seed"} if fields.get("format") in (2, 3) else {}
        return fields | {"request": unlabelled | one_stage | fields["request"]}


def located(request: Request) -> Request:
    """The request with absolute paths, so that its record works from any folder."""
    people = tuple(p.model_copy(update=_absolute(p)) for p in request.people)
    loras = tuple(lora.model_copy(update={"path": lora.path.absolute()}) for lora in request.loras)
    photo = request.photo and request.photo.absolute()
    is_own = request.model not in ("studio", *ON_HUB) and Path(request.model).exists()
    model = str(Path(request.model).absolute()) if is_own else request.model
    embeddings = tuple(path.absolute() for path in request.embeddings)
    own = {"loras": loras, "embeddings": embeddings, "photo": photo, "model": model, "people": people}
    return request.model_copy(update=_absolute(request) | own).with_networks(Path.absolute)


def _absolute(asked: Request | PersonChoice) -> dict[str, Any]:
    """Absolute paths of one person's selfies, garments and pose."""
    is_file = asked.pose is not None and Path(asked.pose).is_file()
    return {
        "selfies": tuple(path.absolute() for path in asked.selfies),
        "garments": tuple(g.model_copy(update={"path": g.path.absolute()}) for g in asked.garments),
        "pose": str(Path(str(asked.pose)).absolute()) if is_file else asked.pose,
    }


def input_hashes(request: Request) -> dict[str, str]:
    """SHA-256 of every file a request names and that can be read, by path."""
    files = [*request.pictures_given, *([request.photo] if request.photo else [])]
    files += [*(lora.path for lora in request.loras), *request.embeddings, *request.networks]
    poses = [Path(one.pose) for one in request.each_person if one.pose]
    files += [pose for pose in poses if pose.is_file()]
    hashes: dict[str, str] = {}
    for path in files:
        with suppress(OSError):  # whoever reads it says what is wrong
            hashes[str(path)] = file_hash(path)
    return hashes


def weights_revision(folder: Path) -> str:
    """One SHA-256 over all weights of a model folder, names included."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*.safetensors")):
        total.update(f"{path.relative_to(folder).as_posix()} {file_hash(path)}\n".encode())
    return total.hexdigest()


def machine(device: torch.device | str) -> dict[str, str]:
    """Versions of the libraries, the device and the number of threads."""
    versions = {name: _installed(name) for name in LIBRARIES}
    where = {"python": platform.python_version(), "platform": platform.platform(), "device": str(device)}
    return versions | where | {"threads": str(torch.get_num_threads())}


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def composed(composition: Composition) -> dict[str, Any]:
    """The decisions of a composition, for its record."""
    return {
        "prompt": composition.prompt,
        "negative": composition.sentence.negative,
        "pose": composition.pose,
        "hair": composition.hair,
        "kinds": list(composition.kinds),
        "drawn_clothes": [drawn.to_json() for drawn in composition.drawn],
        "notes": list(composition.notes),
    }


def save_picture(picture: Image.Image, path: Path, consent: str | None = None) -> str:
    """Write a PNG of the pixels alone (no metadata) in one step; returns its SHA-256.

    Args:
        picture: RGB.
        path: of the file.
        consent: under which it is made, see `twinset.compliance.consent.ConsentBook.enter_file`.
    """
    return save_file(enter_file(consent, path, encode_png(picture, {})), path)


def save_file(data: bytes, path: Path) -> str:
    """Write a file in one step; returns its SHA-256."""
    write_atomic(path, data)
    return file_hash(path)


def save_record(record: Record, folder: Path) -> Path:
    """Write a record beside its picture in one step; returns its path."""
    path = folder / Path(record.picture).with_suffix(".json")
    text = record.model_dump_json(indent=2) + "\n"
    write_atomic(path, enter_file(record.request.consent, path, text.encode()))
    return path


def load_record(path: Path) -> Record:
    """Read a record.

    Raises:
        InputError: The file is missing or is no record.
    """
    if not path.is_file():
        raise InputError(f"record {str(path)!r} is not a file; `twinset generate` writes one beside each picture")
    if path.stat().st_size > MOST_BYTES:
        raise InputError(f"record {str(path)!r} is no Twinset record (over 16 MB); give the .json of a picture")
    try:
        return Record.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        wrong = isinstance(error, ValidationError)
        reason = f"{error.error_count()} wrong keys, {one_line(error, 'record')}" if wrong else "not text"
        raise InputError(f"record {str(path)!r} is no Twinset record ({reason}); give the .json of a picture") from None


def request_sheet(composition: Composition, pictures: Sequence[Image.Image]) -> Image.Image:
    """Contact sheet: selfie, garments, pose and parsing map first, then the pictures."""
    layout = composition.layout
    shown = composition.members or (composition,)
    faces = [one.selfie.crop for one in shown if one.selfie is not None]
    garments = [flat for one in shown for flat in one.flats.values()]
    size = (layout.labels.shape[1], layout.labels.shape[0])
    everybody = (layout.keypoints, *layout.others)
    skeleton = np.maximum.reduce([openpose_skeleton(one, size, stick_of(size, thick=True)) for one in everybody])
    pose = [skeleton, colourise(layout.labels)] if composition.posed else []
    asked = [*faces, *garments, *pose]
    drawn = [np.asarray(picture) for picture in pictures]
    return contact_sheet(in_rows([*asked, *drawn], columns=8))
