"""Threads for kernels: `launch` runs a machine-code function over a range, on as many threads as are worth it.

A kernel is `void kernel(ptr args, i64 begin, i64 end)`. The range is cut into a share for each thread, and a share into
chunks of `grain` items. A thread takes those of its own share one after the other, then what is left of the others'.
So a thread mostly meets what it has worked on before, in its own cache, and nobody waits for a thread that is late.
Every other job goes through its shares backwards: what the job before read and wrote last is still in the cache then.
The helpers are Python threads that call into `worker` and stay there without the interpreter's lock: between jobs they
spin for a while and then sleep in a futex. A job starts in a few microseconds while they spin, and they cost nothing
while they sleep.

The dispatcher is LLVM IR (`dispatcher`).

**Putting off.** `enqueue` is like `launch`, but what is worth sharing is put into a queue and run by a helper, in
order, while the program goes on: on the CPU, too, recording and computing happen at the same time. Results are memory
that only other kernels may touch, until `finish` is called: `Array.native`, which gives memory to NumPy, does so, and
so does `launch`. What is visible from outside (`Block.outside`) is computed before the operator returns.

Where there is no futex (not Linux), plain threads take pieces of the range from a queue instead. A forked child starts
helpers of its own when it needs them. The state is never freed: helpers are inside until the process ends.

An interruption (Ctrl-C) reaches Python only, so a launch through the dispatcher is over before anybody sees one. What
takes several steps in Python, making the pool and starting threads, is done by the helper thread of `llvm.service`.
"""

from __future__ import annotations

import _thread
import atexit
import contextlib
import ctypes
import itertools
import mmap
import os
import platform
import struct
import sys
import time
from queue import SimpleQueue

from ..llvm import cache, machine, service
from ..native import hot, slotted
from ..observe import WATCH
from ..settings import unusable
from . import dispatcher, memory
from .dispatcher import MOST_BYTES, MOST_THREADS, QUEUE_AT, SLOTS
from .raw import peek, poke

__all__ = ["enqueue", "finish", "get_num_threads", "launch", "run_serial", "set_num_threads"]

_SPIN_SECONDS = 300e-6
_FUTEX_NUMBER = {"x86_64": 202, "aarch64": 98, "riscv64": 98, "ppc64le": 221}  # the system call's, by machine


# The number of threads


def _physical_cores(cpus):
    """How many cores the logical CPUs `cpus` belong to, as far as the system says."""
    cores = set()
    for cpu in cpus:
        try:
            with open(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list") as file:
                cores.add(file.read().strip())
        except OSError:
            return len(cpus)
    return len(cores)


def _cpu_quota():
    """How many CPUs' worth of time the control group allows, or None."""
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            quota, period = file.read().split()
        return None if quota == "max" else max(1, -(-int(quota) // int(period)))
    except (OSError, ValueError):
        return None


def _default_threads():
    text = os.environ.get("LIVEGRAD_NUM_THREADS", "")
    if text:
        if not text.isdecimal() or not 1 <= int(text) <= MOST_THREADS:
            raise unusable("LIVEGRAD_NUM_THREADS", f"a whole number from 1 to {MOST_THREADS}", text)
        return int(text)
    common = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # the outermost level's, as OpenMP has it
    if common.isdecimal() and int(common):
        return min(int(common), MOST_THREADS)
    if hasattr(os, "sched_getaffinity"):
        count = _physical_cores(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    return max(1, min(count, _cpu_quota() or count, MOST_THREADS))


# The pool


class _Pool:
    """The compiled dispatcher and the helpers of this process."""

    def __init__(self):
        processor = platform.machine().lower().replace("amd64", "x86_64").replace("arm64", "aarch64")
        number = _FUTEX_NUMBER.get(processor) if sys.platform == "linux" else None
        names = ["run"]
        if number is not None:
            names += ["worker", "spin", "launch", "put", "drain", "copy", "conditional"]
        try:
            address = cache.functions(dispatcher.module_text(processor, number is not None), names)
        except ImportError as error:
            raise RuntimeError("kernels need llvmlite, which cannot be imported") from error
        signature = (None, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int64, ctypes.c_int64)
        run = address["run"]
        self.run = ctypes.PYFUNCTYPE(*signature)(run)  # keeps the interpreter's lock
        self.run_unlocked = ctypes.CFUNCTYPE(*signature)(run)
        self.number = number
        self.ordered = processor == "x86_64"
        if number is not None:
            self.worker = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(address["worker"])
            spin = ctypes.CFUNCTYPE(None, ctypes.c_int64)(address["spin"])
            self.launch = ctypes.CFUNCTYPE(None, ctypes.c_void_p, *signature[1:], ctypes.c_int32)(address["launch"])
            i32, i64, pointer = ctypes.c_int32, ctypes.c_int64, ctypes.c_void_p
            put = ctypes.PYFUNCTYPE(i32, pointer, pointer, ctypes.c_char_p, i64, i64, i64, i32)
            self.put = put(address["put"])
            QUEUE.copy, QUEUE.conditional = address["copy"], address["conditional"]
            self.drain = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(address["drain"])
            self.spins = self._count_spins(spin)
        self.reset()

    @staticmethod
    def _count_spins(spin):
        """How many pauses take `_SPIN_SECONDS`; none with one CPU, where spinning keeps others from working."""
        if (os.cpu_count() or 1) == 1:
            return 0
        best = float("inf")
        for _ in range(3):
            start = time.perf_counter()
            spin(1000)
            best = min(best, time.perf_counter() - start)
        return int(min(1_000_000, 1000 * _SPIN_SECONDS / max(best, 1e-9)))

    def reset(self):
        """Forgets all helpers: a forked child has none, and the state may be that of a job under way in its parent."""
        self.workers = 0  # helpers that there are
        self.wanted = 0  # helpers that were asked for
        self.jobs = SimpleQueue()  # for helpers where there is no futex
        if self.number is None:
            return
        # Mapped and never unmapped: helpers look at it until the process ends.
        region = mmap.mmap(-1, dispatcher.STATE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        export = ctypes.c_char.from_buffer(region)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(export))
        self.state = ctypes.addressof(export)
        syscall = ctypes.cast(ctypes.CDLL(None).syscall, ctypes.c_void_p).value
        tail = (ctypes.c_int64 * 3).from_address(self.state + 5 * 64)  # fields 16 to 18
        tail[:] = [syscall, self.number, self.spins]
        QUEUE.put_at, QUEUE.done_at = self.state + QUEUE_AT, self.state + QUEUE_AT + 64
        ctypes.c_int32.from_address(self.state + QUEUE_AT + 8).value = QUEUE.mode == "held"
        if not self.ordered:
            # To see that a job is done does not mean to see what it has written: `drain` has to look in each case.
            QUEUE.done_at = self.state + QUEUE_AT + 120
            ctypes.c_int64.from_address(QUEUE.done_at).value = -1

    def want_workers(self, count):
        """Has the helper thread start helpers until there are `count`; nobody waits for them."""
        self.wanted = count
        service.submit(self.start_workers, count)

    def start_workers(self, count):
        with contextlib.suppress(RuntimeError):  # no more threads, or the interpreter is shutting down
            while self.workers < count:
                if self.number is None:
                    _thread.start_new_thread(self.serve, (self.jobs,))
                else:
                    _thread.start_new_thread(self.worker, (self.state, self.workers + 1))
                self.workers += 1

    @staticmethod
    def serve(jobs):
        """What a helper does where there is no futex."""
        while True:
            pieces, done, bell = jobs.get()
            done.extend(pieces)
            bell.put(None)

    def launch_pieces(self, kernel, args, total, grain, threads):
        """The range in one piece per thread, each a multiple of `grain`; the caller runs what no helper has begun.

        Between taking a piece and being done with it there is no bytecode, so no interruption.
        """
        length = -(-total // (grain * threads)) * grain
        ranges = [(kernel, args, begin, min(begin + length, total)) for begin in range(0, total, length)]
        pieces, done, bell = itertools.starmap(self.run_unlocked, iter(ranges)), [], SimpleQueue()
        interruption = None
        while len(done) < len(ranges):  # helpers may be using the memory until then
            try:
                for _ in ranges[1:]:
                    self.jobs.put((pieces, done, bell))
                done.extend(pieces)
                while len(done) < len(ranges):
                    bell.get()
            except BaseException as raised:
                interruption = raised
        if interruption is not None:
            raise interruption


@slotted
class _Queue:
    """Jobs that nobody has waited for.

    last, seen: an object of its own for what was put there last, and for what was last seen to be done. put_at,
    done_at: where it is counted how many there have been, and how many of them are done. mode: what may be put off:
    "on", "off" (nothing), or "held" (all that may be, until somebody waits, which finds whoever forgets to wait).
    closed: how many there are that keep everything from being put off. eager: whether operators are to be evaluated as
    they are recorded. load: grains that were put off since somebody waited. copy, conditional: addresses of kernels.
    """

    __slots__ = ("last", "seen", "put_at", "done_at", "mode", "closed", "eager", "load", "copy", "conditional")

    def __init__(self, mode: str):
        self.last = self.seen = None
        self.put_at = self.done_at = 0
        self.mode = mode
        self.closed = 0
        self.eager = False
        self.load = 0
        self.copy = self.conditional = 0


_TWO_WORDS = struct.Struct("=qq").pack


def _queue_mode() -> str:
    text = os.environ.get("LIVEGRAD_QUEUE", "") or "1"
    modes = {"0": "off", "1": "on", "held": "held"}
    if text not in modes:
        raise unusable("LIVEGRAD_QUEUE", "0, 1 or held", text)
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return "off"  # it is the interpreter's lock that lets one thread at a time put something there
    return modes[text]


QUEUE = _Queue(_queue_mode())
# Of what may be put off before somebody waits: so many grains, which are tens of microseconds of work each.
_MOST_LOAD = 1 << 14
_STEP = 4  # jobs that are waited for at once where an interruption may end the wait
_pool = None
_threads = _default_threads()


def _first_run(kernel, args, begin, end):
    """Stands in for `_run` until the dispatcher is there."""
    _the_pool()
    _run(kernel, args, begin, end)


_run = _first_run


def _the_pool():
    return _pool or service.call(_make_pool)


def _make_pool():
    global _pool, _run
    if _pool is None:
        _pool = _Pool()
        _run = _pool.run
    return _pool


# What others use


def run_here(kernel_address: int, args: bytes, begin: int, end: int) -> None:
    """Calls the kernel for a range in this thread, which keeps the interpreter's lock (`native` writes this out)."""
    _run(kernel_address, args, begin, end)


@hot
def launch(kernel_address: int, args: bytes, total: int, grain: int) -> None:
    """Calls the kernel at `kernel_address` for all items from 0 to `total` and returns when they are done.

    Up to `grain` items run at once in the calling thread, which keeps the interpreter's lock: `grain` should be tens
    of microseconds of work. More are cut at multiples of `grain` and shared among the threads, without the lock; with
    one thread, or while the pool is at another thread's job, all run here in a single call. `args` is what the
    kernel's first argument points to; nobody reads it after the return. Raises RuntimeError where llvmlite is
    missing, ValueError for a `grain` below 1.
    """
    finish()
    if total <= grain:
        run_here(kernel_address, args, 0, total)
    else:
        _share(kernel_address, args, total, grain)


@hot
def enqueue(kernel_address: int, args: bytes, total: int, grain: int) -> None:
    """Like `launch`, but what is worth sharing may be put off: it is done in order, while the caller goes on.

    Whoever looks at memory in another way than by an enqueued kernel calls `finish` first; `Array.native` does. What a
    kernel reads and writes must stay mapped: memory of `runtime.memory`, which may be given back, since whoever gets it
    next comes later in the queue too. The arguments are copied.
    """
    if busy():
        _put_off(kernel_address, args, total, grain)
    elif total <= grain and QUEUE.mode != "held":
        run_here(kernel_address, args, 0, total)
    else:
        _put_off(kernel_address, args, total, grain)


@hot
def enqueue_long(kernel_address: int, args: bytes, total: int, grain: int) -> None:
    """The same for what takes long even if it is not shared: the interpreter's lock is not held meanwhile."""
    _put_off(kernel_address, args, total, grain)


def enqueue_if(word: int, kernel_address: int, args: bytes, total: int, grain: int) -> None:
    """What is to be done if, when its turn comes, the eight bytes at an address are not all zero."""
    _put_off(QUEUE.conditional, _TWO_WORDS(word, kernel_address) + args, total, grain)


@hot
def puts_off() -> bool:
    """Whether work may be put off now: not with one thread, nor while somebody watches what runs."""
    if QUEUE.closed or QUEUE.eager or QUEUE.mode == "off":
        return False
    return _threads > 1 and WATCH.observer is None


@hot
def busy() -> bool:
    """Whether something that was put off is still to be done."""
    last = QUEUE.last
    if QUEUE.seen is last:
        return False
    if peek(QUEUE.put_at, 8) != peek(QUEUE.done_at, 8):
        return True
    QUEUE.seen = last  # that job is done; one that another thread has put there meanwhile has an object of its own
    return False


@hot
def finish() -> None:
    """Wait until all that was put off is done, and take part in it. An interruption (Ctrl-C) comes afterwards."""
    if busy():
        _finish(0)


@hot
def wait() -> None:
    """The same for whoever wants to read a result: an interruption ends the wait, and not the work."""
    if busy():
        _wait()


@hot
def _wait() -> None:
    while busy():
        count = int.from_bytes(peek(QUEUE.put_at, 8), "little") - int.from_bytes(peek(QUEUE.done_at, 8), "little")
        _finish(max(0, count - _STEP))


@hot
def _finish(left: int) -> None:
    pool = _pool
    if pool is not None and pool.number is not None:
        QUEUE.load = 0
        pool.drain(pool.state, left)


@hot
def _put_off(kernel_address: int, args: bytes, total: int, grain: int) -> None:
    if grain < 1:
        raise ValueError(f"grain must be at least 1, got {grain}")
    pool = _pool or _the_pool()
    helpers = _threads - 1
    if total < 1:
        return
    if not puts_off() or pool.number is None:
        finish()
        _share(kernel_address, args, total, grain)
        return
    if pool.wanted < helpers:
        pool.want_workers(helpers)
    QUEUE.load += -(-total // grain)
    if QUEUE.load > _MOST_LOAD:
        _finish(0)
    while not pool.put(pool.state, kernel_address, args, len(args), total, grain, helpers):
        if len(args) > MOST_BYTES:
            finish()
            _share(kernel_address, args, total, grain)
            return
        _finish(SLOTS // 2)
    QUEUE.last = []


@hot
def write(address: int, data: bytes) -> None:
    """Write into memory, after what was put off."""
    if busy():
        _put_off(QUEUE.copy, _TWO_WORDS(address, len(data)) + data, 1, 1)
    else:
        poke(address, data)


def close_queue() -> None:
    """From now on nothing is put off, until `open_queue`: somebody watches what runs, or the process forks or ends."""
    QUEUE.closed += 1
    finish()


def open_queue() -> None:
    QUEUE.closed -= 1


def _after_fork():
    if _pool is not None:
        _pool.reset()
    open_queue()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=close_queue, after_in_parent=open_queue, after_in_child=_after_fork)


def _at_exit() -> None:
    close_queue()
    memory.set_settle(lambda: None)  # memory may go when this module's names are gone


atexit.register(_at_exit)
memory.set_settle(finish)
machine.set_settle(finish)


def _share(kernel_address: int, args: bytes, total: int, grain: int) -> None:
    if grain < 1:
        raise ValueError(f"grain must be at least 1, got {grain}")
    pool = _pool or _the_pool()
    helpers = _threads - 1
    if not helpers:
        pool.run_unlocked(kernel_address, args, 0, total)
    elif pool.number is None:
        if pool.wanted < helpers:
            pool.want_workers(helpers)
        pool.launch_pieces(kernel_address, args, total, grain, helpers + 1)
    else:
        if pool.wanted < helpers:
            pool.want_workers(helpers)
        pool.launch(pool.state, kernel_address, args, total, grain, helpers)


def run_serial(kernel_address: int, args: bytes, total: int) -> None:
    """Calls the kernel once for all items, in the calling thread, without the interpreter's lock: for long work."""
    finish()
    (_pool or _the_pool()).run_unlocked(kernel_address, args, 0, total)


@hot
def get_num_threads() -> int:
    """How many threads a launch may use, the calling one included.

    At first `LIVEGRAD_NUM_THREADS`, or else the physical cores that this process may run on.
    """
    return _threads


def set_num_threads(count: int) -> None:
    """Sets how many threads a launch may use, the calling one included; takes effect with the next launch."""
    global _threads
    if not isinstance(count, int) or isinstance(count, bool):
        raise TypeError(f"the number of threads must be an int, not {type(count).__name__}")
    if not 1 <= count <= MOST_THREADS:
        raise ValueError(f"the number of threads must be from 1 to {MOST_THREADS}, got {count}")
    finish()
    _threads = count
