"""The LoRA in a FaceID file acts with a face, as strongly as asked; any other pass is the base model's to the bit."""

# pyright: reportArgumentType=false
# (diffusers' hints are narrower than what it takes)
from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from typer.testing import CliRunner

from tests.adapters.test_fitted import NAMES
from tests.helpers.full_size import SIZE, family_on_disk
from tests.helpers.public_files import random_state, shapes_of, write
from tests.helpers.tiny import noise_picture, seeded
from twinset import cli
from twinset.adapters.condition import Condition
from twinset.errors import InputError
from twinset.models.hub.parts import Profile
from twinset.models.hub.profiles import ON_HUB
from twinset.pipelines.compose import compose
from twinset.pipelines.draw import prompt_arguments
from twinset.pipelines.loading import load
from twinset.pipelines.loading.needed_parts import Pulling
from twinset.pipelines.loading.placement import DevicePlacement
from twinset.pipelines.loading.request_loras import loras_on
from twinset.pipelines.named_files import LoraChoice
from twinset.pipelines.request import Request

WHOLE = torch.ones(1, 1, SIZE[1], SIZE[0])
Job = Callable[[Any], Tensor]


@pytest.fixture(scope="module", params=["sd15", "sdxl"])
def profile(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return family_on_disk(request.param, tmp_path_factory.mktemp(request.param))


def prepared_for(profile: Profile, **asked: Any) -> Any:
    """The family's pipeline with the parts of a request."""
    given = Request(prompt="x", garments=("dress=a.png",), parsing_strength=0.0, **asked)
    pipe: Any = load.of_profile(profile, DevicePlacement("cpu", torch.float32), Pulling(offline=True), given)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def pipe(profile: Profile) -> Any:
    return prepared_for(profile, selfies=(Path("me.png"),))


@pytest.fixture
def base(profile: Profile) -> Any:
    """The same model into which FaceID never came."""
    return prepared_for(profile)


@pytest.fixture
def selfie(tmp_path: Path) -> Path:
    Image.new("RGB", (640, 640), "white").save(tmp_path / "me.png")  # where the detector's graph finds two faces
    return tmp_path / "me.png"


@pytest.fixture
def dress(tmp_path: Path) -> Path:
    picture = Image.new("RGB", (100, 150), "white")
    picture.paste((200, 20, 30), (20, 20, 80, 130))
    picture.save(tmp_path / "dress.png")
    return tmp_path / "dress.png"


@pytest.fixture
def own_lora(base: Any, tmp_path: Path) -> LoraChoice:
    """A LoRA file of the user's, over some of the layers that FaceID's is over."""
    layers = {name: m for name, m in base.unet.named_modules() if name.endswith(("attn1.to_q", "attn2.to_v"))}
    state = {}
    for name, layer in layers.items():
        state[f"unet.{name}.lora_A.weight"] = torch.randn(2, layer.in_features)
        state[f"unet.{name}.lora_B.weight"] = torch.randn(layer.out_features, 2) / 4
    save_file(state, tmp_path / "mine.safetensors")
    return LoraChoice(path=tmp_path / "mine.safetensors", weight=0.7)


def latents(
    pipe: Any, prompt: dict[str, Any], layout: Any, conditions: Sequence[Condition] = (), **more: Any
) -> Tensor:
    """Final latents of a pass of two steps."""
    given = {"generator": seeded(3), "num_inference_steps": 2, "guidance_scale": 3.0, "output_type": "latent"}
    return pipe(**prompt, layout=layout, conditions=conditions, **(given | more)).images


def drawn(pipe: Any, **fields: Any) -> Tensor:
    """Final latents of a request."""
    request = Request(prompt="in the park", pose="standing", seed=5, parsing_strength=0, **fields)
    made = compose(pipe, request)
    return latents(pipe, prompt_arguments(pipe, made.sentence), made.layout, made.conditions)


def apart(one: Tensor, other: Tensor) -> float:
    """Distance as a share of the size."""
    return float((one - other).norm() / other.norm())


@pytest.mark.long
def test_a_pass_without_a_face_is_the_base_models(pipe: Any, base: Any, selfie: Path, dress: Path) -> None:
    """Words alone, a garment alone, identity strength 0; before a pass with a face and after it."""
    garment = (f"dress={dress}",)
    faceless: list[dict[str, Any]] = [{}, {"garments": garment}, {"selfie": selfie, "identity_strength": 0.0}]
    wanted = [drawn(base), drawn(base, garments=garment), drawn(base)]
    assert all(torch.equal(drawn(pipe, **fields), like) for fields, like in zip(faceless, wanted, strict=True))
    with_face = drawn(pipe, selfie=selfie)
    assert apart(with_face, wanted[0]) > 0.01
    assert all(torch.equal(drawn(pipe, **fields), like) for fields, like in zip(faceless, wanted, strict=True))
    assert torch.equal(drawn(pipe, selfie=selfie), with_face)


@pytest.mark.long
def test_the_strength_is_the_users(pipe: Any, base: Any, profile: Profile, selfie: Path) -> None:
    """As much of `up · down` as asked is in the weights: beside a base into which it was added by hand."""
    file = Path(str(profile.folder)) / str(profile.part("identity_adapter").file)
    state = torch.load(file, weights_only=True)["ip_adapter"]
    weights = {key: tensor.clone() for key, tensor in base.unet.state_dict().items()}
    base.load_adapter(file, "identity_adapter")
    found = {}
    for strength in (0.0, 0.4, 1.0):
        found[strength] = drawn(pipe, selfie=selfie, face_lora_strength=strength)
        merged = dict(weights)
        for index, site in enumerate(sites_of(weights)):
            for target, layer in {"q": "to_q", "k": "to_k", "v": "to_v", "out": "to_out.0"}.items():
                down, up = (state[f"{index}.to_{target}_lora.{half}.weight"] for half in ("down", "up"))
                merged[f"{site}.{layer}.weight"] = weights[f"{site}.{layer}.weight"] + strength * up @ down
        for key, tensor in merged.items():
            layer, _, last = key.rpartition(".")
            own = base.unet.get_submodule(layer)
            getattr(getattr(own, "base_layer", own), last).data.copy_(tensor)
        like = drawn(base, selfie=selfie, face_lora_strength=0.0)
        torch.testing.assert_close(found[strength], like, rtol=1e-3, atol=1e-3 * float(like.abs().max()))
    assert apart(found[0.4], found[0.0]) > 0.01 and apart(found[0.4], found[1.0]) > 0.01


def sites_of(state: dict[str, Tensor]) -> list[str]:
    """Attention sites in the order by which the files number them: down, up, middle."""
    names = [key.removesuffix(".to_q.weight") for key in state if key.endswith(".to_q.weight")]
    return [name for side in ("down", "up", "mid") for name in names if name.startswith(f"{side}_block")]


@pytest.mark.long
def test_the_users_own_loras_act_all_the_same(pipe: Any, base: Any, own_lora: LoraChoice, selfie: Path) -> None:
    plain, both = drawn(pipe), drawn(pipe, selfie=selfie)
    with loras_on(base, [own_lora]):
        wanted = drawn(base)
    with loras_on(pipe, [own_lora]):
        assert torch.equal(drawn(pipe), wanted) and apart(wanted, plain) > 0.01
        assert apart(drawn(pipe, selfie=selfie), both) > 0.01
        assert torch.equal(drawn(pipe, selfie=selfie, identity_strength=0.0), wanted)
    assert torch.equal(drawn(pipe), plain) and torch.equal(drawn(pipe, selfie=selfie), both)


@pytest.mark.long
def test_two_jobs_on_one_pipeline(pipe: Any, base: Any, selfie: Path) -> None:
    """One with a face and one without, at the same time: each is what it is alone."""
    jobs: dict[str, dict[str, Any]] = {"face": {"selfie": selfie}, "words": {}}
    alone, found = {"face": drawn(pipe, selfie=selfie), "words": drawn(base)}, {}

    def work(name: str) -> None:
        found[name] = [drawn(pipe, **jobs[name]) for _ in range(2)]

    threads = [threading.Thread(target=work, args=(name,)) for name in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(one, alone[name]) for name in jobs for one in found[name])


def face_of(pipe: Any, selfie: Path, **schedule: Any) -> tuple[dict[str, Any], Any, Condition]:
    """Prompt, layout, and the face's condition on a schedule."""
    made = compose(pipe, Request(prompt="in the park", pose="standing", seed=5, selfies=(selfie,), parsing_strength=0))
    return prompt_arguments(pipe, made.sentence), made.layout, replace(made.conditions[0], **schedule)


@pytest.mark.long
def test_it_acts_in_the_steps_of_the_face(pipe: Any, base: Any, selfie: Path) -> None:
    prompt, layout, late = face_of(pipe, selfie, start=0.5)
    seen: dict[str, list[Tensor]] = {"pipe": [], "base": []}

    def keep(name: str) -> Any:
        return lambda _pipe, _step, _time, given: seen[name].append(given["latents"].clone()) or given

    found = latents(pipe, prompt, layout, [late], callback_on_step_end=keep("pipe"))
    plain = latents(base, prompt, layout, callback_on_step_end=keep("base"))
    assert torch.equal(seen["pipe"][0], seen["base"][0])  # the face comes in at the second step
    assert apart(found, plain) > 1e-4
    assert apart(found, latents(pipe, prompt, layout, [replace(late, lora_weight=0.0)])) > 1e-4
    for never in (replace(late, start=0.6), replace(late, start=0.0, end=0.4)):
        assert torch.equal(latents(pipe, prompt, layout, [never]), plain)
    early = latents(pipe, prompt, layout, [replace(late, start=0.0, end=0.5)])
    assert apart(early, plain) > 0.01
    assert not torch.equal(early, latents(pipe, prompt, layout, [replace(late, start=0.0)]))


def test_keys_of_a_garment_read_by_the_unet_itself_follow(pipe: Any, selfie: Path, tmp_path: Path) -> None:
    """MagicClothing's keys are the UNet's own projections: with a face they are those with the LoRA."""
    if pipe.backend.family == "sdxl":
        pytest.skip("MagicClothing is of SD1.5")
    torch.manual_seed(8)
    path = write(tmp_path / NAMES["magic-clothing"], random_state(shapes_of("magic-clothing", plain_unet(pipe))))
    pipe.load_adapter(path, "cloth")
    cloth = pipe.garment_condition("cloth", noise_picture(SIZE[1], SIZE[0]), WHOLE)
    prompt, layout, face = face_of(pipe, selfie)
    found = latents(pipe, prompt, layout, [cloth, face])
    pipe.set_adapters(["identity_adapter"], [1.0])  # all the time, so that the keys are projected with it at once
    assert torch.equal(latents(pipe, prompt, layout, [cloth, face]), found)


def plain_unet(pipe: Any) -> Any:
    """A UNet of the pipeline's shape without any wrapping."""
    return type(pipe.unet).from_config(pipe.unet.config)


def test_a_lora_that_was_taken_away_is_missed(pipe: Any, selfie: Path) -> None:
    prompt, layout, face = face_of(pipe, selfie)
    pipe.unload_lora_weights()
    with pytest.raises(InputError, match=r"'identity_adapter' is not in UNet2DConditionModel any more; load"):
        latents(pipe, prompt, layout, [face])


@pytest.mark.long
def test_from_the_command_line(profile: Profile, selfie: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ON_HUB, profile.name, profile)
    asked = [
        "generate",
        "--model",
        profile.name,
        "--prompt",
        "in the park",
        "--selfie",
        str(selfie),
        "--pose",
        "waving",
    ]
    asked += ["--seed", "7", "--no-labels", "--candidates", "1"]
    pictures = []
    for strength in ("1.0", "0.3"):
        out = tmp_path / strength
        done = CliRunner().invoke(cli.app, [*asked, "--face-lora-strength", strength, "-o", str(out)])
        assert done.exit_code == 0, done.output
        assert json.loads((out / "0007.json").read_text())["request"]["face_lora_strength"] == float(strength)
        pictures.append(np.asarray(Image.open(out / "0007.png")).astype(int))
    assert np.abs(pictures[0] - pictures[1]).mean() > 1
