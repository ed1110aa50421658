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
from ..runtime.raw import peek, poke
from ..tensor import Tensor
from .batch_rules import composed, rows_by_weight
from .casting import autocasts
from .copying import checked_number
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
    matmul,
)  # fmt: skip
from .reduce import sum_value
from .registry import named, operator, public
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
    batch=rows_by_weight,
    shape_of=lambda bias, x, weight: (*x.shape[:-1], weight.shape[0]),
)
LINEAR_NO_BIAS = operator(
    "linear",
    _linear,
    tensors=("x", "weight"),
    grads={"x": hot(lambda g, weight: _either(g, _conjugate(weight))), "weight": _linear_gradient_weight},
    node="Mm",
    through={"weight": "TBackward0"},
    anywhere=True,
    batch=rows_by_weight,
    shape_of=lambda x, weight: (*x.shape[:-1], weight.shape[0]),
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
    batch=composed(lambda input, a, b: a @ b + input),
    shape_of=lambda input, a, b: (a.shape[0], b.shape[1]),
)


def _number(which: str, x: Any, dtype: dtypes.dtype) -> Any:
    """A factor of a product or of what is added to it, as a number of their dtype."""
    if not isinstance(x, (int, float, complex)) and not isinstance(x, Tensor):
        raise TypeError(f"argument '{which}' must be Number, not {type(x).__name__}")
    return checked_number(x.item() if isinstance(x, Tensor) else x, dtype)


def _conjugated(x: Any) -> Any:
    return x.conjugate() if isinstance(x, complex) else x


def _sum(made: Value, input: Value, alpha: Any, beta: Any) -> Value:
    if alpha != 1:
        made = made * alpha
    return made if beta == 0 else made + (input if beta == 1 else input * beta)


def _scaled_sum(input: Value, a: Value, b: Value, alpha: Any, beta: Any) -> Value:
    """alpha * (a @ b) + beta * input. Where beta is 0 nothing of the input counts, not even NaN."""
    return _half_sum(a, b, input, alpha, beta) if _is_half(a) else _sum(_matmul(a, b), input, alpha, beta)


def _sum_of(factors: Any) -> Any:
    """The rule of batches for what adds a product of `factors` to something."""

    def function(input: Any, a: Any, b: Any, alpha: Any, beta: Any) -> Any:
        made = factors(a, b)
        made = made if alpha == 1 else made * alpha
        return made if beta == 0 else made + (input if beta == 1 else input * beta)

    return composed(function)


def _scaled(
    name: str, turned: Any, of_turned: Any, function: Any = _scaled_sum, factors: Any = lambda a, b: a @ b
) -> Any:
    """A product with something added; the gradients by a and b, from the scaled gradient."""
    return operator(
        name,
        function,
        tensors=("input", "a", "b"),
        grads={
            "input": lambda g, input_shape, beta: (g * _conjugated(beta)).sum_to_size(input_shape),
            "a": lambda g, a_shape, b, alpha: turned(g * _conjugated(alpha), b, a_shape),
            "b": lambda g, a, b_shape, alpha: of_turned(a, g * _conjugated(alpha), b_shape),
        },
        anywhere=True,
        batch=_sum_of(factors),
    )


def _for_batch(g: Any, shape: tuple) -> Any:
    return g.unsqueeze(0).expand((shape[0], *g.shape))


SCALED_ADDMM = _scaled("addmm", lambda g, b, s: _by_transposed(g, b), lambda a, g, s: _transposed_by(a, g))
SCALED_BADDBMM = _scaled("baddbmm", lambda g, b, s: _by_transposed(g, b), lambda a, g, s: _transposed_by(a, g))
SCALED_ADDMV = _scaled(
    "addmv", lambda g, vec, s: g.unsqueeze(-1) * _conjugate(vec), lambda mat, g, s: _either(_turned(mat), g)
)
SCALED_ADDBMM = _scaled(
    "addbmm",
    lambda g, b, s: _by_transposed(_for_batch(g, s), b),
    lambda a, g, s: _transposed_by(a, _for_batch(g, s)),
    lambda input, a, b, alpha, beta: _sum(sum_value(_matmul(a, b), (0,), False, a.dtype), input, alpha, beta),
    lambda a, b: (a @ b).sum(0),
)
SCALED_ADDR = _scaled(
    "addr",
    lambda g, b, s: _either(g, _conjugate(b)),
    lambda a, g, s: _either(_conjugate(a), g),
    lambda input, a, b, alpha, beta: _sum(a.unsqueeze(1) * b, input, alpha, beta),
    lambda a, b: a.unsqueeze(1) * b,
)


@hot
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
@hot
def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * (mat1 @ mat2)"""
    _same_dtypes("self and mat2", input, mat2)
    for name, t in (("mat1", mat1), ("mat2", mat2)):
        if t.dim() != 2:
            raise RuntimeError(f"{name} must be a matrix, got {t.dim()}-D tensor")
    _check(mat1, mat2)
    _added(input, (mat1._shape[0], mat2._shape[1]))
    if beta == 1 and alpha == 1:
        return ADDMM.apply((input, mat1, mat2))
    d = input.dtype
    return SCALED_ADDMM.apply((input, mat1, mat2), alpha=_number("alpha", alpha, d), beta=_number("beta", beta, d))


@public("addmv", kind="library", inplace=True)
@autocasts
def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * (mat @ vec)"""
    if not input.dtype is mat.dtype is vec.dtype:
        first, second, third = (SCALAR_TYPE_NAMES[t.dtype] for t in (input, mat, vec))
        raise RuntimeError(f"addmv input tensors must have the same dtype, but got {first}, {second}, and {third}")
    if mat.dim() != 2 or vec.dim() != 1:
        raise RuntimeError(f"vector + matrix @ vector expected, got {input.dim()}, {mat.dim()}, {vec.dim()}")
    rows, columns = mat._shape
    if columns != vec._shape[0] or (input._shape or (rows,)) not in ((rows,), (1,)):
        raise RuntimeError(f"size mismatch, got input ({input.numel()}), mat ({rows}x{columns}), vec ({vec._shape[0]})")
    d = input.dtype
    return SCALED_ADDMV.apply((input, mat, vec), alpha=_number("alpha", alpha, d), beta=_number("beta", beta, d))


def _batches(name: str, input: Tensor, batch1: Tensor, batch2: Tensor) -> None:
    """Raise where these are no batches of matrices that can be multiplied, or of other dtypes than what is added."""
    for which, t in (("batch1", batch1), ("batch2", batch2)):
        if t.dim() != 3:
            raise RuntimeError(f"{name}: {which} must be a 3D tensor, got {t.dim()}D")
    if not input.dtype is batch1.dtype is batch2.dtype:
        first, second, third = (SCALAR_TYPE_NAMES[t.dtype] for t in (input, batch1, batch2))
        raise RuntimeError(f"Input dtypes must be the same, got: input {first}, batch1: {second}, batch2: {third}")
    if (batch1._shape[0], batch1._shape[2]) != batch2._shape[:2]:
        raise RuntimeError(
            f"Expected size for first two dimensions of batch2 tensor to be: [{batch1._shape[0]}, {batch1._shape[2]}] "
            f"but got: [{batch2._shape[0]}, {batch2._shape[1]}]."
        )


@public("baddbmm", kind="library", inplace=True)
@autocasts
def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * (batch1 @ batch2)"""
    _batches("baddbmm", input, batch1, batch2)
    _added(input, (*batch1._shape[:2], batch2._shape[2]))
    d = input.dtype
    return SCALED_BADDBMM.apply(
        (input, batch1, batch2), alpha=_number("alpha", alpha, d), beta=_number("beta", beta, d)
    )


@named("addbmm")
@autocasts
def addbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * the sum of the products of a batch"""
    _batches("addbmm", input, batch1, batch2)
    _added(input, (batch1._shape[1], batch2._shape[2]))
    d = input.dtype
    return SCALED_ADDBMM.apply((input, batch1, batch2), alpha=_number("alpha", alpha, d), beta=_number("beta", beta, d))


@named("addr")
@autocasts
def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * outer(vec1, vec2); of truth values, whether either is true."""
    for name, t in (("vec1", vec1), ("vec2", vec2)):
        if t.dim() != 1:
            raise RuntimeError(f"addr: Expected 1-D argument {name}, but got {t.dim()}-D")
    _added(input, (vec1._shape[0], vec2._shape[0]))
    d = input.dtype
    if not d is vec1.dtype is vec2.dtype:
        return input * beta + vec1.outer(vec2) * alpha  # type: ignore[attr-defined]
    if d is dtypes.bool_:
        return (vec1.outer(vec2) & bool(alpha)) | (input & bool(beta))  # type: ignore[attr-defined]
    for name, x in (("beta", beta), ("alpha", alpha)):
        if d.category < dtypes.FLOATING and isinstance(x, float):
            raise RuntimeError(f"For integral input tensors, argument {name} must not be a floating point number.")
    return SCALED_ADDR.apply((input, vec1, vec2), alpha=_number("alpha", alpha, d), beta=_number("beta", beta, d))
