"""The part of a pipeline that holds ControlNets: what each sees, obeys and reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from diffusers import ControlNetModel, ControlNetUnionModel, MultiControlNetModel, UNet2DConditionModel
from torch import Tensor

from twinset.adapters.condition import KNOWN_TO_ALL, Condition, Layout, TextConditioning, region_hints
from twinset.adapters.regions import region, soften
from twinset.figure.labels import BACKGROUND, LABELS
from twinset.models.region_controlnet import RegionControlNetModel, RegionHints
from twinset.pipelines.denoising.controlnets import Control
from twinset.pipelines.denoising.guidance import Branch
from twinset.pipelines.denoising.net_pictures import UNION_TYPES, NetRole, default_roles, net_picture

NetPictures = tuple[Tensor, ...]
"""What one ControlNet sees: a picture (1 or N, 3, H, W) in [0, 1] for each of its roles."""
Scale = float | Sequence[float]
PERSON = tuple(number for number in range(len(LABELS)) if number != BACKGROUND)
PERSON_RIM = 1 / 64
"""Width of the soft edge of the person's region, as a share of the picture's width."""


class ControlNetsMixin:
    """ControlNets in a pipeline, each in the roles that it was trained for."""

    thick_skeleton = False
    unet: UNet2DConditionModel
    controlnet: Any  # ControlNetModel, MultiControlNetModel or None
    control_image_processor: Any
    vae_scale_factor: int
    net_roles: Sequence[tuple[NetRole, ...]] = ()
    """Roles of each ControlNet; of ours and of pose nets they need not be said."""
    _execution_device: torch.device

    @property
    def nets(self) -> list[ControlNetModel]:
        """The ControlNets, none to several."""
        return [] if self.controlnet is None else list(getattr(self.controlnet, "nets", [self.controlnet]))

    @property
    def roles(self) -> list[tuple[NetRole, ...]]:
        """Roles of each ControlNet."""
        return list(self.net_roles or default_roles(self.nets))

    def _pictures_for_nets(
        self, image: Any, layout: Layout | None, height: int | None, width: int | None, count: int
    ) -> list[NetPictures]:
        """What each ControlNet sees: the user's pictures, or drawn from the layout."""
        if image is None and layout is None and self.nets:
            raise ValueError("image=None, layout=None: this model has ControlNets; give the layout or their images")
        if image is None:
            return [
                tuple(self._drawn(net, role, cast(Layout, layout)) for role in roles)
                for net, roles in zip(self.nets, self.roles, strict=True)
            ]
        images = image if isinstance(self.controlnet, MultiControlNetModel) else [image]
        if len(images) != len(self.nets):
            raise ValueError(f"{len(images)} images for {len(self.nets)} ControlNets: give one for each")
        where = {"device": self._execution_device, "dtype": self.unet.dtype}

        def ready(one: Any) -> Tensor:
            x = self.control_image_processor.preprocess(one, height=height, width=width)
            return x.to(**where) if len(x) == 1 else x.repeat_interleave(count // len(x), 0).to(**where)

        return [
            tuple(map(ready, one)) if len(roles) > 1 else (ready(one),)
            for one, roles in zip(images, self.roles, strict=True)
        ]

    def _drawn(self, net: ControlNetModel, role: NetRole, layout: Layout) -> Tensor:
        beside_ours = any(isinstance(other, RegionControlNetModel) for other in self.nets)
        return (self._pixels(net_picture(net, role, layout, beside_ours, self.thick_skeleton)) + 1) / 2

    def _controls(
        self,
        pictures: list[NetPictures],
        reads: Sequence[Condition | None],
        conditions: list[Condition],
        words: TextConditioning,
        empty: TextConditioning,
        scales: tuple[Any, ...],
        layout: Layout | None,
    ) -> list[Control]:
        """The ControlNets, each with what it sees, its strength and its schedule."""
        load_offloaded(self.controlnet)
        rows = [list(s) if isinstance(s, Sequence) else [s] * len(pictures) for s in scales]
        controls = []
        for net, roles, seen, read, scale, *schedule in zip(self.nets, self.roles, pictures, reads, *rows, strict=True):
            if isinstance(net, RegionControlNetModel):
                painted = self._painter(net, seen[0], conditions, words, empty)
                controls.append(Control(net, (), painted, scale, *schedule))
            elif isinstance(net, ControlNetUnionModel):
                controls += _union_control(net, roles, seen, scale, schedule)
            elif roles == ("face",):
                face = read or next((c for c in conditions if c.kind == "identity" and c.tokens is not None), None)
                controls += [] if face is None else [Control(net, seen, None, scale, *schedule, reads=face)]
            else:
                where = self._person(layout) if roles == ("parsing",) and layout is not None else None
                controls.append(Control(net, seen, None, scale, *schedule, reads=read, region=where))
        return controls

    def _person(self, layout: Layout) -> Tensor:
        """Where people are, with a soft edge: of what is around them a parsing map says nothing."""
        mask = soften(region(layout.labels, PERSON), PERSON_RIM * layout.labels.shape[1])
        return mask.to(self._execution_device, self.unet.dtype)

    def _painter(
        self,
        net: RegionControlNetModel,
        palette: Tensor,
        conditions: list[Condition],
        words: TextConditioning,
        empty: TextConditioning,
    ) -> Callable[[Branch], Tensor]:
        """The painted parsing map by guidance branch, each painted once."""
        size = (palette.shape[2] // self.vae_scale_factor, palette.shape[3] // self.vae_scale_factor)
        painted: dict[tuple[bool, tuple[str, ...]], Tensor] = {}

        def paint_for(branch: Branch) -> Tensor:
            key = branch.prompted, branch.kinds
            if key not in painted:
                text = words.states if branch.prompted else empty.states
                seen = palette.expand(len(text), -1, -1, -1)
                blank = RegionHints.blank(len(text), net.latent_channels, text.shape[-1], size, text)
                acting = [c for c in conditions if c.kind in (*branch.kinds, *KNOWN_TO_ALL)]
                painted[key] = net.embed(seen, text, region_hints(acting, len(text), blank))
            return painted[key]

        return paint_for

    def _pixels(self, picture: np.ndarray) -> Tensor:
        """uint8 (H, W, 3) to (1, 3, H, W) in [-1, 1], where the UNet is and as it computes."""
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
        return pixels.to(self._execution_device, self.unet.dtype) / 127.5 - 1


def _union_control(
    net: ControlNetUnionModel, roles: Sequence[NetRole], pictures: NetPictures, scale: Scale, schedule: Sequence[float]
) -> list[Control]:
    """A Union net in those of its roles that have any weight; none where no role has."""
    shares = [scale] * len(roles) if isinstance(scale, int | float) else list(scale)
    heard = [(UNION_TYPES[r], p, s) for r, p, s in zip(roles, pictures, shares, strict=True) if s]
    if not heard:
        return []
    types, seen, weights = zip(*heard, strict=True)
    start, end = schedule
    return [Control(cast(Any, net), seen, None, tuple(map(float, weights)), start, end, types=types)]


def load_offloaded(*parts: Any) -> None:
    """Under model offloading a part comes to the device when it is called, but of these only what is in them is.

    ControlNets are called singly, and of the bundled adapters a pass uses the projections alone.
    """
    for part in parts:
        hook = getattr(part, "_hf_hook", None)
        if hook is not None:
            hook.pre_forward(part)
