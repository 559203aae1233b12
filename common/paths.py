"""Where Twinset keeps what is the user's own."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path, PureWindowsPath

from twinset.common.settings import settings
from twinset.errors import InputError

LONGEST_NAME = 200
"""Bytes of a file's name in a record; file systems take some 255, and Twinset adds to it."""


def cache_folder() -> Path:
    """What may be deleted at any time: `$TWINSET_CACHE`, or `twinset` in the user's cache folder."""
    return settings().cache


def data_folder() -> Path:
    """What may not: `$TWINSET_DATA`, or `twinset` in the user's data folder."""
    return settings().data


def file_name(text: str) -> str:
    """A text of somebody else's file that is to name a file beside it, and nothing anywhere else.

    Raises:
        InputError: it is empty, hidden, too long, or leads to another folder on any system.
    """
    plain = PureWindowsPath(text).name == text and os.path.basename(text) == text
    printable = all(unicodedata.category(letter)[0] != "C" for letter in text)
    if not text or text.startswith(".") or not plain or not printable or len(text.encode()) > LONGEST_NAME:
        raise InputError(f"{text[:80]!r} is not the name of a file; give a name without folders, such as 0007.png")
    return text
