"""Launches that are put off: their order, and everybody who has to wait for them.

In the mode "held" nothing runs until somebody waits, so whoever forgets to wait gets a wrong number each time.
"""

import ctypes
import struct
import sys
import threading

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import livegrad  # noqa: E402
from livegrad.llvm import cache  # noqa: E402
from livegrad.runtime import memory, pool  # noqa: E402

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="there is no queue without a futex")

# Each i64 of `data` becomes three times itself plus `number`: what comes out tells the order of launches.
STEP = """
define void @step(ptr %args, i64 %begin, i64 %end) {
entry:
  %number.p = getelementptr i64, ptr %args, i64 1
  %data = load ptr, ptr %args
  %number = load i64, ptr %number.p
  br label %loop
loop:
  %i = phi i64 [ %begin, %entry ], [ %next, %loop ]
  %p = getelementptr i64, ptr %data, i64 %i
  %x = load i64, ptr %p
  %three = mul i64 %x, 3
  %y = add i64 %three, %number
  store i64 %y, ptr %p
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %end
  br i1 %more, label %loop, label %done
done:
  ret void
}
"""


@pytest.fixture(scope="module")
def step():
    return cache.functions(STEP, ["step"])["step"]


@pytest.fixture(autouse=True, params=["on", "held"])
def _mode(request):
    """Both modes, with more than one thread."""
    threads, mode = pool.get_num_threads(), pool.QUEUE.mode
    pool.set_num_threads(3)
    pool._the_pool()
    _set_mode(request.param)
    yield
    pool.finish()
    _set_mode(mode)
    pool.set_num_threads(threads)


def _set_mode(mode):
    pool.QUEUE.mode = mode
    held = ctypes.c_int32.from_address(pool._pool.state + pool.QUEUE_AT + 8)
    held.value = mode == "held"


def packed(array, number=0, more=b""):
    return struct.pack("=qq", array.ctypes.data, number) + more


@pytest.mark.parametrize("jobs", [1, 7, 300])
@pytest.mark.parametrize("total", [1, 50, 9999])
def test_in_order(step, jobs, total):
    data, want = np.arange(total), np.arange(total)
    for k in range(jobs):
        pool.enqueue(step, packed(data, k), total, 7)
        want = want * 3 + k
    pool.finish()
    np.testing.assert_array_equal(data, want)
    assert not pool.busy()


def test_held_work_is_not_done_until_somebody_waits(step):
    data = np.ones(100, np.int64)
    pool.enqueue(step, packed(data), 100, 7)
    if pool.QUEUE.mode == "held":
        assert (data == 1).all()
    pool.launch(step, packed(data, 1), 100, 1000)  # this waits
    assert (data == 10).all()


def test_arguments_of_any_length_are_copied(step):
    data, want = np.arange(1000), np.arange(1000)
    for length in (0, 100, pool.MOST_BYTES - 16, pool.MOST_BYTES, 50_000):
        args = bytearray(packed(data, length, bytes(length)))
        pool.enqueue(step, bytes(args), 1000, 7)
        want = want * 3 + length
    pool.finish()
    np.testing.assert_array_equal(data, want)


def test_writing_waits_for_its_turn(step):
    data = np.full(100, 2)
    pool.enqueue(step, packed(data, 1), 100, 7)
    pool.write(data.ctypes.data + 8, struct.pack("=q", 5))
    pool.enqueue(step, packed(data), 100, 7)
    pool.finish()
    assert data[1] == 15 and (np.delete(data, 1) == 21).all()


@pytest.mark.parametrize("word", [0, 1, 1 << 40])
def test_what_depends_on_a_word(step, word):
    data, words = np.full(100, 2), np.zeros(1, np.int64)
    pool.enqueue(step, packed(words, word), 1, 1)
    pool.enqueue_if(words.ctypes.data, step, packed(data, 1), 100, 7)
    pool.finish()
    assert (data == (7 if word else 2)).all()


def test_one_thread_puts_nothing_off(step):
    data = np.ones(100, np.int64)
    pool.enqueue(step, packed(data), 100, 7)
    pool.set_num_threads(1)
    assert (data == 3).all()
    pool.enqueue(step, packed(data), 100, 7)
    assert (data == 9).all() and not pool.busy()
    pool.enqueue(step, packed(data), 0, 7)


def test_the_grain_is_checked(step):
    with pytest.raises(ValueError, match="at least 1"):
        pool.enqueue(step, b"", 10, 0)


def test_many_threads_at_once(step):
    wrong = []

    def work(seed):
        rng = np.random.default_rng(seed)
        for _ in range(20):
            data, want = np.arange(2000), np.arange(2000)
            for k in range(int(rng.integers(1, 30))):
                (pool.enqueue if rng.random() < 0.8 else pool.launch)(step, packed(data, k), 2000, 100)
                want = want * 3 + k
            pool.finish() if rng.random() < 0.5 else pool.wait()
            if not np.array_equal(data, want):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_memory_is_not_given_back_before(step):
    blocks = [memory.allocate(1 << 20) for _ in range(4)]
    for block in blocks:
        pool.enqueue(step, struct.pack("=qq", block.ptr, 1), 1 << 17, 1 << 10)
    del blocks, block
    memory.empty_cache()
    assert not pool.busy()


def _large():
    return livegrad.rand(300, 300)


def test_memory_that_the_outside_sees_is_computed_at_once():
    a = np.random.default_rng(0).random((300, 300)).astype(np.float32)
    x, other = livegrad.from_numpy(a), _large()
    kept, right = a.copy(), other.numpy().copy()
    made = [x @ other, x.sum(0), x.softmax(1), x * 2 + 1, x.t().contiguous(), x.cumsum(1)]
    a[:] = -1
    np.testing.assert_allclose(made[0].numpy(), kept @ right, rtol=1e-4)
    np.testing.assert_allclose(made[1].numpy(), kept.sum(0), rtol=1e-4)
    e = np.exp(kept - kept.max(1, keepdims=True))
    np.testing.assert_allclose(made[2].numpy(), e / e.sum(1, keepdims=True), rtol=1e-4)
    np.testing.assert_array_equal(made[3].numpy(), kept * 2 + 1)
    np.testing.assert_array_equal(made[4].numpy(), kept.T)
    np.testing.assert_allclose(made[5].numpy(), kept.cumsum(1), rtol=1e-4)


def test_changes_are_seen_from_outside():
    p = _large().requires_grad_()
    seen = p.detach().numpy()
    before = seen.copy()
    optimizer = livegrad.optim.SGD([p], lr=0.5)
    p.grad = livegrad.ones(300, 300)
    optimizer.step()
    np.testing.assert_allclose(seen, before - 0.5, rtol=1e-6)
    p.detach().mul_(2)
    np.testing.assert_allclose(seen, 2 * (before - 0.5), rtol=1e-6)
    g = p.grad.numpy()
    optimizer.step()
    g[:] = 0
    np.testing.assert_allclose(seen, 2 * (before - 0.5) - 0.5, rtol=1e-5)


def test_evaluation_and_eager_mode_wait():
    x = _large()
    y = x @ x
    livegrad.eval(y)
    assert not pool.busy()
    with livegrad.eager():
        y = x @ x
        assert not pool.busy()
    y = x @ x
    address = y.data_ptr()
    assert not pool.busy() and address


WRITERS = {
    "of numbers": lambda: livegrad.tensor([7.0] * 16),
    "of an array": lambda: livegrad.tensor(np.full(16, 7, np.float32)),
    "filled": lambda: livegrad.full((16,), 7.0),
    "in place": lambda: livegrad.empty(16).fill_(7.0),
    "of random numbers": lambda: livegrad.empty(16).uniform_(7.0, 7.0),
    "joined": lambda: livegrad.cat([livegrad.tensor([7.0] * 8)] * 2),
    "stacked": lambda: livegrad.stack([livegrad.tensor([7.0] * 8)] * 2),
    "of rows": lambda: livegrad.tensor([[7.0] * 8] * 2)[livegrad.tensor([0, 1])],
    "gathered": lambda: livegrad.tensor([7.0] * 16).gather(0, livegrad.arange(16)),
    "from a file's bytes": lambda: livegrad.frombuffer(bytearray(np.full(16, 7, np.float32)), dtype=livegrad.float32) * 1,
    "by NumPy": lambda: livegrad.tensor([7.0] * 16).sort().values,
    "copied": lambda: livegrad.tensor([7.0] * 16).clone(),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITERS)
def test_memory_that_is_read_later_is_not_written_before(name):
    """Memory that is given back while work that reads it waits goes to the next who asks: who may not write at once."""
    with livegrad.compiling("always"):
        source = livegrad.arange(16.0)
        livegrad.eval(source, source * 2 + 1, livegrad.rand(300, 300))
        for _ in range(4):
            first = livegrad.zeros(16).copy_(source)
            livegrad.eval(first)
            large = livegrad.rand(300, 300)
            (large @ large).shape  # noqa: B018  (something that is put off, and so is what comes after it)
            pending = (first * 2 + 1).sum(0, keepdim=True)  # launched now, and reads the memory of `first`
            del first
            written = [WRITERS[name]() for _ in range(8)]
            assert pending.item() == 256
            assert all((w.flatten() == 7).all() for w in written)
