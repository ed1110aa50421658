"""The type of compiled modules, of which there are none: `livegrad.compile` gives back what it is given."""

from __future__ import annotations

from typing import Any

from ..nn import Module


class OptimizedModule(Module):
    """For programs that ask whether a module has been compiled: no module is one of these, and none can be made.

    >>> import livegrad
    >>> from livegrad._dynamo.eval_frame import OptimizedModule
    >>> isinstance(livegrad.compile(livegrad.nn.Linear(2, 2)), OptimizedModule)
    False
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        raise TypeError("nothing is wrapped to be compiled: livegrad.compile(module) is the module itself")


__all__ = ["OptimizedModule"]
