"""Matrix products. They go to the vendor's library; transposed operands are passed as such, never copied."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.node import cast_value
from ..devices import cpu
from ..lazy import backend
from ..lazy.value import Value, from_array, reshaped
from ..native import hot
from ..observe import WATCH
from ..precision import REGIONS
from ..runtime import array as arrays
from ..runtime import blas, pool, small_product, tiles
from ..runtime.array import numel
from ..tensor import Tensor, wrap
from . import dispatch, writes
from .batch_rules import product
from .instruction import SCALAR_TYPE_NAMES
from .instruction import type_in_c as _type_in_c
from .registry import operator, public
from .view_operators import PERMUTE

_KINDS = {dtypes.float32: "f32", dtypes.float64: "f64", dtypes.complex64: "c64", dtypes.complex128: "c128"}


@hot
def _product(a: Value, b: Value, turn_a: bool = False, turn_b: bool = False) -> Value:
    """Matrices a (m, k) and b (k, n) -> (m, n). turn_a, turn_b: the operand is given as its transpose."""
    m, k = a.shape
    n = b.shape[1]
    if turn_a:
        m, k = k, m
    if turn_b:
        n = b.shape[0]
    kind = _KINDS.get(a.dtype)
    if kind is not None and blas.available and a.device is cpu:
        x, y = a.ready(), b.ready()
        x_rows, x_columns = x.strides
        y_rows, y_columns = y.strides
        if turn_a:
            x_rows, x_columns = x_columns, x_rows
        if turn_b:
            y_rows, y_columns = y_columns, y_rows
        out = arrays.empty((m, n), a.dtype)
        observer = WATCH.observer
        token = None if observer is None else observer.begin_call("gemm", ((m, k), (k, n)), 2 * m * n * k)
        done = blas.gemm(kind, m, n, k, x.ptr, x_rows, x_columns, y.ptr, y_rows, y_columns, out.ptr, n)
        if observer is not None:
            observer.end(token, "")
        if x.block.outside or y.block.outside:
            pool.finish()
        if done:
            return from_array(out)
    return _by_library(_transposed(a) if turn_a else a, _transposed(b) if turn_b else b)


@hot
def _by_library(a: Value, b: Value) -> Value:
    """Other devices, and what the BLAS does not do: other dtypes (half types in float32), odd strides."""
    if a.device is not cpu:
        return _elsewhere(a, b)
    xp = backend.of(a)
    if a.dtype.kind in ("f16", "bf16") and a.device is cpu:
        in_halves = _half_product(a, b)
        if in_halves is not None:
            return in_halves
        made = _matmul(cast_value(a, dtypes.float32), cast_value(b, dtypes.float32))
        return cast_value(made, a.dtype)
    x, y = a.native(), b.native()
    kind = _KINDS.get(a.dtype)
    if kind is not None and a.device is cpu and blas.available:
        fixed = [v if _plain(v) else backend.copied(v.native()) for v in (a, b)]
        if fixed[0] is not a or fixed[1] is not b:
            return _matmul(*fixed)
    observer = WATCH.observer
    token = None if observer is None else observer.begin_call("numpy.matmul", (a.shape, b.shape), 0)
    made = xp.ascontiguousarray(xp.matmul(x, y))
    if observer is not None:
        observer.end(token, "")
    return backend.fresh(made)


def _elsewhere(a: Value, b: Value) -> Value:
    """On a CUDA device."""
    from ..runtime.cuda import cublas

    found = cublas.product(a.ready(), b.ready())
    if found is not None:
        return from_array(found)
    xp = backend.of(a)  # integers
    return backend.fresh(xp.ascontiguousarray(xp.matmul(a.native(), b.native())))


def _half_product(a: Value, b: Value, row: Value | None = None) -> Value | None:
    """A large product of half types on the tile unit, which adds in float32; None where that is not to be had.

    row: numbers that are added to each row of two matrices' product before it is rounded.
    """
    (m, k), n = a.shape[-2:], b.shape[-1]
    lead = dispatch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    batch = numel(lead)
    if not tiles.worthwhile(a.dtype.kind, m, n, k, batch) or not tiles.available():
        return None
    x, y = a.ready(), b.ready()
    steps = (_batch_stride(x, lead), _batch_stride(y, lead)) if lead else (0, 0)
    if None in steps:
        return None
    out = arrays.empty((*lead, m, n), a.dtype)
    observer = WATCH.observer
    token = None
    if observer is not None:
        token = observer.begin_call("batched gemm" if lead else "gemm", (a.shape, b.shape), 2 * batch * m * n * k)
    done = tiles.product(
        a.dtype.kind, batch, m, n, k, x.ptr, steps[0], *x.strides[-2:], y.ptr, steps[1], *y.strides[-2:], out.ptr,
        m * n, n, 0.0, 0 if row is None else row.ready().ptr,
    )  # fmt: skip
    if observer is not None:
        observer.end(token, "")
    return from_array(out) if done else None


@hot
def _plain(v: Value) -> bool:
    """Whether the last two dimensions are laid out as a BLAS takes them."""
    r, c = v.ready().strides[-2:]
    return c == 1 or r == 1


@hot
def _batched(a: Value, b: Value) -> Value:
    """Stacks of matrices with broadcast leading dimensions."""
    a_lead, b_lead = a.shape[:-2], b.shape[:-2]
    lead = a_lead if a_lead == b_lead else dispatch.broadcast_shapes(a_lead, b_lead)
    m, k = a.shape[-2:]
    n = b.shape[-1]
    kind = _KINDS.get(a.dtype)
    if kind is None or a.device is not cpu or not blas.available:
        return _by_library(a, b)
    if k == 1:
        return a * b  # type: ignore[operator]
    x, y = a.ready(), b.ready()
    steps = _steps(x, y, lead)
    if steps is None:
        return _batched(_over_all(a, lead), _over_all(b, lead))
    outer, inner, x_outer, x_inner, y_outer, y_inner = steps
    one_for_all = y_outer == 0 and y_inner == 0 and outer * inner > 1 and k
    if one_for_all and x.contiguous and a_lead == lead:  # one matrix, by which all are multiplied
        one = reshaped(b, y.offset, y.shape[-2:], y.strides[-2:])
        return _product(a.reshape((-1, k)), one).reshape((*lead, m, n))  # type: ignore[attr-defined]
    x_rows, x_columns = x.strides[-2:]
    y_rows, y_columns = y.strides[-2:]
    out = arrays.empty((*lead, m, n), a.dtype)
    observer = WATCH.observer
    token = None
    if observer is not None:
        token = observer.begin_call("batched gemm", (a.shape, b.shape), 2 * outer * inner * m * n * k)
    done = small_product.product(
        kind, outer, inner, m, n, k, x.ptr, x_outer, x_inner, x_rows, x_columns, y.ptr, y_outer, y_inner, y_rows,
        y_columns, out.ptr, n,
    )  # fmt: skip
    if not done:
        size = out.dtype.itemsize
        done = True
        for group in range(outer):
            done = done and blas.batched(
                kind, inner, m, n, k, x.ptr + group * x_outer * size, x_inner, x_rows, x_columns,
                y.ptr + group * y_outer * size, y_inner, y_rows, y_columns, out.ptr + group * inner * m * n * size,
                m * n, n,
            )  # fmt: skip
    if observer is not None:
        observer.end(token, "")
    if x.block.outside or y.block.outside:
        pool.finish()
    return from_array(out) if done else _by_library(a, b)


def _over_all(v: Value, lead: tuple) -> Value:
    """A copy of a stack of matrices, as long as all leading dimensions say."""
    return backend.copied(np.broadcast_to(v.native(), (*lead, *v.shape[-2:])))


@hot
def _steps(x: Any, y: Any, lead: tuple) -> tuple[int, int, int, int, int, int] | None:
    """How to walk through two stacks of matrices together, as groups of matrices; None where that takes three loops.

    That is: how many groups, and matrices in each; then for x and for y the distances of groups, and of matrices.
    """
    outer = inner = 1
    x_outer = x_inner = y_outer = y_inner = 0
    x_missing, y_missing = len(lead) + 2 - len(x.shape), len(lead) + 2 - len(y.shape)
    for d in range(len(lead) - 1, -1, -1):
        n = lead[d]
        if n == 1:
            continue
        x_step = x.strides[d - x_missing] if d >= x_missing and x.shape[d - x_missing] != 1 else 0
        y_step = y.strides[d - y_missing] if d >= y_missing and y.shape[d - y_missing] != 1 else 0
        if inner == 1:
            inner, x_inner, y_inner = n, x_step, y_step
        elif outer == 1:
            if x_step == x_inner * inner and y_step == y_inner * inner:
                inner *= n
            else:
                outer, x_outer, y_outer = n, x_step, y_step
        elif x_step == x_outer * outer and y_step == y_outer * outer:
            outer *= n
        else:
            return None
    return outer, inner, x_outer, x_inner, y_outer, y_inner


@hot
def _batch_stride(x: Any, lead: tuple) -> int | None:
    """The one step from matrix to matrix over all leading dimensions, if there is one."""
    steps = _steps(x, x, lead)
    return steps[3] if steps is not None and steps[0] == 1 else None


@hot
def _by_vector(a: Value, b: Value) -> Value | None:
    """A product with a vector, which is read as a matrix without a view of it; None where the BLAS does not do it."""
    kind = _KINDS.get(a.dtype)
    if kind is None or not blas.available or a.device is not cpu:
        return None
    x, y = a.ready(), b.ready()
    m = n = 1
    shape: tuple = ()
    if len(a.shape) == 2:
        m, k = a.shape
        shape = (m,)
        x_rows, x_columns = x.strides
    else:
        k = a.shape[0]
        x_columns = x.strides[0]
        x_rows = k * x_columns
    if len(b.shape) == 2:
        n = b.shape[1]
        shape = (n,)
        y_rows, y_columns = y.strides
    else:
        y_rows = y_columns = y.strides[0]
    out = arrays.empty(shape, a.dtype)
    observer = WATCH.observer
    token = None if observer is None else observer.begin_call("gemm", ((m, k), (k, n)), 2 * m * n * k)
    done = blas.gemm(kind, m, n, k, x.ptr, x_rows, x_columns, y.ptr, y_rows, y_columns, out.ptr, n)
    if observer is not None:
        observer.end(token, "")
    if x.block.outside or y.block.outside:
        pool.finish()
    return from_array(out) if done else None


@hot
def _matmul(a: Value, b: Value) -> Value:
    na, nb = len(a.shape), len(b.shape)
    if na == 2 and nb == 2:
        return _product(a, b)
    if na < 3 and nb < 3:
        made = _by_vector(a, b)
        if made is not None:
            return made
    if na == 1 and nb == 1:
        return _product(a.reshape((1, -1)), b.reshape((-1, 1))).reshape(())
    if na == 1:
        made = _matmul(a.reshape((1, -1)), b)
        return made.reshape(made.shape[:-2] + made.shape[-1:])
    if nb == 1:
        made = _matmul(a, b.reshape((-1, 1)))
        return made.reshape(made.shape[:-1])
    if nb == 2 and a.ready().contiguous and numel(a.shape):
        # One product for the whole stack.
        flat = _product(a.reshape((-1, a.shape[-1])), b)
        return flat.reshape((*a.shape[:-1], b.shape[-1]))
    return _batched(a, b)


@hot
def _transposed(v: Value) -> Value:
    return PERMUTE.of_value(v, {"dims": (1, 0)})


Value.__matmul__ = _matmul  # type: ignore[attr-defined]


@hot
def _turned(x: Any) -> Any:
    """The transpose of a matrix; of a complex one the conjugate of that."""
    x = x.mT
    return x.conj() if x.dtype.category == dtypes.COMPLEX else x


@hot
def _conjugate(x: Any) -> Any:
    return x.conj() if x.dtype.category == dtypes.COMPLEX else x


@hot
def _either(x: Any, y: Any) -> Any:
    """a @ b on tensors or bare values."""
    return _matmul(x, y) if x.__class__ is Value else matmul(x, y)


@hot
def _by_transposed(x: Any, y: Any) -> Any:
    """x @ y.mT on tensors or bare values; for complex numbers the conjugate of y."""
    if x.__class__ is Value and len(x.shape) == 2 and len(y.shape) == 2:
        return _product(x, _conjugate(y), False, True)
    return _either(x, _turned(y))


@hot
def _transposed_by(x: Any, y: Any) -> Any:
    """x.mT @ y on tensors or bare values; for complex numbers the conjugate of x."""
    if x.__class__ is Value and len(x.shape) == 2 and len(y.shape) == 2:
        return _product(_conjugate(x), y, True, False)
    return _either(_turned(x), y)


@hot
def _gradient_a(g: Any, b: Any, a_shape: tuple) -> Any:
    nb = len(b.shape)
    if len(a_shape) == 1:
        if nb == 1:
            return g * _conjugate(b)
        g = g.unsqueeze(-2)
        made = _either(g, _turned(b))
        return made.reshape(made.shape[:-2] + made.shape[-1:]).sum_to_size(a_shape)
    if nb == 1:
        return (g.unsqueeze(-1) * _conjugate(b)).sum_to_size(a_shape)
    return _by_transposed(g, b).sum_to_size(a_shape)


@hot
def _gradient_b(g: Any, a: Any, b_shape: tuple) -> Any:
    na = len(a.shape)
    if na == 1:
        if len(b_shape) == 1:
            return g * _conjugate(a)
        return (_conjugate(a).unsqueeze(-1) * g.unsqueeze(-2)).sum_to_size(b_shape)
    if len(b_shape) == 1:
        made = _either(_turned(a), g.unsqueeze(-1))
        return made.reshape(made.shape[:-1]).sum_to_size(b_shape)
    if len(b_shape) == 2 and na > 2:
        k, n = b_shape
        rows = numel(tuple(a.shape)[:-1])
        return _transposed_by(a.reshape((rows, k)), g.reshape((rows, n)))
    return _transposed_by(a, g).sum_to_size(b_shape)


def product_shape(a: Value, b: Value) -> tuple:
    """The shape of a @ b."""
    rows, columns = a.shape[-2:-1], b.shape[-1:] if len(b.shape) > 1 else ()
    return (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), *rows, *columns)


MATMUL = operator(
    "matmul",
    _matmul,
    tensors=("a", "b"),
    grads={"a": _gradient_a, "b": _gradient_b},
    node="Mm",
    anywhere=True,
    batch=product,
    shape_of=product_shape,
)


@hot
def _check(a: Tensor, b: Tensor) -> None:
    for x in (a, b):
        if not isinstance(x, Tensor):
            raise TypeError(f"matmul(): argument must be Tensor, not {type(x).__name__}")
    if a.dtype is not b.dtype:
        raise RuntimeError(
            f"expected m1 and m2 to have the same dtype, but got: {_type_in_c(a.dtype)} != {_type_in_c(b.dtype)}"
        )
    if a.dtype is dtypes.bool_ and a.numel() and b.numel():
        _refuse_bool(a, b)
    if not a._shape or not b._shape:
        raise RuntimeError(f"both arguments to matmul need to be at least 1D, but they are {a.dim()}D and {b.dim()}D")
    inner = b._shape[-2] if len(b._shape) > 1 else b._shape[0]
    if a._shape[-1] != inner:
        if len(b._shape) == 1 and len(a._shape) < 3:
            _refuse_sizes(a, b)
        two = f"({'x'.join(map(str, _as_matrix(a._shape)))} and {'x'.join(map(str, _as_matrix(b._shape, True)))})"
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied {two}: the tensors have shapes {list(a._shape)} and "
            f"{list(b._shape)}"
        )


def _refuse_bool(a: Tensor, b: Tensor) -> None:
    of = {(1, 1): "dot", (2, 2): "addmm_impl_cpu_", (2, 1): "addmv_impl_cpu", (1, 2): "addmv_impl_cpu"}
    name = of.get((a.dim(), b.dim()), "bmm")
    raise NotImplementedError(f"\"{name}\" not implemented for 'Bool': convert the operands with .to(dtype)")


def _as_matrix(shape: tuple, right: bool = False) -> tuple:
    if len(shape) == 1:
        return (shape[0], 1) if right else (1, shape[0])
    return (numel(shape[:-1]), shape[-1]) if not right else shape[-2:]


@hot
def _node_name(a: tuple, b: tuple) -> str:
    if len(a) == 2 and len(b) == 2:
        return "MmBackward"
    if len(a) == 1 and len(b) == 1:
        return "DotBackward"
    if len(a) == 2 and len(b) == 1:
        return "MvBackward"
    return "BmmBackward" if len(a) == 3 and len(b) == 3 else "UnsafeViewBackward"


@public("matmul", kind="library", op=MATMUL)
@hot
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """The matrix product; leading dimensions are a batch and broadcast, one-dimensional operands are vectors.

    Raises RuntimeError where the inner sizes or the dtypes differ.
    """
    if REGIONS.open:
        input, other = REGIONS.cast("matmul", (input, other))
    _check(input, other)
    return MATMUL.apply((input, other), _node_name(input._shape, other._shape))


def _refuse_dims(name: str, a: Tensor, b: Tensor) -> None:
    """Raise for operands that are no vectors, matrices or batches of matrices where such are wanted."""
    shapes = f": the tensors have shapes {list(a._shape)} and {list(b._shape)}"
    if name == "mm":
        raise RuntimeError(("self" if a.dim() != 2 else "mat2") + " must be a matrix" + shapes)
    if name == "bmm":
        raise RuntimeError(("batch1" if a.dim() != 3 else "batch2") + " must be a 3D tensor" + shapes)
    if name == "mv":
        raise RuntimeError(f"vector + matrix @ vector expected, got 1, {a.dim()}, {b.dim()}" + shapes)
    raise RuntimeError(f"1D tensors expected, but got {a.dim()}D and {b.dim()}D tensors" + shapes)


def _refuse_sizes(a: Tensor, b: Tensor) -> None:
    """Raise for a vector, or a matrix, and a vector that does not fit it."""
    n = b._shape[0]
    if a.dim() == 1:
        m = a._shape[0]
        raise RuntimeError(
            f"inconsistent tensor size, expected tensor [{m}] and src [{n}] to have the same number of elements, but "
            f"got {m} and {n} elements respectively"
        )
    rows, columns = a._shape
    raise RuntimeError(f"size mismatch, got input ({rows}), mat ({rows}x{columns}), vec ({n})")


@hot
def _of_dims(name: str, a: Tensor, b: Tensor, da: int, db: int) -> Tensor:
    """The product of tensors of just these dimensions."""
    if REGIONS.open:
        a, b = REGIONS.cast(name, (a, b))
    if a.dim() != da or b.dim() != db:
        _refuse_dims(name, a, b)
    _check(a, b)
    return MATMUL.apply((a, b), name.capitalize() + "Backward")


@public("mm", kind="library")
@hot
def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """The product of two matrices."""
    return _of_dims("mm", input, mat2, 2, 2)


@public("bmm", kind="library")
@hot
def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """The products of two batches of matrices, one by one."""
    if input.dim() == 3 and mat2.dim() == 3 and (input._shape[0], input._shape[2]) != mat2._shape[:2]:
        raise RuntimeError(
            f"Expected size for first two dimensions of batch2 tensor to be: [{input._shape[0]}, {input._shape[2]}] "
            f"but got: [{mat2._shape[0]}, {mat2._shape[1]}]."
        )
    return _of_dims("bmm", input, mat2, 3, 3)


@public("mv", kind="library")
@hot
def mv(input: Tensor, vec: Tensor) -> Tensor:
    """The product of a matrix and a vector."""
    return _of_dims("mv", input, vec, 2, 1)


@public("dot", kind="library")
@hot
def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """The sum of the products of two vectors' elements; complex ones are not conjugated (see `vdot`)."""
    if REGIONS.open:
        input, tensor = REGIONS.cast("dot", (input, tensor))
    if input.dtype is not tensor.dtype:
        first, second = SCALAR_TYPE_NAMES[input.dtype], SCALAR_TYPE_NAMES[tensor.dtype]
        raise RuntimeError(f"dot : expected both vectors to have same dtype, but found {first} and {second}")
    return _of_dims("dot", input, tensor, 1, 1)


def dot_as(label: str, x: Tensor, y: Tensor) -> Tensor:
    """The product of two vectors, by another name of its node."""
    if x.dim() != 1 or y.dim() != 1:
        _refuse_dims("dot", x, y)
    if x.dtype is not y.dtype or x._shape != y._shape:
        return dot(x, y)  # which raises
    return MATMUL.apply((x, y), label)


@hot
def _or_not_implemented(a: Tensor, b: Any) -> Any:
    return matmul(a, b) if isinstance(b, Tensor) else _times_array(a, b)


def _times_array(a: Tensor, b: Any) -> Any:
    """A product with an array, which NumPy promotes and computes."""
    if not isinstance(b, np.ndarray):
        return dispatch.overridden_by(a, b, "matmul")
    return wrap(backend.copied(np.matmul(a.numpy(), b)))  # type: ignore[attr-defined]


Tensor.__matmul__ = _or_not_implemented  # type: ignore[attr-defined]
Tensor.__rmatmul__ = lambda self, other: matmul(other, self) if isinstance(other, Tensor) else NotImplemented  # type: ignore[attr-defined]
Tensor.__imatmul__ = writes.in_place(_or_not_implemented, "__imatmul__")  # type: ignore[attr-defined]
