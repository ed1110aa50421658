"""Workers of a DataLoader: in this process, one at a time, but each with random numbers of its own.

A worker's numbers start from the loader's base seed plus the worker's number, as they would in a process of its own, so
that what a dataset draws while it loads neither depends on the main program nor disturbs it.
"""

import random
from dataclasses import dataclass
from typing import Any

import numpy as np

import livegrad

__all__ = ["Worker", "WorkerInfo", "get_worker_info"]


@dataclass
class WorkerInfo:
    """What ``get_worker_info()`` returns inside a worker."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


_current = None


def get_worker_info():
    """The `WorkerInfo` of the worker that is loading, or None in the main program.

    A stream that is split between workers reads its share from ``id`` and ``num_workers``.
    """
    return _current


def _states():
    return random.getstate(), np.random.get_state(), livegrad.get_rng_state()


def _restore(states):
    random.setstate(states[0])
    np.random.set_state(states[1])
    livegrad.set_rng_state(states[2])


def _numpy_seed(base_seed, worker):
    """Four 32-bit words from a base seed and a worker's number."""
    words = [worker, base_seed & 0xFFFFFFFF, base_seed >> 32, 0]
    return np.random.SeedSequence(words).generate_state(4)


class Worker:
    """``with worker:`` code inside runs with the worker's random numbers, and `get_worker_info` answers."""

    def __init__(self, number, count, base_seed, dataset, init_fn):
        self.info = WorkerInfo(number, count, base_seed + number, dataset)
        self._base_seed = base_seed
        self._init_fn = init_fn
        self._own = None  # its random states, once it has started
        self._outside = None

    def __enter__(self):
        global _current
        self._outside = (_current, _states())
        _current = self.info
        if self._own is not None:
            _restore(self._own)
            return self
        random.seed(self.info.seed)
        livegrad.manual_seed(self.info.seed)
        np.random.seed(_numpy_seed(self._base_seed, self.info.id))
        if self._init_fn is not None:
            try:
                self._init_fn(self.info.id)
            except BaseException:
                self.__exit__()
                raise
        return self

    def __exit__(self, *exception):
        global _current
        self._own = _states()
        _current, states = self._outside
        _restore(states)
