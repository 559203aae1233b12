"""Economical options beyond exactness: each makes a pass cheaper and its picture a little different."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from diffusers import UNet2DConditionModel
from torch import nn


@dataclass(frozen=True)
class Economy:
    """What may be reused although it would come out a little different; the defaults reuse nothing.

    `benchmarks/speed/run.py` states cost and error of each.

    Attributes:
        shared_control: ControlNets run for the last branch of guidance alone (prompt and all conditions), and their
            residuals serve all branches.
        control_every: ControlNets run at every n-th step; in between their last residuals are reused.
        deep_every: the UNet's deep blocks (all but the outermost) run at every n-th step; in between their last
            outputs are reused (DeepCache, Ma 2024, arXiv:2312.00858).
    """

    shared_control: bool = False
    control_every: int = 1
    deep_every: int = 1

    def __post_init__(self) -> None:
        for name in ("control_every", "deep_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: give 1 (every step) or more")


EXACT = Economy()
LEAN = Economy(control_every=4, deep_every=2)
"""The economical mode: about the cost of plain Stable Diffusion."""


@dataclass
class DeepCache:
    """Outputs of a UNet's deep blocks; computed and stored while `fresh`, else taken from the store."""

    every: int
    fresh: bool = True
    kept: dict[nn.Module, Any] = field(default_factory=dict)

    def begin(self, step: int, other: bool) -> None:
        """At the start of a step: compute everything anew if the step is due or the batch has changed."""
        self.fresh = other or step % self.every == 0

    def around(self, block: nn.Module) -> Callable[..., Any]:
        """The block's forward, that runs only while fresh."""
        forward = block.forward

        def kept_forward(*args: Any, **kwargs: Any) -> Any:
            if self.fresh or block not in self.kept:
                self.kept[block] = forward(*args, **kwargs)
            return self.kept[block]

        return kept_forward


@contextmanager
def deep_cache(unet: UNet2DConditionModel, every: int) -> Iterator[DeepCache]:
    """While open, the UNet's blocks below the outermost run at every n-th step; with 1 the UNet is left alone."""
    cache = DeepCache(every)
    middle = [unet.mid_block] if unet.mid_block else []
    deep: list[nn.Module] = [*unet.down_blocks[1:], *middle, *unet.up_blocks[:-1]] if every > 1 else []
    before = {block: block.__dict__.get("forward") for block in deep}  # offloading puts a forward of its own there
    for block in deep:
        block.forward = cache.around(block)
    try:
        yield cache
    finally:
        for block, own in before.items():
            if own is None:
                del block.forward
            else:
                block.forward = own
