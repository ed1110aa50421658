"""Kernels of reductions and row programs for GPUs: the numbers against the CPU's and float64, and NVIDIA's assembler.

Where there is a GPU these tests run on it; elsewhere the interpreter of PTX runs the kernels.
"""

import contextlib
import shutil
import subprocess

import numpy as np
import ptx
import pytest
import stand_in
from hypothesis import given, settings
from hypothesis import strategies as st

import livegrad
from livegrad.codegen.gpu import target
from livegrad.lazy import cuda_reduce, scan
from livegrad.lazy import rows as row_runner
from livegrad.nn import functional as F
from livegrad.runtime.cuda import driver

ARCHITECTURES = [name for _, name in target.ARCHITECTURES]
FLOATS = (livegrad.float32, livegrad.float64, livegrad.float16, livegrad.bfloat16)
EPSILON = {
    livegrad.float32: 2.0**-24,
    livegrad.float64: 2.0**-53,
    livegrad.float16: 2.0**-11,
    livegrad.bfloat16: 2.0**-8,
}
SPECIAL = [float("nan"), float("inf"), float("-inf"), 0.0, -0.0]


@pytest.fixture(autouse=True)
def pretended(monkeypatch):
    """Everything runs as kernels: tier 0 is an error."""

    def no(*args, **kwargs):
        raise AssertionError("tier 0")

    monkeypatch.setenv("LIVEGRAD_STRICT", "1")
    monkeypatch.setattr(cuda_reduce, "interpret_reduction", no)
    monkeypatch.setattr(row_runner, "_tier0", no)
    monkeypatch.setattr(scan, "_tier0", no)
    with contextlib.nullcontext() if driver.available() else stand_in.in_use(), livegrad.compiling("always"):
        yield


def host(t):
    """Numbers in float64, or as they are."""
    t = t.detach().cpu()
    return (t.double() if t.is_floating_point() else t).numpy()


@st.composite
def layouts(draw):
    """(shape of the memory, how it is looked at, shape, dimensions to reduce)."""
    shape = draw(st.lists(st.sampled_from([1, 2, 3, 5, 8, 33, 70]), min_size=1, max_size=3))
    if draw(st.integers(0, 3)) == 0:
        shape[draw(st.integers(0, len(shape) - 1))] = draw(st.sampled_from([0, 257, 1030, 3000]))
    while np.prod(shape) > 40000:
        shape[int(np.argmax(shape))] //= 3
    order = draw(st.permutations(range(len(shape))))
    step = draw(st.sampled_from([1, 1, 2]))
    dims = draw(st.sets(st.integers(0, len(shape) - 1), min_size=1))
    return tuple(shape), tuple(order), step, tuple(sorted(dims))


def looked_at(a, order, step):
    return a.permute(order)[..., ::step] if step > 1 and a.dim() else a.permute(order)


def made_of(rng, shape, dtype, special):
    if dtype is livegrad.bool:
        return livegrad.tensor(rng.random(shape) < 0.7)
    if not dtype.is_floating_point:
        return livegrad.tensor(rng.integers(0, 50, shape)).to(dtype)
    numbers = rng.standard_normal(shape)
    if special and numbers.size:
        numbers[rng.random(shape) < 0.1] = rng.choice(SPECIAL)
    return livegrad.tensor(numbers).to(dtype)


@given(layouts(), st.sampled_from([*FLOATS, livegrad.int32, livegrad.int64, livegrad.uint8, livegrad.bool]),
       st.sampled_from(["sum", "mean", "amax", "amin", "any", "all", "prod"]), st.booleans(), st.integers(0, 99))  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_reductions(layout, dtype, name, special, seed):
    """Against float64; integers, truth values and extremes exactly."""
    shape, order, step, dims = layout
    rng = np.random.default_rng(seed)
    base = made_of(rng, shape, dtype, special)
    x = looked_at(base, order, step)
    if name == "mean" and not dtype.is_floating_point:
        name = "sum"
    if name == "prod":
        dims = dims[:1]
    if name in ("amax", "amin") and 0 in x.shape:
        return
    there = looked_at(base.cuda(), order, step)
    if dtype.is_floating_point or dtype is livegrad.int64:
        x, there = x * 2 + 1, there * 2 + 1  # taken into the kernel
        livegrad.eval(x)
    argument = dims[0] if name == "prod" else dims
    found = getattr(there, name)(argument)
    assert found.is_cuda
    found = host(found)
    if not dtype.is_floating_point or name in ("amax", "amin", "any", "all"):
        np.testing.assert_array_equal(found, host(getattr(x, name)(argument)))
        return
    exact = host(x)
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(exact, axis=dims)
        size = np.abs(exact).sum(dims) if name in ("sum", "mean") else np.abs(expected)
        count = int(np.prod([x.shape[d] for d in dims]))
        size = size / max(count, 1) if name == "mean" else size
        steps = 40 if name in ("sum", "mean") else 4 * count + 4
        bound = np.where(np.isfinite(size), size, 0) * 2.0**-24 * steps * (2.0**-29 if dtype is livegrad.float64 else 1)
        bound = bound + np.abs(np.where(np.isfinite(expected), expected, 0)) * EPSILON[dtype] + 1e-300
    if name == "prod" and dtype in (livegrad.float16, livegrad.bfloat16, livegrad.float32):
        found, expected = (np.where(np.abs(v) > 3e4, np.inf, v) for v in (found, expected))  # overflow
        bound = bound + 1e-7
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    finite = np.isfinite(expected)
    assert np.all((np.abs(found - expected) <= bound)[finite]), (found, expected)
    np.testing.assert_array_equal(found[~finite], expected[~finite])


def test_sums_are_no_worse_than_the_cpu_s():
    rng = np.random.default_rng(0)
    for shape, dims in (((200000,), (0,)), ((20, 9000), (1,)), ((9000, 20), (0,)), ((7, 300, 40), (0, 2))):
        numbers = (rng.random(shape) + 0.5).astype("f")  # all positive: errors pile up
        x = livegrad.tensor(numbers)
        exact = numbers.astype("d").sum(dims)
        there, here = (np.abs(host(t.sum(dims)) - exact).max() for t in (x.cuda(), x))
        assert there <= 1.5 * here + np.abs(exact).max() * 2.0**-24


def test_a_mean_is_one_launch_and_two_where_rows_are_long(monkeypatch):
    launches = []
    launch = driver.launch
    monkeypatch.setattr(driver, "launch", lambda *args: launches.append(args) or launch(*args))
    for shape, dims, expected in (((30, 50), (1,), 1), ((200000,), (0,), 2), ((9000, 20), (0,), 2)):
        for dtype in (livegrad.float32, livegrad.bfloat16, livegrad.float64):
            x = livegrad.tensor(np.random.default_rng(0).random(shape) + 0.5).to(dtype)
            there = x.cuda()
            launches.clear()
            found = there.mean(dims)
            livegrad.eval(found)
            assert len(launches) == expected + (dtype is livegrad.bfloat16)  # rounded by a launch of its own
            exact = host(x).mean(dims)
            np.testing.assert_allclose(
                host(found), exact, rtol=200 * EPSILON[dtype] if dtype is not livegrad.bfloat16 else 0.01
            )


def test_results_do_not_depend_on_who_runs_first(monkeypatch):
    x = livegrad.randn(3, 40000).cuda()
    found = []
    for at_a_time in (256, 1024, 1 << 14):
        monkeypatch.setattr(ptx.machine, "THREADS", at_a_time)
        found.append([host(y).tobytes() for y in (x.sum(), x.sum(0), x.softmax(1), x.cumsum(0))])
    assert found[0] == found[1] == found[2]


ROWS = {
    "softmax": lambda x, dim: F.softmax(x, dim),
    "log_softmax": lambda x, dim: F.log_softmax(x, dim),
    "layer_norm": lambda x, dim: F.layer_norm(x, x.shape[dim:]) if dim == x.dim() - 1 else F.softmax(x, dim),
    "rms_norm": lambda x, dim: F.rms_norm(x, x.shape[dim:]) if dim == x.dim() - 1 else F.log_softmax(x, dim),
    "var": lambda x, dim: x.var(dim),
    "std": lambda x, dim: x.std(dim, correction=0),
    "logsumexp": lambda x, dim: x.logsumexp(dim),
    "normalize": lambda x, dim: F.normalize(x, dim=dim),
}


@given(layouts(), st.sampled_from(FLOATS), st.sampled_from(sorted(ROWS)), st.booleans(), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_row_programs_and_their_gradients(layout, dtype, name, special, seed):
    """Against float64 on the CPU."""
    shape, order, step, dims = layout
    if 0 in shape:
        return
    rng = np.random.default_rng(seed)
    base = made_of(rng, shape, dtype, special)
    dim = dims[-1]

    def run(x):
        x = x.detach().requires_grad_()
        y = ROWS[name](looked_at(x, order, step) * 1.5, dim)
        weight = livegrad.arange(y.numel(), dtype=livegrad.float64).reshape(y.shape).cos().to(y.dtype).to(y.device)
        y.backward(weight)
        return y, x.grad

    exact, exact_gradient = run(base.double())
    found, gradient = run(base.cuda())
    here, here_gradient = run(base)
    assert found.is_cuda and gradient.is_cuda
    for there, cpu, expected in ((found, here, exact), (gradient, here_gradient, exact_gradient)):
        there, cpu, expected = map(host, (there, cpu, expected))
        np.testing.assert_array_equal(np.isnan(there), np.isnan(cpu))
        fine = np.isfinite(expected) & np.isfinite(cpu) & np.isfinite(there)
        worst = np.abs(cpu - expected)[fine].max(initial=0)
        bound = 4 * worst + 100 * EPSILON[dtype] * np.maximum(1, np.abs(expected[fine]).max(initial=0))
        assert np.all(np.abs(there - expected)[fine] <= bound)


@pytest.mark.parametrize("shape", [(3, 5), (300, 4), (2, 5000)])
@pytest.mark.parametrize("dtype", [livegrad.float32, livegrad.bfloat16, livegrad.int64, livegrad.uint8])
def test_places_of_extremes(shape, dtype):
    rng = np.random.default_rng(0)
    x = made_of(rng, shape, dtype, False)
    if dtype.is_floating_point:
        x[1, 3] = float("nan")
    for dim in (0, 1):
        for name in ("argmax", "argmin"):
            assert getattr(x.cuda(), name)(dim).tolist() == getattr(x, name)(dim).tolist()


def test_the_place_of_the_extreme_of_all_elements():
    for n in (5, 4096, 9000):
        x = livegrad.randn(n)
        assert x.cuda().argmax().item() == x.argmax().item() and x.cuda().argmin().item() == x.argmin().item()


def last_kernel(monkeypatch, make):
    """The text of the kernel that is launched last."""
    kernels = []
    launch = driver.launch
    monkeypatch.setattr(
        driver, "launch", lambda planned, *args: kernels.append(planned.kernel) or launch(planned, *args)
    )
    livegrad.eval(make())
    return kernels[-1].ptx("sm_80")


def test_what_feeds_a_reduction_is_no_launch_of_its_own(monkeypatch):
    launches = []
    launch = driver.launch
    monkeypatch.setattr(driver, "launch", lambda planned, *rest: launches.append(planned) or launch(planned, *rest))
    x, weight = livegrad.randn(6, 40).cuda(), livegrad.randn(40).cuda()
    for make in (
        lambda: (x * 2 + 1).sum(-1), lambda: (x * weight).mean(0), lambda: (x + weight).softmax(-1),
        lambda: x.exp().cumsum(1), lambda: (x - 1).square().argmax(1),
    ):  # fmt: skip
        launches.clear()
        livegrad.eval(make())
        assert [planned.kernel.describe()[0] for planned in launches] != [] and len(launches) == 1


def test_what_is_long_is_read_again_and_what_is_short_is_not(monkeypatch):
    """Loads of a softmax's row, as instructions of four elements each: one, or one for each stage."""
    for length, loads in ((64, 1), (9000, 3)):
        text = last_kernel(monkeypatch, lambda: livegrad.randn(4, length).cuda().softmax(1))  # noqa: B023
        assert text.count("ld.global") == text.count("ld.global.v4.b32") == loads
        assert text.count("st.global") == text.count("st.global.v4.b32") == 1


IN_ROWS = {
    "sum": lambda x: x.sum(),
    "sums of rows": lambda x: (x * 2 + 1).sum(-1),
    "amax": lambda x: x.amax(-1),
    "two dimensions": lambda x: x.mean((0, 2)),
    "softmax": lambda x: x.softmax(-1),
    "layer_norm": lambda x: F.layer_norm(x, x.shape[-1:]),
    "gradient": lambda x: gradient(lambda x: F.layer_norm(x, x.shape[-1:]).cos(), x),
    "var": lambda x: x.var(-1),
}


def gradient(f, x):
    x = x.detach().requires_grad_()
    f(x).sum().backward()
    return x.grad


@pytest.mark.parametrize("dtype", [*FLOATS, livegrad.uint8])
@pytest.mark.parametrize("name", IN_ROWS)
def test_results_do_not_depend_on_how_many_elements_are_read_at_a_time(monkeypatch, name, dtype):
    """The same numbers aligned; one element behind an aligned address; in rows with an odd or an even distance."""
    if not dtype.is_floating_point and name not in ("sum", "sums of rows", "amax"):
        return
    make = IN_ROWS[name]
    for shape in ((2, 3, 64), (2, 2, 1300), (1, 2, 2600)):
        numbers = made_of(np.random.default_rng(0), shape, dtype, False)
        base = numbers.cuda()
        one_behind = livegrad.zeros(numbers.numel() + 1, dtype=dtype, device="cuda")
        one_behind[1:] = base.reshape(-1)
        views = [base, one_behind[1:].view(shape)]
        for more in (1, 2, 8):
            wider = livegrad.zeros(*shape[:2], shape[2] + more, dtype=dtype, device="cuda")
            wider[..., : shape[2]] = base
            views.append(wider[..., : shape[2]])
        found = [make(view) for view in views]
        assert all(host(y).tobytes() == host(found[0]).tobytes() for y in found)
        if dtype is livegrad.float32 and name != "gradient":  # the last kernel is the one that reads the rows
            wide, narrow = (last_kernel(monkeypatch, lambda: make(view)) for view in views[:2])  # noqa: B023
            assert "ld.global.v4.b32" in wide and "ld.global.v" not in narrow


@given(layouts(), st.sampled_from([*FLOATS, livegrad.int32, livegrad.uint8]), st.booleans(), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_running_totals(layout, dtype, special, seed):
    """Forwards, and backwards as their gradient."""
    shape, order, step, dims = layout
    base = made_of(np.random.default_rng(seed), shape, dtype, special)

    def run(x):
        x = x.detach().requires_grad_(x.is_floating_point())
        y = (looked_at(x, order, step) * 2).cumsum(dims[0])
        if x.is_floating_point():
            y.backward(livegrad.ones_like(y) / 4)
        return y, x.grad

    for there, here in zip(run(base.cuda()), run(base)):
        if here is not None:
            assert there.is_cuda and there.dtype is here.dtype
            there, here = host(there), host(here)
            np.testing.assert_array_equal(np.isnan(there), np.isnan(here))
            tolerance = 2 * EPSILON.get(dtype, 0)
            size = np.abs(here[np.isfinite(here)]).max(initial=0)
            np.testing.assert_allclose(there, here, rtol=tolerance, atol=4 * tolerance * (size + 1))


@pytest.mark.parametrize("dtype", [*FLOATS, livegrad.int64, livegrad.uint8, livegrad.bool])
@pytest.mark.parametrize("name", ["cummax", "cummin"])
def test_running_extremes(name, dtype):
    """Values, places and gradients as on the CPU, with equal elements, infinities and NaN; nothing is copied."""
    for shape, dim in (((4, 70), 1), ((70, 4), 0), ((2, 1300), 1), ((3, 5, 2), 1), ((0, 3), 1)):
        x = made_of(np.random.default_rng(0), shape, dtype, True)
        x = x.round() if dtype.is_floating_point else x
        found = []
        for there in (x, x.cuda()):
            there = there.detach().requires_grad_(dtype.is_floating_point)
            with livegrad.debug.watch_sync("raise"):
                values, places = getattr(there, name)(dim)
                if dtype.is_floating_point:
                    values.backward(livegrad.ones_like(values))
            found.append([values, places, *([there.grad] if dtype.is_floating_point else [])])
        for here, there in zip(*found):
            assert here.dtype is there.dtype and there.is_cuda
            here, there = host(here), host(there)
            if dtype is livegrad.bfloat16:  # the CPU adds up ones in bfloat16, which ends at 256
                here, there = np.minimum(here, 256), np.minimum(there, 256)
            np.testing.assert_array_equal(there, here)


def test_logarithms_of_running_sums():
    x = livegrad.randn(3, 200)
    found = []
    for there in (x, x.cuda()):
        there = there.detach().requires_grad_()
        with livegrad.debug.watch_sync("raise"):
            y = there.logcumsumexp(1)
            y.sum().backward()
        found.append((host(y), host(there.grad)))
    for here, there in zip(*found):
        np.testing.assert_allclose(there, here, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(5, 7), (3, 4, 6), (2, 5000), (4, 3, 2, 5)])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_losses_over_classes(shape, reduction):
    rng = np.random.default_rng(0)
    x = livegrad.tensor(rng.standard_normal(shape).astype("f"))
    target = livegrad.tensor(rng.integers(0, shape[1], (shape[0], *shape[2:])))
    target.view(-1)[1] = -100
    weight = livegrad.rand(shape[1])
    for make in (F.cross_entropy, F.nll_loss):
        for options in ({}, {"weight": weight}):
            found = []
            for device in ("cpu", "cuda"):
                there = {k: v.to(device) for k, v in options.items()}
                y = x.clone().to(device).requires_grad_()
                loss = make(y, target.to(device), reduction=reduction, **there)
                loss.sum().backward()
                assert loss.device.type == y.grad.device.type == device
                found.append((host(loss), host(y.grad)))
            for here, there in zip(*found):
                np.testing.assert_allclose(there, here, rtol=1e-5, atol=1e-6)


def test_a_loss_over_classes_has_second_derivatives():
    x, target = livegrad.randn(5, 7).double(), livegrad.tensor([1, 0, 6, 3, 3])
    found = []
    for device in ("cpu", "cuda"):
        y = x.clone().to(device).requires_grad_()
        (first,) = livegrad.autograd.grad(F.cross_entropy(y, target.to(device)), y, create_graph=True)
        (first**3).sum().backward()
        found.append(host(y.grad))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-12, atol=1e-15)


def assembled(text, architecture, tmp_path):
    """What the assembler says of a module."""
    path = tmp_path / "kernel.ptx"
    path.write_text(text)
    made = subprocess.run(
        ["ptxas", f"-arch={architecture}", "-v", str(path), "-o", str(tmp_path / "kernel.cubin")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return made.stderr


@pytest.mark.skipif(shutil.which("ptxas") is None, reason="NVIDIA's assembler is not installed")
def test_the_assembler_takes_them(tmp_path):
    kernels = {}

    def keep(planned, index, arguments):
        kernels[planned.kernel.describe()] = planned.kernel
        original(planned, index, arguments)

    original = cuda_reduce.driver.launch
    cuda_reduce.driver.launch = keep
    try:
        for d in FLOATS:
            x = livegrad.randn(6, 40).to(d).cuda()
            for dim in (0, 1):
                for name in sorted(ROWS):
                    y = x.detach().requires_grad_()
                    ROWS[name](y, dim).sum().backward()
                livegrad.eval([x.sum(dim), x.amax(dim), x.argmax(dim), x.cumsum(dim)])
        livegrad.eval([livegrad.randn(2, 5000).cuda().softmax(1), livegrad.randn(40000).cuda().sum()])
        livegrad.eval([(livegrad.randn(4, 6).cuda() > 0).all(1), livegrad.arange(9).cuda().sum()])
    finally:
        cuda_reduce.driver.launch = original
    assert len(kernels) > 60
    for n, kernel in enumerate(kernels.values()):
        architecture = ARCHITECTURES[n % len(ARCHITECTURES)]
        said = assembled(kernel.ptx(architecture), architecture, tmp_path)
        assert "0 bytes spill stores" in said
