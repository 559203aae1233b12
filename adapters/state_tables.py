"""Tables of keys and shapes: what a file must hold, compared before any of it is used."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from twinset.adapters.weights import LayoutError, Weights

Shapes = dict[str, tuple[int, ...]]
Module = TypeVar("Module", bound=nn.Module)
SHOWN = 5


def expect(state: Weights, shapes: Shapes, what: str) -> None:
    """Compare a file with its table.

    Args:
        state: key → tensor.
        shapes: key → shape that each tensor must have; no other keys may be there.
        what: the file in words, e.g. "FaceID file x.bin".

    Raises:
        LayoutError: names up to five each of missing keys, unexpected keys and wrong shapes.
    """
    wrong = {k: tuple(state[k].shape) for k in shapes if k in state and tuple(state[k].shape) != shapes[k]}
    faults = [
        _listed("missing", [k for k in shapes if k not in state]),
        _listed("unexpected", [k for k in state if k not in shapes]),
        _listed("wrong shape", [f"{k} {found} instead of {shapes[k]}" for k, found in wrong.items()]),
    ]
    if any(faults):
        found = "; ".join(fault for fault in faults if fault)
        raise LayoutError(f"{what}: {found}; use a base model of the family it was trained for, or download it again")


def _listed(fault: str, items: list[str]) -> str:
    """E.g. "missing (7): a, b, c, d, e …"; empty without items."""
    more = " …" if len(items) > SHOWN else ""
    return f"{fault} ({len(items)}): {', '.join(items[:SHOWN])}{more}" if items else ""


def part(state: Weights, prefix: str) -> Weights:
    """The tensors under a prefix such as "image_proj.", without it."""
    return {key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)}


def shapes_of(module: nn.Module) -> Shapes:
    """Keys and shapes of a module's own state."""
    return {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()}


def prefixed(prefix: str, shapes: Shapes) -> Shapes:
    """The table with a prefix before every key."""
    return {prefix + key: shape for key, shape in shapes.items()}


def filled(module: Module, state: Weights) -> Module:
    """Give a module made on the meta device its weights, in the file's dtype, in memory of their own.

    Returns:
        The module, in evaluation mode and without gradients.
    """
    own = {key: tensor.clone(memory_format=torch.contiguous_format) for key, tensor in state.items()}
    module.load_state_dict(own, strict=True, assign=True)
    return module.eval().requires_grad_(False)
