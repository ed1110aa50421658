"""What cuDNN is asked for, over a stand-in that does as is defined, and the way without cuDNN."""

import sys

import numpy as np
import pytest
import stand_in
import stand_in_cudnn
from hypothesis import given, settings
from hypothesis import strategies as st

import livegrad
from livegrad.runtime.cuda import attention, cudnn

F = livegrad.nn.functional
pytestmark = pytest.mark.filterwarnings("error:cuDNN is not used")


@pytest.fixture(autouse=True, params=[True, False], ids=["cudnn", "without"])
def pretended(request, monkeypatch):
    monkeypatch.setitem(sys.modules, "cudnn", stand_in_cudnn if request.param else None)
    for cache in (cudnn.library, cudnn.handle, cudnn._plan, attention._plans):
        cache.cache_clear()
    cudnn._fastest.clear()
    stand_in_cudnn.executed.clear()
    stand_in_cudnn.graphs.clear()
    stand_in_cudnn.tried.clear()
    with stand_in.in_use():
        yield request.param
    for cache in (cudnn.library, cudnn.handle, cudnn._plan, attention._plans):
        cache.cache_clear()


def made(seed, *shape, dtype=livegrad.float32):
    return livegrad.tensor(np.random.default_rng(seed).standard_normal(shape).astype("f")).to(dtype)


def compared(function, tensors, tolerance=1e-4):
    """The same on the device as on the CPU, with gradients, and without a copy in between."""
    here = [t.clone().requires_grad_() for t in tensors]
    there = [t.cuda().requires_grad_() for t in tensors]
    expected = function(*here)
    with livegrad.debug.watch_sync("raise"):
        found = function(*there)
        weights = livegrad.ones_like(found) + found.detach()
        (found * weights).sum().backward()
        livegrad.eval(found, *(t.grad for t in there))
    (expected * (livegrad.ones_like(expected) + expected.detach())).sum().backward()
    pairs = [(found, expected), *((t.grad, h.grad) for t, h in zip(there, here))]
    for a, b in pairs:
        assert a.is_cuda and a.dtype is b.dtype and a.shape == b.shape
        scale = max(b.detach().double().abs().max().item(), 1) if b.numel() else 1
        np.testing.assert_allclose(
            a.detach().cpu().double().numpy(), b.detach().double().numpy(), rtol=tolerance, atol=tolerance * scale
        )


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 3), dims=st.integers(1, 3), groups=st.integers(1, 2), channels=st.integers(1, 2),
    outputs=st.integers(1, 3), data=st.data(), transposed=st.booleans(), biased=st.booleans(),
)  # fmt: skip
def test_any_convolution(n, dims, groups, channels, outputs, data, transposed, biased):
    def some(low, high):
        return tuple(data.draw(st.integers(low, high)) for _ in range(dims))

    size, window, stride, padding, dilation = some(4, 7), some(1, 3), some(1, 2), some(0, 2), some(1, 2)
    if any(k * d > 4 + 2 * p for k, d, p in zip(window, dilation, padding)):
        return
    with stand_in.in_use():
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        x = made(0, n, groups * channels, *size)
        name = f"conv{'_transpose' if transposed else ''}{dims}d"
        if transposed:
            if any((m - 1) * s - 2 * p + d * (k - 1) + 1 < 1 for m, k, s, p, d in zip(
                size, window, stride, padding, dilation)):  # fmt: skip
                return
            w = made(1, groups * channels, outputs, *window)
        else:
            w = made(1, groups * outputs, channels, *window)
        tensors = [x, w, made(2, groups * outputs)] if biased else [x, w]
        compared(lambda *t: getattr(F, name)(*t, **options), tensors)


@pytest.mark.parametrize("dtype", [livegrad.float64, livegrad.float16, livegrad.bfloat16])
def test_dtypes(dtype, pretended):
    x, w, b = made(0, 2, 3, 6, 6, dtype=dtype), made(1, 4, 3, 3, 3, dtype=dtype), made(2, 4, dtype=dtype)
    compared(lambda *t: F.conv2d(*t, padding=1), [x, w, b], 1e-10 if dtype is livegrad.float64 else 5e-2)
    if pretended:
        assert sorted(stand_in_cudnn.executed) == ["dgrad", "fprop", "wgrad"]
    else:
        assert stand_in_cudnn.executed == []


def test_plans_are_kept_by_shape_and_settings(pretended):
    if not pretended:
        pytest.skip("without cuDNN")
    x, w = made(0, 2, 3, 6, 6).cuda(), made(1, 4, 3, 3, 3).cuda()
    for _ in range(3):
        F.conv2d(x, w)
    F.conv2d(x + 1, w * 2)
    assert len(stand_in_cudnn.graphs) == 1 and stand_in_cudnn.executed == ["fprop"] * 4
    assert stand_in_cudnn.graphs[0].without == []
    F.conv2d(x[:1], w)
    F.conv2d(x.transpose(2, 3), w)
    assert len(stand_in_cudnn.graphs) == 3
    with livegrad.backends.cudnn.flags(allow_tf32=False, deterministic=True):
        F.conv2d(x, w)
    note = stand_in_cudnn.numerical_note
    assert stand_in_cudnn.graphs[3].without == [note.NONDETERMINISTIC, note.TENSOR_CORE, note.DOWN_CONVERT_INPUTS]
    with livegrad.backends.cudnn.flags(enabled=False):
        before = len(stand_in_cudnn.executed)
        found = F.conv2d(x, w)
        assert len(stand_in_cudnn.executed) == before
    np.testing.assert_allclose(found.cpu().numpy(), F.conv2d(x.cpu(), w.cpu()).numpy(), rtol=1e-4, atol=1e-4)


def test_benchmark_times_the_plans_once_for_each_convolution(pretended):
    if not pretended:
        pytest.skip("without cuDNN")
    x, w = made(0, 2, 3, 6, 6).cuda(), made(1, 4, 3, 3, 3).cuda()
    expected = F.conv2d(x.cpu(), w.cpu()).numpy()
    with livegrad.backends.cudnn.flags(benchmark=True):
        livegrad.debug.clear_ledger()
        for _ in range(3):
            np.testing.assert_allclose(F.conv2d(x, w).cpu().numpy(), expected, rtol=1e-4, atol=1e-4)
        fastest = stand_in_cudnn.FASTEST
        assert [e.why for e in livegrad.debug.ledger("synchronize")] == ["backends.cudnn.benchmark"]
        assert set(stand_in_cudnn.tried) == {0, 1, 2, 3} and stand_in_cudnn.tried[-3:] == [fastest] * 3
        del stand_in_cudnn.tried[:]
        livegrad.backends.cudnn.benchmark_limit = 1
        try:
            F.conv2d(x[:1], w)
        finally:
            livegrad.backends.cudnn.benchmark_limit = 10
        assert set(stand_in_cudnn.tried) == {0}
        compared(lambda *t: F.conv2d(*t), [made(0, 13, 2, 4, 4), made(1, 2, 2, 2, 2)])  # no plan at all


def test_what_cudnn_has_no_plan_for_is_computed_without_it(pretended):
    compared(lambda *t: F.conv2d(*t), [made(0, 13, 2, 4, 4), made(1, 2, 2, 2, 2)])
    assert "fprop" not in stand_in_cudnn.executed


def test_version_and_availability(pretended):
    assert livegrad.backends.cudnn.is_available() is pretended
    assert livegrad.backends.cudnn.version() == (91200 if pretended else None)


def test_empty_results():
    x, w = livegrad.zeros(0, 3, 5, 5), made(1, 4, 3, 3, 3)
    compared(lambda *t: F.conv2d(*t), [x, w])


def test_derivatives_of_derivatives():
    def gradient(x, w):
        (g,) = livegrad.autograd.grad(F.conv2d(x, w, padding=1).square().sum(), x, create_graph=True)
        return g

    compared(gradient, [made(0, 1, 2, 4, 4), made(1, 2, 2, 3, 3)], 1e-3)


def test_closing_padding():
    assert cudnn.closing_padding(5, 5, 3, 1, 1, 1) == 1
    assert cudnn.closing_padding(6, 3, 3, 2, 1, 1) == 1  # a place at the end is not read
    assert cudnn.closing_padding(4, 6, 3, 1, 1, 1) == 3
    assert cudnn.closing_padding(9, 2, 1, 1, 0, 1) is None


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dtype", [livegrad.float16, livegrad.bfloat16])
def test_attention(causal, dtype, pretended):
    """Heads as a model makes them, views of one product; and of different lengths."""
    x = made(0, 2, 6, 3 * 2 * 8, dtype=dtype)

    def attend(x):
        q, k, v = (part.reshape(2, 6, 2, 8).transpose(1, 2) for part in x.split(16, -1))
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2).reshape(2, 6, 16)

    compared(attend, [x], 5e-2)
    assert stand_in_cudnn.executed == (["sdpa", "sdpa_backward"] if pretended else [])
    q, k, v = made(1, 3, 4, 16, dtype=dtype), made(2, 3, 7, 16, dtype=dtype), made(3, 3, 7, 16, dtype=dtype)
    if not causal:
        compared(F.scaled_dot_product_attention, [q, k, v], 5e-2)
    with livegrad.backends.cudnn.flags(deterministic=True):
        compared(lambda *t: F.scaled_dot_product_attention(*t, is_causal=causal), [q, q * 1, q * 2], 5e-2)
    if pretended:
        assert [g.deterministic for g in stand_in_cudnn.graphs if g.kind == "sdpa_backward"][-1]


def test_attention_that_cudnn_does_not_have(pretended):
    x = made(0, 1, 2, 4, 8)
    compared(lambda t: F.scaled_dot_product_attention(t, t, t), [x])  # float32
    for y in (x[..., :5].half(), made(0, 13, 1, 3, 8).half(), livegrad.cat([x] * 20, -1).half()):
        compared(lambda t: F.scaled_dot_product_attention(t, t, t), [y], 5e-2)
    compared(lambda t, m: F.scaled_dot_product_attention(t, t, t, m), [x.half(), made(1, 4, 4).half()], 5e-2)
    with livegrad.backends.cudnn.flags(enabled=False):
        compared(lambda t: F.scaled_dot_product_attention(t, t, t), [x.half()], 5e-2)
    assert stand_in_cudnn.executed == []


def test_second_derivatives_of_attention(pretended):
    def gradient(x):
        (g,) = livegrad.autograd.grad(
            F.scaled_dot_product_attention(x, x, x).float().square().sum(), x, create_graph=True
        )
        return g

    compared(gradient, [made(0, 1, 1, 3, 8).half()], 5e-2)
