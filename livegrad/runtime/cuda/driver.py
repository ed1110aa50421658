"""CuPy, found when it is asked for; launching PTX.

Whether CUDA can be used is found out once, quietly: a package, a driver or a device that is missing means no, and
`missing()` says which.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import importlib.util
import os
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from ...backends import cuda as settings
from ...codegen.gpu import target
from ...codegen.gpu.kernels import Kernel, Launch
from ...codegen.kernels import Policy
from ...codegen.layout import NAME
from ...devices import SEVERAL

# NVIDIA's driver, which comes with the graphics card and not with a package.
_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
_INSTALL = "pip install 'livegrad[cuda]'"


def installed() -> bool:
    """Whether CuPy is installed; it is not imported for that."""
    try:
        return importlib.util.find_spec("cupy") is not None
    except (ImportError, ValueError):
        return False


def _driver_missing() -> str | None:
    """Why NVIDIA's driver cannot be loaded, or None."""
    try:
        ctypes.CDLL(_DRIVER)
    except OSError:
        return f"there is no NVIDIA driver on this machine ({_DRIVER} is not found)"
    return None


def _hidden() -> str:
    """A remark where the environment hides devices."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return "" if visible is None else f"; CUDA_VISIBLE_DEVICES is {visible!r}"


class _Library:
    """The array library of CUDA devices, once it has been looked for. missing: why there is none.

    native: CUDA's driver itself, where a function of it was needed that CuPy does not pass on.
    """

    def __init__(self) -> None:
        self.cupy: Any = None
        self.native: Any = None
        self.missing: str | None = None
        self.count = 0
        self.looked = False

    def look(self) -> None:
        """Find CuPy and the devices."""
        if self.looked:
            return
        self.looked = True
        driver = _driver_missing()
        if driver is not None:  # then CuPy need not be imported, which takes a second
            here = (
                "" if installed() else f"; CuPy is not installed either ({_INSTALL}, on a machine with an NVIDIA GPU)"
            )
            self.missing = driver + here
            return
        try:
            cupy = importlib.import_module("cupy")
        except ModuleNotFoundError as error:
            lacking = "CuPy is" if error.name == "cupy" else f"CuPy is installed, but {error.name} is"
            self.missing = f"there is an NVIDIA driver, but {lacking} not installed: {_INSTALL}"
        except Exception as error:  # it does not fit what is here
            self.missing = f"CuPy cannot be imported ({error}); {_INSTALL} gives one that fits"
        else:
            self.use(cupy)

    def use(self, cupy: Any) -> None:
        """Take this module for CuPy, if it finds a device."""
        self.looked = True
        try:
            self.count = int(cupy.cuda.runtime.getDeviceCount())
        except Exception as error:
            self.missing = f"the NVIDIA driver finds no device that CuPy can use ({error}){_hidden()}"
            return
        if self.count:
            self.cupy = cupy
            SEVERAL[0] = self.count > 1
        else:
            self.missing = f"the NVIDIA driver finds no GPU{_hidden()}"


LIBRARY = _Library()


def available() -> bool:
    """Whether there is a CUDA device that can be used. Never raises."""
    LIBRARY.look()
    return LIBRARY.cupy is not None


def count() -> int:
    """How many CUDA devices can be used."""
    LIBRARY.look()
    return LIBRARY.count if LIBRARY.cupy is not None else 0


def missing() -> str | None:
    """What is missing for CUDA, or None."""
    LIBRARY.look()
    return LIBRARY.missing


class _Held:
    """Launches that have been put off, and what starts them: see `graphs`, which puts it here.

    allocating: the thread that takes memory which is written by launches alone, in their order.
    """

    entries: list = []
    allocating = 0
    release: Callable[[], None]


HELD = _Held()


def cupy() -> Any:
    """CuPy, for whatever is to be done now: what has been put off is started first.

    Raises RuntimeError, saying what is missing, where CUDA cannot be used.
    """
    if HELD.entries:
        HELD.release()
    return quiet()


def native() -> Any:
    """CUDA's driver, by `ctypes`."""
    if LIBRARY.native is None:
        LIBRARY.native = ctypes.CDLL(_DRIVER)
    return LIBRARY.native


def quiet() -> Any:
    """CuPy, for what may come before launches that are put off: memory from its pool, questions, other launches."""
    LIBRARY.look()
    if LIBRARY.cupy is None:
        raise RuntimeError(
            f'livegrad cannot use CUDA here: {LIBRARY.missing}. Use device("cpu"), or test '
            "livegrad.cuda.is_available() first."
        )
    return LIBRARY.cupy


def current() -> int:
    """The index of the current device."""
    return int(quiet().cuda.runtime.getDevice())


@functools.cache
def capability(index: int) -> tuple[int, int]:
    """The compute capability of a device."""
    properties = quiet().cuda.runtime.getDeviceProperties(index)
    return int(properties["major"]), int(properties["minor"])


@functools.cache
def multiprocessors(index: int) -> int:
    """How many multiprocessors a device has."""
    return int(quiet().cuda.runtime.getDeviceProperties(index)["multiProcessorCount"])


class _Ready(threading.local):
    """The devices whose context this thread has taken up: CUDA's driver, unlike its runtime, does not do it itself."""

    def __init__(self) -> None:
        self.devices: set[int] = set()


_ready = _Ready()


def load(kernel: Kernel, index: int) -> int:
    """The handle of a kernel on the current device, whose index this is. Raises what goes wrong in making it."""
    found = kernel.loaded.get(index)
    if found is None:
        arch = target.architecture(capability(index))
        if arch is None:
            raise RuntimeError(f"kernels need compute capability 7.5 or later; cuda:{index} has {capability(index)}")
        driver = quiet().cuda.driver
        if index not in _ready.devices:
            _take_up(index)
        module = driver.moduleLoadData(kernel.ptx(arch).encode() + b"\0")  # never unloaded: kernels are kept
        found = kernel.loaded[index] = driver.moduleGetFunction(module, NAME)
    return found


def _take_up(index: int) -> None:
    quiet().cuda.runtime.memGetInfo()  # any call of the runtime's that needs a context
    _ready.devices.add(index)


def loadable(kernel: Kernel, index: int) -> bool:
    """Whether `launch` can be called now: makes and loads the kernel if need be. If not, tier 0 has to serve."""
    if index in kernel.loaded:
        return Policy.mode != "never"
    if kernel.usable():
        try:
            with quietly_on(index):
                load(kernel, index)
        except Exception as error:
            kernel.failed(error)
        else:
            return True
    return False


@contextlib.contextmanager
def on(index: int) -> Iterator[None]:
    """Make a device the current one for a while."""
    cupy()
    with quietly_on(index):
        yield


@contextlib.contextmanager
def quietly_on(index: int) -> Iterator[None]:
    """The same, for what may come before launches that have been put off."""
    xp = quiet()
    if xp.cuda.runtime.getDevice() == index:
        yield
    else:
        with xp.cuda.Device(index):
            yield


def launch(planned: Launch, index: int, arguments: bytes) -> None:
    """Start a kernel on a device, on the stream that is current there; this does not wait for it.

    arguments: what the kernel's `pack` returned, followed by the launch's `tail`. The launch takes a copy of them.
    Where launches are put off, to be started as a CUDA graph, a small one is.
    """
    xp = quiet()
    if xp.cuda.runtime.getDevice() != index:
        with xp.cuda.Device(index):
            _launch(xp, planned, index, arguments)
    else:
        _launch(xp, planned, index, arguments)


def _launch(xp: Any, planned: Launch, index: int, arguments: bytes) -> None:
    kernel = planned.kernel
    handle = kernel.loaded.get(index) or load(kernel, index)
    if index not in _ready.devices:
        _take_up(index)
    if settings.graphs:
        from . import graphs

        if planned.blocks <= graphs.SMALL * multiprocessors(index) and kernel.words <= target.DIRECT_WORDS:
            graphs.hold(graphs.Held((handle, planned.blocks, planned.threads, planned.shared), arguments), index)
            return
    if HELD.entries:
        HELD.release()
    stream = xp.cuda.get_current_stream().ptr
    if kernel.words > target.DIRECT_WORDS:
        # Copied in the stream's order, like the launch; CuPy's pool gives the memory to nobody who comes before it.
        memory = xp.cuda.alloc(len(arguments))
        xp.cuda.runtime.memcpyAsync(memory.ptr, _address(arguments).value, len(arguments), 1, stream)
        arguments = struct.pack("=q", memory.ptr)
    start(xp, handle, planned.blocks, planned.threads, planned.shared, stream, arguments)


def start(xp: Any, handle: int, blocks: int, threads: int, shared: int, stream: int, arguments: bytes) -> None:
    """Start a loaded kernel on the current device."""
    block = ctypes.c_char_p(arguments)  # in memory, the address of these bytes: CUDA's array of addresses of parameters
    xp.cuda.driver.launchKernel(handle, blocks, 1, 1, threads, 1, 1, shared, stream, ctypes.addressof(block), 0)


def _address(data: bytes) -> ctypes.c_void_p:
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p)
