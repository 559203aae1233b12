"""What a user asks for: one object for the command line, Python and every later front end."""

from __future__ import annotations

import secrets
from pathlib import Path
from reprlib import Repr
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from twinset.compliance.labels.visible import WORDINGS, Corner
from twinset.errors import InputError
from twinset.pipelines.blending import Blend

Framing = Literal["portrait", "half", "three_quarter", "full"]
Strength = Field(default=1.0, ge=0.0, le=2.0)
LARGEST_SEED = 2**32 - 1


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


_SHORT = Repr()  # aliases of YAML make small files that name billions of values
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 2, 200, 200


class Request(BaseModel):
    """One order for pictures.

    Attributes:
        prompt: A sentence, English or Chinese.
        selfies: Pictures of the person, ordinary or aligned face crops; several become one identity. One may be given
            as `selfie`.
        face: Which face of a selfie with several: "largest", "centre", or its number counted from the left.
        garments: Pictures of the garments to wear, each `path` or `kind=path`.
        loras: LoRA files, each `path` or `path=weight`.
        pose: The name of a preset (`walking`, mirrored `walking:mirror`), a keypoint file or a picture; without one the
            prompt's pose word counts, else the seed draws a preset.
        framing: How much of the body is seen.
        photo: A photo in which the selfie's face and the garments take the place of what was there; all else stays.
            Pose, framing and layout are then its own.
        blend: How what is drawn anew is laid into the photo, see `twinset.pipelines.blending.blend`.
        way: "joint" draws face and outfit in one pass; "serial" swaps, tries on and repairs, to compare with.
        repair: Measure each picture, and repair what is wrong with it, see `twinset.pipelines.controller.controller`.
        fusion_strength: How far repairs of colour and light go, 0 to 1.
        skin_tone_match: How far the face's skin is brought to the tone of the body's, 0 to 1.
        candidates: Seeds that may be tried for a picture: another one follows while something is still wrong.
        repair_seconds: No repair and no further seed is begun after so long; where it cuts in, a replay may differ.
        min_identity: Cosine of face and selfie below which a picture is refused; none is refused for it when absent.
        num: Number of pictures; picture `i` has the seed `seed + i`.
        seed: Drawn at random when not given; see `seeded`.
        identity_strength: Weight of the selfie, 0 (off) to 2.
        face_lora_strength: Weight of the LoRA that FaceID brings, 0 (off) to 2; 1 is its authors' own, many use 0.6 to
            0.8, which leaves more of the base model's look. It acts only where a selfie does; models without FaceID
            have none.
        garment_strength: Weight of the garments, 0 (off) to 2.
        pose_strength: Weight of the pose, 0 (off) to 2.
        steps: Denoising steps; the model's own number when absent.
        guidance: Classifier-free guidance, 1 switches it off; the model's own when absent.
        economical: Reuse what changes little from step to step: about half the work, a picture a little different.
        model: A profile's name, a folder, or a `.safetensors` checkpoint of Stable Diffusion 1.5 or XL.
        labels: Say of each picture that it was generated, see `twinset.compliance.labels.labelled`; laws may ask
            for it.
        label_text: Words of the visible label; those of `WORDINGS` fulfil GB 45438.
        label_corner: Where the visible label is; "none" leaves it out and keeps mark, XMP and signature.
        consent: Reference of the consent of the person in `selfies`, see `twinset.compliance.consent`; checked before
            anything is drawn, and needed in batches and by the service.
        safety: What is done with pictures, given or drawn, that the safety checker takes for nudity: "warn" tells,
            "refuse" neither uses nor saves them, "off" asks nobody. See `twinset.pipelines.safety`.
        show_regions: Also write `<picture>-regions.png`: the picture with the region of each condition tinted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str
    selfies: tuple[Path, ...] = ()
    face: str = Field(default="largest", pattern=r"^(largest|centre|[1-9][0-9]?)$")
    garments: tuple[GarmentPicture, ...] = ()
    loras: tuple[LoraChoice, ...] = Field(default=(), max_length=8)
    pose: str | None = None
    framing: Framing = "three_quarter"
    photo: Path | None = None
    blend: Blend = "soft"
    way: Literal["joint", "serial"] = "joint"
    repair: bool = True
    fusion_strength: float = Field(default=1.0, ge=0.0, le=1.0)
    skin_tone_match: float = Field(default=0.8, ge=0.0, le=1.0)
    candidates: int = Field(default=2, ge=1, le=64)
    repair_seconds: float = Field(default=300.0, ge=0.0)
    min_identity: float | None = Field(default=None, ge=-1.0, le=1.0)
    num: int = Field(default=1, ge=1, le=256)
    seed: int | None = Field(default=None, ge=0, le=LARGEST_SEED)
    steps: int | None = Field(default=None, ge=1, le=1000)
    guidance: float | None = Field(default=None, ge=0.0, le=30.0)
    identity_strength: float = Strength
    face_lora_strength: float = Strength
    garment_strength: float = Strength
    pose_strength: float = Strength
    economical: bool = False
    model: str = "studio"
    labels: bool = True
    label_text: str = Field(default=WORDINGS[0], max_length=40)
    label_corner: Corner = "bottom_right"
    consent: str | None = Field(default=None, pattern=r"^[0-9a-f]{16}$")
    safety: Literal["off", "warn", "refuse"] = "warn"
    show_regions: bool = False

    @model_validator(mode="before")
    @classmethod
    def _one_selfie(cls, fields: Any) -> Any:
        """`selfie` is the one of `selfies`."""
        if not isinstance(fields, dict) or "selfie" not in fields:
            return fields
        rest, one = {k: v for k, v in fields.items() if k != "selfie"}, fields["selfie"]
        return rest if one is None else rest | {"selfies": (*rest.get("selfies", ()), one)}

    @field_validator("prompt")
    @classmethod
    def _has_words(cls, prompt: str) -> str:
        if not prompt.strip():
            raise ValueError("has no words; say what to draw, as in 'short hair, red dress, beach'")
        return prompt.strip()

    def settled(self, steps: int, guidance: float) -> Request:
        """The same request with the model's own steps and guidance where it has none."""
        own = {"steps": self.steps or steps, "guidance": guidance if self.guidance is None else self.guidance}
        return self.model_copy(update=own)

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
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "request"
        message = first["msg"].removeprefix("Value error, ")
        raise InputError(f"{name} = {_SHORT.repr(first['input'])}: {message}") from None
