"""How a field of `Request` is offered: one declaration for command line, REST, page and ComfyUI.

A field's annotation, range, default and description are pydantic's own and hold everywhere. What pydantic has no place
for stands in an `Option` beside them; whoever offers fields reads it with `option_of`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

Use = Literal["scene", "photo", "both"]
"""What a field is for: drawing a scene, changing a photo, or both."""
Blend = Literal["soft", "poisson"]
"""How what is drawn anew is laid into a photo, see `twinset.pipelines.denoising.blending.blend`."""


@dataclass(frozen=True)
class Option:
    """How one field is offered.

    Attributes:
        label: On the page, in English and Chinese; None where the page has a component of its own for it, or none.
        flag: On the command line, where it is not the field's name: "--selfie" of `selfies`. Several are separated by
            spaces.
        use: "scene" for `twinset generate` alone, "photo" for `twinset tryon` alone.
        advanced: Folded away where space is short.
        operator: Set by whoever runs a service, not by its clients.
        step: Between two values of a number that is chosen with a slider.
    """

    label: tuple[str, str] | None = None
    flag: str | None = None
    use: Use = "both"
    advanced: bool = False
    operator: bool = False
    step: float = 0.05


def option_of(field: FieldInfo) -> Option:
    """The `Option` of a field; the usual one where it has none."""
    return next((item for item in field.metadata if isinstance(item, Option)), Option())


def fields_for(model: type[BaseModel], use: Use) -> Iterator[tuple[str, FieldInfo]]:
    """Names and fields of a model that are for a use, in their order."""
    for name, field in model.model_fields.items():
        if option_of(field).use in ("both", use):
            yield name, field


def limits(field: FieldInfo) -> tuple[float | None, float | None]:
    """Least and greatest value of a number; None where there is no limit."""
    least = next((float(item.ge) for item in field.metadata if isinstance(item, annotated_types.Ge)), None)  # type: ignore[arg-type]
    most = next((float(item.le) for item in field.metadata if isinstance(item, annotated_types.Le)), None)  # type: ignore[arg-type]
    return least, most


def choices(annotation: Any) -> tuple[str, ...]:
    """The words of a `Literal`, which may be one that can be absent; empty for every other type."""
    literals = [part for part in (annotation, *get_args(annotation)) if get_origin(part) is Literal]
    words = get_args(literals[0]) if literals else ()
    return words if all(isinstance(word, str) for word in words) else ()
