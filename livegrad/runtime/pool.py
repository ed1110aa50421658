"""Threads for kernels: `launch` runs a machine-code function over a range, on as many threads as are worth it.

A kernel is `void kernel(ptr args, i64 begin, i64 end)`. The range is cut into a share for each thread, and a share into
chunks of `grain` items. A thread takes those of its own share one after the other, then what is left of the others'.
So a thread mostly meets what it has worked on before, in its own cache, and nobody waits for a thread that is late.
Every other job goes through its shares backwards: what the job before read and wrote last is still in the cache then.
The helpers are Python threads that call into `worker`,
below, and stay there without the interpreter's lock: between jobs they spin for a while and then sleep in a
futex. A job starts in a few microseconds while they spin, and they cost nothing while they sleep.

The dispatcher is LLVM IR. All that it shares lies in one state block, in cache lines of their own:

* `generation` grows with every job; this is what idle helpers watch and sleep on.
* `gate` holds OPEN while a job takes helpers, WAITING while its caller sleeps, and the number of helpers inside. A
  helper enters only through an open gate, and `launch` closes it and waits for the number to be zero before it
  returns, so nobody touches a job's arguments afterwards.
* `shares` has a line for each share: the first item that nobody has taken.
* `busy` is held by the thread whose job it is. Another thread that launches meanwhile, or a kernel that launches,
  does not wait for it but runs its range itself.

Where there is no futex (not Linux), plain threads take pieces of the range from a queue instead. A forked child starts
helpers of its own when it needs them. The state is never freed: helpers are inside until the process ends.

An interruption (Ctrl-C) reaches Python only, so a launch through the dispatcher is over before anybody sees one. What
takes several steps in Python, making the pool and starting threads, is done by the helper thread of `llvm.service`.
"""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import itertools
import mmap
import os
import platform
import sys
import time
from queue import SimpleQueue

from ..llvm import cache, service
from ..native import hot

__all__ = ["get_num_threads", "launch", "run_serial", "set_num_threads"]

_SPIN_SECONDS = 300e-6
_FUTEX_NUMBER = {"x86_64": 202, "aarch64": 98, "riscv64": 98, "ppc64le": 221}  # the system call's, by machine
_SHARES = 512  # where they begin in the state block
_MOST_THREADS = 1024
_STATE_BYTES = _SHARES + 64 * _MOST_THREADS


# The dispatcher

_HEAD = """
%state = type {
  i32, [60 x i8],                     ; 0 generation
  i32, [60 x i8],                     ; 2 sleepers: helpers asleep, or about to be
  i32, [60 x i8],                     ; 4 gate
  i32, [60 x i8],                     ; 6 busy
  ptr, ptr, i64, i64,                 ; 8 kernel, 9 args, 10 total, 11 grain
  i32, i32, i64, [16 x i8],           ; 12 limit: how many helpers may enter, 13 how many shares, 14 items of a share
  ptr, i64, i64,                      ; 16 syscall, 17 number of futex, 18 spins
  i32                                 ; 19 whether the job runs from the end of each share to its beginning
}
%share = type { i64, [56 x i8] }      ; from SHARES on
"""

_PAUSE = {
    "x86_64": ("declare void @llvm.x86.sse2.pause()", "call void @llvm.x86.sse2.pause()"),
    "aarch64": ("declare void @llvm.aarch64.hint(i32)", "call void @llvm.aarch64.hint(i32 1)"),
}

_RUN = """
define void @run(ptr %kernel, ptr %args, i64 %begin, i64 %end) {
  %some = icmp slt i64 %begin, %end
  br i1 %some, label %go, label %done
go:
  call void %kernel(ptr %args, i64 %begin, i64 %end)
  br label %done
done:
  ret void
}
"""

# OPEN is bit 31 of the gate, WAITING bit 30, the number of helpers inside bits 0 to 29.
# The futex operations are 128 FUTEX_WAIT_PRIVATE and 129 FUTEX_WAKE_PRIVATE.
_DISPATCH = """
define internal void @futex(ptr %s, ptr %word, i64 %operation, i32 %value) {
  %syscall.p = getelementptr %state, ptr %s, i32 0, i32 16
  %number.p = getelementptr %state, ptr %s, i32 0, i32 17
  %syscall = load ptr, ptr %syscall.p
  %number = load i64, ptr %number.p
  %value.wide = zext i32 %value to i64
  call i64 (i64, ...) %syscall(i64 %number, ptr %word, i64 %operation, i64 %value.wide, ptr null, ptr null, i64 0)
  ret void
}

define void @spin(i64 %count) {
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %i.next, %loop ]
  PAUSE
  %i.next = add i64 %i, 1
  %more = icmp slt i64 %i.next, %count
  br i1 %more, label %loop, label %done
done:
  ret void
}

define internal ptr @share(ptr %s, i64 %number) {
  %first = getelementptr i8, ptr %s, i64 SHARES
  %place = getelementptr %share, ptr %first, i64 %number
  ret ptr %place
}

define internal void @take_chunks(ptr %s, i64 %thread) {
entry:
  %kernel.p = getelementptr %state, ptr %s, i32 0, i32 8
  %args.p = getelementptr %state, ptr %s, i32 0, i32 9
  %total.p = getelementptr %state, ptr %s, i32 0, i32 10
  %grain.p = getelementptr %state, ptr %s, i32 0, i32 11
  %shares.p = getelementptr %state, ptr %s, i32 0, i32 13
  %length.p = getelementptr %state, ptr %s, i32 0, i32 14
  %kernel = load ptr, ptr %kernel.p
  %args = load ptr, ptr %args.p
  %total = load i64, ptr %total.p
  %grain = load i64, ptr %grain.p
  %shares.i32 = load i32, ptr %shares.p
  %shares = zext i32 %shares.i32 to i64
  %length = load i64, ptr %length.p
  %back.p = getelementptr %state, ptr %s, i32 0, i32 19
  %back.i32 = load i32, ptr %back.p
  %back = icmp ne i32 %back.i32, 0
  br label %turn
turn:
  %k = phi i64 [ 0, %entry ], [ %k.next, %following ]
  %turned = add i64 %thread, %k
  %number = urem i64 %turned, %shares
  %share.p = call ptr @share(ptr %s, i64 %number)
  %first = mul i64 %number, %length
  %last = add i64 %first, %length
  %beyond = icmp sgt i64 %last, %total
  %limit = select i1 %beyond, i64 %total, i64 %last
  %last.item = sub i64 %limit, 1
  %last.chunk = sub i64 %last.item, %first
  %behind = urem i64 %last.chunk, %grain
  %top = sub i64 %last.item, %behind
  %mirror = add i64 %first, %top
  br label %take
take:
  %next = atomicrmw add ptr %share.p, i64 %grain monotonic
  %some = icmp slt i64 %next, %limit
  br i1 %some, label %work, label %following
work:
  %mirrored = sub i64 %mirror, %next
  %begin = select i1 %back, i64 %mirrored, i64 %next
  %left = sub i64 %limit, %begin
  %short = icmp slt i64 %left, %grain
  %count = select i1 %short, i64 %left, i64 %grain
  %end = add i64 %begin, %count
  call void %kernel(ptr %args, i64 %begin, i64 %end)
  br label %take
following:
  %k.next = add i64 %k, 1
  %more = icmp ult i64 %k.next, %shares
  br i1 %more, label %turn, label %done
done:
  ret void
}

define void @worker(ptr %s, i64 %thread) {
entry:
  %generation.p = getelementptr %state, ptr %s, i32 0, i32 0
  %sleepers.p = getelementptr %state, ptr %s, i32 0, i32 2
  %gate.p = getelementptr %state, ptr %s, i32 0, i32 4
  %limit.p = getelementptr %state, ptr %s, i32 0, i32 12
  %spins.p = getelementptr %state, ptr %s, i32 0, i32 18
  br label %top

top:
  %seen = load atomic i32, ptr %generation.p seq_cst, align 4
  br label %look

look:
  %gate = load atomic i32, ptr %gate.p seq_cst, align 4
  %limit = load atomic i32, ptr %limit.p monotonic, align 4
  %inside = and i32 %gate, 1073741823
  %open = icmp slt i32 %gate, 0
  %room = icmp ult i32 %inside, %limit
  %may = and i1 %open, %room
  br i1 %may, label %enter, label %idle

enter:
  %one.more = add i32 %gate, 1
  %tried = cmpxchg ptr %gate.p, i32 %gate, i32 %one.more seq_cst seq_cst
  %entered = extractvalue { i32, i1 } %tried, 1
  br i1 %entered, label %work, label %look

work:
  call void @take_chunks(ptr %s, i64 %thread)
  %was = atomicrmw sub ptr %gate.p, i32 1 seq_cst
  %was.low = and i32 %was, 2147483647
  %last = icmp eq i32 %was.low, 1073741825
  br i1 %last, label %tell, label %idle

tell:
  call void @futex(ptr %s, ptr %gate.p, i64 129, i32 1)
  br label %idle

idle:
  %spins = load i64, ptr %spins.p
  br label %watch

watch:
  %i = phi i64 [ 0, %idle ], [ %i.next, %again ]
  %now = load atomic i32, ptr %generation.p acquire, align 4
  %new = icmp ne i32 %now, %seen
  br i1 %new, label %top, label %patience

patience:
  %enough = icmp sge i64 %i, %spins
  br i1 %enough, label %sleep, label %again

again:
  PAUSE
  %i.next = add i64 %i, 1
  br label %watch

sleep:
  %s.up = atomicrmw add ptr %sleepers.p, i32 1 seq_cst
  call void @futex(ptr %s, ptr %generation.p, i64 128, i32 %seen)
  %s.down = atomicrmw sub ptr %sleepers.p, i32 1 seq_cst
  br label %top
}

define void @launch(ptr %s, ptr %kernel, ptr %args, i64 %total, i64 %grain, i32 %helpers) {
entry:
  %busy.p = getelementptr %state, ptr %s, i32 0, i32 6
  %tried = cmpxchg ptr %busy.p, i32 0, i32 1 seq_cst seq_cst
  %mine = extractvalue { i32, i1 } %tried, 1
  br i1 %mine, label %publish, label %alone

alone:
  call void %kernel(ptr %args, i64 0, i64 %total)
  ret void

publish:
  %generation.p = getelementptr %state, ptr %s, i32 0, i32 0
  %sleepers.p = getelementptr %state, ptr %s, i32 0, i32 2
  %gate.p = getelementptr %state, ptr %s, i32 0, i32 4
  %kernel.p = getelementptr %state, ptr %s, i32 0, i32 8
  %args.p = getelementptr %state, ptr %s, i32 0, i32 9
  %total.p = getelementptr %state, ptr %s, i32 0, i32 10
  %grain.p = getelementptr %state, ptr %s, i32 0, i32 11
  %limit.p = getelementptr %state, ptr %s, i32 0, i32 12
  %shares.p = getelementptr %state, ptr %s, i32 0, i32 13
  %length.p = getelementptr %state, ptr %s, i32 0, i32 14
  %spins.p = getelementptr %state, ptr %s, i32 0, i32 18
  %back.p = getelementptr %state, ptr %s, i32 0, i32 19
  store ptr %kernel, ptr %kernel.p
  store ptr %args, ptr %args.p
  store i64 %total, ptr %total.p
  store i64 %grain, ptr %grain.p
  %generation = load atomic i32, ptr %generation.p monotonic, align 4
  %back = and i32 %generation, 1
  store i32 %back, ptr %back.p
  %last.item = sub i64 %total, 1
  %chunks.less.one = udiv i64 %last.item, %grain
  %helpers.wide = zext i32 %helpers to i64
  %few = icmp ult i64 %chunks.less.one, %helpers.wide
  %wanted.wide = select i1 %few, i64 %chunks.less.one, i64 %helpers.wide
  %wanted = trunc i64 %wanted.wide to i32
  store atomic i32 %wanted, ptr %limit.p monotonic, align 4
  %shares = add i64 %wanted.wide, 1
  %shares.i32 = trunc i64 %shares to i32
  store i32 %shares.i32, ptr %shares.p
  %chunks.of.share = udiv i64 %chunks.less.one, %shares
  %rounded = add i64 %chunks.of.share, 1
  %length = mul i64 %rounded, %grain
  store i64 %length, ptr %length.p
  br label %cut

cut:
  %k = phi i64 [ 0, %publish ], [ %k.next, %cut ]
  %share.p = call ptr @share(ptr %s, i64 %k)
  %first = mul i64 %k, %length
  store atomic i64 %first, ptr %share.p monotonic, align 8
  %k.next = add i64 %k, 1
  %more.shares = icmp ult i64 %k.next, %shares
  br i1 %more.shares, label %cut, label %open

open:
  store atomic i32 -2147483648, ptr %gate.p seq_cst, align 4
  %g = atomicrmw add ptr %generation.p, i32 1 seq_cst
  %sleepers = load atomic i32, ptr %sleepers.p seq_cst, align 4
  %asleep = icmp ne i32 %sleepers, 0
  br i1 %asleep, label %wake, label %work

wake:
  call void @futex(ptr %s, ptr %generation.p, i64 129, i32 %wanted)
  br label %work

work:
  call void @take_chunks(ptr %s, i64 0)
  %closed = atomicrmw and ptr %gate.p, i32 2147483647 seq_cst
  %spins = load i64, ptr %spins.p
  br label %watch

watch:
  %i = phi i64 [ 0, %work ], [ %i.next, %again ], [ 0, %slept ]
  %gate = load atomic i32, ptr %gate.p seq_cst, align 4
  %inside = and i32 %gate, 1073741823
  %empty = icmp eq i32 %inside, 0
  br i1 %empty, label %done, label %patience

patience:
  %enough = icmp sge i64 %i, %spins
  br i1 %enough, label %ask, label %again

again:
  PAUSE
  %i.next = add i64 %i, 1
  br label %watch

ask:
  %waiting = or i32 %gate, 1073741824
  %asked = cmpxchg ptr %gate.p, i32 %gate, i32 %waiting seq_cst seq_cst
  %agreed = extractvalue { i32, i1 } %asked, 1
  br i1 %agreed, label %sleep, label %slept

sleep:
  call void @futex(ptr %s, ptr %gate.p, i64 128, i32 %waiting)
  br label %slept

slept:
  br label %watch

done:
  store atomic i32 0, ptr %busy.p seq_cst, align 4
  ret void
}
"""


def _module_text(machine, with_futex):
    """The dispatcher's IR for `machine`; only `run` where there is no futex."""
    if not with_futex:
        return _RUN
    declaration, pause = _PAUSE.get(machine, ("", ""))
    return declaration + _HEAD + _RUN + _DISPATCH.replace("PAUSE", pause).replace("SHARES", str(_SHARES))


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
        if not text.isdecimal() or not 1 <= int(text) <= _MOST_THREADS:
            raise ValueError(f"LIVEGRAD_NUM_THREADS must be a whole number from 1 to {_MOST_THREADS}, not {text!r}")
        return int(text)
    if hasattr(os, "sched_getaffinity"):
        count = _physical_cores(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    return max(1, min(count, _cpu_quota() or count, _MOST_THREADS))


# The pool


class _Pool:
    """The compiled dispatcher and the helpers of this process."""

    def __init__(self):
        machine = platform.machine().lower().replace("amd64", "x86_64").replace("arm64", "aarch64")
        number = _FUTEX_NUMBER.get(machine) if sys.platform == "linux" else None
        names = ["run"] if number is None else ["run", "worker", "spin", "launch"]
        try:
            address = cache.functions(_module_text(machine, number is not None), names)
        except ImportError as error:
            raise RuntimeError("kernels need llvmlite, which cannot be imported") from error
        signature = (None, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int64, ctypes.c_int64)
        run = address["run"]
        self.run = ctypes.PYFUNCTYPE(*signature)(run)  # keeps the interpreter's lock
        self.run_unlocked = ctypes.CFUNCTYPE(*signature)(run)
        self.number = number
        if number is not None:
            self.worker = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(address["worker"])
            spin = ctypes.CFUNCTYPE(None, ctypes.c_int64)(address["spin"])
            self.launch = ctypes.CFUNCTYPE(None, ctypes.c_void_p, *signature[1:], ctypes.c_int32)(address["launch"])
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
        region = mmap.mmap(-1, _STATE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        export = ctypes.c_char.from_buffer(region)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(export))
        self.state = ctypes.addressof(export)
        syscall = ctypes.cast(ctypes.CDLL(None).syscall, ctypes.c_void_p).value
        tail = (ctypes.c_int64 * 3).from_address(self.state + 5 * 64)  # fields 16 to 18
        tail[:] = [syscall, self.number, self.spins]

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


def _after_fork():
    if _pool is not None:
        _pool.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


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
    if total <= grain:
        run_here(kernel_address, args, 0, total)
    else:
        _share(kernel_address, args, total, grain)


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
    (_pool or _the_pool()).run_unlocked(kernel_address, args, 0, total)


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
    if not 1 <= count <= _MOST_THREADS:
        raise ValueError(f"the number of threads must be from 1 to {_MOST_THREADS}, got {count}")
    _threads = count
