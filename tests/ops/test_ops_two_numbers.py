"""Arithmetic functions of two Python numbers make a tensor, as in PyTorch; what is no operand is refused."""

import pytest

import livegrad

torch = pytest.importorskip("torch")

NUMBERS = [(5, 3), (5.5, 2), (True, 2), (True, True), (1j, 2), (7, 2.0), (2, 1j)]


@pytest.mark.parametrize(
    "name", ["add", "sub", "subtract", "mul", "multiply", "div", "divide", "true_divide", "floor_divide"]
)
@pytest.mark.parametrize("numbers", NUMBERS, ids=str)
def test_two_numbers(name, numbers):
    try:
        expected = getattr(torch, name)(*numbers)
    except (RuntimeError, NotImplementedError):
        with pytest.raises((RuntimeError, NotImplementedError, TypeError)):
            getattr(livegrad, name)(*numbers)
        return
    made = getattr(livegrad, name)(*numbers)
    assert made.shape == () and str(made.dtype) == str(expected.dtype) and made.item() == expected.item()


@pytest.mark.parametrize("mode", ["trunc", "floor", None])
def test_quotients_of_two_numbers(mode):
    for numbers in ((16, 4), (-7, 2), (7.5, 2)):
        expected, made = torch.div(*numbers, rounding_mode=mode), livegrad.div(*numbers, rounding_mode=mode)
        assert made.item() == expected.item() and str(made.dtype) == str(expected.dtype)


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div", "true_divide", "floor_divide", "remainder", "fmod"])
@pytest.mark.parametrize("other", [None, "a", [1.0]], ids=str)
def test_what_is_no_operand_is_refused(name, other):
    x = livegrad.ones(2)
    for call in (lambda: getattr(livegrad, name)(x, other), lambda: getattr(x, name)(other)):
        with pytest.raises(TypeError):
            call()
