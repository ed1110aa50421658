"""What the library was built with, as programs ask PyTorch: a text to show, and the number of threads."""

from __future__ import annotations

from .runtime.pool import get_num_threads
from .version import __version__

__all__ = ["parallel_info", "show"]


def show() -> str:
    """One line on what computes: there is nothing that was compiled beforehand."""
    return f"livegrad {__version__}: kernels through LLVM, matrix products through OpenBLAS, USE_MKL=OFF\n"


def parallel_info() -> str:
    """The number of threads that kernels run on."""
    return f"livegrad::get_num_threads() : {get_num_threads()}\n"
