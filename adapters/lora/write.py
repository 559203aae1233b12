"""LoRA files as others read them: kohya's form (ComfyUI, A1111, diffusers) and diffusers' own.

kohya's keys are `lora_unet_<layer>.lora_down.weight`, `.lora_up.weight`, `.alpha` and for DoRA `.dora_scale`, the
layer's dots as underscores; SDXL's UNet has the block names of Stability's own, and its text encoders are `lora_te1`
and `lora_te2`. Text encoders' layers are below `text_model`, which transformers ≥ 5.6 has no more but every reader
expects.

diffusers' keys are `<component>.<layer>.lora_A.weight`, `.lora_B.weight` and `.lora_magnitude_vector`. They have no
place for alpha, and readers differ in whether they look for it in the header: it is multiplied into `lora_B`, so that
all of them draw the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from twinset.adapters.lora.changes import WeightChange, low_rank
from twinset.adapters.lora.files import Layers, LowRank
from twinset.adapters.lora.install import stability_blocks, stability_name
from twinset.common.atomic_files import atomic_path, plain_reason
from twinset.errors import InputError

Form = Literal["kohya", "diffusers"]
FORMS: tuple[Form, ...] = ("kohya", "diffusers")
ARCHITECTURES = {"sd15": "stable-diffusion-v1/lora", "sdxl": "stable-diffusion-xl-v1-base/lora"}
VERSIONS = {"sd15": "sd_v1", "sdxl": "sdxl_base_v1-0"}


def write_lora(
    path: Path,
    components: Mapping[str, Layers],
    models: Mapping[str, nn.Module],
    form: Form,
    metadata: Mapping[str, str],
    dtype: torch.dtype = torch.float16,
) -> Path:
    """Write a LoRA file, whole or not at all.

    Args:
        path: `.safetensors`.
        components: "unet", "text_encoder", "text_encoder_2" → module name → addition.
        models: of the components: tell SDXL's block names.
        form: of the keys.
        metadata: strings for the header, see `standard_metadata`.
        dtype: of the weights; alphas are float32.

    Raises:
        InputError: the path is not `.safetensors` or cannot be written, or a number does not fit `dtype`.
    """
    if path.suffix != ".safetensors":
        raise InputError(f"LoRA file {str(path)!r} needs the ending .safetensors; call it {path.stem}.safetensors")
    state = (kohya_state if form == "kohya" else diffusers_state)(components, models)
    cast = {
        k: v.detach().cpu().to(torch.float32 if k.endswith(".alpha") else dtype).contiguous() for k, v in state.items()
    }
    wrong = next((key for key, tensor in cast.items() if not bool(tensor.isfinite().all())), None)
    if wrong is not None:
        raise InputError(f"LoRA weight {wrong} is not finite in {dtype}; train with a lower learning rate")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            save_file(cast, temporary, {"format": "pt", **metadata})
            temporary.chmod(0o644)  # safetensors makes it its owner's alone
    except (OSError, SafetensorError) as error:
        reason = plain_reason(error)
        raise InputError(
            f"LoRA file {str(path)!r} cannot be written ({reason}); free some space, or choose another path"
        ) from error
    return path


def kohya_state(components: Mapping[str, Layers], models: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Tensors under kohya's keys, as sd-scripts' `networks.lora` writes them."""
    several = "text_encoder_2" in models
    prefixes = {"unet": "lora_unet", "text_encoder": "lora_te1" if several else "lora_te", "text_encoder_2": "lora_te2"}
    state: dict[str, Tensor] = {}
    for component, layers in components.items():
        blocks = stability_blocks(models[component]) if several and component == "unet" else {}  # type: ignore[arg-type]
        for name, low in layers.items():
            spelled = stability_name(name, blocks) if blocks else _text_name(name, component)
            stem = f"{prefixes[component]}_{spelled.replace('.', '_')}"
            if isinstance(low, WeightChange):
                state |= low.state(stem)
                continue
            state |= {f"{stem}.lora_down.weight": low.down, f"{stem}.lora_up.weight": low.up}
            state[f"{stem}.alpha"] = torch.tensor(low.alpha)
            if low.magnitude is not None:
                state[f"{stem}.dora_scale"] = low.magnitude.reshape(-1, *[1] * (low.up.ndim - 1))
    return state


def diffusers_state(components: Mapping[str, Layers], models: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Tensors under diffusers' keys, alpha multiplied in."""
    state: dict[str, Tensor] = {}
    for component, layers in components.items():
        for name, low in layers.items():
            stem = f"{component}.{_text_name(name, component)}"
            if isinstance(low, WeightChange):
                remedy = "write kohya's form, or bring it to a rank first: twinset lora merge FILE --rank 32 -o NEW"
                raise InputError(f"layer {name} is a {low.kind}, which diffusers' form has no place for; {remedy}")
            state |= {
                f"{stem}.lora_A.weight": low.down,
                f"{stem}.lora_B.weight": low.up.float() * (low.alpha / low.rank),
            }
            if low.magnitude is not None:
                shape = (1, -1, 1, 1) if low.up.ndim == 4 else (-1,)
                state[f"{stem}.lora_magnitude_vector"] = low.magnitude.reshape(shape)
    return state


def _text_name(name: str, component: str) -> str:
    """A text encoder's layer below `text_model`, where transformers had all but the last projection until 5.6."""
    if component == "unet" or name.startswith(("text_model.", "text_projection")):
        return name
    return f"text_model.{name}"


def standard_metadata(
    components: Mapping[str, Layers], family: str, title: str, trigger: str = "", **more: str
) -> dict[str, str]:
    """Header of a LoRA file: the `ss_…` keys of sd-scripts and the `modelspec.…` keys of Stability's standard.

    Args:
        components: of the file.
        family: "sd15", "sdxl" or "studio".
        title: its name.
        trigger: the garment's trigger word.
        more: further entries, as they are.
    """
    lows = [low for layers in components.values() for low in layers.values()]
    changes = {low.algorithm.lower() for low in lows if isinstance(low, WeightChange)}
    ranks, alphas = sorted({low.rank for low in lows}), sorted({low.alpha for low in lows})
    kernels = [low for low in lows if isinstance(low, LowRank) and low.down.ndim == 4 and low.down.shape[2] > 1]
    args: dict[str, object] = {}
    if kernels:
        args = {"conv_dim": max(low.rank for low in kernels), "conv_alpha": max(low.alpha for low in kernels)}
    if changes:
        args["algo"] = {"dora": "locon", "difference": "full"}.get(name := min(changes), name)
    own = {
        "ss_network_module": "lycoris.kohya" if changes else "networks.lora",
        "ss_network_dim": str(ranks[-1]) if len(ranks) == 1 else "Dynamic",
        "ss_network_alpha": str(alphas[-1]) if len(alphas) == 1 else "Dynamic",
        "ss_network_args": json.dumps({key: str(value) for key, value in args.items()}),
        "ss_base_model_version": VERSIONS.get(family, family),
        "ss_output_name": title,
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": ARCHITECTURES.get(family, f"twinset-{family}/lora"),
        "modelspec.implementation": "diffusers",
        "modelspec.title": title,
    }
    said = {"modelspec.trigger_phrase": trigger} if trigger else {}
    return own | said | more


def merged(
    components: list[tuple[float, Mapping[str, Layers]]],
    rank: int | None = None,
    models: Mapping[str, nn.Module] | None = None,
) -> dict[str, Layers]:
    """Merge LoRAs with their weights into one: exact at the sum of their ranks, else the best of a lower rank.

    Args:
        components: (weight, components) of each, under the same names.
        rank: largest rank of the result, by singular values (Eckart & Young 1936); None joins the ranks.
        models: of the components, whose layers' shapes a LoHa, LoKr or difference needs.

    Raises:
        InputError: one of them is a DoRA, whose lengths cannot be added, or another change that a sum of low rank is
            not, or not without a rank.
    """
    parts: dict[str, dict[str, list[tuple[float, LowRank]]]] = {}
    for weight, one in components:
        for component, layers in one.items():
            for name, low in layers.items():
                if isinstance(low, WeightChange):
                    low = _lowered(low, name, (models or {})[component].get_submodule(name), rank)
                if low.magnitude is not None:
                    raise InputError(
                        f"layer {name} is a DoRA's, whose magnitudes cannot be added; merge LoRAs without DoRA"
                    )
                parts.setdefault(component, {}).setdefault(name, []).append((weight, low))
    return {c: {name: _joined(lows, rank) for name, lows in layers.items()} for c, layers in parts.items()}


def _lowered(change: WeightChange, name: str, layer: nn.Module, rank: int | None) -> LowRank:
    """The nearest low-rank product to a change that stands by itself."""
    if change.of_the_weight or change.bias is not None:
        raise InputError(f"layer {name} is a {change.kind}, which depends on the model; use it as it is: --lora FILE")
    if rank is None:
        raise InputError(f"layer {name} is a {change.kind}, which has no low rank; give one: --rank 32")
    down, up = low_rank(change, layer.weight, rank)  # type: ignore[arg-type]
    return LowRank(down, up, float(len(down)))


def _joined(lows: list[tuple[float, LowRank]], rank: int | None) -> LowRank:
    down = torch.cat([low.down.float() for _, low in lows])
    up = torch.cat([low.up.float() * (weight * low.alpha / low.rank) for weight, low in lows], dim=1)
    if rank is not None and rank < len(down):
        down, up = _cut(down, up, rank)
    return LowRank(down, up, float(len(down)))


def _cut(down: Tensor, up: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The nearest product of a lower rank, without ever making the whole matrix."""
    left, right = torch.linalg.qr(up.flatten(1)), torch.linalg.qr(down.flatten(1).T)
    u, s, v = torch.linalg.svd(left.R @ right.R.T)
    root = s[:rank].sqrt()
    new_up, new_down = left.Q @ u[:, :rank] * root, (right.Q @ v[:rank].T * root).T
    return new_down.reshape(rank, *down.shape[1:]), new_up.reshape(len(up), rank, *up.shape[2:])
