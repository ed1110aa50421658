"""Running row programs (`ops.rowprogram`): how their operands are laid out, and which way they run.

Operands that lie in memory, row-major, are launched `again` as those of the same shapes and dtypes were before.

A row program runs as one kernel, with the pending work that feeds it. Where there are few rows and they are long, it
runs as reductions and elementwise kernels instead, which share one row among the threads; which it is depends on sizes
alone, so results do not depend on the number of threads.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from .. import dtypes, native
from ..codegen import kernels, rowshape
from ..codegen.layout import CONTIGUOUS, SCALAR, STRIDED
from ..devices import cpu
from ..native import hot, slotted
from ..observe import WATCH
from ..ops.rowprogram import RowProgram
from ..runtime import array as arrays
from ..runtime import interpreter, pool
from ..runtime.array import Array, numel
from . import backend, log, turned, value
from .evaluate import evaluate, lock
from .fuse import fused_source
from .plans import GRAIN, MAX_PLANS, finish_outside, layouts
from .program import broadcast_strides, merged_dims
from .reduce import SHARES, reduce_array
from .value import Value

# With fewer rows than FEW, a row that takes more than LONG bytes is not left to one thread.
FEW = 8
LONG = 256 << 10
MAX_LEAVES = 96
SEGMENT_ROWS, FEWEST_ROWS = 128, 4  # rows that sums over rows are added up from, at most and at least


@slotted
class Plan:
    """What follows from a program, its operands' code and layouts, and the sizes."""

    __slots__ = ("kernel", "tail", "total", "grain", "elements", "sums", "turned")


_plans: dict[tuple, Plan] = kernels.holds_plans({})


@slotted
class Launch:
    """What is the same whenever a program runs on operands in memory of certain shapes. shapes: of the results."""

    __slots__ = ("plan", "shapes", "dtypes")


_launches: dict[tuple, Launch] = kernels.holds_plans({})


@hot
def _described(program: RowProgram, given: Any, dims: tuple, results: tuple) -> tuple | None:
    """What a launch is known by, where all operands lie in the CPU's memory, row-major; else None."""
    key: list = [program, dims, results]
    for v in given:
        a = v.array
        if a is None or not a.contiguous or a.device is not cpu:
            return None
        key.append(a.shape)
        key.append(a.dtype)
    return tuple(key)


@hot
def again(program: RowProgram, given: tuple, numbers: tuple, dims: tuple, results: tuple) -> Any:
    """The result of a program, or the tuple of them, where the like of it has run before; None where it has not."""
    launch = _launches.get(_described(program, given, dims, results))
    if launch is None or WATCH.observer is not None or kernels.Policy.mode == "never":
        return None
    if native.Start.left:
        native.launched()
    plan = launch.plan
    made = []
    pointers = []
    for shape, d in zip(launch.shapes, launch.dtypes):
        a = arrays.empty(shape, d)
        made.append(a)
        pointers.append(a.ptr)
    for v in given:
        pointers.append(v.array.ptr)
    pool.enqueue(plan.kernel.address, plan.kernel.pack(*pointers, *numbers) + plan.tail, plan.total, plan.grain)
    finish_outside(given)
    return value.from_array(made[0]) if len(made) == 1 else tuple([value.from_array(a) for a in made])


def _note(program: RowProgram, inputs: list, dims: tuple, results: tuple, plan: Plan, made: list) -> None:
    """Have the like of a launch that has just been made run by `again` from now on."""
    key = _described(program, inputs, dims, results)
    if key is None:
        return
    launch = Launch()
    launch.plan, launch.shapes, launch.dtypes = plan, tuple([a.shape for a in made]), results
    if len(_launches) >= MAX_PLANS:
        _launches.clear()
    _launches[key] = launch


@hot
def few_long_rows(shape: tuple, dims: tuple, itemsize: int) -> bool:
    """Whether one row is too much for one thread, and there are not enough of them for all."""
    length = numel(tuple([shape[d] for d in dims]))
    return length * itemsize > LONG and numel(shape) < FEW * length


@hot
def adds_up(shape: tuple, dims: tuple, itemsize: int) -> bool:
    """Whether programs over such rows may have results that are added up over all of them."""
    lead = len(shape) - len(dims)
    if lead < 1 or dims != tuple(range(lead, len(shape))) or numel(shape[lead:]) < 2 or not numel(shape):
        return False
    return not few_long_rows(shape, dims, itemsize)


@hot
def run(
    program: RowProgram, inputs: list[Value], numbers: tuple, dims: tuple, shape: tuple, compute: dtypes.dtype,
    results: tuple,
) -> tuple[Value, ...]:  # fmt: skip
    """The results of a row program over the index space `shape`, to which the inputs broadcast.

    dims: the dimensions that make up a row. results: the dtype of each result. A result with one value a row keeps
    the reduced dimensions with size 1; one that is added up over all rows, the others. The latter are computed in
    `compute`, on the CPU, where `adds_up` allows it.
    """
    with lock:
        pieces = _pieces(inputs, shape)
        leaves: list[Value] = []
        key_parts: list = []
        params: tuple = ()
        for v, piece in zip(inputs, pieces):
            own = [v] if piece is None else piece.leaves
            key_parts.append(((), v.dtype) if piece is None else (piece.code, v.dtype))
            if piece is not None:
                params += piece.params
            leaves += own
        observer = WATCH.observer
        token = None
        if observer is not None:
            fused = _nodes(pieces)
            token = observer.begin(program.name, fused, leaves, (), shape, "rows")
        row_shape = tuple([1 if d in dims else n for d, n in enumerate(shape)])
        device = inputs[0].device
        written = len(results) - program.added
        made = []
        for k in range(written):
            made.append(arrays.empty_on(device, shape if program.full[k] else row_shape, results[k]))
        if device is not cpu:
            how = _elsewhere(program, compute, results, shape, dims, inputs, pieces, leaves, made, numbers, params)
            if observer is not None:
                observer.end(token, how)
            return tuple([value.from_array(a) for a in made])
        key = (program, compute, results, shape, dims, tuple(key_parts), layouts(leaves, shape))
        plan = _plans.get(key)
        if plan is None:
            plan = _plan(program, compute, results, shape, dims, inputs, pieces, leaves, key)
        if plan.turned:
            leaves = turned.in_order(leaves, plan.turned)
            key = (program, compute, results, shape, dims, tuple(key_parts), layouts(leaves, shape))
            plan = _plans.get(key)
            if plan is None:
                plan = _plan(program, compute, results, shape, dims, inputs, pieces, leaves, key)
        kernel = plan.kernel
        how = ""
        if kernel is None or not (
            (kernel.address and kernels.Policy.mode != "never") or kernel.available(plan.elements)
        ):
            for d in results[written:]:
                made.append(arrays.empty(tuple([n if d in dims else 1 for d, n in enumerate(shape)]), d))
            how = _tier0(program, compute, shape, dims, inputs, pieces, made, numbers)
        else:
            pointers = [a.ptr for a in made]
            if program.added:
                sums = arrays.empty(plan.sums, compute)
                for k in range(program.added):
                    pointers.append(sums.ptr + k * plan.sums[2] * compute.itemsize)
            for leaf in leaves:
                pointers.append(leaf.array.ptr)  # type: ignore[union-attr]
            args = kernel.pack(*pointers, *numbers, *params) + plan.tail
            pool.enqueue(kernel.address, args, plan.total, plan.grain)
            finish_outside(leaves)
            if program.added:
                made += _added_up(sums, dims, shape)
            elif not params and not plan.turned and observer is None:
                _note(program, inputs, dims, results, plan, made)
        if observer is not None:
            observer.end(token, how or log.origin(kernel))
        return tuple([value.from_array(a) for a in made])


def _nodes(pieces: list) -> list[Value]:
    return [v for piece in pieces if piece is not None for v in piece.nodes]


def _elsewhere(
    program: RowProgram, compute: dtypes.dtype, results: tuple, shape: tuple, dims: tuple, inputs: list, pieces: list,
    leaves: list, made: list, numbers: tuple, params: tuple,
) -> str:  # fmt: skip
    if inputs[0].device.type == "meta":
        return "no data"
    from . import cuda_rows  # it depends on this module, and is needed where there is such a device

    how = cuda_rows.run(program, compute, results, shape, dims, inputs, pieces, leaves, made, numbers, params)
    return _tier0(program, compute, shape, dims, inputs, pieces, made, numbers) if how is None else how


@hot
def _added_up(sums: Array, dims: tuple, shape: tuple) -> list[Array]:
    """The sums over all rows, of those over segments: (segments, results, places)."""
    segments, results, places = sums.shape
    if segments > 1:
        sums = reduce_array(value.from_array(sums), "sum", (0,), sums.dtype, "partial results", 0)
    row = tuple([n if d in dims else 1 for d, n in enumerate(shape)])
    strides = arrays.contiguous_strides(row)
    return [Array(sums.block, sums.offset + k * places, row, strides, sums.dtype, True) for k in range(results)]


def _tier0(
    program: RowProgram, compute: dtypes.dtype, shape: tuple, dims: tuple, inputs: list, pieces: list, made: list,
    numbers: tuple,
) -> str:  # fmt: skip
    with backend.on(inputs[0].device), np.errstate(all="ignore"):
        native = [_native(v, piece, shape) for v, piece in zip(inputs, pieces)]
        for target, a in zip(made, program.numpy(native, numbers, dims, compute)):
            target.native()[...] = a
    return "tier 0"


@hot
def _pieces(inputs: list[Value], shape: tuple) -> list:
    """For each input the pending work that goes into the kernel, or None."""
    pieces = []
    seen: list = []
    for v in inputs:
        for other in seen:
            if other is v:
                evaluate(v, "needed twice")
        seen.append(v)
    for v in inputs:
        pieces.append(fused_source(v, "rows", v.shape != shape))
    # Evaluating one input's operands can bring along what another one was to be made of.
    leaves = 0
    for i, piece in enumerate(pieces):
        if piece is None:
            leaves += 1
            continue
        leaves += len(piece.leaves)
        for n in piece.nodes:
            if n.array is not None:
                evaluate(inputs[i], "rows")
                pieces[i] = None
                break
    if leaves > MAX_LEAVES:
        for i, v in enumerate(inputs):
            evaluate(v, "bound: arguments")
            pieces[i] = None
    return pieces


def _native(v: Value, piece: Any, shape: tuple) -> Any:
    a = v.native() if piece is None else interpreter.run_piece(piece.nodes)[-1]
    return interpreter.broadcast(a, shape)


def _plan(
    program: RowProgram, compute: Any, results: tuple, shape: tuple, dims: tuple, inputs: list, pieces: list,
    leaves: list, key: tuple,
) -> Plan:  # fmt: skip
    if len(_plans) >= MAX_PLANS:
        _plans.clear()
    plan = Plan()
    plan.elements = numel(shape)
    plan.kernel = None
    plan.turned = turned.turned_leaves(leaves)
    if plan.elements and not plan.turned:
        _lay_out(plan, program, compute, results, shape, dims, inputs, pieces, leaves)
    _plans[key] = plan
    return plan


def _lay_out(
    plan: Plan, program: RowProgram, compute: Any, results: tuple, shape: tuple, dims: tuple, inputs: list,
    pieces: list, leaves: list,
) -> None:  # fmt: skip
    own = arrays.contiguous_strides(shape)
    full = [k for k, f in enumerate(program.full) if f and not program.is_added(k)]
    strides = [broadcast_strides(leaf.array, shape) for leaf in leaves] + [own for _ in full]
    kinds = tuple("r" if d in dims else "k" for d in range(len(shape)))
    sizes, merged, labels = merged_dims(shape, strides, kinds)
    if not sizes or (labels[-1] == "k" and "r" not in labels):
        # Rows of one element: lanes are still different rows where there are several.
        sizes, labels = ([*sizes], [*labels]) if sizes else ([1], ["r"])
        merged = merged if merged and merged[0] else [[0] for _ in strides]
    across = labels[-1] == "k"
    kept = [d for d, k in enumerate(labels[:-1]) if k == "k"]
    outer = [d for d, k in enumerate(labels[:-1]) if k == "r"]
    classes = tuple(CONTIGUOUS if m[-1] == 1 else SCALAR if m[-1] == 0 else STRIDED for m in merged[: len(leaves)])
    described = tuple(
        rowshape.Input((), v.dtype, 1) if p is None else rowshape.Input(p.code, v.dtype, len(p.leaves))
        for v, p in zip(inputs, pieces)
    )
    made = rowshape.Shape(program, compute, described, results, classes, len(kept), len(outer), across)
    plan.kernel = kernels.row_kernel(made)
    inner = sizes[-1]
    kept_sizes, outer_sizes = [sizes[d] for d in kept], [sizes[d] for d in outer]
    words = [inner]
    plan.total = numel(tuple(kept_sizes))
    if across:
        block = rowshape.unroll(made) * rowshape.vector_width(made)
        blocks = -(-inner // block)
        words.append(blocks)
        plan.total *= blocks
    if program.added:
        rows, places = plan.total, numel(tuple([shape[d] for d in dims]))
        # Enough segments for the threads to share, each long enough to be worth its rows of sums.
        length = SEGMENT_ROWS if plan.elements < GRAIN else max(FEWEST_ROWS, rows // SHARES)
        length = min(length, SEGMENT_ROWS, rows)
        plan.total = -(-rows // length)
        plan.sums = (plan.total, program.added, places)
        words += [rows, length]
    words += [*kept_sizes, *outer_sizes, numel(tuple(outer_sizes))]
    for m in merged[: len(leaves)]:
        words += [*(m[d] for d in kept), *(m[d] for d in outer), m[-1]]
    by_result = dict(zip(full, merged[len(leaves) :]))
    for k in full:
        m = by_result[k]
        words += [*(m[d] for d in kept), *(m[d] for d in outer)]
    plan.tail = struct.pack(f"={len(words)}q", *words)
    plan.grain = GRAIN // (max(1, plan.elements // plan.total) * plan.kernel.cost) + 1
