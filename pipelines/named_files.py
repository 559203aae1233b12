"""Files that a request names, as users write them: kind=picture, file=weight, form=file."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class GarmentPicture(BaseModel):
    """A garment given as a picture; its kind is recognised when it is not told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    kind: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_text(cls, value: Any) -> Any:
        """Accept `dress.png` and `dress=anything.png` where an object is expected."""
        if not isinstance(value, str | Path):
            return value
        kind, equals, path = str(value).partition("=")
        named = equals and "/" not in kind and "." not in kind
        return {"path": path, "kind": kind} if named else {"path": str(value)}


class PersonChoice(BaseModel):
    """One of several people in a picture.

    Attributes:
        selfies: of that person.
        garments: that the person wears.
        pose: as of a request.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    selfies: tuple[Path, ...] = ()
    garments: tuple[GarmentPicture, ...] = ()
    pose: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_text(cls, value: Any) -> Any:
        """Accept `selfie=a.jpg garment=coat=c.png pose=waving`, quoted as in a shell, where an object is expected."""
        if not isinstance(value, str):
            return value
        found: dict[str, list[str]] = {"selfie": [], "garment": [], "pose": []}
        for word in shlex.split(value):
            name, equals, rest = word.partition("=")
            if not (equals and rest and name in found):
                raise ValueError(f"has {word!r}; write selfie=FILE, garment=FILE or garment=KIND=FILE, and pose=NAME")
            found[name].append(rest)
        if len(found["pose"]) > 1:
            raise ValueError("has several poses; give one")
        return {"selfies": found["selfie"], "garments": found["garment"], "pose": next(iter(found["pose"]), None)}


class LoraChoice(BaseModel):
    """A LoRA file and its weight.

    Attributes:
        path: in diffusers', PEFT's or kohya's form.
        weight: 1 as trained, 0 switches it off; may be negative.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    weight: float = Field(default=1.0, ge=-4.0, le=4.0)

    @model_validator(mode="before")
    @classmethod
    def _read_text(cls, value: Any) -> Any:
        """Accept `jacket.safetensors` and `jacket.safetensors=0.8` where an object is expected."""
        if not isinstance(value, str | Path):
            return value
        path, equals, weight = str(value).rpartition("=")
        try:
            return {"path": path, "weight": float(weight)} if equals and path else {"path": str(value)}
        except ValueError:
            return {"path": str(value)}


class ParserFile(BaseModel):
    """A parsing network of one's own.

    Attributes:
        form: SCHP, or HRNet with OCR.
        path: its ONNX file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    form: Literal["schp", "hrnet"]
    path: Path

    @model_validator(mode="before")
    @classmethod
    def _read_text(cls, value: Any) -> Any:
        """Accept `schp=parsing_atr.onnx` where an object is expected."""
        if not isinstance(value, str):
            return value
        form, _, path = value.partition("=")
        if form not in ("schp", "hrnet") or not path:
            raise ValueError("is not form=file; write schp=FILE.onnx or hrnet=FILE.onnx")
        return {"form": form, "path": path}
