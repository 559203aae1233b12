"""LoRA files on a pipeline: checked layer by layer, put on next to other adapters, taken off without a trace.

diffusers, transformers and PEFT do the installing. They deactivate every other adapter when one is loaded, thaw what
was frozen, and leave empty wrappers behind; here the adapters' state is owned and put right again.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline, UNet2DConditionModel
from diffusers.loaders import StableDiffusionLoraLoaderMixin
from diffusers.utils import delete_adapter_layers
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from twinset.adapters.lora.changes import WeightChange
from twinset.adapters.lora.files import COMPONENTS, Layers, LoraFile, LowRank, finite_copy, some
from twinset.adapters.lora.whole_change import put_whole
from twinset.adapters.weights import LayoutError
from twinset.errors import InputError

# Layers of Stability's UNet (generative-models, openaimodel.py), whose block names kohya's SDXL files use.
STABILITY_LAYERS = {
    "conv_in": "input_blocks.0.0", "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
}  # fmt: skip
STABILITY_RESNET = {
    "conv1": "in_layers.2", "conv2": "out_layers.3", "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection"
}  # fmt: skip


def layer_spellings(model: nn.Module) -> dict[str, str]:
    """Every name that files use for a linear or convolution layer of a model → its module name.

    Dots may be underscores (kohya); Stability's block names stand for a UNet's own; a text encoder's `text_model.` is
    there or not, as transformers has changed it.
    """
    table: dict[str, str] = {}
    blocks = stability_blocks(model) if isinstance(model, UNet2DConditionModel) else {}
    for name in _plain_layers(model):
        own = name.removeprefix("text_model.")
        for spelled in (name, own, f"text_model.{own}", stability_name(name, blocks)):
            table[spelled] = table[spelled.replace(".", "_")] = name
    return table


def _plain_layers(model: nn.Module) -> dict[str, nn.Linear | nn.Conv2d]:
    """Layers that a LoRA can be added to, below the wrapping of adapters that are there already."""
    return {
        name.removesuffix(".base_layer"): module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and ".lora_" not in name
    }


def stability_blocks(unet: UNet2DConditionModel) -> dict[str, str]:
    """E.g. down_blocks.1.attentions.0 → input_blocks.4.1: there, each residual block counts on from the last."""
    names = {"mid_block.resnets.0": "middle_block.0", "mid_block.attentions.0": "middle_block.1"}
    names["mid_block.resnets.1"] = "middle_block.2"
    for side, whole, count in (("down", "input_blocks", 1), ("up", "output_blocks", 0)):
        for i, block in enumerate(unet.get_submodule(f"{side}_blocks").children()):
            for j in range(len(block.resnets)):  # type: ignore[arg-type]
                names[f"{side}_blocks.{i}.resnets.{j}"] = f"{whole}.{count}.0"
                names[f"{side}_blocks.{i}.attentions.{j}"] = f"{whole}.{count}.1"
                count += 1
            names[f"{side}_blocks.{i}.upsamplers.0"] = f"{whole}.{count - 1}.2"
            if getattr(block, "downsamplers", None):
                names[f"{side}_blocks.{i}.downsamplers.0"] = f"{whole}.{count}.0"
                count += 1
    return names


def stability_name(name: str, blocks: Mapping[str, str]) -> str:
    """A layer's name in Stability's UNet; its own where it has none."""
    match = re.match(r"((?:mid_block|\w+_blocks\.\d+)\.\w+\.\d+)\.(.+)", name)
    if match is None or match[1] not in blocks:
        return STABILITY_LAYERS.get(name, name)
    rest = "op" if "downsamplers" in name else STABILITY_RESNET.get(match[2], match[2])
    return f"{blocks[match[1]]}.{rest}"


def fitted_layers(layers: Layers, model: nn.Module, component: str, path: Path) -> Layers:
    """Module name → addition in the layer's dtype; every layer must be there and of the right shape.

    Args:
        layers: by the names that a file has for them.
        model: the UNet or text encoder that they are for; may be on the meta device.
        component: what messages call the model.
        path: what messages call the file.

    Raises:
        LayoutError: a layer is not there, is given twice, or has another shape.
    """
    table, plain, fitted = layer_spellings(model), _plain_layers(model), Layers()
    faults: list[str] = []
    for spelled, low in layers.items():
        name = table.get(spelled)
        if name is None or name in fitted:
            faults.append(f"{spelled} is not there" if name is None else f"{spelled} is given twice")
            continue
        if isinstance(low, WeightChange):
            faults += _change_faults(low, plain[name], spelled)
            fitted[name] = low
            continue
        low = _shaped(low, plain[name])
        halves, needed = (tuple(low.down.shape), tuple(low.up.shape)), _shapes(plain[name], low.rank)
        if halves != needed:
            faults.append(f"{spelled} has down, up of {halves} instead of {needed}")
        fitted[name] = _cast(low, plain[name].weight.dtype, f"{path}: layer {spelled!r}")
    if len({low.magnitude is None for low in fitted.values() if isinstance(low, LowRank)}) > 1:
        faults.append("some layers have a DoRA scale and some have none")
    if faults:
        remedy = "use a base model of the family it was trained for"
        raise LayoutError(f"{path} does not fit this {component}: {some(faults)}; {remedy}")
    return fitted


def _change_faults(change: WeightChange, layer: nn.Linear | nn.Conv2d, spelled: str) -> list[str]:
    """What does not fit, told by shapes alone."""
    needed = tuple(layer.weight.shape)
    try:
        with torch.device("meta"):
            found = tuple(change.difference(torch.empty(needed)).shape)
    except (RuntimeError, ValueError, IndexError) as error:
        return [f"{spelled} cannot change a weight of {needed} ({str(error).splitlines()[0][:80]})"]
    plain = [length for length in found if length != 1] == [length for length in needed if length != 1]
    faults = [] if plain else [f"{spelled} changes a weight of {found} instead of {needed}"]
    bias = () if change.bias is None else tuple(change.bias.shape)
    wrong = change.bias is not None and (layer.bias is None or bias != tuple(layer.bias.shape))
    return [*faults, f"{spelled} changes a bias of {bias} that is not there"] if wrong else faults


def _shaped(low: LowRank, layer: nn.Linear | nn.Conv2d) -> LowRank:
    """The halves with or without the 1 × 1 kernel that a projection has as a convolution: files differ in it."""
    if isinstance(layer, nn.Conv2d) and layer.kernel_size != (1, 1):
        return low
    down, up = _shapes(layer, low.rank)
    if low.down.ndim == len(down) or low.down.numel() != math.prod(down) or low.up.numel() != math.prod(up):
        return low
    return LowRank(low.down.reshape(down), low.up.reshape(up), low.alpha, low.magnitude)


def _shapes(layer: nn.Linear | nn.Conv2d, rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of down and up for a layer."""
    if isinstance(layer, nn.Linear):
        return (rank, layer.in_features), (layer.out_features, rank)
    return (rank, layer.in_channels, *layer.kernel_size), (layer.out_channels, rank, 1, 1)


def _cast(low: LowRank, dtype: torch.dtype, what: str) -> LowRank:
    """The addition in the dtype of its layer: fp16 may be too narrow for its numbers."""
    if not dtype.is_floating_point:  # a quantised layer
        return low
    down, up = (finite_copy(half.to(dtype), f"{what} in {dtype}") for half in (low.down, low.up))
    return LowRank(down, up, low.alpha, None if low.magnitude is None else low.magnitude.to(dtype))


# --- putting on and taking off ----------------------------------------------------------------------------------


def install_lora(pipe: DiffusionPipeline, lora: LoraFile, name: str, weight: float = 1.0) -> None:
    """Add a LoRA to a pipeline's UNet and text encoders; adapters that are active stay so, with their weights.

    Args:
        pipe: any pipeline with what the file is for of `unet`, `text_encoder` and `text_encoder_2`.
        lora: from `read_lora`.
        name: to set its weight and to remove it by: letters, digits, `_` and `-`.
        weight: of the addition, 0 to switch it off. A DoRA's weight counts before the rows get their length, as PEFT
            defines it, so that only 0 and 1 mean the same in other programs.

    Raises:
        LayoutError: a layer of the file is not in the pipeline or has another shape.
        InputError: the name is taken or not usable, the weight is not finite, or LoRAs are fused into the weights.
            Nothing has been changed when any of these is raised.
    """
    _check_name(pipe, name)
    _check_weight(weight)
    fitted = {
        c: fitted_layers(layers, _model(pipe, c, lora.path), c, lora.path) for c, layers in lora.components.items()
    }
    try:
        for component, layers in fitted.items():
            _load(pipe, component, layers, name, weight)
    except BaseException:  # out of memory, or interrupted: half a LoRA is worse than none
        for component in fitted:
            _take_off(getattr(pipe, component), name)
        raise


def set_lora_weight(pipe: DiffusionPipeline, name: str, weight: float) -> None:
    """Change the weight of an installed LoRA; 0 switches it off.

    Raises:
        InputError: no LoRA has this name, or the weight is not finite.
    """
    for model in _holders(pipe, name):
        weigh_lora(model, name, weight)


def weigh_lora(model: nn.Module, name: str, weight: float) -> None:
    """Change the weight of a LoRA in one model; at 0 the model is, to the bit, what it is without it.

    Raises:
        InputError: the model has no LoRA of this name that could act, or the weight is not finite.
    """
    _check_weight(weight)
    if weight and not any(name in _names(layer) for layer in _adapter_layers(model).values()):
        raise InputError(f"LoRA {name[:80]!r} is not in {type(model).__name__} any more; load its file again")
    with _same_gradients(model):
        _weigh(model, name, weight, _active(model))


def remove_lora(pipe: DiffusionPipeline, name: str) -> None:
    """Take one LoRA off; layers without any other become the plain ones again, with the very same weights.

    Raises:
        InputError: no LoRA has this name, or LoRAs are fused into the weights.
    """
    for model in _holders(pipe, name):
        _take_off(model, name)


def _check_name(pipe: DiffusionPipeline, name: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) or hasattr(nn.ModuleDict(), name):
        raise InputError(f"LoRA name {name[:80]!r} cannot be used; take up to 64 letters, digits, _ or -")
    if name in (taken := _installed(pipe)):
        raise InputError(f"an adapter named {name!r} is there already (of {some(taken)}); remove it or rename this one")
    base = (key for model in _models(pipe) for key, _ in model.named_parameters() if ".lora_" not in key)
    if key := next((key for key in base if name in key), ""):  # transformers would take that weight for the LoRA's
        raise InputError(f"LoRA name {name!r} is a part of the model's own name {key}; take another, longer name")


def _check_weight(weight: float) -> None:
    if not math.isfinite(weight):
        raise InputError(f"LoRA weight {weight} is not finite; take a number such as 0.8")


def _model(pipe: DiffusionPipeline, component: str, path: Path) -> nn.Module:
    model = getattr(pipe, component, None)
    if model is None:
        raise LayoutError(f"{path} has layers for {component}, which {type(pipe).__name__} lacks; use it with SDXL")
    return model


def _models(pipe: DiffusionPipeline) -> list[nn.Module]:
    return [model for component in COMPONENTS if (model := getattr(pipe, component, None)) is not None]


def _adapter_layers(model: nn.Module) -> dict[str, BaseTunerLayer]:
    """Layers that PEFT has wrapped, by name."""
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, BaseTunerLayer)}
    if any(layer.merged for layer in layers.values()):
        raise InputError(f"LoRAs are fused into the weights of {type(model).__name__}; call unfuse_lora() first")
    return layers


def _names(layer: BaseTunerLayer) -> list[str]:
    """Adapters that a layer holds."""
    return list(layer.scaling)  # type: ignore[attr-defined]


def _installed(pipe: DiffusionPipeline) -> list[str]:
    layers = [layer for model in _models(pipe) for layer in _adapter_layers(model).values()]
    return list(dict.fromkeys(name for layer in layers for name in _names(layer)))


def _holders(pipe: DiffusionPipeline, name: str) -> list[nn.Module]:
    """Models that have the LoRA."""
    found = [m for m in _models(pipe) if any(name in _names(layer) for layer in _adapter_layers(m).values())]
    if not found:
        raise InputError(f"no LoRA is named {name[:80]!r}; installed are {some(_installed(pipe))}")
    return found


def _active(model: nn.Module) -> list[str]:
    """Adapters that take part, in the order of their installation."""
    return list(dict.fromkeys(name for layer in _adapter_layers(model).values() for name in layer.active_adapters))


def _load(pipe: DiffusionPipeline, component: str, layers: Layers, name: str, weight: float) -> None:
    """Hand pairs and options to diffusers, then put the state of all adapters right."""
    model, state = getattr(pipe, component), {}
    active = _active(model)
    down, up = ("lora_A", "lora_B") if component == "unet" else ("lora_linear_layer.down", "lora_linear_layer.up")
    plain = _plain_layers(model)
    for layer, low in layers.items():
        key = f"{component}.{layer}"
        if isinstance(low, WeightChange):  # a place for it, which `put_whole` fills
            shapes = _shapes(plain[layer], 1)
            state |= {f"{key}.{half}.weight": torch.zeros(s) for half, s in zip((down, up), shapes, strict=True)}
            continue
        state |= {f"{key}.{down}.weight": low.down, f"{key}.{up}.weight": low.up}
        if low.magnitude is not None:
            rows = (1, -1, 1, 1) if low.up.ndim == 4 else (-1,)
            state[f"{key}.lora_magnitude_vector.weight"] = low.magnitude.reshape(rows)
    options = {f"{component}.{option}": value for option, value in _options(layers).items()}
    shared: dict[str, Any] = {"adapter_name": name, "metadata": options, "_pipeline": pipe}
    with _same_gradients(model):
        if component == "unet":
            model.load_lora_adapter(state, prefix=component, **shared)
        else:
            loader = StableDiffusionLoraLoaderMixin.load_lora_into_text_encoder
            loader(state, None, text_encoder=model, prefix=component, **shared)
        for layer, low in layers.items():
            if isinstance(low, WeightChange):
                put_whole(model.get_submodule(layer), name, low)
        _weigh(model, name, weight, active)


def _options(layers: Layers) -> dict[str, Any]:
    """PEFT's LoraConfig: the commonest rank and alpha, and patterns for the layers that have others."""
    lows = {layer: low for layer, low in layers.items() if isinstance(low, LowRank)}
    whole = {layer: 1 for layer, low in layers.items() if isinstance(low, WeightChange)}
    rank, ranks = patterns_of({**{layer: low.rank for layer, low in lows.items()}, **whole})
    alpha, alphas = patterns_of({**{layer: low.alpha for layer, low in lows.items()}, **whole})
    dora = any(low.magnitude is not None for low in lows.values())
    common = {"r": int(rank), "lora_alpha": alpha, "target_modules": list(layers), "use_dora": dora}
    return common | {"rank_pattern": ranks, "alpha_pattern": alphas}


def patterns_of(values: Mapping[str, float]) -> tuple[float, dict[str, float]]:
    """The commonest value, and one anchored pattern for each other value: PEFT tries each on every layer."""
    common = Counter(values.values()).most_common(1)[0][0]
    names: dict[float, list[str]] = {}
    for layer, value in values.items():
        if value != common:
            names.setdefault(value, []).append(re.escape(layer))
    return common, {f"^(?:{'|'.join(layers)})": value for value, layers in names.items()}


def _weigh(model: nn.Module, name: str, weight: float, active: Sequence[str]) -> None:
    """Set one LoRA's weight and activate exactly it and the others that are active; at weight 0 only those."""
    others = [other for other in active if other != name]
    for layer in _adapter_layers(model).values():
        layer.set_adapter([*others, name] if weight else others)
        if name in _names(layer):
            layer.set_scale(name, weight)  # type: ignore[attr-defined]


@contextmanager
def _same_gradients(model: nn.Module) -> Iterator[None]:
    """Keep what is trained and what is frozen; what is new is frozen. PEFT thaws whatever it activates."""
    trained = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    yield
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in trained)


def _take_off(model: nn.Module, name: str) -> None:
    """Delete an adapter and the wrappers that hold nothing any more."""
    active = [other for other in _active(model) if other != name]
    with _same_gradients(model):
        delete_adapter_layers(model, name)
        for path, layer in _adapter_layers(model).items():
            layer.set_adapter(active)
            if not _names(layer):
                parent, _, last = path.rpartition(".")
                setattr(model.get_submodule(parent), last, layer.get_base_layer())
