"""The whole bundled model from one recipe file, stage after stage; interrupted, it goes on where it was.

    twinset train training/studio.toml
    twinset train training/studio.toml --only vae --only joint --only assemble

A stage whose result exists is passed over; a stage that was interrupted resumes from its newest checkpoint.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twinset.training.core.settings import from_mapping
from twinset.training.mannequin.store import render_store
from twinset.training.studio import clip, face_encoder, face_finder, figure_reader, joint, judges, vae
from twinset.training.studio.assemble import AssembleSettings, assemble

STUDIO = Path(__file__).resolve().parents[2] / "models" / "studio"
JUDGES = Path(__file__).resolve().parents[2] / "benchmarks" / "judges"


class Recipe:
    """A recipe's stages over one folder of runs.

    Args:
        tables: the recipe: stage name → its options.
        runs: where runs, trained parts (`runs/parts`) and checkpoints go.
    """

    def __init__(self, tables: Mapping[str, Mapping[str, Any]], runs: Path = Path("runs")):
        known = {"render", *self.stages()} - {"assemble"}
        if unknown := sorted(set(tables) - known):
            raise ValueError(f"unknown table [{unknown[0]}]; there are {', '.join(sorted(known))}")
        self.tables, self.runs, self.parts = tables, runs, runs / "parts"
        self.data = Path(tables.get("render", {}).get("out", "data"))

    def stages(self) -> dict[str, Callable[[], object]]:
        """Stage name → what runs it, in order."""
        return {
            "render": self.render,
            "face_encoder": lambda: self.part("face_encoder", face_encoder.FaceEncoderSettings, face_encoder.train),
            "vae": lambda: self.part("vae", vae.VaeSettings, vae.train, faces=str(self.parts / "face_encoder")),
            "clip": lambda: self.part("clip", clip.ClipSettings, clip.train),
            "face_finder": lambda: self.part(
                "face_finder", face_finder.FaceFinderSettings, face_finder.train, data=False
            ),
            "figure_reader": lambda: self.part(
                "figure_reader", figure_reader.FigureReaderSettings, figure_reader.train
            ),
            "joint": self.joint,
            "assemble": lambda: assemble(
                AssembleSettings(
                    joint=self.runs / "joint",
                    parts=self.parts,
                    out=STUDIO,
                    wide=int(self.table("joint").get("wide", 1)),
                )
            ),
            "judges": self.judges,
        }

    def table(self, stage: str) -> Mapping[str, Any]:
        """Options of a stage."""
        return self.tables.get(stage, {})

    def render(self) -> None:
        """Draw the stores of people for training and for the judges."""
        table = self.table("render")
        for split in ("train", "judge"):
            render_store(self.data / split, int(table.get(split, 2000)), split, int(table.get("workers", 2)))

    def part(self, name: str, kind: type, train: Callable[[Any], Path], data: bool = True, **more: Any) -> None:
        """Train a frozen part, unless it is there, and put it among the parts."""
        done = self.parts / ("text_encoder" if name == "clip" else name)
        if done.is_dir():
            return
        where = {"out": str(self.runs / name), **({"data": str(self.data / "train")} if data else {})}
        folder = train(from_mapping(kind, {**where, **more, **self.table(name)}, name))
        if name == "clip":  # one folder for the text half, the image half, the tokenizer and the head
            shutil.copytree(folder, self.parts, dirs_exist_ok=True)
        else:
            shutil.copytree(folder, done)

    def joint(self) -> None:
        """Train the joint model on the encoded store."""
        where = {"data": str(self.data / "train"), "parts": str(self.parts), "out": str(self.runs / "joint")}
        joint.train(from_mapping(joint.JointSettings, {**where, **self.table("joint")}, "joint"))

    def judges(self) -> None:
        """Train the benchmark's judges, which take no part in generation."""
        where = {"data": str(self.data / "judge"), "out": str(self.runs / "judges")}
        folder = judges.train(from_mapping(judges.JudgeSettings, {**where, **self.table("judges")}, "judges"))
        shutil.copytree(folder, JUDGES, dirs_exist_ok=True)
