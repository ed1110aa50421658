"""Evaluation of elementwise programs on CUDA devices: which launch a program takes, and what it is given.

What is written, and what is reused, is decided as on the CPU (see `lazy.evaluate` and `lazy.reuse`).
"""

from __future__ import annotations

from typing import Any

from ..codegen.gpu.kernels import Launch
from ..codegen.gpu.plan import join, plan_map
from ..codegen.layout import CONTIGUOUS, STRIDED
from ..devices import cpu
from ..observe import WATCH
from ..runtime.array import Array, numel
from ..runtime.cuda import driver, memory
from ..runtime.raw import peek
from . import log
from .batch import BATCHES
from .evaluate import evaluate, finish, interpret
from .plans import MAX_PLANS
from .program import Piece, broadcast_strides, flat, linearize, merged_dims
from .reuse import OVERWRITTEN, empty_reused, reusable, take
from .value import Value, settle

# What fills a device so often is not worth putting off: starting it takes no time beside what it does.
SMALL = 16  # blocks for each multiprocessor
NUMBER = "a number of the CPU's"  # the layout of such a leaf


class Plan:
    """What follows from a program's code, the layouts of its leaves and their alignment.

    classes: of the leaves, for reusing their memory. small: it is worth waiting for others to be launched with it.
    """

    __slots__ = ("launch", "classes", "small")
    launch: Launch


_plans: dict[tuple, Plan] = {}


class _Batch:
    """Launches put off until several can run as one. Their results become ready when they have been launched."""

    def __init__(self) -> None:
        self.jobs: dict[tuple, list[tuple[Launch, bytes]]] = {}  # by device and kernel
        self.results: dict[Value, Array] = {}
        self.keep: list = []  # operands: what is overwritten is emptied, but its memory must stay

    def run(self) -> None:
        jobs, self.jobs = self.jobs, {}
        observer = WATCH.observer if jobs else None
        token = None if observer is None else observer.begin_batch()
        for (index, kernel), launches in jobs.items():
            together = kernel.together
            if together is not None and len(launches) > 1 and driver.loadable(together, index):
                launches = join(launches)
            for launch, args in launches:
                driver.launch(launch, index, args)
        if observer is not None:
            observer.end(token, "")
        for v, a in self.results.items():
            settle(v, a)
        self.results.clear()
        self.keep.clear()
        if jobs and driver.HELD.entries:  # an optimizer's step ends here
            driver.HELD.release()


_batch = _Batch()
BATCHES.append(_batch)


def run(root: Value, reason: str, together: bool) -> None:
    """Evaluate a pending value, and with it what somebody can still ask for on the way.

    together: others follow, and this may be put off to be launched with them.
    """
    if root in _batch.results:
        if not together:
            _batch.run()
        return
    piece = linearize(root, evaluate)
    if not _batch.results.keys().isdisjoint(piece.nodes):
        _batch.run()  # this reads what a launch that was put off will write
        if root.array is None:
            piece = linearize(root, evaluate)
    if root.array is not None:  # evaluating an operand can bring the root along
        return
    shape = root.shape
    nodes, leaves, outputs = piece.nodes, piece.leaves, piece.outputs
    observer = WATCH.observer
    token = None if observer is None else observer.begin("", nodes, leaves, outputs, shape, reason)
    if 0 in shape:
        finish(piece, [memory.empty(shape, nodes[j].dtype, root.device) for j in outputs])
        if observer is not None:
            observer.end(token, "hit")
        return
    index = root.device.index
    plan = _plan(piece, shape, index)
    kernel = plan.launch.kernel
    if not driver.loadable(kernel, index):
        finish(piece, interpret(piece))
        if observer is not None:
            observer.end(token, "tier 0")
        return
    made = _outputs(piece, plan, root)
    addresses = [memory.address(a) for a in made] + [word(leaf) for leaf in leaves]
    args = kernel.pack(*addresses, *piece.params) + plan.launch.tail
    if together and plan.small and not piece.relabels:
        _batch.jobs.setdefault((index, kernel), []).append((plan.launch, args))
        _batch.results.update(zip([nodes[j] for j in outputs], made))
        _batch.keep.append([leaf.array for leaf in leaves])
        empty_reused(leaves, made)
        if observer is not None:
            observer.postponed(token, log.origin(kernel))
        return
    empty_reused(leaves, made)
    driver.launch(plan.launch, index, args)
    finish(piece, made)
    if observer is not None:
        observer.end(token, log.origin(kernel))


def _plan(piece: Piece, shape: tuple, index: int) -> Plan:
    layouts = []
    low = 16
    for leaf in piece.leaves:
        a: Array = leaf.array  # type: ignore[assignment]
        if a.device is cpu:
            layouts.append(NUMBER)
            continue
        same = flat(a, shape)
        layouts.append(None if same else (a.shape, a.strides))
        if same or numel(a.shape) != 1:
            low |= memory.address(a)
    alignment = low & -low
    key = (piece.code, piece.outputs, shape, tuple(layouts), alignment, index)
    plan = _plans.get(key)
    if plan is None:
        plan = Plan()
        over = [
            (0,) * len(shape) if how is NUMBER else broadcast_strides(v.array, shape)
            for how, v in zip(layouts, piece.leaves)
        ]
        sizes, merged, _ = merged_dims(shape, over)
        if not sizes:
            sizes, merged = [1], [[0] for _ in over]
        strides = [None if how is NUMBER else m for how, m in zip(layouts, merged)]
        multiprocessors = driver.multiprocessors(index)
        plan.launch = plan_map(piece.code, piece.outputs, sizes, strides, alignment, multiprocessors)
        plan.small = plan.launch.kernel.together is not None and plan.launch.blocks <= SMALL * multiprocessors
        plan.classes = [CONTIGUOUS if how is None else STRIDED for how in layouts]
        if len(_plans) >= MAX_PLANS:
            _plans.clear()
        _plans[key] = plan
    return plan


def word(leaf: Value) -> int:
    """What a leaf is to the kernel: its address, or its bits if it is a number of the CPU's."""
    a: Array = leaf.array  # type: ignore[assignment]
    if a.device is cpu:
        return int.from_bytes(peek(a.ptr, a.dtype.itemsize), "little", signed=True)
    return memory.address(a)


def _outputs(piece: Piece, plan: Plan, root: Value) -> list[Array]:
    """Memory for what is written; the buffer of an operand that an in-place operator replaced is used again."""
    free: Any = ()
    if any(leaf.owner is OVERWRITTEN for leaf in piece.leaves):
        free = reusable(piece, plan.classes)
    made = []
    for j in piece.outputs:
        d = piece.nodes[j].dtype
        old = take(free, d.itemsize) if free else None
        if old is None:
            made.append(memory.empty(root.shape, d, root.device))
        else:
            made.append(memory.again(old, root.shape, d))
    return made
