"""Elementwise kernels for GPUs: the numbers are those of the CPU's kernels.

Where there is a GPU these tests run on it; elsewhere the interpreter of PTX runs the kernels.
"""

import contextlib

import numpy as np
import pytest
import stand_in
import training
from ops_samples import CASES

import livegrad
from livegrad import dtypes
from livegrad.codegen.gpu import maps, plan, target
from livegrad.codegen.gpu.kernels import Kernel, Launch
from livegrad.codegen.layout import STRIDED
from livegrad.lazy import cuda, evaluate
from livegrad.lazy.program import broadcast_strides, linearize, merged_dims
from livegrad.llvm import cache
from livegrad.runtime.cuda import driver, memory

# Complex numbers are computed by the array library there.
ELEMENTWISE = [n for n, case in CASES.items() if case.formula is not None and case.formula.rule != "complex"]
FLOATS = (dtypes.float32, dtypes.float64, dtypes.float16, dtypes.bfloat16)
INTEGERS = (dtypes.int64, dtypes.int32, dtypes.int16, dtypes.int8, dtypes.uint8, dtypes.bool_)
ULPS = 4  # both may be two units in the last place off

SPECIAL = [
    0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 1.5, -2.5, 3.0, 7.0, 10.0, -17.0, 88.5, -103.0, 1e-5, -1e-5, 1e-30, 1e-42,
    -1e-42, 5e-324, 123456.0, -1e7, 3.4e38, 1e300, float("inf"), float("-inf"), float("nan"),
]  # fmt: skip


LAUNCHES = []  # arguments of the launches of a test


@pytest.fixture(autouse=True)
def a_device(monkeypatch):
    monkeypatch.setenv("LIVEGRAD_STRICT", "1")
    launch = driver.launch
    LAUNCHES.clear()
    monkeypatch.setattr(driver, "launch", lambda *args: LAUNCHES.append(args) or launch(*args))
    real = driver.available()
    with contextlib.nullcontext() if real else stand_in.in_use(), livegrad.compiling("always"):
        yield


def numbers(d, n, seed):
    """Numbers of all kinds in random order."""
    rng = np.random.default_rng(seed)
    if d is dtypes.bool_:
        return rng.integers(0, 2, n).astype(bool)
    if not d.is_floating_point:
        info = np.iinfo(d.np)
        near = rng.integers(max(info.min, -9), 10, n)
        return np.where(rng.random(n) < 0.2, rng.choice([info.min, info.max], n), near).astype(d.np)
    with np.errstate(all="ignore"):
        spread = rng.standard_normal(n) * 10.0 ** rng.integers(-3, 4, n)
        return rng.permutation(np.concatenate([SPECIAL, spread])[:n]).astype(d.np)


def same(there, here, ulps=ULPS, terms=0.0):
    """As good as the same numbers, on a device and on the CPU. terms: the size of what cancels in a number's sum."""
    assert there.device.type == "cuda" and there.dtype is here.dtype and there.shape == here.shape
    got, wanted = np.array(there.cpu()._value().native()), np.array(here._value().native())
    if not here.dtype.is_floating_point:
        np.testing.assert_array_equal(got, wanted)
        return
    eps = np.finfo(got.dtype).eps if got.dtype.kind == "f" else 2.0**-7
    tiny = np.finfo(got.dtype).tiny if got.dtype.kind == "f" else 2.0**-126
    got, wanted = got.astype(np.float64), wanted.astype(np.float64)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(wanted))
    with np.errstate(all="ignore"):
        size = np.maximum(np.maximum(np.abs(wanted), tiny), np.abs(terms))
        near = np.abs(got - wanted) <= ulps * eps * size
    wrong = ~(near | (got == wanted) | np.isnan(wanted))
    assert not wrong.any(), (got[wrong][:5], wanted[wrong][:5])
    zero = (wanted == 0) & (got == 0)
    np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(wanted[zero]))


def on_both(function, arrays):
    """What a function of arrays gives on the CPU and on a device; the latter by kernels alone."""
    here = function(*(livegrad.tensor(a) for a in arrays))
    moved = [livegrad.tensor(a).cuda() for a in arrays]
    LAUNCHES.clear()
    there = function(*moved)
    livegrad.eval(there, here)
    assert LAUNCHES
    return there, here


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_every_operator(name):
    case = CASES[name]
    for d in (*FLOATS, dtypes.int64, dtypes.int32, dtypes.uint8, dtypes.bool_):
        # 77 elements: whole vectors of every width, and a rest.
        arrays = [numbers(dtypes.bool_ if n == "condition" else d, 77, k) for k, n in enumerate(case.formula.names)]
        if not d.is_floating_point and len(arrays) > 1:
            arrays[1] = np.where(arrays[1] == 0, 1, arrays[1]).astype(arrays[1].dtype)  # dividing by zero is an error
        try:
            with livegrad.compiling("never"):
                livegrad.eval(case.function(*map(livegrad.tensor, arrays)))
        except (RuntimeError, TypeError, NotImplementedError):
            continue  # not for this dtype
        there, here = on_both(case.function, arrays)
        # 1 + tanh(x) is next to nothing where x is large and negative.
        terms = arrays[0].astype(np.float64) if name == "_gelu_tanh" else 0.0
        same(there, here, terms=terms)


@pytest.mark.parametrize("name", ["complex", "polar"])
def test_complex_numbers_are_made_without_kernels(name):
    a, b = (numbers(dtypes.float32, 77, k).clip(-100, 100) for k in range(2))
    make = getattr(livegrad, name)
    here, there = make(livegrad.tensor(a), livegrad.tensor(b)), make(*(livegrad.tensor(v).cuda() for v in (a, b)))
    assert there.device.type == "cuda" and there.dtype is dtypes.complex64
    np.testing.assert_allclose(there.cpu().numpy(), here.numpy(), rtol=1e-6, atol=1e-6)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


LAYOUTS = {
    "rows": lambda x, y, z: x + y * z,
    "moved axes": lambda x, y, z: x.transpose(0, 1) * 2 + 1,
    "reversed axes": lambda x, y, z: x.permute(2, 0, 1) + z.permute(2, 0, 1),
    "a window": lambda x, y, z: x[:, 1:5] + y[1:5],
    "a window that is not aligned": lambda x, y, z: x[:, :, 1:] + y[0, 1:],
    "one column for all": lambda x, y, z: (x * x[:, :, :1]).exp(),
    "every second one": lambda x, y, z: x[::2] * z[::2] + x[1::2, :, :1],
    "columns": lambda x, y, z: y[0][:, None, None] + x.permute(2, 0, 1),
    "nothing but repeats": lambda x, y, z: y[:1, :1].expand(7, 16) * 3,
    "comparisons": lambda x, y, z: (x > z) & (y > 0),
    "halves of another layout": lambda x, y, z: x.half() * z.half() + y.bfloat16(),
    "where": lambda x, y, z: livegrad.where(x > 0, y, z),
    "rows of odd length": lambda x, y, z: x[:, :, :15] * 2,
    "from the second one on": lambda x, y, z: x.reshape(-1)[1:].sigmoid(),
    "wide and narrow": lambda x, y, z: (x.double() + y).float() * (z > 0) + (y * 100).to(livegrad.int8),
    "four axes": lambda x, y, z: x.reshape(6, 8, 4, 4).transpose(1, 3) + y.reshape(4, 4, 8)[0],
    "a number that is a tensor": lambda x, y, z: x * y[1, 2] - z[0, 0, 0],
    "flipped": lambda x, y, z: x.flip(1) - y,
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout(name):
    same(*on_both(LAYOUTS[name], [normal(6, 8, 16), normal(8, 16, seed=1), normal(6, 1, 16, seed=2)]), ulps=16)


@pytest.mark.parametrize("d", (*FLOATS, dtypes.int8, dtypes.bool_), ids=repr)
def test_repeated_elements(d):
    """One element for a whole vector, in every size of element."""
    for n in (2, 16):
        same(*on_both(lambda x, y: x[:, None] * y, [numbers(d, 5, 1), numbers(d, n, 2)]))


@pytest.mark.parametrize("n", (1, 2, 3, 4, 5, 8, 255, 256, 257, 1023, 1024, 1025, 3 * 256 * 4 + 1, 40_000))
def test_every_size(n, monkeypatch):
    """For a device that has one multiprocessor: the larger ones take several rounds of a grid."""
    monkeypatch.setattr(driver, "multiprocessors", lambda index: 1)
    monkeypatch.setattr(cuda, "_plans", {})
    for d in (np.float32, np.float16, np.int8):
        x = (normal(n) * 10).astype(d)
        same(*on_both(lambda x: x * 3 + 1, [x]))
        same(*on_both(lambda x: x.reshape(-1, 1) + x[:1], [x]))


def test_several_results():
    def many(x, y):
        a = x * y
        b = a.tanh()
        c = (a + b).double()
        return a, b, c, (c > 0)

    arrays = normal(5, 7), normal(7, seed=1)
    here = many(*map(livegrad.tensor, arrays))
    there = many(*(livegrad.tensor(a).cuda() for a in arrays))
    LAUNCHES.clear()
    livegrad.eval(there[-1], here[-1])
    assert len(LAUNCHES) == 1
    for t, h in zip(there, here):
        same(*((t.float(), h.float()) if t.dtype is dtypes.float64 else (t, h)), ulps=16)  # a sum of float32 numbers


def test_parameters_that_lie_in_memory(monkeypatch):
    """More than fit into a launch: as if three words were too many."""
    monkeypatch.setattr(target, "DIRECT_WORDS", 3)
    monkeypatch.setattr(cache, "folder", None)
    monkeypatch.setattr(plan, "_kernels", {})
    monkeypatch.setattr(cuda, "_plans", {})
    same(*on_both(lambda x, y: (x * y + 3).tanh(), [normal(9, 4), normal(4, seed=1)]), ulps=16)
    ((launch, *_),) = LAUNCHES
    assert launch.kernel.words > 3 and "kernel_param_0\n" in launch.kernel.ptx("sm_90")


def test_large_indices():
    """The kernel for indices of more than 31 bits, on a small index space."""
    x, y = normal(5, 3, 4), normal(3, 1, seed=1)
    moved = [livegrad.tensor(a).cuda() for a in (x, y)]
    made = moved[0].transpose(0, 2) + moved[1]
    piece = linearize(made._value(), evaluate.evaluate)
    sizes, strides, _ = merged_dims((4, 3, 5), [broadcast_strides(v.array, (4, 3, 5)) for v in piece.leaves])
    code, outputs, classes = piece.code, piece.outputs, (STRIDED,) * 2
    words = maps.strided_words(code, outputs, classes, 0, len(sizes), True)
    assert len(sizes) == 3
    kernel = Kernel(
        lambda: ("wide",), lambda: maps.strided_source(code, outputs, classes, 1, words, 3, True), "3q", words
    )
    out = livegrad.zeros(4, 3, 5, device="cuda")
    tail = [60, *sizes[:0:-1], *strides[0][::-1], *strides[1][::-1]]
    args = (
        kernel.pack(*(memory.address(t._value().ready()) for t in (out, *moved))) + np.array(tail, np.int64).tobytes()
    )
    driver.launch(Launch(kernel, 1, b""), 0, args)
    np.testing.assert_array_equal(out.cpu().numpy(), x.transpose(2, 1, 0) + y)


@pytest.mark.parametrize("make", ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "NAdam", "RAdam"))
@pytest.mark.parametrize("half", (False, True))
def test_optimizers(make, half):
    """Five steps with gradients of their own, several parameters at a time: the same as on the CPU."""

    def steps(device):
        parameters = [livegrad.tensor(normal(*shape)).to(device) for shape in ((7, 5), (130,), (3, 3, 3), (1,))]
        if half:
            parameters = [p.bfloat16() for p in parameters]
        for p in parameters:
            p.requires_grad_()
        optimizer = getattr(livegrad.optim, make)(parameters, lr=0.05, weight_decay=0.01)
        for k in range(5):
            for p in parameters:
                p.grad = livegrad.tensor(normal(*p.shape, seed=k + 1)).to(device, p.dtype)
            optimizer.step()
        return parameters

    for there, here in zip(steps("cuda"), steps("cpu")):
        same(there.detach(), here.detach(), ulps=256 if not half else 2)


IN_PLACE = {
    "by one of its elements": lambda x: x.mul_(x[0, 0] + 1),
    "by its own rows": lambda x: x.add_(x[1] * 2),
    "by itself the other way round": lambda x: x.sub_(x.t() * 2),
    "a part by the rest": lambda x: x[1:].add_(x[:-1] * 2),
    "several times": lambda x: x.mul_(2).add_(x).tanh_(),
    "while somebody has the old numbers": lambda x: (x * 3, x.mul_(2))[0],
    "in another dtype": lambda x: x.add_(x.double().exp()),
    "before it is read by broadcasting": lambda x: x + x.add_(1)[2],
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place(name):
    """Memory is used again where nobody sees it; the interpreter tells of races."""
    found = []
    for device in ("cpu", "cuda"):
        x = livegrad.tensor(normal(6, 6)).to(device) * 1
        livegrad.eval(x)
        made = IN_PLACE[name](x)
        livegrad.eval(made, x)
        found.append((made, x))
    for here, there in zip(*found):
        same(there, here, ulps=16)


@pytest.mark.parametrize("half", (False, True))
@pytest.mark.parametrize("name", training.STEPS)
def test_training(name, half):
    """Three steps of five models: the losses are those of the CPU."""
    (there, _), (here, _) = (training.train(name, device, half, 3) for device in ("cuda", "cpu"))
    np.testing.assert_allclose(there, here, rtol=0.06 if half else 1e-4)
