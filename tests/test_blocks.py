"""Blocks of devices and of autocast: in each other, left in every way, by other threads, and interrupted."""

import contextlib
import signal
import threading

import pytest

import livegrad
from livegrad.autograd.graph import saved_tensors_hooks
from livegrad.precision import REGIONS


def device():
    return livegrad.ones(1).device.type


def autocast():
    return livegrad.is_autocast_enabled("cpu"), livegrad.get_autocast_dtype("cpu"), REGIONS.open > 0


packed = []


def packs():
    packed.clear()
    livegrad.ones(1, requires_grad=True).exp()
    return bool(packed)


META, HALF, OFF = livegrad.device("meta"), (True, livegrad.float16, True), (False, livegrad.bfloat16, False)
KINDS = {
    "device": (lambda: META, lambda: livegrad.device("cpu"), device, "meta", "cpu"),
    "autocast": (
        lambda: livegrad.autocast("cpu", dtype=livegrad.float16),
        lambda: livegrad.autocast("cpu", enabled=False, dtype=livegrad.bfloat16),
        lambda: (*autocast()[:2], autocast()[0]),
        HALF,
        OFF,
    ),
    "saved tensors": (
        lambda: saved_tensors_hooks(lambda t: packed.append(1) or t, lambda t: t),
        lambda: saved_tensors_hooks(lambda t: t, lambda t: t),
        lambda: packs(),
        True,
        False,
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_in_each_other(kind):
    on, off, now, inside, outside = KINDS[kind]
    assert now() == outside
    with on():
        assert now() == inside
        with off():
            assert now() == outside
            with on():
                assert now() == inside
        assert now() == inside
    assert now() == outside
    with contextlib.suppress(ZeroDivisionError), on():
        1 / 0  # noqa: B018
    assert now() == outside


@pytest.mark.parametrize("kind", KINDS)
def test_entered_without_a_block(kind):
    on, off, now, inside, outside = KINDS[kind]
    with contextlib.ExitStack() as stack:
        stack.enter_context(on())
        assert now() == inside
        with off():
            assert now() == outside
        assert now() == inside
        with on():
            assert now() == inside
        assert now() == inside
    assert now() == outside
    switch = on()
    switch.__enter__()
    assert now() == inside
    switch.__exit__(None, None, None)
    assert now() == outside


@pytest.mark.parametrize("kind", KINDS)
def test_generators_and_threads(kind):
    on, _, now, inside, outside = KINDS[kind]

    def waits():
        with on():
            yield now()
            yield now()

    given_up = waits()
    assert next(given_up) == inside
    with on():
        given_up.close()
        assert now() == inside
        seen = []
        thread = threading.Thread(target=lambda: seen.append(now()))
        thread.start()
        thread.join()
        assert seen == [outside]
    assert now() == outside


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no timers here")
def test_interrupted_anywhere(kind):
    on, _, now, _, outside = KINDS[kind]

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    caught = 0
    try:
        for i in range(2000):
            try:
                try:
                    signal.setitimer(signal.ITIMER_REAL, 1e-5 + i % 50 * 1e-6)
                    while True:
                        with on():
                            pass
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                caught += 1
            assert now() == outside
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert caught > 1000


def test_what_hooks_of_saved_tensors_do_is_not_recorded_and_recorded_again_afterwards():
    seen = []

    def pack(t):
        seen.append(livegrad.is_grad_enabled())
        raise KeyboardInterrupt

    x = livegrad.ones(2, requires_grad=True)
    with pytest.raises(KeyboardInterrupt), livegrad.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        x.exp()
    assert seen == [False] and livegrad.is_grad_enabled()
