"""What every reader returns: a public adapter, ready to be used as conditions of the joint pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from twinset.adapters.joint_attention import SiteProjections
from twinset.adapters.weights import Weights


@dataclass(frozen=True, eq=False)
class PublicAdapter:
    """The parts of a public adapter file. Those that a format does not have are None.

    Attributes:
        kind: the kind of condition that it makes.
        projector: embeddings or CLIP hidden states → tokens (B, n, X); its class says what it takes.
        sites: keys and values of the tokens at the cross-attention sites.
        reference_sites: keys and values of the reference UNet's features at the self-attention sites.
        lora: addition to the UNet's attention layers that belongs to the adapter, for
            `unet.load_lora_adapter(lora, prefix=None, adapter_name=…)`.
        reference_unet_state: weights of the UNet that reads the garment's clean latent once, at t = 0; mapped from the
            file, so load them before the file goes.
        attention: how reference features join self-attention: "added", `Attn(q, K, V) + w · Attn(q, K_ref, V_ref)`, or
            "concatenated", the site's own attention over `cat([h, ref], 1)` of which the first half is kept.
        strength: weight of tokens and LoRA that its authors use.
    """

    kind: Literal["identity", "garment"]
    projector: nn.Module | None = None
    sites: SiteProjections | None = None
    reference_sites: SiteProjections | None = None
    lora: Weights | None = None
    reference_unet_state: Weights | None = None
    attention: Literal["added", "concatenated"] = "added"
    strength: float = 1.0
