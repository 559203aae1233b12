"""LoRA files of SD1.5 and SDXL in the public layouts, read strictly.

A file's keys name a layer and a part of its low-rank addition `W + alpha / rank · up · down` (Hu et al. 2021, "LoRA",
section 4.1), or of what LyCORIS makes of it (see `changes`). Three spellings are in use: diffusers
(`unet.….lora_A.weight`, older `.lora.down.weight` and `.processor.to_q_lora.down.weight`), PEFT (`base_model.model.…`)
and kohya (`lora_unet_…`, SDXL's in the block names of Stability's own UNet). Here a file becomes pairs by layer;
`install` finds the layers in a base model.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from twinset.adapters.lora.changes import CHANGE_PARTS, WeightChange, algorithm_of
from twinset.adapters.lora.foreign import refuse_foreign
from twinset.adapters.state_tables import SHOWN
from twinset.adapters.weights import EIGHT_BITS, LayoutError, Weights, open_weights

LoraForm = Literal["diffusers", "peft", "kohya"]
RANK_LIMIT = 1024
ALPHA_LIMIT = 1e6
CONFIG_LIMIT = 2**20  # bytes of an adapter_config.json
COMPONENTS = ("unet", "text_encoder", "text_encoder_2")
PREFIXES: dict[str, tuple[LoraForm, str]] = {
    "lora_unet_": ("kohya", "unet"),
    "lora_te_": ("kohya", "text_encoder"),
    "lora_te1_": ("kohya", "text_encoder"),
    "lora_te2_": ("kohya", "text_encoder_2"),
    "base_model.model.": ("peft", "unet"),
    "lycoris_": ("kohya", "unet"),  # SimpleTuner
    "diffusion_model.": ("diffusers", "unet"),  # ComfyUI's own trainer
    **{f"{component}.": ("diffusers", component) for component in COMPONENTS},
}
PARTS = {
    ".lora_A.weight": "down", ".lora.down.weight": "down", ".lora_linear_layer.down.weight": "down",
    "_lora.down.weight": "down", ".lora_down.weight": "down",
    ".lora_B.weight": "up", ".lora.up.weight": "up", ".lora_linear_layer.up.weight": "up",
    "_lora.up.weight": "up", ".lora_up.weight": "up",
    ".lora_magnitude_vector.weight": "magnitude", ".lora_magnitude_vector": "magnitude", ".dora_scale": "magnitude",
    ".alpha": "alpha", **CHANGE_PARTS,
}  # fmt: skip
EMBEDDING = re.compile(r"bundle_emb\.([^.]{1,80})\.")
"""Of A1111: an embedding in the same file."""


@dataclass(frozen=True)
class LowRank:
    """One layer's addition, alpha / rank · up · down.

    Attributes:
        down: (rank, in) of a linear layer, (rank, in, height, width) of a convolution.
        up: (out, rank), or (out, rank, 1, 1).
        alpha: without one in the file it is the rank, so that the addition is up · down.
        magnitude: (out,), the length that every row of the sum is brought to (DoRA, Liu et al. 2024); None for LoRA.
    """

    down: Tensor
    up: Tensor
    alpha: float
    magnitude: Tensor | None = None

    @property
    def rank(self) -> int:
        """How many directions the addition has."""
        return self.down.shape[0]

    @property
    def kind(self) -> str:
        """What it is called."""
        return "LoRA" if self.magnitude is None else "DoRA"


Layers = dict[str, LowRank | WeightChange]


@dataclass(frozen=True)
class LoraFile:
    """A LoRA file that was read and found sound; whether it fits a base model shows when it is installed.

    Attributes:
        path: where it was read from.
        form: the spelling of its keys.
        components: "unet", "text_encoder" or "text_encoder_2" → layer as the file spells it → addition.
        metadata: the strings of the safetensors header (`ss_…` of kohya, `modelspec.…`), as they are.
        embeddings: words of embeddings that the file brings along; they are left aside.
    """

    path: Path
    form: LoraForm
    components: dict[str, Layers]
    metadata: dict[str, str]
    embeddings: tuple[str, ...] = ()

    @property
    def rank(self) -> int:
        """The largest rank of any layer."""
        return max(low.rank for layers in self.components.values() for low in layers.values())


# --- reading ----------------------------------------------------------------------------------------------------


def read_lora(path: str | Path) -> LoraFile:
    """Read a LoRA file in diffusers', PEFT's or kohya's form.

    `adapter_config.json` beside a PEFT file and diffusers' own entry in the safetensors header give the alphas;
    without them a file has none. PEFT's keys do not say which model they are of: those of a text model are taken for
    `text_encoder`, all others for `unet`.

    Raises:
        LayoutError: the file is damaged or unsafe (see `read_weights`), is not a LoRA or one of another model, holds
            keys that are not of a LoRA, half a pair, shapes that do not pair, a rank over 1,024, NaN or infinity.
    """
    path = Path(path)
    weights = open_weights(path)  # mapped: nothing is copied before ranks and shapes are known to be sound
    refuse_foreign(weights, path)
    words = tuple(dict.fromkeys(match[1] for key in weights if (match := EMBEDDING.match(key))))
    form, found = _sorted({key: tensor for key, tensor in weights.items() if not EMBEDDING.match(key)}, path)
    metadata = _metadata(path)
    configs = _configs(form, path, metadata)
    components: dict[str, Layers] = {component: {} for component in COMPONENTS}
    for (component, layer), parts in found.items():
        _check_parts(parts, form, f"{path}: layer {layer!r} of the {component}")
    for (component, layer), parts in found.items():
        own = {part: finite_copy(tensor, f"{path}: {part} of layer {layer!r}") for part, tensor in parts.items()}
        alpha = _alpha(own, layer, configs.get(component, {}), path)
        components[component][layer] = _change(own, alpha, form)
    return LoraFile(path, form, {c: layers for c, layers in components.items() if layers}, metadata, words)


def _change(own: Weights, alpha: float, form: LoraForm) -> LowRank | WeightChange:
    """A plain product where it is one, since that takes least memory."""
    if "mid" in own and own["mid"].ndim == 4:  # LoCon in Tucker's form: one kernel for all ranks
        own["down"] = torch.einsum("mnkl,ni->mikl", own.pop("mid").float(), own["down"].flatten(1).float())
    algorithm = algorithm_of(own) or ""
    if algorithm in ("LoRA", "DoRA") and "diff_b" not in own:
        magnitude = own.get("magnitude")
        if magnitude is None or tuple(magnitude.shape) in _rows(tuple(own["up"].shape), form):
            return LowRank(own["down"], own["up"], alpha, None if magnitude is None else magnitude.flatten())
    parts = {name: tensor.float() for name, tensor in own.items() if name != "alpha"}
    return WeightChange(algorithm, parts, alpha if "alpha" in own else None)


def _sorted(weights: Weights, path: Path) -> tuple[LoraForm, dict[tuple[str, str], Weights]]:
    """The form, and (component, layer) → part → tensor."""
    found: dict[tuple[str, str], Weights] = {}
    forms: set[LoraForm] = set()
    unknown: list[str] = []
    for key, tensor in weights.items():
        ending = next((ending for ending in PARTS if key.endswith(ending)), None)
        if ending is None:
            unknown.append(key)
            continue
        form, component, layer = _layer(key.removesuffix(ending))
        forms.add(form)
        parts = found.setdefault((component, layer), {})
        if PARTS[ending] in parts:
            raise LayoutError(f"{path}: key {key!r} gives {PARTS[ending]} of {layer!r} again; get another copy of it")
        parts[PARTS[ending]] = tensor
    if unknown:
        remedy = "LoRA, LoCon, DoRA, LoHa, LoKr, OFT, GLoRA and differences can be used: get the file in one of these"
        raise LayoutError(f"{path} is not a LoRA file, or not only: keys {some(unknown)}; {remedy}")
    if not found:
        raise LayoutError(f"{path} holds embeddings and no LoRA; get the file of the LoRA")
    if len(forms) > 1:
        raise LayoutError(f"{path} mixes the keys of {' and '.join(sorted(forms))}; save it in one form")
    return forms.pop(), found


def _layer(stem: str) -> tuple[LoraForm, str, str]:
    """Form, component and layer of a key without its ending, in today's names."""
    prefix = next((prefix for prefix in PREFIXES if stem.startswith(prefix)), "")  # diffusers' first files have none
    form, component = PREFIXES.get(prefix, ("diffusers", "unet"))
    layer = stem.removeprefix(prefix).replace(".processor.", ".")
    if form == "peft" and layer.startswith(("text_model.", "encoder.", "text_projection")):
        component = "text_encoder"
    if component != "unet":
        return form, component, re.sub(r"(self_attn)\.to_(q|k|v|out)$", r"\1.\2_proj", layer)
    return form, component, f"{layer}.0" if layer.endswith(".to_out") else layer


def _check_parts(parts: Weights, form: LoraForm, where: str) -> None:
    """All parts of an algorithm; both halves of shapes that pair, of a sane rank; read from shapes alone."""
    algorithm = algorithm_of(parts)
    if algorithm is not None and any(tensor.ndim > 5 or not tensor.is_floating_point() for tensor in _own(parts)):
        raise LayoutError(f"{where} holds whole numbers or too many dimensions; convert it to float16")
    if "alpha" in parts and parts["alpha"].numel() != 1:
        shape = tuple(parts["alpha"].shape)
        raise LayoutError(f"{where}: alpha of shape {shape} is not one number; download the file again")
    if algorithm not in (None, "LoRA", "DoRA"):
        return
    if found := sorted(parts.keys() & set(CHANGE_PARTS.values()) - {"mid", "diff_b"}):
        raise LayoutError(f"{where} has {', '.join(found)} and lacks the rest of it; download the file again")
    if missing := {"down", "up"} - parts.keys():
        raise LayoutError(f"{where} has no {' and no '.join(sorted(missing))}; download the file again")
    shapes = {part: tuple(tensor.shape) for part, tensor in parts.items()}
    down, up = shapes["down"], shapes["up"]
    if len(down) not in (2, 4) or len(up) != len(down) or up[1] != down[0] or set(up[2:]) - {1}:
        raise LayoutError(f"{where}: down of shape {down} and up of shape {up} do not pair; download the file again")
    if down[0] > RANK_LIMIT:
        raise LayoutError(f"{where} has rank {down[0]}, over {RANK_LIMIT}; resize the file with its trainer's tools")
    if "mid" in parts and (shapes["mid"][:2] != (down[0], down[0]) or set(down[2:]) - {1} or len(shapes["mid"]) != 4):
        raise LayoutError(
            f"{where}: mid of shape {shapes['mid']} does not go with down of shape {down}; get another copy"
        )
    columns = (1, down[1], *[1] * (len(down) - 2))
    if "magnitude" in parts and shapes["magnitude"] not in _rows(up, form) | {columns}:
        fault = f"DoRA scale of shape {shapes['magnitude']} for down of shape {down} and up of shape {up}"
        raise LayoutError(f"{where}: {fault}; download the file again")


def _own(parts: Weights) -> list[Tensor]:
    return [tensor for part, tensor in parts.items() if part != "alpha"]


def _rows(up: tuple[int, ...], form: LoraForm) -> set[tuple[int, ...]]:
    """Shapes of one length for each output row: LyCORIS keeps the weight's dimensions, PEFT a feature map's."""
    if form == "kohya":
        return {(up[0], *[1] * (len(up) - 1))}
    return {(up[0],), (1, up[0], 1, 1)} if len(up) == 4 else {(up[0],)}


def finite_copy(tensor: Tensor, what: str) -> Tensor:
    """A copy in memory of its own, so that later changes of the file do not reach it; of eight bits in sixteen."""
    if tensor.dtype in EIGHT_BITS:  # nothing calculates with them
        tensor = tensor.to(torch.float16)
    own = tensor.clone(memory_format=torch.contiguous_format)
    if not bool(own.isfinite().all()):
        raise LayoutError(f"{what} holds NaN or infinity; download the file again")
    return own


def _metadata(path: Path) -> dict[str, str]:
    if path.suffix.lower() != ".safetensors":
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except SafetensorError as error:  # our own reader is silent about metadata
        raise LayoutError(f"{path}: its metadata are not strings ({str(error)[:80]!r}); save it again") from error


def _configs(form: LoraForm, path: Path, metadata: dict[str, str]) -> dict[str, dict[str, Any]]:
    """PEFT's options by component, from the file beside or from diffusers' entry of the header."""
    beside = path.with_name("adapter_config.json")
    if form == "peft" and beside.is_file():
        with beside.open("rb") as file:
            return dict.fromkeys(COMPONENTS, _checked(_json(file.read(CONFIG_LIMIT), beside), beside))
    config = _json(metadata.get("lora_adapter_metadata", "{}"), path)
    by_component = {
        c: {k.removeprefix(f"{c}."): v for k, v in config.items() if k.startswith(f"{c}.")} for c in COMPONENTS
    }
    return {component: _checked(options, path) for component, options in by_component.items()}


def _json(text: str | bytes, path: Path) -> dict[str, Any]:
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LayoutError(f"{path}: the LoRA's options are not JSON ({str(error)[:80]!r}); save it again") from error
    if not isinstance(config, dict):
        raise LayoutError(f"{path}: the LoRA's options are not a table; save it again")
    return config


def _checked(config: dict[str, Any], path: Path) -> dict[str, Any]:
    """The options that change what is added: kind and alphas."""
    if (kind := config.get("peft_type", "LORA")) != "LORA":
        raise LayoutError(f"{path} says peft_type {str(kind)[:40]!r}; only 'LORA' can be used")
    patterns = config.get("alpha_pattern") or {}
    if not isinstance(patterns, dict) or any(re.search(r"[^\w.^]", pattern) for pattern in patterns):
        shown = str(patterns)[:80]
        raise LayoutError(f"{path}: alpha_pattern {shown!r} is no table of layers' names; write the names out")
    return config


def _alpha(parts: Weights, layer: str, config: dict[str, Any], path: Path) -> float:
    """Alpha of a layer: the file's own, else its options', else the rank."""
    rank = parts["down"].shape[0] if "down" in parts else 1
    alpha: Any = config.get("lora_alpha", rank)
    for pattern, value in (config.get("alpha_pattern") or {}).items():  # taken literally: a stranger's regex may hang
        if layer == pattern.removeprefix("^") or layer.endswith(f".{pattern}"):
            alpha = value
    if "alpha" in parts:
        alpha = parts["alpha"].item()
    if type(alpha) not in (int, float) or not abs(alpha) <= ALPHA_LIMIT:  # NaN is not
        raise LayoutError(f"{path}: alpha of layer {layer!r} is {str(alpha)[:40]!r}; write a number of ±{ALPHA_LIMIT}")
    rooted = "alpha" not in parts and config.get("use_rslora")  # Kalajdzievski 2023: alpha / √rank
    return float(alpha) * (math.sqrt(rank) if rooted else 1.0)


def some(names: Iterable[str]) -> str:
    """E.g. "(7) a, b, c, d, e …"."""
    names = list(names)
    return f"({len(names)}) {', '.join(names[:SHOWN])}{' …' if len(names) > SHOWN else ''}"
