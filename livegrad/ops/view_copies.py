"""What views show as tensors of their own: `permute_copy` and its like, which share no memory."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..tensor import Tensor
from . import writes
from .operator import name_nodes, shows
from .registry import FUNCTIONS, named

_VIEWS = (
    "as_strided detach diagonal expand permute select split split_with_sizes squeeze t transpose unbind unsqueeze "
    "view_as_complex view_as_real"
)


def _copy_of(shown: Tensor, of: Tensor) -> Tensor:
    """A copy of what a view shows; its node is called after the view's."""
    made = shown.clone()
    node = shown._edge
    return made if node is None or node is of._edge else name_nodes(made, f"{node.name()}_copy", of, shown)


def _copied(name: str, view: Callable) -> Callable:
    def function(input: Tensor, *args: Any, **kwargs: Any) -> Any:  # noqa: A002
        made = view(input, *args, **kwargs)
        return tuple([_copy_of(x, input) for x in made]) if isinstance(made, tuple) else _copy_of(made, input)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"What `{name.removesuffix('_copy')}` shows, in memory of its own."
    return function


def _method(name: str) -> Callable:
    """The method of that name, looked up when it is called."""
    return lambda input, *args, **kwargs: getattr(input, name)(*args, **kwargs)


for _name in _VIEWS.split():
    _view = FUNCTIONS.get(_name) or _method(_name)
    named(f"{_name}_copy", method=False)(_copied(f"{_name}_copy", _view))


@named("view_copy", method=False)
def view_copy(input: Tensor, size: Any = None, dtype: Any = None) -> Tensor:  # noqa: A002
    """What `view` shows, in memory of its own."""
    return _copy_of(input.view(size if dtype is None else dtype), input)  # type: ignore[attr-defined]


@named("slice_copy", method=False)
def slice_copy(input: Tensor, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Tensor:  # noqa: A002
    """A copy of every step-th entry along a dimension."""
    index = (slice(None),) * (dim % input.dim()) + (slice(start, end, step),)
    return input[index].clone()  # type: ignore[no-any-return]


@named("unfold_copy", method=False)
def unfold_copy(input: Tensor, dimension: int, size: int, step: int) -> Tensor:  # noqa: A002
    """What `Tensor.unfold` shows, in memory of its own."""
    return _copy_of(input.unfold(dimension, size, step), input)  # type: ignore[attr-defined]


@named("alias_copy", method=False)
def alias_copy(input: Tensor) -> Tensor:  # noqa: A002
    """A copy."""
    return name_nodes(input.clone(), "AliasBackward0_copy")  # type: ignore[no-any-return]


@named("as_strided_scatter")
def as_strided_scatter(input: Tensor, src: Tensor, size: Any, stride: Any, storage_offset: Any = None) -> Tensor:  # noqa: A002
    """A copy of `input` with `src` where `as_strided` with these arguments would look.

    >>> import livegrad
    >>> livegrad.as_strided_scatter(livegrad.zeros(4), livegrad.ones(2), (2,), (2,))
    tensor([1., 0., 1., 0.])
    """
    made = input.contiguous().clone()
    made.as_strided(size, stride, storage_offset).copy_(src)  # type: ignore[attr-defined]
    return made


for _name in ("chunk", "split", "split_with_sizes"):  # in PyTorch they share memory without saying so to autograd
    _label = "UnsafeSplitWithSizesBackward" if _name.endswith("sizes") else "UnsafeSplitBackward"
    _safe = shows(_label)(functools.wraps(getattr(Tensor, _name))(_method(_name)))
    named(f"unsafe_{_name}")(_safe)

for _name in ("addbmm", "addr", "i0", "mvlgamma", "polygamma", "renorm"):
    if not hasattr(Tensor, f"{_name}_"):
        setattr(Tensor, f"{_name}_", writes.in_place(getattr(Tensor, _name), f"{_name}_"))
