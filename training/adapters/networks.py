"""An adapter in training, around a frozen pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from twinset.adapters.condition import Condition, TextConditioning
from twinset.pipelines.joint_pass import JointPass
from twinset.training.adapters.options import AdapterOptions
from twinset.training.adapters.trained import adapter_of
from twinset.training.core.forward import Batch, ControlInput
from twinset.training.core.frozen import PipelineNetworks


class AdapterNetworks(PipelineNetworks):
    """The pass that an adapter is trained in; its parameters and state are the adapter's alone.

    Args:
        pipe: the base model.
        options: of the training.

    Raises:
        InputError: the precision does not run here.
    """

    def __init__(self, pipe: JointPass, options: AdapterOptions):
        super().__init__(pipe, options)
        self.adapter, self.rate = adapter_of(pipe, options), options.learning_rate
        self.checkpointing = options.gradient_checkpointing
        if self.checkpointing:
            pipe.unet.enable_gradient_checkpointing()
        self.attention.inject()

    def groups(self) -> list[dict[str, Any]]:
        """One group, at the options' rate."""
        return [{"params": list(self.parameters()), "lr": self.rate}]

    def conditions(self, batch: Batch) -> list[Condition]:
        """The adapter's own."""
        return self.adapter.conditions(batch)

    def controls(self, batch: Batch, words: TextConditioning, conditions: Sequence[Condition]) -> list[ControlInput]:
        """The ControlNet in training, and those that the bundled model is drawn with."""
        return [*self.adapter.controls(batch), *self.layout_controls(batch, words, conditions)]

    @property
    def nets(self) -> list[Any]:
        """The bundled model's ControlNets; the one in training in its former place."""
        own = self.adapter
        return [own.get_submodule("net") if type(net) is own.renewed else net for net in self.pipe.nets]

    @contextmanager
    def as_base(self, batch: Batch) -> Iterator[Batch]:
        """The batch without its condition."""
        yield batch | {"on": torch.zeros_like(batch["on"])}

    def _remove(self) -> None:
        """Take the adapter's additions out."""
        self.adapter.take_off()
        if self.checkpointing:
            self.pipe.unet.disable_gradient_checkpointing()
