"""Whole programs whose launches are put off: the same numbers, and forks, interruptions and ends in the middle."""

import os
import subprocess
import sys
import textwrap

import pytest

pytest.importorskip("llvmlite")

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="there is no queue without a futex")


def python(code, quiet=True, **env):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "LIVEGRAD_NUM_THREADS": "2", **env},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0 and not (quiet and done.stderr), done.stdout + done.stderr
    return done.stdout


TRAINING = """
    import hashlib
    import livegrad as m
    m.manual_seed(0)
    m.use_deterministic_algorithms(True)
    F = m.nn.functional
    before, inner, norm = m.nn.Linear(32, 96), m.nn.Linear(32, 64), m.nn.LayerNorm(64)
    after = m.nn.Linear(64, 7)
    parameters = [p for layer in (before, inner, norm, after) for p in layer.parameters()]
    optimizer = m.optim.AdamW(parameters, lr=1e-2)
    x, y = m.randn(8, 64, 32), m.randint(0, 7, (8 * 64,))
    for _ in range(3):
        q, k, v = before(x).split(32, dim=2)
        h = norm(F.gelu(inner(x + F.scaled_dot_product_attention(q, k, v, is_causal=True))))
        loss = F.cross_entropy(after(h).view(-1, 7), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(loss.item().hex())
    print(hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in parameters)).hexdigest())
"""


def test_the_same_numbers_as_at_once():
    found = [python(TRAINING, LIVEGRAD_QUEUE=mode) for mode in ("0", "1", "held")]
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("mode", ["1", "held"])
def test_an_end_of_the_program_in_the_middle(mode):
    python(
        """
        import livegrad
        x = livegrad.rand(300, 300)
        for _ in range(20):
            x = (x @ x).softmax(1)
        """,
        LIVEGRAD_QUEUE=mode,
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("mode", ["1", "held"])
def test_a_fork_in_the_middle(mode):
    python(
        """
        import os, livegrad
        x = livegrad.rand(300, 300)
        x = x / x.sum(1, keepdim=True)
        for _ in range(3):
            y = x @ x @ x
            child = os.fork()
            good = abs(y.sum(1) - 1).max().item() < 1e-3 and abs((y @ x).sum(1) - 1).max().item() < 1e-3
            if not child:
                os._exit(0 if good else 1)
            assert good and os.waitpid(child, 0)[1] == 0
        """,
        LIVEGRAD_QUEUE=mode,
    )


@pytest.mark.parametrize("mode", ["1", "held"])
def test_an_interruption_leaves_the_work_to_be_done(mode):
    out = python(
        """
        import random, signal, livegrad
        random.seed(0)

        def hit(*_):
            raise KeyboardInterrupt

        signal.signal(signal.SIGALRM, hit)
        x = livegrad.rand(256, 256)
        x = x / x.sum(1, keepdim=True)
        livegrad.eval(x, x @ x)
        for _ in range(60):
            y = x
            try:
                signal.setitimer(signal.ITIMER_REAL, random.random() * 1e-3 + 1e-5)
                for _ in range(8):
                    y = y @ x
                y.sum(1).tolist()
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                pass
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert abs(y.sum(1) - 1).max().item() < 1e-3
        print("done")
        """,
        quiet=False,  # an interruption in a `__del__` is told and ignored
        LIVEGRAD_QUEUE=mode,
    )
    assert out == "done\n"


def test_an_unknown_mode():
    with pytest.raises(AssertionError, match="must be 0, 1 or held"):
        python("import livegrad", LIVEGRAD_QUEUE="later")
