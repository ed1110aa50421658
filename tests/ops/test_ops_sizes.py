"""Sizes that no machine has memory for are refused at once, with an error that PyTorch's programs catch."""

import pytest

import livegrad as T

HUGE = [1 << 70, 1 << 50]
CALLS = {
    "zeros": lambda n: T.zeros(n),
    "zeros, two sizes": lambda n: T.zeros(n, n),
    "full": lambda n: T.full((n,), 1.0),
    "rand": lambda n: T.rand(n),
    "randint": lambda n: T.randint(0, 5, (n,)),
    "randperm": lambda n: T.randperm(n),
    "arange": lambda n: T.arange(n),
    "linspace": lambda n: T.linspace(0, 1, n),
    "eye": lambda n: T.eye(n),
    "repeat": lambda n: T.ones(4).repeat(n),
    "repeat_interleave": lambda n: T.ones(4).repeat_interleave(n),
    "tile": lambda n: T.tile(T.ones(4), (n,)),
    "new_zeros": lambda n: T.ones(4).new_zeros(n),
    "tensor_split": lambda n: T.ones(4).tensor_split(n),
    "vander": lambda n: T.vander(T.ones(4), n),
    "bincount": lambda n: T.bincount(T.tensor([1]), minlength=n),
    "one_hot": lambda n: T.nn.functional.one_hot(T.tensor([1]), n),
    "pad": lambda n: T.nn.functional.pad(T.ones(4), (0, n)),
    "view": lambda n: T.ones(4).view(n),
    "Linear": lambda n: T.nn.Linear(n, n),
}


@pytest.mark.parametrize("n", HUGE, ids=["70 bits", "50 bits"])
@pytest.mark.parametrize("name", CALLS)
def test_refused(name, n):
    with pytest.raises((RuntimeError, TypeError)) as found:
        CALLS[name](n)
    assert str(found.value)


@pytest.mark.parametrize("increasing", [False, True])
def test_vander(increasing):
    torch = pytest.importorskip("torch")
    for data in ([1.5, -2.0, 0.5], [1, 2, 3]):
        for n in (None, 0, 1, 4):
            a = T.vander(T.tensor(data), n, increasing)
            b = torch.vander(torch.tensor(data), n, increasing)
            assert a.tolist() == b.tolist()
            assert str(a.dtype) == str(b.dtype)
