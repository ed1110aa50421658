"""vmap: a function of single examples as a function of batches."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .._functorch import vmap as steps
from ..ops.batching import running
from ..ops.joining import cat
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

    def once(dims: list, leaves: list, spec: Any, size: int, kwargs: dict) -> Any:
        """The results of all slices at once."""
        with running(size, randomness) as level:
            given = steps._create_batched_inputs(dims, leaves, level.number, spec)
            return steps._unwrap_batched(func(*given, **kwargs), out_dims, level.number, size, func)

    @functools.wraps(func)
    def batched(*args: Any, **kwargs: Any) -> Any:
        size, dims, leaves, spec = steps._process_batched_inputs(in_dims, args, func)
        if chunk_size is None or chunk_size >= size:
            return once(dims, leaves, spec, size, kwargs)
        chunks = []
        for start in range(0, size, chunk_size):
            n = min(chunk_size, size - start)
            part = [x if d is None else x.narrow(d, start, n) for x, d in zip(leaves, dims)]
            chunks.append(tree_flatten(once(dims, part, spec, n, kwargs)))
        structure = chunks[0][1]
        where = _broadcast_to_and_flatten(out_dims, structure)
        assert where is not None
        joined = [
            parts[0] if d is None else cat(parts, d % parts[0].dim())
            for d, *parts in zip(where, *[made for made, _ in chunks])
        ]
        return tree_unflatten(joined, structure)

    return batched


__all__ = ["vmap"]
