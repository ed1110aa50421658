"""The two ends of a named stretch as functions, for programs that write down calls: `torch.ops.profiler`."""

from __future__ import annotations

from ..overriding import asks
from ..profiler.session import record_function
from .node import has_side_effect

__all__ = ["_record_function_enter", "_record_function_enter_new", "_record_function_exit"]


@has_side_effect
@asks
def _record_function_enter(name: str, args: str | None = None) -> record_function:
    """Begin a stretch with a name; returns what `_record_function_exit` takes."""
    return record_function(name, args).__enter__()


_record_function_enter_new = _record_function_enter


@has_side_effect
@asks
def _record_function_exit(handle: record_function) -> None:
    """End a stretch."""
    handle.__exit__(None, None, None)
