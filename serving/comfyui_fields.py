"""The options of an order as ComfyUI's inputs, written for the node pack, which imports nothing of Twinset.

    python -m twinset.serving.comfyui_fields

writes `comfyui/request_fields.json` anew after an option was added; a test tells when that is due.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from twinset.compliance.consent import Purpose
from twinset.figure.labels import ALL_KINDS
from twinset.figure.poses import NAMED
from twinset.pipelines.loading.pasted_settings import LARGEST_SEED
from twinset.pipelines.options import choices, limits, option_of
from twinset.serving.contract import JobRequest

FILE = Path(__file__).resolve().parents[1] / "comfyui" / "request_fields.json"
OWN = ("prompt", "seed", "selfies", "garments", "photo", "pose", "consent", "webhook")
"""Fields that the nodes have inputs of their own for; ComfyUI waits for a job's end itself."""
LONGEST_SECONDS = 86_400.0
"""ComfyUI's numbers must end somewhere."""


def node_inputs(model: type[BaseModel] = JobRequest) -> dict[str, Any]:
    """All that the node pack knows of the service: inputs by use, and the choices that it offers.

    Returns:
        `options`: field → [type or choices, ComfyUI's settings]; `use`: field → "scene", "photo" or "both"; `absent`:
        field → the value that stands for nothing, since ComfyUI's inputs cannot be empty; `kinds`, `poses`,
        `purposes`, `largest_seed`, `most_selfies`, `most_garments`.
    """
    fields = {name: field for name, field in model.model_fields.items() if name not in OWN}
    return {
        "options": {name: node_input(field) for name, field in fields.items()},
        "use": {name: option_of(field).use for name, field in fields.items()},
        "absent": {name: absent_value(field) for name, field in fields.items() if field.default is None},
        "kinds": list(ALL_KINDS),
        "poses": list(NAMED),
        "purposes": list(get_args(Purpose)),
        "largest_seed": LARGEST_SEED,
        "most_selfies": _longest(model.model_fields["selfies"]),
        "most_garments": _longest(model.model_fields["garments"]),
    }


def node_input(field: FieldInfo) -> tuple[Any, dict[str, Any]]:
    """ComfyUI's type, or the choices, of a field, and its settings."""
    nothing = absent_value(field) if field.default is None else ""
    unset = f" {nothing:g} leaves it open." if nothing != "" else ""
    common = {"tooltip": f"{field.description}{unset}", "advanced": option_of(field).advanced}
    if words := choices(field.annotation):
        unchosen = [""] if field.default is None else []
        return [*unchosen, *words], common | {"default": field.default or ""}
    kinds = (field.annotation, *get_args(field.annotation))
    if bool in kinds:
        return "BOOLEAN", common | {"default": field.default}
    if int in kinds or float in kinds:
        return ("INT" if int in kinds else "FLOAT"), common | _numbers(field, int in kinds)
    return "STRING", common | {"default": field.default or ""}


def absent_value(field: FieldInfo) -> Any:
    """A value below the field's least one, or an empty text."""
    least, _ = limits(field)
    if least is None:
        return ""
    return int(least) - 1 if int in get_args(field.annotation) else min(-1.0, least)


def _numbers(field: FieldInfo, whole: bool) -> dict[str, Any]:
    """Range, step and default of a number; where it may be absent, the range begins with what stands for that."""
    least, most = limits(field)
    kind: Any = int if whole else float
    nothing = absent_value(field) if field.default is None else None
    return {
        "default": field.default if nothing is None else nothing,
        "min": kind(least or 0) if nothing is None else nothing,
        "max": kind(LONGEST_SECONDS if most is None else most),
        "step": 1 if whole else option_of(field).step,
    }


def _longest(field: FieldInfo) -> int:
    return next(int(item.max_length) for item in field.metadata if hasattr(item, "max_length"))


def main() -> None:
    """Write the file."""
    FILE.write_text(json.dumps(node_inputs(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
