"""DataLoader: batches of a dataset, in the order of a sampler."""

import itertools
import math
import warnings

from .collate import default_collate, default_convert
from .dataset import IterableDataset, Subset, TensorDataset
from .sampler import BatchSampler, RandomSampler, SequentialSampler, fresh_seed
from .worker import Worker, get_worker_info

__all__ = ["DataLoader", "default_collate", "default_convert", "get_worker_info"]


class _Endless:
    """The sampler of a dataset that is a stream: there is nothing to choose."""

    def __iter__(self):
        return itertools.repeat(None)


class DataLoader:
    """Iterates over a dataset in batches.

    batch_size: samples in a batch; None gives single samples. shuffle: a new random order every time. sampler,
    batch_sampler: indices, or lists of indices, in any other order. drop_last: leave out a last batch that is not full.
    collate_fn: makes a batch of a list of samples. generator: where the order comes from, the global one unless given.
    num_workers: the data are loaded in this process in any case, but with workers what the dataset draws by chance
    comes from generators of their own (see `utils.data.worker`), and ``worker_init_fn(number)`` is called for each.
    The remaining options are accepted and change nothing.

    >>> import livegrad
    >>> from livegrad.utils.data import DataLoader
    >>> [batch.tolist() for batch in DataLoader(range(5), batch_size=2)]
    [[0, 1], [2, 3], [4]]
    """

    _fixed = ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers")
    _made = False
    _iterator = None

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
        self._made = True

    def __setattr__(self, name, value):
        if self._made and name in self._fixed:
            raise ValueError(f"{name} attribute should not be set after {type(self).__name__} is initialized")
        super().__setattr__(name, value)

    @property
    def _auto_collation(self):
        return self.batch_sampler is not None

    @property
    def _index_sampler(self):
        return self.batch_sampler if self._auto_collation else self.sampler

    def __iter__(self):
        if not self.persistent_workers:
            return _Iterator(self)
        if self._iterator is None:
            self._iterator = _Iterator(self)
        else:
            self._iterator.restart()
        return self._iterator

    def __len__(self):
        if not self._is_stream:
            return len(self._index_sampler)
        length = len(self.dataset)
        if self.batch_size is None:
            return length
        return length // self.batch_size if self.drop_last else math.ceil(length / self.batch_size)


class _Iterator:
    """One pass over a DataLoader."""

    def __init__(self, loader):
        self._loader = loader
        self._dataset = loader.dataset
        self._collate = loader.collate_fn
        self._workers = None
        self._fetch = self._from_stream if loader._is_stream else _map_fetcher(loader)
        self.restart()

    def restart(self):
        """Begins a pass. A new iterator takes one seed from the generator, even where no worker uses it."""
        loader = self._loader
        self._indices = iter(loader._index_sampler)
        if self._workers is None:
            base_seed = fresh_seed(loader.generator)
            self._workers = [
                Worker(i, loader.num_workers, base_seed, loader.dataset, loader.worker_init_fn)
                for i in range(loader.num_workers)
            ]
        self._live = list(self._workers)
        self._next = 0
        self._streams = {}
        self._fetched = 0

    def __iter__(self):
        return self

    def __len__(self):
        return len(self._loader._index_sampler)

    def __next__(self):
        if not self._workers:
            return self._fetch(next(self._indices), None)
        while self._live:
            worker = self._live[self._next % len(self._live)]
            if not self._loader._is_stream:
                index = next(self._indices)
                self._next += 1
                with worker:
                    return self._fetch(index, worker)
            try:
                with worker:
                    batch = self._fetch(None, worker)
            except StopIteration:
                place = self._live.index(worker)
                del self._live[place]
                self._next = place
                continue
            self._next = (self._next + 1) % len(self._live)
            return batch
        raise StopIteration

    def _from_stream(self, _, worker):
        """The next batch of a stream; every worker has a stream of its own."""
        loader = self._loader
        stream = self._streams.get(worker)
        if stream is None:
            stream = self._streams[worker] = iter(self._dataset)
        if loader.batch_size is None:
            batch = next(stream)
            count = 1
        else:
            batch = list(itertools.islice(stream, loader.batch_size))
            count = len(batch)
            if not count or (loader.drop_last and count < loader.batch_size):
                raise StopIteration
        self._fetched += count
        self._warn_if_longer()
        return self._collate(batch)

    def _warn_if_longer(self):
        try:
            length = len(self._dataset)
        except (TypeError, NotImplementedError):
            return
        if self._fetched > length:
            warnings.warn(
                f"Length of IterableDataset {self._dataset} was reported to be {length} (when accessing "
                f"len(dataloader)), but {self._fetched} samples have been fetched. ",
                stacklevel=3,
            )


def _map_fetcher(loader):
    """The function from what the sampler gives to a batch (or, without batches, to a sample)."""
    dataset, collate = loader.dataset, loader.collate_fn
    if not loader._auto_collation:
        return lambda index, worker: collate(dataset[index])
    if collate is default_collate:
        at_once = _batches_at_once(dataset)
        if at_once is not None:
            return lambda indices, worker: at_once(indices)
    together = getattr(dataset, "__getitems__", None)
    if callable(together):
        return lambda indices, worker: collate(together(indices))
    return lambda indices, worker: collate([dataset[i] for i in indices])


def _batches_at_once(dataset):
    """The function that looks a whole batch up, for a dataset of tensors (or a subset of one), else None."""
    if type(dataset) is TensorDataset:
        return dataset._batch
    if type(dataset) is Subset:
        inner = _batches_at_once(dataset.dataset)
        if inner is not None:
            return lambda indices: inner([dataset.indices[i] for i in indices])
    return None
