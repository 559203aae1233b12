"""The adapters that a request may name: the parts of each, what it is given, and how its authors draw with it."""

# pyright: reportArgumentType=false
# (diffusers' hints are narrower than what it takes)
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers.full_size import SIZE, family_on_disk
from tests.pipelines.test_load import dress as dress
from tests.pipelines.test_load import selfie as selfie
from twinset.errors import InputError
from twinset.figure.labels import FACE, garment_labels
from twinset.models.hub.parts import Profile
from twinset.models.hub.profiles import ON_HUB
from twinset.pipelines.compose import compose
from twinset.pipelines.denoising.guidance import Guidance
from twinset.pipelines.draw import guidance_of, net_scales
from twinset.pipelines.families.framing import on_white, squared, squashed, with_mask
from twinset.pipelines.generate import generate, with_model_defaults
from twinset.pipelines.loading.load import of_profile
from twinset.pipelines.loading.needed_parts import Pulling, needed_parts
from twinset.pipelines.loading.placement import DevicePlacement
from twinset.pipelines.request import Request

OFFLINE = Pulling(offline=True)
FACE_PARTS = ["buffalo_l", "buffalo_l_detector"]


@pytest.fixture(scope="module")
def profiles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Profile]:
    return {name: family_on_disk(name, tmp_path_factory.mktemp(name)) for name in ("sd15", "sdxl")}


def loaded(profile: Profile) -> Any:
    pipe: Any = of_profile(profile, DevicePlacement("cpu", torch.float32), OFFLINE)
    pipe.set_progress_bar_config(disable=True)
    return pipe


# Parts


def parts_of(family: str, commercial: bool = False, **asked: Any) -> Sequence[str]:
    given = Request(prompt="x", **asked)
    return needed_parts(ON_HUB[family], given, Pulling(commercial=commercial, offline=True))


ME, CLOTH = {"selfie": Path("me.png")}, {"garments": ("dress=a.png",)}


@pytest.mark.parametrize(
    ("family", "asked", "expected"),
    [
        ("sd15", {}, []),
        ("sd15", {"pose": "waving"}, ["pose_controlnet", "parsing_controlnet"]),
        ("sd15", {"pose": "waving", "parsing_strength": 0}, ["pose_controlnet"]),
        ("sd15", {"pose": "waving", "pose_strength": 0, "parsing_strength": 0}, []),
        ("sdxl", {"pose": "waving"}, ["union_controlnet"]),
        ("sdxl", {"pose": "waving", "fast": True}, ["union_controlnet", "fast_lora"]),
        ("sdxl", ME, ["union_controlnet", "identity_adapter", *FACE_PARTS, "image_encoder"]),
        ("sdxl", ME | {"identity_adapter": "faceid"}, ["union_controlnet", "faceid_adapter", *FACE_PARTS]),
        (
            "sdxl",
            ME | {"identity_adapter": "instantid"},
            ["union_controlnet", "instantid_controlnet", "instantid_adapter", "antelopev2", "antelopev2_detector"],
        ),
        ("sdxl", ME | {"identity_adapter": "none"}, ["union_controlnet", *FACE_PARTS]),
        (
            "sd15",
            CLOTH | {"garment_adapter": "magic-clothing", "parsing_strength": 0},
            ["pose_controlnet", "magic_clothing_adapter"],
        ),
        (
            "sdxl",
            ME | CLOTH | {"garment_adapter": "storymaker"},
            ["union_controlnet", "storymaker_adapter", *FACE_PARTS, "image_encoder"],
        ),
    ],
)
def test_what_is_used_is_needed_and_no_more(family: str, asked: dict[str, Any], expected: list[str]) -> None:
    assert sorted(parts_of(family, **asked)) == sorted(expected)


def test_commercial_use_takes_clean_parts() -> None:
    named = parts_of("sdxl", commercial=True, **ME, **CLOTH)
    assert set(named) == {"union_controlnet", "face_adapter", "auraface", "yunet", "garment_adapter", "image_encoder"}
    assert all(ON_HUB["sdxl"].part(name).commercial for name in named)
    with pytest.raises(InputError, match=r"identity_adapter .* use face_adapter instead"):
        Pulling(commercial=True).pull(ON_HUB["sdxl"], parts_of("sdxl", **ME))


@pytest.mark.parametrize(
    ("family", "asked", "words"),
    [
        ("sd15", ME | {"identity_adapter": "instantid"}, "instantid does not exist for sd15, only for sdxl; choose"),
        ("sdxl", CLOTH | {"garment_adapter": "imagdressing"}, "choose one of ip-adapter-plus, storymaker, none"),
        ("sdxl", ME | {"identity_adapter": "faceid", "garment_adapter": "storymaker"}, "leave --identity-adapter"),
    ],
)
def test_adapters_that_do_not_exist_there_are_one_line(family: str, asked: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        parts_of(family, **asked)


# What each is given


def test_a_garment_is_framed_as_its_adapter_knows_it() -> None:
    """Written out here from the authors' programs: sizes, grounds, and that nothing is cut off or stretched."""
    red = np.full((300, 100, 3), 255, np.uint8)
    red[20:280, 10:90] = (200, 20, 30)
    square = squared(red)
    assert square.shape == (300, 300, 3) and (square[:, :100] == 255).all() and (square[:, 100:200] == red).all()
    dressing = on_white(red)
    assert dressing.shape == (640, 512, 3) and (dressing[0, 0] == 255).all()
    rows, columns = np.nonzero((dressing != 255).any(-1))
    assert np.ptp(rows) / np.ptp(columns) == pytest.approx(260 / 80, rel=0.02)
    picture, mask = with_mask(red)
    assert picture.shape == (768, 576, 3) and mask.shape == (768, 576)
    assert (picture[mask] < 255).any(-1).mean() > 0.98 and (picture[~mask] > 200).mean() > 0.98
    blue = np.full((100, 50, 3), (20, 30, 200), np.uint8)
    both = squashed([red, blue])
    assert (
        both.shape == (224, 224, 3)
        and tuple(both[112, 112]) == (200, 20, 30)
        and tuple(both[210, 112]) == (20, 30, 200)
    )


class Watched:
    """What a pipeline's adapters are given, and what goes through its VAE."""

    def __init__(self, pipe: Any, monkeypatch: pytest.MonkeyPatch):
        self.clip: list[np.ndarray] = []
        self.latents: list[torch.Tensor] = []
        own, encode = pipe.clip_states, pipe.vae.encode

        def clip_states(picture: np.ndarray) -> torch.Tensor:
            self.clip.append(picture)
            return own(picture)

        def encoded(pixels: torch.Tensor, **more: Any) -> Any:
            self.latents.append(pixels)
            return encode(pixels, **more)

        monkeypatch.setattr(pipe, "clip_states", clip_states)
        monkeypatch.setattr(pipe.vae, "encode", encoded)


@pytest.mark.parametrize("name", ["ip-adapter-plus", "imagdressing", "magic-clothing"])
def test_garment_adapters_see_the_garment(
    name: str, profiles: dict[str, Profile], dress: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = loaded(profiles["sd15"])
    watched = Watched(pipe, monkeypatch)
    made = compose(pipe, Request(prompt="x", seed=1, garments=(f"dress={dress}",), garment_adapter=name))
    (garment,) = made.conditions
    body = np.isin(made.layout.labels, garment_labels("dress"))
    assert garment.kind == "garment" and garment.region[0, 0][torch.from_numpy(body)].mean() > 0.9
    flat = made.flats["dress"]
    if name == "ip-adapter-plus":
        assert np.array_equal(watched.clip[0], squared(flat)) and watched.latents == []
    if name == "imagdressing":
        assert np.array_equal(watched.clip[0], on_white(flat)) and watched.latents[0].shape == (1, 3, 640, 512)
        assert watched.latents[0][0, :, 0, 0].tolist() == [1.0, 1.0, 1.0]  # white
    if name == "magic-clothing":
        assert watched.clip == [] and watched.latents[0].shape == (1, 3, 768, 576)
        assert watched.latents[0][0, :, 0, 0].tolist() == [0.0, 0.0, 0.0]  # grey 127.5


def test_storymaker_takes_face_and_outfit_at_once(
    profiles: dict[str, Profile], selfie: Path, dress: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = loaded(profiles["sdxl"])
    watched = Watched(pipe, monkeypatch)
    asked = {"prompt": "x", "seed": 1, "garments": (f"dress={dress}",), "garment_adapter": "storymaker"}
    with pytest.raises(InputError, match="give --selfie too"):
        compose(pipe, Request(**asked))
    made = compose(pipe, Request(**asked, selfies=(selfie,), face_lora_strength=0.5))
    (person,) = made.conditions
    assert person.tokens is not None and person.tokens.shape[1] == 40 and person.weight == 0.8  # background and person
    assert np.array_equal(watched.clip[-1], squashed([made.flats["dress"]]))


def test_instantid_reads_antelopev2_unnormed_and_its_net_sees_five_points(
    profiles: dict[str, Profile], selfie: Path
) -> None:
    pipe = loaded(profiles["sdxl"])
    request = Request(prompt="x", seed=1, selfies=(selfie,), pose="standing", identity_adapter="instantid")
    made = compose(pipe, request)
    (face,) = made.conditions
    assert face.tokens is not None and face.tokens.shape[1] == 16 and face.lora is None
    assert pipe.backend.recogniser.sha256 == pipe.parts_on_demand.loaded["antelopev2"].sha256
    assert pipe.roles == [("pose", "parsing"), ("face",)]
    assert net_scales(pipe, request) == [[1.0, 0.5], pytest.approx(0.8)]
    points = pipe._pictures_for_nets(None, made.layout, None, None, 1)[1][0]
    there = points[0].sum(0) > 0
    head = np.argwhere(made.layout.labels == FACE).mean(0).astype(int)
    assert there.any() and bool(there[head[0] - 40 : head[0] + 40, head[1] - 40 : head[1] + 40].any())


# How its authors draw


@pytest.mark.parametrize(
    ("family", "asked", "expected"),
    [
        ("sd15", {}, (2, 3.0, "ddim")),  # the profile's, whose steps the test made few
        ("sdxl", {}, (2, 3.0, "euler_a")),
        ("sd15", CLOTH | {"garment_adapter": "imagdressing"}, (50, 7.5, "ddim")),
        ("sd15", CLOTH | {"garment_adapter": "magic-clothing"}, (20, 7.5, "unipc")),
        ("sd15", {"garment_adapter": "magic-clothing"}, (2, 3.0, "ddim")),  # without a garment it does not act
        ("sdxl", ME | {"identity_adapter": "instantid"}, (30, 5.0, "euler")),
        ("sdxl", ME | CLOTH | {"garment_adapter": "storymaker"}, (25, 7.5, "unipc")),
        ("sdxl", ME | {"fast": True}, (8, 5.0, "ddim_trailing")),
        ("sdxl", ME | {"fast": True, "steps": 4, "guidance": 2.0, "scheduler": "lcm"}, (4, 2.0, "lcm")),
    ],
)
def test_the_authors_settings_hold_where_nobody_says_otherwise(
    family: str, asked: dict[str, Any], expected: tuple[int, float, str], profiles: dict[str, Profile]
) -> None:
    settled = with_model_defaults(loaded(profiles[family]), Request(prompt="x", **asked))
    assert (settled.steps, settled.guidance, settled.scheduler) == expected


def test_magic_clothing_guides_the_garment_before_the_words(profiles: dict[str, Profile]) -> None:
    """ε_∅ + 2.5 (ε_garment − ε_∅) + g (ε_text, garment − ε_garment), as OmsDiffusionPipeline has it."""
    pipe = loaded(profiles["sd15"])
    request = with_model_defaults(pipe, Request(prompt="x", **CLOTH, garment_adapter="magic-clothing"))
    guidance = guidance_of(pipe, request)
    assert isinstance(guidance, Guidance)
    branches = {(b.prompted, b.kinds): b.coefficient for b in guidance.branches(["garment"])}
    expected = {(False, ()): 1 - 2.5, (False, ("garment",)): 2.5 - 7.5, (True, ("garment",)): 7.5}
    assert branches == pytest.approx(expected)


# Pictures


@pytest.mark.long
@pytest.mark.parametrize(
    ("family", "asked"),
    [
        ("sd15", {"identity_adapter": "faceid"}),
        ("sd15", {"identity_adapter": "plus-face", "garment_adapter": "imagdressing"}),
        ("sd15", {"garment_adapter": "magic-clothing", "parsing_strength": 0.0}),
        ("sdxl", {"identity_adapter": "instantid"}),
        ("sdxl", {"garment_adapter": "storymaker"}),
        ("sdxl", {"fast": True}),
    ],
)
def test_every_choice_draws_and_leaves_no_trace(
    family: str, asked: dict[str, Any], profiles: dict[str, Profile], selfie: Path, dress: Path, tmp_path: Path
) -> None:
    """A picture of its own, and afterwards the usual request gives the very bytes that it gave before."""
    pipe = loaded(profiles[family])
    given = {"prompt": "x", "seed": 7, "selfie": selfie, "garments": (f"dress={dress}",), "pose": "standing"}
    given |= {"labels": False, "candidates": 1, "repair": False, "steps": 2, "model": family}
    usual = Request(**given)
    (before,) = generate(pipe, usual, tmp_path / "before")
    (other,) = generate(pipe, Request(**given | asked), tmp_path / "other")
    (after,) = generate(pipe, usual, tmp_path / "after")
    assert (before.sha256, before.model) == (after.sha256, after.model)
    assert other.model["revision"] != before.model["revision"]
    pictures = [np.asarray(Image.open(tmp_path / at / "0007.png")).astype(int) for at in ("before", "other")]
    assert pictures[0].shape == (SIZE[1], SIZE[0], 3) and np.abs(pictures[0] - pictures[1]).mean() > 1
    assert set(other.licences) > {"base", "vae"}
