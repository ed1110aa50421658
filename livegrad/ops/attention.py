"""Scaled dot product attention: by a kernel that never holds the matrix of scores, or in plain operators."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..codegen import attention as codegen
from ..codegen.kernels import Kernel
from ..codegen.product import lanes_of
from ..devices import cpu
from ..lazy import backend
from ..lazy.value import Value, from_array
from ..native import hot
from ..observe import library
from ..runtime import array as arrays
from ..runtime import pool
from ..runtime.array import Array, numel
from ..tensor import Tensor
from .casting import autocasts
from .instruction import SCALAR_TYPE_NAMES
from .joint import JointOperator
from .matmul import matmul
from .registry import FUNCTIONS

_KINDS = {dtypes.float32: "f32", dtypes.float64: "f64"}
# Multiply-adds that a thread takes at least.
_GRAIN = 100_000


@functools.cache
def _kernel(what: str, kind: str, *options: Any) -> Kernel:
    source = {
        "forward": codegen.forward_source, "backward": codegen.backward_source, "transpose": codegen.transpose_source,
    }[what]  # fmt: skip
    return Kernel(lambda: ("attention", what, kind, *options), lambda: source(kind, *options), codegen.formats(what), 1)


@hot
def _kernels(kind: str, masked: bool, columns: int) -> tuple:
    vectors = codegen.vectors_of(columns, kind)
    return (
        _kernel("transpose", kind),
        _kernel("forward", kind, masked, vectors),
        _kernel("backward", kind, masked, vectors),
    )


class _Sizes:
    """The sizes of a call: batch, heads, queries, keys, columns; `wide` columns and `padded` keys fill vectors."""

    @hot
    def __init__(self, q: tuple, keys: int, kind: str, causal: bool):
        self.batch, self.heads, self.queries, self.columns = q
        lanes = lanes_of(kind)
        self.keys = keys
        self.wide = -(-self.columns // lanes) * lanes
        self.padded = -(-keys // lanes) * lanes
        self.numbers = (self.heads, self.queries, keys, self.padded, self.wide, int(causal))
        self.items = self.batch * self.heads


@library("attention")
@hot
def _launch(
    kernel: Kernel, sizes: _Sizes, pointers: tuple, strided: tuple, scale: float, items: int, work: int
) -> None:
    """Run a kernel; `work` is the multiply-adds of an item."""
    strides: list = []
    outside = False
    for a in strided:
        if a is None:
            strides += (0, 0, 0)
        else:
            strides += a.strides[:3]
            if a.block.outside:
                outside = True
    args = kernel.pack(*pointers, *sizes.numbers, *strides, scale)
    grain = max(1, min(-(-items // pool.get_num_threads()), _GRAIN // max(work, 1)))
    if items <= grain and items * work > 4 * _GRAIN:
        pool.enqueue_long(kernel.address, args, items, items)
    else:
        pool.enqueue(kernel.address, args, items, grain)
    if outside:
        pool.finish()


@hot
def _heads(v: Value, wide: int) -> Array:
    """(batch, head, row, column) with adjacent columns, padded with zeros to `wide` of them."""
    a = v.ready()
    if a.shape[3] == wide and (a.strides[3] == 1 or wide == 1):
        return a
    out = arrays.empty((*a.shape[:3], wide), a.dtype)
    native = out.native()
    native[..., : a.shape[3]] = a.native()
    native[..., a.shape[3] :] = 0
    return out


@hot
def _by_rows(batch: int, heads: int, rows: int, columns: int, dtype: dtypes.dtype) -> Array:
    """Memory for (batch, head, row, column) in which a row of all heads lies together, as a model joins them again."""
    flat = arrays.empty((batch, rows, heads, columns), dtype)
    strides = (rows * heads * columns, columns, heads * columns, 1)
    return Array(flat.block, 0, (batch, heads, rows, columns), strides, dtype, heads == 1 or rows == 1)


@hot
def _interleaved(q: Array, k: Array, v: Array) -> bool:
    """Whether rows of q, k and v lie side by side, as one product for all three makes them."""
    _, heads, _, columns = q.shape
    together = 3 * heads * columns
    return (
        q.block is k.block and k.block is v.block and q.shape == k.shape and q.strides == k.strides
        and k.strides == v.strides and q.strides[1:] == (columns, together, 1)
        and k.offset - q.offset == heads * columns and v.offset - k.offset == heads * columns
    )  # fmt: skip


@hot
def _interleaved_rows(batch: int, heads: int, rows: int, columns: int, dtype: dtypes.dtype) -> list[Array]:
    """Memory for three of (batch, head, row, column) that lie like that, so that they need not be put together."""
    together = 3 * heads * columns
    block = arrays.empty((batch, rows, together), dtype).block
    strides = (rows * together, columns, together, 1)
    shape = (batch, heads, rows, columns)
    return [Array(block, i * heads * columns, shape, strides, dtype, False) for i in range(3)]


@hot
def _turned(a: Array) -> Array:
    """Heads and rows exchanged."""
    (x, y, z, w), (i, j, k, m) = a.shape, a.strides
    return a.view(a.offset, (x, z, y, w), (i, k, j, m))


@hot
def _value(a: Array, columns: int) -> Value:
    if a.shape[3] == columns:
        return from_array(a)
    return backend.copied(a.native()[..., :columns])


@hot
def _transposed(x: Array, sizes: _Sizes, kind: str) -> Array:
    out = arrays.empty((sizes.items, sizes.wide, sizes.padded), x.dtype)
    work = sizes.wide * sizes.padded // 2
    _launch(_kernel("transpose", kind), sizes, (x.ptr, out.ptr), (x,), 0.0, sizes.items, work)
    return out


def _padded_mask(mask: Value | None, sizes: _Sizes, dtype: dtypes.dtype) -> Array | None:
    """The mask as numbers to add, of four dimensions with strides 0 where it is broadcast, its rows padded."""
    if mask is None:
        return None
    native = mask.native()
    if native.dtype == np.bool_:
        native = np.where(native, 0.0, -np.inf)
    native = native.reshape((1,) * (4 - native.ndim) + native.shape)
    out = arrays.empty((*native.shape[:3], sizes.padded), dtype)
    out.native()[..., : sizes.keys] = native
    out.native()[..., sizes.keys :] = 0
    strides = tuple(0 if n == 1 else s for n, s in zip(out.shape[:3], out.strides))
    return Array(out.block, 0, out.shape, (*strides, 1), dtype, False)


@hot
def _forward(q: Value, k: Value, v: Value, *, mask: Value | None, causal: bool, scale: float) -> tuple:
    """(the result as (batch, row, head, column), for each query the logarithm of its sum of exponentials).

    The result's rows of all heads lie together, as a model joins them again; the caller turns them.
    """
    kind = _KINDS[q.dtype]
    sizes = _Sizes(q.shape, k.shape[2], kind, causal)
    qa, ka, va = (_heads(x, sizes.wide) for x in (q, k, v))
    added = _padded_mask(mask, sizes, q.dtype)
    _, forward, _ = _kernels(kind, added is not None, sizes.wide)
    turned = _transposed(ka, sizes, kind)
    out = _by_rows(sizes.batch, sizes.heads, sizes.queries, sizes.wide, q.dtype)
    lse = arrays.empty((sizes.items, sizes.queries), q.dtype)
    pointers = (qa.ptr, va.ptr, turned.ptr, added.ptr if added is not None else 0, out.ptr, lse.ptr)
    block = codegen.QUERIES["forward"]
    items = sizes.items * -(-sizes.queries // block)
    work = 2 * min(block, sizes.queries) * sizes.keys * sizes.wide
    _launch(forward, sizes, pointers, (qa, va, added, out), scale, items, work)
    return _value(_turned(out), sizes.columns), from_array(lse)


@hot
def _backward(node: Any, g: Any, saved: dict) -> tuple:
    """The gradients of q, k and v."""
    g = g[0]
    q, k, v, out, lse = (saved[n] for n in ("q", "k", "v", "result_0", "result_1"))
    if g is None:
        return None, None, None
    causal, scale = node.args["causal"], node.args["scale"]
    kind = _KINDS[q.dtype]
    sizes = _Sizes(q.shape, k.shape[2], kind, causal)
    qa, ka, va, oa, ga = (_heads(x, sizes.wide) for x in (q, k, v, out, g))
    oa, ga = _turned(oa), _turned(ga)
    added = _padded_mask(node.args["mask"], sizes, q.dtype)
    _, _, backward = _kernels(kind, added is not None, sizes.wide)
    kt, vt = _transposed(ka, sizes, kind), _transposed(va, sizes, kind)
    if sizes.wide == sizes.columns and _interleaved(q.ready(), k.ready(), v.ready()):
        dq, dk, dv = _interleaved_rows(sizes.batch, sizes.heads, sizes.queries, sizes.wide, q.dtype)
    else:
        dq, dk, dv = (
            _by_rows(sizes.batch, sizes.heads, n, sizes.wide, q.dtype) for n in (sizes.queries, sizes.keys, sizes.keys)
        )
    pointers = (
        qa.ptr, ka.ptr, va.ptr, kt.ptr, vt.ptr, added.ptr if added is not None else 0, oa.ptr, lse.ready().ptr, ga.ptr,
        dq.ptr, dk.ptr, dv.ptr,
    )  # fmt: skip
    work = 5 * sizes.queries * sizes.keys * sizes.wide
    _launch(backward, sizes, pointers, (qa, ka, added, oa, ga, dq, dk, dv), scale, sizes.items, work)
    return tuple(_value(a, sizes.columns) for a in (dq, dk, dv))


def composed(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, scale: float, dropout: float = 0.0
) -> Tensor:
    """Attention in plain operators."""
    weights = attention_weights(q, k, mask, causal, scale)
    if dropout:
        from ..nn import functional as F  # it depends on this module

        weights = F.dropout(weights, dropout, True)
    return matmul(weights.to(v.dtype), v)  # with autocast on CUDA, softmax gives float32


def attention_weights(q: Tensor, k: Tensor, mask: Tensor | None, causal: bool, scale: float) -> Tensor:
    """softmax(q @ k.T * scale + mask); rows that are masked altogether are zeros."""
    scores = matmul(q * scale, k.mT)
    if causal:
        shape = tuple(scores.shape[-2:])
        mask = FUNCTIONS["tril"](_ones(shape, q.device))
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype is dtypes.bool_ else scores + mask
        if causal and q.device is not cpu:
            return scores.softmax(-1)  # every row sees the first key
        hidden = (scores == -math.inf).all(-1, keepdim=True)
        if q.device is not cpu or bool(hidden.any()):  # elsewhere nobody waits to see
            return FUNCTIONS["where"](hidden, 0.0, FUNCTIONS["where"](hidden, 0.0, scores).softmax(-1))
    return scores.softmax(-1)


def _ones(shape: tuple, device: Any) -> Tensor:
    from ..creation import ones

    return ones(shape, dtype=dtypes.bool_, device=device)


def _composed(tensors: Sequence, args: dict) -> tuple:
    from ..tensor import wrap

    mask = args["mask"]
    made = composed(*tensors, None if mask is None else wrap(mask), args["causal"], args["scale"])
    return (made.transpose(1, 2), None)


ATTENTION = JointOperator(
    "scaled_dot_product_attention", "ScaledDotProductFlashAttentionForCpu", ("q", "k", "v"), _forward, _backward,
    _composed, (0, 1),
)  # fmt: skip


@hot
def _check(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> None:
    if min(q.dim(), k.dim(), v.dim()) < 2:
        raise RuntimeError(
            "Expected query, key, and value to all be  at least 2 dimensional, but got query.dim: "
            f"{q.dim()} key.dim: {k.dim()} and value.dim: {v.dim()} instead."
        )
    if q.dtype is not k.dtype or k.dtype is not v.dtype:
        names = [SCALAR_TYPE_NAMES[x.dtype].lower() for x in (q, k, v)]
        raise RuntimeError(
            "Expected query, key, and value to have the same dtype, but got query.dtype: "
            f"{names[0]} key.dtype: {names[1]} and value.dtype: {names[2]} instead."
        )
    if mask is not None and causal:
        raise RuntimeError("_scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True")
    if mask is not None and mask.dtype not in (dtypes.bool_, dtypes.float32, q.dtype):
        names = ["long int" if x.dtype is dtypes.int64 else SCALAR_TYPE_NAMES[x.dtype].lower() for x in (mask, q)]
        raise RuntimeError(
            "Expected attn_mask dtype to be bool or float or to match query dtype, but got attn_mask.dtype: "
            f"{names[0]} and  query.dtype: {names[1]} instead."
        )
    if q._shape[-1] != k._shape[-1] or k._shape[-2] != v._shape[-2]:
        raise RuntimeError(
            "scaled_dot_product_attention: query (..., L, E), key (..., S, E) and value (..., S, V) do not fit: they "
            f"are {list(q._shape)}, {list(k._shape)} and {list(v._shape)}"
        )


@autocasts
def scaled_dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
) -> Tensor:  # fmt: skip
    """softmax(query @ key.T * scale + mask) @ value by head: (..., L, E), (..., S, E), (..., S, V) give (..., L, V).

    attn_mask: broadcast to (..., L, S); True where a query may look, or numbers that are added to the scores.
    is_causal: query i sees keys up to i. dropout_p: probability with which weights are dropped, always (pass 0 in
    evaluation). scale: 1/√E unless given. enable_gqa: key and value have fewer heads, each for as many of the query's
    in turn.
    Raises RuntimeError where dtypes or shapes do not fit, or for a mask beside is_causal.

    >>> import livegrad
    >>> from livegrad.nn import functional as F
    >>> x = livegrad.eye(2).reshape(1, 1, 2, 2)
    >>> F.scaled_dot_product_attention(x, x, x, is_causal=True)[0, 0, 0].tolist()
    [1.0, 0.0]
    """
    _check(query, key, value, attn_mask, is_causal)
    if enable_gqa:
        heads = [x._shape[-3] for x in (query, key, value)]
        if any(heads[0] % n for n in heads[1:]):
            raise RuntimeError("Number of heads in key and value must divide the number of heads in query")
        key, value = (
            x if n == heads[0] else FUNCTIONS["repeat_interleave"](x, heads[0] // n, -3)
            for x, n in zip((key, value), heads[1:])
        )
    columns = query._shape[-1]
    scale = (1 / math.sqrt(columns) if columns else 1.0) if scale is None else float(scale)
    lead = query._shape[:-2]
    rank = len(lead)
    simple = (
        query.dtype in _KINDS and query.device is cpu and not dropout_p and columns and columns == value._shape[-1]
        and lead == key._shape[:-2] == value._shape[:-2] and rank <= 2 and numel(lead) and query._shape[-2]
        and key._shape[-2]
        and (attn_mask is None or (attn_mask.dim() <= rank + 2 and attn_mask._edge is None
                                   and _fits(attn_mask._shape, (*lead, query._shape[-2], key._shape[-2]))))
    )  # fmt: skip
    if simple:
        kind = _KINDS[query.dtype]
        wide = -(-columns // lanes_of(kind)) * lanes_of(kind)
        work = numel(query._shape) * key._shape[-2]
        if all(k.available(work) for k in _kernels(kind, attn_mask is not None, wide)):
            return _by_kernel(query, key, value, attn_mask, is_causal, scale)
    if query.device is not cpu and attn_mask is None and not dropout_p and lead == key._shape[:-2] and rank <= 2:
        made = _by_cudnn(query, key, value, bool(is_causal), scale)
        if made is not None:
            return made
    return composed(query, key, value, attn_mask, is_causal, scale, dropout_p)


def _fits(shape: tuple, whole: tuple) -> bool:
    """Whether a shape broadcasts to another one."""
    return all(n in (1, m) for n, m in zip(shape[::-1], whole[::-1]))


@hot
def _by_kernel(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, scale: float) -> Tensor:
    rank = q.dim()
    if rank < 4:
        q, k, v = (x.reshape((1,) * (4 - rank) + tuple(x._shape)) for x in (q, k, v))
    given = None if mask is None else mask._value()
    made = ATTENTION.apply((q, k, v), mask=given, causal=bool(causal), scale=scale)[0].transpose(1, 2)
    return made if rank == 4 else made.reshape(made._shape[4 - rank :])


# --- on CUDA devices --------------------------------------------------------------------------------------------


def _cudnn_forward(q: Value, k: Value, v: Value, *, mask: None, causal: bool, scale: float) -> tuple:
    """As `_forward`, by cuDNN."""
    from ..runtime.cuda import attention as on_cuda

    result, logs = on_cuda.forward(q.ready(), k.ready(), v.ready(), causal, scale)
    return from_array(_turned(result)), from_array(logs)


def _cudnn_backward(node: Any, g: Any, saved: dict) -> tuple:
    """As `_backward`, by cuDNN."""
    from ..runtime.cuda import attention as on_cuda

    if g[0] is None:
        return None, None, None
    q, k, v, out, logs = (saved[n].ready() for n in ("q", "k", "v", "result_0", "result_1"))
    made = on_cuda.backward(q, k, v, _turned(out), logs, _turned(g[0].ready()), node.args["causal"], node.args["scale"])
    return tuple(from_array(a) for a in made)


CUDNN_ATTENTION = JointOperator(
    "scaled_dot_product_attention", "ScaledDotProductCudnnAttention", ("q", "k", "v"), _cudnn_forward, _cudnn_backward,
    _composed, (0, 1),
)  # fmt: skip
CUDNN_ATTENTION.anywhere = True


def _by_cudnn(q: Tensor, k: Tensor, v: Tensor, causal: bool, scale: float) -> Tensor | None:
    """By cuDNN; None where it cannot."""
    from ..runtime.cuda import attention as on_cuda

    rank = q.dim()
    if q.dtype not in (dtypes.float16, dtypes.bfloat16) or 0 in (*q._shape, *k._shape):
        return None
    if rank < 4:
        q, k, v = (x.reshape((1,) * (4 - rank) + tuple(x._shape)) for x in (q, k, v))
    if not on_cuda.available(*(x._value().ready() for x in (q, k, v)), causal, scale):
        return None
    made = CUDNN_ATTENTION.apply((q, k, v), mask=None, causal=causal, scale=scale)[0].transpose(1, 2)
    return made if rank == 4 else made.reshape(made._shape[4 - rank :])
