"""Evaluation: turning pending values into memory.

A pending value is evaluated when, and only when
  * its data is read (item, numpy, print, bool, DLPack, saving),
  * an operator that is not elementwise needs it,
  * a bound on the pending graph is reached (see `lazy.value`), or
  * `livegrad.eval` asks for it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from typing import Any

from .. import native
from ..codegen import kernels
from ..devices import cpu
from ..native import hot
from ..observe import WATCH
from ..runtime import array as arrays
from ..runtime import interpreter, pool
from ..runtime.array import Array
from ..runtime.memory import allocate
from ..runtime.refusal import out_of_memory_for
from . import backend, log, single, turned, value
from . import value as values
from .batch import BATCH, BATCHES, launch_jobs
from .plans import MAP_PLANS, MAX_PLANS, MapPlan, layouts, plan_map
from .program import linearize
from .reuse import OVERWRITTEN, ValueLost, empty_reused, reusable, take
from .value import BATCHED, EAGER, Bound, Value, settle, take_memory

# A piece of many operators on few elements that has no kernel (yet) is run operator by operator: each of them has one
# by then, in most programs, and calling it takes a fraction of what NumPy takes. So chains that are different each time
# (the step sizes of a solver, say) are never compiled, nor interpreted.
LONG, SHORT = 16, 256
_met: set[tuple] = set()

# One evaluation at a time: counts and buffers of the pending graph are shared by all threads.
lock = threading.RLock()
if hasattr(os, "register_at_fork"):  # a child must not find an evaluation of another thread half done
    os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)


def _noticed_end(root: Value) -> bool:
    """Whether `root` may stay pending: eager mode may have ended without a word, by an interruption."""
    values.end_eager_blocks()
    return root.weight <= Bound.limit


@hot
def evaluate(root: Value, reason: str) -> None:
    """Make `root` ready."""
    if root.weight >= BATCHED:
        values.batch_hook(root)
        return
    if EAGER and reason == "bound reached" and _noticed_end(root):
        return
    if WATCH.bound is not None and reason == "bound reached" and WATCH.observer.recorded(root):  # type: ignore[union-attr]
        return
    if native.Start.left:
        native.launched()
    with lock:
        if root.array is None and (BATCH.jobs or not single.run(root)):
            _run_map(root, reason)


@hot
def launch_together(jobs: list, grain: int) -> None:
    """Launch jobs (kernel address, arguments, work items), none of which reads what another one writes, as one."""
    with lock:
        launch_jobs(jobs, grain)


def _heaviest_first(values: list[Value]) -> None:
    values.sort(key=lambda v: -v.weight)


@hot
def evaluate_all(roots: Iterable[Value], reason: str) -> None:
    """Make several values ready, in one launch where that can be; what another one needs is written along with it."""
    if native.Start.left:
        native.launched()
    with lock:
        waiting = [v for v in roots if v.array is None and v.weight < BATCHED]
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
        if v.array is None and v not in BATCH.results:
            _run_map(v, reason, True)


def _run_elsewhere(root: Value, reason: str, together: bool) -> None:
    if root.device.type == "meta":
        settle(root, arrays.empty_on(root.device, root.shape, root.dtype))
        return
    from . import cuda  # it depends on this module, and is needed where there is such a device

    cuda.run(root, reason, together)


@hot
def _run_source(root: Value, reason: str, together: bool) -> None:
    """Evaluate what is only relabelled here."""
    source = root.operands[0]
    if root.device is not cpu:
        together = False
    if source.array is None:
        if source not in BATCH.results:
            _run_map(source, reason, together)
        elif not together:
            BATCH.run()
    if source.array is not None:
        take_memory(root)
    else:
        BATCH.relabels.append(root)


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
    if BATCH.jobs and BATCH.makes(piece.nodes):
        BATCH.run()  # this reads what a launch that was put off will write
        if root.array is None:
            piece = linearize(root, evaluate)
    if root.array is not None:  # evaluating an operand can bring the root along
        return
    shape = root.shape
    nodes, leaves, outputs = piece.nodes, piece.leaves, piece.outputs
    key = (piece.code, outputs, shape, layouts(leaves, shape))
    plan = MAP_PLANS.get(key)
    if plan is None:
        if _is_apart(nodes, shape) and _met_first(key):
            _one_by_one(nodes, reason)
            return
        plan = plan_map(piece, shape, key)
    if plan.turned:
        leaves = piece.leaves = turned.in_order(leaves, plan.turned)
        key = (piece.code, outputs, shape, layouts(leaves, shape))
        plan = MAP_PLANS.get(key)
        if plan is None:
            plan = plan_map(piece, shape, key)
    n = plan.elements
    kernel = plan.kernel
    by_numpy = bool(n) and not (kernel.address and kernels.Policy.mode != "never") and not kernel.available(n)
    if by_numpy and _is_apart(nodes, shape):
        _one_by_one(nodes, reason)
        return
    observer = WATCH.observer
    token = None if observer is None else observer.begin("", nodes, leaves, outputs, shape, reason)
    postponed = False
    if by_numpy:
        made = interpret(piece)
        how = "tier 0"
    else:
        made = _outputs(piece, shape, plan)
        if n:
            pointers = [a.ptr for a in made]
            outside = False
            for leaf in leaves:
                a = leaf.array
                pointers.append(a.ptr)
                if a.block.outside:
                    outside = True
            args = kernel.pack(*pointers, *piece.params) + plan.tail
            if together and plan.total > plan.alone and not outside:
                BATCH.add(plan, args, leaves, [nodes[j] for j in outputs], made)
                BATCH.relabels.extend(piece.relabels)
                empty_reused(leaves, made)
                postponed = True
            else:
                empty_reused(leaves, made)
                pool.enqueue(kernel.address, args, plan.total, plan.grain)
                if outside:
                    pool.finish()
                if len(nodes) == 1 and not plan.noted:
                    single.remember(piece, plan)
        how = ""
    if not postponed:
        finish(piece, made)
    if observer is not None:
        if postponed:
            observer.postponed(token, how or log.origin(kernel))
        else:
            observer.end(token, how or log.origin(kernel))


@hot
def _is_apart(nodes: list[Value], shape: tuple) -> bool:
    """Whether a piece is better run operator by operator than by NumPy."""
    return len(nodes) >= LONG and arrays.numel(shape) <= SHORT and kernels.Policy.mode == "auto"


@hot
def _met_first(key: tuple) -> bool:
    """Whether a structure has not been met before, and so is not worth a plan."""
    if key in _met:
        return False
    if len(_met) >= MAX_PLANS:
        _met.clear()
    _met.add(key)
    return True


@hot
def _one_by_one(nodes: list[Value], reason: str) -> None:
    for v in nodes:
        if v.array is None and not single.run(v):
            _run_map(v, reason)


@hot
def _outputs(piece: Any, shape: tuple, plan: MapPlan) -> list[Array]:
    """Memory for what is written; the buffer of an operand that an in-place operator replaced is used again."""
    free = ()
    if plan.classes is not None:
        for leaf in piece.leaves:
            if leaf.owner is OVERWRITTEN:
                free = reusable(piece, plan.classes)
                break
    made = []
    for d, size in zip(plan.dtypes, plan.sizes):
        if free:
            old = take(free, d.itemsize)
            if old is not None:
                made.append(Array(old.block, old.offset, shape, plan.strides, d, True))
                continue
        try:
            block = allocate(size)
        except MemoryError as refused:
            raise out_of_memory_for(refused, shape, d)  # noqa: B904  (hot functions know no `from`)
        made.append(Array(block, 0, shape, plan.strides, d, True))
    return made


def interpret(piece: Any) -> list[Array]:
    with backend.on(piece.nodes[-1].device):
        results = interpreter.run_piece(piece.nodes)
        made = []
        for j in piece.outputs:
            v = piece.nodes[j]
            target = arrays.empty_on(v.device, v.shape, v.dtype)
            target.native()[...] = results[j]
            made.append(target)
    return made


value.evaluate_hook = evaluate
