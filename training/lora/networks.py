"""The additions being trained, as one module that holds nothing else, around a frozen pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from twinset.adapters.condition import Condition, TextConditioning
from twinset.adapters.lora.bases import named_layers
from twinset.adapters.lora.files import COMPONENTS, Layers, read_lora
from twinset.adapters.lora.install import remove_lora
from twinset.errors import InputError
from twinset.pipelines.joint_pass import JointPass
from twinset.training.core.forward import Batch, ControlInput
from twinset.training.core.frozen import EightBitWeights, PipelineNetworks
from twinset.training.lora.additions import NAME, Additions, additions, peft_layers, started
from twinset.training.lora.options import TEXT_TARGETS, LoraOptions


class LoraNetworks(PipelineNetworks):
    """Additions to a pipeline's UNet, and to its text encoders where asked for.

    Its parameters and state are the additions alone; the pipeline's own weights are frozen and never written to.

    Args:
        pipe: the base model; has the additions in it until `take_off`.
        options: rank, layers and what else they are made of. The seed decides how they start.

    Raises:
        InputError: no layer has such a name, the precision does not run here, or a file to start from does not fit.
    """

    def __init__(self, pipe: JointPass, options: LoraOptions):
        super().__init__(pipe, options)
        self.options = options
        torch.manual_seed(options.seed)
        self.__dict__["parts"] = {"unet": self._added("unet", options.layers)}
        if options.text_encoder:
            self.parts |= {component: self._added(component, TEXT_TARGETS) for component in self._text_encoders()}
        self._checkpoint_gradients()
        named = {f"{c}.{name}": p for c, part in self.parts.items() for name, p in part.weights().items()}
        self.weights = nn.ParameterDict({name.replace(".", "|"): p for name, p in named.items()})
        if options.start is not None:
            self._start(options.start)
        self.__dict__["narrow"] = EightBitWeights(pipe.unet) if options.fp8_base else None
        self.attention.inject()

    parts: dict[str, Additions]
    narrow: EightBitWeights | None

    def _text_encoders(self) -> list[str]:
        return [name for name in COMPONENTS[1:] if getattr(self.pipe, name, None) is not None]

    def _added(self, component: str, targets: tuple[str, ...]) -> Additions:
        model, o = getattr(self.pipe, component), self.options
        names = [n for n, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv2d) and _ends(n, targets)]
        if not names:
            raise InputError(
                f"targets {o.targets!r} name no layer of the {component}; take attention, attention-mlp or all"
            )
        return additions(model, names, o)

    def _start(self, path: Path) -> None:
        models: dict[str, Any] = {c: m for c in COMPONENTS if (m := getattr(self.pipe, c, None)) is not None}
        try:
            started(self.parts, named_layers(read_lora(path), models), path)
        except BaseException:
            self._remove()
            raise

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
        """Optimiser groups: the UNet's blocks and the text encoders' additions at their own rates."""
        o = self.options
        text = o.learning_rate / 2 if o.text_learning_rate is None else o.text_learning_rate
        found: dict[tuple[bool, float], list[nn.Parameter]] = {}
        for name, parameter in self.weights.items():
            component, _, layer = name.replace("|", ".").partition(".")
            rate = o.learning_rate * o.rate_of(layer) if component == "unet" else text
            found.setdefault((component != "unet", rate), []).append(parameter)
        return [{"params": found[key], "lr": key[1]} for key in sorted(found) if key[1] > 0]

    def train(self, mode: bool = True) -> LoraNetworks:
        """Dropout of the additions on or off; the frozen networks stay as in use."""
        super().train(mode)
        for part in self.parts.values():
            part.train(mode)
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
        with ExitStack() as stack:
            for part in self.parts.values():
                stack.enter_context(part.without())
            yield batch

    def limit(self) -> None:
        """Bring additions over `max_norm` down to it."""
        if self.options.max_norm is not None:
            for part in self.parts.values():
                part.limit(self.options.max_norm)

    @torch.no_grad()
    def layers(self) -> dict[str, Layers]:
        """Component → module name → addition, copies in float32 on the CPU; after `take_off` too."""
        copies: dict[str, dict[str, Tensor]] = {}
        for name, weight in self.weights.items():
            component, _, path = name.replace("|", ".").partition(".")
            copies.setdefault(component, {})[path] = weight.detach().float().cpu().clone()
        return {component: self.parts[component].layers(found) for component, found in copies.items()}

    def _remove(self) -> None:
        """Take the additions out."""
        self._checkpoint_gradients("disable")
        pipe: Any = self.pipe
        if self.__dict__.get("narrow") is not None:
            self.narrow.widen()
        for part in self.parts.values():
            part.remove()
        if any(peft_layers(getattr(pipe, component)) for component in self.parts):
            remove_lora(pipe, NAME)


def _ends(name: str, targets: tuple[str, ...]) -> bool:
    return any(name == target or name.endswith(f".{target}") for target in targets)
