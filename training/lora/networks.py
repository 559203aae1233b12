"""The additions being trained, as one module that holds nothing else, around a frozen pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from peft import LoraConfig
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from twinset.adapters.condition import Condition, TextConditioning
from twinset.adapters.lora.files import COMPONENTS, Layers, LowRank
from twinset.adapters.lora.install import remove_lora
from twinset.errors import InputError
from twinset.pipelines.joint_pass import JointPass
from twinset.training.core.forward import Batch, ControlInput
from twinset.training.core.frozen import PipelineNetworks
from twinset.training.lora.options import TEXT_TARGETS, LoraOptions

NAME = "in-training"


class LoraNetworks(PipelineNetworks):
    """Low-rank additions to a pipeline's UNet, and to its text encoders where asked for.

    Its parameters and state are the additions alone; the pipeline's own weights are frozen and never written to.

    Args:
        pipe: the base model; has the additions in it until `take_off`.
        options: rank, layers and what else they are made of. The seed decides how they start.

    Raises:
        InputError: no layer has such a name, or the precision does not run here.
    """

    def __init__(self, pipe: JointPass, options: LoraOptions):
        super().__init__(pipe, options)
        self.options = options
        torch.manual_seed(options.seed)
        self._add("unet", options.layers)
        if options.text_encoder:
            for component in self._text_encoders():
                self._add(component, TEXT_TARGETS)
        self._checkpoint_gradients()
        named = {f"{c}.{name}": p for c, name, p in self._additions()}
        self.weights = nn.ParameterDict({name.replace(".", "|"): p for name, p in named.items()})
        self.attention.inject()

    def _text_encoders(self) -> list[str]:
        return [name for name in COMPONENTS[1:] if getattr(self.pipe, name, None) is not None]

    def _add(self, component: str, targets: tuple[str, ...]) -> None:
        model, o = getattr(self.pipe, component), self.options
        names = [n for n, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv2d) and _ends(n, targets)]
        if not names:
            raise InputError(
                f"targets {o.targets!r} name no layer of the {component}; take attention, attention-mlp or all"
            )
        config = LoraConfig(
            r=o.rank, lora_alpha=o.scale, target_modules=names, use_dora=o.dora, lora_dropout=o.dropout,  # type: ignore[arg-type]
            init_lora_weights=True,
        )  # fmt: skip
        model.add_adapter(config, adapter_name=NAME)
        for layer in _layers(model).values():
            for parameter in cast(nn.Module, layer).parameters():
                if parameter.requires_grad:
                    parameter.data = parameter.data.float()

    def _additions(self) -> Iterator[tuple[str, str, nn.Parameter]]:
        """Component, name and weight of everything that is trained."""
        for component in COMPONENTS:
            model = getattr(self.pipe, component, None)
            for name, parameter in [] if model is None else model.named_parameters():
                if parameter.requires_grad:
                    yield component, name, parameter

    def _checkpoint_gradients(self, switch: str = "enable") -> None:
        """Enable or disable it in all networks that are trained."""
        if not self.options.gradient_checkpointing:
            return
        getattr(self.pipe.unet, f"{switch}_gradient_checkpointing")()
        for component in self._text_encoders() if self.options.text_encoder else ():
            model = getattr(self.pipe, component)
            later_name = getattr(model, f"activation_checkpointing_{switch}", None)
            (later_name or getattr(model, f"gradient_checkpointing_{switch}"))()

    def groups(self) -> list[dict[str, Any]]:
        """Optimiser groups: the UNet's and the text encoders' additions at their own rates."""
        o = self.options
        text = o.learning_rate / 2 if o.text_learning_rate is None else o.text_learning_rate
        by_part = {"unet": o.learning_rate, "text": text}
        found: dict[str, list[nn.Parameter]] = {"unet": [], "text": []}
        for name, parameter in self.weights.items():
            found["unet" if name.startswith("unet|") else "text"].append(parameter)
        return [{"params": found[part], "lr": rate} for part, rate in by_part.items() if found[part]]

    def train(self, mode: bool = True) -> LoraNetworks:
        """Dropout of the additions on or off; the frozen networks stay as in use."""
        super().train(mode)
        for component in COMPONENTS:
            model = getattr(self.pipe, component, None)
            for layer in () if model is None else _layers(model).values():
                layer.lora_dropout.train(mode)  # type: ignore[attr-defined]
        return self

    def conditions(self, batch: Batch) -> list[Condition]:
        """The face, where the bundled model is told one, as in generation."""
        if "face_on" not in batch or not bool(batch["face_on"].any()):
            return []
        adapter: Any = self.pipe
        face = Condition(
            "identity", batch["face_tokens"], batch["face_region"], adapter.identity_adapter.sites, batch["face_draft"],
            weight=batch["face_on"],
        )  # fmt: skip
        return [face]

    def controls(self, batch: Batch, words: TextConditioning, conditions: Sequence[Condition]) -> list[ControlInput]:
        """The bundled model's ControlNets, where somebody is in the picture."""
        on = batch["layout_on"].view(-1, 1, 1, 1) if "layout_on" in batch else None
        return self.layout_controls(batch, words, conditions, on)

    @contextmanager
    def as_base(self, batch: Batch) -> Iterator[Batch]:
        """The base model's own prediction: additions are left out while this is open."""
        layers = [
            layer for c in COMPONENTS if (m := getattr(self.pipe, c, None)) is not None for layer in _layers(m).values()
        ]
        for layer in layers:
            layer._disable_adapters = True
        try:
            yield batch
        finally:
            for layer in layers:
                layer._disable_adapters = False

    @torch.no_grad()
    def layers(self) -> dict[str, Layers]:
        """Component → module name → addition, copies in float32 on the CPU; after `take_off` too."""
        parts: dict[tuple[str, str], dict[str, Tensor]] = {}
        for name, weight in self.weights.items():
            component, _, path = name.replace("|", ".").partition(".")
            module, _, part = path.removesuffix(f".{NAME}.weight").rpartition(".")
            parts.setdefault((component, module), {})[part] = weight.detach().float().cpu().clone()
        found: dict[str, Layers] = {}
        for (component, module), part in parts.items():
            lengths = part.get("lora_magnitude_vector")
            magnitude = None if lengths is None else lengths.flatten()
            low = LowRank(part["lora_A"], part["lora_B"], self.options.scale, magnitude)
            found.setdefault(component, {})[module] = low
        return found

    def _remove(self) -> None:
        """Take the additions out."""
        self._checkpoint_gradients("disable")
        pipe: Any = self.pipe
        remove_lora(pipe, NAME)


def _ends(name: str, targets: tuple[str, ...]) -> bool:
    return any(name == target or name.endswith(f".{target}") for target in targets)


def _layers(model: nn.Module) -> dict[str, BaseTunerLayer]:
    """Layers that hold an addition in training, by name."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, BaseTunerLayer) and NAME in getattr(module, "scaling", {})
    }
