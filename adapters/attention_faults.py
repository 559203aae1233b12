"""Why an attention backend does not run here, and what to do, in one line."""

from __future__ import annotations

import re
from importlib.util import find_spec

import torch
from diffusers.models.attention_dispatch import AttentionBackendName

from twinset.errors import InputError


def does_not_run(backend: AttentionBackendName, error: Exception) -> InputError:
    """The error for a backend that failed when it was tried."""
    return InputError(f"attention {backend.value!r} does not run here ({_fault(error)}); {_remedy(backend)}")


def _fault(error: Exception) -> str:
    """Why a backend does not run, in one line; xformers gives its reasons below the tensors, kernel by kernel."""
    reasons = re.findall(r"^ {4}(\S.*)$", str(error), re.MULTILINE)
    if isinstance(error, NotImplementedError) and reasons:
        return "; ".join(dict.fromkeys(reasons))
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _remedy(backend: AttentionBackendName) -> str:
    if backend is not AttentionBackendName.XFORMERS:
        return "use 'native'"
    if find_spec("xformers") is None:
        return "pip install 'twinset[xformers]', or use 'native'"
    return f"it needs a CUDA device and the xformers built for torch {torch.__version__}; or use 'native'"
