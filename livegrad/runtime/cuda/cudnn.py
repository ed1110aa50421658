"""cuDNN, through `nvidia-cudnn-frontend`: found when it is asked for; convolutions and their gradients.

A convolution is a graph of one node. cuDNN's plan for it is kept by device and by everything that it depends on: sizes,
layouts, dtype and settings. Which plan that is, cuDNN guesses; with `backends.cudnn.benchmark` its plans are timed at
the first such convolution, on its operands.
"""

from __future__ import annotations

import functools
import importlib
from typing import Any, NamedTuple

from ... import dtypes
from ...backends import cudnn as settings
from ...observe import WATCH
from ...site import warn
from ..array import Array, contiguous_strides, numel
from . import driver, ledger, memory

TYPES = {dtypes.float32: "FLOAT", dtypes.float64: "DOUBLE", dtypes.float16: "HALF", dtypes.bfloat16: "BFLOAT16"}


@functools.cache
def library() -> Any:
    """The frontend's module, or None where there is no device, no frontend or no cuDNN that fits it."""
    if not driver.available():
        return None
    try:
        found = importlib.import_module("cudnn")
        found.backend_version()
    except Exception:  # not installed, or libcudnn is not found
        return None
    return found


def available() -> bool:
    """Whether cuDNN can be used."""
    return library() is not None


def version() -> int | None:
    """cuDNN's version, or None."""
    found = library()
    return None if found is None else int(found.backend_version())


@functools.cache
def handle(index: int) -> Any:
    """cuDNN's handle for the current device, whose index this is."""
    return library().create_handle()


class Planned(NamedTuple):
    """A graph that can be run, and the bytes that it needs beside. place: the plan to run; cuDNN's choice for None."""

    graph: Any
    nbytes: int
    place: int | None = None


def ready(graph: Any, unwanted: list, every: bool = False) -> Planned:
    """A graph with a plan that has none of the notes `unwanted`. Raises the library's errors where there is none.

    every: with all such plans, to be timed.
    """
    cudnn = library()
    graph.validate()
    graph.build_operation_graph()
    graph.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
    if unwanted:
        graph.deselect_numeric_notes(unwanted)
    graph.check_support()
    policy = cudnn.build_plan_policy
    graph.build_plans(policy.ALL if every else policy.HEURISTICS_CHOICE)
    return Planned(graph, int(graph.get_workspace_size()))


def refused(error: Exception) -> None:
    """Say why a graph has no plan, unless it is just that cuDNN does not do this."""
    if not isinstance(error, library().cudnnGraphNotSupportedError):
        warn(f"cuDNN is not used for an operator: {type(error).__name__}: {error}")


def run(planned: Planned, index: int, *arrays: Array) -> None:
    """Run a graph on the current device, whose index this is, and stream; its tensors are numbered from 1."""
    cuda = driver.cupy().cuda
    beside = cuda.alloc(planned.nbytes)
    library().set_stream(handle(index), cuda.get_current_stream().ptr)
    addresses = {uid: memory.address(a) for uid, a in enumerate(arrays, 1)}
    if planned.place is None:
        planned.graph.execute(addresses, int(beside.ptr), handle=handle(index))
    else:
        planned.graph.execute_plan_at_index(addresses, int(beside.ptr), planned.place, handle=handle(index))


class Convolution(NamedTuple):
    """All that cuDNN's plan depends on.

    kind: "forward" of (image, weight), "input" of (loss, weight) or "weight" of (image, loss).
    first, second, result: (shape, strides), of two or three spatial dimensions. before, after: the padding.
    """

    kind: str
    dtype: dtypes.dtype
    first: tuple[tuple, tuple]
    second: tuple[tuple, tuple]
    result: tuple[tuple, tuple]
    before: tuple
    after: tuple
    stride: tuple
    dilation: tuple
    tf32: bool
    deterministic: bool


_ARGUMENTS = {
    "forward": ("conv_fprop", "image", "weight"),
    "input": ("conv_dgrad", "loss", "filter"),
    "weight": ("conv_wgrad", "image", "loss"),
}


def closing_padding(size: int, out: int, window: int, stride: int, padding: int, dilation: int) -> int | None:
    """The padding at the end with which a convolution has `out` results; None if there is no such."""
    needed = (out - 1) * stride + (window - 1) * dilation + 1 - size - padding
    for after in (padding, max(needed, 0)):
        if (size + padding + after - (window - 1) * dilation - 1) // stride + 1 == out:
            return after
    return None


def describe(
    kind: str, a: Array, b: Array, shape: tuple, image: tuple, out: tuple, window: tuple, stride: tuple,
    padding: tuple, dilation: tuple,
) -> Convolution | None:  # fmt: skip
    """The convolution for two operands and a result's shape; None where cuDNN has none.

    image, out, window: spatial sizes. One spatial dimension becomes two.
    """
    after = tuple(map(closing_padding, image, out, window, stride, padding, dilation))
    if None in after or len(image) > 3:
        return None
    flat = len(image) == 1

    def two(shape: tuple, strides: tuple) -> tuple[tuple, tuple]:
        if not flat:
            return tuple(shape), tuple(strides)
        return (*shape[:2], 1, shape[2]), (*strides[:2], strides[2] * shape[2], strides[2])

    def options(values: tuple, added: int) -> tuple:
        return (added, *values) if flat else tuple(values)

    return Convolution(
        kind, a.dtype, two(a.shape, a.strides), two(b.shape, b.strides), two(shape, contiguous_strides(shape)),
        options(padding, 0), options(after, 0), options(stride, 1), options(dilation, 1),  # type: ignore[arg-type]
        settings.allow_tf32, settings.deterministic,
    )  # fmt: skip


@functools.lru_cache(1024)
def _plan(index: int, c: Convolution, every: bool = False) -> Planned | None:
    """cuDNN's graph, ready to run on the current device; None if it has none. every: with all plans, to be timed."""
    cudnn = library()
    kinds = cudnn.data_type
    io = getattr(kinds, TYPES[c.dtype])
    compute = kinds.DOUBLE if c.dtype is dtypes.float64 else kinds.FLOAT
    try:
        graph = cudnn.pygraph(
            io_data_type=io, intermediate_data_type=compute, compute_data_type=compute, handle=handle(index)
        )
        name, *roles = _ARGUMENTS[c.kind]
        operands = {
            role: graph.tensor(name=role, dim=list(shape), stride=list(strides), data_type=io, uid=uid)
            for uid, (role, (shape, strides)) in enumerate(zip(roles, (c.first, c.second)), 1)
        }
        result = getattr(graph, name)(
            **operands, pre_padding=list(c.before), post_padding=list(c.after), stride=list(c.stride),
            dilation=list(c.dilation), compute_data_type=compute,
        )  # fmt: skip
        result.set_output(True).set_data_type(io).set_uid(3)
        result.set_dim(list(c.result[0])).set_stride(list(c.result[1]))
        unwanted = [cudnn.numerical_note.NONDETERMINISTIC] if c.deterministic else []
        if c.dtype is dtypes.float32 and not c.tf32:
            unwanted += [cudnn.numerical_note.TENSOR_CORE, cudnn.numerical_note.DOWN_CONVERT_INPUTS]
        return ready(graph, unwanted, every)
    except Exception as error:
        refused(error)
        return None


_fastest: dict[tuple[int, Convolution], Planned] = {}
_KEPT = 1024  # convolutions whose fastest plan is remembered
_RUNS = 3  # of each plan, between two marks of the clock


def _best(index: int, c: Convolution, arrays: tuple[Array, ...]) -> Planned | None:
    """The plan that is the fastest with these operands and this result, on the current device."""
    found = _fastest.get((index, c))
    if found is None:
        planned = _plan(index, c, True)
        if planned is None:
            return None
        if len(_fastest) >= _KEPT:
            _fastest.clear()
        found = _fastest[index, c] = _timed(planned, index, arrays)
    return found


def _timed(planned: Planned, index: int, arrays: tuple[Array, ...]) -> Planned:
    """The fastest of a graph's plans, of which no more than `backends.cudnn.benchmark_limit` are tried (0: all)."""
    cuda = driver.cupy().cuda
    ledger.note("synchronize", 0, "backends.cudnn.benchmark")
    count = planned.graph.get_execution_plan_count()
    times: dict[Planned, float] = {}
    for place in range(min(count, settings.benchmark_limit or count)):
        begin, end = cuda.Event(), cuda.Event()
        try:
            tried = Planned(planned.graph, int(planned.graph.get_workspace_size_plan_at_index(place)), place)
            run(tried, index, *arrays)  # the first run may load its kernel
            begin.record()
            for _ in range(_RUNS):
                run(tried, index, *arrays)
            end.record()
            end.synchronize()
        except Exception:  # a plan that could not be built, or for which there is no memory
            continue
        times[tried] = cuda.get_elapsed_time(begin, end)
    return min(times, key=times.__getitem__) if times else planned


def convolve(c: Convolution | None, a: Array, b: Array) -> Array | None:
    """Do it; None, with nothing done, where cuDNN is not there, is switched off, or cannot."""
    if c is None or not settings.enabled or c.dtype not in TYPES or library() is None:
        return None
    index = a.device.index or 0
    with driver.on(index):
        shape = c.result[0] if len(a.shape) == len(c.result[0]) else (*c.result[0][:2], c.result[0][3])
        made = memory.empty(shape, c.dtype, a.device)
        planned = _best(index, c, (a, b, made)) if settings.benchmark else _plan(index, c)
        if planned is None:
            return None
        observer = WATCH.observer
        token = None
        if observer is not None:
            token = observer.begin_call("cudnn." + _ARGUMENTS[c.kind][0], (a.shape, b.shape), _operations(c))
        run(planned, index, a, b, made)
        if observer is not None:
            observer.end(token, "")
    return made


def _operations(c: Convolution) -> int:
    """Multiplications and additions: two for each element of the weight and place of the convolution's result."""
    loss, weight = {"forward": (c.result, c.second), "input": (c.first, c.second), "weight": (c.second, c.result)}[
        c.kind
    ]
    return 2 * loss[0][0] * numel(loss[0][2:]) * numel(weight[0])
