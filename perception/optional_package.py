"""Optional packages: imported when first needed, with their faults reported in one line."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any

from twinset.errors import InputError


def import_package(name: str, remedy: str) -> Any:
    """The module of that name; warnings that it raises while it is imported are suppressed.

    Args:
        name: of the module, dots and all.
        remedy: what to do where it does not load.

    Raises:
        InputError: it is not installed, or does not load beside what else is.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return import_module(name)
    except Exception as error:  # a package beside unfit ones fails with any kind of error
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
        raise InputError(f"package {name.partition('.')[0]!r} does not load ({reason}); {remedy}") from error
