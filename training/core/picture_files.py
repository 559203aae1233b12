"""Picture files of a training in the forms that trainers take, and the captions that people write beside them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from twinset.common.image_io import MOST_BYTES, MOST_PIXELS, read_picture
from twinset.errors import InputError

PICTURES = (
    ".png", ".jpg", ".jpeg", ".jfif", ".webp", ".gif", ".heic", ".heif", ".bmp", ".tif", ".tiff", ".avif", ".jxl"
)  # fmt: skip
"""Endings of files that are read as pictures, or refused as such by name (JPEG XL)."""
CAPTIONS = (".txt", ".caption")
"""Endings of captions: most tools' and sd-scripts' own default."""
_MORE = {b"BM": "BMP", b"II*\0": "TIFF", b"MM\0*": "TIFF", b"ftypavif": "AVIF", b"ftypavis": "AVIF"}
"""First bytes of what is read here and nowhere else: trainings are given their owner's files, services strangers'."""
#: Encoding → its name, the codec whose two-byte rows are ordered by frequency, and the rows of common characters.
_COMMON = {
    "gb18030": ("GBK", "gb2312", range(0xB0, 0xD8)),
    "cp932": ("Shift-JIS", "shift_jis", range(0x88, 0x98)),
    "big5": ("Big5", "big5", range(0xA4, 0xC7)),
    "cp949": ("EUC-KR", "euc_kr", range(0xB0, 0xC9)),
}
_MARKS = "，。、；：！？（）「」『』“”‘’…—・ー％＋～　"


def read_training_picture(path: Path, what: str = "picture") -> np.ndarray:
    """Read a picture as `twinset.common.image_io.read_picture` does, and BMP, TIFF and AVIF too.

    Args:
        path: the file.
        what: what messages call it.

    Returns:
        uint8 RGB array of shape (height, width, 3).

    Raises:
        InputError: it cannot be read; the message names it.
    """
    form = _other_form(path)
    return read_picture(path, what) if form is None else read_picture(_as_png(path, form, what), f"{what} '{path}'")


def _other_form(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            start = file.read(12)
    except OSError:
        return None  # `read_picture` says it
    return next((form for magic, form in _MORE.items() if magic in (start[: len(magic)], start[4:])), None)


def _as_png(path: Path, form: str, what: str) -> bytes:
    """The first picture of a file with its profile and orientation, for the door that all pictures go through."""
    name = f"{what} {str(path)!r}"
    if path.stat().st_size > MOST_BYTES:
        raise InputError(f"{name} has over {MOST_BYTES:,} bytes; save it as JPEG or PNG")
    try:
        with Image.open(path, formats=[form]) as image:
            if image.width * image.height > MOST_PIXELS:
                raise InputError(f"{name} has {image.width} x {image.height} pixels; shrink it")
            kept = {name: image.info[name] for name in ("icc_profile", "exif") if image.info.get(name)}
            plain = image if image.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16") else image.convert("RGB")
            if plain is not image:
                kept.pop("icc_profile", None)  # of other channels
            file = io.BytesIO()
            plain.save(file, "PNG", compress_level=1, **kept)
    except InputError:
        raise
    except Exception as error:  # decoders raise whatever their parsers stumble over
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise InputError(f"{name} cannot be read as {form} ({reason}); save it again as JPEG or PNG") from None
    return file.getvalue()


def caption_beside(picture: Path, endings: Sequence[str] = CAPTIONS) -> str | None:
    """The text of the file beside a picture, in one line; None without one, or where it is empty."""
    lines = caption_lines(picture, endings)
    return " ".join(lines) or None


def caption_lines(picture: Path, endings: Sequence[str] = CAPTIONS) -> list[str]:
    """The lines of the file beside a picture, empty ones left out: `a.txt`, or `a.jpg.txt`, of `a.jpg`."""
    for ending in endings:
        for path in (picture.with_suffix(ending), picture.with_name(picture.name + ending)):
            if path.is_file():
                text = decoded(path.read_bytes())[0]
                return [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    return []


def decoded(data: bytes) -> tuple[str, str]:
    """The text of a file that somebody's editor wrote, and the name of its encoding.

    Marks at the start decide; then what is UTF-8 is that. Else the encoding counts in which most of the letters are
    among the language's most common ones, which one wrong encoding in another's place gives by chance alone.
    """
    for mark, encoding, name in ((b"\xef\xbb\xbf", "utf-8-sig", "UTF-8"), (b"\xff\xfe", "utf-16", "UTF-16"),
                                 (b"\xfe\xff", "utf-16", "UTF-16")):  # fmt: skip
        if data.startswith(mark):
            return data.decode(encoding, "replace"), name
    if data.count(0) > len(data) // 4:  # UTF-16 without a mark: every other byte of Latin text is zero
        return data.decode(
            "utf-16-le" if data[1::2].count(0) >= data[::2].count(0) else "utf-16-be", "replace"
        ), "UTF-16"
    try:
        return data.decode("utf-8"), "UTF-8"
    except UnicodeDecodeError:
        found = [(_commonness(data, encoding), encoding) for encoding in _COMMON]
        best, encoding = max(found, key=lambda each: each[0])
        if best > 0.5:
            return data.decode(encoding), _COMMON[encoding][0]
        return data.decode("cp1252", "replace"), "Windows-1252"


def _commonness(data: bytes, encoding: str) -> float:
    """Share of the characters beyond ASCII that are common in the encoding's language; -1 where it cannot be it."""
    try:
        others = [character for character in data.decode(encoding) if ord(character) > 127]
    except UnicodeDecodeError:
        return -1.0
    _, codec, rows = _COMMON[encoding]
    common = sum(c in _MARKS or _is_kana(c, codec) or _row(c, codec) in rows for c in others)
    whole_korean = codec == "euc_kr" and common == len(others) >= 5  # its rows are among the Chinese ones too
    return common / max(1, len(others)) + 0.01 * whole_korean


def _is_kana(character: str, codec: str) -> bool:
    return codec == "shift_jis" and "\u3041" <= character <= "\u30fa"


def _row(character: str, codec: str) -> int:
    try:
        return character.encode(codec)[0]
    except UnicodeEncodeError:
        return 0
