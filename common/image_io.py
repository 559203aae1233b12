"""The one door for pictures that users give: told by content, bounded, upright, sRGB, and without metadata.

Decoders are an allow-list: only the one that a file's first bytes name is ever asked, directly and not through
`PIL.Image.open`, which would try others and only warns of decompression bombs.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageOps
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from twinset.errors import InputError, TooLargeError, WrongFormatError

MOST_BYTES = 64_000_000
MOST_PIXELS = 64_000_000
"""Larger pictures are refused before they are decoded (a decompression bomb fills the memory)."""
LEAST_SIDE = 8
MOST_ASPECT = 16
"""Longest side over shortest side."""
MOST_SCANS = 100
"""Of a progressive JPEG, each of which costs a pass over all its pixels; encoders write about ten."""
WORKING_SIZE = (1080, 1920)
"""(short, long) side of the box to which selfies and garments are reduced, lying or standing."""
ACCEPTED = "JPEG, PNG, WebP, HEIC or GIF"
HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
_ORIENTATION = 0x0112
_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
_OTHERS = (
    (b"%!PS", "EPS"), (b"\xc5\xd0\xd3\xc6", "EPS"), (b"8BPS", "PSD"), (b"II*\0", "TIFF"), (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"), (b"MM\0+", "TIFF"), (b"%PDF", "PDF"), (b"BM", "BMP"), (b"PK\x03\x04", "ZIP"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"), (b"\xff\x0a", "JPEG XL"), (b"\0\0\0\x0cJXL ", "JPEG XL"), (b"\0\0\1\0", "ICO"),
)  # fmt: skip
#: What makes a picture a program, a page or an archive as well.
_FOREIGN = ((re.compile(rb"<\?php|<script|<svg[\s>]|<html", re.IGNORECASE), "a web page or script"),)


def read_picture(
    source: Path | str | bytes, what: str = "picture", box: tuple[int, int] | None = WORKING_SIZE
) -> np.ndarray:
    """Reads a picture upright, in sRGB, on white where it is transparent, without EXIF, XMP or GPS.

    Of an animation the first frame is taken. What follows a JPEG's end (the film of a live photo) is not looked at.

    Args:
        source: a file, or its bytes: JPEG, PNG, WebP, GIF, or HEIC where `pillow-heif` is installed.
        what: the name of the input in messages, for example "selfie".
        box: (short, long) side in pixels that the picture may have, lying or standing; larger ones are reduced with
            their aspect kept. None keeps every pixel.

    Returns:
        uint8 RGB array of shape (height, width, 3).

    Raises:
        InputError: the file is missing, too long and thin, or damaged.
        TooLargeError: it has too many bytes or pixels.
        WrongFormatError: it is of another format, or is something else as well.
    """
    name, data = _named_bytes(source, what)
    form = _form(data)
    if form is None:
        raise WrongFormatError(f"{name} cannot be read as a picture: it is {_other(data)}; save it as {ACCEPTED}")
    if intruder := _intruder(data):
        raise WrongFormatError(f"{name} is a {form} and also {intruder}; save the picture again with an image editor")
    try:
        image = _OPENERS[form](name, data)
    except InputError:
        raise
    except Exception as error:  # decoders raise whatever their parsers stumble over
        raise _damaged(name, form, error) from None
    _check_size(name, image.size)
    try:
        return _reduced(_on_white(_in_srgb(image)), box, _orientation(image))
    except Exception as error:
        raise _damaged(name, form, error) from None


def _named_bytes(source: Path | str | bytes, what: str) -> tuple[str, bytes]:
    """How messages call it, and its bytes."""
    if isinstance(source, bytes):
        _check_length(what, len(source))
        return what, source
    name = f"{what} {str(source)!r}"
    path = Path(source)
    if not path.is_file():
        raise InputError(f"{name} is not a file; check the path")
    try:
        _check_length(name, path.stat().st_size)
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise InputError(f"{name} cannot be opened ({error.strerror}); check its permissions") from None
    _check_length(name, len(data))
    return name, data


def _check_length(name: str, length: int) -> None:
    if length > MOST_BYTES:
        raise TooLargeError(f"{name} has {length:,} bytes; make it smaller than {MOST_BYTES:,}")


def _check_size(name: str, size: tuple[int, int]) -> None:
    short, long = sorted(size)
    given = f"{name} has {size[0]} x {size[1]} pixels"
    if size[0] * size[1] > MOST_PIXELS:
        raise TooLargeError(f"{given}; shrink it below {MOST_PIXELS // 1_000_000} megapixels")
    if short < LEAST_SIDE:
        raise InputError(f"{given}; give one of at least {LEAST_SIDE} x {LEAST_SIDE}")
    if long > MOST_ASPECT * short:
        raise InputError(f"{given}; crop it until it is at most {MOST_ASPECT} times as long as wide")


def _damaged(name: str, form: str, error: Exception) -> InputError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
    return InputError(f"{name} cannot be read as {form} ({reason}); save it again as JPEG or PNG")


# Content


def _form(data: bytes) -> str | None:
    """The accepted format that the first bytes name."""
    if data[:3] == b"\xff\xd8\xff":
        return "JPEG"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "PNG"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    return "HEIC" if _is_heic(data) else None


def _is_heic(data: bytes) -> bool:
    """Whether the file type box (ISO/IEC 14496-12, 4.3) names a brand that is coded as HEVC."""
    if data[4:8] != b"ftyp":
        return False
    (length,) = struct.unpack(">I", data[:4])
    brands = data[8 : min(length, 256)]
    return any(brands[k : k + 4] in HEIC_BRANDS for k in range(0, len(brands), 4) if k != 4)


def _other(data: bytes) -> str:
    """What a file seems to be that is not accepted."""
    start = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<svg", b"<?xml", b"<!doctype")):
        return "an SVG or another XML file" if b"<svg" in data[:4096].lower() else "an XML or HTML file"
    if data[4:8] == b"ftyp":
        return "an AVIF or a film"
    return next((f"of the form {form}" for magic, form in _OTHERS if data.startswith(magic)), "of no known form")


def _intruder(data: bytes) -> str | None:
    """What a picture's bytes are besides a picture: PDF readers look in the first KiB, ZIP readers at the end."""
    if b"%PDF-" in data[:1024]:
        return "a PDF"
    end = data.rfind(b"PK\x05\x06")
    if (
        end >= 0
        and end + 22 <= len(data)
        and end + 22 + int.from_bytes(data[end + 20 : end + 22], "little") == len(data)
    ):
        return "a ZIP archive"
    return next((kind for pattern, kind in _FOREIGN if pattern.search(data)), None)


# Decoders


def _open_jpeg(name: str, data: bytes) -> Image.Image:
    scans = data.count(b"\xff\xda")
    if scans > MOST_SCANS:
        raise ValueError(f"{scans} scans")
    return JpegImageFile(io.BytesIO(data))


def _open_webp(name: str, data: bytes) -> Image.Image:
    _check_size(name, _webp_size(data))  # opening allocates the canvas
    return WebPImageFile(io.BytesIO(data))


def _webp_size(data: bytes) -> tuple[int, int]:
    """(width, height) of the canvas (WebP container specification; RFC 6386, 9.1; RFC 9649, 3.4)."""
    chunk = data[12:16]
    if chunk == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if chunk == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack("<HH", data[26:30])
    return width & 0x3FFF, height & 0x3FFF


def _open_heic(name: str, data: bytes) -> Image.Image:
    try:
        from pillow_heif.as_plugin import HeifImageFile
    except ImportError:
        raise InputError(
            f"{name} is HEIC, which needs the package pillow-heif: pip install 'twinset[heic]', or save it as JPEG"
        ) from None
    return HeifImageFile(io.BytesIO(data))


_OPENERS: dict[str, Callable[[str, bytes], Image.Image]] = {
    "JPEG": _open_jpeg,
    "PNG": lambda name, data: PngImageFile(io.BytesIO(data)),
    "WebP": _open_webp,
    "GIF": lambda name, data: GifImageFile(io.BytesIO(data)),
    "HEIC": _open_heic,
}


# Colours


def _in_srgb(image: Image.Image) -> Image.Image:
    """The picture by its embedded ICC profile, else as it is; a profile that does not fit is left aside."""
    image.load()
    embedded = image.info.get("icc_profile")
    colours, alpha = (image.convert("RGB"), image.getchannel("A")) if image.mode == "RGBA" else (image, None)
    if not embedded or colours.mode not in ("RGB", "L", "CMYK"):
        return image
    try:
        profile: Any = ImageCms.ImageCmsProfile(io.BytesIO(embedded))
        if ImageCms.getProfileDescription(profile).startswith("sRGB"):
            return image
        converted = ImageCms.profileToProfile(colours, profile, _SRGB, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image
    if converted is None:
        return image
    if alpha is not None:
        converted.putalpha(alpha)
    elif "transparency" in image.info and colours.mode == "RGB":
        converted.putalpha(image.convert("RGBA").getchannel("A"))
    return converted


def _on_white(image: Image.Image) -> Image.Image:
    """RGB on white, from any mode."""
    if image.mode.startswith("I"):
        return _from_16_bits(image)
    if image.mode in ("RGB", "L", "CMYK", "YCbCr") and "transparency" not in image.info:
        return image.convert("RGB")
    layered = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered).convert("RGB")


def _from_16_bits(image: Image.Image) -> Image.Image:
    """16-bit grey → RGB; the whole range becomes 0 to 255, and the transparent value white."""
    values = np.asarray(image).astype(np.int64).clip(0, 65535)
    grey = ((values + 128) // 257).astype(np.uint8)
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        grey[values == clear] = 255
    return Image.fromarray(grey).convert("RGB")


def _orientation(image: Image.Image) -> int:
    """EXIF's orientation, 1 to 8; 1 where it cannot be read."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # a picture with torn EXIF is a picture still
        return 1


def _reduced(image: Image.Image, box: tuple[int, int] | None, orientation: int) -> np.ndarray:
    """Fitted into the box, then turned upright."""
    if box is not None:
        limits = sorted(box, reverse=image.width > image.height)
        if image.width > limits[0] or image.height > limits[1]:
            image = ImageOps.contain(image, (limits[0], limits[1]), Image.Resampling.LANCZOS)
    turn = _UPRIGHT.get(orientation)
    return np.array(image if turn is None else image.transpose(turn))
