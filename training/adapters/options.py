"""What the trainings of adapters are given: one checked object each, the same as a TOML recipe."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from twinset.training.core.options import DenoisingOptions


class AdapterOptions(DenoisingOptions):
    """A training of one adapter; options of every training are in `DenoisingOptions`.

    Attributes:
        data: Folder of pictures; without one Mannequin's drawn people are rendered.
        layout: How the folder is laid out: "folder", "viton-hd" or "dresscode" (see `twinset.training.adapters.shown`).
        people: Number of drawn people, without a folder.
        limit: Most pictures to take; all when absent.
        held_out: Number of pictures held out for validation.
        samples: Of those, how many are drawn beside the truth at every validation; 0 for none.
        condition_dropout: Share of samples without the condition, so that guidance can tell it from none.
    """

    free: ClassVar[frozenset[str]] = DenoisingOptions.free | {"samples"}

    data: Path | None = None
    layout: Literal["folder", "viton-hd", "dresscode"] = "folder"
    people: int = Field(default=1024, ge=1, le=1_000_000)
    limit: int | None = Field(default=None, ge=1)
    held_out: int = Field(default=8, ge=1, le=256)
    samples: int = Field(default=4, ge=0, le=32)
    condition_dropout: float = Field(default=0.1, ge=0, lt=1)


class IdentityOptions(AdapterOptions):
    """An adapter that makes a picture obey a face, as a recogniser of one's own choice sees it.

    Attributes:
        attention_lora: Also train additions to the UNet's attention, which FaceID files hold; else they are zero. Not
            for "studio".
    """

    attention_lora: bool = True


class GarmentOptions(AdapterOptions):
    """An adapter that makes a picture obey the picture of a garment.

    Attributes:
        width: Channels of its resampler, a multiple of 64; as the public files have it when absent: 768 for SD1.5, 1280
            for SDXL. Not for "studio".
    """

    width: int | None = Field(default=None, ge=64, multiple_of=64)


class ControlOptions(AdapterOptions):
    """A ControlNet that makes a picture obey a human-parsing map or a skeleton.

    Attributes:
        kind: "parsing": a map in the colours of `twinset.figure.labels.PALETTE`; "pose": OpenPose's skeleton.
    """

    kind: Literal["parsing", "pose"] = "parsing"
    masked: bool = False
    caption_dropout: float = Field(default=0.3, ge=0, le=1)
    condition_dropout: float = Field(default=0.0, ge=0, lt=1)
