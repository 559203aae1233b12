"""What is trained on one network's layers: PEFT's low-rank pairs, or LyCORIS' modules for all other algorithms."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from peft import LoraConfig
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from twinset.adapters.lora.changes import WeightChange
from twinset.adapters.lora.files import Layers, LowRank
from twinset.adapters.lora.install import patterns_of
from twinset.errors import InputError
from twinset.training.lora.options import LoraOptions

NAME = "in-training"
ALGORITHMS = {"loha": "LoHa", "lokr": "LoKr", "lora": "DoRA"}
"""What `LoraOptions.algorithm` is called in a file; a plain LoRA with lengths apart is a DoRA."""
_LINEAR = {"LoHa": ("hada_w1_a",), "LoKr": ("lokr_w1", "lokr_w1_a"), "DoRA": ("up",)}
"""The part that a change is proportional to."""


class Additions(ABC):
    """Trained additions to a network's layers.

    Args:
        model: the network; has the additions in it until `remove`.
        names: of its layers that get one.
        options: of the training.
    """

    def __init__(self, model: nn.Module, names: list[str], options: LoraOptions):
        self.model, self.options = model, options
        self.sizes = {name: options.size_of(name, _is_kernel(model.get_submodule(name))) for name in names}

    @abstractmethod
    def weights(self) -> dict[str, nn.Parameter]:
        """Everything that is trained, by names that stay the same."""

    @abstractmethod
    def train(self, mode: bool) -> None:
        """Dropouts on or off."""

    @abstractmethod
    def without(self) -> Any:
        """A context in which the network is the base model's."""

    @abstractmethod
    def layers(self, weights: Mapping[str, Tensor]) -> Layers:
        """Module name → addition of these weights, as a file has it."""

    @abstractmethod
    def start(self, name: str, low: LowRank | WeightChange) -> bool:
        """Go on from a layer of a file; false where it is of another algorithm or size."""

    @abstractmethod
    def limit(self, most: float) -> None:
        """Bring every addition's norm down to `most`."""

    @abstractmethod
    def remove(self) -> None:
        """Take the additions out."""


class PeftAdditions(Additions):
    """alpha / rank · up · down, computed as two small products."""

    def __init__(self, model: nn.Module, names: list[str], options: LoraOptions):
        super().__init__(model, names, options)
        rank, ranks = patterns_of({name: float(size[0]) for name, size in self.sizes.items()})
        alpha, alphas = patterns_of({name: size[1] for name, size in self.sizes.items()})
        config = LoraConfig(
            r=int(rank), lora_alpha=alpha, target_modules=names, lora_dropout=options.dropout,  # type: ignore[arg-type]
            rank_pattern={key: int(value) for key, value in ranks.items()}, alpha_pattern=alphas,  # type: ignore[arg-type]
            init_lora_weights=True,
        )  # fmt: skip
        cast(Any, model).add_adapter(config, adapter_name=NAME)
        self.training = True
        self.own = {name: cast(Any, model.get_submodule(name)) for name in names}
        for layer in self.own.values():
            for parameter in (layer.lora_A[NAME].weight, layer.lora_B[NAME].weight):
                parameter.data = parameter.data.float()
            layer.lora_A[NAME].register_forward_hook(self._without_ranks)
            layer.lora_B[NAME].register_forward_hook(self._without_layer)

    def _without_ranks(self, layer: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        """Some of the ranks left out; the others as much stronger."""
        if not (self.training and self.options.rank_dropout):
            return output
        rank = -1 if isinstance(layer, nn.Linear) else 1
        on = torch.rand(output.shape[rank], device=output.device) >= self.options.rank_dropout
        shape = [1] * output.ndim
        shape[rank] = -1
        return output * on.to(output).view(shape) / (1 - self.options.rank_dropout)

    def _without_layer(self, layer: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        if not (self.training and self.options.module_dropout):
            return output
        return output * (torch.rand((), device=output.device) >= self.options.module_dropout).to(output)

    def weights(self) -> dict[str, nn.Parameter]:
        """See `Additions`."""
        return {
            f"{name}.{half}": getattr(layer, half)[NAME].weight
            for name, layer in self.own.items()
            for half in ("lora_A", "lora_B")
        }

    def train(self, mode: bool) -> None:
        """See `Additions`."""
        self.training = mode
        for layer in self.own.values():
            layer.lora_dropout.train(mode)

    @contextmanager
    def without(self) -> Iterator[None]:
        """See `Additions`."""
        for layer in self.own.values():
            layer._disable_adapters = True
        try:
            yield
        finally:
            for layer in self.own.values():
                layer._disable_adapters = False

    def layers(self, weights: Mapping[str, Tensor]) -> Layers:
        """See `Additions`."""
        return {
            name: LowRank(weights[f"{name}.lora_A"], weights[f"{name}.lora_B"], alpha)
            for name, (_, alpha) in self.sizes.items()
        }

    @torch.no_grad()
    def start(self, name: str, low: LowRank | WeightChange) -> bool:
        """See `Additions`."""
        rank, alpha = self.sizes[name]
        if not isinstance(low, LowRank) or low.magnitude is not None or low.rank != rank:
            return False
        layer = self.own[name]
        layer.lora_A[NAME].weight.copy_(low.down)
        layer.lora_B[NAME].weight.copy_(low.up * (low.alpha / alpha))
        return True

    @torch.no_grad()
    def limit(self, most: float) -> None:
        """See `Additions`; ‖BA‖² is the trace of (BᵀB)(AAᵀ), so no product of a layer's size is made."""
        for name, layer in self.own.items():
            a, b = (getattr(layer, half)[NAME].weight for half in ("lora_A", "lora_B"))
            flat, rows = a.flatten(1), b.flatten(1)
            squared = ((rows.T @ rows) * (flat @ flat.T)).sum().clamp_min(0)
            norm = squared.sqrt() * self.sizes[name][1] / self.sizes[name][0]
            b.mul_((most / norm.clamp_min(1e-12)).clamp_max(1))

    def remove(self) -> None:
        """See `Additions`; the caller takes PEFT's adapter off."""


class LycorisAdditions(Additions):
    """LoHa, LoKr, or DoRA over input channels, which ComfyUI, A1111 and OneTrainer read alike."""

    def __init__(self, model: nn.Module, names: list[str], options: LoraOptions):
        super().__init__(model, names, options)
        self.algorithm = ALGORITHMS[options.algorithm]
        self.own = {name: self._module(name) for name in names}
        for module in self.own.values():
            module.apply_to()

    def _module(self, name: str) -> Any:
        import lycoris

        layer, (rank, alpha), o = cast(Any, self.model.get_submodule(name)), self.sizes[name], self.options
        made = {"LoHa": lycoris.LohaModule, "LoKr": lycoris.LokrModule, "DoRA": lycoris.LoConModule}[self.algorithm](
            name, layer, lora_dim=rank, alpha=alpha, dropout=o.dropout, rank_dropout=o.rank_dropout,
            module_dropout=o.module_dropout, weight_decompose=o.dora, wd_on_out=False,
            **({"factor": o.factor} if self.algorithm == "LoKr" else {}),
        )  # fmt: skip
        return made.to(layer.weight.device, torch.float32)

    def _parts(self, name: str) -> dict[str, nn.Parameter]:
        """Part of a change → its parameter."""
        short = {"lora_up.weight": "up", "lora_down.weight": "down", "dora_scale": "magnitude"}
        own = self.own[name].named_parameters()
        return {short.get(str(key), str(key)): parameter for key, parameter in own if parameter.requires_grad}

    def weights(self) -> dict[str, nn.Parameter]:
        """See `Additions`."""
        return {f"{name}.{part}": p for name in self.own for part, p in self._parts(name).items()}

    def train(self, mode: bool) -> None:
        """See `Additions`."""
        for module in self.own.values():
            module.train(mode)

    @contextmanager
    def without(self) -> Iterator[None]:
        """See `Additions`."""
        for module in self.own.values():
            module.org_module[0].forward = module.org_forward
        try:
            yield
        finally:
            for module in self.own.values():
                module.org_module[0].forward = module.forward

    def layers(self, weights: Mapping[str, Tensor]) -> Layers:
        """See `Additions`."""
        return {
            name: WeightChange(self.algorithm, {part: weights[f"{name}.{part}"] for part in self._parts(name)}, alpha)
            for name, (_, alpha) in self.sizes.items()
        }

    @torch.no_grad()
    def start(self, name: str, low: LowRank | WeightChange) -> bool:
        """See `Additions`."""
        parts = self._parts(name)
        if not isinstance(low, WeightChange) or {n: p.shape for n, p in parts.items()} != {
            n: t.shape for n, t in low.parts.items()
        }:
            return False
        for part, parameter in parts.items():
            parameter.copy_(low.parts[part])
        linear = self._linear(parts)
        linear.mul_((low.alpha / max(1, low.rank)) / (self.sizes[name][1] / self.sizes[name][0]))
        return True

    def _linear(self, parts: Mapping[str, nn.Parameter]) -> nn.Parameter:
        return next(parts[name] for name in _LINEAR[self.algorithm] if name in parts)

    @torch.no_grad()
    def limit(self, most: float) -> None:
        """See `Additions`."""
        for name, change in self.layers({key: p.detach() for key, p in self.weights().items()}).items():
            plain = {part: t for part, t in cast(WeightChange, change).parts.items() if part != "magnitude"}
            alone = WeightChange(self.algorithm, plain, change.alpha)
            weight = cast(Tensor, self.model.get_submodule(name).weight)
            norm = alone.difference(weight).norm()
            self._linear(self._parts(name)).mul_((most / norm.clamp_min(1e-12)).clamp_max(1))

    def remove(self) -> None:
        """See `Additions`."""
        for module in self.own.values():
            del module.org_module[0].forward  # its own, which every layer of the class has


def additions(model: nn.Module, names: list[str], options: LoraOptions) -> Additions:
    """What an algorithm trains on the layers of these names."""
    kind = PeftAdditions if options.algorithm == "lora" and not options.dora else LycorisAdditions
    return kind(model, names, options)


def started(parts: Mapping[str, Additions], found: Mapping[str, Layers], path: Any) -> None:
    """Go on from a file's layers.

    Raises:
        InputError: a layer is not among those that are trained, or of another algorithm or rank.
    """
    for component, layers in found.items():
        for name, low in layers.items():
            part = parts.get(component)
            if part is None or name not in part.sizes:
                raise InputError(f"start {path}: has {component}.{name}, which is not trained; give --targets all, or "
                                 "--text-encoder for a text encoder's")  # fmt: skip
            if not part.start(name, low):
                raise InputError(
                    f"start {path}: {name} is a {low.kind} of rank {low.rank}, not of rank {part.sizes[name][0]}; "
                    f"give --rank {low.rank} and the file's --algorithm"
                )


def _is_kernel(layer: nn.Module) -> bool:
    """Whether a layer is a convolution of more than one pixel."""
    return isinstance(layer, nn.Conv2d) and max(layer.kernel_size) > 1


def peft_layers(model: nn.Module) -> dict[str, BaseTunerLayer]:
    """Layers that hold one of PEFT's additions in training, by name."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, BaseTunerLayer) and NAME in getattr(module, "scaling", {})
    }
