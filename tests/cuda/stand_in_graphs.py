"""Capture of streams, graphs and a pool of memory, as CUDA and CuPy document them, for the stand-in.

What is started on a stream that is being captured becomes a node and is not done; a graph does its nodes in their order,
each time with the parameters that its kernels have by then. CUDA's driver is asked as it would be by `ctypes`: what it
reads of a structure it reads at the places of its C declaration.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import struct

CAPTURING: dict = {}  # by the stream's handle: nodes so far
GRAPHS: dict = {}  # by the handle of what can be launched
_handles = itertools.count(0x7000, 0x10)
FAILING: list = []  # for the tests: names of functions that fail


class Node:
    """do: what it does, of its parameters. kernel: (function, blocks, threads, shared memory), for one that is a kernel."""

    def __init__(self, do, parameters, kernel=None):
        self.do, self.parameters, self.kernel, self.handle = do, parameters, kernel, next(_handles)


class Graph:
    def __init__(self, nodes):
        self.graph, self.graphExec = next(_handles), next(_handles)
        self.nodes, self.launches, self.changed = nodes, 0, 0
        GRAPHS[self.graphExec] = self

    def launch(self, stream=None):
        if "launch" in FAILING:
            raise RuntimeError("the graph cannot be launched")
        self.launches += 1
        for node in self.nodes:
            node.do(node.parameters)


def begin(stream):
    if stream.ptr == 0:
        raise RuntimeError("cannot capture on the default (legacy) stream")
    assert stream.ptr not in CAPTURING
    CAPTURING[stream.ptr] = []


def end(stream):
    nodes = CAPTURING.pop(stream.ptr)
    if nodes is None:
        raise RuntimeError("cudaErrorStreamCaptureInvalidated")
    return Graph(nodes)


def forbid(stream):
    """What cannot be captured ends the capture and is an error."""
    if stream.ptr in CAPTURING:
        CAPTURING[stream.ptr] = None
        raise RuntimeError("operation not permitted when stream is capturing")


def captured(function, current_stream):
    """A library's function, which becomes a node where the current stream is being captured."""

    @functools.wraps(function)
    def call(*args):
        if current_stream().ptr in CAPTURING:
            CAPTURING[current_stream().ptr].append(Node(lambda _: function(*args), None))
        else:
            function(*args)

    return call


class Native:
    """CUDA's driver, by name."""

    @staticmethod
    def cuStreamGetCaptureInfo_v2(stream, status, number, graph, nodes, count):
        if "cuStreamGetCaptureInfo_v2" in FAILING:
            return 900
        last = CAPTURING[stream.value][-1]
        status._obj.value, number._obj.value, graph._obj.value = 1, 1, 1
        last.array = (ctypes.c_void_p * 1)(last.handle)
        nodes._obj.contents = ctypes.c_void_p.from_buffer(last.array)
        count._obj.value = 1
        return 0

    @staticmethod
    def cuGraphExecKernelNodeSetParams(graph, node, parameters):
        if "cuGraphExecKernelNodeSetParams" in FAILING:
            return 910
        (found,) = [n for n in GRAPHS[graph.value].nodes if n.handle == node.value]
        raw = ctypes.string_at(ctypes.addressof(parameters._obj), 56)
        function, gx, gy, gz, bx, by, bz, shared, kernel_params, extra = struct.unpack("=Q7I4xQQ", raw)
        assert (gy, gz, by, bz, extra) == (1, 1, 1, 1, 0) and found.kernel == (function, gx, bx, shared)
        block = ctypes.c_void_p.from_address(kernel_params).value
        found.parameters = ctypes.string_at(block, len(found.parameters))
        GRAPHS[graph.value].changed += 1
        return 0


class MemoryHook:
    """What is called before memory is given, and before CUDA is asked for it."""

    active: list = []

    def __enter__(self):
        MemoryHook.active.append(self)

    def __exit__(self, *exc):
        MemoryHook.active.remove(self)

    def malloc_preprocess(self, **kwargs):
        pass

    def alloc_preprocess(self, **kwargs):
        pass


def asked(nbytes, fresh):
    for hook in MemoryHook.active:
        hook.malloc_preprocess(device_id=0, size=nbytes, mem_size=nbytes)
        if fresh:
            hook.alloc_preprocess(device_id=0, mem_size=nbytes)


class Lease:
    """Memory that goes back to the pool when nobody holds this; it stays readable, as in CuPy's pool."""

    free: dict = {}  # by device and size, the last one given back comes first
    pooling = False

    def __init__(self, key, memory):
        self.key, self.memory = key, memory

    def __del__(self):
        Lease.free.setdefault(self.key, []).append(self.memory)
