"""ControlNets in the pass: what each sees is embedded once, and each runs no more often than needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, cast

import torch
from diffusers import ControlNetModel, ControlNetUnionModel, UNet2DConditionModel
from torch import Tensor
from torch.nn import functional as F

from twinset.adapters.condition import Condition, TextConditioning, acts
from twinset.models.region_controlnet import embedded_conditions
from twinset.pipelines.denoising.economy import EXACT, Economy
from twinset.pipelines.denoising.guidance import Branch


@dataclass(frozen=True)
class Residuals:
    """What ControlNets add to the UNet: `down` at its skip connections, `mid` in its middle."""

    down: list[Tensor]
    mid: Tensor

    def scaled(self, scale: float | Tensor) -> Residuals:
        """Multiplied by a conditioning scale."""
        return Residuals([x * scale for x in self.down], self.mid * scale)

    def within(self, region: Tensor) -> Residuals:
        """Only where a mask (1, 1, H, W) is, brought to the size of each of them."""

        def masked(x: Tensor) -> Tensor:
            return x * F.adaptive_avg_pool2d(region.to(x), (x.shape[2], x.shape[3]))

        return Residuals([masked(x) for x in self.down], masked(self.mid))

    def repeat(self, branches: int) -> Residuals:
        """One branch's, for several branches."""
        return Residuals([x.repeat(branches, 1, 1, 1) for x in self.down], self.mid.repeat(branches, 1, 1, 1))

    @staticmethod
    def sum(parts: Sequence[Residuals]) -> Residuals | None:
        """All together; None where there are none."""
        if not parts:
            return None
        down = [reduce(torch.add, rows) for rows in zip(*(p.down for p in parts), strict=True)]
        return Residuals(down, reduce(torch.add, [p.mid for p in parts]))


def added(words: TextConditioning, net: UNet2DConditionModel | ControlNetModel) -> dict[str, Any] | None:
    """The `added_cond_kwargs` of a network: pooled text and sizes; pictures for the UNet alone."""
    pictures = (
        {"image_embeds": list(words.pictures)} if words.pictures and isinstance(net, UNet2DConditionModel) else {}
    )
    return {**words.added, **pictures} or None


def evaluate_controlnet(
    net: ControlNetModel, latents: Tensor, timestep: Tensor, words: TextConditioning, condition: Any, **more: Any
) -> Residuals:
    """One evaluation of a ControlNet.

    Args:
        net: the ControlNet.
        latents: (B, C, h, w) noisy latents.
        timestep: () or (B,).
        words: what it reads, B rows.
        condition: picture or embedding, 1 or B rows; a list of them for a Union net.
        more: further arguments of the net.
    """
    extra = added(words, net)
    down, mid = net(latents, timestep, words.states, condition, added_cond_kwargs=extra, return_dict=False, **more)
    return Residuals(list(down), mid)


@dataclass
class Control:
    """A ControlNet and its conditioning picture.

    Attributes:
        net: the ControlNet.
        pictures: (1 or N, 3, H, W) in [0, 1], one, or for a Union net one for each of `types`; embedded at the net's
            first evaluation, and only then.
        painted: in place of pictures, embeddings made beforehand: a function from a `Branch` to (1 or N, C, h, w).
        scale: conditioning scale; of a Union net one for each of `types`.
        start, end: part of the pass in which it runs, see `twinset.adapters.condition.acts`.
        reads: a condition whose tokens it reads in place of the prompt's states (InstantID's IdentityNet).
        types: of a Union net, the numbers of its control types (0: openpose, 5: segment).
        region: (1, 1, H, W) in [0, 1], where the net is heard; None for everywhere.
    """

    net: ControlNetModel
    pictures: tuple[Tensor, ...] = ()
    painted: Callable[[Branch], Tensor] | None = None
    scale: float | tuple[float, ...] = 1.0
    start: float = 0.0
    end: float = 1.0
    reads: Condition | None = None
    types: tuple[int, ...] = (0,)
    region: Tensor | None = None
    embedded: list[Tensor] = field(default_factory=list, init=False)
    last: tuple[tuple[Branch, ...], Residuals] | None = field(default=None, init=False)

    def runs(self, step: int, steps: int) -> bool:
        """Whether it has any effect at a step of the pass."""
        return any(self._scales) and acts(self.start, self.end, step, steps)

    def at(
        self,
        step: int,
        steps: int,
        noisy: Tensor,
        timestep: Tensor,
        text: TextConditioning,
        branches: tuple[Branch, ...],
        economy: Economy = EXACT,
    ) -> Residuals:
        """Its residuals at a step, scaled; how much of them is computed anew depends on `economy`.

        Args:
            step, steps: where the pass is.
            noisy: (b·N, C, h, w) latents, branch-major.
            timestep: ().
            text: b·N rows.
            branches: the b branches.
            economy: what may be reused.
        """
        if step % economy.control_every and self.last and self.last[0] == branches:
            return self.last[1]
        if economy.shared_control:
            count = len(noisy) // len(branches)
            said = self._ask(noisy[-count:], timestep, text.last(count), branches[-1:]).repeat(len(branches))
        else:
            said = self._ask(noisy, timestep, text, branches)
        if not isinstance(self.net, ControlNetUnionModel):  # which scales by itself
            said = said.scaled(self._scales[0])
        self.last = branches, said if self.region is None else said.within(self.region)
        return self.last[1]

    @property
    def _scales(self) -> list[float]:
        return list(self.scale) if isinstance(self.scale, tuple) else [self.scale] * len(self.types)

    def _ask(self, noisy: Tensor, timestep: Tensor, text: TextConditioning, branches: tuple[Branch, ...]) -> Residuals:
        count, more = len(noisy) // len(branches), self._options(noisy)
        text = text if self.reads is None else TextConditioning(self._tokens(self.reads, branches, count), text.added)
        if self.painted is not None:
            self.embedded = [torch.cat([self.painted(b).expand(count, -1, -1, -1) for b in branches])]
        if not self.embedded:
            with self._embedding(count):
                pictures = self._rows(self.pictures, len(noisy))
                return evaluate_controlnet(self.net, noisy, timestep, text, pictures, **more)
        with embedded_conditions(self.net):
            return evaluate_controlnet(self.net, noisy, timestep, text, self._rows(self.embedded, len(noisy)), **more)

    def _rows(self, given: Sequence[Tensor], batch: int) -> Any:
        """What the net reads, a row for each of the batch; a list of them for a Union net."""
        rows = [x.expand(batch, -1, -1, -1) if len(x) == 1 else x.repeat(batch // len(x), 1, 1, 1) for x in given]
        return rows if isinstance(self.net, ControlNetUnionModel) else rows[0]

    def _options(self, noisy: Tensor) -> dict[str, Any]:
        """A Union net is told which kinds of picture it sees, and how much each of them counts."""
        if not isinstance(self.net, ControlNetUnionModel):
            return {}
        kinds = noisy.new_zeros(len(noisy), self.net.config["num_control_type"])
        kinds[:, list(self.types)] = 1
        return {"control_type": kinds, "control_type_idx": list(self.types), "conditioning_scale": self._scales}

    @contextmanager
    def _embedding(self, count: int):
        """Keeps what the net makes of its pictures, the rows of one branch."""
        made: list[Tensor] = []

        def keep(_module: object, _inputs: object, output: Tensor) -> None:
            made.append(output)

        hook = self.net.controlnet_cond_embedding.register_forward_hook(keep)
        try:
            yield
        finally:
            hook.remove()
        single = all(len(picture) == 1 for picture in self.pictures)
        self.embedded = [output[: 1 if single else count] for output in made]

    @staticmethod
    def _tokens(condition: Condition, branches: tuple[Branch, ...], count: int) -> Tensor:
        """The condition's tokens where it acts, those of its absence elsewhere."""
        tokens = cast(Tensor, condition.tokens)
        absent = torch.zeros_like(tokens) if condition.absent is None else condition.absent
        chosen = [tokens if condition.kind in b.kinds else absent for b in branches]
        return torch.cat([x.expand(count, -1, -1) for x in chosen])
