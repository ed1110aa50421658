"""Launches that are put off and, when their sequence repeats, started together as one CUDA graph.

Off unless `livegrad.backends.cuda.graphs`. A small model's step is dozens of launches, each of which takes the CPU
longer to start than the device to do. With the setting, small launches (kernels of ours, matrix products) are not
started when they are asked for but written down, in order, until something needs them: a wait, a copy, an event,
another stream, a function of CuPy or cuDNN, a launch that is large enough to keep the device busy by itself, the end of
an optimizer's step, `livegrad.eval`, or `LONGEST` of them. All of that comes through `driver.cupy`, which starts them
first, so the order of the work on the device is the order in which it was asked for, and nobody can tell the
difference but by the clock.

When the sequence of launches has been seen before, it is started as a graph. Sequences are the same if their kernels,
the sizes of their launches and what products are asked for are; addresses and numbers may differ from step to step
(an optimizer's step count, a random stream's place). They are parameters of the graph's nodes and are changed there:
that needs two functions of CUDA's driver which CuPy does not pass on. What a product reads and writes cannot be changed
in that way, so there is one graph for each set of such addresses that comes up again; `spare` sees to it that a step
that repeats gets them again, sooner or later. (A program that keeps something of each step, such as a list of losses
that are not read, never does.) What cannot be captured is started launch by launch, for good.

A graph is made from the written list alone, on a stream of its own: nothing of the program runs meanwhile, nothing is
allocated, and nothing waits. Memory that a launch in the list reads may have been given back to CuPy's pool by then:
whoever gets it writes later in the list, or comes through `driver.cupy`. Only memory that goes back to CUDA must not be
in the list any more, and what CuPy's own functions get must not be written before its time: a hook of CuPy's pool sees
to both.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from ...observe import WATCH
from ...site import warn
from . import driver

SHORTEST, LONGEST = 4, 512  # launches of a graph
SMALL = 16  # blocks of a launch for each multiprocessor, from which on it is started at once
FEW_OPERATIONS = 1 << 28  # of a product
TIMES = 2  # that a sequence has to come up, with these addresses in products, to be made a graph
VARIANTS = 16  # graphs of one sequence, for different addresses in products
SEQUENCES = 256  # that are remembered, and sets of such addresses of each


class Held(NamedTuple):
    """A launch that has been put off. key: all that a graph's node keeps. start: how, for what is not a kernel of ours.

    arguments: bytes of a kernel's parameters; for others the addresses, which `start` takes.
    """

    key: tuple
    arguments: Any
    start: Callable | None = None


class _KernelNode(ctypes.Structure):
    """CUDA_KERNEL_NODE_PARAMS, in its first form."""

    _fields_ = [
        ("function", ctypes.c_void_p), ("grid", ctypes.c_uint * 3), ("block", ctypes.c_uint * 3),
        ("shared", ctypes.c_uint), ("parameters", ctypes.c_void_p), ("extra", ctypes.c_void_p),
    ]  # fmt: skip


class _Node:
    """A kernel in a graph: its handle, and the memory from which CUDA reads its new parameters."""

    def __init__(self, handle: int, held: Held):
        function, blocks, threads, shared = held.key
        self.handle = handle
        self.size = len(held.arguments)
        self.block = ctypes.create_string_buffer(held.arguments, self.size)
        self.address = ctypes.c_void_p(ctypes.addressof(self.block))
        self.described = _KernelNode(
            function, (blocks, 1, 1), (threads, 1, 1), shared, ctypes.addressof(self.address), None
        )


class _Graph:
    """A captured sequence. native: CuPy's. arguments: what its nodes have now."""

    def __init__(self, native: Any, nodes: list[_Node | None], arguments: list):
        self.native, self.nodes, self.arguments = native, nodes, arguments

    def start(self, sequence: list[Held]) -> int:
        """Start it with these arguments on the current stream; returns how many nodes had to be changed."""
        changed = 0
        for k, (held, node) in enumerate(zip(sequence, self.nodes)):
            if node is not None and held.arguments != self.arguments[k]:
                ctypes.memmove(node.block, held.arguments, node.size)
                _ask("cuGraphExecKernelNodeSetParams", ctypes.c_void_p(self.native.graphExec),
                     ctypes.c_void_p(node.handle), ctypes.byref(node.described))  # fmt: skip
                self.arguments[k] = held.arguments
                changed += 1
        self.native.launch()
        return changed


class _Sequence:
    """What is known of a sequence. graphs, seen: by the arguments that cannot be changed; how often those came up."""

    def __init__(self) -> None:
        self.seen: dict[tuple, int] = {}
        self.graphs: dict[tuple, _Graph] = {}
        self.given_up = False


class _State:
    """Where the list belongs to, and what has been found out.

    replayed, captured: how often, for the tests and the curious. failed: whether something could not be captured.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.owner = 0
        self.index = 0
        self.stream = 0
        self.known: dict[tuple, _Sequence] = {}
        self.streams: dict[int, Any] = {}
        self.hooks: set[int] = set()  # threads whose allocations are watched
        self.replayed = self.captured = 0
        self.failed = False


STATE = _State()


def hold(held: Held, index: int) -> None:
    """Put a small launch on a device off; the arrays that it reads and writes are the caller's business no more."""
    xp = driver.quiet()
    thread = threading.get_ident()
    with STATE.lock:
        with driver.quietly_on(index):
            stream = xp.cuda.get_current_stream().ptr
        entries = driver.HELD.entries
        if entries and (STATE.stream, STATE.index, STATE.owner) != (stream, index, thread):
            release()
            entries = driver.HELD.entries
        if not entries:
            STATE.stream, STATE.index, STATE.owner = stream, index, thread
            if thread not in STATE.hooks:
                _hook()(xp).__enter__()
                STATE.hooks.add(thread)
        entries.append(held)
        if len(entries) >= LONGEST:
            release()


@functools.cache
def _hook() -> Callable:
    """Makes what CuPy calls before its pool gives memory, and before it asks CUDA for some or gives it back."""

    def made(xp: Any) -> Any:
        class Hook(xp.cuda.MemoryHook):
            name = "livegrad: launches that were put off come first"

            def malloc_preprocess(self, **kwargs: Any) -> None:
                if (
                    driver.HELD.allocating != threading.get_ident()
                ):  # a function of CuPy's, which will write there at once
                    release()

            def alloc_preprocess(self, **kwargs: Any) -> None:
                release()

        return Hook()

    return made


def release() -> None:
    """Start everything that has been put off."""
    with STATE.lock:
        entries, driver.HELD.entries = driver.HELD.entries, []
        if not entries:
            return
        xp = driver.quiet()
        with driver.quietly_on(STATE.index):
            if xp.cuda.get_current_stream().ptr == STATE.stream:
                _start(xp, entries)
            else:
                with xp.cuda.ExternalStream(STATE.stream, STATE.index):
                    _start(xp, entries)


driver.HELD.release = release


def _start(xp: Any, entries: list[Held]) -> None:
    """Start a sequence on the current device and stream: as a graph if it has come up often enough."""
    graph = _graph(xp, entries) if len(entries) >= SHORTEST else None
    if graph is None:
        for held in entries:
            _start_one(xp, held, STATE.stream)
        return
    observer = WATCH.observer
    token = None if observer is None else observer.begin_graph(len(entries))
    try:
        changed = graph.start(entries)
    except RuntimeError as error:
        _give_up(entries, error)
        for held in entries:
            _start_one(xp, held, STATE.stream)
        changed = 0
    else:
        STATE.replayed += 1
    if observer is not None:
        observer.end(token, f"{changed} changed")


def _start_one(xp: Any, held: Held, stream: int) -> None:
    if held.start is None:
        driver.start(xp, *held.key, stream, held.arguments)
    else:
        held.start(*held.arguments)


def _key(entries: list[Held]) -> tuple:
    return (STATE.index, *[held.key for held in entries])


def _graph(xp: Any, entries: list[Held]) -> _Graph | None:
    """The graph of a sequence; None where it is to be started launch by launch."""
    key = _key(entries)
    sequence = STATE.known.get(key)
    if sequence is None:
        if len(STATE.known) >= SEQUENCES:
            STATE.known.clear()
        sequence = STATE.known[key] = _Sequence()
    if sequence.given_up:
        return None
    fixed = tuple([held.arguments for held in entries if held.start is not None])
    found = sequence.graphs.get(fixed)
    if found is None:
        if len(sequence.seen) >= SEQUENCES:
            sequence.seen.clear()
        sequence.seen[fixed] = sequence.seen.get(fixed, 0) + 1
        if sequence.seen[fixed] < TIMES:
            return None
        if len(sequence.graphs) >= VARIANTS:  # the program has come to rest elsewhere
            sequence.graphs.clear()
        try:
            found = sequence.graphs[fixed] = _captured(xp, entries)
        except Exception as error:
            _give_up(entries, error)
            return None
        STATE.captured += 1
    return found


def _give_up(entries: list[Held], error: Exception) -> None:
    sequence = STATE.known[_key(entries)]
    sequence.given_up = True
    sequence.graphs.clear()
    if STATE.failed:  # once is enough
        return
    STATE.failed = True
    warn(f"{len(entries)} launches are not made a CUDA graph: {type(error).__name__}: {error}")


def _captured(xp: Any, entries: list[Held]) -> _Graph:
    """A graph of a sequence; this starts nothing. Raises what goes wrong in making it."""
    stream = STATE.streams.pop(STATE.index, None) or xp.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        try:
            nodes = []
            for held in entries:
                _start_one(xp, held, stream.ptr)
                nodes.append(_Node(_last_node(stream.ptr), held) if held.start is None else None)
        except BaseException:
            with contextlib.suppress(Exception):  # what went wrong may have ended it
                stream.end_capture()
            raise
        native = stream.end_capture()
    STATE.streams[STATE.index] = stream
    return _Graph(native, nodes, [held.arguments for held in entries])


def _last_node(stream: int) -> int:
    """The node that was captured last on a stream: the one that the next would depend on."""
    status, number = ctypes.c_int(), ctypes.c_uint64()
    graph, nodes, count = ctypes.c_void_p(), ctypes.POINTER(ctypes.c_void_p)(), ctypes.c_size_t()
    _ask(
        "cuStreamGetCaptureInfo_v2", ctypes.c_void_p(stream), *map(ctypes.byref, (status, number, graph, nodes, count))
    )
    if count.value != 1:
        raise RuntimeError(f"a launch was captured as {count.value} nodes, not as one")
    return int(nodes[0] or 0)


def _ask(name: str, *arguments: Any) -> None:
    """Call a function of CUDA's driver. Raises RuntimeError where it fails."""
    result = getattr(driver.native(), name)(*arguments)
    if result:
        raise RuntimeError(f"{name} returned {result}")
