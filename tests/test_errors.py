"""Errors name the user's lines, interruptions leave the library usable, and threads and forks give right answers."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import traceback

import numpy as np
import pytest

import livegrad

HERE = __file__


def raised(f):
    try:
        f()
    except Exception as e:
        return e
    raise AssertionError("nothing was raised")


def text_of(error):
    return "\n".join((str(error), *getattr(error, "__notes__", ())))


SAME_TEXT = {
    "einsum: fewer operands": lambda t: t.einsum("ij,jk->ik", t.ones(2, 3)),
    "einsum: more operands": lambda t: t.einsum("ij->", t.ones(2, 3), t.ones(2, 3)),
    "einsum: sizes": lambda t: t.einsum("ij,jk->ik", t.ones(2, 3), t.ones(4, 5)),
    "einsum: sizes of a diagonal": lambda t: t.einsum("ii->i", t.ones(2, 3)),
    "einsum: unknown output": lambda t: t.einsum("ij->k", t.ones(2, 3)),
    "einsum: output twice": lambda t: t.einsum("ij->ii", t.ones(2, 3)),
    "einsum: letter": lambda t: t.einsum("i1->i", t.ones(2, 3)),
    "einsum: dot": lambda t: t.einsum("i.j->i", t.ones(2, 3)),
    "einsum: two ellipses": lambda t: t.einsum("...i...->i", t.ones(2, 3)),
    "einsum: dimensions": lambda t: t.einsum("ijk->i", t.ones(2, 3)),
    "einsum: dimensions and an ellipsis": lambda t: t.einsum("i...jk->i", t.ones(2, 3)),
    "index of a later dimension": lambda t: t.ones(2, 3, 4)[0, 1, 9],
    "cat of nothing": lambda t: t.cat([]),
    "class of a target": lambda t: t.nn.functional.cross_entropy(t.rand(2, 3), t.tensor([0, 3])),
    "outer": lambda t: t.outer(t.ones(2, 3), t.ones(3)),
    "maximum": lambda t: t.max(t.ones(3), t.ones(4)),
    "dtype of a target": lambda t: t.nn.functional.binary_cross_entropy(t.rand(2), t.ones(2, dtype=t.int64)),
    "broadcast": lambda t: t.ones(2, 3) + t.ones(4),
    "matmul": lambda t: t.ones(2, 3) @ t.ones(4, 5),
    "view": lambda t: t.ones(2, 3).view(7),
    "cat": lambda t: t.cat([t.ones(2, 3), t.ones(3, 4)]),
    "dim": lambda t: t.ones(2, 3).sum(4),
    "index": lambda t: t.ones(2)[5],
    "item": lambda t: t.ones(2).item(),
    "bool": lambda t: bool(t.ones(2)),
    "scalar backward": lambda t: t.ones(2, requires_grad=True).exp().backward(),
    "no grad": lambda t: t.ones(()).backward(),
    "integers": lambda t: t.ones(2, dtype=t.int64, requires_grad=True),
    "leaf in place": lambda t: t.ones(2, requires_grad=True).add_(1),
    "numpy": lambda t: t.ones(2, requires_grad=True).numpy(),
    "cast in place": lambda t: t.ones(2, dtype=t.int64).add_(1.5),
    "hook": lambda t: t.ones(2).register_hook(print),
    "expand": lambda t: t.ones(2, 3).expand(4, 3),
    "mean of integers": lambda t: t.ones(2, dtype=t.int64).mean(),
    "0-d iteration": lambda t: list(t.ones(())),
    "unsupported shape": lambda t: t.ones(2, 3).t().view(6),
    "in place shape": lambda t: t.ones(2).add_(t.ones(3, 2)),
}


NO_NUMBERS = {
    "randint of floats": lambda t: t.randint(0, 2.5, (2,)),
    "randint's size": lambda t: t.randint(0, 5, 3),
    "sum's dim": lambda t: t.ones(2).sum("a"),
    "softmax's dim": lambda t: t.ones(2).softmax(0.5),
    "transpose's dim": lambda t: t.ones(2, 3).transpose(0, None),
    "unsqueeze's dim": lambda t: t.ones(2).unsqueeze(0.0),
    "cumsum's dim": lambda t: t.ones(2).cumsum(None),
}


@pytest.mark.parametrize("name", NO_NUMBERS)
def test_what_must_be_a_whole_number(name):
    ours = raised(lambda: NO_NUMBERS[name](livegrad))
    assert type(ours) is TypeError and "must be" in str(ours) and "argument" in str(ours)
    if (torch := sys.modules.get("torch")) is not None and torch is not livegrad:
        assert type(raised(lambda: NO_NUMBERS[name](torch))) is TypeError


def test_copying_a_tensor_warns_at_the_users_line(recwarn):
    made = livegrad.tensor(livegrad.ones(2))
    (said,) = recwarn
    assert (
        said.filename == HERE and said.category is UserWarning and "sourceTensor.detach().clone()" in str(said.message)
    )
    assert made.tolist() == [1, 1]


@pytest.mark.parametrize("name", ["NUM_THREADS", "CACHE_BYTES", "COMPILE", "QUEUE", "NATIVE", "LOG"])
def test_environment_variables_that_cannot_be_used(name):
    done = subprocess.run(
        [sys.executable, "-c", "import livegrad; livegrad.ones(3).sum().item()"],
        capture_output=True, text=True, timeout=60, env={**os.environ, f"LIVEGRAD_{name}": "nonsense"},
    )  # fmt: skip
    assert done.returncode == 1 and done.stderr.startswith(f"livegrad: LIVEGRAD_{name} must be ")
    assert done.stderr.endswith("not 'nonsense'\n") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", SAME_TEXT)
def test_text_begins_as_in_pytorch(name):
    torch = pytest.importorskip("torch")
    theirs, ours = raised(lambda: SAME_TEXT[name](torch)), raised(lambda: SAME_TEXT[name](livegrad))
    assert isinstance(ours, type(theirs)), f"{ours!r} is not {theirs!r}"
    first = str(theirs).split("\n")[0].replace("torch.", "").split(". ")[0].rstrip(".")
    assert first.lower() in str(ours).replace("torch.", "").lower(), f"theirs: {theirs}\nours:   {ours}"


@pytest.mark.parametrize("eager", [False, True])
def test_wrong_shapes_raise_at_the_users_line(eager):
    before = livegrad.is_eager()
    livegrad.eager(eager)
    try:
        a, b = livegrad.ones(2, 3), livegrad.ones(4)
        error = raised(lambda: (a * 2) + b)
    finally:
        livegrad.eager(before)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == HERE]
    assert frames[-1].line == "error = raised(lambda: (a * 2) + b)"
    assert "[2, 3]" in str(error) or "(3)" in str(error)


def test_in_place_conflict_names_both_lines():
    x = livegrad.ones(3, requires_grad=True)
    y = x.exp()
    z = (y * y).sum()  # needs y
    y.add_(1)  # changes y
    error = raised(z.backward)
    text = text_of(error)
    assert "has been modified by an inplace operation" in text
    assert "y.add_(1)  # changes y" in text
    assert "z = (y * y).sum()  # needs y" in text
    assert "is at version 1; expected version 0" in text


def test_in_place_conflict_through_a_view():
    x = livegrad.ones(3, requires_grad=True)
    y = x * 2
    z = y.exp().mul(y).sum()  # needs y
    y[0] = 5.0  # changes y
    text = text_of(raised(z.backward))
    assert "y[0] = 5.0  # changes y" in text
    assert "needs y" in text


def test_errors_in_backward_name_the_forward_line():
    class Broken(livegrad.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return livegrad.ones(7)

    x = livegrad.ones(3, requires_grad=True)
    y = Broken.apply(x)  # the forward line
    text = text_of(raised(lambda: (y * 3).sum().backward()))
    assert "invalid gradient" in text
    assert "y = Broken.apply(x)  # the forward line" in text
    assert HERE in text


def test_errors_in_hooks_name_the_forward_line_and_restore_the_mode():
    x = livegrad.ones(3, requires_grad=True)
    y = x.exp()  # hooked

    def hook(g):
        raise KeyError("mine")

    y.register_hook(hook)
    for create_graph in (False, True):
        error = raised(lambda: y.sum().backward(create_graph=create_graph))
        assert isinstance(error, KeyError)
        assert "y = x.exp()  # hooked" in text_of(error)
        assert livegrad.is_grad_enabled()


def test_errors_in_function_restore_the_mode():
    class Broken(livegrad.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            raise KeyError("mine")

    raised(lambda: Broken.apply(livegrad.ones(2, requires_grad=True)))
    assert livegrad.is_grad_enabled()


def test_second_backward_names_the_line():
    x = livegrad.ones(3, requires_grad=True)
    y = x.exp()  # kept its result
    y.sum().backward()
    text = text_of(raised(lambda: y.sum().backward()))
    assert "a second time" in text
    assert "y = x.exp()  # kept its result" in text


def run(program, timeout=120, **environment):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True, text=True, timeout=timeout, env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


posix = pytest.mark.skipif(os.name != "posix", reason="signals and forks")


@posix
@pytest.mark.parametrize("compile_", ["auto", "always", "never"])
def test_interrupted(compile_):
    """Ctrl-C at any moment of recording, compiling, evaluating and backward; the next computation is right."""
    run(
        """
        import random, signal, time
        import livegrad

        def check():
            x = livegrad.arange(1000.0).div(1000).requires_grad_()
            y = ((x * 2).sin() + x.exp()).sum()
            y.backward()
            assert abs(y.item() - 2426.0) < 3, y
            expected = 2 * (x.detach() * 2).cos() + x.detach().exp()
            assert (x.grad - expected).abs().max().item() < 1e-4
            assert livegrad.is_grad_enabled()

        check()
        w = livegrad.full((64, 64), 0.01, requires_grad=True)
        data = livegrad.ones(64, 64)
        interrupted = 0
        random.seed(0)
        def alarm(*_):
            raise KeyboardInterrupt
        signal.signal(signal.SIGALRM, alarm)
        started = time.monotonic()
        n = 0
        while time.monotonic() - started < 8:
            n += 1
            try:
                try:
                    signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0002, 0.02))
                    for i in range(40):
                        h = data
                        for j in range(1 + (n + i) % 7):  # programs of many structures, to meet the compiler
                            h = (h @ w).tanh() * (j + 1.5) + h.sin()
                        (h * h).mean().backward()
                        with livegrad.no_grad():
                            w.sub_(w.grad * 1e-6)
                        w.grad = None
                        data[0, 0] = float(i)
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                interrupted += 1
            assert livegrad.is_grad_enabled()
            w.grad = None
            try:
                w.detach().sum().item()
            except RuntimeError as lost:  # the one value that was being replaced; it says so
                assert "interrupted" in str(lost)
                w = livegrad.full((64, 64), 0.01, requires_grad=True)
        assert interrupted > 20, interrupted
        check()
        print(interrupted)
        """,
        LIVEGRAD_COMPILE=compile_,
    )


def test_threads():
    """Several threads record, go backward and evaluate at the same time, on shared and on their own tensors."""
    shared = livegrad.linspace(0, 1, 500)
    weight = livegrad.full((5, 5), 0.2, requires_grad=True)
    problems = []
    kept = {}

    def work(seed):
        try:
            for step in range(40):
                x = (shared * (seed + 1)).requires_grad_()
                y = ((x * 2).sin() * x.exp() + step).sum()
                (g,) = livegrad.autograd.grad(y, x)
                a = shared.numpy() * np.float32(seed + 1)
                want = 2 * np.cos(2 * a) * np.exp(a) + np.sin(2 * a) * np.exp(a)
                np.testing.assert_allclose(g.numpy(), want, rtol=1e-3, atol=1e-3)
                w = weight.detach().requires_grad_()
                (livegrad.ones(2, 5) @ w).tanh().sum().backward()
                np.testing.assert_allclose(w.grad.numpy(), np.full((5, 5), 2 * (1 - np.tanh(1) ** 2)), rtol=1e-4)
                if seed % 2:
                    with livegrad.no_grad():
                        assert not (w * 2).requires_grad
                else:
                    assert (w * 2).requires_grad
                kept[seed] = (w * step).detach()
        except Exception as e:
            problems.append(e)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if problems:
        raise problems[0]
    for value in kept.values():  # recorded there, evaluated here
        np.testing.assert_allclose(value.numpy(), np.full((5, 5), 0.2 * 39), rtol=1e-5)


def test_threads_accumulate_into_the_same_leaf():
    w = livegrad.zeros(10, requires_grad=True)
    x = livegrad.ones(10)

    def work():
        for _ in range(200):
            (w * x).sum().backward()

    threads = [threading.Thread(target=work) for _ in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    finally:
        sys.setswitchinterval(interval)
    assert w.grad.tolist() == [800.0] * 10


def test_anomaly_detection_names_the_line():
    x = livegrad.zeros(2, requires_grad=True)
    with livegrad.autograd.detect_anomaly():
        assert livegrad.autograd.is_anomaly_enabled()
        y = x.sqrt()  # makes the NaN
        error = raised((y * 0).sum().backward)
    assert not livegrad.autograd.is_anomaly_enabled()
    assert "Function 'SqrtBackward0' returned nan values in its 0th output." in str(error)
    assert "y = x.sqrt()  # makes the NaN" in text_of(error)
    x.sqrt().mul(0).sum().backward()
    with livegrad.autograd.set_detect_anomaly(True):
        x.exp().sum().backward()


def test_threads_evaluate_one_pending_graph():
    base = livegrad.arange(1000.0)
    for _ in range(30):
        pieces = [base * 1.0]
        for i in range(20):
            pieces.append(pieces[-1] + i)
        results = {}

        def read(i, results=results, pieces=pieces):
            results[i] = pieces[-1 - i % 3].sum().item()

        threads = [threading.Thread(target=read, args=(i,)) for i in range(6)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        full = 499500 + 1000 * 190
        assert [results[i] for i in range(6)] == [full, full - 19000, full - 37000] * 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("compile_", ["auto", "always", "never"])
def test_fork_after_use(compile_):
    run(
        """
        import os
        import livegrad

        def compute(n):
            x = livegrad.arange(200000.0).div(200000).requires_grad_()
            y = (x.sin() * n).sum()
            y.backward()
            w = livegrad.ones(300, 300) @ livegrad.ones(300, 300)
            return round(y.item() / n) == 91939 and w.sum().item() == 300**3

        assert compute(1.0)
        held = livegrad.ones(10) * 3  # pending in both
        pids = []
        for n in range(3):
            pid = os.fork()
            if pid == 0:
                good = compute(n + 2.0) and held.sum().item() == 30
                new = (livegrad.arange(100000.0) * 1.5 + n).tanh().cosh().sum().item() > 0
                os._exit(0 if good and new else 1)
            pids.append(pid)
        for pid in pids:
            assert os.waitpid(pid, 0)[1] == 0
        assert compute(5.0)
        assert held.sum().item() == 30
        """,
        LIVEGRAD_COMPILE=compile_,
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork_while_compiling_and_evaluating():
    """Forks at any moment of a background compilation, and of an evaluation in another thread."""
    run(
        """
        import os, signal, threading, time
        import livegrad

        def program(n, k):
            y = livegrad.arange(50.0)
            for i in range(n):
                y = (y * k).sin() + i if (k >> i) & 1 else (y + i).cos()
            return y.sum().item()

        stop = False
        def work():
            while not stop:
                (livegrad.ones(1000, requires_grad=True) * 2).exp().sum().backward()

        thread = threading.Thread(target=work)
        thread.start()
        try:
            for k in range(12):
                for _ in range(3):
                    program(6, k)  # seen often enough to be compiled in the background
                time.sleep(0.003 * k)
                pid = os.fork()
                if pid == 0:
                    with livegrad.compiling("always"):
                        program(7, k + 1)
                        (livegrad.ones(10, requires_grad=True) * 2).sum().backward()
                    os._exit(0)
                for _ in range(1600):
                    done, status = os.waitpid(pid, os.WNOHANG)
                    if done:
                        break
                    time.sleep(0.05)
                else:
                    os.kill(pid, signal.SIGKILL)
                    raise AssertionError("a child hangs")
                assert status == 0, status
        finally:
            stop = True
            thread.join()
        """,
        LIVEGRAD_CACHE_DIR="",
        LIVEGRAD_COMPILE="auto",
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork_while_importing():
    """A part of the library is loaded at its first use, in a thread; a child that is forked then can use it too."""
    run(
        """
        import os, signal, sys, threading, time
        import livegrad

        class Slow:  # finds nothing, and takes its time for that
            def find_spec(self, name, path=None, target=None):
                if name == "livegrad.autograd.engine":
                    looking.set()
                    time.sleep(0.3)

        def backward():
            x = livegrad.ones(3, requires_grad=True)
            (x * 2).sum().backward()
            return x.grad.tolist()

        looking = threading.Event()
        assert "livegrad.autograd.engine" not in sys.modules
        sys.meta_path.insert(0, Slow())
        thread = threading.Thread(target=backward)
        thread.start()
        looking.wait()
        pid = os.fork()
        if pid == 0:
            os._exit(0 if backward() == [2.0] * 3 else 1)
        deadline = time.monotonic() + 60
        while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                raise AssertionError("the child hangs")
            time.sleep(0.01)
        thread.join()
        assert ended[1] == 0
        """
    )


def test_hooks_may_use_the_library():
    """A hook that evaluates, goes backward and raises inside a backward pass."""
    x = livegrad.ones(3, requires_grad=True)
    y = x * 2
    seen = []

    def hook(g):
        z = livegrad.ones(2, requires_grad=True)
        with livegrad.enable_grad():
            (z * g.sum().item()).sum().backward()
        seen.append(z.grad.tolist())
        return g + 1

    y.register_hook(hook)
    y.sum().backward()
    assert seen == [[3.0, 3.0]]
    assert x.grad.tolist() == [4.0, 4.0, 4.0]


@posix
def test_interrupted_in_a_hook():
    x = livegrad.ones(3, requires_grad=True)
    y = x.exp()

    def hook(g):
        signal.raise_signal(signal.SIGINT)
        time.sleep(0)

    handle = y.register_hook(hook)
    with pytest.raises(KeyboardInterrupt):
        y.sum().backward(retain_graph=True)
    assert livegrad.is_grad_enabled()
    handle.remove()
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.exp(np.ones(3)), rtol=1e-6)


def test_wrong_counts_of_arguments_and_numbers_that_do_not_fit():
    """They raise at their line, and nothing is recorded that could not be evaluated."""
    x, n = livegrad.ones(2), livegrad.ones(2, dtype=livegrad.int64)
    for f, count in (
        (lambda: x.eq(), "Tensor"),
        (lambda: x.eq(1, 2), "Tensor, int, int"),
        (lambda: x.fmin(), "Tensor"),
    ):
        with pytest.raises(TypeError, match=rf"takes 2 arguments \(.*\), got \({count}\)"):
            f()
    for f in (lambda: n + 2**63, lambda: n < -(2**63) - 1, lambda: 2**70 * n, lambda: n.clamp(max=2**70)):
        with pytest.raises(OverflowError, match="int too big to convert"):
            f()
    assert (n + (2**63 - 2)).tolist() == [2**63 - 1] * 2 and (n * -(2**63)).tolist() == [-(2**63)] * 2
    with pytest.raises(RuntimeError, match="greater than 0, got 0"):
        livegrad.nn.functional.group_norm(livegrad.ones(2, 4), 0)


def test_a_sub_interpreter_is_refused():
    """It could not end: the library's threads would be in it."""
    interpreters = "_xxsubinterpreters" if sys.version_info < (3, 13) else "_interpreters"
    pytest.importorskip(interpreters)
    run(
        f"""
        import {interpreters} as interpreters

        program = '''
        try:
            import livegrad
        except ImportError as error:
            assert "cannot be used in a sub-interpreter" in str(error)
        else:
            raise AssertionError
        '''
        import textwrap
        made = interpreters.create()
        assert interpreters.run_string(made, textwrap.dedent(program)) is None
        """,
        timeout=60,
    )
