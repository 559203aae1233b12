"""Joint attention: text, identity and garments in one attention, each within its region.

Cross-attention site:  h = Attn(q, K_text, V_text) + Σ_c w_c(t) · M_c ⊙ Attn(q, K_c, V_c)    (IP-Adapter, eq. 5)
Self-attention site:   h = Attn(q, K, V)           + Σ_j w_j(t) · M_j ⊙ Attn(q, K_ref_j, V_ref_j)  (IMAGDressing)

K and V of conditions depend neither on the latent nor on the timestep: `remember` projects them once before the pass,
`set_gates` sets w·M for a step. With nothing remembered the result is diffusers' own, digit for digit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor, nn
from torch.nn import functional as F

from .condition import Condition


@dataclass
class Memory:
    """Keys and values of one condition at one site, and the gate w·M that lets them speak.

    Attributes:
        key, value: (B, n, C).
        region: (B, 1, H, W) mask in [0, 1].
        gate: (B, 1, 1) weight; B is 1 or the batch.
    """

    key: Tensor
    value: Tensor
    region: Tensor
    gate: Tensor
    masks: dict[tuple[int, int], Tensor] = field(default_factory=dict)

    def mask(self, size: tuple[int, int]) -> Tensor:
        """Region at a site's resolution, (B, h·w, 1); pooled once per resolution."""
        if size not in self.masks:
            self.masks[size] = F.adaptive_avg_pool2d(self.region, size).flatten(2).transpose(1, 2)
        return self.masks[size]


class JointAttnProcessor(AttnProcessor2_0):
    """Attention processor of one site: the plain result plus what the site's memories add.

    `memories` is empty outside a pass, so the site behaves as `AttnProcessor2_0`. `recorded` keeps the site's input
    while a reference pass runs.
    """

    def __init__(self, frame: Frame):
        super().__init__()
        self.frame = frame
        self.memories: list[Memory] = []
        self.recorded: Tensor | None = None

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        *args,
        **kwargs,
    ) -> Tensor:
        if self.frame.recording and encoder_hidden_states is None:
            self.recorded = hidden_states
        active = [m for m in self.memories if bool((m.gate != 0).any())]
        if not active:
            return super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
        query = attn.to_q(hidden_states)
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        mixed = _attend(attn, query, attn.to_k(context), attn.to_v(context))
        size = self.frame.size_of(hidden_states.shape[1])
        for m in active:
            mixed = mixed + (m.gate * m.mask(size)).to(mixed.dtype) * _attend(attn, query, m.key, m.value)
        return attn.to_out[1](attn.to_out[0](mixed)) / attn.rescale_output_factor


def _attend(attn: Attention, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Multi-head scaled dot-product attention, (B, L, C) each; one row of keys serves the whole batch."""
    batch = len(query)

    def heads(x: Tensor) -> Tensor:
        x = x.expand(batch, -1, -1) if len(x) == 1 else x
        return x.unflatten(2, (attn.heads, -1)).transpose(1, 2).to(query.dtype)

    return F.scaled_dot_product_attention(heads(query), heads(key), heads(value)).transpose(1, 2).flatten(2)


@dataclass
class Frame:
    """What all sites share: the latent's size, and whether a reference pass is being recorded."""

    height: int = 0
    width: int = 0
    recording: bool = False

    def size_of(self, positions: int) -> tuple[int, int]:
        """Height and width of a site with this many positions (the latent halved as often as needed)."""
        height, width = self.height, self.width
        while height * width > positions:
            height, width = -(-height // 2), -(-width // 2)
        if height * width != positions:
            raise ValueError(f"{positions} positions do not fit a latent of {self.height}×{self.width}")
        return height, width


def site_names(unet: UNet2DConditionModel) -> tuple[dict[str, int], dict[str, int]]:
    """Self- and cross-attention sites of a UNet, name → channels, in diffusers' order."""
    modules = {n: m for n, m in unet.named_modules() if isinstance(m, Attention)}
    self_sites = {n: m.to_q.in_features for n, m in modules.items() if n.endswith("attn1")}
    return self_sites, {n: m.to_q.in_features for n, m in modules.items() if n.endswith("attn2")}


class SiteProjections(nn.Module):
    """Key and value projections of one kind of condition, a pair per attention site.

    Args:
        sites: site name → channels C.
        width: channels of the tokens; None where a site's own features are projected (C → C).
    """

    def __init__(self, sites: dict[str, int], width: int | None):
        super().__init__()
        pairs = {name.replace(".", "-"): (width or c, c) for name, c in sites.items()}  # modules have no dots in names
        self.to_k = nn.ModuleDict({name: nn.Linear(*pair, bias=False) for name, pair in pairs.items()})
        self.to_v = nn.ModuleDict({name: nn.Linear(*pair, bias=False) for name, pair in pairs.items()})

    def project(self, features: Tensor | dict[str, Tensor]) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Yield (site, key, value) for shared tokens (B, n, X) or for features by site (B, n, C)."""
        for key, to_k in self.to_k.items():
            name = key.replace("-", ".")
            x = features[name] if isinstance(features, dict) else features
            yield name, to_k(x), self.to_v[key](x)


@dataclass(frozen=True)
class Loan:
    """Memories of a condition: of its tokens (`present`), or of those that stand for its absence."""

    condition: Condition
    present: bool
    memories: list[Memory]


class JointAttention:
    """Puts joint attention into a UNet and takes it out again, leaving the UNet exactly as it was.

    Example:
        attention = JointAttention(unet); attention.inject()
        attention.remember(condition, size=(32, 24))
        ...the pass...
        attention.forget(); attention.eject()
    """

    def __init__(self, unet: UNet2DConditionModel):
        self.unet = unet
        self.frame = Frame()
        self.processors: dict[str, JointAttnProcessor] = {}
        self.loaned: list[Loan] = []

    def inject(self) -> JointAttention:
        """Replace every site's processor, keeping the old one for `eject`."""
        self.before = dict(self.unet.attn_processors)
        self.unet.set_attn_processor({name: JointAttnProcessor(self.frame) for name in self.before})
        self.processors = {n.removesuffix(".processor"): p for n, p in self.unet.attn_processors.items()}  # type: ignore[misc]
        return self

    def eject(self) -> None:
        """Give every site its former processor back."""
        self.unet.set_attn_processor(self.before)
        self.processors = {}

    @contextmanager
    def recording(self) -> Iterator[dict[str, Tensor]]:
        """While open, self-attention sites keep their inputs; the dict is filled on leaving."""
        features: dict[str, Tensor] = {}
        self.frame.recording = True
        try:
            yield features
        finally:
            self.frame.recording = False
            for name, processor in self.processors.items():
                if processor.recorded is not None:
                    features[name], processor.recorded = processor.recorded, None

    def remember(self, condition: Condition, size: tuple[int, int]) -> None:
        """Project a condition's tokens and reference features to keys and values at every site, once.

        Args:
            condition: what to remember.
            size: height and width of the latents of the pass.
        """
        self.frame.height, self.frame.width = size
        pairs = list(condition.sites.project(condition.tokens))
        if condition.reference_sites is not None and condition.reference is not None:
            pairs += list(condition.reference_sites.project(condition.reference))
        self.loaned.append(Loan(condition, True, self._lend(pairs, condition.region)))
        if condition.absent is not None:
            absent = self._lend(condition.sites.project(condition.absent), condition.region)
            self.loaned.append(Loan(condition, False, absent))

    def _lend(self, pairs: Iterable[tuple[str, Tensor, Tensor]], region: Tensor) -> list[Memory]:
        memories = []
        for name, key, value in pairs:
            memory = Memory(key, value, region, key.new_zeros(1, 1, 1))
            self.processors[name].memories.append(memory)
            memories.append(memory)
        return memories

    def set_gates(self, fraction: float, branches: Sequence[Sequence[str]], repeat: int) -> None:
        """Set each condition's weight for a step.

        Args:
            fraction: part of the pass that is over, 0 to 1.
            branches: for each guidance branch in the batch, the kinds of condition that act in it.
            repeat: pictures per branch; the batch is branch-major.
        """
        for loan in self.loaned:
            weight = torch.as_tensor(loan.condition.at(fraction)).float().reshape(-1)
            speaks = [(loan.condition.kind in kinds) == loan.present for kinds in branches]
            gate = torch.cat([(weight * on).expand(repeat) for on in speaks]).view(-1, 1, 1)
            for memory in loan.memories:
                memory.gate = gate.to(memory.key.device)

    def forget(self) -> None:
        """Drop all memories: the sites are plain again."""
        self.loaned = []
        for processor in self.processors.values():
            processor.memories = []
