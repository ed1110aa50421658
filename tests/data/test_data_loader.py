"""utils.data: the same batches in the same order as PyTorch, and the same random numbers left over afterwards."""

import random
import warnings
from collections import OrderedDict, namedtuple

import numpy as np
import pytest

import livegrad
import livegrad.utils.data as ours

torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")
theirs = torch.utils.data
BOTH = ((livegrad, ours), (torch, theirs))
Point = namedtuple("Point", ["x", "y"])


class Drawing:
    """A dataset whose samples hold random numbers of three generators."""

    def __init__(self, library, size):
        self.library = library
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, i):
        return i, self.library.rand(1), random.random(), np.random.rand()


def stream(library, data, size=23):
    class Stream(data.IterableDataset):
        def __iter__(self):
            worker = data.get_worker_info()
            first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
            for i in range(first, size, step):
                yield i, library.rand(1)

    return Stream()


def tensors(library, data):
    return data.TensorDataset(library.arange(23.0).reshape(23, 1), library.arange(23))


def generator(library, seed):
    made = library.Generator()
    made.manual_seed(seed)
    return made


LOADERS = {
    "plain": lambda t, d: d.DataLoader(tensors(t, d), batch_size=5),
    "shuffled": lambda t, d: d.DataLoader(tensors(t, d), batch_size=5, shuffle=True),
    "full batches only": lambda t, d: d.DataLoader(tensors(t, d), batch_size=5, shuffle=True, drop_last=True),
    "own generator": lambda t, d: d.DataLoader(tensors(t, d), 5, True, generator=generator(t, 3)),
    "split": lambda t, d: d.DataLoader(d.random_split(tensors(t, d), [0.7, 0.3])[0], batch_size=5, shuffle=True),
    "split by count": lambda t, d: d.DataLoader(d.random_split(range(23), [20, 3], generator(t, 1))[0], 5, True),
    "subset of a subset": lambda t, d: d.DataLoader(
        d.Subset(d.Subset(tensors(t, d), [4, 8, 15, 16]), [3, 1, 1]), batch_size=2
    ),
    "with replacement": lambda t, d: d.DataLoader(
        range(23), sampler=d.RandomSampler(range(23), replacement=True, num_samples=70), batch_size=7
    ),
    "more than once": lambda t, d: d.DataLoader(range(23), 7, sampler=d.RandomSampler(range(23), num_samples=70)),
    "subset sampler": lambda t, d: d.DataLoader(range(23), 3, sampler=d.SubsetRandomSampler([1, 5, 7, 9])),
    "weighted": lambda t, d: d.DataLoader(range(23), 3, sampler=d.WeightedRandomSampler([1, 2, 3.0], 10)),
    "weighted, once": lambda t, d: d.DataLoader(range(23), 3, sampler=d.WeightedRandomSampler([1, 2, 3.0], 3, False)),
    "single samples": lambda t, d: d.DataLoader(range(23), batch_size=None, shuffle=True),
    "batch sampler": lambda t, d: d.DataLoader(
        range(23), batch_sampler=d.BatchSampler(d.RandomSampler(range(23)), 4, True)
    ),
    "drawing": lambda t, d: d.DataLoader(Drawing(t, 23), batch_size=4, shuffle=True),
    "stream": lambda t, d: d.DataLoader(stream(t, d), batch_size=4),
    "stream of samples": lambda t, d: d.DataLoader(stream(t, d), batch_size=None),
    "stream, full batches": lambda t, d: d.DataLoader(stream(t, d), batch_size=4, drop_last=True),
    "chain": lambda t, d: d.DataLoader(d.ChainDataset([stream(t, d, 3), stream(t, d, 4)]), batch_size=2),
    "concatenated": lambda t, d: d.DataLoader(d.ConcatDataset([range(4), range(10, 17)]), 3, True),
    "side by side": lambda t, d: d.DataLoader(d.StackDataset(a=range(5), b=range(5, 10)), 2),
    "share": lambda t, d: d.DataLoader(range(23), 2, sampler=d.DistributedSampler(range(23), 4, 1)),
    "collated by hand": lambda t, d: d.DataLoader(range(5), 2, collate_fn=sum),
}
WORKERS = {
    "workers": lambda t, d: d.DataLoader(Drawing(t, 23), batch_size=4, shuffle=True, num_workers=2),
    "persistent": lambda t, d: d.DataLoader(Drawing(t, 9), 4, True, num_workers=2, persistent_workers=True),
    "streams": lambda t, d: d.DataLoader(stream(t, d), batch_size=3, num_workers=3, drop_last=True),
    "streams of samples": lambda t, d: d.DataLoader(stream(t, d, 7), batch_size=None, num_workers=2),
}


def plain(value):
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, *(plain(item) for item in value)]
    return (str(value.dtype), value.tolist()) if hasattr(value, "tolist") else value


def epochs(library, data, make):
    """Three passes, and the next number of each generator afterwards."""
    library.manual_seed(5)
    random.seed(3)
    np.random.seed(2)
    loader = make(library, data)
    batches = [[plain(batch) for batch in loader] for _ in range(3)]
    return batches, library.rand(2).tolist(), random.random(), np.random.rand()


@pytest.mark.parametrize("name", LOADERS)
def test_batches_and_their_order(name):
    assert epochs(livegrad, ours, LOADERS[name]) == epochs(torch, theirs, LOADERS[name])


@pytest.mark.filterwarnings("ignore:This DataLoader will create", "ignore:.*fork")
@pytest.mark.parametrize("name", WORKERS)
def test_workers_draw_the_same_numbers(name):
    assert epochs(livegrad, ours, WORKERS[name]) == epochs(torch, theirs, WORKERS[name])


def test_lengths():
    for library, data in BOTH:
        assert len(data.DataLoader(range(7), batch_size=2)) == 4
        assert len(data.DataLoader(range(7), batch_size=2, drop_last=True)) == 3
        assert len(data.DataLoader(range(7), batch_size=None)) == 7
        with pytest.raises(TypeError):
            len(data.DataLoader(stream(library, data)))


def test_two_passes_at_a_time_are_independent():
    loader = ours.DataLoader(range(4), batch_size=2)
    first, second = iter(loader), iter(loader)
    assert next(first).tolist() == next(second).tolist() == [0, 1]
    assert next(first).tolist() == [2, 3]
    with pytest.raises(StopIteration):
        next(first)


BATCHES = [
    [1, 2, 3], [1.5, 2.5], [True, False], ["a", "b"], [b"x"], [(1, 2.0), (3, 4.0)], [[1, 2], [3, 4]],
    [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}], [Point(1, 2.0), Point(3, 4.0)], [np.ones(2), np.zeros(2)],
    [np.float32(1), np.float32(2)], [np.int64(3)], [OrderedDict(a=1)], [(1, [2, {"k": (3, 4)}])], [np.array(3.0)],
]  # fmt: skip


@pytest.mark.parametrize("batch", BATCHES)
def test_default_collate(batch):
    assert plain(ours.default_collate(batch)) == plain(theirs.default_collate(batch))
    assert plain(ours.default_convert(batch)) == plain(theirs.default_convert(batch))


def test_collating_tensors_stacks_them():
    batch = ours.default_collate([livegrad.ones(2), livegrad.zeros(2)])
    assert batch.tolist() == [[1.0, 1.0], [0.0, 0.0]]


def test_a_batch_of_tensors_is_a_copy():
    data = livegrad.zeros(4)
    (batch,) = next(iter(ours.DataLoader(ours.TensorDataset(data), batch_size=4)))
    batch += 1
    assert data.tolist() == [0.0] * 4


def test_get_items_at_once():
    class Whole(ours.Dataset):
        def __len__(self):
            return 6

        def __getitems__(self, indices):
            return [-i for i in indices]

    assert [b.tolist() for b in ours.DataLoader(Whole(), batch_size=4)] == [[0, -1, -2, -3], [-4, -5]]


WRONG = [
    "d.DataLoader(range(3), num_workers=-1)", "d.DataLoader(range(3), timeout=-1)",
    "d.DataLoader(range(3), batch_size=0)",
    "d.DataLoader(range(3), prefetch_factor=2)", "d.DataLoader(range(3), persistent_workers=True)",
    "d.DataLoader(range(3), sampler=[1], shuffle=True)", "d.DataLoader(range(3), batch_sampler=[[1]], batch_size=2)",
    "d.DataLoader(range(3), batch_size=None, drop_last=True)", "d.DataLoader(s, shuffle=True)",
    "d.DataLoader(s, sampler=[1])", "d.DataLoader(s, batch_sampler=[[1]])", "d.RandomSampler([])",
    "d.RandomSampler([1], replacement=3)", "d.RandomSampler([1], num_samples=-1)", "d.WeightedRandomSampler([1], 0)",
    "d.WeightedRandomSampler([1], 1, 3)", "d.WeightedRandomSampler([[1.0]], 1)" , "d.BatchSampler([1], 0, False)",
    "d.BatchSampler([1], 1, 3)", "d.random_split(range(3), [1, 1])", "d.random_split(range(3), [0.5, 0.5, 0.0])",
    "d.TensorDataset(t.ones(2), t.ones(3))", "d.ConcatDataset([])", "d.ConcatDataset([range(3)])[-5]",
    "d.StackDataset()", "d.StackDataset(range(2), range(3))", "d.default_collate([object()])",
    "d.default_collate([[1], [2, 3]])", "d.default_collate([np.array(['a'])])",
    "setattr(d.DataLoader(range(3)), 'batch_size', 3)", "d.DistributedSampler(range(3), 2, 5)", "d.Dataset()[0]",
    "d.random_split(range(3), [1.5, -0.5])",
]  # fmt: skip


@pytest.mark.parametrize("code", WRONG)
def test_errors_and_warnings_read_as_pytorchs(code):
    seen = []
    for library, data in BOTH:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                eval(code, {"d": data, "t": library, "s": stream(library, data), "np": np})
                error = None
            except Exception as raised:
                error = (type(raised).__name__, str(raised))
        seen.append((error, [str(w.message) for w in caught]))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("stream", [False, True])
def test_passes_that_other_libraries_begin(stream):
    """By the class of passes, with a loader of their own that has PyTorch's names."""
    found = []
    for library in ("livegrad", "torch"):
        lib = pytest.importorskip(library)
        loading = lib.utils.data.dataloader

        class Own:
            dataset, collate_fn, drop_last, pin_memory, num_workers, timeout = range(5), list, False, False, 0, 0
            generator, prefetch_factor, persistent_workers, pin_memory_device, worker_init_fn = (
                None,
                None,
                False,
                "",
                None,
            )
            _auto_collation, in_order, multiprocessing_context, _IterableDataset_len_called = True, True, None, None
            _dataset_kind = loading._DatasetKind.Iterable if stream else loading._DatasetKind.Map
            _index_sampler = [[0, 1], [2, 3], [4]]
            _get_shared_seed = None

        lib.manual_seed(0)
        batches = list(loading._SingleProcessDataLoaderIter(Own()))
        found.append((batches, lib.rand(1).item()))
    assert found[0] == found[1]
