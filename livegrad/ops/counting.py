"""What occurs, how often, and where it belongs: unique, bincount, searchsorted."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..devices import cpu
from ..lazy import backend
from ..lazy.value import Value, from_array
from ..native import hot
from ..runtime import array as arrays
from ..runtime.interpreter import library
from ..tensor import Tensor, wrap
from . import dispatch
from .geometry import normal_dim
from .instruction import SCALAR_TYPE_NAMES, real_only
from .operator import there, without_derivative
from .order import comparable
from .registry import FUNCTIONS, function, operator, public, write_out


def on_device(x: Tensor, name: str) -> Any:
    """The elements as an array of the device's library, for what has to wait for it: how large its result is."""
    if x.device is not cpu:
        from ..runtime.cuda import ledger

        ledger.note("synchronize", 0, f"{name}(), whose size depends on the elements,")
    return x.detach()._value().native()


# What was found among the elements, by an operator that has no derivative.
_FOUND = {
    name: operator(
        name, lambda x, found: found, tensors=("x",), grads={"x": without_derivative(name)}, node=node, anywhere=True
    )
    for name, node in (
        ("_unique2", "Unique2"),
        ("unique_dim", "UniqueDim"),
        ("unique_consecutive", "UniqueConsecutive"),
    )
}


def _distinct(x: Tensor, found: Value, name: str) -> Tensor:
    """`found`, which requires a gradient where x does: asking for that gradient raises."""
    return _FOUND[name].apply((x,), found=found) if x.requires_grad else wrap(found)


@function
@there
@hot
def unique(
    input: Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False,
    dim: int | None = None,
) -> Any:  # fmt: skip
    """The distinct elements in order; optionally where each element went, and how often each occurs.

    No NaN is equal to another, so that all of them are there.
    """
    real_only(input, "unique")
    if dim is not None:
        dim = normal_dim(dim, input.dim())
    a = comparable(on_device(input, "unique"))
    values, inverse, counts = library(a).unique(a, return_inverse=True, return_counts=True, axis=dim, equal_nan=False)
    out = [_distinct(input, backend.copied(values.astype(input.dtype.np)), "_unique2" if dim is None else "unique_dim")]
    if return_inverse:
        shape = input._shape if dim is None else (input._shape[dim],)
        out.append(wrap(backend.copied(inverse.reshape(shape).astype(np.int64))))
    if return_counts:
        out.append(wrap(backend.copied(counts.astype(np.int64))))
    return out[0] if len(out) == 1 else tuple(out)


Tensor.unique = unique  # type: ignore[attr-defined]


@function
def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """Elements, or slices of a dimension, that differ from the one before them; optionally where each went, how many.

    >>> import livegrad
    >>> livegrad.unique_consecutive(livegrad.tensor([1, 1, 2, 1]))
    tensor([1, 2, 1])
    """
    real_only(input, "unique")
    if dim is not None:
        dim = normal_dim(dim, input.dim())
    a = input.detach()._to_numpy()
    along = a.reshape(-1) if dim is None else np.moveaxis(a, dim, 0)
    n = along.shape[0]
    differs = along[1:] != along[:-1]
    new = np.concatenate((np.ones(min(n, 1), bool), differs.any(tuple(range(1, differs.ndim)))))
    starts = np.flatnonzero(new)
    found = along[starts]
    values = backend.copied(found if dim is None else np.moveaxis(found, 0, dim))
    out = [_distinct(input, values, "unique_consecutive")]
    if return_inverse:
        inverse = np.cumsum(new) - 1
        out.append(wrap(backend.copied(inverse.reshape(a.shape) if dim is None else inverse)))
    if return_counts:
        out.append(wrap(backend.copied(np.diff(np.append(starts, n)))))
    return out[0] if len(out) == 1 else tuple(out)


Tensor.unique_consecutive = unique_consecutive  # type: ignore[attr-defined]


@public("bincount", kind="library")
@there
@hot
def bincount(x: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each non-negative integer occurs, or the sum of its weights."""
    if x.dtype.category != dtypes.INTEGRAL:
        raise NotImplementedError(f"\"bincount_cpu\" not implemented for '{SCALAR_TYPE_NAMES[x.dtype]}'")
    if minlength < 0:
        raise RuntimeError("minlength should be >= 0")
    if x.dim() != 1:
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if weights is not None and weights.shape != x.shape:
        raise RuntimeError(
            "weights should be 1-d and have the same length as input, but their shapes are "
            f"{list(weights.shape)} and {list(x.shape)}"
        )
    a = on_device(x, "bincount")
    xp = library(a)
    if a.size and bool((a < 0).any()):
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if weights is None:
        return wrap(backend.copied(xp.bincount(a, None, minlength).astype(np.int64, copy=False)))
    if x.device is not cpu:  # added up in one order
        n = max(minlength, int(a.max()) + 1 if a.size else 0)
        nothing = wrap(from_array(arrays.full_on(x.device, (n,), dtypes.float64, 0)))
        made = FUNCTIONS["scatter_add"](
            nothing, 0, dispatch.cast(x.detach(), dtypes.int64), dispatch.cast(weights.detach(), dtypes.float64)
        )
        return dispatch.cast(made, dtypes.float32) if weights.dtype is dtypes.float32 else made
    made = xp.bincount(a, on_device(weights, "bincount"), minlength)
    return wrap(backend.copied(made.astype(np.float32) if weights.dtype is dtypes.float32 else made))


def _places(sequence: np.ndarray, x: np.ndarray, side: str) -> np.ndarray:
    """Where elements belong in a sorted sequence, by halves: no comparison with NaN holds, so the search goes right."""
    if sequence.dtype.kind in "iub" or not (sequence != sequence).any():
        return sequence.searchsorted(x, side)
    start, end = np.zeros(x.shape, np.int64), np.full(x.shape, len(sequence), np.int64)
    while (searching := start < end).any():
        middle = (start + end) // 2
        at = sequence[np.minimum(middle, len(sequence) - 1)]
        left = searching & ((at >= x) if side == "left" else (at > x))
        end = np.where(left, middle, end)
        start = np.where(searching & ~left, middle + 1, start)
    return start


@function
@there
def searchsorted(
    sorted_sequence: Tensor, input: Any, *, out_int32: bool = False, right: bool = False, side: str | None = None,
    sorter: Tensor | None = None, out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Where elements would be inserted into a sorted sequence; sorter: the order that sorts it, if it is not sorted."""
    from ..from_data import as_tensor

    if side not in (None, "left", "right"):
        raise RuntimeError(f"torch.searchsorted(): side can only be 'left' or 'right' but got {side}")
    if right and side == "left":
        raise RuntimeError(
            "torch.searchsorted(): side and right can't be set to opposites, got side of left while right was True"
        )
    side = side or ("right" if right else "left")
    if not sorted_sequence.dim():
        raise RuntimeError(
            "torch.searchsorted(): boundaries tensor should have positive dimension, but got 0 dimension"
        )
    if sorter is not None:
        if sorter.shape != sorted_sequence.shape:
            raise RuntimeError(
                "torch.searchsorted(): boundary and sorter must have the same size, but got boundary tensor "
                f"{list(sorted_sequence.shape)} and got sorter tensor {list(sorter.shape)}"
            )
        sorted_sequence = sorted_sequence.take_along_dim(sorter, -1)  # type: ignore[attr-defined]
    given = input
    if not isinstance(input, Tensor) or input.device is not sorted_sequence.device:
        if not isinstance(input, (Tensor, int, float, complex, list, tuple, np.ndarray, np.generic)):
            raise TypeError(
                "searchsorted(): argument 'input' (position 2) must be Tensor or Number, not " + type(input).__name__
            )
        given = as_tensor(input, device=sorted_sequence.device)
    if sorted_sequence.device is not cpu and sorted_sequence.dim() == 1:
        sequence, x = (t.detach()._value().native() for t in (sorted_sequence, given))
        found = library(x).searchsorted(sequence, x, side).astype(np.int32 if out_int32 else np.int64)
        made = wrap(backend.copied(found))
        return made if out is None else write_out(out, made)
    sequence, x = sorted_sequence._to_numpy(), given._to_numpy()
    if sequence.ndim == 1:
        a = _places(sequence, x, side)
    else:  # one sequence for each row
        if sequence.shape[:-1] != x.shape[:-1]:
            raise RuntimeError(
                "searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries "
                f"tensor and input value tensor must match, but we got {list(sequence.shape)} and {list(x.shape)}"
            )
        a = np.empty(x.shape, np.int64)
        for row in np.ndindex(x.shape[:-1]):
            a[row] = _places(sequence[row], x[row], side)
    made = wrap(backend.fresh(np.asarray(a, np.int32 if out_int32 else np.int64)))
    if sorted_sequence.device is not cpu:
        made = made.to(sorted_sequence.device)
    if out is not None:
        return write_out(out, made)
    return made


@function
@hot
def bucketize(
    input: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False, out: Tensor | None = None
) -> Tensor:
    """For each element the number of the bucket that it falls into: `searchsorted(boundaries, input)`."""
    return searchsorted(boundaries, input, out_int32=out_int32, right=right, out=out)
