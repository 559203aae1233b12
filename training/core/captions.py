"""Pictures in a folder, and the captions that people write beside them."""

from __future__ import annotations

from pathlib import Path

from twinset.errors import InputError

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".heic", ".heif")
"""Endings of files that are read as pictures."""


def caption_beside(picture: Path, extension: str) -> str | None:
    """The text of the file beside a picture, in one line; None without one.

    Raises:
        InputError: it is not UTF-8.
    """
    path = picture.with_suffix(extension)
    if not path.is_file():
        return None
    try:
        return " ".join(path.read_text(encoding="utf-8-sig").split()) or None
    except UnicodeDecodeError:
        raise InputError(f"caption {str(path)!r} is not UTF-8 text; save it as UTF-8") from None
