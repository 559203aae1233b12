"""The fields of a request as knobs of the page: ranges, choices and defaults are the service's own."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Any, get_args

import gradio as gr

from twinset.pipelines.options import choices, limits, option_of
from twinset.serving.contract import JobRequest
from twinset.serving.web.session import MissingError
from twinset.serving.web.translations import words

KNOBS = tuple(name for name, field in JobRequest.model_fields.items() if option_of(field).label)
"""Fields that have a control of the ordinary kind; pictures, pose and consent have their own."""


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
    if chosen := choices(kind):
        unchosen = [(words("own_choice"), "")] if field.default is None else []
        offered: list[Any] = [*unchosen, *chosen]
        return gr.Dropdown(offered, value=field.default or "", label=label, min_width=150, elem_id=f"knob-{name}")
    if kind is str:
        return gr.Textbox(field.default, label=label, min_width=150, elem_id=f"knob-{name}")
    if isinstance(kind, UnionType):  # a number that may be absent, which Gradio's own field for numbers turns into 0
        return gr.Textbox("", label=label, placeholder=words("own_choice"), min_width=150, elem_id=f"knob-{name}")
    low, high = (float(limit or 0) for limit in limits(field))
    high, step = high if most is None else min(high, most), 1 if kind is int else option_of(field).step
    return gr.Slider(low, high, field.default, step=step, label=label, min_width=150, elem_id=f"knob-{name}")


def picture_field(name: str, **options: Any) -> gr.Image:
    """A component for a picture of the user's, whose file only the service opens: it decodes apart, and knows HEIC.

    Args:
        name: of its label.
        options: of Gradio's.
    """
    field = gr.Image(label=words(name), type="filepath", image_mode=None, **options)
    field.preprocess = _path_of  # Gradio's own opens the file; a class of its own would make Gradio write a stub here
    return field


def _path_of(payload: Any) -> str | None:
    """Where Gradio put a picture."""
    return None if payload is None else payload.path


def request_fields(values: dict[str, Any]) -> dict[str, Any]:
    """Fields of a request from the knobs' values; knobs that were left empty are left out.

    Raises:
        MissingError: there are letters where a number should be.
    """
    given = {name: value for name, value in values.items() if value is not None and value != ""}
    return {name: _number(name, value) if _is_optional_number(name) else value for name, value in given.items()}


def _is_optional_number(name: str) -> bool:
    """Whether a knob is a number that may be absent."""
    kinds = get_args(JobRequest.model_fields[name].annotation)
    return NoneType in kinds and (int in kinds or float in kinds)


def _number(name: str, text: str) -> float | int:
    try:
        value = float(text)
    except ValueError:
        raise MissingError("bad_number", knob=name, value=text) from None
    return int(value) if value.is_integer() else value
