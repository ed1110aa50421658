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


KEYWORDS = [
    "x.clone().squeeze_(dim=0)", "x.clone().unsqueeze_(dim=1)", "x.clone().transpose_(dim0=0, dim1=1)",
    "x.clone().swapaxes_(axis0=0, axis1=1)", "x.clone().swapdims_(dim0=0, dim1=1)", "x.swapaxes(axis0=0, axis1=1)",
    "lib.swapaxes(input=x, axis0=0, axis1=1)", "lib.transpose(input=x, dim0=0, dim1=1)",
    "lib.split(tensor=x, split_size_or_sections=1, dim=1)[1]", "x.split(split_size=1)[0]",
    "lib.i0(x, out=lib.empty(0))", "lib.polygamma(n=1, input=x, out=lib.empty(0))",
    "lib.ones(2).is_set_to(tensor=x)", "str(lib.promote_types(type1=lib.int8, type2=lib.float16))",
]  # fmt: skip


@pytest.mark.parametrize("code", KEYWORDS)
def test_pytorchs_names_of_arguments(code):
    torch = pytest.importorskip("torch")
    made = [eval(code, {"lib": lib, "x": lib.tensor([[1.0, 2.0, 3.0]])}) for lib in (livegrad, torch)]
    if isinstance(made[1], torch.Tensor):
        torch.testing.assert_close(torch.tensor(made[0].tolist()), made[1], check_stride=False)
    else:
        assert made[0] == made[1]
