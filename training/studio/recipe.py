"""The whole bundled model from one recipe file, stage after stage; interrupted, it goes on where it was.

    twinset train training/studio.toml
    twinset train training/studio.toml --only vae --only joint --only assemble

A stage whose result exists is passed over; a stage that was interrupted resumes from its newest checkpoint.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field

from twinset.errors import InputError
from twinset.training.core.options import Options, RecipeOptions, checked
from twinset.training.mannequin.store import render_store
from twinset.training.studio import canvas, clip, face_encoder, face_finder, figure_reader, joint, judges, vae
from twinset.training.studio.assemble import AssembleOptions, assemble
from twinset.training.studio.options import StudioOptions

STUDIO = Path(__file__).resolve().parents[2] / "models" / "studio"
JUDGES = Path(__file__).resolve().parents[2] / "benchmarks" / "judges"


class RenderOptions(RecipeOptions):
    """The people that are drawn to learn from.

    Attributes:
        out: Folder of the stores, one for each split.
        train: Number of people that the model learns from.
        judge: Number of people whom only the benchmark's judges see.
        faces: Number of faces, close up, that the canvas learns from.
        workers: Processes that draw.
    """

    out: Path = Path("data")
    train: int = Field(default=2000, ge=1)
    judge: int = Field(default=2000, ge=1)
    faces: int = Field(default=2000, ge=1)
    workers: int = Field(default=2, ge=1)


class Recipe:
    """A recipe's stages over one folder of runs; every table is checked before the first stage begins.

    Args:
        tables: the recipe: stage name → its options.
        runs: where runs, trained parts (`runs/parts`) and checkpoints go.

    Raises:
        InputError: a table or one of its options is unknown, or a value is out of its range.
    """

    def __init__(self, tables: Mapping[str, Mapping[str, Any]], runs: Path = Path("runs")):
        self.tables, self.runs, self.parts, self.read = tables, runs, runs / "parts", set[str]()
        self.render_options = self._table("render", RenderOptions)
        data, judged = self.render_options.out / "train", self.render_options.out / "judge"
        parts, faces = self.parts, self.render_options.out / "faces"
        self.networks: dict[str, tuple[StudioOptions, Callable[[Any], Path]]] = {
            "face_encoder": (
                self._table("face_encoder", face_encoder.FaceEncoderOptions, data=data), face_encoder.train_face_encoder
            ),
            "vae": (self._table("vae", vae.VaeOptions, data=data, faces=parts / "face_encoder"), vae.train_vae),
            "canvas": (self._table("canvas", canvas.CanvasOptions, data=faces, parts=parts), canvas.train_canvas),
            "clip": (self._table("clip", clip.ClipOptions, data=data), clip.train_clip),
            "face_finder": (self._table("face_finder", face_finder.FaceFinderOptions), face_finder.train_face_finder),
            "figure_reader": (
                self._table("figure_reader", figure_reader.FigureReaderOptions, data=data),
                figure_reader.train_figure_reader,
            ),
        }  # fmt: skip
        self.joint_options = self._table("joint", joint.JointOptions, data=data, parts=parts)
        self.judge_options = self._table("judges", judges.JudgeOptions, data=judged)
        if unknown := sorted(set(tables) - self.read):
            raise InputError(f"unknown table [{unknown[0]}] in the recipe; there are {', '.join(sorted(self.read))}")

    def _table(self, stage: str, kind: type[Options], **where: Path) -> Options:
        """A stage's options: those of its table, and the folders that follow from the stages before it."""
        self.read.add(stage)
        out = {"out": self.runs / stage} if "out" in kind.model_fields and stage != "render" else {}
        return checked(kind, {**out, **where, **self.tables.get(stage, {})}, f"[{stage}]")

    def stages(self) -> dict[str, Callable[[], object]]:
        """Stage name → what runs it, in order."""
        return {
            "render": self.render,
            **{name: partial(self.part, name) for name in self.networks},
            "joint": lambda: joint.train_joint(self.joint_options),
            "assemble": self.assemble,
            "judges": self.judges,
        }

    def render(self) -> None:
        """Draw the stores of people for training and for the judges."""
        options = self.render_options
        for split, count in (("train", options.train), ("judge", options.judge)):
            render_store(options.out / split, count, split, options.workers)
        render_store(options.out / "faces", options.faces, "train", options.workers, faces=True)

    def part(self, name: str) -> None:
        """Train a frozen part, unless it is there, and put it among the parts."""
        done = self.parts / ("text_encoder" if name == "clip" else name)
        if done.is_dir():
            return
        options, train = self.networks[name]
        folder = train(options)
        if name == "clip":  # one folder for the text half, the image half, the tokenizer and the head
            shutil.copytree(folder, self.parts, dirs_exist_ok=True)
        else:
            shutil.copytree(folder, done)

    def assemble(self) -> None:
        """Put the parts together as the bundled model."""
        options = self.joint_options
        assemble(AssembleOptions(joint=options.out, parts=options.parts, out=STUDIO, wide=options.wide))

    def judges(self) -> None:
        """Train the benchmark's judges, which take no part in generation."""
        shutil.copytree(judges.train_judges(self.judge_options), JUDGES, dirs_exist_ok=True)
