"""Fused backward: every weight is updated, and its gradient freed, while the backward pass still goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor


class FusedBackward(torch.optim.Optimizer):
    """An optimiser that steps each weight by itself as soon as its gradient is there (LOMO, Lv et al. 2023).

    At no time is there more than one weight's gradient, which is most of what a training needs beside weights and
    activations where many weights are trained. It follows that gradients can be neither accumulated over batches nor
    clipped together: each weight's own norm is clipped.

    Args:
        groups: parameter groups; their `lr` may be changed between steps.
        optimiser_of: groups → the optimiser that does it, made once for each weight.
        clip: largest norm of one weight's gradient.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        optimiser_of: Callable[[list[dict[str, Any]]], torch.optim.Optimizer],
        clip: float,
    ):
        optimisers = [(group, [optimiser_of([{**group, "params": [p]}]) for p in group["params"]]) for group in groups]
        defaults = optimisers[0][1][0].defaults
        super().__init__([{**group, "lr": group.get("lr", defaults["lr"])} for group in groups], {})
        self.clip = clip
        self.parts = [parts for _, parts in optimisers]
        self.hooks = [
            parameter.register_post_accumulate_grad_hook(self._learner(number, part))
            for number, parts in enumerate(self.parts)
            for parameter, part in zip(groups[number]["params"], parts, strict=True)
        ]

    def _learner(self, number: int, part: torch.optim.Optimizer) -> Callable[[Tensor], None]:
        def learn(weight: Tensor) -> None:
            torch.nn.utils.clip_grad_norm_([weight], self.clip)
            part.param_groups[0]["lr"] = self.param_groups[number]["lr"]
            part.step()
            weight.grad = None

        return learn

    def _all(self) -> Iterator[torch.optim.Optimizer]:
        for parts in self.parts:
            yield from parts

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Nothing: the backward pass did it."""

    def state_dict(self) -> dict[str, Any]:
        """The states of the optimisers of all weights, in the groups' order."""
        return {"parts": [part.state_dict() for part in self._all()]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave.

        Raises:
            ValueError: it is of other weights, or of an optimiser that was not fused.
        """
        parts, states = list(self._all()), state_dict.get("parts", [])
        if len(parts) != len(states):
            raise ValueError(f"{len(states)} weights' states for {len(parts)} weights: train on as the run was begun")
        for part, state in zip(parts, states, strict=True):
            part.load_state_dict(state)

    def close(self) -> None:
        """Let the weights go: later backward passes leave their gradients."""
        for hook in self.hooks:
            hook.remove()
