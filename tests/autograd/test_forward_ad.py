"""Dual numbers against PyTorch's."""

import numpy as np
import pytest

import livegrad
from livegrad.autograd import forward_ad
from livegrad.autograd.gradcheck import GradcheckError

PROGRAMS = {
    "square": lambda lib, x, y: x * x,
    "both": lambda lib, x, y: (x * y.t()).sin().sum(0) + y.exp().mean(),
    "product": lambda lib, x, y: lib.softmax(x @ y, -1),
    "linear": lambda lib, x, y: x.reshape(-1)[1:4] * 3,
    "views": lambda lib, x, y: lib.cat([x.t(), y], 1).cumsum(0),
}


def arrays():
    numbers = np.random.default_rng(0)
    return [numbers.normal(size=shape) for shape in ((2, 3), (2, 3), (3, 2), (3, 2))]


@pytest.mark.parametrize("name", PROGRAMS)
def test_tangents_are_pytorchs(name):
    torch = pytest.importorskip("torch")
    results = []
    for lib in (livegrad, torch):
        x, dx, y, dy = map(lib.tensor, arrays())
        fw = lib.autograd.forward_ad
        with fw.dual_level():
            out = PROGRAMS[name](lib, fw.make_dual(x, dx), fw.make_dual(y, dy))
            primal, tangent = fw.unpack_dual(out)
            assert (
                fw.unpack_dual(x).tangent is None
                and fw.unpack_dual(fw.make_dual(x, dx)).tangent.tolist() == dx.tolist()
            )
            assert not primal.requires_grad and not tangent.requires_grad
        results.append((primal.numpy(), tangent.numpy()))
        assert fw.unpack_dual(out).tangent is None
    for mine, its in zip(*results, strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-12)


def test_what_does_not_depend_on_a_dual():
    x = livegrad.ones(2, requires_grad=True)
    with forward_ad.dual_level():
        forward_ad.make_dual(livegrad.ones(2), livegrad.ones(2))
        assert forward_ad.unpack_dual(x * 2).tangent is None
        plain = livegrad.ones(2)
        assert forward_ad.unpack_dual(plain).primal is plain and forward_ad.unpack_dual(plain).tangent is None


def test_a_backward_pass_over_tangents():
    torch = pytest.importorskip("torch")
    results = []
    for lib in (livegrad, torch):
        x, dx, y, dy = map(lib.tensor, arrays())
        x.requires_grad_()
        dy.requires_grad_()
        fw = lib.autograd.forward_ad
        with fw.dual_level():
            out = (fw.make_dual(x, dx) @ fw.make_dual(y, dy)).tanh()
            primal, tangent = fw.unpack_dual(out)
            (primal.sum() + (tangent**2).sum()).backward()
        results.append((x.grad.numpy(), dy.grad.numpy()))
    for mine, its in zip(*results, strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-10)


def test_modules_and_their_parameters():
    torch = pytest.importorskip("torch")
    results = []
    for lib in (livegrad, torch):
        lib.manual_seed(0)
        model = lib.nn.Sequential(lib.nn.Linear(3, 4), lib.nn.Tanh(), lib.nn.Linear(4, 1))
        x, dx = (lib.tensor(a, dtype=lib.float32) for a in arrays()[:2])
        with lib.autograd.forward_ad.dual_level():
            dual = lib.autograd.forward_ad.make_dual(x, dx)
            results.append(lib.autograd.forward_ad.unpack_dual(model(dual)).tangent.detach().numpy())
    np.testing.assert_allclose(*results, rtol=1e-5)


def test_errors_are_pytorchs():
    one = livegrad.ones(2)
    with pytest.raises(RuntimeError, match="no level exists, make sure to enter_dual_level"):
        forward_ad.make_dual(one, one)
    with pytest.raises(RuntimeError, match="exit a forward AD level"):
        forward_ad.exit_dual_level()
    with forward_ad.dual_level():
        with pytest.raises(RuntimeError, match="Nested forward mode AD is not supported"):
            forward_ad.enter_dual_level()
        with pytest.raises(ValueError, match="Expected primal to be floating point or complex"):
            forward_ad.make_dual(livegrad.ones(2, dtype=livegrad.int64), one)
        with pytest.raises(ValueError, match="Expected tangent to be floating point or complex"):
            forward_ad.make_dual(one, livegrad.ones(2, dtype=livegrad.int64))
        with pytest.raises(RuntimeError, match="Expected tangent to have the shape"):
            forward_ad.make_dual(one, livegrad.ones(3))
    assert forward_ad.enter_dual_level() == 0
    forward_ad.exit_dual_level(level=0)


def test_a_dual_tensor_gives_back_its_tangent():
    primal, tangent = livegrad.rand(3, 3), livegrad.rand(3, 3)
    with forward_ad.dual_level():
        assert forward_ad.unpack_dual(forward_ad.make_dual(primal, tangent)).tangent is tangent
        other = forward_ad.unpack_dual(forward_ad.make_dual(primal, tangent.T)).tangent
        assert other is not tangent and other.equal(tangent.T)


def test_a_tangent_may_have_another_dtype():
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(livegrad.ones(2, dtype=livegrad.float64), livegrad.ones(2))
        assert forward_ad.unpack_dual(dual).tangent.dtype is livegrad.float32
        tangent = forward_ad.unpack_dual(dual * 2).tangent
        assert tangent.dtype is livegrad.float64 and tangent.tolist() == [2.0, 2.0]


class _OnlyForward(livegrad.autograd.Function):
    @staticmethod
    def forward(ctx, x, y, power):
        ctx.kept, ctx.power = (x, y), power
        return x**power * y, x + y

    @staticmethod
    def jvp(ctx, tx, ty, _):
        x, y = ctx.kept
        return ctx.power * x ** (ctx.power - 1) * y * tx + x**ctx.power * ty, tx + ty


def test_functions_that_know_their_tangents_only():
    x, y = (livegrad.rand(3, dtype=livegrad.float64, requires_grad=True) for _ in range(2))

    def run(x, y):
        return _OnlyForward.apply(x, y, 3)

    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, livegrad.ones(3, dtype=livegrad.float64))
        first, second = (forward_ad.unpack_dual(t).tangent for t in run(dual, y))
    assert livegrad.allclose(first, 3 * x**2 * y) and second.tolist() == [1.0, 1.0, 1.0]
    assert livegrad.autograd.gradcheck(run, (x, y), check_forward_ad=True)
    assert livegrad.autograd.gradgradcheck(run, (x, y))


def test_gradcheck_of_tangents_alone():
    class Wrong(_OnlyForward):
        @staticmethod
        def jvp(ctx, tx, ty, _):
            return tx, ty

    x, y = (livegrad.rand(3, dtype=livegrad.float64, requires_grad=True) for _ in range(2))
    options = {"check_forward_ad": True, "check_backward_ad": False}
    assert livegrad.autograd.gradcheck(lambda a, b: a.exp() * b, (x, y), **options)
    z = livegrad.rand(2, dtype=livegrad.complex128, requires_grad=True)
    assert livegrad.autograd.gradcheck(lambda z: z * z.conj() + z.exp(), (z,), **options)
    with pytest.raises(GradcheckError, match="Jacobian mismatch for output 0"):
        livegrad.autograd.gradcheck(lambda a, b: Wrong.apply(a, b, 2), (x, y), **options)
    assert not livegrad.autograd.gradcheck(lambda a, b: Wrong.apply(a, b, 2), (x, y), raise_exception=False, **options)


def test_a_function_without_gradients_says_so():
    class Bare(livegrad.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

    with pytest.raises(NotImplementedError, match="either the backward or vjp method"):
        Bare.apply(livegrad.ones(1, requires_grad=True)).backward()
