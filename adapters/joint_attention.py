"""Joint attention: text, identity and garments in one attention, each within its region.

Cross-attention site:  h = Attn(q, K_text, V_text) + Σ_c w_c(t) · M_c ⊙ Attn(q, K_c, V_c)    (IP-Adapter, eq. 5)
Self-attention site:   h = Attn(q, K, V)           + Σ_j w_j(t) · M_j ⊙ Attn(q, K_ref_j, V_ref_j)  (IMAGDressing)
    or, for references without projections of their own (MagicClothing):
                       h = (1 − w M) ⊙ Attn(q, K, V) + w M ⊙ Attn(q, [K; K_ref], [V; V_ref])

K and V of conditions depend neither on the latent nor on the timestep: `attach` projects them once before the pass,
`set_weights` sets w·M for a step, and K and V of the text are kept as long as the text is the same tensor. With nothing
remembered the result is diffusers' own, digit for digit.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from diffusers.models.attention_dispatch import AttentionBackendName, dispatch_attention_fn
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor, nn
from torch.nn import functional as F

from twinset.adapters.attention_faults import does_not_run
from twinset.adapters.attention_memory import EVERY_ROW, ConditionKV, ConditionSlot, RegionTokens
from twinset.adapters.condition import Condition
from twinset.adapters.lora.install import weigh_lora
from twinset.errors import InputError


@dataclass
class Frame:
    """What all sites share: the latent's size, the attention's backend, and whether a reference pass is recorded."""

    height: int = 0
    width: int = 0
    recording: bool = False
    backend: AttentionBackendName | None = None

    def size_of(self, positions: int) -> tuple[int, int]:
        """Height and width of a site with this many positions (the latent halved as often as needed)."""
        height, width = self.height, self.width
        while height * width > positions:
            height, width = -(-height // 2), -(-width // 2)
        if height * width != positions:
            raise ValueError(f"{positions} positions do not fit a latent of {self.height}×{self.width}")
        return height, width


class JointAttnProcessor:
    """Attention processor of one site: the output of the site's former processor, plus its conditions' attention.

    `memories` is empty outside a pass. `recorded` keeps the site's input while a reference pass runs.

    Args:
        frame: shared by all sites.
        former: the processor that was there before.
    """

    def __init__(self, frame: Frame, former: Any):
        self.frame, self.former = frame, former
        self.plain = type(former) is AttnProcessor2_0
        self.takes = inspect.signature(former.__call__).parameters.keys()
        self.memories: list[ConditionKV] = []
        self.recorded: Tensor | None = None
        self.text: tuple[Tensor, Tensor, Tensor] | None = None

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        ip_adapter_masks: Any = None,
    ) -> Tensor:
        if self.frame.recording and encoder_hidden_states is None:
            self.recorded = hidden_states
        speaking = [m for m in self.memories if m.rows is not None]
        if not self.plain:
            more = {"temb": temb, "ip_adapter_masks": ip_adapter_masks}
            more = {name: value for name, value in more.items() if name in self.takes and value is not None}
            former = self.former(attn, hidden_states, encoder_hidden_states, attention_mask, **more)
            return self._beside(attn, hidden_states, former, speaking) if speaking else former
        query = attn.to_q(hidden_states)
        if encoder_hidden_states is None:
            key, value = attn.to_k(hidden_states), attn.to_v(hidden_states)
        else:
            key, value = self._text(attn, encoder_hidden_states)
        mixed = attend(attn, query, key, value, self.frame.backend)
        for m in speaking:
            mixed = self._add(attn, mixed, m, query, key, value)
        return attn.to_out[1](attn.to_out[0](mixed)) / attn.rescale_output_factor

    def _text(self, attn: Attention, states: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the text; projected anew when it is another tensor (or gradients are wanted)."""
        if self.text is None or self.text[0] is not states or torch.is_grad_enabled():
            self.text = states, attn.to_k(states), attn.to_v(states)
        return self.text[1], self.text[2]

    def _add(self, attn: Attention, mixed: Tensor, m: ConditionKV, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """`mixed` (B, L, C) and what a memory adds at its rows, where its region is."""
        size, rows = self.frame.size_of(query.shape[1]), cast(slice, m.rows)
        place, gate = m.places[size], m.gates[size]
        asking, before = (x[rows] if place.at is None else x[rows].index_select(1, place.at) for x in (query, mixed))
        if not asking.shape[1]:
            return mixed
        if m.joined:
            keys, values = (
                torch.cat([own[rows], _rows(its, own[rows])], 1) for own, its in ((key, m.key), (value, m.value))
            )
            said = attend(attn, asking, keys, values, self.frame.backend) - before
        else:
            said = attend(attn, asking, m.key, m.value, self.frame.backend)
        said = gate.to(mixed.dtype) * said
        if place.at is not None:
            mixed[rows].index_add_(1, place.at, said)
            return mixed
        if len(said) == len(mixed):
            return mixed + said
        mixed[rows] += said
        return mixed

    def _beside(self, attn: Attention, hidden_states: Tensor, former: Tensor, speaking: list[ConditionKV]) -> Tensor:
        """Adds to what another processor gave: the output layer is linear, so its parts may be summed behind it."""
        query = attn.to_q(hidden_states)
        mixed = torch.zeros_like(query)
        for m in speaking:
            if m.joined:
                raise InputError(
                    f"a joined reference needs the plain attention processor, not {type(self.former).__name__}; "
                    "call unet.set_default_attn_processor(), and choose another attention by `attention.use(...)`"
                )
            mixed = self._add(attn, mixed, m, query, query, query)
        layer = attn.to_out[0]
        return former + (layer(mixed) - layer(mixed.new_zeros(1, 1, mixed.shape[2]))) / attn.rescale_output_factor


def attend(
    attn: Attention, query: Tensor, key: Tensor, value: Tensor, backend: AttentionBackendName | None = None
) -> Tensor:
    """Multi-head scaled dot-product attention, (B, L, C) each; one row of keys serves the whole batch.

    Args:
        attn: tells the number of heads.
        query, key, value: (B, L, C), (1 or B, n, C), (1 or B, n, C).
        backend: one of diffusers' `dispatch_attention_fn`; None is torch's `scaled_dot_product_attention`.
    """
    q, k, v = (_rows(x, query).unflatten(2, (attn.heads, -1)).to(query.dtype) for x in (query, key, value))
    if backend is not None:
        return dispatch_attention_fn(q, k, v, backend=backend).flatten(2).to(query.dtype)
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def _rows(x: Tensor, like: Tensor) -> Tensor:
    return x.expand(len(like), -1, -1) if len(x) == 1 else x


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


class JointAttention:
    """Puts joint attention into a UNet and takes it out again, leaving the UNet exactly as it was.

    Example:
        attention = JointAttention(unet)
        with attention.injected():
            attention.attach(condition, size=(32, 24))
            ...the pass...
    """

    def __init__(self, unet: UNet2DConditionModel | ControlNetModel):
        self.unet = unet
        self.frame = Frame()
        self.processors: dict[str, JointAttnProcessor] = {}
        self.loaned: list[ConditionSlot] = []
        self.awake: dict[str, float] = {}  # LoRAs of the conditions that act now, and their weights

    def use(self, backend: str | None) -> None:
        """Choose the attention backend of all sites, for every pass from now on.

        Args:
            backend: a name of diffusers' attention backends ("xformers", "flash", "_native_math", ...); None or
                "native" is torch's scaled dot-product attention.

        Raises:
            InputError: the backend is unknown, or does not run here.
        """
        if backend in (None, "native"):
            self.frame.backend = None
            return
        if backend not in AttentionBackendName.__members__.values():
            known = ", ".join(b.value for b in AttentionBackendName)
            raise InputError(f"attention {backend!r} is unknown; choose one of {known}")
        chosen, probe = AttentionBackendName(backend), next(self.unet.parameters()).new_ones(1, 16, 1, 64)
        try:
            dispatch_attention_fn(probe, probe, probe, backend=chosen)
        except Exception as error:  # each library fails in its own way
            raise does_not_run(chosen, error) from error
        self.frame.backend = chosen

    @contextmanager
    def using(self, backend: str) -> Iterator[None]:
        """The attention of all sites while this is open, as of `use`; afterwards what it was before."""
        before = self.frame.backend
        self.use(backend)
        try:
            yield
        finally:
            self.frame.backend = before

    def inject(self) -> JointAttention:
        """Replace every site's processor, keeping the old one for `eject`; does nothing a second time."""
        if not self.processors:
            self.former = dict(self.unet.attn_processors)
            ours = {name: JointAttnProcessor(self.frame, former) for name, former in self.former.items()}
            self.unet.set_attn_processor(cast(Any, dict(ours)))
            self.processors = {name.removesuffix(".processor"): processor for name, processor in ours.items()}
        return self

    def eject(self) -> None:
        """Forget everything and give every site its former processor back."""
        self.clear()
        if self.processors:
            self.unet.set_attn_processor(self.former)
            self.processors = {}

    @contextmanager
    def injected(self) -> Iterator[JointAttention]:
        """Joint attention for as long as this is open; between passes the UNet is as its user left it."""
        already = bool(self.processors)
        self.clear()
        try:
            yield self.inject()
        finally:
            self.clear() if already else self.eject()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """While open, the UNet has its former processors, whether a pass is under way or not."""
        if self.processors:
            self.unet.set_attn_processor(dict(self.former))
        try:
            yield
        finally:
            if self.processors:
                ours = {f"{name}.processor": processor for name, processor in self.processors.items()}
                self.unet.set_attn_processor(cast(Any, ours))

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

    def attach(self, condition: Condition, size: tuple[int, int]) -> None:
        """Project a condition's tokens and reference features to keys and values at every site, once.

        Args:
            condition: what to remember.
            size: height and width of the latents of the pass.
        """
        self.frame.height, self.frame.width = size
        present, absent = [], []
        if condition.sites is not None and condition.tokens is not None:
            present += self._lend(condition.sites.project(condition.tokens), condition.region)
        if condition.sites is not None and condition.absent is not None:
            absent += self._lend(condition.sites.project(condition.absent), condition.region)
        if condition.reference is not None and condition.reference_sites is not None:
            present += self._lend(condition.reference_sites.project(condition.reference), condition.region)
        elif condition.reference is not None:
            present += self._lend(self._own(condition.reference), condition.region, condition.reference)
            silence = {name: torch.zeros_like(x) for name, x in condition.reference.items()}
            absent += self._lend(self._own(silence), condition.region, silence)
        self.loaned += [ConditionSlot(condition, True, present), ConditionSlot(condition, False, absent)]

    def _own(self, reference: dict[str, Tensor]) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Keys and values of reference features by each site's own projections."""
        for name, features in reference.items():
            attn = cast(Attention, self.unet.get_submodule(name))
            yield name, attn.to_k(features), attn.to_v(features)

    def _sizes(self) -> list[tuple[int, int]]:
        """The latent's size and its halvings, one for each level of the UNet."""
        sizes = [(self.frame.height, self.frame.width)]
        for _ in self.unet.down_blocks[1:]:
            sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
        return sizes

    def _lend(
        self, pairs: Iterable[tuple[str, Tensor, Tensor]], region: Tensor, joined: Mapping[str, Tensor] | None = None
    ) -> list[ConditionKV]:
        memories, places = [], {}
        for name, key, value in pairs:
            places = places or {size: RegionTokens.of(region, size, key.device) for size in self._sizes()}
            memory = ConditionKV(key, value, places, (joined or {}).get(name))
            self.processors[name].memories.append(memory)
            memories.append(memory)
        return memories

    def set_weights(self, step: int, steps: int, branches: Sequence[Sequence[str]], repeat: int) -> None:
        """Set each condition's weight for a step.

        Args:
            step, steps: where the pass is.
            branches: for each guidance branch in the batch, the kinds of condition that act in it.
            repeat: pictures per branch; the batch is branch-major.
        """
        self._wake([loan.condition for loan in self.loaned if loan.present], step, steps)
        for loan in self.loaned:
            weight = loan.condition.at(step, steps)
            speaks = [i for i, kinds in enumerate(branches) if (loan.condition.kind in kinds) == loan.present]
            silent = not speaks or (not isinstance(weight, Tensor) and weight == 0)
            whole = len(speaks) == len(branches)
            # a branch has what the one before has and more, so those in which a condition acts lie side by side
            part = EVERY_ROW if whole else slice(speaks[0] * repeat, (speaks[-1] + 1) * repeat) if speaks else None
            if not silent:
                loan.weigh(weight)
            for memory in loan.memories:
                memory.rows = None if silent else part

    def _wake(self, conditions: Sequence[Condition], step: int, steps: int) -> None:
        """Let the LoRAs of conditions take part where these act, and no others of theirs."""
        wanted: dict[str, float] = {}
        for c in conditions:
            weight = c.at(step, steps)
            if c.lora is not None and c.lora_weight and (isinstance(weight, Tensor) or weight):
                wanted[c.lora] = max(c.lora_weight, wanted.get(c.lora, 0.0))
        changes = {name: 0.0 for name in self.awake if name not in wanted}
        changes |= {name: weight for name, weight in wanted.items() if self.awake.get(name) != weight}
        for name, weight in changes.items():
            weigh_lora(self.unet, name, weight)
        self.awake = wanted
        if changes:
            self._renew_own()

    def _renew_own(self) -> None:
        """Project anew what the UNet's own projections made: they have changed."""
        self.renew_text()
        for name, processor in self.processors.items():
            for memory in (m for m in processor.memories if m.features is not None):
                ((_, memory.key, memory.value),) = self._own({name: cast(Tensor, memory.features)})

    def renew_text(self) -> None:
        """Project the text anew at the next step."""
        for processor in self.processors.values():
            processor.text = None

    def clear(self) -> None:
        """Drop all memories: the sites are plain again, and the LoRAs of conditions asleep."""
        self._wake((), 0, 1)
        self.loaned = []
        for processor in self.processors.values():
            processor.memories, processor.text = [], None
