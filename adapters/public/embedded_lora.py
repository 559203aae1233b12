"""The LoRA inside FaceID and StoryMaker files: low-rank additions to every attention layer's q, k, v and out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from twinset.adapters.lora.files import Layers, LoraFile, LowRank
from twinset.adapters.public.sites import Site
from twinset.adapters.state_tables import Shapes
from twinset.adapters.weights import Weights

RANK = 128
TARGETS = {"q": "to_q", "k": "to_k", "v": "to_v", "out": "to_out.0"}  # the file's name → the UNet's layer
HALVES = {"down": "lora_A", "up": "lora_B"}


def lora_shapes(sites: Sequence[Site], width: int) -> Shapes:
    """Table of the indexed keys `{i}.to_{q,k,v,out}_lora.{down,up}.weight` for text tokens of `width` channels."""
    shapes: Shapes = {}
    for site in sites:
        for target in TARGETS:
            read = width if site.cross and target in "kv" else site.channels
            shapes[f"{site.index}.to_{target}_lora.down.weight"] = (RANK, read)
            shapes[f"{site.index}.to_{target}_lora.up.weight"] = (site.channels, RANK)
    return shapes


def lora_state(state: Weights, sites: Sequence[Site]) -> Weights:
    """The LoRA in PEFT's keys, ready for `unet.load_lora_adapter(lora, prefix=None, adapter_name=…)`.

    The files have no alpha, so `W + up · down` is added at scale 1, as their authors do. `unet.delete_adapters(name)`
    takes it off again.
    """
    return {
        f"{site.name}.{layer}.{half}.weight": state[f"{site.index}.to_{target}_lora.{direction}.weight"].clone()
        for site in sites
        for target, layer in TARGETS.items()
        for direction, half in HALVES.items()
    }


def own_lora(path: Path, state: Weights) -> LoraFile:
    """What `lora_state` gave, as a LoRA file of its own, for `twinset.adapters.lora.install.install_lora`."""
    names = sorted({key.rsplit(".", 2)[0] for key in state})
    pairs = {name: (state[f"{name}.lora_A.weight"], state[f"{name}.lora_B.weight"]) for name in names}
    layers: Layers = {name: LowRank(down, up, float(len(down))) for name, (down, up) in pairs.items()}
    return LoraFile(path, "peft", {"unet": layers}, {})
