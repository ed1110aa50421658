"""Evaluation: turning pending values into memory.

A pending value is evaluated when, and only when
  * its data is read (item, numpy, print, bool, DLPack, saving),
  * an operator that is not elementwise needs it,
  * a bound on the pending graph is reached (see `lazy.value`), or
  * `livegrad.eval` asks for it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from time import perf_counter
from typing import Any

from .. import dtypes
from ..codegen import kernels
from ..codegen.elementwise import CONTIGUOUS, SCALAR, STRIDED
from ..runtime import array as arrays
from ..runtime import interpreter, pool
from ..runtime.array import Array, numel
from . import log, value
from .program import broadcast_strides, linearize, merged_dims
from .value import LEAF_CAP, Value

# One evaluation at a time: counts and buffers of the pending graph are shared by all threads.
_lock = threading.RLock()

# A result at least this large is written past the caches, which saves reading the lines that it overwrites.
STREAM_BYTES = 24 << 20
# Work items that are worth a thread: elements times operators.
GRAIN = 1 << 17


class Overwritten:
    """Stands for the owner of a value that an in-place operator has replaced: nobody can ask for it any more."""

    def __call__(self) -> None:
        return None


OVERWRITTEN = Overwritten()


def evaluate(root: Value, reason: str) -> None:
    """Make `root` ready."""
    with _lock:
        if root.array is None:
            _run_map(root, reason)


def evaluate_all(roots: Iterable[Value], reason: str) -> None:
    """Make several values ready; a value that another one needs is written by the same kernel."""
    with _lock:
        waiting = [v for v in roots if v.array is None]
        waiting.sort(key=lambda v: -v.weight)
        for v in waiting:
            if v.array is None:
                _run_map(v, reason)


def _run_map(root: Value, reason: str) -> None:
    if root.instr is None:
        raise RuntimeError(
            "this value was lost when an in-place update of it was interrupted; compute it again from its inputs"
        )
    piece = linearize(root, evaluate)
    if root.array is not None:  # evaluating an operand can bring the root along
        return
    started = perf_counter() if log.kernels else 0.0
    shape = root.shape
    nodes, leaves, outputs = piece.nodes, piece.leaves, piece.outputs
    n = numel(shape)
    described = log.describe(nodes) if log.kernels else ""
    classes = []
    flat = True
    for leaf in leaves:
        a = leaf.array
        if a.contiguous and a.shape == shape:
            classes.append(CONTIGUOUS)
        elif numel(a.shape) == 1:
            classes.append(SCALAR)
        else:
            flat = False
            break
    how = "empty"
    if flat:
        streaming = n * 4 >= STREAM_BYTES and n * nodes[-1].dtype.itemsize >= STREAM_BYTES
        kernel = kernels.map_kernel(piece.code, outputs, tuple(classes), 0, streaming)
        words: tuple = ()
        total, per_item = n, 1
    else:
        kernel, words, total, per_item = _strided(piece, shape)
    if n and not kernel.available(n):
        made = _interpret(piece, shape)
        how = "tier 0"
    else:
        targets = _outputs(piece, shape, classes if flat else None)
        if n:
            pointers = [a.ptr for a in targets]
            pointers += [leaf.array.ptr for leaf in leaves]
            args = kernel.pack(*pointers, *piece.params, *words)
            grain = GRAIN // (per_item * kernel.cost) + 1
            if flat:
                grain = (grain + 1023) & -1024
            for leaf in piece_reused(piece, targets):
                leaf.array = None
            pool.launch(kernel.address, args, total, grain)
            how = "kernel"
        made = targets
    for j, a in zip(outputs, made):
        _settle(nodes[j], a)
    if log.kernels:
        log.launch(described, shape, reason, how, perf_counter() - started)


def _settle(v: Value, a: Array) -> None:
    """A pending value has become ready."""
    operands = v.operands
    v.array = a
    v.instr = None
    v.operands = ()
    v.params = ()
    nbytes = a.block.nbytes
    v.weight = nbytes if nbytes < LEAF_CAP else LEAF_CAP
    for o in operands:
        o.uses -= 1


def _strided(piece: Any, shape: tuple) -> tuple:
    """Kernel and layout words of a program whose leaves are broadcast or strided."""
    strides = [broadcast_strides(leaf.array, shape) for leaf in piece.leaves]
    sizes, merged, _ = merged_dims(shape, strides)
    if not sizes:
        sizes, merged = [1], [[0] for _ in strides]
    classes = tuple(CONTIGUOUS if m[-1] == 1 else SCALAR if m[-1] == 0 else STRIDED for m in merged)
    rank = len(sizes)
    kernel = kernels.map_kernel(piece.code, piece.outputs, classes, rank, False)
    words = [sizes[-1], *sizes[:-1]]
    for m in merged:
        words += m
    total = numel(tuple(sizes[:-1]))
    return kernel, tuple(words), total, sizes[-1]


def _outputs(piece: Any, shape: tuple, classes: list | None) -> list[Array]:
    """Memory for what is written; the buffer of an operand that an in-place operator replaced is used again."""
    free = _reusable(piece, classes) if classes is not None else []
    made = []
    for j in piece.outputs:
        d = piece.nodes[j].dtype
        for leaf in free:
            if leaf.dtype.itemsize == d.itemsize:
                free.remove(leaf)
                old = leaf.array
                made.append(Array(old.block, old.offset, shape, arrays.contiguous_strides(shape), d, True))
                break
        else:
            made.append(arrays.empty(shape, d))
    return made


def _reusable(piece: Any, classes: list) -> list[Value]:
    """Leaves that only this piece holds, so that a result may be written into their memory.

    Every unwritten node must be gone afterwards too, or it could not be computed again.
    """
    found = [
        leaf
        for leaf, c in zip(piece.leaves, classes)
        if leaf.owner is OVERWRITTEN and c == CONTIGUOUS and leaf.kept == 0 and leaf.lease is None
    ]
    if not found:
        return found
    if any(v.kept for v in piece.nodes):
        return []
    counts = dict.fromkeys(found, 0)
    for v in piece.nodes:
        for o in v.operands:
            if o in counts:
                counts[o] += 1
    return [leaf for leaf in found if leaf.uses == counts[leaf]]


def piece_reused(piece: Any, targets: list[Array]) -> list[Value]:
    """The leaves whose memory is about to be overwritten (they are emptied, so that nobody reads them by mistake)."""
    blocks = {id(a.block) for a in targets}
    return [leaf for leaf in piece.leaves if leaf.owner is OVERWRITTEN and id(leaf.array.block) in blocks]


def _interpret(piece: Any, shape: tuple) -> list[Array]:
    results = interpreter.run_piece(piece.nodes, piece.leaves, shape)
    made = []
    for j in piece.outputs:
        target = arrays.empty(shape, piece.nodes[j].dtype)
        target.native()[...] = results[j]
        made.append(target)
    return made


# --- reductions -------------------------------------------------------------------------------------------------


def reduce(x: Value, name: str, axes: tuple, acc: dtypes.dtype, reason: str = "reduction") -> Value:
    """Reduce `x` over `axes` (which are dropped), taking the pending work that feeds it into the same kernel.

    name: one of `codegen.reduction.REDUCTIONS`. acc: dtype of accumulation and result.
    """
    with _lock:
        return value.from_array(_reduce(x, name, axes, acc, reason))


def _reduce(x: Value, name: str, axes: tuple, acc: dtypes.dtype, reason: str) -> Array:
    started = perf_counter() if log.kernels else 0.0
    shape = x.shape
    out_shape = tuple(n for d, n in enumerate(shape) if d not in axes)
    if x.array is None:
        owner = x.owner
        if x.uses or (owner is not None and owner() is not None):
            evaluate(x, reason)  # somebody can ask for it later: write it, then reduce what was written
        else:
            piece = linearize(x, evaluate, write_root=False)
            if x.array is None and piece.outputs:
                evaluate(x, reason)
    if x.array is not None:
        leaves, code, params, source = [x], (), (), x.dtype
        described = name
    else:
        leaves, code, params, source = piece.leaves, piece.code, piece.params, x.dtype
        described = f"{log.describe(piece.nodes)} {name}" if log.kernels else ""
    if numel(shape) == 0 or 0 in out_shape:
        out = arrays.empty(out_shape, acc)
        if numel(out_shape):
            from ..codegen.reduction import REDUCTIONS

            out.native()[...] = REDUCTIONS[name].identity(acc)
        return out
    strides = [broadcast_strides(leaf.array, shape) for leaf in leaves]
    made = _reduce_kernel(leaves, code, params, source, shape, strides, axes, name, acc, out_shape)
    how = "kernel"
    if made is None:
        how = "tier 0"
        native = x.array.native() if x.array is not None else None
        if native is None:
            native = np_broadcast(interpreter.run_piece(piece.nodes, leaves, shape)[-1], shape)
        made = arrays.empty(out_shape, acc)
        made.native()[...] = interpreter.reduce(name, native, tuple(axes), acc)
    if log.kernels:
        log.launch(described, shape, reason, how, perf_counter() - started)
    return made


def np_broadcast(a: Any, shape: tuple) -> Any:
    """A native array read over `shape`."""
    import numpy as np

    return np.broadcast_to(a, shape)


SEGMENT = 16384  # elements that one partial result stands for
SEGMENT_ROWS = 128


def _reduce_kernel(
    leaves: list, code: tuple, params: tuple, source: Any, shape: tuple, strides: list, axes: tuple, name: str,
    acc: dtypes.dtype, out_shape: tuple,
) -> Array | None:  # fmt: skip
    kinds = tuple("r" if d in axes else "k" for d in range(len(shape)))
    sizes, merged, labels = merged_dims(shape, strides, kinds)
    if "r" not in labels:
        sizes, labels = [*sizes, 1], [*labels, "r"]
        merged = [[*m, 0] for m in merged]
    kept = [d for d, k in enumerate(labels[:-1]) if k == "k"]
    outer = [d for d, k in enumerate(labels[:-1]) if k == "r"]
    classes = tuple(CONTIGUOUS if m[-1] == 1 else SCALAR if m[-1] == 0 else STRIDED for m in merged)
    rows = labels[-1] == "r"
    kernel = kernels.reduce_kernel(
        "rows" if rows else "columns", name, acc, code, source, classes, len(kept), len(outer)
    )
    elements = numel(shape)
    if not kernel.available(elements):
        return None
    inner = sizes[-1]
    outer_sizes = [sizes[d] for d in outer]
    outer_total = numel(tuple(outer_sizes))
    kept_sizes = [sizes[d] for d in kept]
    items = numel(tuple(kept_sizes))
    if rows:
        if outer:
            length = max(1, SEGMENT // inner)
            limit = outer_total
        else:
            length, limit = SEGMENT, inner
        if limit < 2 * length:
            length = limit
        segments = -(-limit // length)
        out = arrays.empty((items, segments), acc) if segments > 1 else arrays.empty(out_shape, acc)
        head = [inner, segments, length]
        total = items * segments
        per_item = max(1, elements // max(items * segments, 1))
    else:
        length = SEGMENT_ROWS if outer_total >= 2 * SEGMENT_ROWS else outer_total
        segments = -(-outer_total // length)
        blocks = -(-inner // _column_block())
        out = arrays.empty((items, segments, inner), acc) if segments > 1 else arrays.empty(out_shape, acc)
        head = [inner, blocks, segments, length]
        total = items * segments * blocks
        per_item = max(1, elements // total)
    words = [*head, *kept_sizes, *arrays.contiguous_strides(tuple(kept_sizes)), *outer_sizes, outer_total]
    for m in merged:
        words += [m[d] for d in kept]
    for m in merged:
        words += [m[d] for d in outer]
    words += [m[-1] for m in merged]
    args = kernel.pack(out.ptr, *(leaf.array.ptr for leaf in leaves), *params, *words)
    pool.launch(kernel.address, args, total, GRAIN // (per_item * kernel.cost) + 1)
    if segments == 1:
        return out
    # Combine the partial results the same way.
    again = _reduce(value.from_array(out), name, (1,), acc, "partial results")
    return Array(again.block, 0, out_shape, arrays.contiguous_strides(out_shape), acc, True)


def _column_block() -> int:
    from ..codegen.reduction import COLUMN_BLOCK

    return COLUMN_BLOCK


value.evaluate_hook = evaluate
