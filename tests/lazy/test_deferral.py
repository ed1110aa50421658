"""When pending work is evaluated, what is written, and that numbers, sizes and seeds are no part of a kernel."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import livegrad
from livegrad.codegen import kernels
from livegrad.lazy.value import Bound


def pending(t):
    return t._value().array is None


def test_recording_computes_nothing(launches):
    x = livegrad.ones(100)
    y = (x * 2 + 1).exp().tanh() * x
    assert pending(y)
    assert launches == []


READS = {
    "item": lambda t: t[0].item(),
    "sum item": lambda t: t.sum().item(),
    "tolist": lambda t: t.tolist(),
    "numpy": lambda t: t.numpy(),
    "print": repr,
    "bool": lambda t: bool(t[0]),
    "float": lambda t: float(t[0]),
    "iteration": lambda t: [float(v) for v in t],
    "dlpack": lambda t: np.from_dlpack(t),
    "array": np.asarray,
}


@pytest.mark.parametrize("name", READS)
def test_reading_evaluates(name, launches):
    x = livegrad.arange(5.0)
    READS[name](x * 2 + 1)
    assert launches
    assert "mul add" in launches[0][0]


def test_reasons(launches):
    x = livegrad.ones(4, 4)
    (x * 2).tolist()
    assert launches.pop()[2] == "data read"
    livegrad.eval(x * 2)
    assert launches.pop()[2] == "livegrad.eval"
    (x * 2).sum()
    assert launches.pop()[2] == "reduction"
    column = (x * 2)[:, :1].clone() * 3
    launches.clear()
    (column + x).tolist()
    assert [reason for _, _, reason, _ in launches] == ["operand of another shape", "data read"]
    launches.clear()
    with livegrad.eager():
        x * 2
    assert launches.pop()[2] == "bound reached"


def test_matmul_needs_its_operands(launches):
    x = livegrad.ones(4, 4)
    h = x * 2
    y = h @ (x + 1)
    assert len(launches) == 2
    assert not pending(y)


def test_chain_is_one_kernel(launches):
    x = livegrad.ones(1000)
    y = x
    for i in range(30):
        y = y * 1.01 + i
    y.tolist()
    assert len(launches) == 1


def test_depth_is_bounded(launches):
    x = livegrad.ones(10)
    y = x
    for _ in range(1000):
        y = y * 1.001
    assert any(reason == "bound reached" for _, _, reason, _ in launches)
    assert y._value().weight <= Bound.limit
    np.testing.assert_allclose(y.numpy(), np.full(10, 1.001**1000), rtol=1e-3)


def test_bytes_are_bounded(launches):
    total = livegrad.zeros(1 << 20)
    for i in range(40):  # each operand 4 MB
        total = total + livegrad.full((1 << 20,), float(i))
    assert launches
    assert total[5].item() == sum(range(40))


def test_arguments_are_bounded(launches):
    total = livegrad.zeros(3)
    for i in range(200):
        total = total + livegrad.tensor([i, i, 1.0])
    assert total.tolist() == [19900.0, 19900.0, 200.0]


def test_wide_graph_is_bounded():
    x = livegrad.ones(3)
    level = [x * i for i in range(64)]
    while len(level) > 1:
        level = [a + b for a, b in zip(level[::2], level[1::2])]
    assert level[0].tolist() == [2016.0] * 3


def test_live_intermediate_is_written_once(launches):
    x = livegrad.ones(100)
    h = x * 2
    y = h + 1
    y.tolist()
    assert not pending(h)  # somebody holds it, so the same kernel wrote it
    assert len(launches) == 1
    h.tolist()
    assert len(launches) == 1


def test_dead_intermediate_is_not_written():
    x = livegrad.ones(100, requires_grad=True)
    y = (x * 2).exp().sin()
    inner = y.grad_fn.next_functions[0][0].result
    y.tolist()
    assert inner.array is None  # only the graph holds it
    y.sum().backward()
    np.testing.assert_allclose(x.grad[0].item(), 2 * np.exp(2) * np.cos(np.exp(2)), rtol=1e-4)


def test_what_reductions_need_again_is_written(launches):
    x = livegrad.ones(100)
    data = (x * 3).exp()
    w = livegrad.ones(100)
    for _ in range(4):
        (data * w).sum()
    assert [what for what, *_ in launches].count("mul exp") == 1
    assert launches[-1][0] == "mul sum"


def test_whole_backward_of_a_chain_is_one_kernel(launches):
    x = livegrad.ones(1000, requires_grad=True)
    y = (x.sigmoid() * x.tanh()).sum()
    launches.clear()
    y.backward()
    x.grad.tolist()
    assert len(launches) == 1


def step(n, lr, seed):
    livegrad.manual_seed(seed)
    w = livegrad.randn(n).requires_grad_()
    x = livegrad.rand(n)
    loss = ((w * x * lr + 0.5).tanh() ** 2).mean() * (lr + 1)
    loss.backward()
    with livegrad.no_grad():
        w.sub_(w.grad * lr)
    return loss.item(), w.sum().item()


def test_numbers_sizes_and_seeds_make_no_kernels():
    for n in (100, 101):
        step(n, 0.1, 0)
    before = kernels.count()
    for n, lr, seed in [(64, 0.2, 1), (100, 0.3, 2), (257, 1.5, 3), (1000, 0.001, 4), (3, 0.7, 5)]:
        step(n, lr, seed)
    assert kernels.count() == before


def program():
    livegrad.manual_seed(0)
    w = livegrad.randn(6, 4).requires_grad_()
    b = livegrad.zeros(4, requires_grad=True)
    x = livegrad.randn(5, 6)
    out = []
    for i in range(3):
        h = (x @ w + b).tanh()
        h = h * (i + 1) - h.mean(0)
        y = h.softmax(1).log().sum() + (h[1:] * h[:-1]).sum()
        y.backward()
        with livegrad.no_grad():
            w -= 0.01 * w.grad
            b.sub_(b.grad, alpha=0.01)
            h[0] += 1
            out.append(h.tolist())
        w.grad = None
        out.append(y.item())
    return [w.tolist(), b.tolist(), out]


def flat(x):
    return [v for item in x for v in flat(item)] if isinstance(x, list) else [x]


def test_eager_in_every_form_gives_the_same():
    with livegrad.compiling("always"):
        expected = flat(program())
        with livegrad.eager():
            assert livegrad.is_eager()
            np.testing.assert_allclose(flat(program()), expected, rtol=1e-4, atol=1e-5)
        assert not livegrad.is_eager()
        livegrad.eager(True)
        try:
            np.testing.assert_allclose(flat(program()), expected, rtol=1e-4, atol=1e-5)
        finally:
            livegrad.eager(False)
    with livegrad.compiling("never"):
        np.testing.assert_allclose(flat(program()), expected, rtol=1e-4, atol=1e-5)


def run(source, **environment):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source)],
        capture_output=True, text=True, timeout=200, env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_eager_from_the_environment():
    run(
        """
        import livegrad
        assert livegrad.is_eager()
        x = livegrad.ones(3) * 2
        assert x._value().array is not None
        """,
        LIVEGRAD_EAGER="1",
    )


def test_eval_takes_everything():
    x = livegrad.ones(3)
    a, b, c = x * 2, x + 1, x - 1
    livegrad.eval(a, [b, {"c": c}], None)
    assert not any(pending(t) for t in (a, b, c))


def test_the_log():
    done = run(
        """
        import livegrad
        x = livegrad.arange(12.0).view(3, 4)
        for i in range(2):
            ((x * 2 + i).exp() - 1).tolist()
        x.sum().item()
        """,
        LIVEGRAD_LOG="kernels",
        LIVEGRAD_COMPILE="always",
        LIVEGRAD_CACHE_DIR="",
    )
    lines = done.stderr.splitlines()
    assert len(lines) == 3
    first, second, third = lines
    for word in ("livegrad: mul add exp sub", "[3x4]", "data read", "compiled", " us", "<string>:5"):
        assert word in first
    assert "  hit  " in second
    assert "sum" in third
    assert "reduction" in third


def test_nothing_is_logged_by_default():
    assert run("import livegrad; (livegrad.ones(3) * 2).tolist()", LIVEGRAD_LOG="").stderr == ""


BLOCK = """
    import sys
    class Blocked:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in ("llvmlite", "scipy_openblas32"):
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    sys.meta_path.insert(0, Blocked())
"""


def test_without_compiler_and_blas():
    """Neither llvmlite nor scipy-openblas32: the same results, from NumPy."""
    here = os.path.dirname(os.path.abspath(__file__))
    program = textwrap.dedent(BLOCK) + textwrap.dedent(f"""
        import livegrad, pytest
        from livegrad.llvm import machine
        assert not machine.compiler_available()
        w = livegrad.nn.Linear(4, 3)
        optimizer = livegrad.optim.Adam(w.parameters())
        for _ in range(3):
            optimizer.zero_grad()
            loss = livegrad.nn.functional.cross_entropy(w(livegrad.randn(5, 4)), livegrad.tensor([0, 1, 2, 0, 1]))
            loss.backward()
            optimizer.step()
        assert loss.isfinite().item()
        big = livegrad.ones(1 << 20)
        assert (big * 2 + 1).sum().item() == 3 << 20
        root = {os.path.dirname(here)!r}
        # The last two need no PyTorch to compare with, so something is left to run where there is none.
        files = ["autograd/test_backward.py", "autograd/test_hooks.py", "autograd/test_modes.py",
                 "autograd/test_function.py", "autograd/test_mode_blocks.py", "optim/test_optim_direct.py"]
        sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", *(root + "/" + f for f in files)]))
    """)
    done = run(program, LIVEGRAD_STRICT="")  # which a test run may have set: here nothing can be compiled
    assert "passed" in done.stdout


def test_updates_evaluated_together_may_read_each_other():
    """A launch that is put off can have been given the memory of what the next one reads."""
    found = []
    for mode in ("always", "never"):
        livegrad.manual_seed(0)
        with livegrad.compiling(mode):
            nn = livegrad.nn
            model = nn.Sequential(nn.Linear(288, 128), nn.ReLU(), nn.Linear(128, 3))
            x, y = livegrad.randn(16, 288), livegrad.randint(0, 3, (16,))
            optimizer = livegrad.optim.Adadelta(model.parameters(), lr=1.0)
            for _ in range(4):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
                loss.item()
            found.append([p.detach().numpy().copy() for p in model.parameters()])
    for a, b in zip(*found):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_import_is_light():
    program = """
        import sys, time
        started = time.process_time()
        import numpy
        between = time.process_time()
        import livegrad
        ours = time.process_time() - between
        heavy = [m for m in ("llvmlite", "scipy_openblas32", "torch", "tensorboard", "matplotlib", "asyncio", "cupy")
                 if m in sys.modules]
        assert not heavy, heavy
        print(round(between - started, 3), round(ours, 3))
    """
    print(run(program, LIVEGRAD_NATIVE="1").stdout)


def test_a_chain_through_reductions_makes_no_kernel_per_step():
    """What one reduction computed without writing it, the next one writes: programs do not grow from step to step."""

    def chain(n):
        a = x = livegrad.arange(9.0).view(3, 3).requires_grad_()
        for _ in range(n):
            a = a - livegrad.logsumexp(a, -1, keepdim=True)
            a = a - a.sum(0, keepdim=True)
        a.sum().backward()
        return x.grad.tolist()

    chain(80)
    before = kernels.count()
    chain(320)
    assert kernels.count() == before


@pytest.mark.parametrize("dims, expected", [(None, 0.0), (0, [0.0, 0.0, 0.0]), (1, [-3.0, 3.0])])
def test_a_mean_is_one_launch(dims, expected, launches):
    x = livegrad.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])
    y = (x * 3).mean(dims) if dims is not None else (x * 3).mean()
    assert y.tolist() == expected
    assert [names for names, *_ in launches] == ["mul mean"]


def test_a_mean_of_partial_results_divides_once(launches):
    x = livegrad.full((3, 50_000), 2.0)
    launches.clear()
    with livegrad.compiling("always"):
        assert x.mean().item() == 2.0
    assert [names for names, *_ in launches] == ["mean", "mean"]


def test_recorded_gradients_of_sums_stay_pending(launches):
    x = livegrad.ones(4, 4, requires_grad=True)
    y = x.mean() + x.sum(0).sum()
    launches.clear()
    (g,) = livegrad.autograd.grad(y, x, create_graph=True)
    assert launches == [] and pending(g)
    assert g.tolist() == [[1.0625] * 4] * 4
