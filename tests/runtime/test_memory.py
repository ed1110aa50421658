"""The block cache: reuse, bounds, lifetimes, threads, fork and shutdown."""

import gc
import os
import subprocess
import sys
import threading

import ml_dtypes
import numpy as np
import pytest

from livegrad.runtime import memory

F4 = np.dtype(np.float32)


@pytest.fixture(autouse=True)
def _restore_limit():
    limit = memory.stats()["limit"]
    yield
    memory.set_limit(limit)


def python(code, **env):
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **env}, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("nbytes", [0, 1, 63, 64, 65, 1000, 1025, 65535, 65536, 65537, 1 << 20, (5 << 20) + 3])
def test_blocks_are_aligned_large_enough_and_writable(nbytes):
    block = memory.allocate(nbytes)
    assert block.ptr % 64 == 0 and block.ptr != 0
    assert block.nbytes == nbytes <= block.capacity
    assert block.owner is None
    array = memory.ndarray(block, np.dtype(np.uint8), (nbytes,))
    array[:] = 7
    assert int(array.sum(dtype=np.int64)) == 7 * nbytes


@pytest.mark.parametrize("nbytes", [100, 5000, 1 << 20])
def test_memory_is_reused_after_death(nbytes):
    block = memory.allocate(nbytes)
    ptr = block.ptr
    hits = memory.stats()["hits"]
    del block
    again = memory.allocate(nbytes)
    assert again.ptr == ptr
    assert memory.stats()["hits"] == hits + 1


def test_live_blocks_do_not_overlap():
    rng = np.random.default_rng(0)
    sizes = [int(x) for x in np.exp(rng.uniform(0, np.log(300_000), 600))]
    blocks = [memory.allocate(size) for size in sizes]
    del blocks[::3]
    blocks += [memory.allocate(size) for size in sizes[:200]]
    spans = sorted((b.ptr, b.ptr + b.capacity) for b in blocks)
    assert all(end <= begin for (_, end), (begin, _) in zip(spans, spans[1:]))


def test_size_classes_waste_little_and_repeat():
    for nbytes in [*range(5000), *range(5000, 3_000_000, 997)]:
        capacity = memory._size_class(nbytes)
        assert capacity >= nbytes and capacity % 64 == 0
        assert memory._size_class(capacity) == capacity
        assert capacity <= max(nbytes * 1.25, nbytes + 64)


def test_negative_size_is_an_error():
    with pytest.raises(ValueError, match="-3"):
        memory.allocate(-3)


@pytest.mark.parametrize("nbytes", [1 << 56, 1 << 80])
def test_refusal_names_the_request(nbytes):
    with pytest.raises(MemoryError, match=rf"{nbytes} bytes.*in use"):
        memory.allocate(nbytes)


def test_ndarray_keeps_the_block_alive_through_views():
    block = memory.allocate(4000)
    ptr = block.ptr
    view = memory.ndarray(block, F4, (10, 100))[3:, ::2].T
    view[:] = 5
    del block
    gc.collect()
    others = [memory.allocate(4000) for _ in range(20)]
    assert ptr not in {other.ptr for other in others}
    assert (view == 5).all()
    del view, others
    assert ptr in {other.ptr for other in [memory.allocate(4000) for _ in range(40)]}


def test_ndarray_strides_offset_and_dtypes():
    block = memory.allocate(96)
    flat = memory.ndarray(block, F4, (24,))
    flat[:] = np.arange(24)
    assert np.array_equal(memory.ndarray(block, F4, (2, 3), (16, 4), 8), [[2, 3, 4], [6, 7, 8]])
    assert np.array_equal(memory.ndarray(block, F4, (4,), (-4,), 12), [3, 2, 1, 0])
    assert np.array_equal(memory.ndarray(block, F4, (3, 2), (0, 4)), [[0, 1]] * 3)
    assert memory.ndarray(block, F4, (), None, 20) == 5
    assert memory.ndarray(block, F4, (0, 3)).shape == (0, 3)
    bf16 = memory.ndarray(block, np.dtype(ml_dtypes.bfloat16), (4,))
    bf16[:] = 1.5
    assert bf16.dtype == ml_dtypes.bfloat16 and (bf16 == 1.5).all()
    assert memory.ndarray(block, np.dtype(bool), (96,)).flags.writeable


def test_wrap_shares_and_keeps_alive():
    array = np.arange(12.0).reshape(3, 4)
    block = memory.wrap(array)
    assert (block.ptr, block.nbytes, block.capacity) == (array.ctypes.data, 96, 0)
    assert block.owner is array
    shared = memory.ndarray(block, array.dtype, array.shape)
    del array, block
    gc.collect()
    shared[1, 1] = 50
    assert shared.sum() == 66 - 5 + 50


@pytest.mark.parametrize(
    "make",
    [lambda a: a[::-1], lambda a: a[1:, ::2], lambda a: a.T, lambda a: a[:, ::-2], lambda a: a[:0], lambda a: a[2, 3]],
)
def test_wrap_of_views_covers_their_extent(make):
    base = np.arange(42.0).reshape(6, 7)
    view = np.asarray(make(base))
    block = memory.wrap(view)
    offset = view.__array_interface__["data"][0] - block.ptr
    assert offset >= 0
    assert np.array_equal(memory.ndarray(block, view.dtype, view.shape, view.strides, offset), view)
    if view.size:
        low, high = np.lib.array_utils.byte_bounds(view)
        assert (block.ptr, block.nbytes) == (low, high - low)


def test_wrap_of_read_only_and_extension_dtypes():
    frozen = np.arange(4.0)
    frozen.flags.writeable = False
    assert memory.wrap(frozen).ptr == frozen.__array_interface__["data"][0]
    half = np.ones(3, ml_dtypes.bfloat16)
    assert memory.wrap(half).nbytes == 6


def test_stats_count_bytes_and_peak():
    memory.empty_cache()
    memory.reset_peak()
    before = memory.stats()
    block = memory.allocate(8 << 20)
    during = memory.stats()
    assert during["in_use"] - before["in_use"] == 8 << 20
    assert during["peak"] >= during["in_use"]
    assert during["allocations"] == before["allocations"] + 1
    del block
    after = memory.stats()
    assert after["in_use"] == before["in_use"]
    assert after["cached"] - before["cached"] == 8 << 20
    assert after["peak"] >= during["in_use"]
    memory.reset_peak()
    assert memory.stats()["peak"] == after["in_use"]


def test_limit_bounds_the_cache_and_oldest_sizes_leave_first():
    memory.empty_cache()
    memory.set_limit(20 << 20)
    first, second, third = (memory.allocate(size << 20) for size in (8, 10, 7))
    kept = {second.ptr, third.ptr}
    del first, second, third
    assert memory._cache.cached == 17 << 20
    assert {memory.allocate(10 << 20).ptr, memory.allocate(7 << 20).ptr} == kept
    memory.set_limit(0)
    assert memory._cache.cached == 0
    for _ in range(3):
        memory.allocate(1 << 20)
    assert memory._cache.cached == 0
    with pytest.raises(ValueError):
        memory.set_limit(-1)


def test_empty_cache_gives_back_large_pieces_and_free_slabs():
    memory.empty_cache()
    before = memory.stats()
    blocks = [memory.allocate(5000) for _ in range(2000)] + [memory.allocate(3 << 20)]
    values = memory.ndarray(blocks[700], F4, (1250,))
    values[:] = 3
    keep = blocks[700]
    del blocks
    assert memory.stats()["reserved"] > before["reserved"] + (12 << 20)
    memory.empty_cache()
    after = memory.stats()
    assert after["reserved"] <= before["reserved"] + (2 << 20)
    assert after["in_use"] == before["in_use"] + keep.capacity
    assert (values == 3).all()
    more = [memory.allocate(5000) for _ in range(500)]
    assert keep.ptr not in {block.ptr for block in more}


def test_blocks_may_die_on_other_threads_and_in_garbage_collection():
    gc.collect()  # what earlier tests left
    memory.empty_cache()
    before = memory.stats()["in_use"]
    errors = []

    def work(seed):
        rng = np.random.default_rng(seed)
        try:
            for _ in range(300):
                size = int(np.exp(rng.uniform(0, np.log(1 << 20))))
                block = memory.allocate(size)
                array = memory.ndarray(block, np.dtype(np.uint8), (size,))
                array[:] = seed
                ring = [block, array]
                ring.append(ring)  # dies in a garbage collection, wherever that happens
                if array[0] != seed or array[-1] != seed:
                    errors.append(size)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(1, 5)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        memory.empty_cache()
    for thread in threads:
        thread.join()
    gc.collect()
    assert not errors
    assert memory.stats()["in_use"] == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_does_not_write_into_its_parent():
    code = """
import os, numpy as np
from livegrad.runtime import memory
blocks = [memory.allocate(100), memory.allocate(1 << 20)]
arrays = [memory.ndarray(b, np.dtype('u1'), (b.nbytes,)) for b in blocks]
for a in arrays: a[:] = 1
pid = os.fork()
if not pid:
    for a in arrays: a[:] = 2
    more = [memory.allocate(n) for n in (100, 1 << 20, 9 << 20)]
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
assert all((a == 1).all() for a in arrays)
"""
    result = python(code)
    assert result.returncode == 0, result.stderr


def test_shutdown_with_live_blocks_is_silent():
    code = """
import sys, numpy as np
from livegrad.runtime import memory
memory.set_limit(0)
class Keeper:
    def __init__(self): self.blocks = [memory.allocate(n) for n in (1, 5000, 1 << 20)]
    def __del__(self): self.array[:] = 1
keeper = Keeper(); keeper.array = memory.ndarray(keeper.blocks[2], np.dtype('u1'), (1 << 20,))
keeper.self = keeper
sys.keeper = keeper
blocks = [memory.allocate(n) for n in (1, 5000, 1 << 20)]
memory.kept = [memory.allocate(n) for n in (1, 5000, 1 << 20)]
arrays = [memory.ndarray(b, np.dtype('u1'), (b.nbytes,)) for b in blocks]
np.kept_arrays = arrays
"""
    result = python(code)
    assert (result.returncode, result.stderr) == (0, "")


def test_environment_sets_the_limit():
    code = "from livegrad.runtime import memory; print(memory.stats()['limit'])"
    assert python(code, LIVEGRAD_CACHE_BYTES="1e6").stdout.strip() == "1000000"
    assert "LIVEGRAD_CACHE_BYTES" in python(code, LIVEGRAD_CACHE_BYTES="lots").stderr
