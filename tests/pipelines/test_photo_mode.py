"""Photo mode: what changes and what stays, what lies in front, and that the rest of a photo is bit-equal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers.tiny import dressed, noise_picture, seeded, tiny_pipeline
from twinset.errors import InputError
from twinset.figure.drawing.flat_garments import render_flat
from twinset.figure.labels import BACKGROUND, DRESS, FACE, HAIR, LEFT_ARM, PANTS, SKIRT, UPPER
from twinset.models.figure_reader import Figure
from twinset.pipelines.compose import backend_of, compose
from twinset.pipelines.denoising.kept_photo import PreservedRegion, photo_condition
from twinset.pipelines.families.tryon_photo import Photo, changes, choose_window, dressed_anew, dressed_as
from twinset.pipelines.generate import generate
from twinset.pipelines.record import load_record
from twinset.pipelines.replay import replay
from twinset.pipelines.request import read_request
from twinset.training.mannequin import render
from twinset.training.mannequin.spec import draw_plain_spec

PERSON, OTHER = draw_plain_spec(61_001, "train"), draw_plain_spec(61_501, "train")


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("given")
    pictures = {
        "photo": render.render_picture(PERSON),
        "selfie": render.render_selfie(OTHER),
        "garment": render_flat(OTHER.garments["upper"]),
    }
    for name, picture in pictures.items():
        Image.fromarray(picture).save(folder / f"{name}.png")
    files = {name: str(folder / f"{name}.png") for name in pictures}
    return files | {"garment": f"{OTHER.garments['upper'].kind}={files['garment']}"}


def asked(given: dict[str, str], *parts: str, **more) -> dict:
    fields = {"selfie": given["selfie"]} if "selfie" in parts else {}
    fields |= {"garments": [given["garment"]]} if "garment" in parts else {}
    return {"prompt": "a person", "photo": given["photo"], "seed": 3, "steps": 4, **fields, **more}


# Masks


def test_a_new_garment_takes_the_old_ones_place_and_nothing_in_front() -> None:
    labels, drawn = np.full((20, 20), BACKGROUND, np.uint8), np.full((20, 20), BACKGROUND, np.uint8)
    labels[5:15, 5:15] = UPPER
    labels[5:8, 5:15] = HAIR
    labels[10:15, 5:7] = LEFT_ARM
    drawn[4:12, 3:12] = UPPER
    wanted = dressed_anew(labels, drawn, ["t_shirt"])
    assert (wanted[5:8, 5:15] == HAIR).all()  # lies in front
    assert (wanted[4, 3:12] == UPPER).all() and (wanted[10:12, 5:7] == UPPER).all()  # reaches further than before
    assert (wanted[12:15, 5:7] == LEFT_ARM).all()
    assert (wanted[13:15, 8:15] == BACKGROUND).all()  # the old one is gone
    anew = changes(labels, wanted, ["t_shirt"], face=False)
    assert anew[8:15, 8:15].all() and not anew[5:8, 5:15].any()
    assert anew[2, 5] and not anew[:, 19].any()


def test_the_face_brings_its_skin_and_leaves_hair_and_clothes() -> None:
    labels = render.render_parsing(PERSON)
    anew = changes(labels, labels, (), face=True)
    assert anew[labels == FACE].all() and anew[np.isin(labels, (LEFT_ARM,))].all()
    assert not anew[np.isin(labels, (HAIR, UPPER, PANTS, SKIRT, DRESS))].any()


def test_the_outfit_after_the_change() -> None:
    labels = np.zeros((9, 9), np.uint8)
    labels[:3], labels[3:6] = UPPER, PANTS
    assert dressed_as(labels, ["coat"]) == ("coat", "trousers")
    assert dressed_as(labels, ["dress"]) == ("dress",)
    labels[:6] = DRESS
    assert dressed_as(labels, ["t_shirt"]) == ("t_shirt", "skirt")


def test_the_window_is_the_photo_unless_the_person_is_small() -> None:
    labels = np.zeros((512, 384), np.uint8)
    labels[50:500, 100:300] = UPPER
    whole = choose_window(Figure(np.zeros((18, 3), np.float32), labels), (192, 256))
    assert whole == (0, 0, 384, 512)
    labels[:] = 0
    labels[300:400, 100:150] = UPPER
    left, top, width, height = choose_window(Figure(np.zeros((18, 3), np.float32), labels), (192, 256))
    assert height == 130 and abs(width / height - 0.75) < 0.02
    assert left < 100 and left + width > 150 and top < 300 and top + height > 400


def test_a_larger_photo_is_changed_at_its_own_size() -> None:
    picture = noise_picture(600, 500)
    redrawn = np.zeros((256, 192), bool)
    redrawn[100:150, 50:120] = True
    photo = Photo(picture, (-20, 40, 384, 512), noise_picture(256, 192), redrawn)
    done = photo.with_part(np.full((256, 192, 3), 200, np.uint8))
    changed = (done != picture).any(-1)
    rows, columns = np.nonzero(changed)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (240, 339, 80, 219)
    assert (done[280:300, 120:180] == 200).all()
    assert photo.part_of(done).shape == (256, 192, 3)


# The pass


def test_the_pass_holds_to_the_photo_where_it_stays() -> None:
    pipe = tiny_pipeline()
    redrawn = np.zeros((256, 192), bool)
    redrawn[64:128, 64:128] = True
    photo = pipe.photo(noise_picture(256, 192), redrawn)
    latents = pipe("", layout=dressed(), conditions=[photo], generator=seeded(1), num_inference_steps=3,
                   output_type="latent").images  # fmt: skip
    assert photo.draft is not None
    kept = photo.region.expand_as(photo.draft) > 0
    assert torch.equal(latents[kept], photo.draft[kept])
    free = ~kept
    assert (latents[free] - photo.draft[free]).abs().mean() > 0.1
    cells = photo.region[0, 0] == 0
    assert cells[7:17, 7:17].all() and cells.sum() == 100  # 8 x 8 cells, and their neighbours


def test_what_is_known_has_the_noise_of_the_step() -> None:
    pipe = tiny_pipeline()
    pipe.scheduler.set_timesteps(4)
    noise, clean = torch.randn(2, 16, 32, 24), torch.randn(1, 16, 32, 24)
    kept = PreservedRegion.of(
        photo_condition(clean, np.zeros((256, 192), bool)), noise, pipe.scheduler.timesteps, pipe.scheduler
    )
    expected = pipe.scheduler.add_noise(clean, noise, pipe.scheduler.timesteps[2:3])
    assert torch.equal(kept.blend(noise, 2), expected)
    assert torch.equal(kept.blend(noise, 4), clean.expand_as(noise))
    no_latents = photo_condition(clean, np.zeros((256, 192), bool)).weighted(1.0)
    object.__setattr__(no_latents, "draft", None)
    with pytest.raises(ValueError, match=r"pipe\.photo"):
        PreservedRegion.of(no_latents, noise, pipe.scheduler.timesteps, pipe.scheduler)


@pytest.mark.long
@pytest.mark.parametrize("parts", [("selfie",), ("garment",), ("selfie", "garment")])
@pytest.mark.parametrize("blend", ["soft", "poisson"])
def test_the_rest_of_the_photo_is_bit_equal(studio, given, tmp_path: Path, parts, blend) -> None:
    request = read_request(
        asked(given, *parts, blend=blend, repair=False, label_corner="none", steps=2)
    )  # all other labels
    (record,) = generate(studio, request, tmp_path)
    done, photo = np.asarray(Image.open(tmp_path / record.picture)), render.render_picture(PERSON)
    redrawn = compose(studio, request).photo.redrawn  # type: ignore[union-attr]
    np.testing.assert_array_equal(done[~redrawn], photo[~redrawn])
    assert np.abs(done[redrawn].astype(int) - photo[redrawn]).mean() > 5
    assert "is redrawn" in record.composed["notes"][-1]
    again, equal = replay(studio, load_record(tmp_path / record.picture.replace(".png", ".json")), tmp_path / "again")
    assert equal and again.is_file()


def test_photo_mode_says_what_is_missing(studio, given, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to change"):
        compose(studio, read_request(asked(given)))
    empty = tmp_path / "empty.png"
    Image.fromarray(render.render_scene(PERSON)).save(empty)
    with pytest.raises(InputError, match="shows nobody"):
        compose(studio, read_request(asked(given, "selfie") | {"photo": str(empty)}))


def test_regions_show_what_is_kept(studio, given) -> None:
    composition = compose(studio, read_request(asked(given, "selfie", "garment")))
    assert list(composition.regions) == ["face", OTHER.garments["upper"].kind, "kept"]
    assert backend_of(studio).size == (192, 256)
