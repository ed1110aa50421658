"""Traces of the operators that PyTorch's dispatcher meets: not there, but for the name."""

from collections.abc import Callable
from typing import Any, NoReturn

__all__ = ["make_fx"]


def make_fx(f: Callable, *args: Any, **options: Any) -> NoReturn:
    """Not there: calling it raises NotImplementedError."""
    raise NotImplementedError(
        "make_fx(): there is no dispatcher whose operators could be traced; fx.symbolic_trace records a function's "
        "calls, and export.export a module's"
    )
