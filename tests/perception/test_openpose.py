"""Poses by controlnet-aux: with the real package and random weights where it is installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from twinset.errors import InputError
from twinset.perception.people import pose
from twinset.perception.people.pose import keypoints_of

PICTURE = np.random.default_rng(0).integers(0, 256, (96, 64, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the hub's cache would hold the network; nothing lies there yet."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "models--lllyasviel--Annotators"
    path = folder / "snapshots" / ("a" * 40) / "body_pose_model.pth"
    path.parent.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("a" * 40)
    pose._openpose.cache_clear()
    yield path
    pose._openpose.cache_clear()


def fake_controlnet_aux(monkeypatch: pytest.MonkeyPatch, joints: list[Any]) -> list[str]:
    """A module in controlnet_aux's place that finds one person; the files that its body network was read from."""
    files: list[str] = []
    poses = [SimpleNamespace(body=SimpleNamespace(keypoints=joints))]
    module = cast(Any, ModuleType("controlnet_aux"))
    module.open_pose = SimpleNamespace(Body=files.append)
    module.OpenposeDetector = lambda body: SimpleNamespace(detect_poses=lambda picture: poses)
    monkeypatch.setitem(sys.modules, "controlnet_aux", module)
    return files


def test_joints_are_shares_of_the_picture(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    joints: list[Any] = [SimpleNamespace(x=0.5, y=0.25, score=0.9) for _ in range(18)]
    joints[0], joints[3] = SimpleNamespace(x=0.1, y=0.2, score=0.7), None
    files = fake_controlnet_aux(monkeypatch, joints)
    cached.write_bytes(b"weights")
    (found,) = keypoints_of(np.zeros((200, 100, 3), np.uint8), by="openpose")
    np.testing.assert_allclose(found[0], (10, 40, 0.7), rtol=1e-5)
    assert not found[3].any() and files == [str(cached)]


def test_without_the_package_one_line_names_what_stands_in_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "controlnet_aux", None)
    with pytest.raises(InputError, match=r"'twinset\[openpose\]', and pip uninstall mediapipe .* mmcv") as error:
        keypoints_of(PICTURE, by="openpose")
    assert "\n" not in str(error.value)


def test_without_the_network_one_line_says_how_to_fetch_it(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_controlnet_aux(monkeypatch, [])
    fetch = "hf download lllyasviel/Annotators body_pose_model.pth"
    with pytest.raises(InputError, match=f"'body_pose_model.pth' is not in the hub's cache; {fetch}"):
        keypoints_of(PICTURE, by="openpose")
    cached.write_bytes(b"nothing")
    sys.modules["controlnet_aux"].open_pose.Body = torch.load
    with pytest.raises(InputError, match=r"no network of OpenPose \(UnpicklingError\)") as error:
        keypoints_of(PICTURE, by="openpose")
    assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("ignore")
def test_the_real_package_runs(cached: Path) -> None:
    try:
        from controlnet_aux.open_pose.model import bodypose_model  # pyright: ignore[reportMissingImports]
    except Exception as error:  # absent, or a package that it brings fails as it comes in
        pytest.skip(f"controlnet-aux does not come in: {error}")

    network = bodypose_model()
    for weights in network.parameters():
        torch.nn.init.normal_(weights, std=0.05)
    torch.save({name.partition(".")[2]: values for name, values in network.state_dict().items()}, cached)
    people = keypoints_of(PICTURE, by="openpose")
    assert all(one.shape == (18, 3) and (one[one[:, 2] > 0, :2] < (64, 96)).all() for one in people)
