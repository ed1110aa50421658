"""The helper thread for work that must not be interrupted: compiling, loading machine code, starting threads.

Ctrl-C raises KeyboardInterrupt in the main thread between any two bytecodes, those of a library under us included;
one that is then halfway through freeing an object frees it twice. Signals never reach this thread, so such work
happens here, and whoever needs its result waits. An interrupted wait leaves the work going on: nothing is lost.

    job = submit(function, *args)    the call will be made; calls are made one after the other
    job.wait()                       until it has been made
    call(function, *args)            both, ahead of all that waits; its result, or its exception
    load("package.module", ...)      import what takes a while, at its first use

There is no lock that an interruption could leave locked: shared state changes through single calls that are atomic in
CPython, and whoever waits does so on a lock of its own.

* A fork waits until no job is running, so a child never finds a library in the middle of something. A thread of the
  child's own takes over what was still waiting. It also waits until no other thread is importing a part of this
  library or of what it stands on: in a child that import would never end, and everybody who needs the module would
  wait for it.
* A job must need no lock that the thread which waits for it could hold. So during a job the garbage collector is off,
  for it would run anybody's finalizers; and a job that needs a module finds it loaded by a `load` before.
* Imports belong here too. An interrupted one can leave Python's import lock locked, and a child that was forked by
  another thread in the middle of one can never import that module. A job that imports would wait for such a lock for
  ever, so whoever waits for a job first releases what it has left locked itself.
* The exit of the interpreter waits for the job that is running. From then on, and where no thread can be started, jobs
  run in the thread that asks.
"""

from __future__ import annotations

import _imp
import _thread
import atexit
import contextlib
import gc
import importlib
import math
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

__all__ = ["Job", "call", "drain", "load", "submit"]

_POLL = 0.0005  # seconds; how often a fork, and the exit, look whether the job is done
_IMPORT_SECONDS = 10.0  # how long a fork waits for other threads' imports
_EXIT_SECONDS = 60.0  # how long the exit waits for a job: many times what any takes
_IMPORT_CODE = importlib._bootstrap._find_and_load.__code__.co_filename  # type: ignore[attr-defined]
_INTERRUPTION: tuple = (_thread.interrupt_main, ())
_OURS = frozenset({"livegrad", "llvmlite", "ml_dtypes", "numpy"})  # whose imports it waits for


class Job:
    """A call that will be made; when it is `done` there is its `result`, or its `error`."""

    __slots__ = ("_call", "_taken", "_waiters", "done", "error", "result")

    def __init__(self, function: Callable, args: tuple) -> None:
        self._call: tuple | None = (function, args)
        self._taken = _thread.allocate_lock()  # by who makes the call; never released
        self._waiters: list = []
        self.done = False
        self.result: Any = None
        self.error: BaseException | None = None

    def wait(self, timeout: float = -1) -> bool:
        """Wait until the call has been made; False if the time was up first. An interruption ends only the wait."""
        while not self.done:
            _release_import_locks()
            lock = _thread.allocate_lock()
            lock.acquire()
            self._waiters.append(lock)
            if self.done:  # perhaps just before somebody could see the lock
                break
            if not _service.attend():
                self.run()
            if not lock.acquire(True, timeout):
                return self.done
        return True

    def run(self) -> None:
        """Make the call here, unless somebody has begun to."""
        if not self._taken.acquire(False):
            return
        function, args = self._call  # type: ignore[misc]
        try:
            self.result = function(*args)
        except BaseException as error:
            _empty_frames(error)  # what they hold must not be freed in another thread
            self.error = error
        self._call = None
        self.done = True
        self.wake()

    def wake(self) -> None:
        """End all waits; those that are not over begin again."""
        while self._waiters:
            self._waiters.pop().release()


class _Service:
    """The thread, and the jobs that nobody has taken yet."""

    def __init__(self) -> None:
        self.jobs: deque[Job] = deque()
        self.forking: set[int] = set()  # the threads that are about to
        self.closed = False
        self.forget_thread()

    def forget_thread(self) -> None:
        self.thread = 0
        self.busy = False
        self.claim = _thread.allocate_lock()  # whoever gets it is the thread
        self.wakeup: SimpleQueue = SimpleQueue()

    def attend(self) -> bool:
        """Make sure that the thread is there and looks at the jobs; False where there can be none."""
        if self.closed or sys.is_finalizing():
            return False
        if not self.thread:
            try:
                _thread.start_new_thread(self.serve, ())
            except RuntimeError:
                return False
        self.wakeup.put(None)
        return True

    def serve(self) -> None:
        if not self.claim.acquire(False):  # two threads asked at the same time, or one was interrupted and asked again
            return
        self.thread = _thread.get_ident()
        _block_signals()
        wakeup = self.wakeup
        while not self.closed:
            self.busy = True  # first this, then a look at who forks; a fork does it the other way round
            while self.jobs and not self.forking and not self.closed:
                self.make_call()
            self.busy = False
            if self.forking:
                time.sleep(_POLL)
            elif not self.jobs:
                wakeup.get()
        self.busy = False

    def make_call(self) -> None:
        try:
            job = self.jobs.popleft()
        except IndexError:
            return
        collecting = gc.isenabled()
        gc.disable()
        try:
            job.run()
        finally:
            if collecting:
                gc.enable()

    def wait_until_idle(self, seconds: float = math.inf) -> None:
        deadline = time.monotonic() + seconds
        while self.busy and self.thread != _thread.get_ident() and time.monotonic() < deadline:
            time.sleep(_POLL)

    def before_fork(self) -> None:
        """Wait until no job is running and nobody else imports; then nobody can begin to.

        Python drops what is raised here and forks all the same. So an interruption comes when the fork is over.
        """
        deadline = time.monotonic() + _IMPORT_SECONDS
        interrupted = False
        while True:
            try:
                if self.stops_all(deadline):
                    break
            except KeyboardInterrupt:
                interrupted = True
        if interrupted:
            self.jobs.append(Job(*_INTERRUPTION))
            self.attend()

    def stops_all(self, deadline: float) -> bool:
        """One attempt at that; afterwards this thread holds the import lock, if it was successful."""
        me = _thread.get_ident()
        _release_import_locks()
        self.forking.add(me)
        self.wait_until_idle()
        _imp.acquire_lock()
        # Another thread's fork, which has ended since, may have crossed this one out.
        if me in self.forking and (not _others_import(me) or time.monotonic() > deadline):
            return True
        _imp.release_lock()
        self.forking.discard(me)  # what is imported may need a job
        time.sleep(_POLL)
        return False

    def after_in_child(self) -> None:
        self.forking.clear()
        self.forget_thread()
        for job in list(self.jobs):
            if job._call == _INTERRUPTION:  # it was the parent's
                self.jobs.remove(job)
        self.wake_all()
        _imp.release_lock()

    def wake_all(self) -> None:
        for job in list(self.jobs):
            job.wake()

    def close(self) -> None:
        """The interpreter exits."""
        self.closed = True
        self.wakeup.put(None)
        _release_import_locks()
        self.wait_until_idle(_EXIT_SECONDS)
        self.wake_all()


def _release_import_locks() -> None:
    """Release the locks that an import of this thread has left locked when it was interrupted.

    Python takes the import lock, or a module's, and then begins the block that releases it: Ctrl-C can strike between.
    """
    locks = _module_locks()
    if not locks and not _imp.lock_held():
        return
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code.co_filename == _IMPORT_CODE:
            return  # an import is under way
        frame = frame.f_back  # type: ignore[assignment]
    with contextlib.suppress(RuntimeError):  # "not holding the import lock"
        while True:
            _imp.release_lock()
    me = _thread.get_ident()
    for reference in list(locks.values()):
        lock = reference()
        with contextlib.suppress(RuntimeError):
            while lock is not None and lock.owner == me:
                lock.release()


def _module_locks() -> dict:
    # Python has no public way to ask. The locks are there from before a module's file is looked for.
    return getattr(importlib._bootstrap, "_module_locks", {})  # type: ignore[attr-defined]


def _others_import(me: int) -> bool:
    """Whether another thread than `me` is importing a part of this library. Whoever asks holds the import lock."""
    for name, reference in list(_module_locks().items()):
        if name.partition(".")[0] in _OURS:
            lock = reference()
            if lock is not None and lock.owner != me:  # with no owner yet, or no more, it is somebody's all the same
                return True
    return False


def _empty_frames(error: BaseException) -> None:
    place = error.__traceback__
    while place is not None:
        with contextlib.suppress(RuntimeError):  # it is running
            place.tb_frame.clear()
        place = place.tb_next


def _block_signals() -> None:
    """Leave signals to other threads, so that one that waits is woken by them; but for those that tell of a crash."""
    if hasattr(signal, "pthread_sigmask"):
        own = {getattr(signal, name, None) for name in ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT", "SIGPROF")}
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - own)


_service = _Service()
atexit.register(_service.close)
if hasattr(os, "register_at_fork"):
    # In the parent functions of C, which an interruption cannot keep from being called; in this order.
    os.register_at_fork(
        before=_service.before_fork,
        after_in_parent=_service.forking.clear,
        after_in_child=_service.after_in_child,
    )
    os.register_at_fork(after_in_parent=_imp.release_lock)


def submit(function: Callable, *args: Any) -> Job:
    """Have a call made, behind what is waiting already."""
    job = Job(function, args)
    _service.jobs.append(job)
    _service.attend()  # where there can be no thread the call is made when somebody waits for it
    return job


def call(function: Callable, *args: Any) -> Any:
    """Have a call made next, wait for it, and return its result or raise what it raised."""
    if _service.thread == _thread.get_ident():
        return function(*args)
    job = Job(function, args)
    _service.jobs.appendleft(job)
    job.wait()
    if job.error is not None:
        raise job.error
    return job.result


_loaded: set[str] = set()


def load(*names: str) -> None:
    """Import modules, unless that is done. Their errors are raised here."""
    if not _loaded.issuperset(names):
        _release_import_locks()
        if _locks_imports():
            _import(names)  # another thread would wait for ever
        else:
            call(_import, names)


def _locks_imports() -> bool:
    """Whether this thread holds Python's import lock, as in a finalizer in the middle of an import."""
    try:
        _imp.release_lock()
    except RuntimeError:
        return False
    _imp.acquire_lock()
    return True


def _import(names: tuple[str, ...]) -> None:
    for name in names:
        importlib.import_module(name)
    _loaded.update(names)


def drain(timeout: float | None = None) -> None:
    """Wait until all that was submitted before has been done."""
    submit(_nothing).wait(-1 if timeout is None else timeout)


def _nothing() -> None:
    pass
