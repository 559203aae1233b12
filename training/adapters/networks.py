"""An adapter in training, around a frozen pipeline."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from twinset.adapters.condition import Condition, Words
from twinset.models.region_controlnet import embedded_conditions
from twinset.pipelines.denoising.controlnets import Residuals, ask
from twinset.pipelines.denoising.denoise import predict
from twinset.pipelines.joint_pass import JointPass
from twinset.training.adapters.options import AdapterOptions
from twinset.training.adapters.trained import adapter_of
from twinset.training.core.denoising import Batch
from twinset.training.core.frozen import embedded_condition, freeze, thaw, words_of


class AdapterNetworks(nn.Module):
    """The pass that an adapter is trained in; its parameters and state are the adapter's alone.

    Args:
        pipe: the base model, whose weights are frozen and never written to; as before after `take_off`.
        options: of the training.

    Raises:
        InputError: the precision does not run here.
    """

    def __init__(self, pipe: JointPass, options: AdapterOptions):
        super().__init__()
        self.__dict__.update(pipe=pipe)  # not as a sub-module: its weights are not this module's
        self.pipe: JointPass
        self.dtype = freeze(pipe, options.precision)
        self.adapter = adapter_of(pipe, options)
        self.checkpointing = options.gradient_checkpointing
        if self.checkpointing:
            pipe.unet.enable_gradient_checkpointing()
        pipe.attention.inject()

    def forward(self, noisy: Tensor, timestep: Tensor, batch: Batch, base: bool = False) -> Tensor:
        """What the network predicts of noisy latents (B, C, h, w) under the batch's condition.

        Args:
            noisy: latents as the schedule has them.
            timestep: (B,).
            batch: from `twinset.training.adapters.data`.
            base: without the condition.
        """
        on = batch["on"].to(noisy) * (not base)
        words, conditions = words_of(self.pipe, batch), self.adapter.conditions(batch, on)
        attention = self.pipe.attention
        attention.forget()
        for condition in conditions:
            attention.remember(condition, (noisy.shape[2], noisy.shape[3]))
        attention.set_gates(0, 1, [tuple(c.kind for c in conditions)], len(noisy))
        said = [self.adapter.residuals(noisy, timestep, words, batch, on)]
        if "skeleton" in batch:
            said += self._nets(noisy, timestep, words, conditions, batch)
        heard = [one for one in said if one is not None]
        return predict(self.pipe.unet, noisy, timestep, words, Residuals.sum(heard) if heard else None)

    def _nets(
        self, noisy: Tensor, timestep: Tensor, words: Words, conditions: list[Condition], batch: Batch
    ) -> list[Residuals]:
        """What the bundled model's ControlNets say; the one in training in its former place."""
        said = []
        for own in self.pipe.nets:
            net: Any = self.adapter.get_submodule("net") if type(own) is self.adapter.renewed else own
            embedded = embedded_condition(net, words, conditions, batch)
            with embedded_conditions(net):
                said.append(ask(net, noisy, timestep, words, embedded))
        return said

    def take_off(self) -> None:
        """Give the pipeline back as it was."""
        self.pipe.attention.eject()
        self.adapter.take_off()
        if self.checkpointing:
            self.pipe.unet.disable_gradient_checkpointing()
        thaw(self.pipe, self.dtype)
