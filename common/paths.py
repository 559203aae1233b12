"""Where Twinset keeps what is the user's own."""

from __future__ import annotations

from pathlib import Path

from twinset.common.settings import settings


def cache_folder() -> Path:
    """What may be deleted at any time: `$TWINSET_CACHE`, or `twinset` in the user's cache folder."""
    return settings().cache


def data_folder() -> Path:
    """What may not: `$TWINSET_DATA`, or `twinset` in the user's data folder."""
    return settings().data
