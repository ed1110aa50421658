"""What is said of arguments: by the names that users know, whatever functions are called inside; and a few more."""

import inspect
import math

import numpy as np
import pytest

import livegrad
import livegrad.nn.functional

ONE = livegrad.ones(2)


def public():
    for name, function in list(vars(livegrad).items()):
        if not name.startswith("_") and inspect.isroutine(function) and name not in ("breakpoint", "seed", "eval"):
            yield f"livegrad.{name}", function, ()
    for name in livegrad.nn.functional.__all__:
        yield f"functional.{name}", getattr(livegrad.nn.functional, name), ()
    for name, method in list(vars(livegrad.Tensor).items()):
        if not name.startswith("_") and inspect.isroutine(method):
            yield f"Tensor.{name}", method, (livegrad.ones(2),)


@pytest.mark.parametrize("n,kwargs", [(0, {"foo": 1}), (24, {})], ids=["unknown", "many"])
def test_errors_tell_no_inner_names(n, kwargs):
    wrong = []
    for name, function, first in public():
        try:
            function(*first, *(livegrad.ones(2) for _ in range(n)), **kwargs)
        except Exception as error:
            if "<l" in str(error) or "._" in str(error):
                wrong.append(f"{name}: {error}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("out", [3, "x", [1], (1, 2)], ids=str)
def test_out_has_to_be_tensors(out):
    for function, args in ((livegrad.add, (ONE, ONE)), (livegrad.exp, (ONE,)), (livegrad.sum, (ONE, 0)),
                           (livegrad.cumsum, (ONE, 0)), (livegrad.zeros, (2,)), (livegrad.sort, (ONE,)),
                           (livegrad.max, (ONE, 0))):  # fmt: skip
        with pytest.raises(TypeError, match="argument 'out' must be"):
            function(*args, out=out)


@pytest.mark.parametrize("wrong", [3, "x", [1], list, 1.5], ids=str)
def test_dtypes_are_dtypes(wrong):
    for make in (lambda d: livegrad.tensor(1, dtype=d), lambda d: livegrad.zeros(2, dtype=d), lambda d: ONE.to(dtype=d),
                 lambda d: livegrad.logspace(0, 1, 3, dtype=d), lambda d: livegrad.ones_like(ONE, dtype=d)):  # fmt: skip
        with pytest.raises(TypeError, match="'dtype'.* must be .*dtype, not"):
            make(wrong)


def test_types_of_numbers_are_dtypes():
    for kind, d in (
        (float, livegrad.float64),
        (int, livegrad.int64),
        (bool, livegrad.bool),
        (complex, livegrad.cdouble),
    ):
        assert livegrad.tensor([1, 0], dtype=kind).dtype is d
        assert livegrad.zeros(2, dtype=kind).dtype is d
        assert ONE.to(kind).dtype is d and ONE.to(dtype=kind).dtype is d
        assert livegrad.zeros_like(ONE, dtype=kind).dtype is d


def test_a_list_that_holds_itself_is_refused():
    alone: list = []
    alone.append(alone)
    second: list = [1.0]
    second.append(second)
    for data in (alone, second, [[1.0, second]], (alone,)):
        with pytest.raises(ValueError, match="nested without an end"):
            livegrad.tensor(data)


def test_products_with_arrays_are_tensors():
    x = livegrad.ones(2, 2)
    made = x @ np.ones((2, 2), np.float32)
    assert isinstance(made, livegrad.Tensor) and made.dtype is livegrad.float32 and made.tolist() == [[2.0, 2.0]] * 2
    assert (x @ np.ones((2, 2))).dtype is livegrad.float64
    with pytest.raises(RuntimeError, match="requires grad"):
        x.requires_grad_() @ np.ones((2, 2))


def test_no_gradient_flows_between_equal_points():
    x = livegrad.zeros(2, 2, requires_grad=True)
    livegrad.cdist(x, livegrad.tensor([[0.0, 0.0], [1.0, 1.0]])).backward(
        livegrad.tensor([[math.inf, 1.0], [1.0, 0.0]])
    )
    np.testing.assert_allclose(x.grad.numpy(), [[-(0.5**0.5)] * 2, [0.0, 0.0]], rtol=1e-6)


@pytest.mark.parametrize("name", ["elu", "celu", "selu"])
def test_slopes_of_exponential_units_at_zero(name):
    """The slope is that of the exponential, and its own slope that of the line, as in PyTorch."""
    x = livegrad.tensor([-1.0, -0.0, 0.0, 1.0, math.nan, -math.inf, math.inf, 200.0], requires_grad=True)
    y = getattr(livegrad.nn.functional, name)(x)
    (slope,) = livegrad.autograd.grad(y.sum(), x, create_graph=True)
    (bend,) = livegrad.autograd.grad(slope.sum(), x)
    scale, alpha = (1.0507009873554805, 1.6732632423543772) if name == "selu" else (1.0, 1.0)
    below = scale * alpha * math.exp(-1)
    expected = [below, scale * alpha, scale * alpha, scale, scale, 0.0, scale, scale]
    np.testing.assert_allclose(slope.tolist(), expected, rtol=1e-6)
    np.testing.assert_allclose(bend.tolist(), [below, 0, 0, 0, 0, 0, 0, 0], rtol=1e-6)
