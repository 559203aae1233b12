"""The parsing ControlNet of this project: it sees what belongs in each region, not only a palette."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import ControlNetModel, ModelMixin, MultiControlNetModel
from torch import Tensor, nn
from torch.nn import functional as F

from twinset.figure.labels import PALETTE

# diffusers loads a part through the ModelMixin that it finds beside it
__all__ = [
    "JointControlNets",
    "ModelMixin",
    "RegionControlNetModel",
    "RegionHints",
    "embedded_conditions",
    "label_masks",
]


GIVEN = 3
"""Kinds of condition that a position may belong to."""


@dataclass(frozen=True)
class RegionHints:
    """What the conditions put onto the latent grid before the pass; all zero without conditions.

    Attributes:
        draft: (B, latent channels, h, w) latents put where they belong: warped garments, the face in its place.
        pooled: (B, X, h, w) pooled token of the condition that owns the position.
        given: (B, 3, h, w) weight with which an identity (0), a garment (1) or a kept photo (2) owns the position.
    """

    draft: Tensor
    pooled: Tensor
    given: Tensor

    @classmethod
    def blank(cls, batch: int, latent_channels: int, width: int, size: tuple[int, int], like: Tensor) -> RegionHints:
        """No condition at all, with dtype and device of `like`."""
        return cls(*(like.new_zeros(batch, channels, *size) for channels in (latent_channels, width, GIVEN)))


def label_masks(palette: Tensor, size: tuple[int, int]) -> Tensor:
    """Share of each label's pixels, (B, 18, h, w) in [0, 1], from a palette picture (B, 3, H, W) in [0, 1]."""
    colours = torch.as_tensor(PALETTE, device=palette.device, dtype=torch.float32) / 255
    pixels = palette.float().permute(0, 2, 3, 1)
    labels = (pixels @ colours.T - colours.square().sum(1) / 2).argmax(-1)  # nearest colour
    masks = F.one_hot(labels, len(colours)).permute(0, 3, 1, 2).float()
    return F.adaptive_avg_pool2d(masks, size).to(palette.dtype)


class RegionPainter(nn.Module):
    """Embeds a parsing map: each label's text features, plus the drafts and tokens of identity and garments.

    Every label has a query that reads the text's hidden states, so "red hair" can reach the hair and nothing else; the
    answer is multiplied by the label's mask. Drafts and pooled tokens of conditions are added in place: colours are
    learnt within minutes of training this way, where tokens alone hardly begin to (docs/architecture.md).
    """

    def __init__(self, text_width: int, latent_channels: int, out_channels: int, labels: int = 18, width: int = 64):
        super().__init__()
        self.queries = nn.Parameter(torch.randn(labels, width) * 0.5)
        self.read_key = nn.Linear(text_width, width)
        self.read_value = nn.Linear(text_width, width)
        self.pooled_in = nn.Conv2d(text_width, width, 1)
        channels = labels + 2 * width + latent_channels + GIVEN
        self.mix = nn.Sequential(
            nn.Conv2d(channels, out_channels, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
        )

    def forward(self, masks: Tensor, words: Tensor, paint: RegionHints) -> Tensor:
        """(B, labels, h, w) masks, (B, n, X) text hidden states and `paint` to features (B, out_channels, h, w)."""
        keys, values = self.read_key(words), self.read_value(words)
        said = F.scaled_dot_product_attention(self.queries.expand(len(words), -1, -1).to(keys.dtype), keys, values)
        painted = torch.einsum("blhw,blc->bchw", masks, said.to(masks.dtype))
        return self.mix(torch.cat([masks, painted, self.pooled_in(paint.pooled), paint.draft, paint.given], dim=1))


class RegionControlNetModel(ControlNetModel):
    """A ControlNet on human-parsing maps whose condition embedding is painted region by region.

    With no `RegionHints` it is an ordinary ControlNet: any diffusers pipeline can run it on a palette picture
    (`twinset.figure.labels.PALETTE`), and the words still reach their regions.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.latent_channels = self.config["in_channels"]
        self.painter = RegionPainter(
            self.config["cross_attention_dim"], self.config["in_channels"], self.config["block_out_channels"][0]
        )

    def embed(
        self, palette: Tensor, words: Tensor, paint: RegionHints | None = None, masks: Tensor | None = None
    ) -> Tensor:
        """The condition embedding: everything of this net that depends neither on the latent nor on the timestep.

        Args:
            palette: parsing map as palette picture, (B, 3, H, W) in [0, 1].
            words: text hidden states (B, n, X).
            paint: what identity and garments lay into their regions; None for nothing.
            masks: the palette's `label_masks` where they are known already, (B, 18, h, w).

        Returns:
            (B, block_out_channels[0], H / 8, W / 8)
        """
        base = self.controlnet_cond_embedding(palette)
        size = (base.shape[2], base.shape[3])
        if paint is None:
            paint = RegionHints.blank(len(base), self.latent_channels, words.shape[-1], size, base)
        masks = label_masks(palette, size) if masks is None else masks
        return base + self.painter(masks.to(base.dtype), words, paint)

    def forward(self, sample, timestep, encoder_hidden_states, controlnet_cond, *args, **kwargs):
        """ControlNetModel.forward; `controlnet_cond` is a palette picture, or an embedding made by `embed`."""
        if isinstance(self.controlnet_cond_embedding, nn.Identity):
            return super().forward(sample, timestep, encoder_hidden_states, controlnet_cond, *args, **kwargs)
        embedded = self.embed(controlnet_cond, encoder_hidden_states)
        with embedded_conditions(self):
            return super().forward(sample, timestep, encoder_hidden_states, embedded, *args, **kwargs)


# `from_pretrained` reads the options of the class off this signature
RegionControlNetModel.__init__.__signature__ = inspect.signature(ControlNetModel.__init__)  # type: ignore[attr-defined]


AS_GIVEN = nn.Identity()  # one for all, so that a compiled net sees no change from step to step


class embedded_conditions:
    """While open, the given ControlNets take condition embeddings made beforehand instead of pictures."""

    def __init__(self, *nets: ControlNetModel):
        self.nets = nets

    def __enter__(self) -> None:
        self.originals = [net.controlnet_cond_embedding for net in self.nets]
        for net in self.nets:
            net.controlnet_cond_embedding = AS_GIVEN  # type: ignore[assignment]

    def __exit__(self, *exc: object) -> None:
        for net, original in zip(self.nets, self.originals, strict=True):
            net.controlnet_cond_embedding = original


class JointControlNets(MultiControlNetModel):
    """Several ControlNets side by side, each read back as the class it was (diffusers reads all as ControlNetModel)."""

    @classmethod
    def from_pretrained(cls, pretrained_model_path: str | Path, **kwargs) -> JointControlNets:  # type: ignore[override]
        """Read `path`, `path_1`, … as `save_pretrained` wrote them.

        Raises:
            ValueError: there is no ControlNet at `pretrained_model_path`.
        """
        first = Path(pretrained_model_path)
        folders = [first]
        while (following := first.with_name(f"{first.name}_{len(folders)}")).is_dir():
            folders.append(following)
        if not (first / "config.json").is_file():
            raise ValueError(f"no ControlNet in {first}: config.json is missing")
        return cls([_class_of(folder).from_pretrained(folder, **kwargs) for folder in folders])


def _class_of(folder: Path) -> type[ControlNetModel]:
    config: Any = ControlNetModel.load_config(folder)
    name = config["_class_name"]
    return {c.__name__: c for c in (ControlNetModel, RegionControlNetModel)}.get(name, ControlNetModel)
