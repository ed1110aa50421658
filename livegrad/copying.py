"""Deep copies of tensors and storages: what saw each other's changes does so again."""

from __future__ import annotations

import copy
from typing import Any

from .lazy.storage import Alias, Face
from .lazy.value import from_array
from .runtime import array as arrays
from .tensor import Tensor, wrap

__all__ = ["deep_copy", "whole_copy"]


def deep_copy(tensor: Any, memo: dict) -> Any:
    """A leaf with all that belongs to it. `memo` is that of `copy.deepcopy`."""
    made = _fresh(tensor, memo)
    memo[id(tensor)] = made
    made.requires_grad_(tensor.requires_grad)
    if tensor.grad is not None:
        made.grad = copy.deepcopy(tensor.grad, memo)
    for name, attribute in tensor.__dict__.items():
        if not name.startswith("_held"):
            made.__dict__[name] = copy.deepcopy(attribute, memo)
    return made


def _fresh(tensor: Any, memo: dict) -> Any:
    """The numbers, in memory of their own, or in that of what was copied from the same storage."""
    alias = tensor._s
    if alias is None or isinstance(alias.storage, Face):  # alone, or memory that is seen as another dtype
        return wrap(from_array(arrays.copied(tensor._value().ready())))._as_class(type(tensor))
    whole = whole_copy(alias, memo)
    if alias.layout is not None:
        whole = whole._window(*alias.layout)
    return Tensor._from(whole, type(tensor))


def whole_copy(alias: Alias, memo: dict) -> Tensor:
    """A tensor of all elements of the storage that is seen, the same one for all who see it."""
    storage = alias.storage
    known = memo.get(("livegrad.storage", id(storage)))
    if known is None:
        whole = storage.read(Alias(storage, None, alias.counter)).ready()
        known = storage, wrap(from_array(arrays.copied(whole)))  # held, so that nothing else gets its id
        memo["livegrad.storage", id(storage)] = known
    return known[1]
