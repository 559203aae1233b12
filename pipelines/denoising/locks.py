"""One pass at a time: a pass, and a request's LoRAs, change the networks of their pipeline while they last."""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar, cast

from torch import nn

_TURNS: weakref.WeakKeyDictionary[nn.Module, threading.RLock] = weakref.WeakKeyDictionary()  # pyright: ignore
_MAKING = threading.Lock()
Call = TypeVar("Call", bound=Callable[..., Any])


def unet_lock(unet: nn.Module) -> Any:
    """The lock of a UNet, which several pipelines may share; a thread that holds it may take it again."""
    with _MAKING:
        return _TURNS.setdefault(unet, threading.RLock())


def locked(call: Call) -> Call:
    """Decorates what a pipeline does with its networks: calls from several threads are made one after another."""

    @functools.wraps(call)
    def waiting(pipe: Any, *given: Any, **named: Any) -> Any:
        with unet_lock(pipe.unet):
            return call(pipe, *given, **named)

    return cast(Call, waiting)
