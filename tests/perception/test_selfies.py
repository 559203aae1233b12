"""Several selfies of one person: one identity by quality, strangers left out, the best picture shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers.tiny import dressed, noise_picture, tiny_pipeline
from twinset.errors import InputError
from twinset.pipelines.compose import compose
from twinset.pipelines.families.backend import Selfie
from twinset.pipelines.families.drawn import StudioBackend
from twinset.pipelines.families.given_pictures import read_selfies
from twinset.pipelines.request import Request, read_request

AXES = np.eye(8, dtype=np.float32)


class Album:
    """People whose selfies are known beforehand: quality and embedding by file name."""

    def __init__(self, **known: tuple[float, np.ndarray]):
        self.known = known

    def selfie(self, picture: np.ndarray, path: Path, _notes: list[str], _choice: str) -> Selfie:
        crop = np.full((112, 112, 3), list(self.known).index(path.stem), np.uint8)
        return Selfie(crop, crop, self.known[path.stem][0])

    def embedding(self, selfie: Selfie) -> np.ndarray:
        return list(self.known.values())[selfie.crop[0, 0, 0]][1]


def album(folder: Path, **known: tuple[float, np.ndarray]) -> tuple[Any, list[Path]]:
    paths = [folder / f"{name}.png" for name in known]
    for path in paths:
        Image.fromarray(noise_picture(32, 32)).save(path)
    return Album(**known), paths


def test_the_better_counts_more_and_the_best_is_shown(tmp_path: Path) -> None:
    near = AXES[0] + 0.3 * AXES[1]
    people, paths = album(tmp_path, poor=(0.2, 20 * AXES[0]), good=(0.9, 20 * near))
    notes: list[str] = []
    found = read_selfies(people, paths, "largest", notes)
    assert found.crop[0, 0, 0] == 1 and not notes
    assert found.embedding is not None
    direction = found.embedding / np.linalg.norm(found.embedding)
    assert direction @ (near / np.linalg.norm(near)) > direction @ AXES[0] > 0.9
    assert np.linalg.norm(found.embedding) == pytest.approx(20 * (1 + np.hypot(1, 0.3)) / 2, rel=1e-4)


def test_somebody_else_is_left_out_with_a_note(tmp_path: Path) -> None:
    people, paths = album(tmp_path, me=(0.8, AXES[0]), other=(0.9, AXES[2]), again=(0.7, AXES[0]))
    notes: list[str] = []
    found = read_selfies(people, paths, "largest", notes)
    assert found.crop[0, 0, 0] == 0 and found.embedding == pytest.approx(AXES[0], abs=1e-5)
    (note,) = notes
    assert "selfie 2 seems to show another person" in note


def test_one_selfie_is_itself(tmp_path: Path) -> None:
    people, paths = album(tmp_path, me=(0.8, AXES[0]))
    assert read_selfies(people, paths, "largest", []).embedding is None


def test_the_identity_is_that_of_both(tmp_path: Path) -> None:
    pipe, paths = tiny_pipeline(), [tmp_path / "a.png", tmp_path / "b.png"]
    for seed, path in enumerate(paths):
        Image.fromarray(noise_picture(112, 112, seed)).save(path)
    both = compose(pipe, Request(prompt="x", seed=1, selfies=tuple(paths)))
    one = compose(pipe, Request(prompt="x", seed=1, selfies=(paths[0],)))
    people = StudioBackend(pipe)
    embeddings = [people.embedding(Selfie(crop, crop)) for crop in (noise_picture(112, 112, s) for s in (0, 1))]
    mean = np.mean(embeddings, axis=0, dtype=np.float32)
    expected = pipe.identity(noise_picture(112, 112, 0), dressed(), embedding=np.asarray(mean / np.linalg.norm(mean)))
    tokens = [composition.conditions[0].tokens for composition in (both, one)]
    assert tokens[0] is not None and tokens[1] is not None and expected.tokens is not None
    torch.testing.assert_close(tokens[0], expected.tokens, atol=1e-4, rtol=1e-3)
    assert not torch.allclose(tokens[0], tokens[1], atol=1e-3)


def test_requests(tmp_path: Path) -> None:
    old = Request.model_validate_json('{"prompt": "x", "selfie": "me.png", "seed": 3}')
    assert old.selfies == (Path("me.png"),)
    assert Request.model_validate_json('{"prompt": "x", "selfie": null}').selfies == ()
    assert read_request({"prompt": "x", "face": "2"}).face == "2"
    with pytest.raises(InputError, match="face = 'left'"):
        read_request({"prompt": "x", "face": "left"})
