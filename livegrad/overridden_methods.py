"""Methods and attributes of tensors that ask what overrides them.

The methods of `Tensor` never do, so that programs without overrides pay nothing for them. When something overrides
functions for the first time, `install` puts a method that asks in the place of each.
"""

from __future__ import annotations

import functools
import types
from typing import Any

from .overriding import COMPUTE, OVERRIDES, PLAIN, Unanswered, overridden
from .tensor import Tensor

# Methods of Python's protocols that can be overridden; the other names with underscores are the library's own.
_ARITHMETIC = "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift"
_COMPARISONS = "eq ne lt le gt ge"
_OTHERS = (
    "neg pos abs invert getitem setitem contains len bool int float complex index array array_wrap format repr "
    "reversed deepcopy reduce_ex setstate dlpack dlpack_device cuda_array_interface"
)
_BINARY = frozenset(
    [f"__{form}{name}__" for form in ("", "r") for name in _ARITHMETIC.split()]
    + [f"__{name}__" for name in _COMPARISONS.split()]
)
_PROTOCOLS = _BINARY.union(
    [f"__i{name}__" for name in _ARITHMETIC.split()], [f"__{name}__" for name in _OTHERS.split()]
)
_PRIVATE = frozenset(("_base", "_version"))
_NEVER = frozenset(("as_subclass", "masked_zero", "narrow_step", "map_", "is_shared"))
# Operators that overrides are told of as methods, as in PyTorch.
_AS_METHODS = {
    "__add__": "add", "__radd__": "add", "__iadd__": "add_", "__sub__": "sub", "__isub__": "sub_", "__mul__": "mul",
    "__rmul__": "mul", "__imul__": "mul_", "__truediv__": "div", "__itruediv__": "div_", "__mod__": "remainder",
    "__imod__": "remainder_", "__matmul__": "matmul", "__neg__": "neg", "__pos__": "positive", "__abs__": "abs",
    "__lt__": "lt", "__le__": "le", "__gt__": "gt", "__ge__": "ge",
}  # fmt: skip

_UNARY = frozenset(("__neg__", "__pos__", "__abs__"))


class Method:
    """A method that asks what overrides it. It equals the one in whose place it is."""

    def __init__(self, raw: Any, name: str):
        functools.update_wrapper(self, raw)
        self.raw = raw
        self.binary = name in _BINARY
        self.__name__, self.__qualname__, self.__module__ = name, f"Tensor.{name}", __name__.partition(".")[0]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not OVERRIDES.modes and not kwargs:
            for x in args:
                if x.__class__ not in PLAIN:
                    break
            else:
                return self.raw(*args)
        try:
            made = overridden(self, args, kwargs)
        except Unanswered:
            if self.binary:
                return NotImplemented  # Python asks the other operand's own method
            raise
        return self.raw(*args, **kwargs) if made is COMPUTE else made

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __eq__(self, other: Any) -> Any:
        return self.raw == (other.raw if isinstance(other, Method) else other)

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"<method '{self.__name__}' of 'torch.Tensor' objects>"

    def __reduce__(self) -> str:
        return self.__qualname__


def _binary(raw: Any, told: Method) -> Any:
    """An operator of Python's that is told of as a method: a plain function, which the interpreter calls sooner."""

    @functools.wraps(raw)
    def operator(self: Any, other: Any) -> Any:
        if other.__class__ in PLAIN and self.__class__ is Tensor and not OVERRIDES.modes:
            return raw(self, other)
        try:
            made = overridden(told, (self, other), {})
        except Unanswered:
            return NotImplemented  # Python asks the other operand's own method
        return raw(self, other) if made is COMPUTE else made

    return operator


def _unary(raw: Any, told: Method) -> Any:
    """The same for an operator of one operand."""

    @functools.wraps(raw)
    def operator(self: Any) -> Any:
        if self.__class__ is Tensor and not OVERRIDES.modes:
            return raw(self)
        made = overridden(told, (self,), {})
        return raw(self) if made is COMPUTE else made

    return operator


def _attribute(raw: property, name: str) -> property:
    """A property that asks what overrides it: overrides are told of its `__get__`, `__set__` or `__delete__`."""

    def get(self: Any) -> Any:
        if self.__class__ is Tensor and not OVERRIDES.modes:
            return raw.fget(self)  # type: ignore[misc]
        made = overridden(asking.__get__, (self,), {})
        return raw.fget(self) if made is COMPUTE else made  # type: ignore[misc]

    def set_(self: Any, value: Any) -> None:
        if overridden(asking.__set__, (self, value), {}) is COMPUTE:
            raw.fset(self, value)  # type: ignore[misc]

    def delete(self: Any) -> None:
        if overridden(asking.__delete__, (self,), {}) is COMPUTE:
            raw.fdel(self)  # type: ignore[misc]

    get.__name__ = name
    asking = property(get, raw.fset and set_, raw.fdel and delete, raw.__doc__)
    return asking


def methods() -> dict[str, Any]:
    """The methods and properties of tensors that can be overridden, by name."""
    found: dict[str, Any] = {}
    for cls in reversed(Tensor.__mro__[:-1]):
        for name, attribute in vars(cls).items():
            if name in _NEVER or (name.startswith("_") and name not in _PROTOCOLS and name not in _PRIVATE):
                continue
            if isinstance(attribute, property) or (callable(attribute) and not isinstance(attribute, type)):
                found[name] = attribute
    return found


def install() -> None:
    """Put methods that ask in the place of all."""
    found = methods()
    for name, raw in found.items():
        if isinstance(raw, staticmethod):
            continue
        setattr(Tensor, name, _attribute(raw, name) if isinstance(raw, property) else Method(raw, name))
    for name, method in _AS_METHODS.items():
        make = _unary if name in _UNARY else _binary
        setattr(Tensor, name, make(found[name], vars(Tensor)[method]))
