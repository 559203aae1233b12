"""A condition: one thing that a picture must obey (an identity, a garment), computed once before the pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from twinset.adapters.regions import region
from twinset.figure.labels import LABELS
from twinset.models.region_controlnet import GIVEN, RegionHints

if TYPE_CHECKING:
    from twinset.adapters.joint_attention import SiteProjections

Kind = Literal["identity", "garment", "photo", "figure"]
KINDS: tuple[Kind, ...] = get_args(Kind)
CHANNELS: dict[str, int] = {"identity": 0, "garment": 1, "photo": 2, "figure": 1}
"""Kind → channel of `RegionHints.given`; garments, hair and skin are told apart by the parsing map."""
KNOWN_TO_ALL: tuple[Kind, ...] = ("photo", "figure")
"""Kinds that are part of the layout: every branch of guidance knows them."""
FACE_LABELS = (LABELS.index("face"),)


@dataclass(frozen=True)
class Layout:
    """Where things are in the picture asked for.

    Attributes:
        keypoints: (18, 3) float32: x and y in pixels, visibility, in OpenPose order.
        labels: (H, W) uint8 human-parsing map with ATR's 18 labels.
        others: keypoints (18, 3) of further people in the picture.
    """

    keypoints: np.ndarray
    labels: np.ndarray
    others: tuple[np.ndarray, ...] = ()

    def __post_init__(self) -> None:
        if self.keypoints.shape != (18, 3):
            raise ValueError(f"keypoints have shape {self.keypoints.shape}; 18 OpenPose keypoints (18, 3) are needed")
        if self.labels.ndim != 2 or self.labels.max() >= len(LABELS):
            raise ValueError(f"labels must be (H, W) with values below {len(LABELS)}, not {self.labels.shape}")

    def region(self, labels: tuple[int, ...]) -> Tensor:
        """Mask (1, 1, H, W) in {0, 1} of the pixels that carry one of `labels`."""
        return region(self.labels, labels)


@dataclass(frozen=True)
class TextConditioning:
    """The text encoders' output for a text.

    Attributes:
        states: (B, n, X) hidden states.
        added: further text inputs of the UNet, `added_cond_kwargs`, rows as `states`: for SDXL the pooled `text_embeds`
            (B, 1280) and the sizes `time_ids` (B, 6); nothing for SD1.5.
        pictures: image embeddings for IP-Adapters that diffusers' own `load_ip_adapter` put into the UNet, rows as
            `states`.
    """

    states: Tensor
    added: Mapping[str, Tensor] = field(default_factory=dict)
    pictures: tuple[Tensor, ...] = ()

    def repeat(self, count: int) -> TextConditioning:
        """`count` rows: as they are, or `count` times the one text that this holds."""
        if len(self.states) == count:
            return self
        return self._each(lambda x: x.expand(count, *x.shape[1:]))

    def last(self, count: int) -> TextConditioning:
        """The last `count` rows."""
        return self._each(lambda x: x[-count:])

    def having(self, name: str, value: Tensor) -> TextConditioning:
        """The same with other states (`prompt_embeds`) or another of `added`."""
        if name == "prompt_embeds":
            return replace(self, states=value)
        return replace(self, added={**self.added, name: value})

    def to(self, like: Tensor) -> TextConditioning:
        """The same with dtype and device of `like`."""
        return self._each(lambda x: x.to(like))

    def _each(self, change: Callable[[Tensor], Tensor]) -> TextConditioning:
        added = {name: change(x) for name, x in self.added.items()}
        return TextConditioning(change(self.states), added, tuple(map(change, self.pictures)))

    @classmethod
    def cat(cls, parts: Sequence[TextConditioning]) -> TextConditioning:
        """Texts one after another."""
        added = {name: torch.cat([p.added[name] for p in parts]) for name in parts[0].added}
        pictures = tuple(torch.cat(rows) for rows in zip(*(p.pictures for p in parts), strict=True))
        return cls(torch.cat([p.states for p in parts]), added, pictures)


@dataclass(frozen=True)
class Condition:
    """An identity, a garment, or a photo of which a part stays as it is, ready for the pass.

    Attributes:
        kind: "identity", "garment", "photo", or "figure": hair and skin in their colours.
        tokens: (B, n, X) tokens for cross-attention; B is 1 at inference, the batch in training. None where an adapter
            speaks through reference features or its draft alone, and of a photo.
        region: (B, 1, H, W) soft mask in [0, 1] of the pixels it owns.
        sites: the adapter's key and value projections of the tokens, by cross-attention site.
        draft: (B, latent channels, h, w) latents laid where they belong; only our parsing ControlNet reads them. Of a
            photo they are the photo's own, and the pass holds to them wherever the region is.
        reference: hidden states (B, m, C) by self-attention site, from the reference pass; garments only.
        reference_sites: the projections of `reference`. None with a reference means MagicClothing's form: the site's
            own projections, and one attention over its own keys and these together.
        absent: (B, n, X) unconditional tokens, used in the branches of guidance where it does not act; public
            adapters were trained with such tokens, ours without any.
        lora: name of the LoRA in the UNet that belongs to it (FaceID's, StoryMaker's); None where it has none. It takes
            part in the steps in which the condition acts, in all branches of guidance as its authors have it, and in no
            other step.
        lora_weight: of that LoRA; of several conditions of one LoRA the largest counts.
        weight: strength; 1 as trained, 0 leaves it out, its LoRA too.
        start, end: part of the pass, as fractions from pure noise (0) to the picture (1), in which it acts: see `acts`.
    """

    kind: Kind
    tokens: Tensor | None
    region: Tensor
    sites: SiteProjections | None
    draft: Tensor | None = None
    reference: dict[str, Tensor] | None = None
    reference_sites: SiteProjections | None = None
    absent: Tensor | None = field(default=None, kw_only=True)
    lora: str | None = field(default=None, kw_only=True)
    lora_weight: float = field(default=1.0, kw_only=True)
    weight: float | Tensor = field(default=1.0, kw_only=True)
    start: float = field(default=0.0, kw_only=True)
    end: float = field(default=1.0, kw_only=True)

    def at(self, step: int, steps: int) -> float | Tensor:
        """Weight at a step of the pass: `weight` within [start, end], else 0."""
        return self.weight if acts(self.start, self.end, step, steps) else 0.0

    def weighted(self, weight: float) -> Condition:
        """The same condition at another strength."""
        return replace(self, weight=weight)

    def mask(self, size: tuple[int, int]) -> Tensor:
        """The region at a resolution (h, w): (B, 1, h, w), the share of owned pixels."""
        return F.adaptive_avg_pool2d(self.region, size)


def acts(start: float, end: float, step: int, steps: int) -> bool:
    """Whether a step lies within a schedule: [step / steps, (step + 1) / steps] inside [start, end].

    The same rule as that of diffusers' `control_guidance_start` and `control_guidance_end`.
    """
    return start <= step / steps and (step + 1) / steps <= end


def region_hints(conditions: list[Condition], batch: int, like: RegionHints) -> RegionHints:
    """Lay all conditions onto the latent grid: Σ w·M⊙draft, Σ w·M⊙(mean token), and which kind owns each position.

    Args:
        conditions: regions of identities and garments should not overlap; a photo covers what was laid before it.
        batch: size of the batch to paint for.
        like: a blank `RegionHints` of this batch.
    """
    draft, pooled, given = like.draft.clone(), like.pooled.clone(), like.given.clone()
    for c in conditions:
        weight = c.weight.view(-1, 1, 1, 1) if isinstance(c.weight, Tensor) else c.weight
        owned = (weight * c.mask((draft.shape[2], draft.shape[3]))).to(draft.dtype)
        if c.kind == "photo":
            draft, pooled, given = ((1 - owned) * laid for laid in (draft, pooled, given))
        if c.draft is not None:
            draft = draft + owned * c.draft.to(draft.dtype)
        if c.tokens is not None:
            pooled = pooled + owned * c.tokens.mean(1)[:, :, None, None].to(draft.dtype)
        channel = torch.tensor(CHANNELS[c.kind], device=given.device)
        given = given + F.one_hot(channel, GIVEN).view(1, -1, 1, 1) * owned
    return RegionHints(draft, pooled, given.to(draft.dtype))
