"""Twinset: a person's face and a garment in one picture, from one denoising pass.

```python
from pathlib import Path
from twinset import JointPipeline, Request, generate

pipe = JointPipeline.from_pretrained("studio")
records = generate(pipe, Request(prompt="short hair, red dress, beach", selfies=["me.png"], seed=7), Path("out"))
```
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from twinset.common.settings import silence_reports

silence_reports()

if TYPE_CHECKING:
    from twinset.adapters.condition import Condition, Layout
    from twinset.errors import InputError
    from twinset.pipelines.generate import generate
    from twinset.pipelines.joint import JointPipeline
    from twinset.pipelines.record import Record
    from twinset.pipelines.replay import replay
    from twinset.pipelines.request import Request

__all__ = ["Condition", "InputError", "JointPipeline", "Layout", "Record", "Request", "generate", "replay"]

_HOMES = {
    "Condition": "twinset.adapters.condition",
    "InputError": "twinset.errors",
    "JointPipeline": "twinset.pipelines.joint",
    "Layout": "twinset.adapters.condition",
    "Record": "twinset.pipelines.record",
    "Request": "twinset.pipelines.request",
    "generate": "twinset.pipelines.generate",
    "replay": "twinset.pipelines.replay",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that `import twinset` does not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'twinset' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
