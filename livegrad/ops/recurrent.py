"""Recurrent layers: one layer in one direction, over all steps, is one operator.

Forward: the inputs' products for all steps as one matrix product, then one kernel for the loop over time
(`codegen.recurrent`). Backward: one kernel for the loop, then the gradients of the weights and of the input as one
product each over all steps. So the recorded graph has a node for a layer, not for each step.

The same in the library's own operators, step by step, is `composed`: for what the kernel does not do (half types,
projections), where there is no compiler, and for derivatives of the gradient.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.mode import MODE
from ..codegen import recurrent as codegen
from ..codegen.kernels import Kernel
from ..codegen.product import lanes_of
from ..devices import cpu
from ..lazy import backend
from ..lazy.value import Value, from_array
from ..native import hot
from ..observe import library
from ..precision import REGIONS, STATE
from ..runtime import array as arrays
from ..runtime import blas, pool
from ..tensor import Tensor
from .joint import JointOperator
from .linear import linear
from .registry import FUNCTIONS

TENSORS = ("x", "h0", "c0", "w_ih", "w_hh", "b_ih", "b_hh")
# Multiply-adds of the recurrent product that a thread takes at least.
_GRAIN = 100_000


class Rows:
    """Where a step's rows lie: row `first[t] + b * apart` is sequence b at step t, for b below `active[t]`."""

    __slots__ = ("steps", "batch", "apart", "first", "active", "total")

    def __init__(self, first: np.ndarray, active: np.ndarray, batch: int, apart: int):
        self.first, self.active = first.astype(np.int64), active.astype(np.int64)
        self.steps, self.batch, self.apart = len(first), batch, apart
        self.total = int(self.active.sum())


@functools.lru_cache(256)
def rows_of(shape: tuple, batch_first: bool, sizes: tuple | None) -> Rows:
    """The rows of an input: (T, B, n), with batch_first (B, T, n), or packed (N, n) with the steps' batch sizes."""
    if sizes is not None:
        active = np.array(sizes)
        return Rows(np.cumsum(active) - active, active, sizes[0], 1)
    batch, steps = shape[:2] if batch_first else shape[1::-1]
    counts = np.full(steps, batch)
    if batch_first:
        return Rows(np.arange(steps), counts, batch, steps)
    return Rows(np.arange(steps) * batch, counts, batch, 1)


# --- kernels ----------------------------------------------------------------------------------------------------


@functools.cache
def _kernel(mode: str, kind: str, vectors: int) -> Kernel:
    """The forward kernel, or for `vectors` above 0 the backward one (see `codegen.recurrent`)."""
    source = codegen.backward_source if vectors else codegen.forward_source
    options = (mode, kind, vectors) if vectors else (mode, kind)
    return Kernel(lambda: ("recurrent", *options), lambda: source(*options), codegen.FORMATS, 1)


@hot
def _kind(dtype: dtypes.dtype) -> str | None:
    return {dtypes.float32: "f32", dtypes.float64: "f64"}.get(dtype)


@hot
def _padded(units: int, kind: str) -> int:
    lanes = lanes_of(kind)
    return -(-units // lanes) * lanes


@hot
def _kernels_ready(mode: str, dtype: dtypes.dtype, units: int, work: int) -> bool:
    """Whether the work can be done by kernels now."""
    kind = _kind(dtype)
    if kind is None or not blas.available:
        return False
    vectors = codegen.backward_vectors(_padded(units, kind), kind)
    return _kernel(mode, kind, 0).available(work) and _kernel(mode, kind, vectors).available(work)


@library("recurrent")
@hot
def _launch(kernel: Kernel, rows: Rows, pointers: tuple, numbers: tuple, work: int) -> None:
    args = kernel.pack(*pointers, *numbers)
    each = max(1, work // max(rows.batch, 1))
    grain = max(-(-rows.batch // pool.get_num_threads()), min(rows.batch, _GRAIN // each))
    if rows.batch <= grain and work > 4 * _GRAIN:
        pool.run_serial(kernel.address, args, rows.batch)
    elif rows.batch:
        pool.launch(kernel.address, args, rows.batch, max(grain, 1))


# --- memory -----------------------------------------------------------------------------------------------------


def _widened(a: np.ndarray, parts: int, units: int, padded: int) -> np.ndarray:
    """(parts * units, ...) as (parts * padded, ...) with zeros between."""
    if units == padded:
        return np.ascontiguousarray(a)
    out = np.zeros((parts, padded, *a.shape[1:]), a.dtype)
    out[:, :units] = a.reshape(parts, units, *a.shape[1:])
    return out.reshape(parts * padded, *a.shape[1:])


def _wide_rows(v: Value, shape: tuple, padded: int) -> Any:
    """A writable copy of (rows, units) whose rows are padded with zeros."""
    out = arrays.empty((*shape[:-1], padded), v.dtype)
    native = out.native()
    native[..., : shape[-1]] = v.native().reshape(shape)
    native[..., shape[-1] :] = 0
    return out


@hot
def _narrowed(a: Any, units: int, shape: tuple) -> Value:
    """(..., padded) as a value of (..., units), in `shape`."""
    if a.shape[-1] == units:
        return from_array(a.view(a.offset, shape, arrays.contiguous_strides(shape)))
    return backend.copied(a.native()[..., :units].reshape(shape))


@hot
def pack(w: np.ndarray, units: int) -> np.ndarray:
    """Recurrent weights (parts * units, units) by panels of one vector of units: [panel][k][part][lane]."""
    parts = w.shape[0] // units
    lanes = lanes_of("f32" if w.dtype == np.float32 else "f64")
    return np.ascontiguousarray(w.reshape(parts, units // lanes, lanes, units).transpose(1, 3, 0, 2))


@hot
def _address(a: np.ndarray) -> int:
    return a.__array_interface__["data"][0]


# How the parts of the input's weight go to slots: (first part, parts, slot).
_INPUT_SLOTS = {"LSTM": ((0, 4, 0),), "GRU": ((0, 2, 0), (2, 1, 3)), "RNN_TANH": ((0, 1, 0),), "RNN_RELU": ((0, 1, 0),)}
_PARTS = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


@hot
def _bias(mode: str, b_ih: np.ndarray | None, b_hh: np.ndarray | None, size: int, dtype: Any) -> np.ndarray:
    """What is added to each slot."""
    if b_ih is None:
        return np.zeros((4 if mode == "GRU" else _PARTS[mode]) * size, dtype)
    if mode != "GRU":
        return b_ih + b_hh
    both = b_ih[: 2 * size] + b_hh[: 2 * size]
    return np.concatenate((both, b_hh[2 * size :], b_ih[2 * size :]))


# --- the operator -----------------------------------------------------------------------------------------------


@hot
def _forward(
    mode: str, x: Value, h0: Value, c0: Value, w_ih: Value, w_hh: Value, b_ih: Value | None = None,
    b_hh: Value | None = None, *, reverse: bool, rows: Rows, keep: bool,
) -> tuple:  # fmt: skip
    """(y, last h, last c, gates, hidden, cell), the last three for backward."""
    dtype, kind = x.dtype, _kind(x.dtype)
    units = w_hh.shape[1]
    size = _padded(units, kind)
    cell, parts = codegen.CELLS[mode], _PARTS[mode]
    item = dtype.itemsize
    width = cell.slots * size

    inputs = x.shape[-1]
    xa = _matrix(x, inputs)
    wi = _widened(w_ih.native(), parts, units, size)
    gates = arrays.empty((rows.total, width), dtype)
    for first, count, slot in _INPUT_SLOTS[mode]:
        done = blas.gemm(
            kind, rows.total, count * size, inputs, xa.ptr, inputs, 1,
            _address(wi) + first * size * inputs * item, 1, inputs, gates.ptr + slot * size * item, width,
        )  # fmt: skip
        if not done:
            raise RuntimeError(f"the layer is too large: an input of shape {list(x.shape)}, {units} units")
    pool.finish()  # before the memory goes that NumPy lent
    wh = w_hh.native()
    if units != size:
        wh = _widened(wh, parts, units, size)
        wh = np.concatenate((wh, np.zeros((parts * size, size - units), wh.dtype)), 1)
    packed = pack(wh, size)
    biases = [None if b is None else _widened(b.native(), parts, units, size) for b in (b_ih, b_hh)]
    bias = _bias(mode, *biases, size, wh.dtype)

    h = _wide_rows(h0, (rows.batch, units), size)
    c = _wide_rows(c0, (rows.batch, units), size) if cell.has_c else h
    kept_rows = rows.total if keep else rows.batch
    hidden = arrays.empty((kept_rows, size), dtype)
    memory = arrays.empty((kept_rows, size), dtype) if cell.has_c else hidden
    y = arrays.empty((rows.total, size), dtype)
    pointers = (
        gates.ptr, hidden.ptr, memory.ptr, h.ptr, c.ptr, y.ptr, _address(packed), _address(bias), _address(rows.first),
        _address(rows.active),
    )  # fmt: skip
    work = rows.total * parts * size * size
    _launch(_kernel(mode, kind, 0), rows, pointers, (rows.steps, int(reverse), size, rows.apart, size, int(keep)), work)
    shape = (rows.batch, units)
    outs = (
        _narrowed(y, units, (*x.shape[:-1], units)), _narrowed(h, units, shape),
        _narrowed(c, units, shape) if cell.has_c else _narrowed(h, units, shape),
    )  # fmt: skip
    return (*outs, from_array(gates), from_array(hidden), from_array(memory)) if keep else outs


@hot
def _matrix(v: Value, columns: int) -> Any:
    """The array as contiguous rows."""
    a = v.ready()
    return a if a.contiguous else backend.copied(a.native()).ready()


def _backward(mode: str, node: Any, g: tuple, saved: dict) -> tuple:
    """The gradients of the tensors, in their order."""
    metas, edges, reverse, rows = node.metas, node.next, node.args["reverse"], node.args["rows"]
    x, w_ih, w_hh = saved["x"], saved["w_ih"], saved["w_hh"]
    gates, hidden, memory = (saved[f"result_{i}"].ready() for i in (3, 4, 5))
    dtype, kind = x.dtype, _kind(x.dtype)
    units, inputs = w_hh.shape[1], x.shape[-1]
    size = _padded(units, kind)
    cell, parts = codegen.CELLS[mode], _PARTS[mode]
    item, width, n = dtype.itemsize, cell.slots * size, rows.total

    dy = _incoming(g[0], dtype, (n, units), size)
    dh = _wide_rows(g[1], (rows.batch, units), size) if g[1] is not None else _zeros((rows.batch, size), dtype)
    dc = dh
    if cell.has_c:
        dc = _wide_rows(g[2], (rows.batch, units), size) if g[2] is not None else _zeros((rows.batch, size), dtype)
    wh = w_hh.native()
    if units != size:
        wh = _widened(wh, parts, units, size)
        wh = np.concatenate((wh, np.zeros((parts * size, size - units), wh.dtype)), 1)
    wh = np.ascontiguousarray(wh)
    dgates = arrays.empty((n, width), dtype)
    pointers = (
        gates.ptr, hidden.ptr, memory.ptr, dh.ptr, dc.ptr, dy.ptr, _address(wh), dgates.ptr, _address(rows.first),
        _address(rows.active),
    )  # fmt: skip
    vectors = codegen.backward_vectors(size, kind)
    work = n * parts * size * size
    _launch(_kernel(mode, kind, vectors), rows, pointers, (rows.steps, int(reverse), size, rows.apart, size, 1), work)
    out: list = [None] * len(edges)
    if edges[0] is not None:
        out[0] = _input_gradient(mode, kind, w_ih, dgates, x.shape, units, size)
    if edges[1] is not None:
        out[1] = _narrowed(dh, units, metas[1][0])
    if edges[2] is not None:
        out[2] = _narrowed(dc, units, metas[2][0])
    if edges[3] is not None:
        found = arrays.empty((parts * size, inputs), dtype)
        xa = _matrix(x, inputs)
        for first, count, slot in _INPUT_SLOTS[mode]:
            blas.gemm(
                kind, count * size, inputs, n, dgates.ptr + slot * size * item, 1, width, xa.ptr, inputs, 1,
                found.ptr + first * size * inputs * item, inputs,
            )  # fmt: skip
        out[3] = _unwidened(found, parts, units, size, w_ih.shape)
    if edges[4] is not None:
        found = arrays.empty((parts * size, size), dtype)
        blas.gemm(kind, parts * size, size, n, dgates.ptr, 1, width, hidden.ptr, size, 1, found.ptr, size)
        out[4] = _unwidened(found, parts, units, size, w_hh.shape)
    if len(edges) > 5 and (edges[5] is not None or edges[6] is not None):
        sums = from_array(dgates).sum(0).native()
        through_h = sums[: parts * size]
        through_x = sums if mode != "GRU" else np.concatenate((sums[: 2 * size], sums[3 * size :]))
        for k, total in ((5, through_x), (6, through_h)):
            out[k] = backend.copied(total.reshape(parts, size)[:, :units].reshape(-1))
    pool.finish()
    return tuple(out)


def _zeros(shape: tuple, dtype: dtypes.dtype) -> Any:
    out = arrays.empty(shape, dtype)
    out.native()[...] = 0
    return out


def _incoming(g: Value | None, dtype: dtypes.dtype, shape: tuple, size: int) -> Any:
    """A gradient as contiguous padded rows; zeros for none."""
    if g is None:
        return _zeros((shape[0], size), dtype)
    if shape[1] == size:
        return _matrix(g, size)
    return _wide_rows(g, shape, size)


def _input_gradient(mode: str, kind: str, w_ih: Value, dgates: Any, shape: tuple, units: int, size: int) -> Value:
    n, width = dgates.shape
    inputs, parts = shape[-1], _PARTS[mode]
    wi = _widened(w_ih.native(), parts, units, size)
    out = arrays.empty((n, inputs), dgates.dtype)
    item = dgates.dtype.itemsize
    for k, (first, count, slot) in enumerate(_INPUT_SLOTS[mode]):
        blas.gemm(
            kind, n, inputs, count * size, dgates.ptr + slot * size * item, width, 1,
            _address(wi) + first * size * inputs * item, inputs, 1, out.ptr, inputs, beta=float(k > 0),
        )  # fmt: skip
    pool.finish()
    return _narrowed(out, inputs, shape)


def _unwidened(a: Any, parts: int, units: int, size: int, shape: tuple) -> Value:
    """The gradient of a weight, without its padding."""
    if units == size:
        return from_array(a)
    return backend.copied(a.native().reshape(parts, size, -1)[:, :units, : shape[1]].reshape(shape))


# --- step by step -----------------------------------------------------------------------------------------------


def cell_step(mode: str, gx: Tensor, h: Tensor, c: Tensor | None, w_hh: Tensor, b_hh: Tensor | None) -> tuple:
    """One step of a cell in plain operators: (h, c), from the input's part of the gates."""
    gh = linear(h, w_hh, b_hh)
    if mode == "LSTM":
        i, f, g, o = (gx + gh).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c
    if mode == "GRU":
        (rx, zx, nx), (rh, zh, nh) = gx.chunk(3, -1), gh.chunk(3, -1)
        z = (zx + zh).sigmoid()
        n = (nx + (rx + rh).sigmoid() * nh).tanh()
        return (1 - z) * n + z * h, c
    x = gx + gh
    return (x.tanh() if mode == "RNN_TANH" else x.relu()), c


def composed(
    mode: str, x: Tensor, h: Tensor, c: Tensor | None, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None,
    b_hh: Tensor | None = None, w_hr: Tensor | None = None, *, reverse: bool, batch_first: bool, sizes: tuple | None,
) -> tuple:  # fmt: skip
    """(y, last h, last c) by the library's own operators, step by step."""
    cat, stack = FUNCTIONS["cat"], FUNCTIONS["stack"]
    gx = linear(x, w_ih, b_ih)
    if sizes is not None:
        steps = list(gx.split(list(sizes)))
    else:
        steps = list(gx.unbind(1 if batch_first else 0))
    outs: list = [None] * len(steps)
    for t in range(len(steps) - 1, -1, -1) if reverse else range(len(steps)):
        now = steps[t]
        n = now.shape[0]
        whole = n == h.shape[0]
        nh, nc = cell_step(mode, now, h if whole else h[:n], c if whole or c is None else c[:n], w_hh, b_hh)
        if w_hr is not None:
            nh = linear(nh, w_hr)
        outs[t] = nh
        h = nh if whole else cat([nh, h[n:]])
        c = nc if whole or c is None else cat([nc, c[n:]])
    y = cat(outs) if sizes is not None else stack(outs, 1 if batch_first else 0)
    return y, h, c


def _composed_layer(mode: str, tensors: Sequence, args: dict) -> tuple:
    """`composed` for the operator's tensors and arguments."""
    x, h, c, *weights = tensors
    rows = args["rows"]
    return composed(
        mode, x, h, c if mode == "LSTM" else None, *weights, reverse=args["reverse"], batch_first=rows.apart != 1,
        sizes=tuple(rows.active.tolist()) if x.dim() == 2 else None,
    )  # fmt: skip


def _operator(mode: str, label: str) -> JointOperator:
    part = functools.partial
    return JointOperator(
        label.lower(),
        label,
        TENSORS,
        part(_forward, mode),
        part(_backward, mode),
        part(_composed_layer, mode),
        (3, 4, 5),
    )


LAYERS = {
    "LSTM": _operator("LSTM", "Lstm"), "GRU": _operator("GRU", "Gru"), "RNN_TANH": _operator("RNN_TANH", "RnnTanh"),
    "RNN_RELU": _operator("RNN_RELU", "RnnRelu"),
}  # fmt: skip


# --- what the modules call --------------------------------------------------------------------------------------


def cell(mode: str, x: Tensor, h: Tensor, c: Tensor | None, weights: tuple) -> tuple:
    """One step: (h, c). weights: (w_ih, w_hh, b_ih, b_hh), the last two may be None."""
    if REGIONS.open:
        x, h, c, weights = REGIONS.cast("recurrent", (x, h, c, weights))
    w_ih, w_hh, b_ih, b_hh = weights
    return cell_step(mode, linear(x, w_ih, b_ih), h, c, w_hh, b_hh)


def layer(
    mode: str, x: Tensor, h: Tensor, c: Tensor | None, weights: tuple, *, reverse: bool = False,
    batch_first: bool = False, sizes: tuple | None = None,
) -> tuple:  # fmt: skip
    """One layer in one direction: (y, last h, last c).

    mode: LSTM, GRU, RNN_TANH or RNN_RELU. x: (T, B, n), (B, T, n) with batch_first, or packed (N, n) with the batch
    sizes of the steps. h and c: (B, units). weights: (w_ih, w_hh), with (b_ih, b_hh) or without, then for a projected
    LSTM w_hr.
    """
    if REGIONS.open:
        x, h, c, weights = REGIONS.cast("lstm" if mode == "LSTM" else "recurrent", (x, h, c, weights))
    w_hh = weights[1]
    projected = len(weights) in (3, 5)
    mixed = h.dtype is not x.dtype or w_hh.dtype is not x.dtype or x.device.type in STATE.enabled or x.device is not cpu
    rows = rows_of(tuple(x._shape), batch_first, sizes)
    if projected or mixed or not rows.total or not _kernels_ready(
        mode, x.dtype, w_hh._shape[1], rows.total * w_hh.numel()
    ):  # fmt: skip
        bare = weights[:-1] if projected else weights
        options: dict = {"w_hr": weights[-1]} if projected else {}
        return composed(mode, x, h, c, *bare, reverse=reverse, batch_first=batch_first, sizes=sizes, **options)
    tensors = (x, h, h.detach() if c is None else c, *weights)
    keep = MODE.grad and any(t._edge is not None for t in tensors)
    y, h, last, *_ = LAYERS[mode].apply(tensors, reverse=reverse, rows=rows, keep=keep)
    return y, h, None if c is None else last
