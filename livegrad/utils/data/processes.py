"""A pass over a DataLoader whose batches are made in worker processes.

Indices go to the workers in turn, some batches ahead of what is asked for. A batch is awaited from the very worker that
was asked for it, so batches come in order and nothing waits in between; each worker has a connection of its own.
Workers that end themselves, or are ended, are noticed there: the connection is then at its end.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import select
import signal
import socket
import time
import weakref
from collections import deque
from collections.abc import Iterator
from multiprocessing.connection import wait
from typing import Any

from .iteration import Pass
from .transfer import receive, send
from .worker import END, FAILED, FETCH, RESUME, Place, work

__all__ = ["ProcessIterator"]

# Bytes of requests, or of answers, that may wait in a connection: less than its buffer holds, so nobody waits to send.
_BUFFERED = 96 << 10
_WAITING = 64  # as many messages at most, for each takes room beside its bytes
_PATIENCE = 5.0  # seconds for a worker to end by itself


class _Worker:
    """A worker process, as the main program sees it."""

    def __init__(self, process: Any, connection: Any) -> None:
        self.process = process
        self.connection = connection
        self.live = True  # whether it has more to give in this pass
        self.poll = None
        if hasattr(select, "poll"):
            poller = select.poll()
            poller.register(connection.fileno(), select.POLLIN)
            self.poll = poller.poll

    def has_answer(self, seconds: float | None) -> bool:
        """Whether something comes within so many seconds; an end counts."""
        if self.poll is None:
            return bool(wait([self.connection], seconds))
        return bool(self.poll(None if seconds is None else seconds * 1000))

    def hang_up(self) -> None:
        """End the connection, for whoever has inherited it as well."""
        with contextlib.suppress(OSError):
            if hasattr(socket, "AF_UNIX"):
                with socket.socket(fileno=os.dup(self.connection.fileno())) as line:
                    line.shutdown(socket.SHUT_RDWR)
            self.connection.close()

    def fate(self) -> str:
        """How it ended, in words."""
        self.process.join(_PATIENCE)
        code = self.process.exitcode
        if code is None:
            return "it closed its connection"
        if code >= 0:
            return f"with exit code {code}; its own messages, if any, are on stderr"
        with contextlib.suppress(ValueError):
            name = signal.Signals(-code).name
            more = "; perhaps memory ran out" if name == "SIGKILL" else ""
            return f"killed by signal {-code} ({name}){more}"
        return f"killed by signal {-code}"


def _end(owner: int, workers: list[_Worker]) -> None:
    """Have all workers end, and wait for it: those that take too long are ended by the system."""
    if os.getpid() != owner:  # a forked child's copy of the pass is gone
        return
    for worker in workers:
        worker.hang_up()
    deadline = time.monotonic() + _PATIENCE
    try:
        for worker in workers:
            process = worker.process
            process.join(max(0.0, deadline - time.monotonic()))
            for force in (process.terminate, process.kill):
                if process.is_alive():
                    force()
                    process.join(1.0)
    finally:
        workers.clear()


class ProcessIterator(Pass):
    """One pass; with persistent workers, one after the other (`restart`)."""

    def __init__(self, loader: Any, indices: Iterator, base_seed: int) -> None:
        super().__init__(loader)
        self._stay, self._in_order = loader.persistent_workers, loader.in_order
        self._seconds = loader.timeout or None
        self._workers: list[_Worker] = []
        self._asked: deque[_Worker] = deque()  # for batches that are due, in their order
        self._cut_short = False
        # Not __del__, for this comes at the exit of the program as well.
        self._finalizer = weakref.finalize(self, _end, os.getpid(), self._workers)
        ahead = min(loader.prefetch_factor, _WAITING)
        self._ahead = ahead * loader.num_workers
        self._limit = _BUFFERED // max(1, ahead)
        try:
            self._start(loader, base_seed)
            self._begin(indices)
        except BaseException:
            self.close()
            raise

    def _start(self, loader: Any, base_seed: int) -> None:
        context = loader.multiprocessing_context or multiprocessing.get_context()
        inherits = context.get_start_method() == "fork"
        for number in range(loader.num_workers):
            mine, others = context.Pipe(duplex=True)
            try:
                inherited = [*(worker.connection for worker in self._workers), mine] if inherits else []
                place = Place(number, loader.num_workers, base_seed, os.getpid())
                args = (others, inherited, place, self._recipe, self._limit, loader.worker_init_fn)
                process = context.Process(target=work, args=args, daemon=True)
                process.start()
            except BaseException:
                mine.close()
                raise
            finally:
                others.close()
            self._workers.append(_Worker(process, mine))

    def _begin(self, indices: Iterator) -> None:
        self._given = 0
        self._indices = indices
        self._turns = itertools.cycle(self._workers)
        self._asked.clear()
        for worker in self._workers:
            worker.live = True
        for _ in range(self._ahead):
            self._ask()

    def restart(self, indices: Iterator) -> None:
        """Another pass with the same workers. What is still on its way is thrown away."""
        try:
            for worker in self._workers:
                self._send(worker, (RESUME, None))
            for worker in self._workers:
                while self._receive(worker)[0] != RESUME:
                    pass
            self._begin(indices)
        except BaseException:
            self.close()
            raise

    @property
    def closed(self) -> bool:
        """Whether the workers are gone."""
        return not self._workers

    def close(self) -> None:
        """End the workers."""
        self._finalizer()

    _shutdown_workers = close  # PyTorch's name

    def _next(self) -> Any:
        while True:
            if self._cut_short:
                raise RuntimeError("this pass over a DataLoader was cut short and its workers are gone; begin another")
            worker = self._next_worker()
            if worker is None:
                if not self._stay:
                    self.close()
                raise StopIteration
            try:
                kind, content = self._receive(worker)
                if kind == END:
                    worker.live = False
                    self._asked = deque(other for other in self._asked if other is not worker)
                else:
                    self._asked.remove(worker)
                self._ask()
            except BaseException:  # an interruption too: what was half read or sent cannot be gone on with
                self._cut_short = True
                self.close()
                raise
            if kind == FAILED:
                raise content.error()
            if kind != END:
                return content

    def _next_worker(self) -> _Worker | None:
        """The worker whose batch is next, once it has come; None at the end of the pass."""
        if not self._asked:
            return None
        if self._in_order:
            worker = self._asked[0]
            if worker.has_answer(self._seconds):
                return worker
        else:
            workers = {worker.connection: worker for worker in self._asked}
            for connection in wait(list(workers), self._seconds):
                return workers[connection]  # type: ignore[index]
        self._cut_short = True
        self.close()
        raise RuntimeError(f"DataLoader timed out after {self._seconds} seconds")

    def _ask(self) -> None:
        """Send the next index to the worker whose turn it is, if there is both."""
        index = next(self._indices, self)
        if index is self:
            return
        for _ in self._workers:
            worker = next(self._turns)
            if worker.live and self._may_have_more(worker):
                self._send(worker, (FETCH, index))
                self._asked.append(worker)
                return

    def _may_have_more(self, worker: _Worker) -> bool:
        """Out of order, a slow worker is left alone; in order, all have their turn."""
        return self._in_order or self._asked.count(worker) < max(1, self._ahead // len(self._workers))

    def _send(self, worker: _Worker, message: tuple) -> None:
        try:
            send(worker.connection, message, self._limit, worker.process.pid)
        except ConnectionError as error:
            raise self._gone(worker) from error

    def _receive(self, worker: _Worker) -> tuple:
        try:
            return receive(worker.connection)
        except (EOFError, ConnectionError) as error:
            raise self._gone(worker) from error

    def _gone(self, worker: _Worker) -> RuntimeError:
        return RuntimeError(f"DataLoader worker (pid(s) {worker.process.pid}) exited unexpectedly: {worker.fate()}")
