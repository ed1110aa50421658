"""Turning recording off and on: blocks in each other, left in every way, in threads, and interrupted."""

import contextlib
import gc
import os
import random
import signal
import sys
import threading
import time

import pytest

import livegrad
from livegrad import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled
from livegrad.autograd.mode import MODE


@pytest.fixture(autouse=True)
def nothing_is_left():
    assert is_grad_enabled() and MODE.off == 0
    yield
    assert is_grad_enabled() and not livegrad.is_inference_mode_enabled()
    gc.collect()
    assert MODE.off == 0


def records():
    x = livegrad.ones(1, requires_grad=True)
    result = (x * 2).requires_grad
    assert result == is_grad_enabled()
    return result


def test_blocks_in_each_other():
    with no_grad():
        assert not records()
        with enable_grad():
            assert records()
            with no_grad():
                assert not records()
            assert records()
            with inference_mode():
                assert not records() and livegrad.is_inference_mode_enabled()
            assert records() and not livegrad.is_inference_mode_enabled()
        assert not records()
    assert records()


def test_a_mode_that_is_set_inside_a_block_ends_with_it():
    with no_grad():
        set_grad_enabled(True)
        assert records()
    assert records()
    with enable_grad():
        set_grad_enabled(False)
        assert not records()
    assert records()
    set_grad_enabled(False)
    with enable_grad():
        assert records()
    assert not records()
    set_grad_enabled(True)


def test_set_grad_enabled_as_a_block():
    for wanted in (True, False):
        with set_grad_enabled(wanted):
            assert records() == wanted
            with set_grad_enabled(not wanted):
                assert records() != wanted
            assert records() == wanted
        assert records()


def test_blocks_are_left_by_exceptions_and_returns():
    def leaves():
        for _ in range(3):
            with no_grad():
                return records()

    with pytest.raises(ZeroDivisionError), no_grad():
        raise ZeroDivisionError
    assert records() and leaves() is False and records()
    for _ in range(2):
        with no_grad():
            continue
    assert records()


def test_the_mode_is_back_in_the_handler():
    try:
        with no_grad():
            raise KeyError
    except KeyError as error:
        assert records() and error.__traceback__ is not None


def test_one_object_for_many_blocks():
    switch = no_grad()
    for _ in range(2):
        with switch:
            assert not records()
            with switch:
                assert not records()
                with enable_grad(), switch:
                    assert not records()
            assert not records()
        assert records()


def test_one_object_in_many_threads():
    switch = no_grad()
    barrier = threading.Barrier(3)
    seen = []

    def work():
        before = records()
        barrier.wait()
        with switch:
            barrier.wait()
            seen.append((before, records()))
            barrier.wait()
        seen.append(records())

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, seen)) == ["(True, False)"] * 3 + ["True"] * 3


def test_without_a_block():
    switch = no_grad()
    assert hasattr(switch, "__exit__") and callable(type(switch).__exit__)
    switch.__enter__()
    assert not records()
    with enable_grad():
        assert records()
    switch.__enter__()
    switch.__exit__(None, None, None)
    assert not records()
    switch.__exit__(None, None, None)
    assert records()
    leave = switch.__exit__
    switch.__enter__()
    assert not records()
    leave(None, None, None)
    assert records()


def test_an_exit_stack():
    with contextlib.ExitStack() as stack:
        stack.enter_context(no_grad())
        assert not records()
        stack.enter_context(enable_grad())
        assert records()
    assert records()
    with contextlib.ExitStack() as stack:
        stack.enter_context(no_grad())
        kept = stack.pop_all()
    assert not records()
    kept.close()
    assert records()


def test_a_block_in_a_generator():
    def generator():
        with no_grad():
            yield records()
            yield records()

    running = generator()
    assert next(running) is False
    assert not records()  # the block is still open, as in PyTorch
    running.close()
    assert records()


def test_threads_that_end_leave_nothing():
    def work():
        with no_grad():
            records()

    def other():
        set_grad_enabled(False)

    for target in (work, other) * 5:
        thread = threading.Thread(target=target)
        thread.start()
        thread.join()
    gc.collect()
    assert MODE.off == 0 and records()


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_interrupted_anywhere():
    """Ctrl-C at any moment of entering and leaving blocks leaves nothing off."""
    rng = random.Random(0)

    def interrupt(*_):
        raise KeyboardInterrupt

    def blocks():
        while True:
            with no_grad():
                with enable_grad():
                    pass
                livegrad.is_grad_enabled()

    before = signal.signal(signal.SIGALRM, interrupt)
    deadline = time.monotonic() + 2
    count = 0
    try:
        while time.monotonic() < deadline:
            try:
                try:
                    signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-5, 3e-4))
                    blocks()
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                count += 1
                assert is_grad_enabled()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert count > 100
    MODE.off = 0  # an interruption may leave it too high, never too low


def test_blocks_of_threads_do_not_mix():
    wrong = []

    def work(wanted):
        for _ in range(300):
            with set_grad_enabled(wanted):
                if records() != wanted:
                    wrong.append(wanted)
            if not records():
                wrong.append("after")

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(i % 2 == 0,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not wrong
