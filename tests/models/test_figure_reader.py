"""The reader of drawn people: variations keep picture, labels and keypoints together; it learns, and reads any size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from twinset.figure.keypoints import FRAME
from twinset.figure.labels import LABELS, LEFT_ARM, MIRRORED_LABELS, RIGHT_ARM, colourise
from twinset.models.figure_reader import STRIDE, FigureReader, peaks
from twinset.models.hub.profiles import BUNDLED
from twinset.scoring.pose import mean_iou, pck, torso_length
from twinset.training.mannequin import render
from twinset.training.mannequin.spec import draw_plain_spec
from twinset.training.studio import figure_reader
from twinset.training.studio.figure_reader import FigureReaderOptions, train_figure_reader_on, varied_pictures


@pytest.fixture(scope="module")
def store() -> dict[str, np.ndarray]:
    specs = [draw_plain_spec(seed) for seed in range(6)]
    return {
        "picture": np.stack([render.render_picture(spec) for spec in specs]),
        "parsing": np.stack([render.render_parsing(spec) for spec in specs]),
        "keypoints": np.stack([render.true_keypoints(spec) for spec in specs]),
    }


def test_variations_move_everything_together(store: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    """The labels drawn as a picture, varied like one, are still the labels; keypoints stay on their part."""
    monkeypatch.setattr(figure_reader, "_exposed", lambda picture, rng: picture)
    labels, points = store["parsing"][0], store["keypoints"][0]
    arms = {4: RIGHT_ARM, 7: LEFT_ARM}
    for seed in range(12):
        rng = np.random.default_rng(seed)
        picture, moved, at = varied_pictures(colourise(labels), labels, points, rng)
        same = np.abs(picture - colourise(moved).astype(int)).max(-1) < 8
        assert same.mean() > 0.85  # between two colours the picture has a third, the labels have not
        for joint, label in arms.items():
            x, y = at[joint, :2].round().astype(int)
            here = labels[tuple(points[joint, 1::-1].round().astype(int))] == label
            if at[joint, 2] > 0 and here and 4 <= x < FRAME[0] - 4 and 4 <= y < FRAME[1] - 4:
                assert label in moved[y - 3 : y + 4, x - 3 : x + 4]


def test_mirrored_labels_exchange_sides() -> None:
    assert (MIRRORED_LABELS[MIRRORED_LABELS] == np.arange(len(LABELS))).all()
    changed = {LABELS[i] for i in np.flatnonzero(np.arange(len(LABELS)) != MIRRORED_LABELS)}
    assert changed == {f"{side}-{part}" for side in ("left", "right") for part in ("shoe", "leg", "arm")}


def test_peaks_are_where_the_heat_is() -> None:
    heat = torch.full((1, 18, 64, 48), -9.0)
    heat[0, 3, 20, 10] = 4.0
    found = peaks(heat, 0.3)[0]
    assert found[3].tolist() == pytest.approx(
        [10.5 * STRIDE, 20.5 * STRIDE, torch.tensor(4.0).sigmoid().item()], abs=0.1
    )
    assert (found[[0, 1, 17], 2] == 0).all()


def test_training_learns_and_the_model_is_kept(store: dict[str, np.ndarray], tmp_path: Path) -> None:
    settings = FigureReaderOptions(
        data=tmp_path, out=tmp_path, steps=8, batch_size=4, held_out=2, bf16=False, learning_rate=4e-3
    )
    model = FigureReader.from_pretrained(train_figure_reader_on(store, settings))
    parameters = sum(p.numel() for p in model.parameters())
    assert parameters < 300_000
    figure = model.float().eval().read(store["picture"][0])
    assert figure.labels.shape == (256, 192) and figure.keypoints.shape == (18, 3)


bundled = pytest.mark.skipif(not (BUNDLED / "figure_reader").is_dir(), reason="the bundled model has no figure reader")


@bundled
@pytest.mark.parametrize("size", [(192, 256), (384, 512), (300, 256)])
def test_the_bundled_reader(size: tuple[int, int]) -> None:
    """In any size, with room at the sides too."""
    reader = FigureReader.from_pretrained(BUNDLED / "figure_reader").eval()
    spec = draw_plain_spec(900_710_001, "held_out")
    scale = size[1] / 256
    shift = (size[0] - scale * 192) / 2
    picture = Image.new("RGB", size, "white")
    drawn = Image.fromarray(render.render_picture(spec))
    picture.paste(drawn.resize((round(192 * scale), size[1])), (round(shift), 0))
    figure = reader.read(np.array(picture))
    truth = render.true_keypoints(spec) * (scale, scale, 1) + (shift, 0, 0)
    assert figure.found and pck(figure.keypoints, truth, torso_length(truth)) > 0.8
    inside = figure.labels[:, round(shift) : size[0] - round(shift)]
    back = np.array(Image.fromarray(inside).resize((192, 256), Image.Resampling.NEAREST))
    assert mean_iou(back, render.render_parsing(spec)) > 0.7
