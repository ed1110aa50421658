"""Reading and writing at places that index tensors on a device name, with gradients, against the CPU.

Where there is a GPU these tests run on it; elsewhere the interpreter of PTX runs the kernels.
"""

import contextlib
import gc
import shutil
import subprocess

import numpy as np
import pytest
import stand_in
from hypothesis import given, settings
from hypothesis import strategies as st

import livegrad
from livegrad.codegen.gpu import grouping, places
from livegrad.nn import functional as F
from livegrad.ops import index as host_index
from livegrad.runtime.cuda import driver, ledger

DTYPES = (
    livegrad.float32, livegrad.float64, livegrad.float16, livegrad.bfloat16, livegrad.int64, livegrad.int32,
    livegrad.uint8, livegrad.bool,
)  # fmt: skip
TOLERANCE = {livegrad.float64: 1e-13, livegrad.float16: 4e-3, livegrad.bfloat16: 3e-2}


@pytest.fixture(autouse=True)
def pretended(monkeypatch):
    """Nothing is copied to the CPU and no kernel may fail."""

    def no(*args, **kwargs):
        raise AssertionError("on the CPU")

    monkeypatch.setenv("LIVEGRAD_STRICT", "1")
    monkeypatch.setattr(host_index, "_on_host", no)
    with contextlib.nullcontext() if driver.available() else stand_in.in_use(), livegrad.compiling("always"):
        yield


def host(t):
    t = t.detach().cpu()
    return (t.double() if t.is_floating_point() else t).numpy()


def numbers(rng, shape, dtype):
    if dtype.is_floating_point:
        return livegrad.tensor(rng.standard_normal(shape)).to(dtype)
    return livegrad.tensor(rng.integers(0, 4, shape)).to(dtype)


def same(f, *given, waits=0, exact=False):
    """f of tensors on the CPU and of copies on a device: results and gradients.

    waits: how often the host may wait for the device's work.
    """
    found = []
    for device in ("cpu", "cuda"):
        own = [t.detach().to(device).requires_grad_(t.requires_grad) for t in given]
        before = len(ledger.LEDGER.entries)
        y = f(*own)
        assert y.device.type == device
        grads = []
        if y.requires_grad:
            (y * livegrad.arange(y.numel(), device=device).reshape(y.shape).to(y.dtype).cos()).sum().backward()
            grads = [t.grad for t in own if t.requires_grad]
            assert all(g.device.type == device for g in grads)
        livegrad.eval([y, *grads])
        if device == "cuda":
            waited = [e for e in list(ledger.LEDGER.entries)[before:] if e.waits and e.kind != "host to device"]
            assert len(waited) <= waits, list(map(str, waited))
        found.append([y, *grads])
    for here, there in zip(*found):
        assert here.dtype is there.dtype and here.shape == there.shape
        if exact or not here.is_floating_point():
            np.testing.assert_array_equal(host(there), host(here))
        else:
            tolerance = TOLERANCE.get(here.dtype, 1e-5)
            np.testing.assert_allclose(host(there), host(here), rtol=tolerance, atol=tolerance)


@st.composite
def indexed(draw):
    """(shape, order and step in which it is looked at, an index as a function of x and numbers)."""
    shape = tuple(draw(st.lists(st.sampled_from([1, 2, 3, 4, 8, 16, 33]), min_size=1, max_size=4)))
    order = tuple(draw(st.permutations(range(len(shape)))))
    step = draw(st.sampled_from([1, 1, 2]))
    return shape, order, step, draw(st.integers(0, 1 << 20))


def looked_at(x, order, step):
    return x.permute(order)[..., ::step]


def index_of(rng, x):
    """Index tensors for some dimensions of x, one side of which may be negative, that broadcast with each other."""
    items = []
    common = [int(n) for n in rng.integers(1, 6, rng.integers(0, 3))] or [int(rng.integers(0, 7))]
    for n in x.shape:
        kind = rng.integers(0, 4)
        if kind == 0:
            items.append(slice(None))
        elif kind == 1 and rng.random() < 0.3:
            items.append(int(rng.integers(0, n)))
        else:
            own = [k if rng.random() < 0.7 else 1 for k in common][rng.integers(0, len(common)) :]
            a = livegrad.tensor(rng.integers(-n, n, own))
            items.append(a.to(livegrad.int32) if rng.random() < 0.3 else a)
    if not any(isinstance(i, livegrad.Tensor) for i in items):
        items[0] = livegrad.tensor(rng.integers(0, x.shape[0], common))
    return items


def on(items, device):
    return tuple(i.to(device) if isinstance(i, livegrad.Tensor) else i for i in items)


@given(indexed(), st.sampled_from(DTYPES))
@settings(max_examples=15, deadline=None)
def test_advanced_indexing(layout, dtype):
    """Reading is exact; so is writing, whose last one stays; what is added agrees to rounding."""
    shape, order, step, seed = layout
    rng = np.random.default_rng(seed)
    x = numbers(rng, shape, dtype).requires_grad_(dtype.is_floating_point)
    items = index_of(rng, looked_at(x, order, step))
    same(lambda x: looked_at(x, order, step)[on(items, x.device)], x)
    part = looked_at(x, order, step)[tuple(items)]
    source = numbers(rng, part.shape, dtype).requires_grad_(dtype.is_floating_point)
    if part.dim() and part.shape[0] > 1 and rng.random() < 0.5:
        source = source.detach()[:1]

    def write(x, source, accumulate):
        made = looked_at(x, order, step).clone()
        places = [i if isinstance(i, livegrad.Tensor) else livegrad.arange(n) for i, n in zip(items, made.shape)]
        if any(isinstance(i, int) for i in items):
            made[on(items, x.device)] = source
            return made
        if all(isinstance(i, livegrad.Tensor) for i in items):
            return made.index_put_(on(places, x.device), source, accumulate)
        made[on(items, x.device)] = source
        return made

    same(lambda x, source: write(x, source, False), x, source, exact=not source.requires_grad and not x.requires_grad)
    same(lambda x, source: write(x, source, True), x, source)


@given(indexed(), st.sampled_from(DTYPES), st.booleans())
@settings(max_examples=15, deadline=None)
def test_along_a_dimension(layout, dtype, large):
    """gather, take_along_dim, scatter and its forms, index_select, index_add, index_copy, index_fill."""
    shape, order, step, seed = layout
    rng = np.random.default_rng(seed)
    real = dtype.is_floating_point
    x = numbers(rng, shape, dtype).requires_grad_(real)
    view = looked_at(x, order, step)
    dim = int(rng.integers(0, view.dim()))
    n = view.shape[dim]
    sizes = [int(rng.integers(0 if rng.random() < 0.1 else 1, m + 1)) for m in view.shape]
    sizes[dim] = int(rng.integers(1, 70 if large else 6))
    index = livegrad.tensor(rng.integers(0, n, sizes))
    same(lambda x, i: looked_at(x, order, step).gather(dim, i), x, index)
    source = numbers(rng, [m + int(rng.integers(0, 2)) for m in sizes], dtype).requires_grad_(real)
    same(lambda x, s, i: looked_at(x, order, step).scatter(dim, i, s), x, source, index)
    same(lambda x, i: looked_at(x, order, step).scatter(dim, i, 1), x, index)
    same(lambda x, s, i: looked_at(x, order, step).scatter_add(dim, i, s), x, source, index)
    if dtype is not livegrad.bool:
        for name in ("amax", "amin", "mean", "prod"):
            if name == "prod" and real or name == "mean" and dtype is livegrad.uint8:
                continue  # products of many numbers overflow; counts do
            for own in (True, False):
                same(
                    lambda x, s, i, name=name, own=own: looked_at(x, order, step).scatter_reduce(
                        dim, i, s, name, include_self=own
                    ), x.detach(), source.detach(), index, waits=name == "mean",
                )  # fmt: skip
    row = livegrad.tensor(rng.integers(0, n, int(rng.integers(1, 9))))
    slices = [*view.shape]
    slices[dim] = len(row)
    source = numbers(rng, slices, dtype).requires_grad_(real)
    same(lambda x, i: looked_at(x, order, step).index_select(dim, i), x, row)
    same(lambda x, s, i: looked_at(x, order, step).index_add(dim, i, s), x, source, row)
    same(lambda x, s, i: looked_at(x, order, step).index_copy(dim, i, s), x, source, row)
    same(lambda x, i: looked_at(x, order, step).index_fill(dim, i, 1), x, row)


@pytest.mark.parametrize("dtype", [livegrad.float32, livegrad.bfloat16])
def test_gradients_of_scatter_reduce(dtype):
    rng = np.random.default_rng(1)
    x, source = (numbers(rng, (5, 4), dtype).requires_grad_() for _ in range(2))
    index = livegrad.tensor(rng.integers(0, 5, (5, 4)))
    for name in ("sum", "mean", "amax", "amin", "prod"):
        same(lambda x, s, i, name=name: x.scatter_reduce(0, i, s, name), x, source, index)


@pytest.mark.parametrize("arrivals", [1, 31, 33, 513, 3000])
@pytest.mark.parametrize("columns", [1, 5])
@pytest.mark.parametrize("size", [1, 3, 700])
def test_many_arrivals(arrivals, columns, size):
    """Beyond a tile of what is sorted, and carried several times: the sum of all, the last of all, in float64."""
    rng = np.random.default_rng(arrivals)
    x = numbers(rng, (size, columns), livegrad.float64)
    source = numbers(rng, (arrivals, columns), livegrad.float64)
    index = livegrad.tensor(rng.integers(0, size, arrivals))
    same(lambda x, s, i: x.index_add(0, i, s), x, source, index)
    same(lambda x, s, i: x.index_copy(0, i, s), x, source, index, exact=True)


def test_sums_are_no_worse_than_one_after_the_other():
    rng = np.random.default_rng(0)
    source = livegrad.tensor(rng.random(5000).astype("f") + 0.5)
    index = livegrad.zeros(5000, dtype=livegrad.int64)
    found = livegrad.zeros(1).cuda().index_add(0, index.cuda(), source.cuda())
    assert abs(found.item() - source.double().sum().item()) < 5000 * 2.0**-24 * 60


def test_embedding_and_its_gradients():
    """Rows of a table, with the second derivative; a row that is not to be learnt."""
    rng = np.random.default_rng(0)
    table = numbers(rng, (11, 8), livegrad.float32).requires_grad_()
    index = livegrad.tensor(rng.integers(0, 11, (4, 9)))
    same(lambda t, i: F.embedding(i, t), table, index)
    same(lambda t, i: F.embedding(i, t, padding_idx=3) * 2, table, index)
    found = []
    for device in ("cpu", "cuda"):
        t = table.detach().to(device).requires_grad_()
        (first,) = livegrad.autograd.grad((F.embedding(index.to(device), t) ** 3).sum(), t, create_graph=True)
        (first**2).sum().backward()
        found.append(host(t.grad))
    np.testing.assert_allclose(*found, rtol=1e-5)


def test_masks():
    """Selecting waits once for how many there are; writing one number waits for nothing."""
    rng = np.random.default_rng(0)
    x = numbers(rng, (6, 7), livegrad.float32).requires_grad_()
    same(lambda x: x[x > 0], x, waits=1)
    same(lambda x: x.masked_select(x[0] > 0), x, waits=1)
    same(lambda x: x[x[:, 0] > 0, 1:], x, waits=1)
    same(lambda x: (x > 0).nonzero(), x.detach(), waits=1)
    same(lambda x: (x > 0).nonzero(as_tuple=True)[1], x.detach(), waits=1)
    same(lambda x: (x.sum() > -1e9).nonzero(), x.detach(), waits=1)

    def written(value):
        def run(x):
            made = x * 1
            made[x[:, 1] > 0] = value.to(x.device) if isinstance(value, livegrad.Tensor) else value
            return made

        return run

    same(written(3), x)
    same(written(livegrad.tensor(2.0)), x)
    same(written(livegrad.arange(7.0)), x, waits=1)
    same(lambda x: x.masked_scatter(x > 0, livegrad.arange(42.0, device=x.device)), x, waits=1)


def test_what_is_not_one_to_one_with_tensors_of_the_device():
    """Lists, arrays and tensors of the CPU as indices are copied there; flip, roll and repeat_interleave run there."""
    x = livegrad.randn(5, 6, requires_grad=True)
    same(lambda x: x[[0, 2, 2]], x)
    same(lambda x: x[livegrad.tensor([1, -1])], x)
    same(lambda x: x[:, np.array([1, 3])], x)
    same(lambda x: x.flip(0), x)
    same(lambda x: x.roll(2, 1), x)
    same(lambda x: x.repeat_interleave(2, 1), x)
    same(lambda x: x.take(livegrad.tensor([[3, 29]], device=x.device)), x)
    same(lambda x: x.take_along_dim(livegrad.zeros(5, 1, dtype=livegrad.int64, device=x.device), 1), x)


@pytest.mark.parametrize("use", [
    lambda x, i: x[i], lambda x, i: x.index_select(0, i), lambda x, i: x.gather(0, i.reshape(3, 1)),
    lambda x, i: x.index_add(0, i, x), lambda x, i: x.scatter(0, i.reshape(3, 1), 1.0), lambda x, i: F.embedding(i, x),
])  # fmt: skip
def test_wrong_indices_are_found_at_the_next_wait(use):
    """The error comes where the host waits, names the index and the line that used it, and leaves the device usable."""
    x = livegrad.randn(3, 3).cuda()
    made = use(x, livegrad.tensor([0, 5, 1]).cuda())
    livegrad.eval(made)
    with pytest.raises(IndexError, match="index 5 is out of bounds for dimension 0 with size 3") as told:
        livegrad.cuda.synchronize()
    assert "test_places.py" in str(told.value) and "lambda" in str(told.value)
    livegrad.cuda.synchronize()
    assert (x + 1).cpu().shape == (3, 3)


def test_wrong_indices_by_sign():
    x = livegrad.randn(3, 3).cuda()
    assert livegrad.equal(x[livegrad.tensor([-3, -1]).cuda()].cpu(), x.cpu()[[0, 2]])
    for use in (lambda i: x[i], lambda i: x.index_select(0, i)):
        made = use(livegrad.tensor([0, -4]).cuda())
        with pytest.raises(IndexError, match="index -4 is out of bounds"):
            made.tolist()
    made = x.index_select(0, livegrad.tensor([-1]).cuda())
    with pytest.raises(IndexError, match="index -1 is out of bounds"):
        made.tolist()


def test_eager_mode_finds_wrong_indices_at_their_line():
    x, i = livegrad.randn(3).cuda(), livegrad.tensor([3]).cuda()
    with livegrad.eager(), pytest.raises(IndexError, match="index 3 is out of bounds"):
        x[i]


@pytest.mark.skipif(shutil.which("ptxas") is None, reason="NVIDIA's assembler is not installed")
def test_the_assembler_takes_them(tmp_path):
    kernels = {}
    for d in (livegrad.float32, livegrad.bfloat16, livegrad.int64, livegrad.bool):
        x, i = livegrad.ones(6, 8).to(d).cuda(), livegrad.tensor([3, 0, 3]).cuda()
        livegrad.eval([x[i], x[:, i], x.gather(0, i.reshape(3, 1)), x.index_add(0, i, x[i]), x.index_copy(0, i, x[i])])
        livegrad.eval([x.scatter_reduce(1, i.int().long().expand(6, 3), x[:, :3], "amax"), x[i.int()]])
    for found in (places._kernels, grouping._kernels):
        kernels |= found
    assert len(kernels) > 12
    for n, kernel in enumerate(kernels.values()):
        architecture = ("sm_75", "sm_80", "sm_90", "sm_100")[n % 4]
        path = tmp_path / "kernel.ptx"
        path.write_text(kernel.ptx(architecture))
        command = ["ptxas", f"-arch={architecture}", "-v", str(path), "-o", str(tmp_path / "kernel.cubin")]
        said = subprocess.run(command, capture_output=True, text=True, check=False).stderr
        assert "0 bytes spill stores" in said, said


def test_reports_keep_no_memory():
    gc.collect()
    before = livegrad.cuda.memory_allocated()
    x, i = livegrad.randn(5, 5).cuda(), livegrad.tensor([1, 1]).cuda()
    livegrad.eval([x[i], x.index_add(0, i, x[:2])])
    del x, i
    assert livegrad.cuda.memory_allocated() == before


def test_an_index_of_nothing():
    x = livegrad.zeros(0, 3).cuda()
    assert x[livegrad.zeros(0, dtype=livegrad.int64).cuda()].shape == (0, 3)
    with pytest.raises(IndexError, match="index 0 is out of bounds for dimension 0 with size 0"):
        x[livegrad.tensor([1]).cuda()]


def test_an_index_elsewhere():
    x, i = livegrad.randn(3, 3), livegrad.tensor([0, 1])
    with pytest.raises(RuntimeError, match="indices should be either on cpu or on the same device"):
        x[i.cuda()]
    with pytest.raises(RuntimeError, match="at least two devices"):
        x.cuda().gather(0, i.reshape(2, 1))


def test_classes_are_checked_without_waiting():
    x, target = livegrad.randn(4, 3, requires_grad=True), livegrad.tensor([0, -100, 2, 1])
    weight = livegrad.tensor([1.0, 2.0, 0.5])
    same(lambda x, t: F.cross_entropy(x, t), x, target)
    same(lambda x, t: F.cross_entropy(x, t, reduction="none"), x, target)
    same(lambda x, t, w: F.cross_entropy(x, t, w), x, target, weight)
    same(lambda x, t: F.nll_loss(x.log_softmax(1), t), x, target)
    loss = F.cross_entropy(x.cuda(), livegrad.tensor([0, 3, 2, 1]).cuda())
    with pytest.raises(IndexError, match=r"Target 3 is out of bounds\.[\s\S]*test_places.py"):
        loss.item()


def test_max_pooling_twice_differentiated():
    """Windows that overlap: what meets is added in one order; and unpooling."""
    x = livegrad.randn(2, 2, 6, 6)
    found = []
    for device in ("cpu", "cuda"):
        y = x.clone().to(device).detach().requires_grad_()
        (first,) = livegrad.autograd.grad((F.max_pool2d(y, 3, 1) ** 3).sum(), y, create_graph=True)
        (first**2).sum().backward()
        pooled, index = F.max_pool2d(x.to(device), 2, return_indices=True)
        found.append((host(first), host(y.grad), host(F.max_unpool2d(pooled, index, 2))))
    for here, there in zip(*found):
        np.testing.assert_allclose(there, here, rtol=1e-5, atol=1e-6)


def test_running_products():
    """The gradient waits once, to see whether there are zeros."""
    x = livegrad.tensor([[1.5, -2.0, 0.5], [3.0, 0.25, -1.0]], requires_grad=True)
    same(lambda x: x.cumprod(1), x, waits=1)
    same(lambda x: x.cumprod(0), x, waits=1)
    x = livegrad.tensor([[1.5, 0.0, 0.5, 0.0], [3.0, 0.25, -1.0, 2.0]], requires_grad=True)
    same(lambda x: x.cumprod(1), x, waits=1)
