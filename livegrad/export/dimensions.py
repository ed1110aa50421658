"""Sizes that remember what they were computed from, and names for those that may change from call to call."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

__all__ = ["Dim", "Dimension", "dims", "expect"]


class Dim:
    """A size that may change: ``Dim("batch")``, within `min` and `max`; ``2 * dim + 1`` is one that goes with it.

    `Dim.AUTO` and `Dim.DYNAMIC` stand for sizes without a name, which are the same where the example's are; where the
    program does not allow it, AUTO is a size that stays, and DYNAMIC an error. `Dim.STATIC` and None: it stays.
    """

    AUTO: Any
    DYNAMIC: Any
    STATIC: Any

    def __init__(self, name: str, *, min: int | None = None, max: int | None = None):  # noqa: A002
        if not name.isidentifier():
            raise ValueError(f"the name of a dimension has to be an identifier, but is {name!r}")
        least = 0 if min is None else min
        if max is not None and max <= least:
            raise ValueError(
                f"Cannot create Dim {name} with inconsistent min={least}, max={max}: max has to be greater"
            )
        self.name, self.min, self.max = name, least, max
        self.root, self.factor, self.added = self, 1, 0

    @property
    def __name__(self) -> str:
        return self.name

    def _derived(self, factor: int, added: int) -> Dim:
        if factor <= 0:
            raise ValueError(f"a dimension may be multiplied by a positive number, not by {factor}")
        name = self.root.name if factor == 1 else f"{factor}*{self.root.name}"
        made = Dim(self.root.name)
        made.name = name + (f" + {added}" if added > 0 else f" - {-added}" if added else "")
        made.root, made.factor, made.added = self.root, factor, added
        return made

    def __mul__(self, other: int) -> Dim:
        return self._derived(self.factor * other, self.added * other)

    __rmul__ = __mul__

    def __add__(self, other: int) -> Dim:
        return self._derived(self.factor, self.added + other)

    __radd__ = __add__

    def __sub__(self, other: int) -> Dim:
        return self + -other

    def of(self, size: int) -> int | None:
        """The root's value for a size of this dimension; None where there is none."""
        value, rest = divmod(size - self.added, self.factor)
        return None if rest else value

    def __repr__(self) -> str:
        bounds = [f"{k}={v}" for k, v in (("min", self.min or None), ("max", self.max)) if v is not None]
        return f"Dim({', '.join([repr(self.name), *bounds])})"


class _Hint:
    """One of `Dim.AUTO`, `Dim.DYNAMIC` and `Dim.STATIC`."""

    def __init__(self, name: str):
        self.name = name

    def __repr__(self) -> str:
        return f"Dim.{self.name}"


Dim.AUTO, Dim.DYNAMIC, Dim.STATIC = _Hint("AUTO"), _Hint("DYNAMIC"), _Hint("STATIC")


def dims(*names: str, min: int | None = None, max: int | None = None) -> tuple[Dim, ...]:  # noqa: A002
    """A `Dim` for each name."""
    return tuple(Dim(name, min=min, max=max) for name in names)


def expect(name: str, a: Any, b: Any, wanted: bool) -> None:
    """Raise RuntimeError unless sizes compare as they did in the example, on which the program's path depended."""
    if getattr(operator, name)(a, b) is not wanted:
        sign = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}[name]
        raise RuntimeError(
            f"Guard failed: the exported program took its path because {'' if wanted else 'not '}(a {sign} b) for "
            f"sizes a and b of its example, but here a is {a} and b is {b}: export it again with such inputs"
        )


class Dimension(int):
    """A size of a tensor in a program that is being recorded: an int whose arithmetic is recorded as well.

    node: the node of the graph that gives it; run: the run that records.
    """

    node: Any
    run: Any

    @classmethod
    def made(cls, value: int, node: Any, run: Any) -> Dimension:
        """The size `value` that a node gives."""
        self = cls(value)
        self.node, self.run = node, run
        return self

    __hash__ = int.__hash__

    def __bool__(self) -> bool:
        return self != 0

    def __neg__(self) -> Any:
        return self.run.computed(operator.neg, (self,), -int(self))

    def __reduce__(self) -> Any:
        return int, (int(self),)

    def __deepcopy__(self, memo: dict) -> int:
        return self


def _arithmetic(name: str, reflected: bool) -> Callable:
    function = getattr(operator, name)
    plain = getattr(int, f"__{'r' if reflected else ''}{name}__")

    def method(self: Dimension, other: Any) -> Any:
        value = plain(int(self), other)
        if value.__class__ is not int:  # not with a whole number
            return value
        return self.run.computed(function, (other, self) if reflected else (self, other), value)

    return method


def _comparison(name: str) -> Callable:
    plain = getattr(int, f"__{name}__")

    def method(self: Dimension, other: Any) -> Any:
        found = plain(self, other)
        if found is not NotImplemented:
            self.run.compared(name, self, other, found)
        return found

    return method


for _name in ("add", "sub", "mul", "floordiv", "mod"):
    setattr(Dimension, f"__{_name}__", _arithmetic(_name, False))
    setattr(Dimension, f"__r{_name}__", _arithmetic(_name, True))
for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(Dimension, f"__{_name}__", _comparison(_name))
