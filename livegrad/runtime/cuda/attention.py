"""Attention by cuDNN, which never holds the matrix of scores: forward, and backward from the logarithms of its sums.

For float16 and bfloat16, heads of up to 128 columns in steps of 8, no mask but the causal one.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from ... import dtypes
from ...backends import cudnn as settings
from ...backends.cuda import attention as allowed
from ...observe import WATCH
from ..array import Array, contiguous_strides
from . import cudnn, driver, memory

WIDEST, STEP = 128, 8  # columns of a head


class Attention(NamedTuple):
    """All that cuDNN's plans depend on. q, k, v: (shape, strides) of (batch, head, row, column)."""

    dtype: dtypes.dtype
    q: tuple[tuple, tuple]
    k: tuple[tuple, tuple]
    v: tuple[tuple, tuple]
    causal: bool
    scale: float
    deterministic: bool


def possible(q: Array, k: Array, v: Array) -> bool:
    """Whether operands are of the kind that cuDNN has attention for."""
    columns = q.shape[-1]
    return (
        q.dtype in (dtypes.float16, dtypes.bfloat16)
        and columns == v.shape[-1]
        and columns <= WIDEST
        and columns % STEP == 0
        and all(a.strides[-1] == 1 for a in (q, k, v))
    )


def describe(q: Array, k: Array, v: Array, causal: bool, scale: float) -> Attention:
    """The attention of three operands of four dimensions."""
    layouts = [(a.shape, tuple(a.strides)) for a in (q, k, v)]
    return Attention(q.dtype, *layouts, causal, scale, settings.deterministic)


def _by_rows(shape: tuple) -> tuple:
    """Strides with which a row of all heads lies together, as a model joins them again."""
    batch, heads, rows, columns = shape
    return (rows * heads * columns, columns, heads * columns, 1)


def _graph(index: int, a: Attention) -> tuple[Any, Any]:
    """An empty graph, and a function that adds an operand to it."""
    lib = cudnn.library()
    io, wide = getattr(lib.data_type, cudnn.TYPES[a.dtype]), lib.data_type.FLOAT
    graph = lib.pygraph(
        io_data_type=io, intermediate_data_type=wide, compute_data_type=wide, handle=cudnn.handle(index)
    )

    def tensor(name: str, uid: int, shape: tuple, strides: tuple, dtype: Any = io) -> Any:
        return graph.tensor(name=name, dim=list(shape), stride=list(strides), data_type=dtype, uid=uid)

    return graph, tensor


def _output(result: Any, uid: int, shape: tuple, strides: tuple, dtype: Any) -> None:
    result.set_output(True).set_data_type(dtype).set_uid(uid).set_dim(list(shape)).set_stride(list(strides))


def _sums(shape: tuple) -> tuple:
    return (*shape[:3], 1)


@functools.lru_cache(1024)
def _plans(index: int, a: Attention) -> tuple[cudnn.Planned, cudnn.Planned] | None:
    """cuDNN's plans for forward and backward on the current device; None where it lacks one of them."""
    kinds = cudnn.library().data_type
    io, wide = getattr(kinds, cudnn.TYPES[a.dtype]), kinds.FLOAT
    shape, strides = a.q[0], _by_rows(a.q[0])
    sums = _sums(shape), contiguous_strides(_sums(shape))
    try:
        graph, tensor = _graph(index, a)
        given = [tensor(name, uid, *layout) for uid, (name, layout) in enumerate(zip("qkv", a[1:4]), 1)]
        result, logs = graph.sdpa(
            name="attention", q=given[0], k=given[1], v=given[2], generate_stats=True, attn_scale=a.scale,
            use_causal_mask=a.causal,
        )  # fmt: skip
        _output(result, 4, shape, strides, io)
        _output(logs, 5, *sums, wide)
        forward = cudnn.ready(graph, [])
        graph, tensor = _graph(index, a)
        given = [tensor(name, uid, *layout) for uid, (name, layout) in enumerate(zip("qkv", a[1:4]), 1)]
        given += [tensor("o", 4, shape, strides), tensor("dO", 5, shape, strides), tensor("stats", 6, *sums, wide)]
        names = ("q", "k", "v", "o", "dO", "stats")
        gradients = graph.sdpa_backward(
            name="attention_backward", **dict(zip(names, given)), attn_scale=a.scale, use_causal_mask=a.causal,
            use_deterministic_algorithm=a.deterministic,
        )  # fmt: skip
        for uid, (gradient, (own, _)) in enumerate(zip(gradients, a[1:4]), 7):
            _output(gradient, uid, own, _by_rows(own), io)
        return forward, cudnn.ready(graph, [])
    except Exception as error:
        cudnn.refused(error)
        return None


def available(q: Array, k: Array, v: Array, causal: bool, scale: float) -> bool:
    """Whether cuDNN is there, is not switched off, and has plans for these operands."""
    if not (settings.enabled and allowed.fused()) or cudnn.library() is None or not possible(q, k, v):
        return False
    with driver.on(q.device.index):
        return _plans(q.device.index or 0, describe(q, k, v, causal, scale)) is not None


def _planned(q: Array, k: Array, v: Array, causal: bool, scale: float) -> tuple[cudnn.Planned, cudnn.Planned]:
    with driver.on(q.device.index):
        found = _plans(q.device.index or 0, describe(q, k, v, causal, scale))
    if found is None:
        raise RuntimeError(f"cuDNN has no attention for operands of shapes {q.shape}, {k.shape} and {v.shape}")
    return found


def _rows(shape: tuple, like: Array) -> Array:
    """Memory for heads whose rows lie together."""
    batch, heads, rows, columns = shape
    flat = memory.empty((batch, rows, heads, columns), like.dtype, like.device)
    return flat.view(flat.offset, shape, _by_rows(shape))


def forward(q: Array, k: Array, v: Array, causal: bool, scale: float) -> tuple[Array, Array]:
    """The result, (batch, head, row, column), and the logarithms of the sums that the backward pass needs."""
    planned = _planned(q, k, v, causal, scale)
    result = _rows(q.shape, q)
    logs = memory.empty(_sums(q.shape), dtypes.float32, q.device)
    observer = WATCH.observer
    token = None
    if observer is not None:
        token = observer.begin_call("cudnn.sdpa", (q.shape, k.shape), 4 * _multiplications(q, k))
    with driver.on(q.device.index):
        cudnn.run(planned[0], q.device.index or 0, q, k, v, result, logs)
    if observer is not None:
        observer.end(token, "")
    return result, logs


def backward(
    q: Array, k: Array, v: Array, result: Array, logs: Array, g: Array, causal: bool, scale: float
) -> tuple[Array, Array, Array]:
    """The gradients of q, k and v. g: that of the result."""
    planned = _planned(q, k, v, causal, scale)
    if tuple(g.strides) != _by_rows(g.shape):
        copy = _rows(g.shape, g)
        with driver.on(q.device.index):
            copy.native()[...] = g.native()
        g = copy
    made = [_rows(x.shape, x) for x in (q, k, v)]
    observer = WATCH.observer
    token = None
    if observer is not None:
        token = observer.begin_call("cudnn.sdpa_backward", (q.shape, k.shape), 10 * _multiplications(q, k))
    with driver.on(q.device.index):
        cudnn.run(planned[1], q.device.index or 0, q, k, v, result, g, logs, *made)
    if observer is not None:
        observer.end(token, "")
    return made[0], made[1], made[2]


def _multiplications(q: Array, k: Array) -> int:
    batch, heads, rows, columns = q.shape
    return batch * heads * rows * columns * k.shape[2]
