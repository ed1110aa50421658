"""A stand-in for CuPy: arrays of a class of their own that refuse to be mixed with NumPy's, and a driver that runs PTX.

What runs over it shows that every transfer is stated, that results are where they should be, and what the ledger says.
NumPy computes what CuPy would, which proves nothing about numbers. Kernels are run by the interpreter in `ptx`, which
does: it sees the memory that is alive on the device, at the addresses that the kernel is given, and nothing else.
Where CuPy is installed, what is asked of it is held to CuPy's own names and parameters (see `cupy_names`).
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import re
import sys
import time
import types
import weakref
from types import SimpleNamespace

import cupy_names
import numpy as np
import ptx
import stand_in_blas
import stand_in_graphs

__version__ = "0"
COUNT = 2
_current = [0]


class Allocation:
    """Memory of a device: at a multiple of 512 bytes, as CuPy's; what nobody has written is all ones (NaN)."""

    def __init__(self, owner, start, nbytes, device):
        self.owner, self.start, self.nbytes, self.device = weakref.ref(owner), start, nbytes, device


ALLOCATIONS: dict = {}  # by the identity of the array that owns it, while that lives


def _allocate(nbytes, device):
    """An array of bytes with room for an aligned allocation, and where that begins in it."""
    owner = np.full(nbytes + 512, 0xFF, np.uint8)
    start = -owner.__array_interface__["data"][0] % 512
    ALLOCATIONS[id(owner)] = Allocation(owner, start, nbytes, device)
    weakref.finalize(owner, ALLOCATIONS.pop, id(owner))
    return owner, start


def buffers(device):
    """What the interpreter may reach of a device: (address, bytes, name)."""
    found = []
    for a in list(ALLOCATIONS.values()):
        owner = a.owner()
        if owner is not None and a.device == device and a.nbytes:
            raw = owner[a.start : a.start + a.nbytes]
            found.append((raw.__array_interface__["data"][0], raw, f"{a.nbytes} bytes"))
    found += [(first, raw[: raw.nbytes // 16 * 16], "pinned") for first, _, raw in PINNED if not first % 16]
    return found


class Pointer:
    """Memory: an address that can be added to."""

    def __init__(self, owner, offset, lease=None):
        self.owner, self.offset, self.lease = owner, offset, lease
        self.ptr = owner.__array_interface__["data"][0] + offset

    def __add__(self, nbytes):
        return Pointer(self.owner, self.offset + nbytes, self.lease)


_COMPARISONS = ("greater", "greater_equal", "less", "less_equal", "equal", "not_equal")


def _owner(inner):
    while isinstance(inner.base, np.ndarray):
        inner = inner.base
    return inner


class ndarray(np.lib.mixins.NDArrayOperatorsMixin):
    """An array on a pretended device. inner: NumPy's; it is moved there unless it is a window onto such memory."""

    def __init__(self, shape, dtype, memptr=None, strides=None, *, inner=None, device=None):
        if inner is None:
            inner = np.ndarray(shape, dtype, memptr.owner, memptr.offset, strides)
        found = ALLOCATIONS.get(id(_owner(inner)))
        if found is None:
            stand_in_graphs.asked(inner.nbytes, True)
            owner, start = _allocate(inner.nbytes, _current[0] if device is None else device)
            order = "F" if inner.flags.f_contiguous and not inner.flags.c_contiguous else "C"
            moved = np.ndarray(inner.shape, inner.dtype, owner, start, order=order)
            moved[...] = inner
            inner, found = moved, ALLOCATIONS[id(owner)]
        self.inner = inner
        self.device = SimpleNamespace(id=found.device)

    @property
    def data(self):
        owner = _owner(self.inner)
        address = self.inner.__array_interface__["data"][0]
        return Pointer(owner, address - owner.__array_interface__["data"][0])

    dtype = property(lambda self: self.inner.dtype)
    shape = property(lambda self: self.inner.shape)
    ndim = property(lambda self: self.inner.ndim)
    size = property(lambda self: self.inner.size)
    nbytes = property(lambda self: self.inner.nbytes)
    flags = property(lambda self: self.inner.flags)
    T = property(lambda self: _wrapped(self.inner.T, self.device.id))

    def view(self, dtype=None):
        return self if dtype is None else _wrapped(self.inner.view(dtype), self.device.id)

    def get(self):
        stand_in_graphs.forbid(get_current_stream())
        return self.inner.copy()

    def set(self, a):
        stand_in_graphs.forbid(get_current_stream())
        assert type(a) is np.ndarray
        self.inner[...] = a

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if (
            ufunc.__name__ in _COMPARISONS
        ):  # to which NumPy's numbers come as arrays; CuPy takes them there, and only there
            inputs = tuple([x.item() if type(x) is np.ndarray and not x.ndim else x for x in inputs])
        cupy_names.check(ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}", inputs, kwargs)
        return _run(getattr(ufunc, method), inputs, kwargs)

    def __array_function__(self, function, types, args, kwargs):
        cupy_names.check(_path(function), args, kwargs)
        return _run(function, args, kwargs)

    def __getitem__(self, key):
        return _wrapped(self.inner[_bare(key)], self.device.id)

    def __setitem__(self, key, value):
        if type(value) is np.ndarray:
            raise TypeError("Unsupported type <class 'numpy.ndarray'>")
        if isinstance(value, ndarray):
            assert value.device.id == self.device.id
        _check_current({self.device.id})
        self.inner[_bare(key)] = _bare(value)

    def __len__(self):
        return len(self.inner)

    def __bool__(self):
        return bool(self.inner)

    def __int__(self):
        return int(self.inner)

    def __getattr__(self, name):
        if name not in ("astype", "reshape", "copy", "sum", "any", "all", "transpose", "max", "min", "cumsum", "fill"):
            raise AttributeError(name)
        method = getattr(self.inner, name)

        def run(*args, **kwargs):
            cupy_names.check(f"ndarray.{name}", args, kwargs)
            if name not in ("reshape", "transpose"):
                _check_current({self.device.id})
            return _wrapped(method(*_bare(args), **_bare(kwargs)), self.device.id)

        return run


def _bare(x):
    if isinstance(x, ndarray):
        return x.inner
    if isinstance(x, (list, tuple)):
        return type(x)(_bare(y) for y in x)
    if isinstance(x, dict):
        return {k: _bare(v) for k, v in x.items()}
    if type(x) is np.ndarray:
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    return x


def _path(function):
    """A function of NumPy's by its name in CuPy."""
    return f"{function.__module__}.{function.__name__}".removeprefix("numpy.")


def _found(x):
    if isinstance(x, ndarray):
        return {x.device.id}
    return set().union(*map(_found, x)) if isinstance(x, (list, tuple)) else set()


def _wrapped(made, device):
    if isinstance(made, tuple):
        return tuple(_wrapped(m, device) for m in made)
    if isinstance(made, (np.ndarray, np.generic)):
        return ndarray((), None, inner=np.asarray(made), device=device)
    return made


def _run(function, args, kwargs):
    devices = _found((*args, *kwargs.values()))
    assert len(devices) == 1, "arrays of two devices"
    _check_current(devices)
    return _wrapped(function(*_bare(args), **_bare(kwargs)), devices.pop())


def _check_current(devices):
    """CuPy computes on the current device, wherever its operands lie, and leaves the result there."""
    assert devices == {_current[0]}, f"arrays of device {devices}, while {_current[0]} is the current one"


class Device:
    def __init__(self, device=None):
        self.id = _current[0] if device is None else device
        if not 0 <= self.id < COUNT:
            raise RuntimeError("invalid device ordinal")

    def use(self):
        _current[0] = self.id

    def synchronize(self):
        pass

    def __enter__(self):
        self.before = _current[0]
        _current[0] = self.id

    def __exit__(self, *exc):
        _current[0] = self.before


class Stream:
    null: Stream
    done = True

    def __init__(self, non_blocking=False, priority=0):
        self.waited = []
        self.ptr = next(_handles)
        self.device_id = _current[0]

    def synchronize(self):
        pass

    def wait_event(self, event):
        self.waited.append(event)

    def use(self):
        _chosen[_current[0]][-1] = self

    def begin_capture(self, mode=None):
        stand_in_graphs.begin(self)

    def end_capture(self):
        return stand_in_graphs.end(self)

    def __enter__(self):
        assert self.device_id in (-1, _current[0]), "a stream of another device"
        _chosen[_current[0]].append(self)

    def __exit__(self, *exc):
        _chosen[_current[0]].pop()


class ExternalStream(Stream):
    def __init__(self, ptr, device_id=-1):
        super().__init__()
        self.ptr, self.device_id = ptr, device_id


_handles = itertools.count(0x1000, 0x100)
Stream.null = Stream()
Stream.null.ptr, Stream.null.device_id = 0, -1
_chosen = [[Stream.null] for _ in range(COUNT)]  # by device, the last one is current


def get_current_stream(device_id=-1):
    return _chosen[_current[0] if device_id == -1 else device_id][-1]


LATER = [0.0]  # seconds by which the device's clock is pretended to have gone on


class Event:
    done = True

    def __init__(self, block=False, disable_timing=False, interprocess=False):
        self.at, self.device_id = None, _current[0]

    def record(self, stream=None):
        assert (stream or get_current_stream()).device_id in (-1, self.device_id), "an event of another device"
        self.at = time.perf_counter() + LATER[0]

    def synchronize(self):
        pass


class Driver:
    """CUDA's driver: what is loaded and launched is written down. Handles are places in lists."""

    def __init__(self):
        self.modules: list = []  # (device, PTX)
        self.functions: list = []  # (module, name)
        self.launches: list = []  # (function, blocks, threads, shared memory, stream, address of the parameters)

    def moduleLoadData(self, image):
        assert type(image) is bytes and image.endswith(b"\0")
        self.modules.append((_current[0], image[:-1].decode()))
        return len(self.modules)

    def moduleGetFunction(self, module, name):
        assert f".entry {name}(" in self.modules[module - 1][1]
        self.functions.append((module, name))
        return len(self.functions)

    def launchKernel(self, function, gx, gy, gz, bx, by, bz, shared, stream, parameters, extra):
        module, name = self.functions[function - 1]
        device, text = self.modules[module - 1]
        assert device == _current[0], "a kernel of another device"
        assert (gy, gz, by, bz, extra) == (1, 1, 1, 1, 0)
        (block,) = (ctypes.c_void_p * 1).from_address(parameters)
        words = ctypes.string_at(block, self.parameter_bytes(module))

        def run(words):
            self.launches.append((self.functions[function - 1], gx, bx, shared, stream, words))
            ptx.launch(text, name, gx, bx, words, buffers(device), shared)

        if stream in stand_in_graphs.CAPTURING:
            node = stand_in_graphs.Node(run, words, (function, gx, bx, shared))
            stand_in_graphs.CAPTURING[stream].append(node)
        else:
            run(words)

    def parameter_bytes(self, module):
        """How long the parameter block of a module's kernel is."""
        text = self.modules[module - 1][1]
        sized = re.search(r"\.param \.align \d+ \.b8 kernel_param_0\[(\d+)\]", text)
        return int(sized[1]) if sized else 8


class Pool:
    limit = None

    def set_limit(self, size=None, fraction=None):
        self.limit = fraction

    def used_bytes(self):
        return 1024

    def total_bytes(self):
        return 4096

    def free_all_blocks(self):
        pass


_pool = Pool()


def empty(shape, dtype):
    owner, start = _allocate(int(np.prod(shape)) * np.dtype(dtype).itemsize, _current[0])
    return ndarray(shape, dtype, Pointer(owner, start))


def array(a, order="K", copy=True):
    _check_current({a.device.id})
    return _wrapped(np.array(a.inner, order=order, copy=copy), a.device.id)


def asarray(a):
    return _wrapped(a.inner.copy() if isinstance(a, ndarray) else a, _current[0])


def get_default_memory_pool():
    return _pool


def alloc(nbytes):
    Lease = stand_in_graphs.Lease
    key = (_current[0], -(-nbytes // 512) * 512)
    free = Lease.free.get(key)
    stand_in_graphs.asked(nbytes, not free)
    if not Lease.pooling:
        return Pointer(*_allocate(nbytes, _current[0]))
    memory = Lease.free[key].pop() if Lease.free.get(key) else _allocate(key[1], _current[0])
    return Pointer(*memory, Lease(key, memory))


PINNED: list = []  # (first address, one past the last, memory)


def alloc_pinned_memory(nbytes):
    memory = np.empty(nbytes + 32, np.uint8)  # rounded up, as CuPy does
    first = memory.__array_interface__["data"][0]
    PINNED.append((first, first + memory.nbytes, memory))
    return memory


def copy(to, source, nbytes, kind, stream):
    """From the CPU (1) or to it (2): at once, where CUDA would do it in the stream's order."""
    stand_in_graphs.forbid(get_current_stream())
    here = to if kind == 2 else source
    assert kind in (1, 2) and not any(
        first <= here < first + len(raw) for first, raw, name in buffers(_current[0]) if name != "pinned"
    )
    ctypes.memmove(to, source, nbytes)


def pointer_attributes(pointer):
    return SimpleNamespace(type=int(any(first <= pointer < end for first, end, _ in PINNED)))


def _special_function(name):
    def function(a):
        from livegrad.ops.scalar_numpy import NUMPY

        return _run(NUMPY[name], (a,), {})

    return function


# What NumPy lacks, by its names in SciPy.
special = SimpleNamespace(
    erf=_special_function("erf"), erfc=_special_function("erfc"), erfinv=_special_function("erfinv"),
    gammaln=_special_function("lgamma"), digamma=_special_function("digamma"),
)  # fmt: skip


class _Functions:
    """Functions of a module of NumPy's, `linalg` or `fft`."""

    def __init__(self, module):
        self.module = module

    def __getattr__(self, name):
        function = getattr(self.module, name)

        def run(*args, **kwargs):
            cupy_names.check(f"{self.module.__name__.removeprefix('numpy.')}.{name}", args, kwargs)
            return _run(function, args, kwargs)

        return run


driver = Driver()
cublas = SimpleNamespace(
    gemmEx=stand_in_graphs.captured(stand_in_blas.gemmEx, get_current_stream),
    gemmStridedBatchedEx=stand_in_graphs.captured(stand_in_blas.gemmStridedBatchedEx, get_current_stream),
)
NOTED: list = []  # what NVTX was told
nvtx = SimpleNamespace(
    RangePush=lambda message: NOTED.append(("push", message)), RangePop=lambda: NOTED.append(("pop",)),
    RangeStart=lambda message, color: NOTED.append(("start", message)) or len(NOTED),
    RangeEnd=lambda range_id: NOTED.append(("end", range_id)), Mark=lambda message: NOTED.append(("mark", message)),
)  # fmt: skip
cuda = SimpleNamespace(
    nvtx=nvtx,
    Device=Device, Stream=Stream, Event=Event, driver=driver, alloc=alloc,
    alloc_pinned_memory=alloc_pinned_memory, cublas=cublas, MemoryHook=stand_in_graphs.MemoryHook, get_cublas_handle=lambda: _current[0] + 1,
    runtime=SimpleNamespace(
        getDeviceCount=lambda: COUNT, getDevice=lambda: _current[0], memGetInfo=lambda: (1 << 29, 1 << 30),
        pointerGetAttributes=pointer_attributes, deviceCanAccessPeer=lambda here, there: int(here != there),
        memcpyAsync=copy, deviceSynchronize=lambda: None, driverGetVersion=lambda: 13000, runtimeGetVersion=lambda: 13020,
        getDeviceProperties=lambda i: {
            "name": b"stand-in", "major": 9, "minor": 0, "totalGlobalMem": 1 << 30, "multiProcessorCount": 4,
        },
    ),
    ExternalStream=ExternalStream, get_current_stream=get_current_stream,
    get_elapsed_time=lambda a, b: (b.at - a.at) * 1000,
)  # fmt: skip


def __getattr__(name):
    """NumPy's functions, of arrays of this kind."""
    function = getattr(np, name)
    if name in ("arange", "zeros", "ones", "full", "eye"):

        def made(*args, **kwargs):
            cupy_names.check(name, args, kwargs)
            return _wrapped(function(*args, **kwargs), _current[0])

        return made
    if isinstance(function, types.ModuleType):
        return _Functions(function)
    if not callable(function) or isinstance(function, type):
        cupy_names.found(name)
        return function

    def run(*args, **kwargs):
        cupy_names.check(name, args, kwargs)
        return _run(function, args, kwargs)

    if isinstance(function, np.ufunc):
        run.at = lambda *args: _at(function, *args)
    return run


def _at(function, a, *rest):
    """What CuPy's `add.at` does, for the dtypes that it takes."""
    if a.dtype.name not in ("int32", "int64", "float16", "float32", "float64", "uint32", "uint64"):
        raise TypeError(f"cupy.{function.__name__}.at does not support {a.dtype.name}")
    return _run(function.at, (a, *rest), {})


def somewhere():
    """A context with CUDA devices: the machine's, or else these."""
    import livegrad

    return livegrad.compiling("always") if livegrad.cuda.is_available() else in_use()


@contextlib.contextmanager
def in_use():
    """The runtime takes this module for CuPy. Where there is a GPU the test is skipped.

    What is kept of a device (kernels, numbers, memory) is kept for the process: of two kinds of devices one is enough.
    """
    import pytest

    import livegrad
    from livegrad.runtime.cuda import driver, ledger

    if livegrad.cuda.is_available() and driver.LIBRARY.cupy is not sys.modules[__name__]:
        pytest.skip("the stand-in is for machines without a GPU")
    cupy_names.library()  # before its other half is put out of sight
    library, before = driver.LIBRARY, dict(vars(driver.LIBRARY))
    driver.capability.cache_clear()
    driver.multiprocessors.cache_clear()
    library.use(sys.modules[__name__])
    library.native = stand_in_graphs.Native
    ledger.LEDGER.entries.clear()
    _current[0] = 0
    names = {
        "cupyx": SimpleNamespace(errstate=lambda linalg: contextlib.nullcontext()), "cupyx.scipy": SimpleNamespace(),
        "cupyx.scipy.special": special,
    }  # fmt: skip
    # Only these names: `patch.dict` would also forget modules that are first imported inside, and import them twice.
    there = {name: sys.modules[name] for name in names if name in sys.modules}
    sys.modules.update(names)  # type: ignore[arg-type]
    try:
        with livegrad.compiling("always"):
            yield
    finally:
        for name in names:
            del sys.modules[name]
        sys.modules.update(there)
        vars(library).clear()
        vars(library).update(before)
