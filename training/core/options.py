"""What trainings are given: one checked object each, the same from Python, a command line or a TOML recipe."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from twinset.common.validation import one_line
from twinset.errors import InputError

Options = TypeVar("Options", bound="RecipeOptions")


class RecipeOptions(BaseModel):
    """Options that a recipe, a command line or Python gives: checked, and refused where they are unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def path_fields(cls) -> list[str]:
        """Names of the fields that are paths, which a recipe beside a result counts from its own folder."""
        return [n for n, field in cls.model_fields.items() if Path in (field.annotation, *get_args(field.annotation))]

    def located(self: Options) -> Options:
        """The same with absolute paths, so that a recipe works from any folder."""
        paths = {name: getattr(self, name) for name in self.path_fields()}
        return self.model_copy(update={name: path.absolute() for name, path in paths.items() if path is not None})


class TrainOptions(RecipeOptions):
    """Options of every training.

    Attributes:
        learning_rate: Peak learning rate.
        seed: Seed of initial weights, the data's order and all random draws.
    """

    learning_rate: float = Field(default=1e-3, gt=0, le=10)
    seed: int = Field(default=0, ge=0, lt=2**32)


class DenoisingOptions(TrainOptions):
    """A training of a few networks around a pipeline whose own weights stay as they are.

    Attributes:
        model: "studio", "sd15", "sdxl", or a model folder.
        learning_rate: Peak learning rate. With `prodigy` a factor on the rate it finds; 1 is usual.
        scheduler: Learning-rate schedule, as `diffusers.optimization.get_scheduler` names it.
        warmup: Steps over which the rates rise from 0.
        cycles: Hard restarts of "cosine_with_restarts".
        optimiser: "adamw"; "prodigy" finds its rate itself (give 1 as the rate), "schedulefree" needs no schedule,
            "lion" takes a third of the rate, "adafactor" least memory; "adamw8bit" needs bitsandbytes and a GPU.
        optimiser_args: What the optimiser takes besides, as sd-scripts writes it: "betas=0.9,0.99 d_coef=2".
        weight_decay: Weight decay of the optimiser.
        clip: Largest norm of the gradient.
        steps: Optimiser steps; raised for a run that is done, it goes on from where it was.
        epochs: Times that every picture is seen, in place of `steps`.
        minutes: Ends the run after so many minutes, even if steps are left; give steps alone for exact repeats.
        batch: Pictures per step, process and accumulated part.
        accumulate: Batches per optimiser step.
        precision: "bf16" or "fp16" for the frozen weights and the computation, "no" for float32; what is trained stays
            in float32. "auto": bf16 on a GPU that has it, else no.
        gradient_checkpointing: Compute activations again in place of keeping them: less memory, a third more time.
        fused_backward: Update each weight during the backward pass and free its gradient at once: less memory. Each
            weight's own gradient is clipped; neither `accumulate`, fp16 nor prodigy go with it.
        ema: Decay of a running average of the weights, which is then the result; 0 for none.
        prediction_type: What the network predicts; the model's own scheduler says when absent.
        zero_terminal_snr: Rescale the noise schedule so that its end is pure noise (Lin et al. 2023); the model's own
            scheduler says when absent.
        min_snr_gamma: Limit of the loss's weight over the noise levels (Min-SNR, Hang et al. 2023), 5 is usual; None
            for none, except that a network that predicts x₀ is always weighted, with 5 when absent.
        noise_offset: Noise on whole channels' means, 0 to about 0.1 (kohya-ss), for very dark and bright pictures.
        multires_noise: Coarser noises laid over the first, so that large plain areas of a garment get their own light
            (Whitaker 2023); 6 to 10 is usual, 0 for none.
        multires_discount: Strength of each coarser noise by the one before, 0.1 to 0.8.
        loss: "l2"; "huber" and "smooth_l1" let single pictures with a wrong garment count for less.
        huber_c: Error from which those losses grow no faster than in a line.
        masked: Count the error in the region that the training is about; elsewhere only `outside` of it.
        outside: Weight of the error outside the region when `masked`, 0 to 1.
        preserve: Weight of the distance to the base model's own prediction; 0 for none.
        resolution: Side, in px, of a square with as many pixels as a training picture; the model's own when absent.
        bucket_step: Sides of pictures are multiples of it, px.
        bucket_no_upscale: Learn a picture smaller than `resolution` at its own size instead of blurring it larger.
        caption_dropout: Share of samples that see the empty text.
        save_every: Steps between checkpoints.
        sample_every: Steps between sample pictures and validation losses; 0 for the end alone.
        patience: Validations without a better loss after which the run ends; 0 for never.
        log_with: "tensorboard" (files in the run's folder), "wandb", or "both".
    """

    free: ClassVar[frozenset[str]] = frozenset({"save_every", "sample_every", "minutes", "log_with", "patience"})
    """Fields with which a run may be continued although they differ, since they do not change what is learnt."""

    model: str = "studio"
    learning_rate: float = Field(default=1e-4, gt=0, le=10)
    scheduler: Literal["constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts", "polynomial"] = (
        "cosine"
    )
    warmup: int = Field(default=0, ge=0)
    cycles: int = Field(default=1, ge=1)
    optimiser: Literal["adamw", "adamw8bit", "adafactor", "lion", "prodigy", "schedulefree"] = "adamw"
    optimiser_args: str = ""
    weight_decay: float = Field(default=0.01, ge=0)
    clip: float = Field(default=1.0, gt=0)
    steps: int = Field(default=1000, ge=1)
    epochs: int | None = Field(default=None, ge=1)
    minutes: float | None = Field(default=None, gt=0)
    batch: int = Field(default=4, ge=1)
    accumulate: int = Field(default=1, ge=1)
    precision: Literal["auto", "no", "bf16", "fp16"] = "auto"
    gradient_checkpointing: bool = False
    fused_backward: bool = False
    ema: float = Field(default=0.0, ge=0, lt=1)
    prediction_type: Literal["epsilon", "v_prediction", "sample"] | None = None
    zero_terminal_snr: bool | None = None
    min_snr_gamma: float | None = Field(default=None, gt=0)
    noise_offset: float = Field(default=0.0, ge=0, le=1)
    multires_noise: int = Field(default=0, ge=0, le=16)
    multires_discount: float = Field(default=0.3, gt=0, lt=1)
    loss: Literal["l2", "huber", "smooth_l1"] = "l2"
    huber_c: float = Field(default=0.1, gt=0)
    masked: bool = True
    outside: float = Field(default=0.25, ge=0, le=1)
    preserve: float = Field(default=0.0, ge=0)
    resolution: int | None = Field(default=None, ge=64, le=4096)
    bucket_step: int = Field(default=64, ge=8)
    bucket_no_upscale: bool = False
    caption_dropout: float = Field(default=0.05, ge=0, le=1)
    save_every: int = Field(default=100, ge=1)
    sample_every: int = Field(default=250, ge=0)
    patience: int = Field(default=0, ge=0)
    log_with: Literal["tensorboard", "wandb", "both"] = "tensorboard"

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        one_rate = self.optimiser in ("prodigy", "schedulefree")
        if self.fused_backward and (self.accumulate > 1 or self.precision == "fp16" or one_rate):
            raise ValueError("fused_backward goes with accumulate 1, bf16 or no, and neither prodigy nor schedulefree")
        if self.optimiser == "schedulefree" and self.ema:
            raise ValueError("schedulefree averages the weights itself; leave ema at 0")
        return self


def checked(kind: type[Options], fields: Mapping[str, Any], where: str) -> Options:
    """Check what a user gave.

    Args:
        kind: of options.
        fields: its fields, as text or values.
        where: what the fields come from, for messages.

    Raises:
        InputError: in one line: the option, its value and the remedy; for an unknown option the nearest name.
    """
    known = list(kind.model_fields)
    for name in fields:
        if name not in known:
            raise InputError(f"{where}: option {name!r} is unknown; {nearest(name, known)}")
    try:
        return kind.model_validate(dict(fields))
    except ValidationError as error:
        fault = one_line(error, "options", quote=True, remedy="give it, as in --{name} my_jacket/")
        raise InputError(f"{where}: {fault}") from None


def nearest(name: str, known: list[str]) -> str:
    """What to do about an unknown name: "did you mean 'rank'?", or the list of all."""
    close = get_close_matches(name, known, 1, 0.5)
    return f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"


def read_recipe(path: Path, kind: type[RecipeOptions]) -> dict[str, Any]:
    """The fields of a TOML recipe, unchecked; relative paths count from the recipe's folder.

    Raises:
        InputError: the file is missing or not TOML.
    """
    if not path.is_file():
        raise InputError(f"recipe {str(path)!r} is not a file; one lies beside everything that `twinset train` wrote")
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"recipe {str(path)!r} is not TOML ({error}); fix that line") from None
    for name in kind.path_fields():
        if isinstance(fields.get(name), str):
            fields[name] = str(path.absolute().parent / fields[name])
    return fields


def recipe_text(options: RecipeOptions) -> str:
    """The options as TOML, those that say nothing left out; `read_recipe` and `checked` give them back."""
    return "".join(
        f"{name} = {json.dumps(value)}\n" for name, value in options.model_dump(mode="json", exclude_none=True).items()
    )
