"""How many threads NumPy's own OpenBLAS uses for a decomposition: one for small matrices.

Its threads wait for each other at every block of columns. For matrices below some hundred rows that gains nothing on a
quiet machine, and where other processes compute it costs a thousand times what the decomposition does.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from pathlib import Path
from typing import Any

import numpy as np

from . import pool

SMALL = 256  # rows and columns up to which one thread is as fast as several

_lock = threading.Lock()
_inside = 0  # calls that run with one thread at the moment
_before = 1  # the number of threads that the last of them puts back


@functools.cache
def _functions() -> tuple | None:
    """What reads and what sets the number of threads of the library in NumPy's wheel; None where it is another one."""
    folder = Path(np.__file__).parent
    for place in (folder.parent / "numpy.libs", folder / ".dylibs"):
        for path in sorted(place.glob("*openblas*")):
            try:
                library = ctypes.CDLL(str(path))  # which NumPy has loaded already
            except OSError:
                continue
            for name in (
                "scipy_openblas_{}_num_threads64_",
                "scipy_openblas_{}_num_threads",
                "openblas_{}_num_threads",
            ):
                get, put = (getattr(library, name.format(verb), None) for verb in ("get", "set"))
                if get is not None and put is not None:
                    return get, put
    return None


def call(function: Any, arrays: list, options: dict) -> Any:
    """Call one of `numpy.linalg`, on one thread where the matrices are small or livegrad was given one thread."""
    global _inside, _before
    if pool.get_num_threads() > 1 and any(max(a.shape[-2:], default=0) > SMALL for a in arrays):
        return function(*arrays, **options)
    found = _functions()
    if found is None:
        return function(*arrays, **options)
    get, put = found
    with _lock:
        if not _inside:
            _before = get()
            if _before > 1:
                put(1)
        _inside += 1
    try:
        return function(*arrays, **options)
    finally:
        with _lock:
            _inside -= 1
            if not _inside and _before > 1:
                put(_before)
