"""The small CLIP of the bundled model: real transformers classes with the CLIP vocabulary, trained from nothing."""

from __future__ import annotations

import gzip
import math
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from open_clip.tokenizer import bytes_to_unicode
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

#: Vocabulary and length of every CLIP text model (Radford et al., 2021); Stable Diffusion expects both.
VOCABULARY, LENGTH = 49408, 77
START, END = VOCABULARY - 2, VOCABULARY - 1
#: Side of the square that the image half sees, and of its patches, px.
IMAGE, PATCH = 112, 16
PROJECTION = 128
#: Garment kind → the sentence by which `StudioCLIP.choose` recognises its flat picture.
GARMENT_SENTENCES: dict[str, str] = {
    "t_shirt": "a t-shirt on white",
    "tank_top": "a tank top on white",
    "shirt": "a shirt on white",
    "hoodie": "a hoodie on white",
    "coat": "a coat on white",
    "dress": "a dress on white",
    "skirt": "a skirt on white",
    "trousers": "trousers on white",
    "shorts": "shorts on white",
}


def tokenizer() -> CLIPTokenizer:
    """CLIP's tokenizer from the byte-pair file in open_clip's wheel, so that none must be downloaded."""
    packed = Path(open_clip.__file__).with_name("bpe_simple_vocab_16e6.txt.gz")
    lines = gzip.decompress(packed.read_bytes()).decode("utf-8").split("\n")
    merges = [tuple(line.split()) for line in lines[1 : VOCABULARY - 512 - 2 + 1]]  # 512 = bytes, and bytes + "</w>"
    letters = list(bytes_to_unicode().values())
    words = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in merges)]
    vocabulary = {word: k for k, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=LENGTH)  # type: ignore[arg-type]


def token_ids(tokens: CLIPTokenizer, texts: Sequence[str]) -> Tensor:
    """Token numbers of texts, int64 (B, 77), padded with the end token and cut where too long.

    Full-width forms are folded to plain ones first (，→ ,), as open_clip's ftfy does: bytes are dear in Chinese.
    """
    rows = tokens(plain_forms(list(texts)), truncation=True, max_length=LENGTH).input_ids
    return torch.tensor([row + [END] * (LENGTH - len(row)) for row in rows])


def plain_forms(text: Any) -> Any:
    """A text, or a list of texts, with full-width forms folded to plain ones."""
    return [plain_forms(one) for one in text] if isinstance(text, list) else unicodedata.normalize("NFKC", text)


def letterbox(pictures: Tensor, side: int = IMAGE) -> Tensor:
    """Fits pictures into a square with white margins.

    Args:
        pictures: uint8 (B, H, W, 3), or float (B, 3, H, W) in [-1, 1].
        side: Side of the square, px.

    Returns:
        float (B, 3, side, side) in [-1, 1].
    """
    whole = pictures.dtype == torch.uint8
    pictures = pictures.permute(0, 3, 1, 2) if whole else pictures
    height, width = pictures.shape[2:]
    scale = side / max(height, width)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    if size != (height, width):  # bytes are resized as bytes: several times faster
        pictures = F.interpolate(pictures, size, mode="bilinear", antialias=scale < 1, align_corners=False)
    pictures = pictures.float() / 127.5 - 1 if whole else pictures
    top, left = (side - size[0]) // 2, (side - size[1]) // 2
    return F.pad(pictures, (left, side - size[1] - left, top, side - size[0] - top), value=1.0)


class StudioCLIP(nn.Module):
    """A text half and an image half that meet in a space of 128 dimensions.

    The halves are stock classes and are stored under the names that a diffusers pipeline gives them, so the folder of
    the whole pipeline is also a folder of this: `text_encoder/`, `image_encoder/`, `tokenizer/` and `clip/` (text
    projection and logit scale, which a pipeline does not need).
    """

    def __init__(self, text_encoder: CLIPTextModel, image_encoder: CLIPVisionModelWithProjection):
        super().__init__()
        self.text_encoder, self.image_encoder = text_encoder, image_encoder
        width, projection = text_encoder.config.hidden_size, image_encoder.config.projection_dim
        self.text_projection = nn.Linear(width, projection, bias=False)
        nn.init.normal_(self.text_projection.weight, std=width**-0.5)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))  # CLIP, section 2.5
        self.tokenizer = tokenizer()

    @classmethod
    def new(cls, text_width: int = 128, image_width: int = 192, layers: int = 4) -> StudioCLIP:
        """A CLIP with random weights of the bundled model's sizes."""
        text = CLIPTextConfig(
            vocab_size=VOCABULARY, max_position_embeddings=LENGTH, hidden_size=text_width,
            intermediate_size=4 * text_width, num_hidden_layers=layers, num_attention_heads=4,
            projection_dim=PROJECTION, bos_token_id=START, eos_token_id=END, pad_token_id=END,
        )  # fmt: skip
        image = CLIPVisionConfig(
            image_size=IMAGE, patch_size=PATCH, hidden_size=image_width, intermediate_size=4 * image_width,
            num_hidden_layers=layers, num_attention_heads=4, projection_dim=PROJECTION,
        )  # fmt: skip
        return cls(CLIPTextModel(text), CLIPVisionModelWithProjection(image))

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Texts → unit vectors (B, 128)."""
        ids = token_ids(self.tokenizer, texts).to(self.logit_scale.device)
        return self.text_embedding(self.text_encoder(ids).pooler_output)

    def encode_image(self, pictures: Tensor) -> Tensor:
        """Pictures (as `letterbox` takes them) → unit vectors (B, 128)."""
        pixels = letterbox(pictures.to(self.logit_scale.device))
        return F.normalize(self.image_encoder(pixels.to(self.logit_scale.dtype)).image_embeds, dim=1)

    def text_embedding(self, pooled: Tensor) -> Tensor:
        """Pooled state of the text half (B, hidden) → unit vectors (B, 128)."""
        return F.normalize(self.text_projection(pooled), dim=1)

    @torch.no_grad()
    def choose(self, picture: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        """Zero-shot recognition (CLIP, section 3.1): how well each text suits the picture.

        Args:
            picture: uint8 (H, W, 3).
            texts: The choices, such as one sentence per garment kind.

        Returns:
            float32 (len(texts),) probabilities.
        """
        image = self.encode_image(torch.from_numpy(np.ascontiguousarray(picture))[None])
        logits = self.logit_scale.exp() * image @ self.encode_text(texts).T
        return logits[0].float().softmax(0).cpu().numpy()

    def save_pretrained(self, folder: Path | str) -> None:
        """Writes the halves, the tokenizer and the head; weights in the precision they have."""
        folder = Path(folder)
        self.text_encoder.save_pretrained(folder / "text_encoder")
        self.image_encoder.save_pretrained(folder / "image_encoder")
        self.tokenizer.save_pretrained(folder / "tokenizer")
        (folder / "clip").mkdir(parents=True, exist_ok=True)
        head = {"text_projection.weight": self.text_projection.weight, "logit_scale": self.logit_scale}
        head = {name: tensor.detach().contiguous() for name, tensor in head.items()}
        save_file(head, folder / "clip" / "model.safetensors")

    @classmethod
    def from_pretrained(cls, folder: Path | str, dtype: torch.dtype = torch.float32) -> StudioCLIP:
        """Reads what `save_pretrained` wrote, in `eval` mode.

        Raises:
            ValueError: The folder holds no CLIP.
        """
        folder = Path(folder)
        head = folder / "clip" / "model.safetensors"
        if not head.is_file():
            raise ValueError(f"{folder} holds no CLIP ({head} is missing): train one with twinset.training.studio.clip")
        text = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=dtype)
        image = CLIPVisionModelWithProjection.from_pretrained(folder / "image_encoder", dtype=dtype)
        clip = cls(text, image)
        clip.load_state_dict(load_file(head), strict=False)
        return clip.to(dtype).eval()
