"""What pyproject.toml cannot say: rooms are links, and a ZIP of the repository turns links into small text files."""

import os
import shutil
import sys
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).resolve().parent


def restore_links(package: Path) -> None:
    """Makes links of the text files that a ZIP left in their place; without them the wheel would lack every room.

    Raises:
        SystemExit: a room is missing, or neither a link nor a copy can be made.
    """
    for path in sorted(package.iterdir()):
        if not path.is_file() or path.suffix:
            continue
        room = (package / path.read_text(encoding="utf-8").strip()).resolve()
        if room.parent != HERE or not (room / "__init__.py").is_file():
            sys.exit(
                f"twinset: {path} should lead to a folder beside {package.name}/; build from a git checkout or an sdist"
            )
        path.unlink()
        try:
            os.symlink(f"../{room.name}", path, target_is_directory=True)
        except OSError:  # Windows without the right to make links
            shutil.copytree(room, path)


restore_links(HERE / "twinset")
setup()
