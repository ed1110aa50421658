"""Weighted picks, and grid_sample, which is one: by kernels and without, gradients of gradients, threads."""

import numpy as np
import pytest

import livegrad
from livegrad.codegen import kernels
from livegrad.ops.picks import PICK, PRODUCTS, SPREAD

F = livegrad.nn.functional
RNG = np.random.default_rng(3)


@pytest.fixture(params=["always", "never"])
def mode(request, monkeypatch):
    monkeypatch.setattr(kernels.Policy, "mode", request.param)
    return request.param


def operands(n=2, c=3, s=11, t=4, o=37, dtype=np.float64):
    x, w = RNG.normal(size=(n, c, s)).astype(dtype), RNG.normal(size=(n, t, o)).astype(dtype)
    return x, w, RNG.integers(-1, s, (n, t, o))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("taps", [1, 4, 16, 17])
def test_sums_are_those_of_the_formulas(mode, dtype, taps):
    x, w, index = operands(t=taps, dtype=dtype)
    g = RNG.normal(size=(2, 3, 37)).astype(dtype)
    picked = np.where(index[:, None] >= 0, np.take_along_axis(x[:, :, None], index[:, None].clip(0), 3), 0)
    expected = (picked * w[:, None]).sum(2)
    products = (picked * g[:, :, None]).sum(1)
    spread = np.zeros_like(x)
    for (n, t, o), at in np.ndenumerate(index):
        if at >= 0:
            spread[n, :, at] += w[n, t, o] * g[n, :, o]
    close = {"rtol": 1e-4, "atol": 1e-5} if dtype is np.float32 else {"rtol": 1e-10, "atol": 1e-12}
    tx, tw, ti, tg = map(livegrad.tensor, (x, w, index, g))
    np.testing.assert_allclose(PICK.apply((tx, tw, ti)).numpy(), expected, **close)
    np.testing.assert_allclose(PRODUCTS.apply((tx, tg, ti)).numpy(), products, **close)
    np.testing.assert_allclose(SPREAD.apply((tg, tw, ti), size=11).numpy(), spread, **close)


@pytest.mark.parametrize("which", ["pick", "spread", "products"])
def test_gradients_of_gradients(mode, which):
    x, w, index = operands(o=5)
    g = RNG.normal(size=(2, 3, 5))
    op, a, b, args = {
        "pick": (PICK, x, w, {}), "spread": (SPREAD, g, w, {"size": 11}), "products": (PRODUCTS, x, g, {}),
    }[which]  # fmt: skip
    both = [livegrad.tensor(v, requires_grad=True) for v in (a, b)]

    def run(*tensors):
        return op.apply((*tensors, livegrad.tensor(index)), **args)

    assert livegrad.autograd.gradcheck(run, both)
    assert livegrad.autograd.gradgradcheck(run, both)


def test_threads_make_no_difference():
    x, w, index = operands(n=3, c=8, s=400, o=3000, dtype=np.float32)
    g = RNG.normal(size=(3, 8, 3000)).astype(np.float32)
    tx, tw, ti, tg = map(livegrad.tensor, (x, w, index, g))
    found = []
    before = livegrad.get_num_threads()
    try:
        for threads in (1, 2, 5):
            livegrad.set_num_threads(threads)
            found.append([
                made.numpy().tobytes()
                for made in (PICK.apply((tx, tw, ti)), SPREAD.apply((tg, tw, ti), size=400), PRODUCTS.apply((tx, tg, ti)))
            ])  # fmt: skip
    finally:
        livegrad.set_num_threads(before)
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("sample", ["bilinear", "nearest", "bicubic"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_images_as_in_pytorch(mode, sample, padding):
    torch = pytest.importorskip("torch")
    image = RNG.normal(size=(2, 3, 9, 8)).astype(np.float32)
    grid = RNG.uniform(-1.5, 1.5, size=(2, 7, 6, 2)).astype(np.float32)
    results = []
    for lib in (livegrad, torch):
        x, g = (lib.tensor(a, requires_grad=True) for a in (image, grid))
        made = lib.nn.functional.grid_sample(x, g, sample, padding, align_corners=False)
        made.sin().sum().backward()
        results.append([made.detach().numpy(), x.grad.numpy(), g.grad.numpy()])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_what_is_outside_is_not_read(mode):
    image = livegrad.full((1, 1, 2, 2), float("nan"))
    far = livegrad.full((1, 1, 1, 2), 9.0)
    assert F.grid_sample(image, far, align_corners=False).item() == 0


@pytest.mark.parametrize("shape", [(0, 3, 4, 4, 2), (2, 0, 4, 4, 2), (2, 3, 0, 4, 2), (2, 3, 4, 0, 2)])
def test_empty_images_and_grids(mode, shape):
    n, c, h, w, _ = shape
    x, g = livegrad.ones(n, c, 5, 5, requires_grad=True), livegrad.zeros(n, h, w, 2, requires_grad=True)
    made = F.grid_sample(x, g, align_corners=False)
    assert made.shape == (n, c, h, w)
    made.sum().backward()
    assert not x.grad.any() and not g.grad.any()


def test_batches_and_tangents():
    x, g = livegrad.randn(3, 2, 4, 5, 5), livegrad.rand(3, 2, 4, 4, 2)

    def sample(x, g):
        return F.grid_sample(x, g, align_corners=True)

    made = livegrad.func.vmap(sample)(x, g)
    assert livegrad.allclose(made, livegrad.stack([sample(a, b) for a, b in zip(x, g)]))
    along = livegrad.randn(2, 4, 5, 5)
    value, tangent = livegrad.func.jvp(lambda x: sample(x, g[0]), (x[0],), (along,))
    assert livegrad.allclose(tangent, sample(along, g[0]), atol=1e-5)
