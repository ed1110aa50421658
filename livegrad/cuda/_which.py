"""Which CUDA device is meant."""

from __future__ import annotations

from typing import Any

from ..devices import device as _device
from ..runtime.cuda import driver


def index_of(device: Any) -> int:
    """The index of a device given as a number, a name or a device; of the current one for None."""
    if device is None:
        return driver.current()
    found = _device(device)
    if found.type != "cuda":
        raise ValueError(f"Expected a cuda device, but got: {found}")
    return driver.current() if found.index is None else found.index
