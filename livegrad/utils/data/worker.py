"""What runs in a worker process of a DataLoader."""

from __future__ import annotations

import os
import pickle
import random
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import livegrad

from .fetching import Recipe
from .transfer import receive, send

__all__ = [
    "BATCH", "END", "FAILED", "FETCH", "RESUME", "Failure", "Place", "WorkerInfo", "get_worker_info", "work",
]  # fmt: skip

# Messages are pairs. To a worker: (FETCH, index), (RESUME, None) at the beginning of another pass. From it:
# (BATCH, batch), (FAILED, failure), (END, None) where its stream ends, (RESUME, None) when all before is answered.
FETCH, RESUME, BATCH, FAILED, END = "fetch", "resume", "batch", "failed", "end"
_LOOK = 5.0  # seconds; how often a worker that has nothing to do looks whether its parent is there


@dataclass(frozen=True)
class WorkerInfo:
    """What ``get_worker_info()`` returns inside a worker: its number, how many there are, its seed, its dataset."""

    id: int
    num_workers: int
    seed: int
    dataset: Any
    rng: Any = None
    worker_method: str = "multiprocessing"


_current: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """The `WorkerInfo` of this worker process, or None in the main program.

    A stream that is split between workers reads its share from ``id`` and ``num_workers``.
    """
    return _current


class _Verbatim(str):
    """The text of a KeyError, which would show it quoted."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class Failure:
    """An exception of a worker, as text, to be raised in the main program."""

    def __init__(self, error: BaseException, number: int) -> None:
        kind = type(error)
        self.where = f"in DataLoader worker process {number}"
        self.name = kind.__name__
        self.text = "".join(traceback.format_exception(error))
        self.kind: type | None = kind
        try:
            pickle.dumps(kind)
        except Exception:  # a class that only the worker knows
            self.kind = None

    def error(self) -> BaseException:
        """An exception of the same class where one can be made of a text, or else a RuntimeError."""
        message = f"Caught {self.name} {self.where}.\nOriginal {self.text}"
        if self.kind is None:
            return RuntimeError(message)
        try:
            return self.kind(_Verbatim(message)) if self.kind is KeyError else self.kind(message)
        except Exception:
            return RuntimeError(message)


@dataclass(frozen=True)
class Place:
    """A worker's number, how many there are, and the pass's seed."""

    number: int
    count: int
    base_seed: int
    parent: int  # the main program's process id


def _numpy_seed(base_seed: int, worker: int) -> np.ndarray:
    """Four 32-bit words from a base seed and a worker's number."""
    words = [worker, base_seed & 0xFFFFFFFF, base_seed >> 32, 0]
    return np.random.SeedSequence(words).generate_state(4)


def work(
    connection: Any, others: list, place: Place, recipe: Recipe, limit: int, init_fn: Callable[[int], Any] | None
) -> None:
    """Answer what comes through `connection` until the other side has no more to ask, or is gone.

    others: the main program's ends, as far as this process has inherited them; they must not be kept open here.
    limit: how long messages may be (see `transfer.send`).
    """
    global _current
    for other in others:
        other.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main program's to handle; it then ends its workers
    livegrad.set_num_threads(1)
    seed = place.base_seed + place.number
    random.seed(seed)
    livegrad.manual_seed(seed)
    np.random.seed(_numpy_seed(place.base_seed, place.number))
    _current = WorkerInfo(place.number, place.count, seed, recipe.dataset)
    worker = _Worker(connection, place, recipe, limit)
    try:
        worker.begin(init_fn)
        worker.serve()
    except (EOFError, ConnectionError):
        return  # the main program is gone, or has given the pass up


class _Worker:
    def __init__(self, connection: Any, place: Place, recipe: Recipe, limit: int) -> None:
        self.connection = connection
        self.place = place
        self.recipe = recipe
        self.limit = limit
        self.fetch: Callable[[Any], Any] | None = None  # None from the end of a stream on
        self.failure: Failure | None = None  # of the beginning, told in answer to the first request

    def begin(self, init_fn: Callable[[int], Any] | None = None) -> None:
        self.fetch, self.failure = None, None
        try:
            if init_fn is not None:
                init_fn(self.place.number)
            self.fetch = self.recipe.fetcher()
        except Exception as error:
            self.failure = Failure(error, self.place.number)

    def serve(self) -> None:
        while True:
            while not self.connection.poll(_LOOK):
                if os.getppid() != self.place.parent:  # another process may hold the other end open
                    return
            request, index = receive(self.connection)
            if request == RESUME:
                self.begin()
                send(self.connection, (RESUME, None), self.limit)
            elif self.failure is not None:
                send(self.connection, (FAILED, self.failure), self.limit)
                self.failure = None
            elif self.fetch is not None:
                self.answer(index)

    def answer(self, index: Any) -> None:
        try:
            batch = self.fetch(index)  # type: ignore[misc]
            send(self.connection, (BATCH, batch), self.limit)
        except ConnectionError:
            raise
        except Exception as error:
            if isinstance(error, StopIteration) and self.recipe.stream:
                self.fetch = None
                send(self.connection, (END, None), self.limit)
            else:
                send(self.connection, (FAILED, Failure(error, self.place.number)), self.limit)
