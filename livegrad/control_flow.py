"""Control flow as functions: `cond`, `while_loop`, `scan`, `associative_scan`.

The graph is recorded as it runs, so Python's own `if`, `while` and `for` do as well. These are for programs that were
written for compilers, which see functions only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .ops.registry import FUNCTIONS
from .tensor import Tensor
from .utils._pytree import tree_flatten, tree_map, tree_unflatten

__all__ = ["associative_scan", "cond", "scan", "while_loop"]


def _holds(condition: Any, function: str) -> bool:
    if isinstance(condition, Tensor):
        if condition.numel() != 1:
            raise RuntimeError(f"{function}(): the condition must be one boolean, but has shape {condition.shape}")
        return bool(condition.item())
    if not isinstance(condition, (bool, int, float)):
        raise RuntimeError(f"{function}(): the condition must be a bool or a tensor, but is {type(condition).__name__}")
    return bool(condition)


def cond(pred: Any, true_fn: Callable, false_fn: Callable, operands: tuple | list = ()) -> Any:
    """``true_fn(*operands)`` if `pred`, a bool or a tensor with one element, holds; else ``false_fn(*operands)``.

    >>> import livegrad
    >>> x = livegrad.tensor([1.0, 4.0])
    >>> cond(x.sum() > 3, lambda x: x.sqrt(), lambda x: -x, (x,))
    tensor([1., 2.])
    """
    if not isinstance(operands, (tuple, list)):
        raise RuntimeError(f"cond(): the operands must be a tuple or a list, but are of type {type(operands).__name__}")
    return (true_fn if _holds(pred, "cond") else false_fn)(*operands)


def while_loop(cond_fn: Callable, body_fn: Callable, carried_inputs: tuple | list) -> tuple:
    """Replace values by ``body_fn(*values)`` for as long as ``cond_fn(*values)`` holds, and return the last ones.

    >>> import livegrad
    >>> while_loop(lambda n, x: n < 3, lambda n, x: (n + 1, x * 2), (livegrad.tensor(0), livegrad.ones(2)))
    (tensor(3), tensor([8., 8.]))
    """
    if not isinstance(carried_inputs, (tuple, list)):
        kind = type(carried_inputs).__name__
        raise RuntimeError(f"while_loop(): the values must be a tuple or a list, but are of type {kind}")
    values = tuple(carried_inputs)
    while _holds(cond_fn(*values), "while_loop"):
        made = body_fn(*values)
        values = tuple(made) if isinstance(made, (tuple, list)) else (made,)
        if len(values) != len(carried_inputs):
            raise RuntimeError(f"while_loop(): body_fn made {len(values)} values of {len(carried_inputs)}")
    return values


def _leaves(xs: Any, dim: int, function: str) -> tuple[list, Any, list, int]:
    """The tensors in a structure, the structure, the dimension of each, and its size, which is one for all."""
    leaves, spec = tree_flatten(xs)
    if not leaves or not all(isinstance(x, Tensor) for x in leaves):
        raise RuntimeError(f"{function}(): xs must be tensors, at least one")
    dims = []
    for x in leaves:
        if not -x.ndim <= dim < x.ndim:
            raise IndexError(
                f"Dimension out of range (expected to be in range of [{-x.ndim}, {x.ndim - 1}], but got {dim})"
            )
        dims.append(dim % x.ndim)
    sizes = [x.shape[d] for x, d in zip(leaves, dims)]
    if len(set(sizes)) > 1:
        raise RuntimeError(f"{function}(): xs must have one size in dimension {dim}, but have {sizes}")
    if not sizes[0]:
        raise RuntimeError(f"{function}(): xs must not be empty in dimension {dim}")
    return leaves, spec, dims, sizes[0]


def scan(combine_fn: Callable, init: Any, xs: Any, *, dim: int = 0, reverse: bool = False) -> tuple[Any, Any]:
    """Go along a dimension with ``carry, y = combine_fn(carry, x)``; returns the last carry, and all y stacked.

    init: the first carry, a tensor or nested tensors. xs: the same, of one size in `dim`; x is a slice of each.
    reverse: go from the end; each y is where its x was. The y are stacked along `dim`.

    >>> import livegrad
    >>> scan(lambda c, x: (c + x, c * x), livegrad.tensor(0.0), livegrad.tensor([1.0, 2.0, 3.0]))
    (tensor(6.), tensor([0., 2., 9.]))
    """
    leaves, spec, dims, size = _leaves(xs, dim, "scan")
    carry, made = init, []
    for i in range(size - 1, -1, -1) if reverse else range(size):
        carry, y = combine_fn(carry, tree_unflatten([x.select(d, i) for x, d in zip(leaves, dims)], spec))
        made.append(y)
    if reverse:
        made.reverse()
    return carry, tree_map(lambda *ys: FUNCTIONS["stack"](ys, dims[0]), *made)


def associative_scan(
    combine_fn: Callable, xs: Any, dim: int, reverse: bool = False, combine_mode: str = "pointwise"
) -> Any:
    """Running results along a dimension of a function of two that is associative, such as sums for ``torch.add``.

    combine_fn: takes two structures like `xs`, of whole pieces of the tensors, and combines them elementwise. It is
    called about log2 of the size times, each time with all the elements that are left. reverse: from the end.
    combine_mode: "pointwise" or "generic", which are the same here.

    >>> import livegrad
    >>> associative_scan(livegrad.mul, livegrad.tensor([1.0, 2.0, 3.0, 4.0]), 0)
    tensor([ 1.,  2.,  6., 24.])
    """
    if combine_mode not in ("pointwise", "generic"):
        raise ValueError(f"Combine_mode must either 'pointwise' or 'generic', but got {combine_mode}")
    leaves, spec, dims, size = _leaves(xs, dim, "associative_scan")
    if reverse:
        leaves = [x.flip(d) for x, d in zip(leaves, dims)]
    step = 1
    while step < size:  # each element is combined with what is `step` before it, which stands for as many
        left = [x.narrow(d, 0, size - step) for x, d in zip(leaves, dims)]
        right = [x.narrow(d, step, size - step) for x, d in zip(leaves, dims)]
        made = tree_flatten(combine_fn(tree_unflatten(left, spec), tree_unflatten(right, spec)))[0]
        if [x.shape for x in made] != [x.shape for x in right]:
            shapes = [tuple(x.shape) for x in made], [tuple(x.shape) for x in right]
            raise RuntimeError(f"associative_scan(): combine_fn made shapes {shapes[0]} of {shapes[1]}")
        leaves = [FUNCTIONS["cat"]((x.narrow(d, 0, step), y), d) for x, y, d in zip(leaves, made, dims)]
        step *= 2
    if reverse:
        leaves = [x.flip(d) for x, d in zip(leaves, dims)]
    return tree_unflatten(leaves, spec)
