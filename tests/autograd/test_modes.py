"""no_grad, enable_grad, set_grad_enabled and inference_mode."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest
from both import same

import livegrad

PROGRAMS = []


def program(f):
    PROGRAMS.append(f)
    return f


def on(t):
    x = t.ones(2, requires_grad=True)
    return t.is_grad_enabled(), (x * 2).requires_grad


@program
def nested(t):
    out = [on(t)]
    with t.no_grad():
        out.append(on(t))
        with t.enable_grad():
            out.append(on(t))
            with t.no_grad():
                out.append(on(t))
            out.append(on(t))
        out.append(on(t))
    out.append(on(t))
    return out


@program
def decorated(t):
    @t.no_grad()
    def a():
        return on(t)

    @t.no_grad
    def b():
        return on(t)

    @t.enable_grad()
    def c():
        return on(t)

    @t.set_grad_enabled(False)
    def d():
        return on(t)

    @t.inference_mode()
    def e():
        return on(t)

    out = [a(), b(), c(), d(), e(), on(t)]
    with t.no_grad():
        out += [a(), b(), c(), d(), e(), on(t)]
    return out


@program
def decorated_recursion(t):
    @t.no_grad()
    def f(n):
        return [on(t)] + (f(n - 1) if n else [])

    return f(3), on(t)


@program
def set_lasting(t):
    out = [on(t)]
    t.set_grad_enabled(False)
    out.append(on(t))
    t.set_grad_enabled(True)
    out.append(on(t))
    with t.set_grad_enabled(False):
        out.append(on(t))
    out.append(on(t))
    return out


@program
def set_nested(t):
    out = []
    with t.no_grad():
        with t.set_grad_enabled(True):
            out.append(on(t))
        out.append(on(t))
    out.append(on(t))
    return out


@program
def generators(t):
    @t.no_grad()
    def numbers(n):
        for i in range(n):
            yield i, t.is_grad_enabled()

    out = []
    for item in numbers(3):
        out.append((item, t.is_grad_enabled()))
    return out, t.is_grad_enabled()


@program
def generator_send_throw_return(t):
    @t.no_grad()
    def echo():
        got = []
        try:
            while True:
                got.append(((yield len(got)), t.is_grad_enabled()))
        except KeyError:
            got.append(t.is_grad_enabled())
            yield "caught"
        return got

    g = echo()
    out = [next(g), g.send("a"), t.is_grad_enabled(), g.throw(KeyError("x")), t.is_grad_enabled()]
    try:
        next(g)
    except StopIteration as stop:
        out.append(stop.value)
    return out


@program
def generator_closed(t):
    closed = []

    @t.no_grad()
    def numbers():
        try:
            yield 1
            yield 2
        finally:
            closed.append(t.is_grad_enabled())

    g = numbers()
    next(g)
    g.close()
    return closed, t.is_grad_enabled()


@program
def exception_restores(t):
    out = []
    for mode in (t.no_grad, t.inference_mode, t.enable_grad):
        try:
            with mode():
                raise KeyError
        except KeyError:
            out.append(on(t))
    return out


@program
def same_object_twice(t):
    mode = t.no_grad()
    out = []
    with mode:
        out.append(on(t))
    out.append(on(t))
    with mode:
        out.append(on(t))
    out.append(on(t))
    return out


@program
def inference(t):
    out = []
    with t.inference_mode():
        out += [t.is_inference_mode_enabled(), on(t)]
        with t.inference_mode(False):
            out += [t.is_inference_mode_enabled()]
    with t.inference_mode(False):
        out += [t.is_inference_mode_enabled(), on(t)]
    out.append(t.is_inference_mode_enabled())
    return out


@program
def class_decorated_through_init(t):
    class Model:
        @t.no_grad()
        def forward(self, x):
            return (x * 2).requires_grad

        @t.no_grad()
        def lazy(self, x):
            yield (x * 2).requires_grad

    x = t.ones(2, requires_grad=True)
    return Model().forward(x), list(Model().lazy(x))


@program
def backward_under_no_grad(t):
    x = t.ones(2, requires_grad=True)
    y = (x * x).sum()
    with t.no_grad():
        y.backward()
    return x.grad, t.is_grad_enabled()


@program
def mode_inside_backward(t):
    x = t.ones(2, requires_grad=True)
    y = x * x
    seen = []
    y.register_hook(lambda g: seen.append(t.is_grad_enabled()))
    y.sum().backward(retain_graph=True)
    y.sum().backward(create_graph=True)
    x.grad = None
    return seen, t.is_grad_enabled()


@program
def backward_that_fails_restores(t):
    x = t.ones(2, requires_grad=True)
    y = x * x
    y.register_hook(lambda g: 1 / 0)
    for create_graph in (False, True):
        with contextlib.suppress(ZeroDivisionError):
            y.sum().backward(create_graph=create_graph)
    return on(t)


@pytest.mark.parametrize("f", PROGRAMS, ids=lambda f: f.__name__)
def test_same(f):
    same(f)


def test_per_thread():
    seen = []

    def work():
        seen.append(livegrad.is_grad_enabled())
        with livegrad.no_grad():
            seen.append(livegrad.is_grad_enabled())

    with livegrad.no_grad():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert not livegrad.is_grad_enabled()
    assert seen == [True, False]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
@pytest.mark.parametrize("native", ["0", "always"])
def test_interrupted_training_still_records(native):
    """Ctrl-C at any moment of a backward pass leaves the mode as it was."""
    source = """
        import faulthandler, random, signal, sys
        faulthandler.dump_traceback_later(100, exit=True)
        import livegrad
        sys.unraisablehook = lambda unraisable: None  # interruptions of finalizers
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        x = livegrad.ones(5, requires_grad=True)
        for _ in range(300):
            try:
                try:
                    signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0002, 0.004), 0.05)
                    while True:
                        x.grad = None  # an interrupted accumulation may say that the value was lost
                        (x.softmax(0) * x).sum().backward()
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                assert livegrad.is_grad_enabled()
        assert (x * 2).requires_grad
    """
    environment = {**os.environ, "LIVEGRAD_NATIVE": native}
    subprocess.run([sys.executable, "-c", textwrap.dedent(source)], check=True, timeout=120, env=environment)
