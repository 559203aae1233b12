"""ControlNets in their roles: what each sees, and that pose, parsing and the face's five points act as they should."""

# pyright: reportArgumentType=false
# (diffusers' hints are narrower than what it takes)
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLControlNetUnionPipeline
from torch.nn import functional as F

from tests.helpers.full_size import small_net, union_net
from tests.helpers.tiny import dressed, seeded
from tests.pipelines.test_families import PROMPT, face_condition, tiny_xl
from twinset.adapters.condition import Layout
from twinset.figure.keypoints import L_EYE, NOSE, R_EYE
from twinset.figure.labels import BACKGROUND, BAG, FACE, HAIR, UPPER, colourise
from twinset.pipelines.denoising.net_pictures import (
    POINT_COLOURS,
    ade20k_picture,
    face_points,
    five_point_picture,
)
from twinset.pipelines.joint_xl import JointXLPipeline

SIZE = (192, 256)


def control_pictures(layout: Layout) -> list[torch.Tensor]:
    """Skeleton and parsing map of a layout as a user of diffusers would give them."""
    from twinset.figure.keypoints import openpose_skeleton, stick_of

    drawn = openpose_skeleton(layout.keypoints, SIZE, stick_of(SIZE, True)), colourise(layout.labels)
    return [torch.tensor(one).permute(2, 0, 1)[None].float() / 255 for one in drawn]


@pytest.mark.parametrize(("types", "scale"), [([0, 5], [0.7, 0.4]), ([0], 0.7), ([5], 0.5)])
def test_a_union_net_acts_as_in_diffusers(types: list[int], scale: Any) -> None:
    """Pose and parsing in one network, together or one of them, against diffusers' own Union pipeline."""
    parts, layout = tiny_xl(), dressed()
    parts["controlnet"] = union_net(parts["unet"])
    start = torch.randn(1, 4, 32, 24, generator=torch.Generator().manual_seed(3))
    pictures = control_pictures(layout)
    plain = StableDiffusionXLControlNetUnionPipeline(**parts, add_watermarker=False)
    theirs: Any = plain(
        PROMPT, control_image=[pictures[0 if number == 0 else 1] for number in types], control_mode=list(types),
        latents=start, num_inference_steps=2, height=256, width=192, guidance_scale=3.0,
        controlnet_conditioning_scale=scale, output_type="latent", return_dict=False,
    )[0]  # fmt: skip
    pipe = JointXLPipeline(**parts, add_watermarker=False)
    pipe.net_roles = (("pose", "parsing"),)
    shares = [scale[types.index(number)] if isinstance(scale, list) else scale * (number in types) for number in (0, 5)]
    ours = pipe(
        PROMPT, layout=layout, latents=start, num_inference_steps=2, guidance_scale=3.0,
        controlnet_conditioning_scale=[shares], output_type="latent",
    ).images  # fmt: skip
    assert theirs.std() > 0.1
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * float(theirs.abs().max()))


def latents(pipe: JointXLPipeline, **more: Any) -> torch.Tensor:
    given = {"num_inference_steps": 1, "guidance_scale": 1.0, "output_type": "latent", "generator": seeded(0)}
    images = pipe(PROMPT, layout=dressed(), **given | more).images
    assert isinstance(images, torch.Tensor)
    return images


def test_a_parsing_net_speaks_where_the_person_is_and_leaves_the_scene_alone() -> None:
    parts, layout = tiny_xl(), dressed()
    pipe = JointXLPipeline(**parts, add_watermarker=False)
    pipe.net_roles = (("parsing",),)
    change = (latents(pipe) - latents(pipe, controlnet_conditioning_scale=0.0)).abs().mean(1)[0]
    pipe.net_roles = (("pose",),)
    anywhere = (latents(pipe) - latents(pipe, controlnet_conditioning_scale=0.0)).abs().mean(1)[0]
    person = torch.from_numpy(layout.labels != BACKGROUND).float()[None, None]
    far = F.max_pool2d(F.adaptive_max_pool2d(person, (32, 24)), 9, 1, 4)[0, 0] == 0
    assert far.sum() > 50
    spread, unlimited = (x[far].mean() / x[~far].mean() for x in (change, anywhere))
    assert spread < 0.3 and unlimited > 2 * spread  # what is left reaches there through convolutions and attention


def test_identitynet_reads_the_face_and_is_silent_without_one() -> None:
    parts = tiny_xl()
    parts["controlnet"] = [parts["controlnet"], small_net(parts["unet"])]
    pipe = JointXLPipeline(**parts, add_watermarker=False)
    pipe.net_roles = (("pose",), ("face",))
    face = face_condition(pipe.unet)
    nobody = latents(pipe)
    assert torch.equal(nobody, latents(pipe, controlnet_conditioning_scale=[1.0, 0.0]))
    somebody = latents(pipe, conditions=[face])
    assert not torch.equal(somebody, latents(pipe, conditions=[face], controlnet_conditioning_scale=[1.0, 0.0]))
    told = latents(pipe, conditions=[face], controlnet_reads=[None, face])
    assert torch.equal(somebody, told)


def test_five_points_lie_on_the_face_and_follow_its_turn() -> None:
    keypoints = dressed().keypoints.copy()
    points = face_points(keypoints)
    assert points is not None
    picture = five_point_picture(keypoints, SIZE)
    for (x, y), colour in zip(points.astype(int), POINT_COLOURS, strict=True):
        assert tuple(picture[y, x]) == colour
    eyes, mouth = points[:2].mean(0), points[3:].mean(0)
    assert points[0, 0] < points[1, 0] and points[3, 0] < points[4, 0] and mouth[1] > points[2, 1] > eyes[1]
    turn = np.array([[0, -1], [1, 0]])
    turned = keypoints.copy()
    turned[:, :2] = keypoints[:, :2] @ turn.T + (SIZE[0], 0)
    again = face_points(turned)
    assert again is not None and np.abs(again - (points @ turn.T + (SIZE[0], 0))).max() < 0.01
    for gone in (NOSE, R_EYE, L_EYE):
        hidden = keypoints.copy()
        hidden[gone] = 0
        assert face_points(hidden) is None and not five_point_picture(hidden, SIZE).any()


def test_our_labels_in_the_colours_of_ade20k() -> None:
    """Person, apparel and bag as the palette of ADE20K's challenge has them; the background is no class."""
    row = np.array([[BACKGROUND, FACE, HAIR, UPPER, BAG]], np.uint8)
    assert ade20k_picture(row)[0].tolist() == [[0, 0, 0], [150, 5, 61], [150, 5, 61], [0, 112, 255], [70, 184, 160]]
