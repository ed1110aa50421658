"""cuDNN, through `nvidia-cudnn-frontend`: found when it is asked for."""

from __future__ import annotations

import functools
import importlib
from typing import Any

from . import driver


@functools.cache
def library() -> Any:
    """The frontend's module, or None where there is no device, no frontend or no cuDNN that fits it."""
    if not driver.available():
        return None
    try:
        found = importlib.import_module("cudnn")
        found.backend_version()
    except Exception:  # not installed, or libcudnn is not found
        return None
    return found


def available() -> bool:
    """Whether cuDNN can be used."""
    return library() is not None


def version() -> int | None:
    """cuDNN's version, or None."""
    found = library()
    return None if found is None else int(found.backend_version())
