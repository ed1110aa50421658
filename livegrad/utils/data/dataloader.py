"""DataLoader: batches of a dataset, in the order of a sampler."""

import itertools
import math
import multiprocessing
import os
from collections.abc import Callable
from typing import Any

from ...site import warn
from .._pytree import tree_map
from .collate import default_collate, default_convert
from .dataset import IterableDataset
from .fetching import Recipe, _DatasetKind  # noqa: F401  which other libraries import
from .iteration import InProcess, Pass
from .processes import ProcessIterator
from .sampler import BatchSampler, RandomSampler, SequentialSampler, fresh_seed
from .worker import get_worker_info

__all__ = ["DataLoader", "default_collate", "default_convert", "get_worker_info"]

_collate_fn_t = Callable[[list], Any]
# PyTorch's names of what goes through a loader, which other libraries import.
_BaseDataLoaderIter, _SingleProcessDataLoaderIter, _MultiProcessingDataLoaderIter = Pass, InProcess, ProcessIterator


class _Endless:
    """The sampler of a dataset that is a stream: there is nothing to choose."""

    def __iter__(self):
        return itertools.repeat(None)


class DataLoader:
    """Iterates over a dataset in batches.

    batch_size: samples in a batch; None gives single samples. shuffle: a new random order every time. sampler,
    batch_sampler: indices, or lists of indices, in any other order. drop_last: leave out a last batch that is not full.
    collate_fn: makes a batch of a list of samples. generator: where the order comes from, the global one unless given.
    pin_memory: put batches where a GPU copies from without help.

    num_workers: how many processes make the batches, 0 for this one. Each has a copy of the dataset and random numbers
    of its own, and calls ``worker_init_fn(number)`` first. A stream is read by every worker: see `get_worker_info`.
    prefetch_factor: batches that each works ahead, 2 unless given. persistent_workers: the processes stay for the next
    pass. timeout: seconds to wait for a batch, 0 for ever. multiprocessing_context: how processes are started, "fork",
    "spawn", "forkserver" or a context of `multiprocessing`, whose default it is otherwise; unless they are forked,
    dataset, collate_fn and worker_init_fn must be picklable, and the program's main module importable. in_order: False
    gives batches as they come.

    An exception in a worker is raised here, with its traceback. RuntimeError for a worker that was killed, or whose
    time is up.

    >>> import livegrad
    >>> from livegrad.utils.data import DataLoader
    >>> [batch.tolist() for batch in DataLoader(range(5), batch_size=2)]
    [[0, 1], [2, 3], [4]]
    """

    _fixed = ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers")
    _made = False
    _iterator = None  # the pass of persistent workers
    _told_length = None  # what len() said of a stream

    def __class_getitem__(cls, item):
        return cls

    def __init__(
        self, dataset, batch_size=1, shuffle=None, sampler=None, batch_sampler=None, num_workers=0, collate_fn=None,
        pin_memory=False, drop_last=False, timeout=0, worker_init_fn=None, multiprocessing_context=None,
        generator=None, *, prefetch_factor=None, persistent_workers=False, pin_memory_device="", in_order=True,
    ):  # fmt: skip
        if num_workers < 0:
            raise ValueError("num_workers option should be non-negative; use num_workers=0 to disable multiprocessing.")
        if timeout < 0:
            raise ValueError("timeout option should be non-negative")
        if num_workers == 0 and prefetch_factor is not None:
            raise ValueError(
                "prefetch_factor option could only be specified in multiprocessing."
                "let num_workers > 0 to enable multiprocessing, otherwise set prefetch_factor to None."
            )
        if prefetch_factor is not None and prefetch_factor < 0:
            raise ValueError("prefetch_factor option should be non-negative")
        if persistent_workers and num_workers == 0:
            raise ValueError("persistent_workers option needs num_workers > 0")
        _check_count(num_workers)
        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = 2 if num_workers and prefetch_factor is None else prefetch_factor
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.in_order = in_order
        self._is_stream = isinstance(dataset, IterableDataset)
        if self._is_stream:
            if shuffle not in (False, None):
                raise ValueError(
                    f"DataLoader with IterableDataset: expected unspecified shuffle option, but got shuffle={shuffle}"
                )
            for name, value in (("sampler", sampler), ("batch_sampler", batch_sampler)):
                if value is not None:
                    raise ValueError(
                        f"DataLoader with IterableDataset: expected unspecified {name} option, but got {name}={value}"
                    )
        shuffle = bool(shuffle)
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last"
                )
            batch_size = None
            drop_last = False
        elif batch_size is None and drop_last:
            raise ValueError("batch_size=None option disables auto-batching and is mutually exclusive with drop_last")
        if sampler is None:
            if self._is_stream:
                sampler = _Endless()
            elif shuffle:
                sampler = RandomSampler(dataset, generator=generator)
            else:
                sampler = SequentialSampler(dataset)
        if batch_size is not None and batch_sampler is None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.generator = generator
        if collate_fn is None:
            collate_fn = default_collate if self._auto_collation else default_convert
        self.collate_fn = collate_fn
        self.persistent_workers = persistent_workers
        self._recipe = Recipe(dataset, collate_fn, self._is_stream, self._auto_collation, drop_last)
        self._made = True

    def __setattr__(self, name, value):
        if self._made and name in self._fixed:
            raise ValueError(f"{name} attribute should not be set after {type(self).__name__} is initialized")
        super().__setattr__(name, value)

    @property
    def multiprocessing_context(self):
        """The context of `multiprocessing` that workers are started with, None for its default."""
        return self._context

    @multiprocessing_context.setter
    def multiprocessing_context(self, context):
        if context is not None:
            if not self.num_workers:
                raise ValueError(
                    "multiprocessing_context can only be used with multi-process loading (num_workers > 0), but got "
                    f"num_workers={self.num_workers}"
                )
            if isinstance(context, str):
                known = multiprocessing.get_all_start_methods()
                if context not in known:
                    raise ValueError(
                        f"multiprocessing_context option should specify a valid start method in {known!r}, but got "
                        f"multiprocessing_context={context!r}"
                    )
                context = multiprocessing.get_context(context)
            if not isinstance(context, multiprocessing.context.BaseContext):
                raise TypeError(
                    "multiprocessing_context option should be a valid context object or a string specifying the start "
                    f"method, but got multiprocessing_context={context}"
                )
        self._context = context

    @property
    def _auto_collation(self):
        return self.batch_sampler is not None

    @property
    def _index_sampler(self):
        return self.batch_sampler if self._auto_collation else self.sampler

    def __iter__(self):
        made = self._batches()
        if self.pin_memory:
            from ...cuda import is_available

            if is_available():
                return Pinned(made)
        return made

    def _batches(self):
        kept = self._iterator
        indices = iter(self._index_sampler)
        if kept is not None and not kept.closed:
            kept.restart(indices)
            return kept
        base_seed = fresh_seed(self.generator)  # drawn even where no worker uses it
        if not self.num_workers:
            return InProcess(self, indices)
        made = ProcessIterator(self, indices, base_seed)
        if self.persistent_workers:
            self._iterator = made
        return made

    def __len__(self):
        if not self._is_stream:
            return len(self._index_sampler)
        length = len(self.dataset)
        if self.batch_size is not None:
            length = length // self.batch_size if self.drop_last else math.ceil(length / self.batch_size)
        self._told_length = length
        return length


class Pinned:
    """Batches of an iterator with their tensors in pinned memory, from which they can be copied without waiting."""

    def __init__(self, batches):
        self._batches = batches

    def __iter__(self):
        return self

    def __next__(self):
        return tree_map(lambda x: x.pin_memory() if hasattr(x, "pin_memory") else x, next(self._batches))

    def __len__(self):
        return len(self._batches)


def _check_count(workers):
    """Warn of more worker processes than there are processors."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if there is not None and workers > there:
        warn(
            f"This DataLoader will create {workers} worker processes in total. Our suggested max number of worker in "
            f"current system is {there}, which is smaller than what this DataLoader is going to create. Please be "
            "aware that excessive worker creation might get DataLoader running slow or even freeze, lower the worker "
            "number to avoid potential slowness/freeze if necessary.",
        )
