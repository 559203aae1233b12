"""Mutated pictures: `read_picture` answers with a picture or one line, whatever the bytes.

`python -m tests.helpers.fuzz_pictures --count 2000` runs a long round; tests/common/test_picture.py runs a short one.
"""

from __future__ import annotations

import argparse
import io
import warnings
from collections import Counter
from collections.abc import Iterator

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from twinset.common.image_io import read_picture
from twinset.errors import InputError


def photo(width: int = 48, height: int = 40) -> Image.Image:
    """A smooth picture with a little of every colour."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, (x + y) / 2], -1).astype(np.uint8))


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    """The bytes of a picture file."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def heic(image: Image.Image) -> bytes | None:
    """A HEIC file, or None where pillow-heif is not installed."""
    try:
        import pillow_heif
    except ImportError:
        return None
    file = io.BytesIO()
    pillow_heif.from_pillow(image).save(file, quality=60)
    return file.getvalue()


def seeds() -> dict[str, bytes]:
    """Sound files, one or more of every format."""
    image, exif, text = photo(), Image.Exif(), PngInfo()
    exif[0x0112], exif[0x010F] = 6, "maker"
    text.add_text("note", "x" * 200, zip=True)
    made = {
        "jpeg": encoded(image, "JPEG", exif=exif),
        "progressive": encoded(image, "JPEG", progressive=True),
        "png": encoded(image, "PNG", pnginfo=text),
        "palette": encoded(image.quantize(16), "PNG", transparency=0),
        "webp": encoded(image, "WEBP", exif=exif),
        "lossless": encoded(image.convert("RGBA"), "WEBP", lossless=True),
        "gif": encoded(image, "GIF", save_all=True, append_images=[image.rotate(90)] * 3),
    }
    return made | ({} if (data := heic(image)) is None else {"heic": data})


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Bytes changed, removed, repeated, inserted, swapped or cut off, once to a few times."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        at, length = int(rng.integers(len(changed))), int(rng.integers(1, 24))
        match int(rng.integers(24)) % 12:
            case 0 | 5 | 6 | 7 | 8 | 9 | 10:
                changed[at] ^= 1 << int(rng.integers(8))
            case 1:
                changed[at : at + length] = rng.bytes(length)
            case 2:
                del changed[at : at + length]
            case 3:
                changed[at:at] = changed[at : at + length]
            case 4:
                changed[at : at + 4] = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff")[int(rng.integers(3))]
            case _:
                del changed[max(16, at) :]
    return bytes(changed)


def rounds(count: int, seed: int = 0) -> Iterator[tuple[str, str, bytes]]:
    """Reads `count` mutated pictures.

    Yields:
        The format, "read" or "refused", and the bytes.

    Raises:
        Exception: whatever else than `InputError` came out, which is a fault; or AssertionError where a message has
            several lines or the array is no picture.
    """
    originals = list(seeds().items())
    for index in range(count):
        name, data = originals[index % len(originals)]
        changed = mutated(data, np.random.default_rng([seed, index]))
        try:
            picture = read_picture(changed)
        except InputError as error:
            assert str(error) and "\n" not in str(error), f"{name} {index}: {str(error)!r}"
            yield name, "refused", changed
            continue
        assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3, f"{name} {index}"
        yield name, "read", changed


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # Pillow's, of what it found in torn files
    outcomes = Counter((name, outcome) for name, outcome, _ in rounds(options.count, options.seed))
    for (name, outcome), number in sorted(outcomes.items()):
        print(f"{name:12} {outcome:8} {number}")
    print(f"{sum(outcomes.values())} mutated pictures, seed {options.seed}: each was read or refused in one line")


if __name__ == "__main__":
    main()
