"""diffusers' own pipeline tests, from a checkout of its sources (its wheel does not carry them)."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

CHECKOUT = os.environ.get("DIFFUSERS_CHECKOUT", "")


def checkout_module(name: str) -> ModuleType:
    """A module of the checkout's `tests` package, e.g. "pipelines.test_pipelines_common".

    Its package is called `diffusers_tests` here, since `tests` is our own.
    """
    if "diffusers_tests" not in sys.modules:
        root = Path(CHECKOUT) / "tests"
        spec = importlib.util.spec_from_file_location(
            "diffusers_tests", root / "__init__.py", submodule_search_locations=[str(root)]
        )
        if spec is None or spec.loader is None:
            raise ValueError(
                f"DIFFUSERS_CHECKOUT = {CHECKOUT!r} is no checkout of diffusers: it has no tests/__init__.py"
            )
        package = importlib.util.module_from_spec(spec)
        sys.modules["diffusers_tests"] = package
        spec.loader.exec_module(package)
    return importlib.import_module(f"diffusers_tests.{name}")
