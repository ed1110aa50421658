"""gradcheck and gradgradcheck accept right gradients and catch wrong ones."""

import pytest

import livegrad
from livegrad.autograd import Function, gradcheck, gradgradcheck
from livegrad.autograd.gradcheck import GradcheckError


def double(*shape, seed=0):
    generator = livegrad.Generator().manual_seed(seed)
    return livegrad.randn(*shape, dtype=livegrad.float64, generator=generator).requires_grad_()


RIGHT = [
    (lambda x: (x * x).sum(), (3,)),
    (lambda x: x.sin() * x.exp(), (2, 3)),
    (lambda x: x.softmax(-1), (2, 3)),
    (lambda x: x @ x.t(), (2, 3)),
    (lambda x: x.view(6).cumsum(0), (2, 3)),
    (lambda x: (x[0] * x[1, :2].sum(), x.mean(0)), (2, 3)),
    (lambda x: x.logsumexp(1), (2, 3)),
    (lambda x: x.unbind(1), (2, 3)),
    (lambda x: x.pow(3).div(x.norm()), (4,)),
    (lambda x: x.tanh(), ()),
    (lambda x: x.tanh(), (0, 2)),
]


@pytest.mark.parametrize(("f", "shape"), RIGHT)
def test_right(f, shape):
    x = double(*shape)
    assert gradcheck(f, x)
    assert gradgradcheck(f, (x,))


def wrong(first, second):
    """A Function for x**3 whose gradients of first or second order are off."""

    class Derivative(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return 3 * x * x * first

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * 6 * x * first * second

    class Cube(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * Derivative.apply(x)

    return Cube.apply


def test_catches_wrong_first_derivative():
    x = double(3)
    assert gradcheck(wrong(1, 1), x)
    with pytest.raises(GradcheckError, match="Jacobian mismatch for output 0 with respect to input 0"):
        gradcheck(wrong(1.01, 1), x)
    assert not gradcheck(wrong(1.01, 1), x, raise_exception=False)


def test_catches_wrong_second_derivative():
    x = double(3)
    assert gradgradcheck(wrong(1, 1), x)
    assert gradcheck(wrong(1, 1.01), x)
    with pytest.raises(GradcheckError):
        gradgradcheck(wrong(1, 1.01), x)
    assert not gradgradcheck(wrong(1, 1.01), x, raise_exception=False)


def test_catches_missing_gradient():
    x, y = double(3), double(3, seed=1)
    with pytest.raises(GradcheckError):
        gradcheck(lambda a, b: a * b.detach(), (x, y))


def test_inputs_are_as_before():
    x = double(3)
    before = x.tolist()
    gradcheck(lambda a: a * a, x)
    assert x.tolist() == before
    assert x.grad is None
    assert x._version == 0 or x.requires_grad


def test_constants_and_integers():
    x = double(3)
    n = livegrad.tensor([1, 2, 3])
    assert gradcheck(lambda a, k, c: a * k * c, (x, n, 2.0))


def test_needs_a_variable():
    with pytest.raises(ValueError, match="at least one input tensor to require gradient"):
        gradcheck(lambda a: a * a, livegrad.ones(3, dtype=livegrad.float64))
