"""CUDA graphs that a program captures itself, which there are none of: launches become graphs by a setting."""

from __future__ import annotations

from typing import Any

_WHY = (
    "a program cannot capture a CUDA graph here: work is deferred, and launches that repeat become graphs by "
    "themselves with livegrad.backends.cuda.graphs = True"
)


class CUDAGraph:
    """For annotations, and for programs that try: making one raises RuntimeError, as it does without CUDA.

    `livegrad.backends.cuda.graphs` does the work.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        raise RuntimeError(f"Tried to instantiate dummy base class CUDAGraph: {_WHY}")


class graph:
    """The block of a capture; making one raises RuntimeError."""

    def __init__(self, cuda_graph: CUDAGraph, *args: Any, **options: Any) -> None:
        raise RuntimeError(f"Tried to capture a CUDA graph: {_WHY}")


__all__ = ["CUDAGraph", "graph"]
