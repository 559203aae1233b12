"""What a garment LoRA is trained with: one checked object, the same as a TOML recipe."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from twinset.figure.labels import ALL_KINDS
from twinset.training.core.options import DenoisingOptions, checked
from twinset.training.lora.caption_rules import CaptionRule
from twinset.training.lora.folders import first_words

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
TEXT_TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")


class LoraOptions(DenoisingOptions):
    """One training of a garment LoRA; options of every training are in `DenoisingOptions`.

    Attributes:
        data: Folder of pictures, or a TOML data set file (see `twinset.training.lora.dataset`).
        trigger: Trigger word of the garment; the folder's name, letters and digits alone, when absent.
        kind: Garment kind of `twinset.figure.labels.ALL_KINDS`; the class that covers most of the pictures when
            absent.
        rank: Rank of each layer's addition.
        alpha: The addition is multiplied by alpha / rank; the rank when absent.
        dora: Train the length of every input's weights apart from their direction (Liu et al. 2024), as ComfyUI, A1111
            and OneTrainer read it alike.
        conv_rank: Rank of the additions to convolutions larger than one pixel, which hold cloth and prints; `rank`
            when absent. Counts where `targets` names convolutions.
        conv_alpha: Their alpha; their rank when absent, or `alpha` where they have no rank of their own.
        block_ranks: Ranks of parts of the UNet in place of `rank`, by the start of their names, such as
            "mid_block=4, up_blocks.1=32": the middle decides the cut, the upper blocks the surface.
        block_rates: Factors of the learning rate of parts of the UNet, such as "down_blocks=0.5"; 0 leaves one out.
        algorithm: "lora"; "loha" and "lokr" are LyCORIS' ways of holding more of a garment in a smaller file.
        factor: Size of LoKr's small matrix: larger means a smaller file; -1 for the squarest.
        start: A LoRA file to go on from, of the same ranks.
        max_norm: Largest norm of an addition (sd-scripts' scale_weight_norms), 1 is usual: keeps the garment from being
            burnt in.
        dropout: Share of each addition's inputs left out at a step, 0 to 1.
        rank_dropout: Share of each addition's ranks left out at a step, so that no rank holds the garment alone.
        module_dropout: Share of the layers whose addition is left out at a step.
        targets: "attention", "attention-mlp", "all", or endings of layers' names, separated by commas.
        text_encoder: Also train additions to the text encoders; their embeddings are then not cached on disk.
        text_learning_rate: Learning rate of the text encoders; half of `learning_rate` when absent.
        masked: Count the error on the garment alone, so that the LoRA does not learn who wears it, and where.
        outside: Weight of the error outside the garment when `masked`, 0 to 1.
        preserve: Weight of the distance to the base model's own prediction: outside the garment when `masked`, and
            everywhere where the caption lacks the trigger word, so that only the trigger brings the garment. One
            more evaluation per step; 0 for none.
        uncalled: Share of samples whose trigger word is taken out of the caption, with `preserve`.
        prior_weight: Weight of regularisation pictures (DreamBooth, Ruiz et al. 2023).
        flip: Mirror every other picture; off, since letters and logos are not symmetric.
        shuffle: Shuffle a caption's comma-separated parts at every step.
        keep_tokens: Number of parts at a caption's start that are not shuffled.
        keep_tokens_separator: Text, such as "|||", before which a caption's parts are neither shuffled nor left out.
        tag_dropout: Share of a caption's parts left out at a step, so that none is needed to call the garment.
        wildcards: Take one of {a|b} in a caption, and one of its lines, at every step.
        caption_prefix: Text before every caption, such as "a photo of".
        caption_suffix: Text behind every caption.
        caption_dropout_epochs: Every so many epochs all captions are empty; 0 for never.
        more_resolutions: Further sides, in px, such as "768,512", at each of which every picture is learnt too: large
            ones teach stitches and prints, small ones the whole garment as it is seen from afar.
        validation_split: Share of the pictures that are only measured on, to see when the garment is learnt by heart.
        skip_bad: Leave out pictures that cannot be read, and go on; they are named.
        identity_dropout: Share of samples that do not see the face as a condition ("studio" alone).
        fp8_base: Keep the base model's UNet in eight bits while training: half its memory, a little of its precision.
            For a plain LoRA; give `gradient_checkpointing` too.
        sample_prompt: Prompt of the sample pictures; the trigger word in a plain sentence when absent.
        sample_selfie: Selfie for the sample pictures.
        sample_garment: Picture of another garment for the sample pictures, to check that it stays as it is.
        sample_pose: Pose of the sample pictures.
        samples: Number of sample pictures; 0 for none.
        sample_prompts: File with a prompt in each line in place of `sample_prompt`, as sd-scripts reads it
            ("… --n negative --d seed --s steps --l guidance"), and with "--selfie", "--garment" and "--pose".
        write_every: Steps between LoRA files on the way, jacket-000200.safetensors; 0 for the end alone.
        form: Layout of the result's keys: "kohya" (ComfyUI, A1111 and diffusers) or "diffusers".
    """

    free: ClassVar[frozenset[str]] = DenoisingOptions.free | {
        "sample_prompt", "sample_selfie", "sample_garment", "sample_pose", "samples", "sample_prompts", "form",
        "write_every"
    }  # fmt: skip

    of_studio: ClassVar[dict[str, Any]] = STUDIO
    """Defaults for the bundled model in place of the usual ones."""

    data: Path
    learning_rate: float = Field(default=2e-4, gt=0, le=10)
    trigger: str | None = None
    kind: str | None = None
    rank: int = Field(default=16, ge=1, le=1024)
    alpha: float | None = Field(default=None, gt=0, le=1e6)
    conv_rank: int | None = Field(default=None, ge=1, le=1024)
    conv_alpha: float | None = Field(default=None, gt=0, le=1e6)
    block_ranks: str = ""
    block_rates: str = ""
    algorithm: Literal["lora", "loha", "lokr"] = "lora"
    factor: int = Field(default=-1, ge=-1)
    start: Path | None = None
    max_norm: float | None = Field(default=None, gt=0)
    dora: bool = False
    dropout: float = Field(default=0.0, ge=0, lt=1)
    rank_dropout: float = Field(default=0.0, ge=0, lt=1)
    module_dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: str = "attention-mlp"
    text_encoder: bool = False
    text_learning_rate: float | None = Field(default=None, gt=0, le=10)
    outside: float = Field(default=0.05, ge=0, le=1)
    uncalled: float = Field(default=0.2, ge=0, lt=1)
    prior_weight: float = Field(default=1.0, ge=0)
    flip: bool = False
    shuffle: bool = False
    keep_tokens: int = Field(default=1, ge=0)
    keep_tokens_separator: str | None = None
    tag_dropout: float = Field(default=0.0, ge=0, lt=1)
    wildcards: bool = False
    caption_prefix: str = ""
    caption_suffix: str = ""
    caption_dropout_epochs: int = Field(default=0, ge=0)
    more_resolutions: str = ""
    validation_split: float = Field(default=0.0, ge=0, lt=1)
    skip_bad: bool = False
    identity_dropout: float = Field(default=0.3, ge=0, le=1)
    fp8_base: bool = False
    sample_prompt: str | None = None
    sample_selfie: Path | None = None
    sample_garment: Path | None = None
    sample_pose: str = "standing"
    samples: int = Field(default=2, ge=0, le=16)
    sample_prompts: Path | None = None
    write_every: int = Field(default=0, ge=0)
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
        if self.form == "diffusers" and (self.dora or self.algorithm != "lora"):
            raise ValueError("diffusers' form has no place for DoRA, LoHa and LoKr; leave form at kohya")
        if self.fp8_base and (self.dora or self.algorithm != "lora"):
            raise ValueError("fp8_base is for a plain LoRA: DoRA, LoHa and LoKr compute with the weights themselves")
        if self.dropout and (self.dora or self.algorithm != "lora"):
            raise ValueError("dropout of inputs needs a plain LoRA; take rank_dropout or module_dropout")
        return self

    @field_validator("more_resolutions")
    @classmethod
    def _are_sides(cls, text: str) -> str:
        for side in filter(None, text.split(",")):
            if not side.strip().isdigit() or int(side) % 8 or not 64 <= int(side) <= 4096:
                raise ValueError("write sides of 64 to 4096 px in multiples of 8, such as 768,512")
        return text

    @property
    def needed_parts(self) -> tuple[str, ...]:
        """Parts of a full-size profile beside its base: samples need the pose's ControlNet, faces and garments all."""
        if self.sample_prompts or self.sample_selfie or self.sample_garment:
            return ()
        return ("vae", "pose_controlnet", "union_controlnet") if self.samples else ("vae",)

    @property
    def more_sides(self) -> tuple[int, ...]:
        """Further sides that every picture is learnt at, px."""
        return tuple(int(side) for side in filter(None, self.more_resolutions.split(",")))

    @property
    def caption_rule(self) -> CaptionRule:
        """What is done to captions where a data set does not say it."""
        return CaptionRule(
            shuffle=self.shuffle, keep=self.keep_tokens, keep_separator=self.keep_tokens_separator,
            wildcards=self.wildcards, prefix=self.caption_prefix, suffix=self.caption_suffix,
            dropout=self.caption_dropout, dropout_epochs=self.caption_dropout_epochs, tag_dropout=self.tag_dropout,
        )  # fmt: skip

    @property
    def word(self) -> str:
        """The trigger word: as given, the first of a folder such as `10_jckt hoodie`, or made of the data's name."""
        if self.trigger:
            return self.trigger
        folder = self.data.parent if self.data.suffix in (".toml", ".json") else self.data
        named = first_words(folder) if folder.is_dir() else None
        return (named or "").split(" ")[0] or re.sub(r"[^\w]|_", "", folder.absolute().name) or "garment"

    @field_validator("block_ranks", "block_rates")
    @classmethod
    def _are_blocks(cls, text: str) -> str:
        _blocks(text)
        return text

    @property
    def garment_kind(self) -> str | None:
        """The kind: as given, else what a folder such as `10_jckt hoodie` calls it where that is one."""
        if self.kind is not None or not self.data.is_dir():
            return self.kind
        named = "_".join((first_words(self.data) or "").lower().replace("-", " ").split()[1:])
        return named if named in ALL_KINDS else None

    def size_of(self, layer: str, kernel: bool) -> tuple[int, float]:
        """Rank and alpha of a layer's addition.

        Args:
            layer: its name in the UNet or text encoder.
            kernel: whether it is a convolution of more than one pixel.
        """
        own = _of_block(layer, self.block_ranks)
        rank = int(own) if own else self.conv_rank if kernel and self.conv_rank else self.rank
        if kernel and self.conv_rank:
            return rank, float(self.conv_alpha or rank)
        alpha = self.conv_alpha if kernel and self.conv_alpha else self.alpha
        return rank, float(rank if alpha is None else alpha)

    def rate_of(self, layer: str) -> float:
        """Factor of the learning rate of a layer of the UNet."""
        own = _of_block(layer, self.block_rates)
        return 1.0 if own is None else own

    @property
    def layers(self) -> tuple[str, ...]:
        """Endings of the names of the UNet's layers that are trained."""
        return TARGETS.get(self.targets) or tuple(part.strip() for part in self.targets.split(",") if part.strip())


def _blocks(text: str) -> dict[str, float]:
    """ "mid_block=4, up_blocks.1=32" → starts of names and numbers."""
    found = {}
    for pair in filter(str.strip, text.split(",")):
        name, _, number = (part.strip() for part in pair.partition("="))
        known = re.fullmatch(r"(down_blocks|mid_block|up_blocks|conv_in|conv_out)[\w.]*", name)
        if not known or not re.fullmatch(r"\d+(\.\d+)?", number):
            raise ValueError("write blocks and numbers, such as mid_block=4, up_blocks.1=32")
        found[name] = float(number)
    return found


def _of_block(layer: str, text: str) -> float | None:
    """The number of the longest start of a layer's name; None without one."""
    starts = {name: number for name, number in _blocks(text).items() if f"{layer}.".startswith(f"{name}.")}
    return starts[max(starts, key=len)] if starts else None


def read_options(fields: Mapping[str, Any], where: str = "train lora") -> LoraOptions:
    """Check what a user gave; see `twinset.training.core.options.checked`."""
    return checked(LoraOptions, fields, where)
