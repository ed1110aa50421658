"""A new operator touches one place: everything else follows from its entry in the registry."""

import numpy as np
import pytest

import livegrad
from livegrad.autograd import gradcheck, gradgradcheck
from livegrad.codegen import kernels
from livegrad.lazy.value import Value
from livegrad.ops.registry import ELEMENTWISE, FUNCTIONS, REGISTRY, elementwise, operator, public
from livegrad.ops.scalar import abs as scalar_abs
from livegrad.ops.scalar import exp, log1p, maximum

# Names that no other operator has, made for these tests and forgotten after them; see `operators`.
softbump = cubeplus = None


@pytest.fixture(scope="module", autouse=True)
def operators():
    global softbump, cubeplus
    # The formula reads an argument twice and takes a number.
    softbump = elementwise("softbump", lambda x, k: x * exp(-k * x * x) + log1p(scalar_abs(x)))
    cubeplus = elementwise("cubeplus", lambda x: x * x * x + maximum(x, 0.0))  # one argument only
    public("scaled_outer", kind="library", op=OUTER, reference="")(scaled_outer)
    yield
    for name in ("softbump", "cubeplus", "scaled_outer", "stepped"):
        for table in (REGISTRY, ELEMENTWISE, FUNCTIONS):
            table.pop(name, None)
        for cls in (livegrad.Tensor, Value):
            for each in (name, name + "_"):
                if hasattr(cls, each):
                    delattr(cls, each)


def expected(x, k):
    return x * np.exp(-k * x * x) + np.log1p(np.abs(x))


def numbers(*shape, dtype=livegrad.float32):
    return livegrad.randn(*shape, dtype=dtype, generator=livegrad.Generator().manual_seed(1))


def test_is_a_method_and_a_function():
    x = numbers(3, 4)
    want = expected(x.numpy().copy(), 0.5)
    np.testing.assert_allclose(x.softbump(0.5).numpy(), want, rtol=1e-5)
    np.testing.assert_allclose(softbump(x, 0.5).numpy(), want, rtol=1e-5)
    np.testing.assert_allclose(FUNCTIONS["softbump"](x, k=0.5).numpy(), want, rtol=1e-5)
    assert REGISTRY["softbump"].kind == "elementwise"
    np.testing.assert_allclose(livegrad.softbump(x, 0.5).numpy(), want, rtol=1e-5)


def test_has_an_in_place_form_and_out():
    x = numbers(5)
    want = expected(x.numpy().copy(), 2.0)
    out = livegrad.empty(5)
    assert softbump(x, 2.0, out=out) is out
    np.testing.assert_allclose(out.numpy(), want, rtol=1e-5)
    assert x.softbump_(2.0) is x
    np.testing.assert_allclose(x.numpy(), want, rtol=1e-5)


def test_broadcasts_and_promotes():
    x, k = numbers(3, 1), livegrad.tensor([0.5, 1.0], dtype=livegrad.float64)
    y = x.softbump(k)
    assert y.shape == (3, 2)
    assert y.dtype is livegrad.float64
    np.testing.assert_allclose(y.numpy(), expected(x.numpy().astype(np.float64), k.numpy()), rtol=1e-6)
    assert livegrad.tensor([1, 2]).cubeplus().dtype is livegrad.float32


def test_fuses(launches):
    x = numbers(1000)
    y = ((x * 2).softbump(0.5) + 1).cubeplus().exp()
    assert launches == []
    y.tolist()
    assert len(launches) == 1
    assert "softbump" in launches[0][0]
    assert "cubeplus" in launches[0][0]


@pytest.mark.parametrize("mode", ["always", "never"])
@pytest.mark.parametrize("eager", [False, True])
def test_tiers_and_modes_agree(mode, eager):
    x = numbers(37)
    want = expected(x.numpy().copy() * 2, 0.5) + 1
    before = livegrad.is_eager()
    livegrad.eager(eager)
    try:
        with livegrad.compiling(mode):
            got = ((x * 2).softbump(0.5) + 1).numpy()
            variable = x.clone().requires_grad_()
            variable.softbump(0.5).sum().backward()
            gradient = variable.grad.numpy()
    finally:
        livegrad.eager(before)
    np.testing.assert_allclose(got, want, rtol=2e-6, atol=1e-6)
    a = x.numpy().astype(np.float64)
    slope = np.exp(-0.5 * a * a) * (1 - a * a) + np.sign(a) / (1 + np.abs(a))
    np.testing.assert_allclose(gradient, slope, rtol=1e-4, atol=1e-5)


def test_compiles_without_error(monkeypatch):
    monkeypatch.setenv("LIVEGRAD_STRICT", "1")
    with livegrad.compiling("always"):
        x = numbers(100).requires_grad_()
        (g,) = livegrad.autograd.grad(x.softbump(0.3).cubeplus().sum(), x, create_graph=True)
        g.sum().backward()


def test_differentiates_twice():
    x = numbers(2, 3, dtype=livegrad.float64).requires_grad_()
    k = livegrad.tensor([0.3, 0.7, 1.1], dtype=livegrad.float64, requires_grad=True)
    assert gradcheck(softbump, (x, k))
    assert gradgradcheck(softbump, (x, k))
    assert gradcheck(lambda a: a.softbump(0.4), x)
    assert gradgradcheck(lambda a: a.softbump(0.4), x)
    assert gradcheck(cubeplus, x)
    assert gradgradcheck(cubeplus, x)


def test_appears_in_the_graph():
    x = livegrad.ones(3, requires_grad=True)
    y = x.softbump(0.5)  # the line
    node = y.grad_fn
    assert node.name() == "SoftbumpBackward0"
    assert node.op_name == "softbump"
    site = node.site()
    assert site.filename == __file__
    assert site.line == "y = x.softbump(0.5)  # the line"
    assert node.inputs_info() == (("node", 0), ("scalar", 0.5))
    assert "softbump" in str(livegrad.graph(y)).lower()


def test_numbers_are_no_part_of_the_kernel():
    x = numbers(50)
    x.softbump(0.1).tolist()
    before = kernels.count()
    for k in (0.2, 0.3, 4.0):
        x.softbump(k).tolist()
    assert kernels.count() == before


def test_reserved_argument_names_are_refused():
    with pytest.raises(ValueError, match="may not be called g or result"):
        elementwise("confused", lambda g, x: g * x)
    with pytest.raises(ValueError, match="confused: a tensor may not be called g"):
        operator("confused", lambda x, g: x * g, tensors=("x", "g"), grads={"x": lambda g: g})


def test_stated_gradient():
    stepped = elementwise("stepped", lambda x: x * x, grads={"x": lambda g, x: g * 3.0 * x})
    x = livegrad.tensor([1.0, 2.0], requires_grad=True)
    (g,) = livegrad.autograd.grad(stepped(x).sum(), x, create_graph=True)
    assert g.tolist() == [3.0, 6.0]
    (h,) = livegrad.autograd.grad(g.sum(), x)
    assert h.tolist() == [3.0, 3.0]
    with pytest.raises(RuntimeError):
        gradcheck(stepped, livegrad.tensor([1.0, 2.0], dtype=livegrad.float64, requires_grad=True))


def outer_values(a, b, scale):
    from livegrad.lazy.value import from_array
    from livegrad.runtime import array as arrays

    made = np.multiply.outer(a.native(), b.native()) * scale
    return from_array(arrays.from_native(made.astype(a.dtype.np)))


OUTER = operator(
    "scaled_outer",
    outer_values,
    tensors=("a", "b"),
    grads={
        "a": lambda g, b, scale: (g * b).sum(1) * scale,
        "b": lambda g, a, scale: (g * a.unsqueeze(1)).sum(0) * scale,
    },
)


def scaled_outer(input, other, scale=1.0):  # noqa: A002
    """The outer product of two vectors, times a number."""
    return OUTER.apply((input, other), scale=scale)


def test_operator_with_stated_gradients():
    a = numbers(3, dtype=livegrad.float64).requires_grad_()
    b = numbers(4, dtype=livegrad.float64).requires_grad_()
    y = a.scaled_outer(b, 2.0)
    np.testing.assert_allclose(y.detach().numpy(), np.outer(a.detach().numpy(), b.detach().numpy()) * 2)
    assert y.grad_fn.name() == "ScaledOuterBackward0"
    assert y.grad_fn.site().line == "return OUTER.apply((input, other), scale=scale)"  # the innermost line of ours
    assert gradcheck(lambda p, q: p.scaled_outer(q, 2.0), (a, b))
    assert gradgradcheck(lambda p, q: p.scaled_outer(q, 2.0), (a, b))
    assert gradcheck(lambda p, q: (p * 2).exp().scaled_outer(q) * q, (a, b))
    kept = [name for name, *_ in y.grad_fn.kept()]
    assert sorted(kept) == ["a", "b"]
    constant = a.detach().scaled_outer(b)
    assert [name for name, *_ in constant.grad_fn.kept()] == ["a"]  # only what the gradient of b reads
