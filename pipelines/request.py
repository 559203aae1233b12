"""What a user asks for: one object for the command line, Python and every later front end."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError, field_validator, model_validator

from twinset.common.validation import one_line
from twinset.errors import InputError
from twinset.pipelines.denoising.schedulers import SchedulerName
from twinset.pipelines.loading.pasted_settings import LARGEST_SEED, pasted_fields
from twinset.pipelines.request_fields import RequestFields
from twinset.prompts.wildcards import one_of

READERS = ("faces", "pose_estimator", "parser")
"""Fields of a request that choose what reads photographs."""
CHOICES = (*READERS, "attention")
"""Fields of a request that choose packages and networks; whoever runs a service chooses for all its jobs."""


class Request(RequestFields):
    """One order for pictures.

    Several `selfies` become one identity; one may be given as `selfie`. Picture `i` of `num` is the one that a request
    of one picture has with the seed `seed + i`.
    """

    @model_validator(mode="before")
    @classmethod
    def _one_selfie(cls, fields: Any) -> Any:
        """`selfie` is the one of `selfies`."""
        if not isinstance(fields, dict) or "selfie" not in fields:
            return fields
        rest, one = {k: v for k, v in fields.items() if k != "selfie"}, fields["selfie"]
        return rest if one is None else rest | {"selfies": (*rest.get("selfies", ()), one)}

    @model_validator(mode="before")
    @classmethod
    def _pasted(cls, fields: Any) -> Any:
        """What was pasted with the prompt ("Steps: 30, Seed: 7") holds where no field says otherwise."""
        if not isinstance(fields, dict) or not isinstance(fields.get("prompt"), str) or fields.get("raw_prompt"):
            return fields
        pasted = pasted_fields(fields["prompt"], str(fields.get("model", "studio")))
        return {**fields, **{name: value for name, value in pasted.items() if fields.get(name) is None}}

    @model_validator(mode="after")
    def _people_apart(self) -> Request:
        """Faces and outfits of several people are said of each of them."""
        if not self.people:
            return self
        if len(self.people) == 1:
            raise ValueError("people: one person is given by --selfie, --garment and --pose; give --person again")
        if self.selfies or self.garments or self.pose or self.photo or self.way == "serial":
            raise ValueError("people: say selfie, garment and pose in each --person; --way serial draws one person")
        return self

    @property
    def each_person(self) -> tuple[Request, ...]:
        """A request for each person in the picture; this one where there is one person."""
        if not self.people:
            return (self,)
        return tuple(
            self.model_copy(
                update={**dict(person), "people": (), "seed": None if self.seed is None else self.seed + number}
            )
            for number, person in enumerate(self.people)
        )

    @property
    def pictures_given(self) -> tuple[Path, ...]:
        """Files of all selfies and garments."""
        each = self.each_person
        return tuple(path for one in each for path in (*one.selfies, *(g.path for g in one.garments)))

    @field_validator("prompt")
    @classmethod
    def _has_words(cls, prompt: str) -> str:
        if not prompt.strip():
            raise ValueError("has no words; say what to draw, as in 'short hair, red dress, beach'")
        one_of(prompt, 0)  # what cannot be read is said before any work
        return prompt.strip()

    def settled(
        self, steps: int, guidance: float, size: tuple[int, int], scheduler: SchedulerName | None = None
    ) -> Request:
        """The same request with the model's own steps, guidance, size and scheduler where it has none."""
        own = {"steps": self.steps or steps, "size": self.size or f"{size[0]}x{size[1]}"}
        own |= {"guidance": guidance if self.guidance is None else self.guidance}
        return self.model_copy(update=own | {"scheduler": self.scheduler or scheduler})

    @property
    def networks(self) -> tuple[Path, ...]:
        """Files of networks that are used in place of the model's own."""
        faces = (Path(self.faces),) if self.faces.endswith(".onnx") else ()
        return faces + (() if self.parser is None else (self.parser.path,))

    def with_networks(self, place: Callable[[Path], Path]) -> Request:
        """The same request with each of `networks` where `place` says that it lies."""
        faces = str(place(Path(self.faces))) if self.faces.endswith(".onnx") else self.faces
        parser = self.parser and self.parser.model_copy(update={"path": place(self.parser.path)})
        return self.model_copy(update={"faces": faces, "parser": parser})

    def of_picture(self, index: int) -> Request:
        """The request of one of its pictures alone: its seed is all that tells it from the others."""
        if self.seed is None:
            raise ValueError("request.seed is None; call request.seeded() first")
        return self.model_copy(update={"seed": (self.seed + index) % (LARGEST_SEED + 1)})

    def seeded(self) -> Request:
        """The same request with a seed: its own, or one drawn at random."""
        return self if self.seed is not None else self.model_copy(update={"seed": secrets.randbelow(2**31)})


def read_request(fields: dict[str, Any]) -> Request:
    """Check what a user gave.

    Args:
        fields: `Request`'s fields, as text or values.

    Raises:
        InputError: In one line: the field, the value, what is wrong with it.
    """
    try:
        return Request.model_validate(fields)
    except ValidationError as error:
        raise InputError(one_line(error, "request", quote=True)) from None
