"""The fields of a request as knobs of the page: ranges, choices and defaults are the service's own."""

from __future__ import annotations

from types import UnionType
from typing import Any, Literal, get_args, get_origin

import annotated_types
import gradio as gr

from twinset.serving.contract import JobRequest
from twinset.serving.web.session import MissingError
from twinset.serving.web.translations import words

KNOBS = (
    "num", "seed", "framing", "steps", "guidance", "identity_strength", "garment_strength", "pose_strength",
    "face_lora_strength", "candidates", "min_identity", "fusion_strength", "skin_tone_match", "repair", "economical",
    "way", "blend", "label_text", "label_corner",
)  # fmt: skip


def knob(name: str, most: float | None = None) -> Any:
    """A component for a field.

    Args:
        name: of a field of `JobRequest`.
        most: the service's own limit, where it is below the field's.
    """
    field, label = JobRequest.model_fields[name], words(name)
    kind: Any = field.annotation
    if kind is bool:
        return gr.Checkbox(field.default, label=label, min_width=150, elem_id=f"knob-{name}")
    if get_origin(kind) is Literal:
        choices = list(get_args(kind))
        return gr.Dropdown(choices, value=field.default, label=label, min_width=150, elem_id=f"knob-{name}")
    if kind is str:
        return gr.Textbox(field.default, label=label, min_width=150, elem_id=f"knob-{name}")
    if isinstance(kind, UnionType):  # a number that may be absent, which Gradio's own field for numbers turns into 0
        return gr.Textbox("", label=label, placeholder=words("own_choice"), min_width=150, elem_id=f"knob-{name}")
    low, high = _range(field.metadata)
    high, step = high if most is None else min(high, most), 1 if kind is int else 0.05
    return gr.Slider(low, high, field.default, step=step, label=label, min_width=150, elem_id=f"knob-{name}")


def _range(metadata: list[Any]) -> tuple[float, float]:
    """Least and most value of a number's field."""
    least = next(float(one.ge) for one in metadata if isinstance(one, annotated_types.Ge))  # type: ignore[arg-type]
    most = next(float(one.le) for one in metadata if isinstance(one, annotated_types.Le))  # type: ignore[arg-type]
    return least, most


def settings(values: dict[str, Any]) -> dict[str, Any]:
    """Fields of a request from the knobs' values; knobs that were left empty are left out.

    Raises:
        MissingError: there are letters where a number should be.
    """
    given = {name: value for name, value in values.items() if value is not None and value != ""}
    return {name: _number(name, value) if _is_optional(name) else value for name, value in given.items()}


def _is_optional(name: str) -> bool:
    """Whether a knob is a number that may be absent."""
    return isinstance(JobRequest.model_fields[name].annotation, UnionType)


def _number(name: str, text: str) -> float | int:
    try:
        value = float(text)
    except ValueError:
        raise MissingError("bad_number", knob=name, value=text) from None
    return int(value) if value.is_integer() else value
