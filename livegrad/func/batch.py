"""vmap: a function of single examples as a function of batches."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..ops.batching import hide, running, show
from ..ops.joining import cat
from ..tensor import Tensor
from ..utils._pytree import _broadcast_to_and_flatten, tree_flatten, tree_unflatten


def vmap(
    func: Callable, in_dims: Any = 0, out_dims: Any = 0, randomness: str = "error", *, chunk_size: int | None = None
) -> Callable:
    """The function that applies `func` to every slice of its arguments along a dimension, and stacks the results.

    `func` is called once. The tensors that it is given have the shape of one slice and stand for all of them: each
    operator works on the whole batch. So their elements cannot be read in `func`, nor can it branch on them. An
    operator that has no rule for batches is applied to one slice after the other.

    in_dims: the dimension of each positional argument, nested as the arguments are; None for what is the same for all,
    as keyword arguments are. out_dims: where the new dimension of each result is; None for a result that is the same
    for all. randomness: "error" raises RuntimeError where `func` draws random numbers, "different" draws for each
    slice, "same" gives all slices the same numbers. chunk_size: so many slices at a time, to save memory.

    Raises ValueError for dimensions that do not fit the arguments, RuntimeError where elements are read or where an
    in-place operator would write different slices into one tensor.

    >>> import livegrad
    >>> dot = livegrad.func.vmap(livegrad.dot)
    >>> dot(livegrad.tensor([[1.0, 2.0], [3.0, 4.0]]), livegrad.tensor([[1.0, 1.0], [0.0, 1.0]]))
    tensor([3., 4.])
    """
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}")
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")
    name = getattr(func, "__name__", repr(func))

    def once(leaves: list, dims: list, spec: Any, size: int, kwargs: dict) -> tuple[list, Any, list]:
        """The results of all slices at once, flat, their structure, and where the dimension of each is."""
        with running(size, randomness) as level:
            given = [x if d is None else hide(x, level.number, d) for x, d in zip(leaves, dims)]
            made, structure = tree_flatten(func(*tree_unflatten(given, spec), **kwargs))
            where = _out_dims(name, out_dims, structure)
            return [_whole(name, x, d, level) for x, d in zip(made, where)], structure, where

    @functools.wraps(func)
    def batched(*args: Any, **kwargs: Any) -> Any:
        leaves, spec = tree_flatten(args)
        dims = _in_dims(name, in_dims, args, leaves, spec)
        size = _size(name, leaves, dims)
        if chunk_size is None or chunk_size >= size:
            made, structure, _ = once(leaves, dims, spec, size, kwargs)
            return tree_unflatten(made, structure)
        chunks = []
        for start in range(0, size, chunk_size):
            n = min(chunk_size, size - start)
            part = [x if d is None else x.narrow(d, start, n) for x, d in zip(leaves, dims)]
            chunks.append(once(part, dims, spec, n, kwargs))
        _, structure, where = chunks[0]
        joined = [
            parts[0] if d is None else cat(parts, _place(d, parts[0]))
            for d, *parts in zip(where, *[c[0] for c in chunks])
        ]
        return tree_unflatten(joined, structure)

    return batched


def _place(d: int, t: Tensor) -> int:
    return d % t.dim()


def _whole(name: str, x: Any, d: int | None, level: Any) -> Any:
    """A result of `func` with the dimension of the batch."""
    found = show(x, level.number) if isinstance(x, Tensor) else None
    if d is None:
        if found is not None:
            raise ValueError(f"vmap({name}, ...): `{name}` can not return a BatchedTensor when out_dim is None")
        return x
    if not isinstance(x, Tensor):
        raise ValueError(
            f"vmap({name}, ...): `{name}` must only return Tensors, got type {type(x)}. Did you mean to set out_dims= "
            "to None for output?"
        )
    if found is None:
        found = x.expand(level.size, *x.shape)  # type: ignore[attr-defined]
    return found.movedim(0, d) if d else found  # type: ignore[attr-defined]


def _out_dims(name: str, out_dims: Any, structure: Any) -> list:
    where = _broadcast_to_and_flatten(out_dims, structure)
    if where is None:
        raise ValueError(
            f"vmap({name}, ..., out_dims={out_dims})(<inputs>): out_dims is not compatible with the structure of "
            f"outputs. out_dims has structure {tree_flatten(out_dims)[1]} but outputs has structure {structure}."
        )
    return where


def _in_dims(name: str, in_dims: Any, args: tuple, leaves: list, spec: Any) -> list:
    """The mapped dimension of each leaf, or None."""
    if not isinstance(in_dims, (int, tuple)):
        raise ValueError(
            f"vmap({name}, in_dims={in_dims}, ...)(<inputs>): expected `in_dims` to be int or a (potentially nested) "
            f"tuple matching the structure of inputs, got: {type(in_dims)}."
        )
    if not args:
        raise ValueError(
            f"vmap({name})(<inputs>): got no inputs. Maybe you forgot to add inputs, or you are trying to vmap over a "
            f"function with no inputs. The latter is unsupported."
        )
    per_leaf = _broadcast_to_and_flatten(in_dims, spec)
    if per_leaf is None:
        raise ValueError(
            f"vmap({name}, in_dims={in_dims}, ...)(<inputs>): in_dims is not compatible with the structure of inputs. "
            f"in_dims has structure {tree_flatten(in_dims)[1]} but inputs has structure {spec}."
        )
    found: list = []
    for x, d in zip(leaves, per_leaf):
        if d is None:
            found.append(None)
            continue
        if not isinstance(x, Tensor):
            raise ValueError(
                f"vmap({name}, in_dims={in_dims}, ...)(<inputs>): Got in_dim={d} for an input but the input is of type "
                f"{type(x)}. We cannot vmap over non-Tensor arguments, please use None as the respective in_dim"
            )
        if not -x.dim() <= d < x.dim():
            raise ValueError(
                f"vmap({name}, in_dims={in_dims}, ...)(<inputs>): Got in_dim={d} for some input, but that input is a "
                f"Tensor of dimensionality {x.dim()} so expected in_dim to satisfy -{x.dim()} <= in_dim < {x.dim()}."
            )
        found.append(d % x.dim())
    return found


def _size(name: str, leaves: list, dims: list) -> int:
    sizes = [x.shape[d] for x, d in zip(leaves, dims) if d is not None]
    if not sizes:
        raise ValueError("vmap: Expected at least one Tensor to vmap over")
    if any(n != sizes[0] for n in sizes):
        raise ValueError(
            f"vmap: Expected all tensors to have the same size in the mapped dimension, got sizes {sizes} for the "
            "mapped dimension"
        )
    return sizes[0]


__all__ = ["vmap"]
