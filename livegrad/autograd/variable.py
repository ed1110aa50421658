"""Variable, which old programs wrap tensors in."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor


class _Meta(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, Tensor)


class Variable(metaclass=_Meta):
    """A tensor that shares the data of another one, as a leaf of its own. Every tensor is an instance.

    >>> import livegrad
    >>> x = livegrad.autograd.Variable(livegrad.ones(2), requires_grad=True)
    >>> x, isinstance(livegrad.ones(2), livegrad.autograd.Variable)
    (tensor([1., 1.], requires_grad=True), True)
    """

    def __new__(cls, data: Any = None, requires_grad: bool = False, volatile: bool = False) -> Any:
        from ..creation import empty

        if data is None:
            data = empty(0)
        if not isinstance(data, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(data).__name__}")
        made = data.detach()
        return made.requires_grad_() if requires_grad else made
