"""Starting processes."""

import mp_target
import pytest

import livegrad


def test_spawn_calls_each_process():
    context = livegrad.multiprocessing.get_context("spawn")
    queue = context.Queue()
    assert livegrad.multiprocessing.spawn(mp_target.fill, (queue,), nprocs=2) is None
    assert sorted(queue.get(timeout=20) for _ in range(2)) == [(0, 0), (1, 10)]


def test_a_process_that_fails():
    with pytest.raises(RuntimeError, match="process 1 terminated with exit code 3"):
        livegrad.multiprocessing.spawn(mp_target.fail, nprocs=2)


def test_names():
    assert livegrad.multiprocessing.Process is not None
    livegrad.multiprocessing.set_sharing_strategy("file_system")
    assert livegrad.multiprocessing.get_sharing_strategy() == "file_system"
    with pytest.raises(AssertionError, match="unknown"):
        livegrad.multiprocessing.set_sharing_strategy("x")
