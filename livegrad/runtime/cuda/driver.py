"""CuPy, found when it is asked for; launching PTX.

Whether CUDA can be used is found out once, quietly: a package, a driver or a device that is missing means no, and
`missing()` says which.
"""

from __future__ import annotations

import functools
import importlib
from typing import Any


class _Library:
    """The array library of CUDA devices, once it has been looked for. missing: why there is none."""

    def __init__(self) -> None:
        self.cupy: Any = None
        self.missing: str | None = None
        self.count = 0
        self.looked = False

    def look(self) -> None:
        """Find CuPy and the devices."""
        if self.looked:
            return
        self.looked = True
        try:
            cupy = importlib.import_module("cupy")
        except Exception as error:  # not installed, or it does not fit what is
            self.missing = f"CuPy cannot be imported ({error}); pip install 'livegrad[cuda]'"
            return
        self.use(cupy)

    def use(self, cupy: Any) -> None:
        """Take this module for CuPy, if it finds a device."""
        self.looked = True
        try:
            self.count = int(cupy.cuda.runtime.getDeviceCount())
        except Exception as error:
            self.missing = f"CuPy finds no CUDA driver or device ({error})"
            return
        if self.count:
            self.cupy = cupy
        else:
            self.missing = "CuPy finds no CUDA device"


LIBRARY = _Library()


def available() -> bool:
    """Whether there is a CUDA device that can be used. Never raises."""
    LIBRARY.look()
    return LIBRARY.cupy is not None


def count() -> int:
    """How many CUDA devices can be used."""
    LIBRARY.look()
    return LIBRARY.count if LIBRARY.cupy is not None else 0


def missing() -> str | None:
    """What is missing for CUDA, or None."""
    LIBRARY.look()
    return LIBRARY.missing


def cupy() -> Any:
    """CuPy. Raises RuntimeError, saying what is missing, where CUDA cannot be used."""
    LIBRARY.look()
    if LIBRARY.cupy is None:
        raise RuntimeError(
            f'livegrad cannot use CUDA here: {LIBRARY.missing}. Use device("cpu"), or test '
            "livegrad.cuda.is_available() first."
        )
    return LIBRARY.cupy


def current() -> int:
    """The index of the current device."""
    return int(cupy().cuda.Device().id)


@functools.lru_cache(4096)
def _module(device: int, ptx: str) -> Any:
    return cupy().RawModule(code=ptx)


def launch(ptx: str, entry: str, grid: tuple, block: tuple, shared: int, args: tuple, stream: Any = None) -> None:
    """Start a kernel on the current device; this does not wait for it.

    ptx: its assembly text, loaded once per device. entry: the kernel's name. grid, block: up to three numbers each.
    shared: bytes of shared memory. args: NumPy scalars for numbers and addresses, so that their sizes are those that
    the kernel expects. stream: the current one unless given.
    """
    kernel = _module(current(), ptx).get_function(entry)
    kernel(tuple(grid), tuple(block), tuple(args), shared_mem=shared, **({} if stream is None else {"stream": stream}))
