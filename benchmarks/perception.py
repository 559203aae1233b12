"""What the bundled networks see of held-out drawn people: faces, landmarks, keypoints, parsing.

python -m twinset.benchmarks.perception                 200 people, about two minutes
python -m twinset.benchmarks.perception --people 20 --out /tmp/perception
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.progress import track

from twinset.benchmarks.figures import bootstrap
from twinset.figure.drawing.flat_garments import render_flat
from twinset.figure.poses import EAR_X
from twinset.figure.rig import build_rig
from twinset.models.face_finder import FaceFinder, face_size
from twinset.models.figure_reader import FigureReader
from twinset.models.hub.profiles import BUNDLED
from twinset.pipelines.record import machine
from twinset.scoring.pose import mean_iou, pck, torso_length
from twinset.training.mannequin import render
from twinset.training.mannequin.spec import Spec, draw_spec
from twinset.training.studio.face_finder import picture_landmarks

FIRST_SEED = 900_700_000
ABOUT = (
    "People, garments and poses are of Mannequin's held-out split, at seeds that no other benchmark uses. The face's "
    "width is the distance between the ears of a head seen from the front."
)
RESULTS = Path(__file__).parent / "results"
FOUND = 0.5
"""A face counts as found when its landmarks are, on average, within half a face's width."""


def selfie_face_width(spec: Spec, landmarks: np.ndarray) -> float:
    """Pixels from ear to ear of the person's head where its landmarks (5, 2) are these."""
    frame = build_rig(render.layout_keypoints(spec)).frames["head"]
    return 2 * EAR_X * float(np.linalg.norm(frame[:, 0])) * face_size(landmarks) / face_size(picture_landmarks(spec))


def softened(picture: np.ndarray, share: float = 0.5) -> np.ndarray:
    """A picture sampled down to a share of its size and up again."""
    image = Image.fromarray(picture)
    small = max(1, round(image.width * share)), max(1, round(image.height * share))
    return np.array(image.resize(small, Image.Resampling.BOX).resize(image.size))


def person(spec: Spec, finder: FaceFinder, reader: FigureReader) -> dict[str, float]:
    """Everything measured of one person."""
    picture, selfie = render.render_picture(spec), render.render_selfie(spec)
    points, labels = render.true_keypoints(spec), render.render_parsing(spec)
    row = {}
    for name, shown, truth in (
        ("selfie", selfie, render.selfie_landmarks(spec)),
        ("picture", picture, picture_landmarks(spec)),
    ):
        faces = finder.find(shown)
        distance = np.linalg.norm(faces[0].landmarks - truth, axis=1).mean() if faces else np.inf
        error = float(distance) / selfie_face_width(spec, truth)
        row[f"{name}_found"], row[f"{name}_error"] = float(error < FOUND), error if error < FOUND else float("nan")
    for name, shown in (("", picture), ("_soft", softened(picture))):
        figure = reader.read(shown)
        row[f"pck{name}"] = pck(figure.keypoints, points, torso_length(points))
        row[f"miou{name}"] = mean_iou(figure.labels, labels)
    empty = render.render_scene(spec), render_flat(spec.garments["upper"])
    row["false_faces"] = float(np.mean([bool(finder.find(shown)) for shown in empty]))
    return row


TITLES = {
    "selfie_found": "face found, selfie",
    "picture_found": "face found, whole picture",
    "false_faces": "face seen where there is none (scenes, garments)",
    "selfie_error": "landmark error by face width, selfie",
    "picture_error": "landmark error by face width, whole picture",
    "pck": "PCK at a tenth of the torso",
    "pck_soft": "the same, picture at half the resolution",
    "miou": "parsing mIoU",
    "miou_soft": "the same, picture at half the resolution",
}


def measured(people: int) -> dict[str, dict[str, float]]:
    """Means and 95 % bootstrap intervals over the first `people` held-out people."""
    finder = FaceFinder.from_pretrained(BUNDLED / "face_finder").eval()
    reader = FigureReader.from_pretrained(BUNDLED / "figure_reader").eval()
    specs = (draw_spec(FIRST_SEED + index, "held_out") for index in range(people))
    rows = [person(spec, finder, reader) for spec in track(specs, "looking", people)]
    return {name: asdict(bootstrap(np.array([row[name] for row in rows]))) for name in TITLES}


def perception_page(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    lines = ["# Perception of drawn people", "", ABOUT, ""]
    lines += ["; ".join(f"{name} {value}" for name, value in results["machine"].items()), ""]
    lines += ["| | mean | 95 % | people |", "| --- | ---: | :---: | ---: |"]
    for name, row in results["figures"].items():
        lines.append(
            f"| {TITLES[name]} | {row['mean']:.3f} | {row['low']:.3f} to {row['high']:.3f} | {row['people']} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, write `perception.json` and `perception.md`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    results = {"figures": measured(options.people), "machine": machine("cpu"), "people": options.people}
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "perception.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (options.out / "perception.md").write_text(perception_page(results), encoding="utf-8")
    print(perception_page(results))


if __name__ == "__main__":
    main()
