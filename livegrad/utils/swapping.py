"""Exchanging what two tensors are, for whoever holds them."""

from __future__ import annotations

import weakref
from typing import Any

from ..tensor import Tensor

_SLOTS = ("_v", "_s", "_edge", "_nr", "_ver")


def _own_slots(cls: type) -> list[str]:
    """The slots that a subclass adds."""
    found: list[str] = []
    for each in cls.__mro__[: cls.__mro__.index(Tensor)]:
        slots = each.__dict__.get("__slots__", ())
        found.extend([slots] if isinstance(slots, str) else slots)
    return [name for name in found if name not in ("__dict__", "__weakref__")]


def swap_tensors(t1: Tensor, t2: Tensor) -> None:
    """Exchange two tensors in place: everyone who holds `t1` now has what `t2` was, and the other way round.

    Their classes, attributes, data, gradients and history are exchanged; views go on to share memory with what they
    are of, and graphs to give their gradients to the leaves that they were recorded for. Raises RuntimeError where the
    classes have different slots, or a weak reference with a callback (a WeakKeyDictionary's) would notice nothing.

    >>> import livegrad
    >>> a, b = livegrad.ones(2), livegrad.zeros(3)
    >>> livegrad.utils.swap_tensors(a, b)
    >>> a, b
    (tensor([0., 0., 0.]), tensor([1., 1.]))
    """
    for t in (t1, t2):
        if not isinstance(t, Tensor):
            raise TypeError(f"swap_tensors expects tensors, but got {type(t).__name__}")
    if t1 is t2:
        return
    slots = _own_slots(type(t1))
    if slots != _own_slots(type(t2)):
        raise RuntimeError("Cannot swap t1 and t2 if they have different slots")
    for name, t in (("t1", t1), ("t2", t2)):
        if _is_watched(t):
            raise RuntimeError(f"Cannot swap {name} because it has weakref associated with it")
    storages = {id(t._s.storage): t._s.storage for t in (t1, t2) if t._s is not None}
    one, other = _taken(t1, slots), _taken(t2, slots)
    _given(t1, other)
    _given(t2, one)
    swapped: dict[int, Tensor] = {id(t1): t2, id(t2): t1}
    for storage in storages.values():
        views = [view for view in (r() for r in storage.views) if view is not None]
        storage.views[:] = [weakref.ref(swapped.get(id(view), view)) for view in views]
        for view in {id(v): v for v in (*views, t1, t2)}.values():
            if view._s is not None and view._s.storage is storage:
                view._s.base = swapped.get(id(view._s.base), view._s.base)


def _is_watched(t: Tensor) -> bool:
    """Whether a weak reference has a callback: the library's own have none."""
    return any(r.__callback__ is not None for r in weakref.getweakrefs(t))


def _taken(t: Tensor, slots: list[str]) -> tuple:
    state = {name: getattr(t, name) for name in (*_SLOTS, *slots) if hasattr(t, name)}
    return type(t), dict(t.__dict__), state


def _given(t: Tensor, content: tuple) -> None:
    cls, attributes, state = content
    t.__class__ = cls
    t.__dict__.clear()
    t.__dict__.update(attributes)
    for name, value in state.items():
        setattr(t, name, value)
    made: Any = t._v
    if made is not None and isinstance(made.owner, weakref.ref):
        made.owner = weakref.ref(t)
    if t._edge is not None and t._edge.is_leaf:
        t._edge.variable_ref = weakref.ref(t)
