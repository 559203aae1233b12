"""Parsing maps of photographs: every pixel's garment or body part, by public networks, in our 18 ATR labels.

| form | network | classes | input | fitted by |
|---|---|---|---|---|
| segformer | SegFormer (Xie et al. 2021), mattmdjaga/segformer_b2_clothes | ATR 18 | 512 × 512 RGB | stretching |
| schp | SCHP (Li et al., TPAMI 2020), ONNX | ATR 18 at 512, LIP 20 at 473 | square, BGR | letterbox, black |
| hrnet | HRNet + OCR (Yuan et al., ECCV 2020), ONNX | LIP 20 | 473 × 473 RGB | stretching |

All take values in 0..1 less ImageNet's mean over its deviation, and give logits at a quarter or so of the input's size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor
from torch.nn.functional import interpolate

from twinset.errors import InputError
from twinset.figure.labels import (
    BACKGROUND,
    DRESS,
    FACE,
    HAIR,
    LABELS,
    LEFT_ARM,
    LEFT_LEG,
    LEFT_SHOE,
    PANTS,
    RIGHT_ARM,
    RIGHT_LEG,
    RIGHT_SHOE,
    SKIRT,
    UPPER,
)
from twinset.perception.onnx_graph import CPU, OnnxGraph, check_picture

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, RGB."""
LARGEST = 1024
"""Longer side at which logits are compared; the labels of larger pictures are enlarged."""
HAT, SUNGLASSES, SCARF = 1, 3, 17

#: LIP's 20 classes (Gong et al., CVPR 2017) and what each is in ATR. A coat is upper clothes, a jumpsuit covers what a
#: dress covers. Gloves and socks have no side: they go to the arm or leg that is likelier at that pixel (`LIP_SIDES`).
LIP: tuple[tuple[str, int], ...] = (
    ("background", BACKGROUND), ("hat", HAT), ("hair", HAIR), ("glove", LEFT_ARM), ("sunglasses", SUNGLASSES),
    ("upper-clothes", UPPER), ("dress", DRESS), ("coat", UPPER), ("socks", LEFT_LEG), ("pants", PANTS),
    ("jumpsuits", DRESS), ("scarf", SCARF), ("skirt", SKIRT), ("face", FACE), ("left-arm", LEFT_ARM),
    ("right-arm", RIGHT_ARM), ("left-leg", LEFT_LEG), ("right-leg", RIGHT_LEG), ("left-shoe", LEFT_SHOE),
    ("right-shoe", RIGHT_SHOE),
)  # fmt: skip
#: LIP class without a side → LIP's right part that it may belong to, LIP's left part, and the right part in ATR.
LIP_SIDES = {3: (15, 14, RIGHT_ARM), 8: (17, 16, RIGHT_LEG)}


@dataclass(frozen=True)
class _Form:
    """How a network wants a picture, and how its logits lie in it."""

    bgr: bool
    letterbox: bool
    align_corners: bool


FORMS = {
    "segformer": _Form(bgr=False, letterbox=False, align_corners=False),
    "schp": _Form(bgr=True, letterbox=True, align_corners=True),
    "hrnet": _Form(bgr=False, letterbox=False, align_corners=True),
}


class Parser:
    """A network that parses people, whichever it is; made by `segformer_parser` or `onnx_parser`.

    Args:
        network: (1, 3, S, S) → logits (1, 18 or 20, h, w).
        size: S.
        form: a key of `FORMS`.
    """

    def __init__(self, network: Callable[[Tensor], Tensor], size: int, form: str):
        self._network, self.size, self._form = network, size, FORMS[form]

    def labels(self, picture: np.ndarray) -> np.ndarray:
        """The parsing map of a picture.

        Args:
            picture: uint8 (H, W, 3) RGB, any size.

        Returns:
            uint8 (H, W), ATR labels.

        Raises:
            ValueError: the picture is not uint8 (H, W, 3).
            InputError: the graph fails or gives something else.
        """
        check_picture(picture)
        found = Image.fromarray(_atr(self._logits(picture)[0]))
        return np.array(found.resize((picture.shape[1], picture.shape[0]), Image.Resampling.NEAREST))

    @torch.no_grad()
    def _logits(self, picture: np.ndarray) -> Tensor:
        """(1, classes, h, w) over the picture, its longer side at most `LARGEST`."""
        height, width = picture.shape[:2]
        inner = self._inner(width, height)
        logits = self._network(self._blob(picture, inner)).float()
        full = interpolate(logits, (self.size,) * 2, mode="bilinear", align_corners=self._form.align_corners)
        left, top = (self.size - inner[0]) // 2, (self.size - inner[1]) // 2
        full = full[..., top : top + inner[1], left : left + inner[0]]
        shrink = min(1, LARGEST / max(width, height))
        size = max(1, round(height * shrink)), max(1, round(width * shrink))
        return interpolate(full, size, mode="bilinear", align_corners=False)

    def _inner(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) that the picture takes in the middle of the square."""
        if not self._form.letterbox:
            return self.size, self.size
        scale = self.size / max(width, height)
        return max(1, round(width * scale)), max(1, round(height * scale))

    def _blob(self, picture: np.ndarray, inner: tuple[int, int]) -> Tensor:
        square = Image.new("RGB", (self.size, self.size))
        fitted = Image.fromarray(picture).resize(inner, Image.Resampling.BILINEAR)
        square.paste(fitted, ((self.size - inner[0]) // 2, (self.size - inner[1]) // 2))
        values = (np.asarray(square, np.float32) / 255 - MEAN) / DEVIATION
        if self._form.bgr:
            values = values[..., ::-1]
        return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)[None], np.float32))


def segformer_parser(folder: Path, device: str | torch.device = "cpu") -> Parser:
    """SegFormer of transformers from a folder with `config.json` and `model.safetensors`.

    Raises:
        InputError: the folder holds no SegFormer of ATR's 18 classes.
    """
    from transformers import SegformerForSemanticSegmentation

    loader: Any = SegformerForSemanticSegmentation
    try:
        network, loaded = loader.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise _no_segformer(folder, reason) from error
    lacking = [*loaded["missing_keys"], *loaded["mismatched_keys"]]
    if lacking:
        raise _no_segformer(folder, f"{len(lacking)} tensors do not fit its config.json, such as {lacking[0]!r}")
    names = [str(name).lower() for _, name in sorted(network.config.id2label.items())]
    if names != list(LABELS):
        raise _no_segformer(folder, f"its {len(names)} classes begin {', '.join(names[:5])}")
    network = network.to(device).eval()
    return Parser(lambda pixels: network(pixels.to(device)).logits.cpu(), 512, "segformer")


def _no_segformer(folder: Path, reason: str) -> InputError:
    return InputError(
        f"{str(folder)!r} is not a SegFormer with ATR's 18 classes ({reason}); "
        "use mattmdjaga/segformer_b2_clothes, or, if it is damaged: twinset models pull PROFILE --part parser"
    )


def onnx_parser(path: Path, form: str) -> Parser:
    """SCHP or HRNet + OCR from an ONNX file; of several outputs with 18 or 20 channels the last is the refined one.

    Args:
        path: ONNX file.
        form: "schp" or "hrnet".

    Raises:
        InputError: the form is unknown, or the file is missing or no such graph.
    """
    if form not in ("schp", "hrnet"):
        raise InputError(f"parser form {form!r} is unknown; choose schp or hrnet")
    graph = OnnxGraph(Path(path), CPU, None, f"parser of {form}'s kind, (1, 3, S, S) → (1, 18 or 20, h, w)")
    side = _usual_size(graph)
    if not graph.takes((side, side)):
        raise graph.wrong()
    return Parser(lambda pixels: _refined(graph, pixels), side, form)


def _usual_size(graph: OnnxGraph) -> int:
    """What the graph declares; 512 for 18 channels and 473 for 20 where it leaves the size open."""
    declared = graph.inputs[0].shape
    if declared and isinstance(declared[-1], int):
        return declared[-1]
    channels = [output.shape[1] for output in graph.outputs if len(output.shape) == 4]
    return 512 if len(LABELS) in channels else 473


def _refined(graph: OnnxGraph, pixels: Tensor) -> Tensor:
    outputs = graph.run(pixels.numpy())
    maps = [values for values in outputs if values.ndim == 4 and values.shape[1] in (len(LABELS), len(LIP))]
    if not maps:
        raise graph.wrong(f"it gave shapes {[values.shape for values in outputs]}")
    return torch.from_numpy(np.array(maps[-1]))


def _atr(logits: Tensor) -> np.ndarray:
    """The likeliest ATR label of logits (18 or 20, H, W), uint8 (H, W)."""
    classes = logits.argmax(0).numpy()
    if len(logits) == len(LABELS):
        return classes.astype(np.uint8)
    labels = np.array([label for _, label in LIP], np.uint8)[classes]
    for sideless, (right, left, label) in LIP_SIDES.items():
        labels[(classes == sideless) & (logits[right] > logits[left]).numpy()] = label
    return labels
