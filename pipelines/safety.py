"""Whether input and output pictures may be shown: a check with levels, which says when no checker is installed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from twinset.common.image_io import read_picture
from twinset.compliance.moderation import Moderator, cached_moderator
from twinset.errors import InputError
from twinset.models.hub.profiles import SD15
from twinset.pipelines.joint_pass import JointPass
from twinset.pipelines.request import Request, read_request

PULL = "twinset models pull sd15 --part safety_checker"
INACTIVE = f"pictures are not checked: no safety checker is installed; get it: {PULL}"
NOBODY = f"--safety refuse needs a safety checker; get it: {PULL}, or use --safety warn"
CONCERN = "the safety checker flags it as nudity"


class UnsafeError(InputError):
    """A picture that was given is refused."""


@dataclass(frozen=True)
class Safety:
    """The safety checker of a request's pictures, and what follows from its findings.

    Attributes:
        level: "off", "warn" or "refuse", as in `Request`.
        moderator: None where no checker is installed, or the level is "off".
    """

    level: str
    moderator: Moderator | None

    def concern(self, picture: np.ndarray) -> str | None:
        """Why a picture, uint8 (H, W, 3), should not be shown; None if it may be."""
        return CONCERN if self.moderator is not None and self.moderator.flags(picture) else None

    def check_inputs(self, request: Request) -> list[str]:
        """Check all input pictures of a request; returns a warning for each that is flagged but not refused.

        Raises:
            UnsafeError: one is refused.
        """
        notes = []
        for name, path in _given(request) if self.moderator is not None else ():
            concern = self.concern(read_picture(path, name))
            if concern and self.level == "refuse":
                raise UnsafeError(f"{name} {str(path)!r}: {concern}; give another picture")
            if concern:
                notes.append(f"{name} {str(path)!r}: {concern}")
        return notes

    def told(self, concern: str | None = None) -> dict[str, Any]:
        """For the record: the level, whether a checker was active, and what it found."""
        return {"level": self.level, "active": self.moderator is not None, "concern": concern}


def safety_of(pipe: JointPass, request: Request) -> Safety:
    """The check of a request's pictures: by the pipeline's own checker, or the one that was pulled.

    Raises:
        InputError: the level is "refuse", and no checker is installed.
    """
    if request.safety == "off":
        return Safety("off", None)
    moderator = moderator_of(pipe)
    if moderator is None and request.safety == "refuse":
        raise InputError(NOBODY)
    return Safety(request.safety, moderator)


def require_level(level: str) -> None:
    """Make sure that a level can be kept with any model, before a service promises it.

    Raises:
        InputError: there is no such level, or it is "refuse", and no checker is installed.
    """
    read_request({"prompt": "anything", "safety": level})
    if level == "refuse" and cached_moderator(SD15) is None:
        raise InputError(NOBODY)


def moderator_of(pipe: JointPass) -> Moderator | None:
    """The pipeline's own checker, or the one that was pulled, loaded once; None where there is neither."""
    known: Any = pipe
    if not hasattr(known, "moderator"):
        own, processor = getattr(pipe, "safety_checker", None), getattr(pipe, "feature_extractor", None)
        known.moderator = cached_moderator(SD15) if own is None or processor is None else Moderator(own, processor)
    return known.moderator


def _given(request: Request) -> Iterator[tuple[str, Path]]:
    """Every picture of a request with what it is."""
    for one in request.each_person:
        yield from (("selfie", selfie) for selfie in one.selfies)
        yield from (("garment", garment.path) for garment in one.garments)
    if request.photo is not None:
        yield "photo", request.photo
