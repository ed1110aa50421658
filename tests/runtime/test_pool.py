"""Launching kernels: coverage of the range, threads, nesting, fork, interrupts and exit."""

import ctypes
import os
import struct
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from livegrad.llvm import cache, service  # noqa: E402
from livegrad.runtime import pool  # noqa: E402

KERNEL = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)

# Adds one to each of the i64 at the address that the arguments begin with.
COUNT = """
define void @count(ptr %args, i64 %begin, i64 %end) {
entry:
  %data = load ptr, ptr %args
  br label %loop
loop:
  %i = phi i64 [ %begin, %entry ], [ %next, %loop ]
  %p = getelementptr i64, ptr %data, i64 %i
  %x = load i64, ptr %p
  %y = add i64 %x, 1
  store i64 %y, ptr %p
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %end
  br i1 %more, label %loop, label %done
done:
  ret void
}
"""


@pytest.fixture(scope="module")
def count():
    return cache.functions(COUNT, ["count"])["count"]


@pytest.fixture(autouse=True)
def _restore_threads():
    threads = pool.get_num_threads()
    yield
    pool.set_num_threads(threads)


def packed(array):
    return struct.pack("P", array.ctypes.data)


def python_kernel(function):
    """A kernel that calls `function(begin, end)`, and its address."""
    kernel = KERNEL(lambda args, begin, end: function(begin, end))
    return kernel, ctypes.cast(kernel, ctypes.c_void_p).value


def python(code, timeout=120, **env):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "LIVEGRAD_NUM_THREADS": "4", **env},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize(("total", "grain"), [(0, 1), (1, 1), (7, 10), (10, 10), (11, 10), (1000, 1), (99_991, 1024)])
def test_every_item_runs_once(count, threads, total, grain):
    pool.set_num_threads(threads)
    data = np.zeros(total + 1, np.int64)
    for _ in range(20):
        pool.launch(count, packed(data), total, grain)
    assert (data[:total] == 20).all() and data[total] == 0


def test_chunks_lie_at_multiples_of_grain_and_are_shared():
    pool.set_num_threads(3)
    keep, address = python_kernel(lambda begin, end: None)
    pool.launch(address, b"", 2, 1)
    service.drain()  # the helpers have been started
    chunks = []

    def note(begin, end):
        chunks.append((begin, end, threading.get_ident()))
        time.sleep(0.003)

    keep, address = python_kernel(note)
    pool.launch(address, b"", 100, 7)
    assert sorted(c[:2] for c in chunks) == [(b, min(b + 7, 100)) for b in range(0, 100, 7)]
    assert 2 <= len({c[2] for c in chunks}) <= 3
    chunks.clear()
    pool.set_num_threads(1)
    pool.launch(address, b"", 100, 7)
    assert chunks == [(0, 100, threading.get_ident())]
    chunks.clear()
    pool.set_num_threads(3)
    pool.launch(address, b"", 7, 7)
    assert chunks == [(0, 7, threading.get_ident())]
    chunks.clear()
    pool.launch(address, b"", 0, 7)
    assert not chunks


@pytest.mark.parametrize(("total", "grain"), [(1000, 10), (1001, 10), (999, 10), (7, 2)])
def test_every_other_job_runs_backwards(total, grain):
    """Through the same chunks: so it meets first what the job before has left in the cache."""
    made = pool._the_pool()
    if made.number is None:
        pytest.skip("there is no dispatcher here")
    orders = []
    for _ in range(2):
        order = []
        kernel, address = python_kernel(lambda begin, end, order=order: order.append((begin, end)))
        made.launch(made.state, address, b"", total, grain, 0)
        orders.append(order)
    forwards = [(begin, min(begin + grain, total)) for begin in range(0, total, grain)]
    assert sorted(orders) == [forwards, forwards[::-1]]


def test_arguments_reach_the_kernel():
    seen = []
    kernel = KERNEL(lambda args, begin, end: seen.append(ctypes.string_at(args, 4)))
    for total in (1, 2):
        pool.launch(ctypes.cast(kernel, ctypes.c_void_p).value, b"a\0bc", total, 1)
    assert set(seen) == {b"a\0bc"} and len(seen) >= 2


def test_many_launches_while_helpers_sleep_and_spin(count):
    pool.set_num_threads(4)
    data = np.zeros(64, np.int64)
    for i in range(3000):
        pool.launch(count, packed(data), 64, 1 + i % 31)
        if i % 500 == 0:
            time.sleep(0.002)
    assert (data == 3000).all()


def test_launch_waits_for_helpers(count):
    pool.set_num_threads(4)
    done = []

    def slow(begin, end):
        time.sleep(0.01 if begin else 0)
        done.append(begin)

    keep, address = python_kernel(slow)
    for _ in range(5):
        done.clear()
        pool.launch(address, b"", 4, 1)
        assert sorted(done) == [0, 1, 2, 3]


def test_two_threads_launch_at_once(count):
    pool.set_num_threads(3)
    arrays = [np.zeros(5000, np.int64) for _ in range(4)]

    def work(array):
        for _ in range(300):
            pool.launch(count, packed(array), 5000, 100)

    threads = [threading.Thread(target=work, args=(array,)) for array in arrays]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((array == 300).all() for array in arrays)


def test_a_kernel_may_launch(count):
    pool.set_num_threads(3)
    data = np.zeros((10, 50), np.int64)

    def outer(begin, end):
        for i in range(begin, end):
            pool.launch(count, packed(data[i]), 50, 10)

    keep, address = python_kernel(outer)
    pool.launch(address, b"", 10, 1)
    assert (data == 1).all()


def test_number_of_threads_can_change_at_any_time(count):
    data = np.zeros(500, np.int64)
    for i in range(200):
        pool.set_num_threads(1 + i % 6)
        assert pool.get_num_threads() == 1 + i % 6
        pool.launch(count, packed(data), 500, 10)
    assert (data == 200).all()
    for wrong in (0, -1, 5000):
        with pytest.raises(ValueError):
            pool.set_num_threads(wrong)
    for wrong in (2.0, True, "2"):
        with pytest.raises(TypeError):
            pool.set_num_threads(wrong)
    with pytest.raises(ValueError, match="grain"):
        pool.launch(count, packed(data), 10, 0)


def test_plain_threads_take_over_where_there_is_no_futex(count, monkeypatch):
    monkeypatch.setattr(pool.platform, "machine", lambda: "unknown")
    other = pool._Pool()
    assert other.number is None
    monkeypatch.setattr(pool, "_pool", other)
    for threads in (2, 3):
        pool.set_num_threads(threads)
        for total, grain in [(100, 7), (1000, 1), (8, 7)]:
            data = np.zeros(total, np.int64)
            pool.launch(count, packed(data), total, grain)
            assert (data == 1).all()
    pool.set_num_threads(2)
    nested = np.zeros(100, np.int64)
    keep, address = python_kernel(lambda b, e: pool.launch(count, packed(nested[b:e]), e - b, 10))
    pool.launch(address, b"", 100, 50)
    assert (nested == 1).all()


SETUP = f"""
import ctypes, os, signal, struct, sys, threading, time
import numpy as np
from livegrad.llvm import cache, service
from livegrad.runtime import pool
count = cache.functions('''{COUNT}''', ["count"])["count"]
def check():
    data = np.zeros(5000, np.int64)
    for _ in range(50):
        pool.launch(count, struct.pack("P", data.ctypes.data), 5000, 10)
    assert (data == 50).all()
check()
"""


def test_exit_does_not_wait_for_helpers():
    daemon = "threading.Thread(target=lambda: [check() for _ in range(9999)], daemon=True).start()"
    for tail in ("", "time.sleep(0.05)", daemon):
        start = time.perf_counter()
        result = python(SETUP + tail)
        assert (result.returncode, result.stderr) == (0, "")
        assert time.perf_counter() - start < 30


def test_launch_at_exit():
    code = SETUP + textwrap.dedent("""
        import atexit
        atexit.register(check)
        class Late:
            def __del__(self, check=check): check()
        sys.late = Late()
    """)
    result = python(code)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_forked_child_starts_its_own_helpers():
    code = SETUP + textwrap.dedent("""
        stop = False
        def busy():
            while not stop: check()
        thread = threading.Thread(target=busy); thread.start()  # so that some forks happen in the middle of a job
        for _ in range(5):
            pid = os.fork()
            if not pid:
                assert pool._pool.workers == 0
                check()
                service.drain()
                assert pool._pool.workers == 3
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
            check()
        stop = True
        thread.join()
    """)
    result = python(code)
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_interrupt_during_launch():
    code = SETUP + textwrap.dedent("""
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        caught = 0
        data = np.zeros(5000, np.int64)
        args = struct.pack("P", data.ctypes.data)
        for _ in range(10):
            try:  # the alarm may come at once
                signal.setitimer(signal.ITIMER_REAL, 0.01)
                while True: pool.launch(count, args, 5000, 10)
            except KeyboardInterrupt:
                caught += 1
        assert caught == 10
        check()
    """)
    result = python(code)
    assert result.returncode == 0, result.stderr


def test_environment_sets_the_threads():
    code = "from livegrad.runtime import pool; print(pool.get_num_threads())"
    assert python(code, LIVEGRAD_NUM_THREADS="7").stdout.strip() == "7"
    assert int(python(code, LIVEGRAD_NUM_THREADS="").stdout) >= 1
    assert "LIVEGRAD_NUM_THREADS" in python(code, LIVEGRAD_NUM_THREADS="0").stderr
    assert python(code, LIVEGRAD_NUM_THREADS="", OMP_NUM_THREADS="5").stdout.strip() == "5"
    assert python(code, LIVEGRAD_NUM_THREADS="3", OMP_NUM_THREADS="5,2").stdout.strip() == "3"
    assert int(python(code, LIVEGRAD_NUM_THREADS="", OMP_NUM_THREADS="many").stdout) >= 1  # OpenMP ignores it too


def test_import_without_llvmlite():
    code = """
    import sys
    sys.modules["llvmlite"] = None
    from livegrad.runtime import pool
    for total in (1, 100):
        try:
            pool.launch(1, b"", total, 10)
        except RuntimeError as error:
            assert "llvmlite" in str(error)
        else:
            raise AssertionError
    """
    result = python(code)
    assert result.returncode == 0, result.stderr
