"""What may befall a decoder, to be sent to its process, which imports this module and no more."""

from __future__ import annotations

import os
import time
from pathlib import Path


def crash(path: Path) -> None:
    """As when the decoder writes where it must not."""
    os._exit(11)


def hang(path: Path) -> None:
    """As when the decoder comes to no end."""
    time.sleep(60)
