"""Pooling, resampling, sorting, counting and linear algebra on the device: what copies, what waits."""

import numpy as np
import pytest
import stand_in

import livegrad

F = livegrad.nn.functional


@pytest.fixture(autouse=True)
def pretended():
    with stand_in.somewhere():
        yield


def made(seed, *shape):
    return livegrad.tensor(np.random.default_rng(seed).standard_normal(shape).astype("f"))


def parts(x):
    return tuple(x) if isinstance(x, tuple) else (x,)


def compared(function, *tensors, waits=()):
    """On the device as on the CPU, with gradients. waits: kinds of entries that the ledger may show."""
    here = [t.clone().requires_grad_(t.is_floating_point()) for t in tensors]
    there = [t.cuda().requires_grad_(t.is_floating_point()) for t in tensors]
    livegrad.debug.clear_ledger()
    found, expected = parts(function(*there)), parts(function(*here))
    for results in (found, expected):
        total = [((r * (r.detach() + 1)).sum()) for r in results if r.requires_grad]
        if total:
            sum(total[1:], total[0]).backward()
    livegrad.eval(*found, *(t.grad for t in there if t.grad is not None))
    assert {e.kind for e in livegrad.debug.ledger()} <= set(waits)
    pairs = [*zip(found, expected), *((t.grad, h.grad) for t, h in zip(there, here) if h.grad is not None)]
    for a, b in pairs:
        assert a.is_cuda and a.dtype is b.dtype and a.shape == b.shape
        np.testing.assert_allclose(
            a.detach().cpu().double().numpy(), b.detach().double().numpy(), rtol=1e-4, atol=1e-5, equal_nan=True
        )


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.max_pool2d(x, 2), lambda x: F.max_pool2d(x, 3, 1, 1), lambda x: F.max_pool2d(x, 3, 2, 1, 1, True),
        lambda x: F.max_pool2d(x, 2, 1, dilation=2), lambda x: F.avg_pool2d(x, 2), lambda x: F.avg_pool2d(x, 3, 2, 1),
        lambda x: F.avg_pool2d(x, 3, 2, 1, True, False), lambda x: F.avg_pool2d(x, 2, divisor_override=3),
        lambda x: F.max_pool1d(x[0], 3, 2), lambda x: F.avg_pool3d(x, 2), lambda x: F.adaptive_avg_pool2d(x, 1),
        lambda x: F.max_pool2d(x, 3, 2, return_indices=True),
    ],
)  # fmt: skip
def test_pooling(function):
    compared(function, made(0, 2, 3, 7, 6))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.adaptive_avg_pool2d(x, (3, 4)), lambda x: F.adaptive_max_pool2d(x, (3, 4), True),
        lambda x: F.adaptive_max_pool1d(x[0], 4, True), lambda x: F.adaptive_avg_pool3d(x, (2, 3, 5)),
        lambda x: F.interpolate(x, (4, 9)), lambda x: F.interpolate(x, (4, 9), mode="nearest-exact"),
        lambda x: F.interpolate(x, (4, 9), mode="bilinear"), lambda x: F.interpolate(x, (9, 3), mode="bicubic"),
        lambda x: F.interpolate(x, (4, 3), mode="bilinear", antialias=True), lambda x: F.interpolate(x[0], 11),
        lambda x: F.adaptive_max_pool2d(x.relu(), (2, 4), True), lambda x: F.adaptive_max_pool2d(x.double(), (5, 4), True),
    ],
)  # fmt: skip
def test_uneven_windows(function):
    """The tables of a size are copied once, with its first result or gradient."""
    x = made(0, 2, 3, 7, 6)
    compared(function, x, waits=["host to device"])
    compared(function, x)
    x[0, 1, 2, 3] = float("nan")
    compared(lambda t: function(t.detach()), x)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.sort(1), lambda x: x.sort(0, descending=True), lambda x: x.argsort(1), lambda x: x.topk(2),
        lambda x: x.topk(3, 0, largest=False), lambda x: x.kthvalue(2), lambda x: x.median(1), lambda x: x.tril(),
        lambda x: x.triu(-1), lambda x: x.cumsum(0), lambda x: (x * livegrad.tensor(2.0)).sort(1)[0],
        lambda x: x[0, 0].sort(), lambda x: x.bfloat16().sort(1)[0],
    ],
)  # fmt: skip
def test_order(function):
    x = made(1, 4, 5)
    compared(function, x)
    x[1, 2] = float("nan")
    compared(lambda t: function(t.detach()), x)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.split(3, 1), lambda x: x.unbind(0)[1], lambda x: x.chunk(2, 2)[0], lambda x: x.repeat(2, 1, 1, 3),
        lambda x: F.pixel_shuffle(x, 2), lambda x: F.pixel_unshuffle(x, 2), lambda x: F.channel_shuffle(x, 2),
        lambda x: F.unfold(x, 3, padding=1), lambda x: F.fold(x.reshape(2, 4, 24), (5, 7), (2, 2)),
        lambda x: x.var(1), lambda x: x.std((2, 3)), lambda x: F.pad(x, (1, 2)), lambda x: x.flip(0, 3),
        lambda x: x.roll((1, -7), (1, 3)), lambda x: x.roll(5), lambda x: x.repeat_interleave(3, 2),
        lambda x: x[0].diag_embed(1), lambda x: x[0, 0, 0].diag(), lambda x: livegrad.isin(x, x[0, 0]),
    ],
)  # fmt: skip
def test_rearranging(function):
    compared(function, made(2, 2, 4, 4, 6))


def test_triangles_keep_the_dtype():
    for dtype in (livegrad.bool, livegrad.int32, livegrad.float16):
        compared(lambda x: (x.tril(), x.triu(1)), livegrad.ones(3, 4, dtype=dtype))


def test_assignments_by_index():
    x, i = made(0, 3, 4), livegrad.tensor([2, 0])
    for place in (lambda y, at: y.__setitem__(at, 5.0), lambda y, at: y.__setitem__((at, 1), y[0, :2]),
                  lambda y, at: y.index_put_((at,), livegrad.ones(4, device=y.device), accumulate=True),
                  lambda y, at: y.index_fill_(1, at, 7), lambda y, at: y.fill_diagonal_(3.0),
                  lambda y, at: y.masked_fill_(y > 0, 0.5), lambda y, at: y.apply_(lambda v: v + 1)):  # fmt: skip
        here, there = x.clone(), x.cuda()
        place(here, i)
        place(there, i.cuda())
        assert there.is_cuda
        np.testing.assert_allclose(there.cpu().numpy(), here.numpy(), rtol=1e-6)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.argmax(), lambda x: x.argmin(), lambda x: x.max(1), lambda x: x.min(0, keepdim=True),
        lambda x: x[0, 0].max(0), lambda x: livegrad.nonzero(x > 0), lambda x: x.nonzero(as_tuple=True),
        lambda x: x.cummax(1), lambda x: x.quantile(0.3), lambda x: livegrad.histc(x, 4), lambda x: x.mode(1),
        lambda x: livegrad.isin(x, x[0]), lambda x: x.view(livegrad.int32), lambda x: x.nanmedian(0),
        lambda x: x.logcumsumexp(0), lambda x: livegrad.nn.functional.adaptive_max_pool1d(x.detach(), 3),
    ],
)  # fmt: skip
def test_results_are_on_the_operands_device(function):
    """Also of what is computed on the CPU."""
    compared(function, made(5, 3, 4), waits=["host to device", "device to host", "synchronize"])


def test_nothing_has_elements():
    compared(lambda x: x.t() + x.t(), livegrad.zeros(0, 3))
    compared(lambda x: (x.reshape(3, 0) * 2).sum(1), livegrad.zeros(0, 3))


def test_counting():
    x = livegrad.tensor([3, 1, 3, 0, 7, 1])
    options = {"return_inverse": True, "return_counts": True}
    compared(lambda t: t.unique(**options), x, waits=["synchronize"])
    compared(lambda t: livegrad.bincount(t, minlength=10), x, waits=["synchronize"])
    compared(lambda t, w: livegrad.bincount(t, w), x, made(0, 6).detach(), waits=["synchronize"])
    compared(lambda t, u: livegrad.searchsorted(t, u), made(0, 5).sort()[0].detach(), made(1, 2, 3))


@pytest.mark.parametrize(
    "function",
    [
        lambda a: livegrad.linalg.inv(a), lambda a: livegrad.linalg.solve(a, a[..., :1]), lambda a: livegrad.linalg.det(a),
        lambda a: livegrad.linalg.slogdet(a)[1], lambda a: livegrad.linalg.cholesky(a), lambda a: livegrad.linalg.qr(a)[1],
        lambda a: livegrad.linalg.eigh(a)[0], lambda a: livegrad.linalg.svdvals(a), lambda a: livegrad.linalg.pinv(a),
        lambda a: livegrad.linalg.matrix_power(a, 3), lambda a: livegrad.linalg.solve_triangular(a, a, upper=True),
        lambda a: livegrad.linalg.svd(a)[0].abs(),
    ],
)  # fmt: skip
def test_linear_algebra(function):
    a = made(0, 2, 4, 4)
    compared(function, a @ a.mT + 3 * livegrad.eye(4), waits=["synchronize"])


def test_attention_does_not_wait():
    q = made(3, 2, 3, 5, 4)
    mask = livegrad.tensor(np.tril(np.ones((5, 5), bool)))
    mask[2] = False
    compared(lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True), q)
    compared(lambda x, m: F.scaled_dot_product_attention(x, x, x, m), q, mask)
    compared(lambda x, m: F.scaled_dot_product_attention(x, x, x, m), q, made(4, 5, 5))


def test_a_singular_matrix():
    with pytest.raises(RuntimeError, match="linalg.inv: .*singular"):
        livegrad.linalg.inv(livegrad.zeros(2, 2, device="cuda"))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.sort(1)[0], lambda x: x.topk(2, 0)[0], lambda x: x.kthvalue(2, 1)[0], lambda x: x.median(1)[0],
        lambda x: x.max(1)[0], lambda x: x.min(0)[0], lambda x: x.msort(),
    ],
)  # fmt: skip
def test_second_derivatives_of_what_is_picked(function):
    """The gradient is linear in what arrives: its own gradient picks from what arrives there."""
    found = []
    for device in ("cpu", "cuda"):
        x = made(0, 3, 4).to(device).requires_grad_()
        y = function(x)
        g = made(1, *y.shape).to(device).requires_grad_()
        (gx,) = livegrad.autograd.grad(y, x, g, create_graph=True)
        (gg,) = livegrad.autograd.grad(gx, g, made(2, 3, 4).to(device))
        with pytest.raises(RuntimeError, match="freed"):
            livegrad.autograd.grad(gx, g, made(2, 3, 4).to(device))
        found.append((gx.detach().cpu().numpy(), gg.cpu().numpy()))
    for there, here in zip(*found):
        np.testing.assert_array_equal(there, here)
