"""Links of the pages to files beside `docs/`: pictures come along, other files are named.

On a code host these links work as they stand; the built site holds nothing but the pages.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
OUTWARD = re.compile(r"(!?)\[([^\]]*)\]\(\.\./([^)#]+)\)")
PICTURES = "repository"
"""Folder of the site."""


def on_files(files: Files, config: Any) -> Files:
    """Adds the pictures that pages show from beside `docs/`."""
    pages = [page.content_string for page in files.documentation_pages()]
    for name in sorted({found[3] for page in pages for found in OUTWARD.finditer(page) if found[1]}):
        files.append(File.generated(config, f"{PICTURES}/{name}", abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Points pictures to their copies, and names other files."""

    def here(found: re.Match[str]) -> str:
        picture, text, name = found.groups()
        if not (ROOT / name).exists():
            raise FileNotFoundError(f"a page links to {name!r}, which the repository has not; mend the link")
        return f"![{text}]({PICTURES}/{name})" if picture else f"{text} (`{name}`)"

    return OUTWARD.sub(here, markdown)
