"""Products with something added: linear layers, addmm, addmv, baddbmm. Half types are rounded once, after the sum."""

from __future__ import annotations

from typing import Any

from .. import dtypes
from ..autograd.node import cast_value
from ..devices import cpu
from ..lazy.reduce import reduce_and_keep
from ..lazy.value import Value, from_array
from ..native import hot
from ..observe import WATCH
from ..precision import REGIONS
from ..runtime import array as arrays
from ..runtime import blas, gemm, pool
from ..runtime.array import FEW_BYTES, numel
from ..runtime.memory import peek, poke
from ..tensor import Tensor
from .casting import autocasts
from .dims import accumulator, dims_of
from .instruction import SCALAR_TYPE_NAMES
from .matmul import (
    _KINDS,
    _as_matrix,
    _by_transposed,
    _check,
    _conjugate,
    _either,
    _half_product,
    _matmul,
    _product,
    _transposed,
    _transposed_by,
    _turned,
    bmm,
    matmul,
    mm,
    mv,
)  # fmt: skip
from .registry import operator, public
from .view import sum_to_size


def _half_sum(a: Value, b: Value, added: Value, alpha: Any = 1, beta: Any = 1) -> Value:
    """alpha * (a @ b) + beta * added of half types on the CPU, in float32 and rounded once."""
    n = b.shape[-1]
    if alpha == 1 and beta == 1 and len(b.shape) == 2 and len(a.shape) > 1 and added.shape == (n,):
        if added.ready().contiguous and (len(a.shape) == 2 or a.ready().contiguous):
            k = a.shape[-1]
            made = _half_product(a.reshape((numel(a.shape[:-1]), k)), b, added)
            if made is not None:
                return made.reshape((*a.shape[:-1], n))
    made = _matmul(cast_value(a, dtypes.float32), cast_value(b, dtypes.float32))
    if alpha != 1:
        made = made * alpha
    if beta != 0:
        wide = cast_value(added, dtypes.float32)
        made = made + (wide if beta == 1 else wide * beta)
    return cast_value(made, a.dtype)


@hot
def _is_half(v: Value) -> bool:
    return v.dtype.itemsize == 2 and v.dtype.category == dtypes.FLOATING and v.device is cpu


@hot
def _linear(x: Value, weight: Value) -> Value:
    return _product(x, weight, False, True) if len(x.shape) == 2 else _matmul(x, _transposed(weight))


@hot
def _linear_gradient_weight(g: Any, x: Any, weight_shape: tuple) -> Any:
    if g.__class__ is Value and len(g.shape) == 2:
        return _product(g, _conjugate(x), True, False)
    n, k = weight_shape
    rows = numel(tuple(x.shape)[:-1])  # (which cannot be told by -1 where k or n is 0)
    return _either(g.reshape((rows, n)).mT, _conjugate(x).reshape((rows, k)))


@hot
def _bias_gradient(g: Any, bias_shape: tuple) -> Any:
    if g.__class__ is Value:
        # The other gradients are products, which read it from memory: it is not to be computed twice.
        if g.shape[-1:] == bias_shape and len(g.shape) > 1 and accumulator(g.dtype) is g.dtype:
            return reduce_and_keep(g, "sum", dims_of(None, len(g.shape) - 1), g.dtype)
        g.ready()
    return sum_to_size(g, bias_shape)


_MOST_ONTO_BIAS = 1 << 14  # results


@hot
def _linear_and_bias(bias: Value, x: Value, weight: Value) -> Value:
    if x.device is cpu:
        if _is_half(x):
            return _half_sum(x, _transposed(weight), bias)
        n, k = weight.shape
        m = numel(x.shape[:-1])
        if gemm.worthwhile(m, n, k, 1, True):
            return _product_and_row(x, _transposed(weight), bias)
        if m * n <= _MOST_ONTO_BIAS:
            made = _onto_bias(bias, x, weight)
            if made is not None:
                return made
    return _linear(x, weight) + bias


@hot
def _onto_bias(bias: Value, x: Value, weight: Value) -> Value | None:
    """A small result starts as the bias in each row, to which the library adds the product; None if it cannot.

    A result with hardly more work in it than numbers is left to the kernel that reads it, unless it is tiny.
    """
    dtype = x.dtype
    n, k = weight.shape
    lead = x.shape[:-1]
    m = numel(lead)
    size = m * n * dtype.itemsize
    kind = _KINDS.get(dtype)
    if (k < 8 and size > FEW_BYTES) or size == 0 or k == 0 or kind is None or bias.shape != (n,) or not blas.available:
        return None
    a, b, start = x.ready(), weight.ready(), bias.ready()
    if not a.contiguous or not start.contiguous:
        return None
    out = arrays.empty((*lead, n), dtype)
    pool.finish()
    poke(out.ptr, peek(start.ptr, n * dtype.itemsize) * m)
    observer = WATCH.observer
    token = None if observer is None else observer.begin_call("gemm", ((m, k), (k, n)), 2 * m * n * k)
    done = blas.gemm(kind, m, n, k, a.ptr, k, 1, b.ptr, b.strides[1], b.strides[0], out.ptr, n, beta=1.0)
    if a.block.outside or b.block.outside:
        pool.finish()
    if observer is not None:
        observer.end(token, "")
    return from_array(out) if done else None


@hot
def _product_and_row(x: Value, y: Value, row: Value) -> Value:
    """x @ y + row, for y (k, n) and a row of n numbers: in one pass where the product starts from the row."""
    n = y.shape[-1]
    if (
        x.dtype in _KINDS
        and len(x.shape) > 1
        and row.shape == (n,)
        and row.dtype is x.dtype
        and x.device is cpu
        and blas.available
    ):
        a, b, added = x.ready(), y.ready(), row.ready()
        m, k = numel(x.shape[:-1]), x.shape[-1]
        if a.contiguous and added.contiguous and gemm.worthwhile(m, n, k, 1, b.strides[1] != 1):
            out = arrays.empty((*x.shape[:-1], n), x.dtype)
            observer = WATCH.observer
            token = None if observer is None else observer.begin_call("gemm", ((m, k), (k, n)), 2 * m * n * k)
            done = gemm.product(
                _KINDS[x.dtype], 1, m, n, k, a.ptr, 0, k, 1, b.ptr, 0, *b.strides, out.ptr, 0, n, 0.0, added.ptr
            )
            if observer is not None:
                observer.end(token, "")
            if a.block.outside or b.block.outside or added.block.outside:
                pool.finish()
            if done:
                return from_array(out)
    return _half_sum(x, y, row) if _is_half(x) else _matmul(x, y) + row


# The weight is read transposed; the graph shows that as the step of its own that it is in PyTorch.
LINEAR = operator(
    "linear",
    _linear_and_bias,
    tensors=("bias", "x", "weight"),
    grads={
        "bias": _bias_gradient,
        "x": hot(lambda g, weight: _either(g, _conjugate(weight))),
        "weight": _linear_gradient_weight,
    },
    node="Addmm",
    through={"weight": "TBackward0"},
    anywhere=True,
)
LINEAR_NO_BIAS = operator(
    "linear",
    _linear,
    tensors=("x", "weight"),
    grads={"x": hot(lambda g, weight: _either(g, _conjugate(weight))), "weight": _linear_gradient_weight},
    node="Mm",
    through={"weight": "TBackward0"},
    anywhere=True,
)


@hot
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x @ weight.T + bias, for x (..., in), weight (out, in) and bias (out)."""
    if REGIONS.open:
        x, weight, bias = REGIONS.cast("linear", (x, weight, bias))
    if bias is not None:
        _same_dtypes("self and mat2", bias, weight)
    if weight.dim() > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {weight.dim()}D")
    if weight.dim() != 2 or x.dim() == 0:
        if weight.dim() == 0 or x.dim() == 0:
            raise RuntimeError(
                f"both arguments to linear need to be at least 1D, but they are {x.dim()}D and {weight.dim()}D"
            )
        if bias is not None and x.dim() == 2:
            raise RuntimeError("mat2 must be a matrix, got 1-D tensor")
        made = matmul(x, weight.t() if weight.dim() == 2 else weight)
        return made if bias is None else made + bias
    if x.dtype is not weight.dtype:
        raise RuntimeError(
            f"mat1 and mat2 must have the same dtype, but got {SCALAR_TYPE_NAMES[x.dtype]} and "
            f"{SCALAR_TYPE_NAMES[weight.dtype]}"
        )
    if x._shape[-1] != weight._shape[1]:
        left, (n, k) = _as_matrix(x._shape), weight._shape
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({left[0]}x{left[1]} and {k}x{n}): the input has shape "
            f"{list(x._shape)}, the weight {list(weight._shape)}"
        )
    if bias is None:
        return LINEAR_NO_BIAS.apply((x, weight), None if x.dim() == 2 else "UnsafeViewBackward")
    return LINEAR.apply((bias, x, weight), None if x.dim() == 2 else "ViewBackward")


ADDMM = operator(
    "addmm",
    lambda input, a, b: _product_and_row(a, b, input),
    tensors=("input", "a", "b"),
    grads={
        "input": lambda g, input_shape: g.sum_to_size(input_shape),
        "a": hot(lambda g, b: _by_transposed(g, b)),
        "b": hot(lambda g, a: _transposed_by(a, g)),
    },
    anywhere=True,
)


def _scaled(name: str, turned: Any, of_turned: Any) -> Any:
    """alpha * (a @ b) + beta * input of half types; the gradients by a and b, from the scaled gradient."""
    return operator(
        name,
        lambda input, a, b, alpha, beta: _half_sum(a, b, input, alpha, beta),
        tensors=("input", "a", "b"),
        grads={
            "input": lambda g, input_shape, beta: (g * beta).sum_to_size(input_shape),
            "a": lambda g, b, alpha: turned(g * alpha, b),
            "b": lambda g, a, alpha: of_turned(a, g * alpha),
        },
    )


SCALED_ADDMM = _scaled("addmm", _by_transposed, _transposed_by)
SCALED_BADDBMM = _scaled("baddbmm", _by_transposed, _transposed_by)
SCALED_ADDMV = _scaled("addmv", lambda g, vec: g.unsqueeze(-1) * vec, lambda mat, g: _either(_turned(mat), g))


def _rounded_once(input: Tensor, *others: Tensor) -> bool:
    """Whether these are half types of one kind on the CPU."""
    return all(t.dtype is input.dtype for t in others) and _is_half(input)  # type: ignore[arg-type]


def _added(input: Tensor, shape: tuple) -> Tensor:
    """What is added to a product of some shape: it may be broadcast to it, but not the other way round."""
    return input if input._shape == shape else input.expand(shape)  # type: ignore[attr-defined]


@hot
def _same_dtypes(which: str, a: Tensor, b: Tensor) -> None:
    if a.dtype is not b.dtype:
        first, second = SCALAR_TYPE_NAMES[a.dtype], SCALAR_TYPE_NAMES[b.dtype]
        raise RuntimeError(f"{which} must have the same dtype, but got {first} and {second}")


@public("addmm", kind="library", inplace=True)
@autocasts
def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * (mat1 @ mat2)"""
    _same_dtypes("self and mat2", input, mat2)
    if beta == 1 and alpha == 1 and input.dtype is mat1.dtype:
        _check(mat1, mat2)
        if mat1.dim() == 2 and mat2.dim() == 2:
            _added(input, (mat1._shape[0], mat2._shape[1]))
            return ADDMM.apply((input, mat1, mat2))
    if mat1.dim() == 2 and mat2.dim() == 2 and _rounded_once(input, mat1, mat2):
        _check(mat1, mat2)
        _added(input, (mat1._shape[0], mat2._shape[1]))
        return SCALED_ADDMM.apply((input, mat1, mat2), alpha=alpha, beta=beta)
    product = mm(mat1, mat2)
    input = _added(input, product._shape)
    if alpha != 1:
        product = product * alpha
    return product + input if beta == 1 else product if beta == 0 else product + input * beta


@public("addmv", kind="library", inplace=True)
@autocasts
def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * (mat @ vec)"""
    if not input.dtype is mat.dtype is vec.dtype:
        first, second, third = (SCALAR_TYPE_NAMES[t.dtype] for t in (input, mat, vec))
        raise RuntimeError(f"addmv input tensors must have the same dtype, but got {first}, {second}, and {third}")
    if mat.dim() == 2 and vec.dim() == 1 and _rounded_once(input):
        _check(mat, vec)
        _added(input, mat._shape[:1])
        return SCALED_ADDMV.apply((input, mat, vec), alpha=alpha, beta=beta)
    product = mv(mat, vec)
    return _added(input, product._shape) * beta + product * alpha


@public("baddbmm", kind="library", inplace=True)
@autocasts
def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * (batch1 @ batch2)"""
    if batch1.dim() == 3 and batch2.dim() == 3 and _rounded_once(input, batch1, batch2):
        if batch1._shape[0] == batch2._shape[0]:
            _check(batch1, batch2)
            _added(input, (*batch1._shape[:2], batch2._shape[2]))
            return SCALED_BADDBMM.apply((input, batch1, batch2), alpha=alpha, beta=beta)
    product = bmm(batch1, batch2)
    return _added(input, product._shape) * beta + product * alpha
