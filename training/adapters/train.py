"""Train one adapter, from pictures of people to a file.

from twinset.training.adapters.train import train_adapter
train_adapter(pipe, IdentityOptions(data=Path("my_people"), model="sd15"), Path("faces.safetensors"))
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from twinset.errors import InputError
from twinset.pipelines.joint_pass import JointPass
from twinset.training.adapters.data import AdapterData, AdapterPreviews
from twinset.training.adapters.networks import AdapterNetworks
from twinset.training.adapters.options import AdapterOptions
from twinset.training.adapters.prepare import encode_people
from twinset.training.adapters.trained import TrainedAdapter, adapter_kind
from twinset.training.core.batches import EncodedPicture, TextStates
from twinset.training.core.denoising import Loss
from twinset.training.core.tensor_cache import TensorCache
from twinset.training.core.training_run import Learnt, PipelineTraining, Report, Trained, run_training


def train_adapter(
    pipe: JointPass, options: AdapterOptions, out: Path, run: Path | None = None, report: Report = lambda line: None
) -> Trained:
    """Train an adapter on a pipeline, see `twinset.training.core.training_run.run_training`.

    Args:
        pipe: the base model; as before when this returns or raises.
        options: `IdentityOptions`, `GarmentOptions` or `ControlOptions`.
        out: what to write: `.safetensors` for identity and garment adapters of SD1.5 and SDXL, else a folder.
        run: folder of the run; `out` with the ending `.run` when absent.
        report: told in one line what was decided.

    Raises:
        InputError: the data, an option or the run's folder cannot be used.
        FloatingPointError: the loss is not finite; earlier checkpoints are kept.
        OSError: the disk is full; earlier checkpoints are kept.
    """
    kind = adapter_kind(pipe, options)
    if out.suffix != kind.suffix:
        ending = f"ends in {kind.suffix}" if kind.suffix else "is a folder without an ending"
        raise InputError(f"output {str(out)!r}: an adapter of this model {ending}; call it {out.stem}{kind.suffix}")
    return run_training(AdapterTraining(pipe, options.located()), out, run, report)


class AdapterTraining(PipelineTraining):
    """The training of an adapter from people shown."""

    options: AdapterOptions

    def encode(self, store: TensorCache, report: Report) -> list[EncodedPicture]:
        """Read or render the people."""
        return encode_people(self.pipe, self.options, store, report)

    def data(self, rows: Sequence[EncodedPicture], store: TensorCache) -> AdapterData:
        """Captions and conditions are dropped now and then."""
        return AdapterData(rows, self.options, store, TextStates(self.pipe, store))

    def networks(self) -> AdapterNetworks:
        """The adapter."""
        return AdapterNetworks(self.pipe, self.options)

    def previews(self, networks: AdapterNetworks, data: AdapterData, loss_fn: Loss, run: Path) -> AdapterPreviews:
        """Pictures held out, drawn beside the truth."""
        return AdapterPreviews(networks, data, loss_fn, self.options, run)

    def publish(self, networks: AdapterNetworks, out: Path, learnt: Learnt) -> None:
        """Write it in the layout that others read."""
        publish_adapter(networks.adapter, out)


def publish_adapter(adapter: TrainedAdapter, out: Path) -> None:
    """Write an adapter beside its final name first, so that no file is there in part.

    Args:
        adapter: what was trained.
        out: its file or folder; in a folder that is there, other files stay.

    Raises:
        OSError: the disk is full; what was there before is as it was.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f"{out.stem}.partial{out.suffix}")
    try:
        adapter.write(partial)
        if partial.is_file():
            os.replace(partial, out)
            return
        out.mkdir(exist_ok=True)
        for path in partial.iterdir():
            os.replace(path, out / path.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        partial.unlink(missing_ok=True)
