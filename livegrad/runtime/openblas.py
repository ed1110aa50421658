"""OpenBLAS, loaded from the `scipy_openblas32` wheel through a handle of our own.

OpenBLAS decides when it is loaded which kernels it uses and how many threads it owns, so both are set around the load:
the kernels from the CPU's features (its own detection takes some CPUs with AVX-512 for older ones, at half the speed)
and one thread: parallel work is ours (see `blas`).
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.util
import os
import sys
from pathlib import Path


def kernel_set():
    """The OPENBLAS_CORETYPE for this CPU, or None to let OpenBLAS choose."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        with open("/proc/cpuinfo") as file:
            flags = next((set(line.split()) for line in file if line.startswith("flags")), set())
    except OSError:
        return None
    if {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"} <= flags:
        return "SkylakeX"
    if {"avx2", "fma"} <= flags:
        return "Haswell"
    return None


@contextlib.contextmanager
def _environment(**values):
    """Sets environment variables for a while; None leaves one as it is."""
    before = {name: os.environ.get(name) for name in values}
    try:
        for name, value in values.items():
            if value is not None:
                os.environ[name] = value
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _find():
    """The path of the library in the wheel, or None. Importing the wheel would load it with its defaults."""
    try:
        spec = importlib.util.find_spec("scipy_openblas32")
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for pattern in ("*openblas*.so*", "*openblas*.dylib", "*openblas*.dll"):
            for path in sorted(Path(folder, "lib").glob(pattern)):
                return str(path)
    return None


@functools.cache
def library():
    """The library, with the names that `blas` calls; None where it is not found."""
    path = _find()
    if path is None:
        return None
    coretype = None if os.environ.get("OPENBLAS_CORETYPE") else kernel_set()
    with _environment(OPENBLAS_CORETYPE=coretype, OPENBLAS_NUM_THREADS="1"):
        try:
            library = ctypes.CDLL(path)
            library.scipy_openblas_set_num_threads(1)
            library.scipy_openblas_get_config.restype = ctypes.c_char_p
            library.scipy_openblas_get_corename.restype = ctypes.c_char_p
            for name in ("sgemm", "dgemm", "sgemv", "dgemv"):
                getattr(library, "scipy_cblas_" + name)
        except (OSError, AttributeError):
            return None
    return library
