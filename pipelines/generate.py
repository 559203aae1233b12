"""A request's way to pictures: compose, draw each picture, write it with its record, and do so again on demand."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from twinset.adapters.condition import Condition
from twinset.common.hashing import file_hash
from twinset.compliance.consent import ConsentBook
from twinset.compliance.labels.key import key_name, mark_key
from twinset.compliance.labels.labelled import Labelled, label_picture
from twinset.compliance.labels.visible import check_text, draw_label
from twinset.compliance.labels.xmp import encode
from twinset.errors import InputError
from twinset.models.region_controlnet import RegionControlNetModel
from twinset.pipelines.baseline.serial import passes, serially
from twinset.pipelines.compose import Composition, compose, people_of
from twinset.pipelines.controller.controller import Outcome, controlled
from twinset.pipelines.denoising.economy import EXACT, LEAN
from twinset.pipelines.denoising.locks import turn
from twinset.pipelines.joint_pass import JointPass
from twinset.pipelines.parts_on_demand import prepared
from twinset.pipelines.record import (
    Record,
    composed,
    input_hashes,
    load_record,
    located,
    machine,
    request_sheet,
    save_file,
    save_picture,
    save_record,
    weights_revision,
)
from twinset.pipelines.request import LARGEST_SEED, Request
from twinset.pipelines.request_loras import loras_on, trigger_notes
from twinset.pipelines.safety import safety_of
from twinset.pipelines.sheets import tinted
from twinset.prompts.sentence import Sentence
from twinset.prompts.weighting import is_weighted, weighted_embeddings

Progress = Callable[[int, int], None]
"""Called with the picture's index and the number of steps done."""


Inputs = Callable[[], dict[str, str]]
"""Gives the hashes of a request's files, see `unchanging`."""
REMEDY = "try more --candidates or another --seed, a clearer selfie, or a lower --min-identity"


def generate(pipe: JointPass, request: Request, out: Path, progress: Progress | None = None) -> list[Record]:
    """Draw what a request asks for.

    Each picture is written with its record as soon as it is drawn; `sheet.png` shows inputs and pictures together.

    Args:
        pipe: The model.
        request: What to draw; a seed is drawn when it has none.
        out: Folder for the files, made when missing.
        progress: Told after each step.

    Returns:
        One record per picture, in order.

    Raises:
        InputError: The user can mend it, see `compose`; or pictures were refused, and the others saved.
    """
    request = settled(pipe, located(request.seeded()))
    if request.min_identity is not None and not request.selfies:
        raise InputError(f"min_identity = {request.min_identity:g} needs a selfie to compare with; give --selfie")
    with turn(pipe.unet), unchanging(request) as inputs, covered(pipe, request), loras_on(pipe, request.loras) as words:
        return _generate(pipe, request, out, words, inputs, progress)


@contextmanager
def unchanging(request: Request) -> Iterator[Inputs]:
    """Hashes the request's files before they are read, and once more when they have been.

    Yields:
        Gives the hashes, by path; raises `InputError` where a file is not what it was: what was checked, what is drawn
        from and what the record says would be three things.
    """
    before = input_hashes(request)

    def after() -> dict[str, str]:
        now = input_hashes(request)
        if changed := [name for name, known in before.items() if now.get(name) != known]:
            raise InputError(f"input {changed[0]!r} changed while it was read; leave it alone, and ask again")
        return now

    yield after


@contextmanager
def covered(pipe: JointPass, request: Request) -> Iterator[None]:
    """Make sure that the request's consent holds, and remember with it what perception finds in the meantime.

    Raises:
        ConsentError: It does not.
    """
    if request.consent is None:
        yield
        return
    book = ConsentBook()
    book.require(request.consent, request.selfies)
    with pipe.seen.watched() as names:
        try:
            yield
        finally:
            book.bind(request.consent, seen=sorted(names))


def _generate(
    pipe: JointPass, request: Request, out: Path, triggers: Sequence[str], inputs: Inputs, progress: Progress | None
) -> list[Record]:
    """The pictures of a request whose LoRAs are on."""
    safety = safety_of(pipe, request)
    concerns = safety.check_inputs(request)
    composition = compose(pipe, request)
    check_label(request, composition)
    said = composed(composition)
    said["notes"] += concerns
    if request.loras:
        said["triggers"] = list(triggers)
        said["notes"] += trigger_notes(request.loras, triggers, request.prompt)
    out.mkdir(parents=True, exist_ok=True)
    hashes, revision = inputs(), revision_of(pipe)
    records, pictures, refused = [], [], []
    for index in range(request.num):
        started = time.perf_counter()
        outcome = controlled(pipe, request, composition, partial(draw, pipe, request, composition, index, progress))
        if outcome.refused:
            refused.append(f"seed {_seed(request, index)}: {outcome.refused}")
            continue
        concern = safety.concern(outcome.picture)
        if concern and request.safety == "refuse":
            refused.append(f"seed {_seed(request, index)}: {concern}")
            continue
        name = picture_name(out, _seed(request, index), request)
        done = labelled(request, composition, finished(request, composition, outcome), name)
        save_file(done.data, out / name)
        record = Record(
            picture=name,
            sha256=done.sha256,
            index=index,
            seed=_seed(request, index),
            request=request,
            inputs=hashes,
            composed=said,
            model={"name": request.model, "revision": revision},
            machine=machine(pipe.device),
            scores=outcome.values,
            scored_by=people_of(pipe).scored_by,
            faults=[*outcome.faults.values(), *([concern] if concern else [])],
            controller=[step.to_json() for step in outcome.steps],
            seconds=round(time.perf_counter() - started, 3),
            labels=done.told,
            safety=safety.told(concern),
        )
        save_record(record, out)
        if request.show_regions:
            overlay = tinted(outcome.picture, composition.regions)
            save_picture(overlay, (out / name).with_stem(f"{Path(name).stem}-regions"))
        records.append(record)
        pictures.append(done.picture)
    if pictures:
        save_picture(request_sheet(composition, pictures), out / "sheet.png")
    if refused:
        raise InputError(f"refused {len(refused)} of {request.num} pictures ({'; '.join(refused)}); {REMEDY}")
    return records


def draw(
    pipe: JointPass,
    request: Request,
    composition: Composition,
    index: int,
    progress: Progress | None = None,
    attempt: int = 0,
    conditions: Sequence[Condition] | None = None,
) -> np.ndarray:
    """Draw one picture of a request once, uint8 (H, W, 3) of the family's size.

    It is the same picture whether it is drawn alone or among others, which is what lets a record give it again
    byte for byte.

    Args:
        pipe: The model.
        request: What to draw.
        composition: Of the request.
        index: Which of its pictures.
        progress: Told after each step of the first try.
        attempt: Each try has its own noise.
        conditions: In place of the composition's.
    """

    def told(_pipe: object, step: int, _timestep: object, given: dict[str, Any]) -> dict[str, Any]:
        if progress is not None:
            progress(index, step + 1)
        return given

    arguments = {
        **texts(pipe, composition.sentence),
        "num_inference_steps": request.steps,
        "guidance_scale": request.guidance,
        "economy": LEAN if request.economical else EXACT,
        "controlnet_conditioning_scale": [
            1.0 if isinstance(net, RegionControlNetModel) else request.pose_strength for net in pipe.nets
        ],
        "callback_on_step_end": None if attempt or progress is None or conditions is not None else told,
    }
    noise = _seed(request, index) + attempt * (LARGEST_SEED + 1)
    one_pass = passes(pipe, arguments, lambda: torch.Generator().manual_seed(noise))
    if request.way == "serial" and conditions is None:
        return serially(pipe, people_of(pipe), one_pass, composition)
    return one_pass(composition.layout, composition.conditions if conditions is None else conditions)


def finished(request: Request, composition: Composition, outcome: Outcome) -> Image.Image:
    """The picture as it is saved: in photo mode the photo with its part drawn anew."""
    picture, photo = outcome.picture, composition.photo
    return Image.fromarray(picture if photo is None else photo.with_part(picture, request.blend))


def labelled(request: Request, composition: Composition, picture: Image.Image, name: str) -> Labelled:
    """The picture's file, with its labels unless the request refuses them; measuring comes before."""
    if not request.labels:
        data = encode(picture, {})
        return Labelled(picture, data, hashlib.sha256(data).hexdigest(), {})
    photo = None if composition.photo is None or request.photo is None else (request.photo, composition.photo.picture)
    return label_picture(picture, request.label_text, request.label_corner, name, photo)


def check_label(request: Request, composition: Composition) -> None:
    """Refuse words that cannot be drawn before anything else is.

    Raises:
        InputError: The font lacks a character, or the words are wider than the picture.
    """
    if not request.labels:
        return
    shape = composition.layout.labels.shape if composition.photo is None else composition.photo.picture.shape
    draw_label(Image.new("RGB", (shape[1], shape[0])), check_text(request.label_text), request.label_corner)


def texts(pipe: JointPass, sentence: Sentence) -> dict[str, Any]:
    """The arguments that tell a pipeline the words: as they are, or as embeddings where some have weights."""
    if is_weighted(sentence.prompt):
        return weighted_embeddings(pipe, sentence.prompt, sentence.negative or "")
    return {"prompt": sentence.prompt, "negative_prompt": sentence.negative}


def replay(pipe: JointPass, record: Record, out: Path, progress: Progress | None = None) -> tuple[Path, bool]:
    """Draw a record's picture again.

    Args:
        pipe: The model that the record names.
        record: Of the picture.
        out: Folder for the new picture.
        progress: Told after each step.

    Returns:
        The new file, and whether its bytes equal the first one's. Signatures hold the time and random
        numbers, so files are compared as they were before they were signed: pixels, marks and XMP.

    Raises:
        InputError: An input or the model is not what it was.
    """
    torch.set_num_threads(int(record.machine["threads"]))
    out.mkdir(parents=True, exist_ok=True)
    with turn(pipe.unet):
        check_unchanged(pipe, record)
        with covered(pipe, record.request), loras_on(pipe, record.request.loras):
            request, composition = record.request, compose(pipe, record.request)
            again = partial(draw, pipe, request, composition, record.index, progress)
            picture = finished(request, composition, controlled(pipe, request, composition, again))
    path = out / record.picture
    path = path.with_stem(f"{path.stem}-replay") if path.exists() else path
    done = labelled(request, composition, picture, record.picture)
    save_file(done.data, path)
    return path, done.sha256 == record.sha256


def settled(pipe: JointPass, request: Request) -> Request:
    """The request with the model's own steps and guidance where it has none."""
    return request.settled(pipe.config["default_steps"], pipe.config["default_guidance"])


def revision_of(pipe: JointPass) -> str:
    """One SHA-256 over all files of a model that the latest request used."""
    return pipe.revision or weights_revision(Path(pipe.name_or_path))


def check_unchanged(pipe: JointPass, record: Record) -> None:
    """Refuse to replay a record with other inputs or other weights than its own.

    Raises:
        InputError: Names the file or model that changed.
    """
    for name, expected in record.inputs.items():
        if not Path(name).is_file():
            raise InputError(f"input {name!r} of the record is gone; put the file back")
        if file_hash(Path(name)) != expected:
            raise InputError(f"input {name!r} is not the file that the record used; put the old file back")
    prepared(pipe, record.request)
    revision = revision_of(pipe)
    if revision != record.model["revision"]:
        raise InputError(
            f"model {record.model['name']!r} has revision {revision[:12]}, the record was made "
            f"with {record.model['revision'][:12]}; give that model with --model"
        )
    key = key_name(mark_key())
    if record.labels and record.labels["key"] != key:
        raise InputError(
            f"the record's picture was marked with the key {record.labels['key']}, this run has {key}; "
            "set TWINSET_MARK_KEY"
        )


def picture_name(out: Path, seed: int, request: Request) -> str:
    """A name from the picture's seed, such as `0007.png`; another request's picture of that name is kept."""
    name, again = f"{seed:04d}.png", 1
    while not _is_ours(out / name, request):
        again += 1
        name = f"{seed:04d}-{again}.png"
    return name


def _is_ours(picture: Path, request: Request) -> bool:
    """Whether a file name is free or holds a picture of the same request, what does not change it aside."""
    if not picture.exists():
        return True
    try:
        theirs = load_record(picture.with_suffix(".json")).request
    except InputError:
        return False
    aside = {"num": request.num, "show_regions": request.show_regions}
    return theirs.model_copy(update=aside) == request


def _seed(request: Request, index: int) -> int:
    if request.seed is None:
        raise ValueError("request.seed is None; call request.seeded() first")
    return request.seed + index
