"""The whole stack of public parts at once, against diffusers' own assembly of the same files."""

# pyright: reportArgumentType=false
# (diffusers' hints are narrower than what it takes)
from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, StableDiffusionControlNetPipeline
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPTextConfig, CLIPTextModel

from tests.helpers.public_files import WIDTH, nested, random_state, shapes_of, tiny_unet, write
from tests.helpers.small_tokenizer import small_tokenizer
from tests.helpers.tiny import dressed
from twinset.adapters.condition import Condition
from twinset.adapters.public import PublicAdapter, read_adapter
from twinset.figure.keypoints import openpose_skeleton
from twinset.pipelines.joint import JointPipeline

PROMPT, STEPS, SCALE = "short hair, on the beach", 3, 0.7


def parts() -> dict[str, Any]:
    """SD1.5's parts at a size that tests can run, two ControlNets among them; random weights."""
    torch.manual_seed(0)
    unet = tiny_unet()
    nets = [ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 8, 8, 8)) for _ in range(2)]
    for net in nets:
        for parameter in net.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.05)
    text = CLIPTextConfig(
        hidden_size=WIDTH, intermediate_size=64, num_attention_heads=4, num_hidden_layers=2, vocab_size=49408,
        eos_token_id=49407, bos_token_id=49406, pad_token_id=49407,
    )  # fmt: skip
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 8), norm_num_groups=4, latent_channels=4,
    )  # fmt: skip
    return {
        "unet": unet, "controlnet": [net.eval() for net in nets], "vae": vae,
        "text_encoder": CLIPTextModel(text).eval(),
        "tokenizer": small_tokenizer(),
        "scheduler": DDIMScheduler(clip_sample=False),
    }  # fmt: skip


def halves() -> tuple[Tensor, Tensor]:
    """Two masks (1, 1, 256, 192): the left and the right half."""
    left = torch.zeros(1, 1, 256, 192)
    left[..., :96] = 1
    return left, 1 - left


def condition(adapter: PublicAdapter, given: Tensor, region: Tensor) -> Condition:
    """An adapter's condition; zeros stand for its absence, as in its training."""
    projector, sites = adapter.projector, adapter.sites
    assert projector is not None and sites is not None
    absent = projector(torch.zeros_like(given))
    return Condition(adapter.kind, projector(given), region, sites, absent=absent, weight=SCALE)


@pytest.mark.long
def test_two_controlnets_a_face_and_a_garment_with_masks_equal_diffusers(tmp_path: Path) -> None:
    """FaceID with its LoRA on one half, IP-Adapter-Plus on the other: the same latents to 1e-4 of their size."""
    given = parts()
    files = {
        "face-id": tmp_path / "ip-adapter-faceid_sd15.bin",
        "ip-adapter-plus": tmp_path / "ip-adapter-plus_sd15.safetensors",
    }
    states = {form: random_state(shapes_of(form, given["unet"])) for form in files}
    for form, path in files.items():
        write(path, states[form])
    face, clothes = F.normalize(torch.randn(1, 512)), torch.randn(1, 9, 1280)
    start = torch.randn(1, 4, 32, 24)
    layout = dressed()
    skeleton = torch.tensor(openpose_skeleton(layout.keypoints, (192, 256), 4)).permute(2, 0, 1)[None].float() / 255

    theirs = StableDiffusionControlNetPipeline(
        **{**given, "unet": copy.deepcopy(given["unet"])}, safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip
    nests = [nested(states[form], ("image_proj", "ip_adapter")) for form in files]
    lora = theirs.unet._load_ip_adapter_loras(nests)[0]
    theirs.unet._load_ip_adapter_weights(nests)
    theirs.unet.load_lora_adapter(lora, prefix="unet", adapter_name="faceid_0")
    theirs.set_ip_adapter_scale([SCALE, SCALE])
    embeds = [torch.cat([torch.zeros_like(x), x])[:, None] for x in (face, clothes)]
    expected: Any = theirs(
        PROMPT, image=[skeleton, skeleton], latents=start, num_inference_steps=STEPS, height=256, width=192,
        guidance_scale=3.0, ip_adapter_image_embeds=embeds, output_type="latent", return_dict=False,
        cross_attention_kwargs={"ip_adapter_masks": list(halves())},
    )[0]  # fmt: skip

    pipe = JointPipeline(**given)
    adapters = [read_adapter(path, pipe.unet) for path in files.values()]
    before = {name: weight.clone() for name, weight in pipe.unet.state_dict().items()}
    assert adapters[0].lora is not None
    pipe.unet.load_lora_adapter(adapters[0].lora, prefix=None, adapter_name="face")
    conditions = [condition(a, x, m) for a, x, m in zip(adapters, (face, clothes), halves(), strict=True)]

    def ours(*chosen: Condition) -> Tensor:
        images = pipe(
            PROMPT,
            layout=layout,
            conditions=chosen,
            latents=start,
            num_inference_steps=STEPS,
            guidance_scale=3.0,
            output_type="latent",
        ).images
        assert isinstance(images, Tensor)
        return images

    size = float(expected.abs().max())
    torch.testing.assert_close(ours(*conditions), expected, rtol=1e-4, atol=1e-4 * size)
    assert (ours(conditions[0]) - expected).abs().max() > 1e-2 * size  # each has its say
    pipe.unet.unload_lora()
    assert all(torch.equal(before[name], weight) for name, weight in pipe.unet.state_dict().items())
