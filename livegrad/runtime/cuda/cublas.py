"""Matrix products on CUDA devices: cuBLAS, by address, so that a transposed operand is passed as such.

cuBLAS counts columns first. A row-major matrix read in that way is its own transpose, so the row-major C = A B is asked
for as C' = B' A', and what is row-major here goes in as it is ("N") while what is column-major here goes in transposed
("T"). What is neither is copied.

float32 is multiplied in full precision unless `livegrad.backends.cuda.matmul.allow_tf32`; float16 and bfloat16 are
multiplied as they are and summed in float32.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from ... import dtypes
from ...backends import cuda as settings
from ...observe import WATCH
from ..array import Array, numel
from . import driver, graphs, memory

# Numbers of CUDA's enumerations (library_types.h and cublas_api.h).
_TYPES = {dtypes.float32: 0, dtypes.float64: 1, dtypes.float16: 2, dtypes.bfloat16: 14}
_FLOAT32, _FLOAT64, _TF32 = 68, 70, 77
_PLAIN, _TRANSPOSED = 0, 1
_BEST = -1  # let the library choose how

# One and zero, which it reads by address, for sums in float32 and float64.
_NUMBERS = {_FLOAT64: np.array([1, 0], np.float64), _FLOAT32: np.array([1, 0], np.float32)}
_NUMBERS[_TF32] = _NUMBERS[_FLOAT32]


class Product(NamedTuple):
    """The arguments of a product in cuBLAS's order. first and second: (operation, leading dimension, batch stride)."""

    m: int
    n: int
    k: int
    first: tuple[int, int, int]
    second: tuple[int, int, int]
    batch: int


def operand(rows: int, columns: int, row_stride: int, column_stride: int) -> tuple[int, int] | None:
    """How a matrix is passed: (operation, leading dimension); None where it has to be copied first."""
    if column_stride == 1 or columns == 1:
        leading = row_stride if rows > 1 else max(columns, 1)
        if leading >= max(columns, 1):
            return _PLAIN, leading
    if row_stride == 1 or rows == 1:
        leading = column_stride if columns > 1 else max(rows, 1)
        if leading >= max(rows, 1):
            return _TRANSPOSED, leading
    return None


def batch_stride(lead: tuple, shape: tuple, strides: tuple) -> int | None:
    """The one step from matrix to matrix over `lead`, to which the operand's dimensions broadcast, or None."""
    missing = len(lead) - len(shape)
    step = inner = None
    for d in reversed(range(len(lead))):
        n = lead[d]
        if n == 1:
            continue
        own = 0 if d < missing or shape[d - missing] == 1 else strides[d - missing]
        if step is None:
            step, inner = own, own * n
        elif own != inner:
            return None
        else:
            inner = own * n
    return step or 0


@functools.lru_cache(4096)
def plan(
    lead: tuple, m: int, n: int, k: int, a_shape: tuple, a_strides: tuple, b_shape: tuple, b_strides: tuple
) -> tuple[Product | None, bool, bool]:
    """(the arguments, whether A has to be copied to row-major order, whether B has)."""
    ways = operand(m, k, *a_strides[-2:]), operand(k, n, *b_strides[-2:])
    steps = batch_stride(lead, a_shape[:-2], a_strides[:-2]), batch_stride(lead, b_shape[:-2], b_strides[:-2])
    copies = [way is None or step is None for way, step in zip(ways, steps)]
    if any(copies):
        return None, *copies
    (a_op, a_ld), (b_op, b_ld) = ways  # type: ignore[misc]
    a_step, b_step = steps
    return Product(n, m, k, (b_op, b_ld, b_step), (a_op, a_ld, a_step), numel(lead)), False, False  # type: ignore[arg-type]


def product(a: Array, b: Array) -> Array | None:
    """A @ B for stacks of matrices, whose leading dimensions broadcast; None for a dtype that cuBLAS does not take."""
    kind = _TYPES.get(a.dtype)
    if kind is None:
        return None
    lead = a.shape[:-2] if a.shape[:-2] == b.shape[:-2] else tuple(np.broadcast_shapes(a.shape[:-2], b.shape[:-2]))
    (m, k), n = a.shape[-2:], b.shape[-1]
    shape = (*lead, m, n)
    if 0 in shape or not k:
        return memory.full(shape, a.dtype, a.device, 0)
    for _ in range(2):
        found, copy_a, copy_b = plan(lead, m, n, k, a.shape, a.strides, b.shape, b.strides)
        if found is not None:
            break
        a = _copied(a, lead) if copy_a else a
        b = _copied(b, lead) if copy_b else b
    else:
        raise AssertionError("row-major matrices can be passed")
    out = memory.empty(shape, a.dtype, a.device)
    observer = WATCH.observer
    token = None
    if observer is not None:
        token = observer.begin_call("cublas", (a.shape, b.shape), 2 * numel(shape) * k)
    compute, addresses = compute_type(a.dtype), (memory.address(b), memory.address(a), memory.address(out))
    if settings.graphs and 2 * numel(shape) * k <= graphs.FEW_OPERATIONS:
        held = graphs.Held((found, kind, compute), addresses, functools.partial(_run, found, kind, compute))
        graphs.hold(held, a.device.index)
    else:
        with driver.on(a.device.index):
            _run(found, kind, compute, *addresses)
    if observer is not None:
        observer.end(token, "")
    return out


def compute_type(dtype: dtypes.dtype) -> int:
    """What cuBLAS is to compute in."""
    if dtype is dtypes.float64:
        return _FLOAT64
    return _TF32 if dtype is dtypes.float32 and settings.matmul.allow_tf32 else _FLOAT32


def _copied(a: Array, lead: tuple) -> Array:
    """In row-major order, and with all leading dimensions if it is their layout that is in the way."""
    way = operand(*a.shape[-2:], *a.strides[-2:])
    shape = a.shape if way is None and batch_stride(lead, a.shape[:-2], a.strides[:-2]) is not None else None
    made = memory.empty(shape or (*lead, *a.shape[-2:]), a.dtype, a.device)
    with driver.on(a.device.index):
        made.native()[...] = a.native()
    return made


def _run(p: Product, kind: int, compute: int, first: int, second: int, out: int) -> None:
    """Ask for C' (m, n) = op(first) op(second), columns first, on the current device and stream."""
    cuda: Any = driver.quiet().cuda
    one = _NUMBERS[compute].ctypes.data
    zero = one + _NUMBERS[compute].itemsize
    (op1, ld1, step1), (op2, ld2, step2) = p.first, p.second
    handle = cuda.get_cublas_handle()
    if p.batch == 1:
        cuda.cublas.gemmEx(
            handle, op1, op2, p.m, p.n, p.k, one, first, kind, ld1, second, kind, ld2, zero, out, kind, p.m, compute,
            _BEST,
        )  # fmt: skip
    else:
        cuda.cublas.gemmStridedBatchedEx(
            handle, op1, op2, p.m, p.n, p.k, one, first, kind, ld1, step1, second, kind, ld2, step2, zero, out, kind,
            p.m, p.m * p.n, p.batch, compute, _BEST,
        )  # fmt: skip
