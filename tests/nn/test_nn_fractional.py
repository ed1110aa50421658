"""Fractional max pooling and the adaptive softmax against PyTorch's."""

import numpy as np
import pytest
from against_torch import drawn_by_both, identical, pair, same, torch

import livegrad

nn = livegrad.nn
BOTH = (livegrad, torch)
X2 = np.random.default_rng(1).standard_normal((2, 3, 10, 13)).astype(np.float32)
X3 = np.random.default_rng(2).standard_normal((2, 2, 7, 8, 9)).astype(np.float32)


@pytest.mark.parametrize("options", [
    {"kernel_size": 2, "output_size": 5}, {"kernel_size": (3, 2), "output_ratio": (0.5, 0.6)},
    {"kernel_size": 2, "output_size": (1, 12)}, {"kernel_size": 3, "output_ratio": 0.7},
])  # fmt: skip
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_two_dimensions(options, dtype):
    for shape in (X2, X2[0]):
        mine, theirs = pair(shape.astype(dtype), requires_grad=True)
        made = [
            (lambda m=m, x=x: m.nn.FractionalMaxPool2d(return_indices=True, **options)(x))
            for m, x in zip(BOTH, (mine, theirs))
        ]
        (values, where), (expected, places) = drawn_by_both(*made)
        identical(values, expected)
        identical(where, places)
        for out in (values, expected):
            (out * out).sum().backward()
        same(mine.grad, theirs.grad)


@pytest.mark.parametrize(
    "options", [{"kernel_size": 2, "output_size": (3, 4, 5)}, {"kernel_size": (2, 3, 2), "output_ratio": 0.5}]
)
def test_three_dimensions(options):
    for array in (X3, X3[1]):
        mine, theirs = pair(array, requires_grad=True)
        made = [
            (lambda m=m, x=x: m.nn.FractionalMaxPool3d(return_indices=True, **options)(x))
            for m, x in zip(BOTH, (mine, theirs))
        ]
        (values, where), (expected, places) = drawn_by_both(*made)
        identical(values, expected)
        identical(where, places)
        for out in (values, expected):
            out.pow(2).sum().backward()
        same(mine.grad, theirs.grad)


def test_samples_can_be_given():
    samples = np.random.default_rng(0).random((2, 3, 2)).astype(np.float32)
    results = []
    for m in BOTH:
        f = m.nn.functional.fractional_max_pool2d
        results.append(f(m.from_numpy(X2), 2, (4, 4), _random_samples=m.from_numpy(samples)))
        layer = m.nn.FractionalMaxPool2d(2, output_size=4, _random_samples=m.from_numpy(samples))
        assert list(layer.state_dict()) == ["_random_samples"]
        assert (layer(m.from_numpy(X2)) == results[-1]).all()
    identical(*results)


def test_what_does_not_fit():
    for m in BOTH:
        pool, f = m.nn.FractionalMaxPool2d, m.nn.functional.fractional_max_pool2d
        x = m.from_numpy(X2)
        with pytest.raises(ValueError, match="requires specifying either an output size, or a pooling ratio"):
            pool(2)
        with pytest.raises(ValueError, match="only one of output_size and output_ratio may be specified"):
            pool(2, output_size=3, output_ratio=0.5)
        with pytest.raises(ValueError, match=r"output_ratio must be between 0 and 1 \(got 1.5\)"):
            pool(2, output_ratio=1.5)
        with pytest.raises(ValueError, match="requires specifying either an output_size or an output_ratio"):
            f(x, 2)
        with pytest.raises(RuntimeError, match="pool height 2 too large relative to input height 10"):
            f(x, 2, (10, 2))


def layers(**options):
    made = []
    for m in BOTH:
        m.manual_seed(5)
        made.append(m.nn.AdaptiveLogSoftmaxWithLoss(16, 30, cutoffs=[5, 12, 20], div_value=2.0, **options))
    return made


@pytest.mark.parametrize("bias", [False, True])
def test_adaptive_softmax(bias):
    mine, theirs = layers(head_bias=bias)
    assert list(mine.state_dict()) == list(theirs.state_dict())
    for a, b in zip(mine.parameters(), theirs.parameters()):
        identical(a, b)
    x, y = pair(np.random.default_rng(0).standard_normal((9, 16)).astype(np.float32), requires_grad=True)
    target = [0, 29, 4, 5, 11, 12, 19, 20, 3]
    a, b = mine(x, livegrad.tensor(target)), theirs(y, torch.tensor(target))
    same(a.output, b.output)
    same(a.loss, b.loss)
    a.loss.backward()
    b.loss.backward()
    same(x.grad, y.grad)
    for p, q in zip(mine.parameters(), theirs.parameters()):
        same(p.grad, q.grad)
    same(mine.log_prob(x), theirs.log_prob(y), rtol=1e-4, atol=1e-5)
    identical(mine.predict(x), theirs.predict(y))
    same(mine(x[0], livegrad.tensor(7)).output, theirs(y[0], torch.tensor(7)).output)


def test_adaptive_softmax_refuses():
    for m, layer in zip(BOTH, layers()):
        with pytest.raises(ValueError, match="unique, positive integers|unique, positive "):
            m.nn.AdaptiveLogSoftmaxWithLoss(8, 10, cutoffs=[5, 3])
        with pytest.raises(ValueError, match="length larger than 0"):
            m.nn.AdaptiveLogSoftmaxWithLoss(8, 10, cutoffs=[])
        x = m.zeros(2, 16)
        for bad, text in [
            ([0], "same size in the batch dimension"),
            ([0, 30], r"Target values should be in \[0, 29\], but values in range \[0, 30\]"),
            ([[0, 1]], "multi-target not supported"),
        ]:
            with pytest.raises(RuntimeError, match=text):
                layer(x, m.tensor(bad))
