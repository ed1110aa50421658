"""DataLoader with worker processes: how they are started, what goes wrong in them, and how they end."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

import livegrad
from livegrad.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, get_worker_info

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="signals, and files handed over"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create", "ignore:.*fork"),
]


class Samples(Dataset):
    """`size` samples; what each of them is, `make` says."""

    def __init__(self, size, make):
        self.size = size
        self.make = make

    def __len__(self):
        return self.size

    def __getitem__(self, i):
        return self.make(i)


class Odd(Exception):
    def __init__(self, first, second):
        super().__init__(first, second)


def squares(i):
    return livegrad.full((3,), float(i * i)), i


def large(i):
    return livegrad.full((400, 300), float(i)), np.full((300, 400), i)


def told(i):
    info = get_worker_info()
    return info.id, info.num_workers, info.seed - info.id, len(info.dataset), os.getpid()


def failing(i):
    if i == 2:
        raise {}["no such key"]
    return i


def fate(i):
    if i == 2:
        os._exit(3)
    if i == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return i


def slow(i):
    time.sleep(30 if i == 1 else 0)
    return i


def children():
    """Processes that were started here and are not reaped, but for those that belong to multiprocessing itself."""
    return [p for p in multiprocessing.process._children if p.is_alive() or p.exitcode is None]


@pytest.fixture(autouse=True)
def nobody_is_left():
    yield
    assert children() == []


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_start_methods(method):
    loader = DataLoader(Samples(10, squares), batch_size=4, num_workers=2, multiprocessing_context=method)
    batches = [(x.tolist(), y.tolist()) for x, y in loader]
    assert batches == [([[float(i * i)] * 3 for i in part], part) for part in ([0, 1, 2, 3], [4, 5, 6, 7], [8, 9])]
    assert loader.multiprocessing_context.get_start_method() == method


def test_workers_know_themselves():
    seen = list(DataLoader(Samples(6, told), batch_size=None, num_workers=3))
    assert [(number, count, size) for number, count, _, size, _ in seen] == [(i % 3, 3, 6) for i in range(6)]
    assert len({seed for _, _, seed, _, _ in seen}) == 1
    assert len({pid for *_, pid in seen}) == 3 and os.getpid() not in {pid for *_, pid in seen}
    assert get_worker_info() is None


def test_large_memory_is_the_receivers_own():
    """Tensors and arrays come whole, can be written to, and stay when their worker is gone."""
    loader = DataLoader(Samples(9, large), batch_size=3, num_workers=2)
    kept = [batch for _ in range(2) for batch in loader]
    for k, (x, y) in enumerate(kept):
        expected = np.repeat(np.arange(3) + 3 * (k % 3), 120000).reshape(3, -1)
        assert (x.reshape(3, -1).numpy() == expected).all() and (y.reshape(3, -1).numpy() == expected).all()
        x += 1
        assert (x.reshape(3, -1).numpy() == expected + 1).all()


def test_arrays_can_be_written_to():
    for shape in ((4,), (400, 300)):
        loader = DataLoader(Samples(2, lambda i: np.full(shape, i)), batch_size=None, collate_fn=list, num_workers=1)
        for array in loader:
            array[0] += 1


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files")
def test_batches_that_are_kept_keep_no_files_open():
    loader = DataLoader(Samples(40, large), batch_size=2, num_workers=1)
    before = len(os.listdir("/proc/self/fd"))
    kept = list(loader)
    assert len(kept) == 20 and len(os.listdir("/proc/self/fd")) <= before + 1


@pytest.mark.parametrize("ahead", [1, 2, 50, 300])
def test_much_that_waits_on_both_sides(ahead):
    """Requests and answers that no connection has room for: nobody waits for the other for ever."""
    order = [list(range(30000)) for _ in range(6)]
    data = Samples(30000, lambda i: i)
    loader = DataLoader(
        data,
        batch_sampler=order,
        collate_fn=lambda batch: [str(i) for i in batch],
        num_workers=2,
        prefetch_factor=ahead,
    )
    assert [len(batch) for batch in loader] == [30000] * 6
    small = DataLoader(data, batch_size=10, num_workers=2, prefetch_factor=ahead)
    assert sum(batch.sum().item() for batch in small) == 30000 * 29999 // 2


def test_what_was_given_up_half_way():
    loader = DataLoader(Samples(1000, large), batch_size=2, num_workers=2)
    for _ in loader:
        break
    pass_ = iter(loader)
    next(pass_)
    del pass_


def test_persistent_workers_stay():
    loader = DataLoader(Samples(8, told), batch_size=None, num_workers=2, persistent_workers=True)
    pids = {pid for *_, pid in loader}
    for _ in loader:
        break  # what was on its way is not seen in the next pass
    assert [number for number, *_ in loader] == [0, 1] * 4
    assert {pid for *_, pid in loader} == pids
    assert len(children()) == 2
    del loader


def test_an_error_of_a_worker_is_raised_here_and_the_pass_goes_on():
    batches = iter(DataLoader(Samples(5, failing), batch_size=1, num_workers=2))
    assert [next(batches).item() for _ in range(2)] == [0, 1]
    with pytest.raises(KeyError) as caught:
        next(batches)
    text = str(caught.value)
    assert text.startswith(
        "Caught KeyError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):"
    )
    assert 'raise {}["no such key"]' in text and "in failing" in text
    assert [batch.item() for batch in batches] == [3, 4]


def test_errors_that_cannot_be_made_of_a_text():
    def odd(i):
        raise Odd(1, 2)

    def unknown(i):
        class Unknown(Exception):
            pass

        raise Unknown("x")

    for make, name in ((odd, "Odd"), (unknown, "Unknown")):
        with pytest.raises(RuntimeError, match=f"Caught {name} in DataLoader worker process 0"):
            next(iter(DataLoader(Samples(1, make), num_workers=1)))


def test_an_error_in_worker_init_fn():
    def fails(number):
        raise ValueError(f"number {number}")

    with pytest.raises(ValueError, match=r"(?s)Caught ValueError in DataLoader worker process 0.*number 0"):
        next(iter(DataLoader(range(3), num_workers=2, worker_init_fn=fails)))


def test_batches_that_cannot_be_sent():
    with pytest.raises(Exception, match=r"(?s)in DataLoader worker process 0.*pickle"):
        next(iter(DataLoader(range(3), num_workers=1, collate_fn=lambda batch: lambda: batch)))
    with pytest.raises(RuntimeError, match=r"(?s)in DataLoader worker process 0.*detach"):
        grown = Samples(3, lambda i: livegrad.ones(1, requires_grad=True) * 2)
        next(iter(DataLoader(grown, batch_size=None, num_workers=1)))


def test_workers_that_die():
    batches = iter(DataLoader(Samples(8, fate), batch_size=1, num_workers=1, prefetch_factor=1))
    assert [next(batches).item() for _ in range(2)] == [0, 1]
    with pytest.raises(RuntimeError, match=r"DataLoader worker \(pid\(s\) \d+\) exited unexpectedly: with exit code 3"):
        next(batches)
    with pytest.raises(RuntimeError, match="cut short"):
        next(batches)
    batches = iter(DataLoader(Samples(8, fate), sampler=[0, 5], num_workers=1))
    next(batches)
    with pytest.raises(RuntimeError, match=r"exited unexpectedly: killed by signal 9 \(SIGKILL\)"):
        next(batches)


def test_timeout():
    batches = iter(DataLoader(Samples(3, slow), batch_size=1, num_workers=1, timeout=0.2))
    started = time.monotonic()
    assert next(batches).item() == 0
    with pytest.raises(RuntimeError, match="DataLoader timed out after 0.2 seconds"):
        next(batches)
    assert time.monotonic() - started < 20


def test_out_of_order():
    def uneven(i):
        time.sleep(0.5 if i == 0 else 0)
        return i

    ordered = DataLoader(Samples(6, uneven), batch_size=None, num_workers=2)
    assert list(ordered) == list(range(6))
    as_it_comes = list(DataLoader(Samples(6, uneven), batch_size=None, num_workers=2, in_order=False))
    assert sorted(as_it_comes) == list(range(6)) and as_it_comes[0] != 0


class Counting(IterableDataset):
    def __iter__(self):
        info = get_worker_info()
        yield from range(info.id, 7, info.num_workers)
        if info.id == 1:
            raise ValueError("at its end")


def test_streams_are_split_and_their_errors_told():
    batches = iter(DataLoader(Counting(), batch_size=None, num_workers=2))
    seen, errors = [], []
    for _ in range(20):
        try:
            seen.append(next(batches))
        except StopIteration:
            break
        except ValueError as error:
            errors.append(str(error))
    assert sorted(seen) == list(range(7)) and len(errors) == 1 and "at its end" in errors[0]


@pytest.mark.skipif(livegrad.cuda.is_available(), reason="there is a GPU")
def test_pinning_without_a_gpu_warns():
    for workers in (0, 1):
        with pytest.warns(UserWarning, match="no accelerator is found"):
            assert [b.item() for b in DataLoader(range(2), pin_memory=True, num_workers=workers)] == [0, 1]


def test_a_forked_child_does_not_end_its_parents_workers():
    batches = iter(DataLoader(Samples(30, squares), batch_size=1, num_workers=1))
    next(batches)
    pid = os.fork()
    if pid == 0:
        batches.close()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert len(list(batches)) == 29


def run(program, **options):
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True, **options,
    )  # fmt: skip


ENDLESS = """
    import os, signal, sys
    from livegrad.utils.data import DataLoader

    class Data:
        def __len__(self):
            return 1000000
        def __getitem__(self, i):
            return os.getpid()

    seen = set()
    try:
        for i, batch in enumerate(DataLoader(Data(), batch_size=2, num_workers=2)):
            seen |= set(batch.tolist())
            if i == 4:
                print(*seen, flush=True)
    except KeyboardInterrupt:
        sys.exit(7)
"""


def gone(pids):
    deadline = time.monotonic() + 30
    while any(os.path.exists(f"/proc/{pid}") for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks processes up in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_the_program(number):
    """Ctrl-C, which every process of a terminal is sent, and the main program killed."""
    process = run(ENDLESS)
    pids = process.stdout.readline().split()
    assert len(pids) == 2
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.kill()
    out, err = process.communicate(timeout=30)
    assert process.returncode == (7 if number == signal.SIGINT else -signal.SIGKILL), err
    assert gone(pids) and "Traceback" not in err


def test_the_exit_of_the_program_ends_workers():
    process = run(ENDLESS.replace("print(*seen, flush=True)", "print(*seen, flush=True); kept = 1; break"))
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and err == "" and gone(out.split())


def test_a_batch_of_tensors_in_a_worker():
    data = TensorDataset(livegrad.arange(10.0).reshape(5, 2), livegrad.arange(5))
    batches = [[x.tolist(), y.tolist()] for x, y in DataLoader(data, batch_size=2, num_workers=2)]
    assert batches == [[[[0, 1], [2, 3]], [0, 1]], [[[4, 5], [6, 7]], [2, 3]], [[[8, 9]], [4]]]
