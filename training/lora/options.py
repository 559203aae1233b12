"""What a garment LoRA is trained with: one checked object, the same as a TOML recipe."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from twinset.errors import InputError
from twinset.models.figure.labels import ALL_KINDS

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
PERCEPTRONS = ("ff.net.0.proj", "ff.net.2", "proj_in", "proj_out")
CONVOLUTIONS = ("conv1", "conv2", "conv_shortcut", "time_emb_proj", "downsamplers.0.conv", "upsamplers.0.conv")
#: Name → endings of the UNet's layers that get an addition; "attention-mlp" is what sd-scripts' `networks.lora` covers.
TARGETS: dict[str, tuple[str, ...]] = {
    "attention": ATTENTION,
    "attention-mlp": ATTENTION + PERCEPTRONS,
    "all": ATTENTION + PERCEPTRONS + CONVOLUTIONS,
}
#: Defaults of `LoraOptions` for the bundled model in place of the usual ones.
STUDIO: dict[str, Any] = {"learning_rate": 1e-3, "targets": "all", "preserve": 2.0, "steps": 400}
PATHS = ("data", "sample_selfie", "sample_garment")
TEXT_TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")


class LoraOptions(BaseModel):
    """One training of a garment LoRA.

    Attributes:
        data: Folder of pictures, or a TOML data set file (see `twinset.training.lora.dataset`).
        model: "studio", "sd15", "sdxl", or a model folder.
        trigger: Word that calls the garment; the folder's name, letters and digits alone, when absent.
        kind: Garment kind of `twinset.models.figure.labels.ALL_KINDS`; the class that covers most of the pictures when
            absent.
        rank: Directions of each layer's addition.
        alpha: The addition is multiplied by alpha / rank; the rank when absent.
        dora: Train the length of every row of the weights apart from its direction (Liu et al. 2024).
        dropout: Share of each addition's inputs left out at a step, 0 to 1.
        targets: "attention", "attention-mlp", "all", or endings of layers' names, separated by commas.
        text_encoder: Also train additions to the text encoders; their embeddings are then not kept on disk.
        learning_rate: Of the UNet's part. With `prodigy` a factor on the rate it finds; 1 is usual.
        text_learning_rate: Of the text encoders' part; half of `learning_rate` when absent.
        scheduler: How the rates go over the run, as `diffusers.optimization.get_scheduler` names it.
        warmup: Steps over which the rates rise from 0.
        cycles: Hard restarts of "cosine_with_restarts".
        optimiser: "adamw"; "adamw8bit" needs bitsandbytes and a GPU, "prodigy" needs prodigyopt.
        weight_decay: Of the optimiser.
        clip: Largest norm of the gradient.
        steps: Optimiser steps.
        batch: Pictures per step, process and accumulated part.
        accumulate: Batches per optimiser step.
        precision: "bf16" or "fp16" for the frozen weights and the computation; the additions stay in float32.
        gradient_checkpointing: Compute activations again in place of keeping them: less memory, a third more time.
        ema: Decay of a running average of the additions, which is then the result; 0 for none.
        prediction_type: What the network predicts; the model's own scheduler says when absent.
        zero_terminal_snr: Rescale the noise schedule so that its end is pure noise (Lin et al. 2023); the model's own
            scheduler says when absent.
        min_snr_gamma: Limit of the loss's weight over the noise levels (Min-SNR, Hang et al. 2023), 5 is usual; None
            for none, except that a network that predicts x₀ is always weighted, with 5 when absent.
        noise_offset: Of whole channels' means, 0 to about 0.1 (kohya-ss), for very dark and bright pictures.
        masked: Count the error on the garment alone, so that the LoRA does not learn who wears it, and where.
        outside: Weight of the error outside the garment when `masked`, 0 to 1.
        preserve: Weight of staying with the base model's own prediction: outside the garment when `masked`, and
            everywhere where the caption lacks the trigger word, so that the garment comes only when it is called. One
            more evaluation per step; 0 for none.
        uncalled: Share of samples whose trigger word is taken out of the caption, with `preserve`.
        prior_weight: Weight of regularisation pictures (DreamBooth, Ruiz et al. 2023).
        resolution: Side of a square with the pixels of a picture; the model's own size when absent.
        bucket_step: Sides of pictures are multiples of it, px.
        flip: Mirror every other picture; off, since letters and logos are not symmetric.
        caption_dropout: Share of samples that see the empty text.
        shuffle: Shuffle what commas separate in a caption, at every step anew.
        keep_tokens: Parts at a caption's front that are not shuffled.
        identity_dropout: Share of samples that do not see the face as a condition ("studio" alone).
        seed: Of the additions' start, the data's order and all draws.
        save_every: Steps between checkpoints.
        sample_every: Steps between sample pictures and validation losses; 0 for the end alone.
        sample_prompt: Of the sample pictures; the trigger word in a plain sentence when absent.
        sample_selfie: Selfie for the sample pictures.
        sample_garment: Picture of another garment for the sample pictures, to see that it is kept.
        sample_pose: Pose of the sample pictures.
        samples: Number of sample pictures; 0 for none.
        patience: Validations without a better loss after which the run ends; 0 for never.
        form: Of the result's keys: "kohya" (ComfyUI, A1111 and diffusers) or "diffusers".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path
    model: str = "studio"
    trigger: str | None = None
    kind: str | None = None
    rank: int = Field(default=16, ge=1, le=1024)
    alpha: float | None = Field(default=None, gt=0, le=1e6)
    dora: bool = False
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: str = "attention-mlp"
    text_encoder: bool = False
    learning_rate: float = Field(default=2e-4, gt=0, le=10)
    text_learning_rate: float | None = Field(default=None, gt=0, le=10)
    scheduler: Literal["constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts", "polynomial"] = (
        "cosine"
    )
    warmup: int = Field(default=0, ge=0)
    cycles: int = Field(default=1, ge=1)
    optimiser: Literal["adamw", "adamw8bit", "prodigy"] = "adamw"
    weight_decay: float = Field(default=0.01, ge=0)
    clip: float = Field(default=1.0, gt=0)
    steps: int = Field(default=1000, ge=1)
    batch: int = Field(default=4, ge=1)
    accumulate: int = Field(default=1, ge=1)
    precision: Literal["no", "bf16", "fp16"] = "no"
    gradient_checkpointing: bool = False
    ema: float = Field(default=0.0, ge=0, lt=1)
    prediction_type: Literal["epsilon", "v_prediction", "sample"] | None = None
    zero_terminal_snr: bool | None = None
    min_snr_gamma: float | None = Field(default=None, gt=0)
    noise_offset: float = Field(default=0.0, ge=0, le=1)
    masked: bool = True
    outside: float = Field(default=0.05, ge=0, le=1)
    preserve: float = Field(default=0.0, ge=0)
    uncalled: float = Field(default=0.2, ge=0, lt=1)
    prior_weight: float = Field(default=1.0, ge=0)
    resolution: int | None = Field(default=None, ge=64, le=4096)
    bucket_step: int = Field(default=64, ge=8)
    flip: bool = False
    caption_dropout: float = Field(default=0.05, ge=0, le=1)
    shuffle: bool = False
    keep_tokens: int = Field(default=1, ge=0)
    identity_dropout: float = Field(default=0.3, ge=0, le=1)
    seed: int = Field(default=0, ge=0, lt=2**32)
    save_every: int = Field(default=100, ge=1)
    sample_every: int = Field(default=250, ge=0)
    sample_prompt: str | None = None
    sample_selfie: Path | None = None
    sample_garment: Path | None = None
    sample_pose: str = "standing"
    samples: int = Field(default=2, ge=0, le=16)
    patience: int = Field(default=0, ge=0)
    form: Literal["kohya", "diffusers"] = "kohya"

    @model_validator(mode="before")
    @classmethod
    def _of_the_bundled_model(cls, fields: Any) -> Any:
        """The small bundled model learns at a higher rate, needs its convolutions for patterns, and affords more."""
        if not isinstance(fields, dict) or fields.get("model", "studio") != "studio":
            return fields
        held = {} if fields.get("masked", True) else {"preserve": 0.0}
        return {**STUDIO, **held, **fields}

    @field_validator("kind")
    @classmethod
    def _known_kind(cls, kind: str | None) -> str | None:
        if kind is not None and kind not in ALL_KINDS:
            raise ValueError(f"is unknown; choose one of {', '.join(ALL_KINDS)}")
        return kind

    @field_validator("trigger")
    @classmethod
    def _has_letters(cls, trigger: str | None) -> str | None:
        if trigger is not None and not re.search(r"\w", trigger):
            raise ValueError("has no letters; give a word such as 'jckt'")
        return trigger

    @model_validator(mode="after")
    def _fit_together(self) -> LoraOptions:
        if self.preserve and not self.masked:
            raise ValueError("preserve counts outside the garment's mask; leave masked on, or preserve at 0")
        return self

    @property
    def word(self) -> str:
        """The trigger word: as given, or made of the data's name."""
        folder = self.data.parent if self.data.suffix == ".toml" else self.data
        return self.trigger or re.sub(r"[^\w]|_", "", folder.absolute().name) or "garment"

    @property
    def scale(self) -> float:
        """Alpha, the rank where none is given."""
        return float(self.rank if self.alpha is None else self.alpha)

    @property
    def layers(self) -> tuple[str, ...]:
        """Endings of the names of the UNet's layers that are trained."""
        return TARGETS.get(self.targets) or tuple(part.strip() for part in self.targets.split(",") if part.strip())

    def located(self) -> LoraOptions:
        """The same with absolute paths, so that a recipe works from any folder."""
        given = {name: getattr(self, name) for name in PATHS}
        return self.model_copy(update={name: path.absolute() for name, path in given.items() if path is not None})


def read_options(fields: Mapping[str, Any], where: str = "train lora") -> LoraOptions:
    """Check what a user gave.

    Args:
        fields: `LoraOptions`' fields, as text or values.
        where: what the fields come from, for messages.

    Raises:
        InputError: in one line: the option, its value and the remedy; for an unknown option the nearest name.
    """
    known = list(LoraOptions.model_fields)
    for name in fields:
        if name not in known:
            raise InputError(f"{where}: option {name!r} is unknown; {nearest(name, known)}")
    try:
        return LoraOptions.model_validate(dict(fields))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "options"
        given = "" if name == "options" else f" = {first['input']!r}"
        if first["type"] == "missing":
            raise InputError(f"{where}: {name} is missing; give it, as in --{name} my_jacket/") from None
        raise InputError(f"{where}: {name}{given}: {first['msg'].removeprefix('Value error, ')}") from None


def nearest(name: str, known: list[str]) -> str:
    """What to do about an unknown name: "did you mean 'rank'?", or the list of all."""
    close = get_close_matches(name, known, 1, 0.5)
    return f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"


def read_recipe(path: Path) -> dict[str, Any]:
    """The fields of a TOML recipe, unchecked; relative paths count from the recipe's folder.

    Raises:
        InputError: the file is missing or not TOML.
    """
    if not path.is_file():
        raise InputError(
            f"recipe {str(path)!r} is not a file; one lies beside every LoRA that `twinset train lora` wrote"
        )
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"recipe {str(path)!r} is not TOML ({error}); mend that line") from None
    for name in PATHS:
        if isinstance(fields.get(name), str):
            fields[name] = str(path.absolute().parent / fields[name])
    return fields


def recipe_text(options: LoraOptions) -> str:
    """The options as TOML, those that say nothing left out; `read_recipe` and `read_options` give them back."""
    return "".join(
        f"{name} = {json.dumps(value)}\n" for name, value in options.model_dump(mode="json", exclude_none=True).items()
    )
