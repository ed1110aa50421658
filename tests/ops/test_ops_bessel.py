"""Modified Bessel functions by their formulas, against PyTorch's and their series."""

import math

import numpy as np
import pytest

import livegrad

NAMES = ("i0", "i1", "i0e", "i1e")
POINTS = [0.0, -0.0, 1e-6, -0.3, 1.0, -7.9999, 8.0, 8.0001, 15.0, -40.0, 85.0]


@pytest.mark.parametrize("how", ["always", "never"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("d", [livegrad.float32, livegrad.float64])
def test_values_are_those_of_the_series(how, name, d):
    order, scaled = int(name[1]), name.endswith("e")
    expected = []
    for x in livegrad.tensor(POINTS, dtype=d).tolist():
        total = sum(
            math.exp((2 * k + order) * math.log(abs(x) / 2) - math.lgamma(k + 1) - math.lgamma(k + order + 1))
            if x else float(k + order == 0)
            for k in range(200)
        )  # fmt: skip
        expected.append(total * (math.exp(-abs(x)) if scaled else 1) * (math.copysign(1, x) if order else 1))
    with livegrad.compiling(how):
        made = getattr(livegrad.special, name)(livegrad.tensor(POINTS, dtype=d))
    np.testing.assert_allclose(made.numpy(), expected, rtol=4e-6 if d is livegrad.float32 else 1e-12, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_as_in_pytorch(name):
    torch = pytest.importorskip("torch")
    points = [*POINTS, 300.0, -300.0]
    ours = livegrad.tensor(points, dtype=livegrad.float64, requires_grad=True)
    theirs = torch.tensor(points, dtype=torch.float64, requires_grad=True)
    made, expected = getattr(livegrad.special, name)(ours), getattr(torch.special, name)(theirs)
    np.testing.assert_allclose(made.detach().numpy(), expected.detach().numpy(), rtol=1e-12)
    made.sum().backward()
    expected.sum().backward()
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_gradients(name):
    x = livegrad.tensor([-9.0, -1.5, 0.4, 3.0, 12.0], dtype=livegrad.float64, requires_grad=True)
    function = getattr(livegrad.special, name)
    assert livegrad.autograd.gradcheck(function, (x,))
    assert livegrad.autograd.gradgradcheck(function, (x,))


def test_whole_numbers_and_results_given():
    made = livegrad.i0(livegrad.tensor([0, 1, 2]))
    assert made.dtype is livegrad.float32
    out = livegrad.empty(3)
    assert livegrad.i0(livegrad.tensor([0.0, 1.0, 2.0]), out=out) is out and livegrad.allclose(made, out)
    assert livegrad.allclose(livegrad.tensor([0.0, 1.0, 2.0]).i0(), out)
    assert livegrad.i0(livegrad.tensor([math.nan])).isnan().all()
