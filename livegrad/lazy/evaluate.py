"""Evaluation: turning pending values into memory.

A pending value is evaluated when, and only when
  * its data is read (item, numpy, print, bool, DLPack, saving),
  * an operator that is not elementwise needs it,
  * a bound on the pending graph is reached (see `lazy.value`), or
  * `livegrad.eval` asks for it.
"""

from __future__ import annotations

import math
import os
import struct
import threading
from collections.abc import Iterable
from typing import Any

from .. import dtypes, native
from ..codegen import batch, kernels
from ..codegen.layout import COLUMN_BLOCK, CONTIGUOUS, MAX_PERIOD, PERIODIC, REDUCTIONS, SCALAR, STRIDED
from ..devices import cpu
from ..native import hot, slotted
from ..observe import WATCH
from ..runtime import array as arrays
from ..runtime import caches, interpreter, pool
from ..runtime.array import Array, numel
from ..runtime.memory import allocate
from ..runtime.refusal import out_of_memory_for
from . import log, turned, value
from .program import broadcast_strides, flat, linearize, merged_dims
from .value import Value, settle, take_memory

# One evaluation at a time: counts and buffers of the pending graph are shared by all threads.
_lock = threading.RLock()
if hasattr(os, "register_at_fork"):  # a child must not find an evaluation of another thread half done
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)

# A result at least this large is written past the caches, which saves reading the lines that it overwrites. That pays
# once it would not stay there anyway: from 12 MB on with 32 MB of last-level cache, and from about 64 MB on with 480 MB
# (copying 16 MB there gains nothing, and whoever reads the result next has to fetch it from memory).
STREAM_BYTES = max(12 << 20, caches.LAST_LEVEL // 8)
# Work items that are worth a thread: elements times operators.
GRAIN = 1 << 16


class Overwritten:
    """Stands for the owner of a value that an in-place operator has replaced: nobody can ask for it any more."""

    def __call__(self) -> None:
        return None


OVERWRITTEN = Overwritten()


class ValueLost(RuntimeError):
    """What a program would read has been given away."""


class Lost:
    """Stands for the instruction of a value whose memory was given to a result that then was not made."""

    relabels = False

    @property
    def id(self) -> int:
        raise ValueLost(
            "a value that this result needs was lost when an in-place update of it was interrupted; compute it again "
            "from its inputs"
        )


LOST = Lost()


@hot
def evaluate(root: Value, reason: str) -> None:
    """Make `root` ready."""
    if WATCH.bound is not None and reason == "bound reached" and WATCH.observer.recorded(root):  # type: ignore[union-attr]
        return
    if native.Start.left:
        native.launched()
    with _lock:
        if root.array is None:
            _run_map(root, reason)


class _Batch:
    """Launches put off until several can run as one. Their results become ready when they have run."""

    def __init__(self) -> None:
        self.jobs: list[tuple[int, bytes, int]] = []
        self.grain = 0
        self.results: dict[Value, Array] = {}
        self.relabels: list[Value] = []
        self.keep: list = []

    def makes(self, nodes: list[Value]) -> bool:
        """Whether one of these values is among the results."""
        return not self.results.keys().isdisjoint(nodes)

    @hot
    def add(self, plan: MapPlan, args: bytes, leaves: list[Value], results: list[Value], made: list[Array]) -> None:
        self.jobs.append((plan.kernel.address, args, plan.total))
        self.grain = min(self.grain, plan.grain) if self.grain else plan.grain
        self.results.update(zip(results, made))
        # An operand that is overwritten is emptied, but its memory must stay.
        self.keep.append([leaf.array for leaf in leaves])

    @hot
    def run(self) -> None:
        jobs, self.jobs = self.jobs, []
        grain, self.grain = self.grain, 0
        observer = WATCH.observer if jobs else None
        token = None if observer is None else observer.begin_batch()
        _launch_jobs(jobs, grain)
        if observer is not None:
            observer.end(token, "")
        for v, a in self.results.items():
            settle(v, a)
        self.results.clear()
        for v in self.relabels:
            take_memory(v)
        self.relabels.clear()
        self.keep.clear()


_batch = _Batch()
BATCHES: list = [_batch]  # of all kinds of devices


@hot
def _launch_jobs(jobs: list, grain: int) -> None:
    together = batch.address() if len(jobs) > 1 else 0
    if together:
        args, total, alive = batch.pack(jobs)
        pool.launch(together, args, total, grain)
    else:
        for kernel, args, total in jobs:
            pool.launch(kernel, args, total, grain)


@hot
def launch_together(jobs: list, grain: int) -> None:
    """Launch jobs (kernel address, arguments, work items), none of which reads what another one writes, as one."""
    with _lock:
        _launch_jobs(jobs, grain)


def _heaviest_first(values: list[Value]) -> None:
    values.sort(key=lambda v: -v.weight)


@hot
def evaluate_all(roots: Iterable[Value], reason: str) -> None:
    """Make several values ready, in one launch where that can be; what another one needs is written along with it."""
    if native.Start.left:
        native.launched()
    with _lock:
        waiting = [v for v in roots if v.array is None]
        _heaviest_first(waiting)
        try:
            _together(waiting, reason)
        except ValueLost:
            # A launch that was put off had been given what another one reads. It has run now; the rest go one by one.
            for v in waiting:
                evaluate(v, reason)


@hot
def _together(waiting: list[Value], reason: str) -> None:
    try:
        _run_together(waiting, reason)
    finally:
        for other in BATCHES:
            other.run()


@hot
def _run_together(waiting: list[Value], reason: str) -> None:
    for v in waiting:
        if v.array is None and v not in _batch.results:
            _run_map(v, reason, True)


@slotted
class MapPlan:
    """Everything about running an elementwise program that follows from its code and the layouts of its leaves.

    alone: with so few work items it is not worth waiting for other launches. turned: leaves to copy (`lazy.turned`), so
    that there is another plan, whose kernel reads the copies; this one has none.
    """

    __slots__ = (
        "kernel", "tail", "total", "grain", "alone", "elements", "classes", "strides", "dtypes", "sizes", "turned"
    )  # fmt: skip


@slotted
class ReducePlan:
    """The same for a reduction.

    partial: shape of the partial results, None where there is a single segment. count: how many elements each result is
    made of. divides: whether the kernel divides by that.
    """

    __slots__ = ("kernel", "tail", "total", "grain", "elements", "partial", "count", "divides")


# Plans by code and layout. A step with the structure and sizes of an earlier one pays for no analysis.
_map_plans: dict[tuple, MapPlan] = {}
_reduce_plans: dict[tuple, ReducePlan] = {}
MAX_PLANS = 20_000


@hot
def _layouts(leaves: list[Value], shape: tuple) -> tuple:
    """Per leaf None if it is read in the order of its memory, else its own shape and strides."""
    found = []
    for leaf in leaves:
        a = leaf.array
        found.append(None if flat(a, shape) else (a.shape, a.strides))  # type: ignore[union-attr]
    return tuple(found)


def _run_elsewhere(root: Value, reason: str, together: bool) -> None:
    from . import cuda  # it depends on this module, and is needed where there is such a device

    cuda.run(root, reason, together)


@hot
def _run_source(root: Value, reason: str, together: bool) -> None:
    """Evaluate what is only relabelled here."""
    source = root.operands[0]
    if root.device is not cpu:
        together = False
    if source.array is None:
        if source not in _batch.results:
            _run_map(source, reason, together)
        elif not together:
            _batch.run()
    if source.array is not None:
        take_memory(root)
    else:
        _batch.relabels.append(root)


@hot
def finish(piece: Any, made: list[Array]) -> None:
    """What a piece writes has been written."""
    nodes = piece.nodes
    for j, a in zip(piece.outputs, made):
        settle(nodes[j], a)
    for v in piece.relabels:
        take_memory(v)


@hot
def _run_map(root: Value, reason: str, together: bool = False) -> None:
    if root.instr.relabels:
        _run_source(root, reason, together)
        return
    if root.device is not cpu:
        _run_elsewhere(root, reason, together)
        return
    piece = linearize(root, evaluate)
    if _batch.jobs and _batch.makes(piece.nodes):
        _batch.run()  # this reads what a launch that was put off will write
        if root.array is None:
            piece = linearize(root, evaluate)
    if root.array is not None:  # evaluating an operand can bring the root along
        return
    shape = root.shape
    nodes, leaves, outputs = piece.nodes, piece.leaves, piece.outputs
    observer = WATCH.observer
    token = None if observer is None else observer.begin("", nodes, leaves, outputs, shape, reason)
    postponed = False
    key = (piece.code, outputs, shape, _layouts(leaves, shape))
    plan = _map_plans.get(key)
    if plan is None:
        plan = _plan_map(piece, shape, key)
    if plan.turned:
        leaves = piece.leaves = turned.in_order(leaves, plan.turned)
        key = (piece.code, outputs, shape, _layouts(leaves, shape))
        plan = _map_plans.get(key)
        if plan is None:
            plan = _plan_map(piece, shape, key)
    n = plan.elements
    kernel = plan.kernel
    if n and not (kernel.address and kernels.Policy.mode != "never") and not kernel.available(n):
        made = _interpret(piece)
        how = "tier 0"
    else:
        made = _outputs(piece, shape, plan)
        if n:
            pointers = [a.ptr for a in made]
            for leaf in leaves:
                pointers.append(leaf.array.ptr)
            args = kernel.pack(*pointers, *piece.params) + plan.tail
            if together and plan.total > plan.alone:
                _batch.add(plan, args, leaves, [nodes[j] for j in outputs], made)
                _batch.relabels.extend(piece.relabels)
                _empty_reused(leaves, made)
                postponed = True
            else:
                _empty_reused(leaves, made)
                pool.launch(kernel.address, args, plan.total, plan.grain)
        how = ""
    if not postponed:
        finish(piece, made)
    if observer is not None:
        if postponed:
            observer.postponed(token, how or log.origin(kernel))
        else:
            observer.end(token, how or log.origin(kernel))


def _plan_map(piece: Any, shape: tuple, key: tuple) -> MapPlan:
    if len(_map_plans) >= MAX_PLANS:
        _map_plans.clear()
    plan = MapPlan()
    plan.turned = turned.turned_leaves(piece.leaves)
    if plan.turned:
        _map_plans[key] = plan
        return plan
    n = numel(shape)
    last = piece.nodes[-1].dtype
    classes = []
    for leaf in piece.leaves:
        a = leaf.array
        if flat(a, shape):
            classes.append(CONTIGUOUS)
        elif numel(a.shape) == 1:
            classes.append(SCALAR)
        else:
            classes.append(STRIDED)
    plan.elements = n
    plan.strides = arrays.contiguous_strides(shape)
    plan.dtypes = [piece.nodes[j].dtype for j in piece.outputs]
    plan.sizes = [n * d.itemsize for d in plan.dtypes]
    period = 0
    if STRIDED in classes:
        found = _periodic(piece, shape)
        if found is not None:
            classes, period = found
    if STRIDED not in classes:
        streaming = n * last.itemsize >= STREAM_BYTES
        plan.kernel = kernels.map_kernel(piece.code, piece.outputs, tuple(classes), 0, streaming)
        plan.tail = struct.pack("=q", period) if period else b""
        plan.total = n
        grain = (GRAIN // plan.kernel.cost + 1024) & -1024
        plan.grain = -(-n // (1024 * -(-n // grain))) * 1024 if n else grain  # pieces of about the same size
        plan.classes = classes
    else:
        plan.kernel, words, plan.total, per_item = _strided(piece, shape)
        plan.tail = struct.pack(f"={len(words)}q", *words)
        plan.grain = GRAIN // (max(per_item, 1) * plan.kernel.cost) + 1
        plan.classes = None
    plan.alone = plan.grain >> 3
    _map_plans[key] = plan  # now that it is complete: an interruption leaves no half of one
    return plan


def _periodic(piece: Any, shape: tuple) -> tuple[list, int] | None:
    """(classes, period) where all leaves but a few short ones, read over and over, are contiguous or one element."""
    strides = [broadcast_strides(leaf.array, shape) for leaf in piece.leaves]
    sizes, merged, _ = merged_dims(shape, strides)
    if len(sizes) != 2 or sizes[1] > MAX_PERIOD:
        return None
    known = {(sizes[1], 1): CONTIGUOUS, (0, 1): PERIODIC, (0, 0): SCALAR}
    classes = [known.get(tuple(m), STRIDED) for m in merged]
    return None if STRIDED in classes else (classes, sizes[1])


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


@hot
def _outputs(piece: Any, shape: tuple, plan: MapPlan) -> list[Array]:
    """Memory for what is written; the buffer of an operand that an in-place operator replaced is used again."""
    free = ()
    if plan.classes is not None:
        for leaf in piece.leaves:
            if leaf.owner is OVERWRITTEN:
                free = _reusable(piece, plan.classes)
                break
    made = []
    for d, size in zip(plan.dtypes, plan.sizes):
        if free:
            old = _take(free, d.itemsize)
            if old is not None:
                made.append(Array(old.block, old.offset, shape, plan.strides, d, True))
                continue
        try:
            block = allocate(size)
        except MemoryError as refused:
            raise out_of_memory_for(refused, shape, d)  # noqa: B904  (hot functions know no `from`)
        made.append(Array(block, 0, shape, plan.strides, d, True))
    return made


@hot
def _take(free: list[Value], itemsize: int) -> Array | None:
    """The memory of the first of these leaves whose items have that size, which leaves the list."""
    for leaf in free:
        if leaf.dtype.itemsize == itemsize:
            free.remove(leaf)
            return leaf.array
    return None


@hot
def _reusable(piece: Any, classes: list) -> list[Value]:
    """Leaves that only this piece holds, so that a result may be written into their memory.

    Every unwritten node must be gone afterwards too, or it could not be computed again.
    """
    found = [
        leaf
        for leaf, c in zip(piece.leaves, classes)
        if leaf.owner is OVERWRITTEN and c == CONTIGUOUS and leaf.kept == 0 and leaf.lease is None
    ]
    for j, v in enumerate(piece.nodes):
        # What no tensor has had yet (owner None) may be in the hands of a gradient formula or of the engine.
        if v.kept or (v.owner is None and j not in piece.outputs):
            return []
    counts = dict.fromkeys(found, 0)
    for v in piece.nodes:
        for o in v.operands:
            if o in counts:
                counts[o] += 1
    return [leaf for leaf in found if leaf.uses == counts[leaf]]


@hot
def _empty_reused(leaves: list[Value], targets: list[Array]) -> None:
    """Empty the leaves whose memory is about to be overwritten, so that nobody reads them by mistake."""
    for leaf in leaves:
        if leaf.owner is OVERWRITTEN:
            block = leaf.array.block  # type: ignore[union-attr]
            for a in targets:
                if a.block is block:
                    leaf.array = None
                    leaf.instr = LOST  # unless the result is made, which nothing but an interruption prevents
                    break


def _interpret(piece: Any) -> list[Array]:
    results = interpreter.run_piece(piece.nodes)
    made = []
    for j in piece.outputs:
        v = piece.nodes[j]
        target = arrays.empty_on(v.device, v.shape, v.dtype)
        target.native()[...] = results[j]
        made.append(target)
    return made


# --- reductions -------------------------------------------------------------------------------------------------


@hot
def reduce(x: Value, name: str, axes: tuple, acc: dtypes.dtype, reason: str = "reduction") -> Value:
    """Reduce `x` over `axes` (which are dropped), taking the pending work that feeds it into the same kernel.

    name: one of `codegen.reduction.REDUCTIONS`. acc: dtype of accumulation and result.
    """
    if native.Start.left:
        native.launched()
    with _lock:
        return value.from_array(_reduce(x, name, axes, acc, reason, 0))


@hot
def _passed_over_before(piece: Any) -> bool:
    """A reduction does not write the intermediates that it computes. What one needs for the second time is written.

    So a chain that goes through reductions (x = x - logsumexp(x), again and again) is not computed from its beginning
    in each of them.
    """
    again = []
    for j in piece.outputs:
        v = piece.nodes[j]
        if v.passed:
            again.append(v)
        v.passed = True
    if again:
        evaluate_all(again, "needed again")
        return True
    return False


def _cheap(piece: Any, shape: tuple) -> bool:
    """Whether computing a piece takes no more than reading its result would: little arithmetic, one operand to read."""
    elements = numel(shape)
    read = sum(1 for leaf in piece.leaves if numel(leaf.shape) == elements)
    return read <= 1 and len(piece.nodes) <= 4 and kernels.code_cost(piece.code) <= CHEAP


@hot
def fused_source(x: Value, reason: str, wider: bool = False) -> Any:
    """The pending work that makes `x`, to be taken into the kernel that reads it; None where x is in memory.

    It is not written then. If somebody asks for it later (whoever called this can), it is computed again, once.
    wider: see `linearize`.
    """
    if x.array is not None:
        return None
    piece = None
    if x.uses:
        # Something else reads it too: write it, then read what was written, unless making it again is no more work.
        piece = linearize(x, evaluate, False, wider)
        if x.array is not None:
            return None
        if piece.outputs or not _cheap(piece, x.shape):
            evaluate(x, reason)
            return None
    if piece is None:
        piece = linearize(x, evaluate, False, wider)
    if x.array is None and piece.outputs and _passed_over_before(piece):
        piece = linearize(x, evaluate, False, wider)
    if x.array is not None:
        return None
    x.uses += 1
    x.passed = True
    return piece


@hot
def _reduce(x: Value, name: str, axes: tuple, acc: dtypes.dtype, reason: str, count: int) -> Array:
    """count: how many elements a partial result that is reduced stands for, all together; 0 if it is not such."""
    shape = x.shape
    piece = fused_source(x, reason)
    if piece is None:
        leaves, code, params, source = [x], (), (), x.dtype
    else:
        leaves, code, params, source = piece.leaves, piece.code, piece.params, x.dtype
    observer = WATCH.observer
    token = None
    if observer is not None:
        token = observer.begin(name, () if piece is None else piece.nodes, leaves, (), shape, reason)
    out_shape = tuple([n for d, n in enumerate(shape) if d not in axes]) if len(axes) < len(shape) else ()
    if x.device is not cpu:
        made, how = _reduce_elsewhere(x, piece, name, axes, acc, out_shape)
        if observer is not None:
            observer.end(token, how)
        return made
    key = (name, acc, code, source, shape, axes, _layouts(leaves, shape))
    plan = _reduce_plans.get(key)
    if plan is None:
        plan = _plan_reduce(leaves, code, source, shape, axes, name, acc, key, False)
    kernel = plan.kernel
    how = ""
    if kernel is None:  # nothing to reduce
        made = _filled(out_shape, name, acc, x.device)
    elif not (kernel.address and kernels.Policy.mode != "never") and not kernel.available(plan.elements):
        how = "tier 0"
        made = _interpret_reduction(x, piece, name, axes, acc, out_shape)
    else:
        made = arrays.empty(out_shape if plan.partial is None else plan.partial, acc)
        pointers = [leaf.array.ptr for leaf in leaves]
        if plan.divides:
            params = (*params, count or plan.count)
        args = kernel.pack(made.ptr, *pointers, *params) + plan.tail
        pool.launch(kernel.address, args, plan.total, plan.grain)
        if plan.partial is not None:
            # Combine the partial results the same way.
            again = _reduce(value.from_array(made), name, (1,), acc, "partial results", count or plan.count)
            made = Array(again.block, 0, out_shape, arrays.contiguous_strides(out_shape), acc, True)
    if observer is not None:
        observer.end(token, how or log.origin(kernel))
    return made


def _reduce_elsewhere(x: Value, piece: Any, name: str, axes: tuple, acc: dtypes.dtype, out_shape: tuple) -> tuple:
    from . import cuda_reduce  # it depends on this module, and is needed where there is such a device

    return cuda_reduce.run(x, piece, name, axes, acc, out_shape)


@hot
def reduce_and_keep(x: Value, name: str, axes: tuple, acc: dtypes.dtype) -> Value:
    """`reduce` of what will be read from memory as well: where little work makes `x`, one launch does both."""
    if native.Start.left:
        native.launched()
    with _lock:
        made = None
        if x.array is None and x.device is cpu:
            made = _reduce_and_write(x, name, axes, acc)
        if made is None:
            if x.array is None:
                evaluate(x, "data read")
            made = _reduce(x, name, axes, acc, "reduction", 0)
        return value.from_array(made)


@hot
def _reduce_and_write(x: Value, name: str, axes: tuple, acc: dtypes.dtype) -> Array | None:
    """Reduce a pending value and make it ready; None where that is better done in two launches."""
    shape = x.shape
    elements = numel(shape)
    if elements == 0 or elements * x.dtype.itemsize >= STREAM_BYTES:
        return None
    piece = linearize(x, evaluate)
    if x.array is not None or len(piece.outputs) != 1:
        return None
    for v in piece.relabels:
        if v is not x:
            return None
    if _batch.jobs and _batch.makes(piece.nodes):
        return None
    leaves, code = piece.leaves, piece.code
    key = (name, acc, code, x.dtype, shape, axes, _layouts(leaves, shape), True)
    plan = _reduce_plans.get(key)
    if plan is None:
        plan = _plan_reduce(leaves, code, x.dtype, shape, axes, name, acc, key, True)
    kernel = plan.kernel
    if elements * kernel.cost > GRAIN and plan.total < SHARES:
        return None  # threads share more of it where it is computed by itself
    if not (kernel.address and kernels.Policy.mode != "never") and not kernel.available(elements):
        return None
    observer = WATCH.observer
    token = None
    if observer is not None:
        token = observer.begin(name, piece.nodes, leaves, piece.outputs, shape, "reduction")
    out_shape = tuple([n for d, n in enumerate(shape) if d not in axes]) if len(axes) < len(shape) else ()
    made = arrays.empty(out_shape if plan.partial is None else plan.partial, acc)
    written = arrays.empty(shape, x.dtype)
    pointers = [leaf.array.ptr for leaf in leaves]
    params = (*piece.params, plan.count) if plan.divides else piece.params
    args = kernel.pack(made.ptr, *pointers, written.ptr, *params) + plan.tail
    pool.launch(kernel.address, args, plan.total, plan.grain)
    finish(piece, [written])
    if plan.partial is not None:
        again = _reduce(value.from_array(made), name, (1,), acc, "partial results", plan.count)
        made = Array(again.block, 0, out_shape, arrays.contiguous_strides(out_shape), acc, True)
    if observer is not None:
        observer.end(token, log.origin(kernel))
    return made


def _filled(shape: tuple, name: str, acc: dtypes.dtype, device: Any) -> Array:
    """What a reduction of nothing gives."""
    made = arrays.empty_on(device, shape, acc)
    made.native()[...] = math.nan if REDUCTIONS[name].divides else REDUCTIONS[name].identity(acc)
    return made


def _interpret_reduction(x: Value, piece: Any, name: str, axes: tuple, acc: dtypes.dtype, out_shape: tuple) -> Array:
    if piece is None:
        native = x.native()
    else:
        native = interpreter.broadcast(interpreter.run_piece(piece.nodes)[-1], x.shape)
    made = arrays.empty_on(x.device, out_shape, acc)
    made.native()[...] = interpreter.reduce(name, native, axes, acc)
    return made


CHEAP = 8  # operations as fast as an addition
SEGMENT = 16384  # elements that one partial result stands for
SEGMENT_ROWS, FEWEST_ROWS = 128, 16  # at most, and at least where there is work for several threads
SHARES = 24  # items that are enough for the threads to share the work


def _as_in_memory(shape: tuple, strides: list, axes: tuple) -> list[int]:
    """The dimensions in the order in which the largest operand has them in memory, as far as results are in order.

    So dimensions that are reduced may go anywhere, and those that are kept stay as they are among themselves.
    """
    spans = [numel(tuple([n for n, step in zip(shape, s) if step])) for s in strides]
    most = strides[spans.index(max(spans))] if spans else (0,) * len(shape)
    kept = [d for d in range(len(shape)) if d not in axes]
    order: list[int] = []
    for d in sorted(axes, key=lambda d: -abs(most[d])):
        while kept and abs(most[kept[0]]) >= abs(most[d]):
            order.append(kept.pop(0))
        order.append(d)
    return order + kept


def _plan_reduce(
    leaves: list, code: tuple, source: Any, shape: tuple, axes: tuple, name: str, acc: dtypes.dtype, key: tuple,
    writes: bool,
) -> ReducePlan:  # fmt: skip
    if len(_reduce_plans) >= MAX_PLANS:
        _reduce_plans.clear()
    plan = ReducePlan()
    elements = plan.elements = numel(shape)
    plan.kernel = plan.partial = None
    plan.count = numel(tuple([shape[d] for d in axes]))
    plan.divides = False
    if elements == 0:
        _reduce_plans[key] = plan
        return plan
    strides = [broadcast_strides(leaf.array, shape) for leaf in leaves]
    if writes:
        strides.append(arrays.contiguous_strides(shape))
    # What is written as well is written in the order of its own memory.
    order = list(range(len(shape))) if writes else _as_in_memory(shape, strides, axes)
    kinds = tuple("r" if d in axes else "k" for d in order)
    sizes, merged, labels = merged_dims(
        tuple([shape[d] for d in order]), [tuple([s[d] for d in order]) for s in strides], kinds
    )
    if not labels:
        sizes, labels, merged = [1], ["r"], [[0] for _ in strides]
    kept = [d for d, k in enumerate(labels[:-1]) if k == "k"]
    outer = [d for d, k in enumerate(labels[:-1]) if k == "r"]
    classes = tuple(CONTIGUOUS if m[-1] == 1 else SCALAR if m[-1] == 0 else STRIDED for m in merged)
    rows = labels[-1] == "r"
    inner = sizes[-1]
    outer_sizes = [sizes[d] for d in outer]
    outer_total = numel(tuple(outer_sizes))
    kept_sizes = [sizes[d] for d in kept]
    items = numel(tuple(kept_sizes))
    if rows:
        length, limit = (max(1, SEGMENT // inner), outer_total) if outer else (SEGMENT, inner)
        if limit < 2 * length:
            length = limit
        segments = -(-limit // length)
        plan.partial = (items, segments)
        head = [inner, segments, length]
        plan.total = items * segments
    else:
        blocks = -(-inner // COLUMN_BLOCK)
        length = SEGMENT_ROWS
        if elements >= GRAIN:
            wanted = -(-SHARES // (items * blocks))
            length = max(FEWEST_ROWS, min(SEGMENT_ROWS, outer_total // wanted))
        if outer_total < 2 * length:
            length = outer_total
        segments = -(-outer_total // length)
        plan.partial = (items, segments, inner)
        head = [inner, blocks, segments, length]
        plan.total = items * segments * blocks
    if segments == 1:
        plan.partial = None
    else:
        name = REDUCTIONS[name].parts
    scheme = "rows" if rows else "columns"
    plan.kernel = kernel = kernels.reduce_kernel(
        scheme, name, acc, code, source, classes, len(kept), len(outer), writes
    )
    plan.divides = REDUCTIONS[name].divides
    words = [*head, *kept_sizes, *arrays.contiguous_strides(tuple(kept_sizes)), *outer_sizes, outer_total]
    for m in merged:
        words += [m[d] for d in kept]
    for m in merged:
        words += [m[d] for d in outer]
    words += [m[-1] for m in merged]
    plan.tail = struct.pack(f"={len(words)}q", *words)
    plan.grain = GRAIN // (max(1, elements // plan.total) * kernel.cost) + 1
    _reduce_plans[key] = plan
    return plan


value.evaluate_hook = evaluate
