"""`compiler`: what programs say to `torch.compile`. Here everything is compiled without being asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import livegrad

__all__ = [
    "allow_in_graph", "assume_constant_result", "compile", "cudagraph_mark_step_begin", "disable", "is_compiling",
    "is_dynamo_compiling", "is_exporting", "list_backends", "reset", "set_stance",
]  # fmt: skip


def compile(*args: Any, **kwargs: Any) -> Any:  # noqa: A001
    """`livegrad.compile`."""
    return livegrad.compile(*args, **kwargs)


def is_compiling() -> bool:
    """False: Python runs."""
    return False


is_dynamo_compiling = is_compiling
_exports = [0]  # how many are under way


def is_exporting() -> bool:
    """Whether `export.export` is running the program."""
    return _exports[0] > 0


def disable(fn: Any = None, recursive: bool = True, **options: Any) -> Any:
    """The function itself, which Python runs in any case; also as a decorator with arguments."""
    return (lambda f: f) if fn is None else fn


def allow_in_graph(fn: Any) -> Any:
    """The function, or the functions, themselves."""
    return fn


def assume_constant_result(fn: Callable) -> Callable:
    """The function itself."""
    return fn


def reset() -> None:
    """Nothing is to be reset: kernels depend on the structure of a program alone."""


def cudagraph_mark_step_begin() -> None:
    """Nothing is to be marked: memory is not reused behind a program's back."""


def list_backends(exclude_tags: Any = ()) -> list[str]:
    """The compilers: LLVM."""
    return ["llvm"]


class set_stance:
    """Takes PyTorch's wishes, as a call, a context manager or a decorator; there is no compiler that needs them."""

    def __init__(self, stance: str = "default", **options: Any):
        self.stance = stance

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: Any) -> None:
        pass

    def __call__(self, fn: Callable) -> Callable:
        return fn
