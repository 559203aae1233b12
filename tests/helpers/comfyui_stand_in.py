"""As much of ComfyUI as the node pack meets: its loader, its modules, its checks of inputs, its order of execution."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
PACK = ROOT / "comfyui"


class InterruptProcessingException(BaseException):
    """ComfyUI's is no `Exception` either."""


def load_pack() -> Any:
    """The pack as ComfyUI loads a folder of `custom_nodes`: by its path, which is its name."""
    name = str(PACK).replace(".", "_x_")
    spec = importlib.util.spec_from_file_location(name, PACK / "__init__.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class Host:
    """Modules that stand in for ComfyUI's.

    Attributes:
        interrupted: set by a test as by the user's button.
        bars: what each progress bar was told, (done, total).
        output: ComfyUI's output folder.
    """

    def __init__(self, output: Path, patch: pytest.MonkeyPatch):
        self.output, self.interrupted = output, False
        self.bars: list[list[tuple[int, int]]] = []
        told: dict[str, dict[str, Any]] = {
            "comfy": {},
            "comfy.utils": {"ProgressBar": self._bar},
            "comfy.model_management": {"throw_exception_if_processing_interrupted": self._throw},
            "folder_paths": {"get_output_directory": lambda: str(output), "get_save_image_path": self._place},
        }
        for name, members in told.items():
            module = ModuleType(name)
            vars(module).update(members)
            patch.setitem(sys.modules, name, module)

    def _bar(self, total: int) -> Any:
        self.bars.append([])
        told = self.bars[-1]
        return SimpleNamespace(update_absolute=lambda done, total: told.append((done, total)))

    def _throw(self) -> None:
        if self.interrupted:
            self.interrupted = False
            raise InterruptProcessingException

    def _place(self, prefix: str, output: str, width: int, height: int) -> tuple[str, str, int, str, str]:
        inside, name = os.path.split(prefix.replace("%width%", str(width)).replace("%height%", str(height)))
        folder = Path(output) / inside
        folder.mkdir(parents=True, exist_ok=True)
        return str(folder), name, len(list(folder.glob(f"{name}_*"))) + 1, inside, prefix


def image_of(path: Path) -> torch.Tensor:
    """A file as Load Image gives it: float32 (1, height, width, 3)."""
    return torch.from_numpy(np.asarray(Image.open(path).convert("RGB")).astype(np.float32) / 255.0)[None]


class LoadImage:
    """ComfyUI's own, of the examples."""

    RETURN_TYPES = ("IMAGE", "MASK")
    FUNCTION = "load_image"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"image": (["selfie.png", "garment.png", "photo.png"], {"image_upload": True})}}

    def load_image(self, image: str) -> tuple[Any, None]:
        return image_of(ROOT / "examples" / image.replace("photo", "pose")), None


def inputs_of(node: Any) -> dict[str, Any]:
    """All inputs of a node."""
    told = node.INPUT_TYPES()
    return {**told["required"], **told.get("optional", {})}


def is_widget(given: Any) -> bool:
    """Whether an input is set in the node itself."""
    return isinstance(given[0], list) or given[0] in ("INT", "FLOAT", "STRING", "BOOLEAN")


def fault_of(given: Any, value: Any) -> str | None:
    """What ComfyUI's check says of a value; None where it fits."""
    kind, told = given
    if isinstance(kind, list):
        return None if value in kind else f"{value!r} is not among the choices"
    types = {"INT": int, "FLOAT": (int, float), "STRING": str, "BOOLEAN": bool}
    if not isinstance(value, types[kind]) or (kind in ("INT", "FLOAT") and isinstance(value, bool)):
        return f"{value!r} is no {kind}"
    small, large = value < told.get("min", value), value > told.get("max", value)
    return f"{value!r} is out of range" if small or large else None


def faults_of(workflow: dict[str, Any], nodes: dict[str, Any]) -> list[str]:
    """What is wrong with a workflow in the API's format."""
    faults = []
    for name, node in workflow.items():
        given = inputs_of(nodes[node["class_type"]])
        needed = nodes[node["class_type"]].INPUT_TYPES()["required"]
        faults += [f"{name}: {missing} is missing" for missing in set(needed) - set(node["inputs"])]
        for field, value in node["inputs"].items():
            if field not in given:
                faults.append(f"{name}: there is no {field}")
            elif isinstance(value, list):
                offered = nodes[workflow[value[0]]["class_type"]].RETURN_TYPES[value[1]]
                faults += [] if offered == given[field][0] else [f"{name}.{field}: {offered} does not fit"]
            else:
                faults += [f"{name}.{field}: {fault}"] if (fault := fault_of(given[field], value)) else []
    return faults


def run_workflow(workflow: dict[str, Any], nodes: dict[str, Any]) -> dict[str, Any]:
    """Execute a workflow in the API's format; the output of each node."""
    done: dict[str, Any] = {}

    def output(name: str) -> Any:
        if name not in done:
            node = nodes[workflow[name]["class_type"]]
            given = {
                field: output(value[0])[value[1]] if isinstance(value, list) else value
                for field, value in workflow[name]["inputs"].items()
            }
            done[name] = getattr(node(), node.FUNCTION)(**given)
        return done[name]

    for name in workflow:
        output(name)
    return done


def to_api(saved: dict[str, Any], nodes: dict[str, Any]) -> dict[str, Any]:
    """A workflow as the browser saves it, in the API's format."""
    source = {link[0]: [str(link[1]), link[2]] for link in saved["links"]}
    workflow = {}
    for node in saved["nodes"]:
        values, inputs = iter(node["widgets_values"]), {}
        for name, given in inputs_of(nodes[node["type"]]).items():
            if is_widget(given):
                inputs[name] = next(values)
                if given[1].get("control_after_generate") or given[1].get("image_upload"):
                    next(values)
        inputs |= {slot["name"]: source[slot["link"]] for slot in node["inputs"] if slot["link"] is not None}
        assert next(values, None) is None, f"{node['type']}: more values than widgets"
        workflow[str(node["id"])] = {"class_type": node["type"], "inputs": inputs, "_meta": {"title": node["title"]}}
    return workflow


def read_workflow(folder: str, name: str) -> dict[str, Any]:
    """A workflow of the pack."""
    return json.loads((PACK / folder / f"{name}.json").read_text(encoding="utf-8"))
