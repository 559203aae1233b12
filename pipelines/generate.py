"""A request's way to pictures: compose, draw each picture, write it with its record, and do so again on demand."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

from PIL import Image

from twinset.common.atomic_files import create_atomic
from twinset.common.sheets import tinted
from twinset.compliance.consent import ConsentBook, enter_file
from twinset.compliance.labels.labelled import Labelled, label_picture
from twinset.compliance.labels.visible import check_text, draw_label
from twinset.compliance.labels.xmp import encode_png
from twinset.errors import InputError
from twinset.pipelines.compose import Composition, backend_of, compose
from twinset.pipelines.controller.controller import Outcome, draw_controlled
from twinset.pipelines.denoising.locks import unet_lock
from twinset.pipelines.draw import Progress, draw, seed_of
from twinset.pipelines.joint_pass import JointPass
from twinset.pipelines.loading.packages import packages_on
from twinset.pipelines.loading.parts_on_demand import prepared
from twinset.pipelines.loading.pasted_settings import tagged_loras
from twinset.pipelines.loading.request_embeddings import embeddings_on
from twinset.pipelines.loading.request_loras import loras_on, trigger_notes
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
from twinset.pipelines.request import Request
from twinset.pipelines.safety import Safety, safety_of
from twinset.pipelines.sizes import size_of

PLAIN = 0o666
"""Mode of a picture's file, less the process's umask."""
InputHashes = Callable[[], dict[str, str]]
"""Gives the hashes of a request's files, see `unchanging`."""
REMEDY = "try more --candidates or another --seed, a clearer selfie, or a lower --min-identity"


@dataclass(frozen=True)
class DrawnPicture:
    """A picture that may be shown.

    Attributes:
        index: which of the request's pictures.
        composition: of it.
        outcome: what the controller made of it.
        concern: the safety checker's objection, or None.
        seconds: how long it took.
    """

    index: int
    composition: Composition
    outcome: Outcome
    concern: str | None
    seconds: float


@dataclass(frozen=True)
class RefusedPicture:
    """A picture that must not be shown, and why."""

    seed: int
    reason: str


@dataclass(frozen=True)
class Session:
    """What all pictures of one request have in common.

    Attributes:
        pipe: the model, the request's LoRAs on it.
        request: with seed, steps and guidance.
        composition: of its first picture.
        safety: checks the pictures.
        notes: on the request, for the records.
        triggers: words of the request's LoRAs.
        inputs: SHA-256 of the request's files, by path.
        revision: of the model.
        out: folder for the files.
        began: when, seconds since 1970.
    """

    pipe: JointPass
    request: Request
    composition: Composition
    safety: Safety
    notes: Sequence[str]
    triggers: Sequence[str]
    inputs: dict[str, str]
    revision: str
    out: Path
    began: float

    @classmethod
    def begin(cls, pipe: JointPass, request: Request, out: Path, triggers: Sequence[str], hashes: InputHashes) -> Self:
        """Check and compose a request; the folder is made when all of it is sound."""
        safety = safety_of(pipe, request)
        concerns = safety.check_inputs(request)
        composition = compose(pipe, request)
        check_label(request, composition)
        notes = [*tagged_loras(request.prompt, request.loras)[1], *concerns]
        notes += trigger_notes(request.loras, triggers, request.prompt)
        out.mkdir(parents=True, exist_ok=True)
        return cls(pipe, request, composition, safety, notes, triggers, hashes(), revision_of(pipe), out, time.time())

    def of_picture(self, index: int) -> Composition:
        """The composition of one picture: pose, hair, outfit and the variants of templates are drawn from its seed."""
        return self.composition if index == 0 else compose(self.pipe, self.request.of_picture(index))

    def draw_one(self, index: int, progress: Progress | None = None) -> DrawnPicture | RefusedPicture:
        """Draw one picture, measure and repair it, and have the safety checker look at it."""
        started, request, composition = time.perf_counter(), self.request, self.of_picture(index)
        one_pass = partial(draw, self.pipe, request, composition, index, progress)
        outcome = draw_controlled(self.pipe, request, composition, one_pass)
        if outcome.refused:
            return RefusedPicture(seed_of(request, index), outcome.refused)
        concern = self.safety.concern(outcome.picture)
        if concern and request.safety == "refuse":
            return RefusedPicture(seed_of(request, index), concern)
        return DrawnPicture(index, composition, outcome, concern, time.perf_counter() - started)

    def write_one(self, drawn: DrawnPicture) -> tuple[Record, Image.Image]:
        """Label a picture and write it with its record; the record, and the picture as it is shown."""
        picture = finished(self.request, drawn.composition, drawn.outcome)
        name, file = self._claimed(drawn, picture)
        record = self._record(drawn, name, file)
        save_record(record, self.out)
        if self.request.show_regions:
            overlay = tinted(drawn.outcome.picture, drawn.composition.regions)
            save_picture(overlay, (self.out / name).with_stem(f"{Path(name).stem}-regions"), self.request.consent)
        return record, file.picture

    def _claimed(self, drawn: DrawnPicture, picture: Image.Image) -> tuple[str, Labelled]:
        """Write a picture's file under a name that is its own, and return both.

        Another process may take a name between the look for it and the writing: then the file, which holds its own
        name, is made anew for the next one.
        """
        while True:
            name = picture_name(self.out, seed_of(self.request, drawn.index), self.request, self.began)
            file = labelled(self.request, drawn.composition, picture, name)
            enter_file(self.request.consent, self.out / name, file.data)
            if create_atomic(self.out / name, file.data, PLAIN):
                return name, file
            if _is_ours(self.out / name, self.request, self.began):  # drawn before
                save_file(file.data, self.out / name)
                return name, file

    def _record(self, drawn: DrawnPicture, name: str, file: Labelled) -> Record:
        outcome, decisions = drawn.outcome, composed(drawn.composition)
        decisions["notes"] += self.notes
        decisions |= {"triggers": list(self.triggers)} if self.request.loras else {}
        return Record(
            picture=name,
            sha256=file.sha256,
            index=drawn.index,
            seed=seed_of(self.request, drawn.index),
            request=self.request,
            inputs=self.inputs,
            composed=decisions,
            model={"name": self.request.model, "revision": self.revision},
            machine=machine(self.pipe.device),
            scores=outcome.values,
            scored_by=backend_of(self.pipe).scored_by,
            faults=[*outcome.faults.values(), *([drawn.concern] if drawn.concern else [])],
            controller=[step.to_json() for step in outcome.steps],
            seconds=round(drawn.seconds, 3),
            labels=file.told,
            licences=dict(self.pipe.licences),
            safety=self.safety.told(drawn.concern),
        )


def generate(pipe: JointPass, request: Request, out: Path, progress: Progress | None = None) -> list[Record]:
    """Draw what a request asks for.

    Each picture is written with its record as soon as it is drawn; `sheet.png` shows inputs and pictures together.

    Args:
        pipe: The model.
        request: What to draw; a seed is drawn when it has none.
        out: Folder for the files, made when missing.
        progress: Called after each step.

    Returns:
        One record per picture, in order.

    Raises:
        InputError: The user can fix it, see `compose`; or pictures were refused, and the others saved.
    """
    request = request.model_copy(update={"loras": tagged_loras(request.prompt, request.loras)[0]})
    request = with_model_defaults(pipe, located(request.seeded()))
    prepared(pipe, request)
    if request.min_identity is not None and not request.selfies:
        raise InputError(f"--min-identity {request.min_identity:g} needs a selfie to compare with; give --selfie")
    with (
        unet_lock(pipe.unet),
        unchanging(request) as hashes,
        under_consent(pipe, request),
        packages_on(pipe, request),
        embeddings_on(pipe, request.embeddings),
        loras_on(pipe, request.loras) as triggers,
    ):
        session = Session.begin(pipe, request, out, triggers, hashes)
        return _draw_all(session, progress)


def _draw_all(session: Session, progress: Progress | None) -> list[Record]:
    """All pictures of a session, drawn and written one after another, and their sheet."""
    written: list[tuple[Record, Image.Image]] = []
    refused: list[RefusedPicture] = []
    for index in range(session.request.num):
        result = session.draw_one(index, progress)
        if isinstance(result, RefusedPicture):
            refused.append(result)
        else:
            written.append(session.write_one(result))
    if written:
        sheet = request_sheet(session.composition, [picture for _, picture in written])
        save_picture(sheet, session.out / "sheet.png", session.request.consent)
    if refused:
        reasons = "; ".join(f"seed {one.seed}: {one.reason}" for one in refused)
        raise InputError(f"refused {len(refused)} of {session.request.num} pictures ({reasons}); {REMEDY}")
    return [record for record, _ in written]


@contextmanager
def unchanging(request: Request) -> Iterator[InputHashes]:
    """Hashes the request's files before they are read, and once more when they have been.

    Yields:
        Gives the hashes, by path; raises `InputError` where a file is not what it was: what was checked, what is drawn
        from and what the record says would be three things.
    """
    before = input_hashes(request)

    def after() -> dict[str, str]:
        now = input_hashes(request)
        if changed := [name for name, known in before.items() if now.get(name) != known]:
            raise InputError(f"input {changed[0]!r} changed while it was read; leave it unchanged and run again")
        return now

    yield after


@contextmanager
def under_consent(pipe: JointPass, request: Request) -> Iterator[None]:
    """Make sure that the request's consent holds, and remember with it what perception finds in the meantime.

    Raises:
        ConsentError: It does not.
    """
    if request.consent is None:
        yield
        return
    book, consent = ConsentBook(), request.consent
    book.require(consent, faces_of(request))
    with pipe.perception_cache.watched(lambda name: book.bind(consent, seen=[name])):
        yield


def faces_of(request: Request) -> list[Path]:
    """Pictures of people whose consent a request needs."""
    selfies = [selfie for one in request.each_person for selfie in one.selfies]
    return [*selfies, *([request.photo] if request.photo else [])]


def finished(request: Request, composition: Composition, outcome: Outcome) -> Image.Image:
    """The picture as it is saved: at the size asked for; in photo mode the photo with its part drawn anew."""
    if composition.photo is not None:
        return Image.fromarray(composition.photo.with_part(outcome.picture, request.blend))
    picture = Image.fromarray(outcome.picture)
    size = size_of(request.size, picture.size, composition.stages[0].view.size)
    return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)


def labelled(
    request: Request, composition: Composition, picture: Image.Image, name: str, bound: bool = True
) -> Labelled:
    """The picture's file, with its labels unless the request refuses them; measuring comes before.

    Args:
        request, composition: of the picture.
        picture: as it was drawn.
        name: of the file.
        bound: see `twinset.compliance.labels.labelled.label_picture`.
    """
    if not request.labels:
        data = encode_png(picture, {})
        return Labelled(picture, data, hashlib.sha256(data).hexdigest(), {})
    photo = None if composition.photo is None or request.photo is None else (request.photo, composition.photo.picture)
    return label_picture(picture, request.label_text, request.label_corner, name, photo, bound)


def check_label(request: Request, composition: Composition) -> None:
    """Refuse words that cannot be drawn before anything else is.

    Raises:
        InputError: The font lacks a character, or the words are wider than the picture.
    """
    if not request.labels:
        return
    shape = composition.layout.labels.shape if composition.photo is None else composition.photo.picture.shape
    draw_label(Image.new("RGB", (shape[1], shape[0])), check_text(request.label_text), request.label_corner)


def with_model_defaults(pipe: JointPass, request: Request) -> Request:
    """The request with the model's own steps, guidance, size and scheduler where it has none."""
    people = backend_of(pipe)
    own = people.settings(request)
    steps = own.steps or pipe.config["default_steps"]
    guidance = pipe.config["default_guidance"] if own.guidance is None else own.guidance
    return request.settled(steps, guidance, people.usual_size, own.scheduler or people.usual_scheduler)


def picture_name(out: Path, seed: int, request: Request, began: float | None = None) -> str:
    """A name from the picture's seed, such as `0007.png`; another request's picture of that name is kept.

    Args:
        out: folder of the picture.
        seed: its own.
        request: that it is of; a picture of the same one is written anew.
        began: when the request did, seconds since 1970: what was written since is another process's, and kept too.
    """
    name, again = f"{seed:04d}.png", 1
    while not _is_ours(out / name, request, began):
        again += 1
        name = f"{seed:04d}-{again}.png"
    return name


def _is_ours(picture: Path, request: Request, began: float | None) -> bool:
    """Whether a file name is free or holds a picture of the same request, what does not change it aside."""
    try:
        if began is not None and picture.stat().st_mtime >= began:
            return False
        theirs = load_record(picture.with_suffix(".json")).request
    except FileNotFoundError:
        return True
    except InputError:
        return False
    aside = {"num": request.num, "show_regions": request.show_regions}
    return theirs.model_copy(update=aside) == request


def revision_of(pipe: JointPass) -> str:
    """One SHA-256 over all files of a model that the latest request used."""
    return pipe.revision or weights_revision(Path(pipe.name_or_path))
