"""LoRAs of models that Twinset does not draw with, known by the names of their layers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from twinset.adapters.weights import LayoutError, Weights

#: Model → what only its files' keys have.
_NAMES = {
    "Flux": r"(^|[._])single_(transformer_)?blocks[._]\d",
    "Stable Diffusion 3": r"joint_blocks[._]\d|attn[._]add_[qkv]_proj|context_embedder",
    "Stable Cascade": r"^lora_prior_unet",
    "a transformer model such as Wan, Qwen or PixArt": (
        r"^(diffusion_model[._](blocks|layers|transformer_blocks)|transformer[._]|lora_transformer_)"
        r"|double_blocks[._]\d|lora_unet_(blocks|layers)_\d|cross_attn_k_img"
    ),
}
_KEYS_IN = re.compile(r"attn2[._]to_k([._]lora[._](A|down)|_lora\.down|\.lora_down)")


def refuse_foreign(weights: Weights, path: Path) -> None:
    """Refuse a file of a model that is none of ours, in one line that names the model.

    Raises:
        LayoutError: it is of Flux, Stable Diffusion 2 or 3, or another that is not drawn with here.
    """
    if name := _model(weights):
        raise LayoutError(
            f"{path} is a LoRA for {name}; Twinset draws with SD1.5, SDXL and its own model: get the file's version "
            "for one of these"
        )


def _model(weights: Weights) -> str | None:
    for name, pattern in _NAMES.items():
        if _any(pattern, weights):
            return name
    widths = {tensor.shape[1] for key, tensor in weights.items() if _KEYS_IN.search(key) and tensor.ndim > 1}
    return "Stable Diffusion 2" if widths == {1024} else None


def _any(pattern: str, keys: Iterable[str]) -> bool:
    return any(re.search(pattern, key) for key in keys)
