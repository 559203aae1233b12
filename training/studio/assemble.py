"""Put trained parts together into one pipeline folder, in half precision, with checksums.

python -m twinset.training.studio.assemble --joint runs/joint --parts runs/parts --out models/studio
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from pydantic import Field

from twinset.adapters.identity import IdentityAdapter
from twinset.common.hashing import file_hash
from twinset.models.clip import StudioCLIP
from twinset.models.face_encoder import FaceEncoder
from twinset.models.face_finder import FaceFinder
from twinset.models.figure_reader import FigureReader
from twinset.models.region_controlnet import JointControlNets
from twinset.models.vae import PatchAutoencoderKL
from twinset.pipelines.studio import StudioPipeline
from twinset.training.core.command_line import options_from_command_line
from twinset.training.core.options import RecipeOptions
from twinset.training.studio.joint import trained
from twinset.training.studio.joint_model import JointModel, studio_scheduler


class AssembleOptions(RecipeOptions):
    """Where the parts are and where the pipeline goes.

    Attributes:
        joint: run folder of `training.joint`; its newest good checkpoint is taken.
        parts: folder with `vae`, `face_encoder`, `face_finder`, `figure_reader` and CLIP.
        out: folder of the pipeline.
        wide: as in the joint training.
    """

    joint: Path
    parts: Path
    out: Path
    wide: int = Field(default=1, ge=1, le=8)


def pipeline(model: JointModel, parts: Path) -> StudioPipeline:
    """The pipeline of a joint model and the frozen parts in folder `parts`."""
    clip = StudioCLIP.from_pretrained(parts)
    model.attention.eject()
    return StudioPipeline(
        vae=PatchAutoencoderKL.from_pretrained(parts / "vae"),
        text_encoder=clip.text_encoder,
        tokenizer=clip.tokenizer,
        unet=model.unet,
        controlnet=JointControlNets([model.pose_net, model.parsing_net]),
        scheduler=studio_scheduler(),
        image_encoder=clip.image_encoder,
        identity_adapter=model.identity,
        garment_adapter=model.garment,
        face_encoder=FaceEncoder.from_pretrained(parts / "face_encoder"),
        face_finder=FaceFinder.from_pretrained(parts / "face_finder"),
        figure_reader=FigureReader.from_pretrained(parts / "figure_reader"),
        default_steps=12,
        default_guidance=1.5,
    )


def assemble(options: AssembleOptions) -> Path:
    """Write the pipeline folder and `checksums.json` (SHA-256 of every weight file)."""
    pipe = pipeline(trained(options.joint, options.wide), options.parts).to(torch.float16)
    pipe.save_pretrained(options.out)
    for path in options.out.rglob("config.json"):
        _forget_folder(path)
    shutil.copytree(options.parts / "clip", options.out / "clip", dirs_exist_ok=True)
    write_checksums(options.out)
    return options.out


def with_canvas(model: Path, canvas: Path) -> None:
    """Put a trained canvas into a pipeline folder; its identity adapter keeps its tokens.

    Args:
        model: pipeline folder, as `assemble` wrote it.
        canvas: folder of an identity adapter with the canvas.
    """
    own, trained_one = (IdentityAdapter.from_pretrained(path) for path in (model / "identity_adapter", canvas))
    shape = {name: trained_one.config[name] for name in ("canvas_hidden", "looks")}
    adapter = IdentityAdapter(**{**own.config, **shape})
    tokens = {key: value for key, value in own.state_dict().items() if not key.startswith("face_decoder.")}
    faces = {key: value for key, value in trained_one.state_dict().items() if key.startswith("face_decoder.")}
    adapter.load_state_dict(tokens | faces)
    half: Any = adapter.to(torch.float16)  # type: ignore[call-arg]
    half.save_pretrained(model / "identity_adapter")
    _forget_folder(model / "identity_adapter" / "config.json")
    write_checksums(model)


def write_checksums(model: Path) -> None:
    """`checksums.json`: the SHA-256 of every weight file of a pipeline folder."""
    sums = {str(p.relative_to(model)): file_hash(p) for p in sorted(model.rglob("*.safetensors"))}
    (model / "checksums.json").write_text(json.dumps(sums, indent=2) + "\n")


def _forget_folder(config: Path) -> None:
    """Take out where a part was read from: it means nothing on another machine."""
    content = json.loads(config.read_text(encoding="utf-8"))
    if content.pop("_name_or_path", None) is not None:
        config.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    print(assemble(options_from_command_line(AssembleOptions, __doc__)))
