"""Operators over rows whose lengths lie around the widths of vectors and the edges of blocks, against float64."""

from __future__ import annotations

import numpy as np
import pytest
from ops_support import mode

import livegrad
from livegrad import dtypes

F = livegrad.nn.functional
# Around 1, 2 and 4 vectors of float64 and of float32; a power of two and its neighbours; a block of cumulative sums.
LENGTHS = (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 256, 257, 1000, 1023, 2049, 4097, 5000)
ROWS = 3
# Of half types the result is rounded once, so what matters is how far apart their numbers are.
DTYPES = {
    dtypes.float64: (1e-12, 1e-12),
    dtypes.float32: (3e-5, 3e-6),
    dtypes.float16: (4e-3, 2e-3),
    dtypes.bfloat16: (3e-2, 2e-2),
}


def _softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def _log_softmax(x):
    return x - _logsumexp(x)[:, None]


def _logsumexp(x):
    top = x.max(1)
    return top + np.log(np.exp(x - top[:, None]).sum(1))


def _unit(x):
    return (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)


def _to_target(x, target):
    return np.arange(x.shape[1]) == target[:, None]


def _weights(shape):
    """Uneven, so that every element has a gradient of its own."""
    return np.cos(np.arange(np.prod(shape), dtype=float)).reshape(shape)


# By name: the operator, the same in NumPy, and the gradient of sum(result * w), all of (x, target, w).
CASES = {
    "softmax": (
        lambda x, t: x.softmax(1),
        lambda x, t: _softmax(x),
        lambda x, t, w: _softmax(x) * (w - (w * _softmax(x)).sum(1, keepdims=True)),
    ),
    "log_softmax": (
        lambda x, t: x.log_softmax(1),
        lambda x, t: _log_softmax(x),
        lambda x, t, w: w - _softmax(x) * w.sum(1, keepdims=True),
    ),
    "logsumexp": (
        lambda x, t: x.logsumexp(1),
        lambda x, t: _logsumexp(x),
        lambda x, t, w: _softmax(x) * w[:, None],
    ),
    "layer_norm": (
        lambda x, t: F.layer_norm(x, x.shape[1:]),
        lambda x, t: _unit(x),
        lambda x, t, w: _norm_gradient(x, w),
    ),
    "group_norm": (
        lambda x, t: F.group_norm(x.reshape(ROWS, 1, -1), 1).reshape(x.shape),
        lambda x, t: _unit(x),
        lambda x, t, w: _norm_gradient(x, w),
    ),
    "batch_norm": (
        lambda x, t: F.batch_norm(x.t(), None, None, training=True).t() if x.shape[1] > 1 else x * 0,
        lambda x, t: _unit(x),
        lambda x, t, w: _norm_gradient(x, w),
    ),
    "var": (
        lambda x, t: x.var(1, correction=0),
        lambda x, t: x.var(1),
        lambda x, t, w: 2 * (x - x.mean(1, keepdims=True)) / x.shape[1] * w[:, None],
    ),
    "cross_entropy": (
        lambda x, t: F.cross_entropy(x, t, reduction="none"),
        lambda x, t: -_log_softmax(x)[np.arange(ROWS), t],
        lambda x, t, w: (_softmax(x) - _to_target(x, t)) * w[:, None],
    ),
    "cumsum": (
        lambda x, t: x.cumsum(1),
        lambda x, t: x.cumsum(1),
        lambda x, t, w: w[:, ::-1].cumsum(1)[:, ::-1],
    ),
    "amax": (
        lambda x, t: x.amax(1),
        lambda x, t: x.max(1),
        lambda x, t, w: (x == x.max(1, keepdims=True)) * w[:, None],
    ),
}  # fmt: skip


def _norm_gradient(x, w):
    unit, scale = _unit(x), 1 / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    return (w - w.mean(1, keepdims=True) - unit * (w * unit).mean(1, keepdims=True)) * scale


def _operand(length, d):
    """Different numbers that the dtype has, as far as there are enough, in an order of no pattern; and targets."""
    rng = np.random.default_rng(length)
    x = np.stack([rng.permutation(length) for _ in range(ROWS)]) / length * 4 - 2
    # The gradient of the largest is shared among equal ones, of which half types have some; the targets are the ends.
    made = livegrad.tensor(x).to(d)
    made[:, length // 2] = 3
    return made, np.array([0, length - 1, length // 2])


def _close(made, wanted, tolerance, what):
    relative, absolute = tolerance
    scale = max(1.0, np.abs(wanted).max())
    np.testing.assert_allclose(made, wanted, relative, absolute * scale, err_msg=what)


@pytest.mark.parametrize("how", ["deferred", "deferred reference"])
@pytest.mark.parametrize("d", DTYPES, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_rows_of_many_lengths(name, d, how):
    operator, reference, gradient = CASES[name]
    with mode(how):
        for length in LENGTHS:
            given, target = _operand(length, d)
            exact = given.double().numpy()
            x = given.clone().requires_grad_()
            made = operator(x, livegrad.tensor(target))
            what = f"{name} of {length}"
            _close(made.detach().double().numpy(), reference(exact, target), DTYPES[d], what)
            weights = livegrad.tensor(_weights(made.shape)).to(d)
            made.backward(weights)
            wanted = gradient(exact, target, weights.double().numpy())
            _close(x.grad.double().numpy(), wanted, DTYPES[d], f"gradient of {what}")


@pytest.mark.parametrize("how", ["deferred", "deferred reference"])
@pytest.mark.parametrize("d", DTYPES, ids=str)
def test_places_in_rows_of_many_lengths(d, how):
    with mode(how):
        for length in LENGTHS:
            x, _ = _operand(length, d)
            exact = x.double().numpy()
            assert x.argmax(1).tolist() == exact.argmax(1).tolist()
            assert (x * 1).argmin(1).tolist() == exact.argmin(1).tolist()
