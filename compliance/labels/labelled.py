"""A drawn picture with all its labels, in the one order that works.

Visible label, pixel mark, encoding with XMP, signature. All but the signature is the same bytes for the same picture,
so a record keeps the SHA-256 from before it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from twinset.compliance.labels.carriers import canonical, level_of, luma
from twinset.compliance.labels.content import content_code
from twinset.compliance.labels.find import find_mark
from twinset.compliance.labels.key import key_name, mark_key
from twinset.compliance.labels.mark import add_mark
from twinset.compliance.labels.signing import MISSING, SELF_MADE, can_sign, sign
from twinset.compliance.labels.visible import Corner, check_text, draw_label, fulfils_gb45438
from twinset.compliance.labels.xmp import encode_png, properties

LEAST_PSNR = 36.0
"""Decibels, where a picture was marked; a mark that would spoil it more is left out."""
NO_ROOM = "no pixel mark: the redrawn part of the photo is too small to carry one"
NOT_HELD = "no pixel mark: this picture cannot carry one"
OTHER_WORDS = "the label's words are not those of GB 45438 (人工智能 or AI with 生成 or 合成)"


@dataclass(frozen=True)
class Labelled:
    """A picture's file.

    Attributes:
        picture: RGB with the visible label and the pixel mark.
        data: The file.
        sha256: Of the file before it was signed.
        told: What goes into the record: `id`, `bound`, `mark` (eight hexadecimal digits, or None), `key`, `psnr` in dB,
            `text`, `corner`, `signed` ("development", "own" or None), `file_sha256` of the file as it is, and `notes`.
    """

    picture: Image.Image
    data: bytes
    sha256: str
    told: dict[str, Any]


def label_picture(
    picture: Image.Image,
    text: str,
    corner: Corner,
    title: str,
    photo: tuple[Path, np.ndarray] | None = None,
    bound: bool = True,
) -> Labelled:
    """Label, mark, encode and sign a picture.

    In photo mode the pixel mark is laid only where the picture is not the photo's any more, so the rest stays bit for
    bit; the visible label alone covers what it covers. The mark's payload is the code of what the picture shows
    (`twinset.compliance.labels.content`), and the beginning of the ProduceID; the rest of that is of the SHA-256 of the
    pixels as they were drawn.

    Args:
        picture: RGB, as it was drawn.
        text: Of the visible label.
        corner: Where it is; "none" for no visible label.
        title: The file's name, for the manifest.
        photo: In photo mode, the photo's file and pixels, uint8 (H, W, 3).
        bound: Whether the mark is bound to what the picture shows; those of older records were not.

    Raises:
        InputError: The words do not fit, or the certificate cannot be used.
    """
    drawn = np.asarray(picture.convert("RGB"))
    where = None if photo is None else (drawn != photo[1]).any(-1)
    shown = draw_label(picture.convert("RGB"), check_text(text), corner)
    known_as = picture_id(drawn, np.asarray(shown) if bound else None)
    told: dict[str, Any] = {"id": known_as, "text": text if corner != "none" else None, "corner": corner}
    told["bound"] = bound
    marked = _with_mark(np.asarray(shown), known_as, where, told)
    if corner != "none" and not fulfils_gb45438(text):
        told["notes"].append(OTHER_WORDS)
    encoded = encode_png(marked, properties(known_as, photo is not None))
    data = _signed(encoded, title, told, None if photo is None else photo[0])
    return Labelled(marked, data, hashlib.sha256(encoded).hexdigest(), told | {"file_sha256": _sha256(data)})


def picture_id(drawn: np.ndarray, shown: np.ndarray | None = None) -> str:
    """The number of a picture, 32 hexadecimal digits.

    Args:
        drawn: uint8 (H, W, 3); SHA-256 of these pixels.
        shown: with the visible label, uint8 (H, W, 3); the first eight digits are the code of what it shows.
    """
    digits = hashlib.sha256(f"{drawn.shape}".encode() + np.ascontiguousarray(drawn).tobytes()).hexdigest()
    if shown is None:
        return digits[:32]
    level = level_of((shown.shape[1], shown.shape[0]))
    return f"{content_code(canonical(luma(shown), level), mark_key(), level):08x}{digits[:24]}"


def _with_mark(shown: np.ndarray, known_as: str, where: np.ndarray | None, told: dict[str, Any]) -> Image.Image:
    """The picture with the pixel mark, if it can be read from it afterwards and is not seen."""
    key, payload = mark_key(), int(known_as[:8], 16)
    marked = add_mark(shown, payload, key, where) if where is None or where.any() else None
    found = None if marked is None else find_mark(marked.picture, key)
    held = found is not None and found.payload == payload and marked is not None and marked.psnr >= LEAST_PSNR
    told |= {"mark": known_as[:8] if held else None, "key": key_name(key), "notes": []}
    told["psnr"] = round(marked.psnr, 2) if marked is not None and held else None
    if marked is not None and held:
        return Image.fromarray(marked.picture)
    told["notes"].append(NOT_HELD if where is None else NO_ROOM)
    return Image.fromarray(shown)


def _signed(encoded: bytes, title: str, told: dict[str, Any], photo: Path | None) -> bytes:
    """The file with its manifest, or as it is where c2pa-python is missing."""
    if not can_sign():
        told["signed"] = None
        told["notes"].append(MISSING)
        return encoded
    data, development = sign(encoded, title, {"mark": told["mark"], "key": told["key"]}, photo)
    told["signed"] = "development" if development else "own"
    if development:
        told["notes"].append(SELF_MADE)
    return data


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
