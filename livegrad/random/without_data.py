"""Random numbers for tensors without data, of which none are drawn: the streams stay where they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..dtypes import dtype
from ..lazy.value import Value, from_array
from ..runtime import meta


class NoDraw:
    """In the place of a `Draw`: each of its methods gives a value of the shape, and of the dtype that it is given."""

    def __init__(self, shape: tuple):
        self.shape = shape

    def __getattr__(self, name: str) -> Callable[..., Value]:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._made

    def _made(self, *args: Any) -> Value:
        return from_array(meta.empty(self.shape, next(a for a in args if isinstance(a, dtype))))


__all__ = ["NoDraw"]
