"""The controller: repairs what is wrong, harms nothing, tries again within its limits, refuses with a reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from twinset.errors import InputError
from twinset.figure.drawing.flat_garments import render_flat
from twinset.figure.labels import FACE, garment_labels
from twinset.pipelines import generate as generating
from twinset.pipelines.compose import Composition, compose
from twinset.pipelines.controller.controller import (
    STRONGER,
    STRONGEST,
    Outcome,
    draw_controlled,
    helps,
    preference,
    stronger,
)
from twinset.pipelines.controller.measures import MEASURES, Measurement
from twinset.pipelines.generate import generate
from twinset.pipelines.record import load_record
from twinset.pipelines.replay import replay
from twinset.pipelines.request import Request, read_request
from twinset.pipelines.studio import StudioPipeline
from twinset.training.mannequin import render
from twinset.training.mannequin.spec import draw_plain_spec

PERSON = draw_plain_spec(61_002, "train")
PICTURE, LABELS = render.render_picture(PERSON), render.render_parsing(PERSON)
UPPER = PERSON.garments["upper"]


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("given")
    Image.fromarray(render.render_selfie(PERSON)).save(folder / "selfie.png")
    Image.fromarray(render_flat(UPPER)).save(folder / "upper.png")
    Image.fromarray(PICTURE).save(folder / "photo.png")
    return {
        "prompt": "a person", "selfie": folder / "selfie.png", "garments": [f"{UPPER.kind}={folder / 'upper.png'}"],
        "photo": folder / "photo.png", "seed": 1, "steps": 2, "guidance": 1.5,
    }  # fmt: skip


def outcome_of(pipe: StudioPipeline, fields: dict, *pictures: np.ndarray, **knobs) -> tuple[Outcome, list[int]]:
    """What the controller makes of passes that give these pictures, one per try; regions are not drawn anew."""
    request = read_request(fields | knobs)
    composition, tries = compose(pipe, request), []

    def draw(attempt: int, conditions) -> np.ndarray:
        if conditions is None:
            tries.append(attempt)
        return pictures[min(attempt, len(pictures) - 1)]

    return draw_controlled(pipe, request, composition, draw), tries


def spoilt(labels: tuple[int, ...], gain: tuple[float, float, float]) -> np.ndarray:
    region = np.isin(LABELS, labels)[..., None]
    return np.where(region, PICTURE * np.array(gain), PICTURE).clip(0, 255).astype(np.uint8)


SPOILT = {
    "warm face": spoilt((FACE,), (1.15, 0.92, 0.5)),
    "dark face": spoilt((FACE,), (0.55, 0.55, 0.55)),
    "cold garment": spoilt(garment_labels(UPPER.kind), (0.6, 0.95, 1.3)),
}


@pytest.mark.long
@pytest.mark.parametrize("name", SPOILT)
def test_repairs_better_what_was_wrong_and_harm_nothing(studio, fields, name) -> None:
    before, _ = outcome_of(studio, fields, SPOILT[name], repair=False)
    after, tries = outcome_of(studio, fields, SPOILT[name], candidates=1)
    assert before.faults and tries == [0]
    kept = [step for step in after.steps if step.kept]
    assert kept
    for step in kept:
        assert MEASURES[step.fault].gain(step.before or 0.0, step.after or 0.0) > 1
    for measure, value in before.values.items():
        assert MEASURES[measure].gain(value, after.values[measure]) > -1, measure
    first = kept[0].fault
    assert after.values[first] < 0.67 * before.values[first]  # a third lower


def measured(**values: float) -> Measurement:
    """A picture that is not blank, with these values."""
    return Measurement(PICTURE, None, {}, values)


def test_a_gain_within_the_scatter_is_no_help() -> None:
    least = MEASURES["light_mismatch"].least
    before = measured(light_mismatch=5.0)
    assert not helps("light_mismatch", before, measured(light_mismatch=5.0 - 0.9 * least))
    assert helps("light_mismatch", before, measured(light_mismatch=5.0 - 1.1 * least))
    assert not helps("light_mismatch", before, measured())  # what is not measured any more is no better


def test_of_two_faulty_pictures_the_one_nearer_to_usual_is_preferred() -> None:
    request = read_request({"prompt": "a person"})
    near, far = measured(light_mismatch=4.5), measured(light_mismatch=9.0)
    two_faults = measured(light_mismatch=4.1, skin_difference=7.0)
    assert preference(near, request) < preference(far, request) < preference(two_faults, request)


def test_stronger_conditions_have_a_cap() -> None:
    assert stronger(1.0) == STRONGER and stronger(STRONGEST) == STRONGEST == 2.0 and stronger(1.9) == STRONGEST


def test_a_good_picture_is_left_alone(studio, fields) -> None:
    outcome, tries = outcome_of(studio, fields, PICTURE)
    assert outcome.steps == () and tries == [0] and outcome.faults == {}


@pytest.mark.long
def test_knobs_set_how_far_repairs_go(studio, fields) -> None:
    def moved(**knobs) -> float:
        outcome, _ = outcome_of(studio, fields, SPOILT["dark face"], candidates=1, **knobs)
        return float(np.abs(outcome.picture.astype(int) - plain.picture).mean())

    plain, _ = outcome_of(studio, fields, SPOILT["dark face"], repair=False)
    assert moved(fusion_strength=0.0) == 0
    assert 0 < moved(fusion_strength=0.3) < moved()


@pytest.mark.long
def test_outside_the_photos_mask_nothing_is_repaired(studio, fields) -> None:
    request = read_request(fields)
    mask = compose(studio, request).photo.redrawn  # type: ignore[union-attr]
    outcome, _ = outcome_of(studio, fields, SPOILT["warm face"], candidates=1)
    np.testing.assert_array_equal(outcome.picture[~mask], PICTURE[~mask])


def test_another_seed_follows_and_the_best_is_taken(studio, fields) -> None:
    plain = {k: v for k, v in fields.items() if k not in ("photo", "garments")} | {"garment_strength": 0.0}
    wrong = render.render_picture(draw_plain_spec(61_502, "train"))
    outcome, tries = outcome_of(studio, plain | {"pose": "standing"}, wrong, PICTURE, candidates=3)
    assert tries[:2] == [0, 1] and np.array_equal(outcome.picture, PICTURE) and outcome.values["identity"] > 0.8
    assert next(step.what for step in outcome.steps if step.kept) == "seed 2"  # nothing of the first try is in it


def test_time_limits_tries(studio, fields) -> None:
    plain = {k: v for k, v in fields.items() if k not in ("photo", "garments")} | {"garment_strength": 0.0}
    wrong = render.render_picture(draw_plain_spec(61_502, "train"))
    outcome, tries = outcome_of(studio, plain | {"pose": "standing"}, wrong, candidates=5, repair_seconds=0.0)
    assert tries == [0] and outcome.steps[-1].what == "out of time" and "identity" in outcome.faults


def test_what_is_no_number_is_drawn_again_and_then_refused(studio, fields) -> None:
    request = read_request(fields | {"candidates": 2})
    composition, tries = compose(studio, request), []

    def draw(attempt: int, conditions) -> np.ndarray:
        tries.append(attempt)
        if attempt == 0 or (request.min_identity is None and len(tries) > 2):
            raise FloatingPointError("the latents are not finite")
        return PICTURE

    outcome = draw_controlled(studio, request, composition, draw)
    assert outcome.steps[0].fault == "the latents are not finite" and np.array_equal(outcome.picture, PICTURE)

    def never(attempt: int, conditions) -> np.ndarray:
        raise FloatingPointError("the latents are not finite")

    with pytest.raises(FloatingPointError, match="any seed"):
        draw_controlled(studio, request, composition, never)


def test_blank_pictures_and_strangers_are_refused(studio, fields) -> None:
    plain = {k: v for k, v in fields.items() if k not in ("photo", "garments")}
    plain |= {"garment_strength": 0.0, "pose": "standing"}
    grey = np.full_like(PICTURE, 128)
    assert outcome_of(studio, plain, grey)[0].refused == "the picture is blank"
    stranger = render.render_picture(draw_plain_spec(61_502, "train"))
    assert "below --min-identity 0.5" in str(outcome_of(studio, plain, stranger, min_identity=0.5)[0].refused)
    assert outcome_of(studio, plain, PICTURE, min_identity=0.5)[0].refused is None


@pytest.mark.long
def test_the_controller_is_in_the_record_and_replays(studio, fields, tmp_path: Path, monkeypatch) -> None:
    plain = {k: v for k, v in fields.items() if k != "photo"} | {"pose": "standing", "steps": 4}
    (record,) = generate(studio, read_request(plain), tmp_path)
    stored = load_record(tmp_path / "0001.json")
    assert stored.controller == record.controller and set(record.scores) <= set(MEASURES)
    _, equal = replay(studio, stored, tmp_path / "again")
    assert equal


def test_refused_pictures_are_not_written(studio, fields, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = {k: v for k, v in fields.items() if k != "photo"} | {"pose": "standing"}

    def refusing(pipe, request: Request, composition: Composition, draw) -> Outcome:
        picture = draw(0, None)
        return Outcome(picture, {}, {}, (), "the picture is blank" if draw.args[3] == 0 else None)

    monkeypatch.setattr(generating, "draw_controlled", refusing)
    with pytest.raises(InputError, match=r"refused 1 of 2 pictures \(seed 1: the picture is blank\); try more"):
        generate(studio, read_request(plain | {"num": 2}), tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["0002.png", "sheet.png"]
    with pytest.raises(InputError, match="needs a selfie"):
        generate(studio, read_request({"prompt": "a", "min_identity": 0.4}), tmp_path)
