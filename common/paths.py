"""Where Twinset keeps what is the user's own."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path, user_data_path


def cache_folder() -> Path:
    """What may be deleted at any time: `$TWINSET_CACHE`, or `twinset` in the user's cache folder."""
    return Path(os.environ.get("TWINSET_CACHE") or user_cache_path("twinset"))


def data_folder() -> Path:
    """What may not: `$TWINSET_DATA`, or `twinset` in the user's data folder."""
    return Path(os.environ.get("TWINSET_DATA") or user_data_path("twinset"))
