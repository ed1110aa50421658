"""Misspelt arguments of functions that make tensors are refused, and those without a use here are not."""

import pytest

import livegrad

x = livegrad.ones(2)
CALLS = {
    "zeros": lambda **k: livegrad.zeros(2, **k),
    "ones": lambda **k: livegrad.ones(2, **k),
    "empty": lambda **k: livegrad.empty(2, **k),
    "full": lambda **k: livegrad.full((2,), 1.0, **k),
    "arange": lambda **k: livegrad.arange(2, **k),
    "rand": lambda **k: livegrad.rand(2, **k),
    "randn": lambda **k: livegrad.randn(2, **k),
    "randint": lambda **k: livegrad.randint(5, (2,), **k),
    "randperm": lambda **k: livegrad.randperm(2, **k),
    "zeros_like": lambda **k: livegrad.zeros_like(x, **k),
    "rand_like": lambda **k: livegrad.rand_like(x, **k),
    "randn_like": lambda **k: livegrad.randn_like(x, **k),
    "new_zeros": lambda **k: x.new_zeros(2, **k),
    "to": lambda **k: x.to(livegrad.float64, **k),
}


@pytest.mark.parametrize("name", CALLS)
def test_misspelt(name):
    with pytest.raises(TypeError, match="dtpye"):
        CALLS[name](dtpye=livegrad.float64)


@pytest.mark.parametrize("name", [n for n in CALLS if n != "to"])
def test_without_use(name):
    assert CALLS[name](layout=livegrad.strided).shape == (2,)


def test_to_another_tensors():
    assert x.to(other=livegrad.ones(1, dtype=livegrad.float64)).dtype is livegrad.float64
