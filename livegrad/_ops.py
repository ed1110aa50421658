"""``ops.aten``: functions under the names by which PyTorch's dispatcher calls them, as libraries compare and call them.

``ops.aten.add`` is a packet, ``ops.aten.add.Tensor`` one of its overloads. Both call the function or method of that
name, which finds out by itself what it was given: an overload says nothing that its arguments do not, and any word can
stand for one.

>>> import livegrad
>>> add = livegrad.ops.aten.add.Tensor
>>> add, add.name(), add(livegrad.ones(2), 1)
(<OpOverload(op='aten.add', overload='Tensor')>, 'aten::add.Tensor', tensor([2., 2.]))
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import livegrad

from .tensor import Tensor

__all__ = ["OpOverload", "OpOverloadPacket"]


def _index(self: Tensor, indices: Any) -> Tensor:
    return self[tuple(slice(None) if i is None else i for i in indices)]


def _slice(self: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Tensor:
    return self[(slice(None),) * (dim % self.dim()) + (slice(start, end, step),)]


def _to_copy(
    self: Tensor, *, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: Any = None,
    non_blocking: bool = False, memory_format: Any = None,
) -> Tensor:  # fmt: skip
    where = self.device if device is None else device
    return self.to(where, dtype or self.dtype, non_blocking, copy=True, memory_format=memory_format)  # type: ignore[attr-defined]


# What the dispatcher knows by other names or with other arguments than users do.
_DIFFERENT: dict[str, Callable] = {
    "_pin_memory": lambda self, device=None: self.pin_memory(),
    "_to_copy": _to_copy,
    "alias": lambda self: self.view_as(self),
    "index": _index,
    "slice": _slice,
}
_FOR_LAYERS = ("gelu", "hardsigmoid", "hardswish", "leaky_relu", "mish", "silu", "softplus")
# Kernels of compressed sparse matrices, which are not there: libraries register their own for these names.
_TO_COMPARE = ("_sparse_addmm", "_sparse_mm_reduce_impl")


def _refuse(name: str) -> Callable:
    def refused(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"aten::{name} is a name to compare with: livegrad has no such operator")

    return refused


def _function_of(name: str) -> Callable | None:
    """What the packet of this name calls, or None."""
    if name in _DIFFERENT:
        return _DIFFERENT[name]
    if name in _TO_COMPARE:
        return _refuse(name)
    for holder in (livegrad, Tensor, *((livegrad.nn.functional,) if name in _FOR_LAYERS else ())):
        found = getattr(holder, name, None)
        if callable(found) and not isinstance(found, type):
            return found
    return None


class OpOverload:
    """One overload of a packet, such as ``ops.aten.add.Tensor``; `name` is ``"aten::add.Tensor"``."""

    def __init__(self, packet: OpOverloadPacket, overload: str):
        self.overloadpacket, self._overloadname, self.namespace = packet, overload, "aten"
        self.__name__ = f"{packet.__name__}.{overload}"

    def name(self) -> str:
        """The name in PyTorch's schema, where the default overload has no name of its own."""
        whole = self.overloadpacket._qualified_op_name
        return whole if self._overloadname == "default" else f"{whole}.{self._overloadname}"

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return self.overloadpacket(*args, **kwargs)

    def __str__(self) -> str:
        return f"aten.{self.__name__}"

    def __repr__(self) -> str:
        return f"<OpOverload(op='{self.overloadpacket}', overload='{self._overloadname}')>"


class OpOverloadPacket:
    """All overloads of one name, such as ``ops.aten.add``; its attributes are they, made when first asked for."""

    def __init__(self, name: str, function: Callable):
        self.__name__, self._qualified_op_name, self._function = name, f"aten::{name}", function

    def __getattr__(self, overload: str) -> OpOverload:
        if overload.startswith("_"):
            raise AttributeError(f"The underlying op of '{self}' has no overload name '{overload}'")
        made = OpOverload(self, overload)
        setattr(self, overload, made)
        return made

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    def __str__(self) -> str:
        return f"aten.{self.__name__}"

    def __repr__(self) -> str:
        return f"<OpOverloadPacket(op='{self}')>"


class _Aten:
    """``ops.aten``: its attributes are packets. Raises AttributeError for what livegrad has no function for."""

    def __getattr__(self, name: str) -> OpOverloadPacket:
        function = None if name.startswith("__") else _function_of(name)
        if function is None:
            raise AttributeError(f"'_OpNamespace' 'aten' object has no attribute '{name}'")
        made = OpOverloadPacket(name, function)
        setattr(self, name, made)
        return made


aten = _Aten()
