"""Tensor text: a table of known strings, and thousands of random tensors compared with PyTorch's own text."""

import math
import random

import ml_dtypes
import numpy as np
import pytest

from livegrad import printing
from livegrad.printing import (
    get_printoptions,
    parameter_repr,
    printoptions,
    set_printoptions,
    size_repr,
    tensor_repr,
)

nan, inf = math.nan, math.inf
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


@pytest.fixture(autouse=True)
def default_options():
    set_printoptions(profile="default")
    yield
    set_printoptions(profile="default")


def text(values, dtype="float32", **kwargs):
    array = np.asarray(values, dtype=BFLOAT16 if dtype == "bfloat16" else dtype)
    return tensor_repr(array, dtype=dtype, **kwargs)


KNOWN = [
    (text([1.0, 2.0]), "tensor([1., 2.])"),
    (text([1.5, 2.0]), "tensor([1.5000, 2.0000])"),
    (text([nan, 0.0, inf, -inf]), "tensor([nan, 0., inf, -inf])"),
    (text([1.5, nan, -inf]), "tensor([1.5000,    nan,   -inf])"),
    (text([0.0, -0.0]), "tensor([0., -0.])"),
    (text(-0.0), "tensor(-0.)"),
    (text(1e-5), "tensor(1.0000e-05)"),
    (text([1e9, 1]), "tensor([1.0000e+09, 1.0000e+00])"),
    (text([1e8, 1e6]), "tensor([100000000.,   1000000.])"),
    (text([1000.0, 1.0]), "tensor([1000.,    1.])"),
    (text([1001.0, 1.0]), "tensor([1.0010e+03, 1.0000e+00])"),
    (text([1, -10, 100], "int64"), "tensor([  1, -10, 100])"),
    (text([1, 2], "uint16"), "tensor([1, 2], dtype=torch.uint16)"),
    (text([2**64 - 1], "uint64"), "tensor([18446744073709551615], dtype=torch.uint64)"),
    (text([True, False], "bool"), "tensor([ True, False])"),
    (text(True, "bool"), "tensor(True)"),
    (text(3, "int8"), "tensor(3, dtype=torch.int8)"),
    (text([65504.0], "float16"), "tensor([65504.], dtype=torch.float16)"),
    (text([3e38], "bfloat16"), "tensor([3.0041e+38], dtype=torch.bfloat16)"),
    (text([1e-310, 2.0], "float64"), "tensor([1.0000e-310,  2.0000e+00], dtype=torch.float64)"),
    (text([1.0], "float64", default_dtype="float64"), "tensor([1.])"),
    (text([1.0], "float32", default_dtype="float64"), "tensor([1.], dtype=torch.float32)"),
    (text([1 + 2j, -3.5 - 4j], "complex64"), "tensor([ 1.0000+2.j, -3.5000-4.j])"),
    (text([0j], "complex128"), "tensor([0.+0.j], dtype=torch.complex128)"),
    (text([]), "tensor([])"),
    (text([], "int64"), "tensor([], dtype=torch.int64)"),
    (text(np.zeros((0, 3))), "tensor([], size=(0, 3))"),
    (text(np.zeros((0, 2)), "bool"), "tensor([], size=(0, 2), dtype=torch.bool)"),
    (text(np.zeros((0, 2)), device="cuda:0"), "tensor([], device='cuda:0', size=(0, 2))"),
    (text([1.0], device="cuda:0"), "tensor([1.], device='cuda:0')"),
    (text([1.0], requires_grad=True), "tensor([1.], requires_grad=True)"),
    (text([1.0], requires_grad=True, grad_fn="MulBackward0"), "tensor([1.], grad_fn=<MulBackward0>)"),
    (text([1.0], "float64", tensor_contents="hello"), "tensor(hello, dtype=torch.float64)"),
    (text([1.0], prefix="Special("), "Special([1.])"),
    (parameter_repr(text([1.0], requires_grad=True)), "Parameter containing:\ntensor([1.], requires_grad=True)"),
    (size_repr((2, 3)), "torch.Size([2, 3])"),
    (size_repr(()), "torch.Size([])"),
    (text(np.arange(2000), "int64"), "tensor([   0,    1,    2,  ..., 1997, 1998, 1999])"),
    (
        text(np.arange(2000)),
        "tensor([0.0000e+00, 1.0000e+00, 2.0000e+00,  ..., 1.9970e+03, 1.9980e+03,\n        1.9990e+03])",
    ),
    (
        text(np.arange(1001).reshape(7, 143)),
        "tensor([[   0.,    1.,    2.,  ...,  140.,  141.,  142.],\n"
        "        [ 143.,  144.,  145.,  ...,  283.,  284.,  285.],\n"
        "        [ 286.,  287.,  288.,  ...,  426.,  427.,  428.],\n"
        "        ...,\n"
        "        [ 572.,  573.,  574.,  ...,  712.,  713.,  714.],\n"
        "        [ 715.,  716.,  717.,  ...,  855.,  856.,  857.],\n"
        "        [ 858.,  859.,  860.,  ...,  998.,  999., 1000.]])",
    ),
    (
        text(np.arange(8).reshape(2, 2, 2), "int64"),
        "tensor([[[0, 1],\n         [2, 3]],\n\n        [[4, 5],\n         [6, 7]]])",
    ),
    (
        text(np.zeros(18), "float64", requires_grad=True),
        "tensor([0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0.],\n"
        "       dtype=torch.float64, requires_grad=True)",
    ),
]


@pytest.mark.parametrize("got, expected", KNOWN, ids=range(len(KNOWN)))
def test_known(got, expected):
    assert got == expected


def test_text_moves_right_with_its_surroundings():
    assert text(np.zeros((2, 1)), indent=4) == "tensor([[0.],\n            [0.]])"


# -- options -----------------------------------------------------------------------------------------------------------


def test_options_are_set_and_put_back():
    assert get_printoptions() == {
        "precision": 4,
        "threshold": 1000,
        "edgeitems": 3,
        "linewidth": 80,
        "sci_mode": None,
    }
    with printoptions(precision=2, sci_mode=True):
        assert text([1.5]) == "tensor([1.50e+00])"
        with printoptions(edgeitems=1, threshold=2):
            assert get_printoptions()["precision"] == 2
            assert text([1.0, 2.0, 3.0]) == "tensor([1.,  ..., 3.])"
        assert get_printoptions()["sci_mode"] is True
    assert text([1.5]) == "tensor([1.5000])"


def test_options_come_back_after_an_error():
    with pytest.raises(KeyError), printoptions(precision=9):
        raise KeyError
    assert get_printoptions()["precision"] == 4


def test_profiles_and_what_wins_over_them():
    set_printoptions(profile="short", precision=3)
    assert get_printoptions() == {"precision": 3, "threshold": 1000, "edgeitems": 2, "linewidth": 80, "sci_mode": None}
    set_printoptions(profile="full")
    assert "..." not in text(np.zeros(2000))
    set_printoptions(profile="default", sci_mode=False)
    assert text([1e-9, 1.0]) == "tensor([0.0000, 1.0000])"
    set_printoptions()
    assert text([1e-9, 1.0]) == "tensor([1.0000e-09, 1.0000e+00])"


# -- large arrays ------------------------------------------------------------------------------------------------------


class DeviceArray:
    """Stands in for an array on a device: slicing stays there, ``get`` brings a copy to the host and is counted."""

    def __init__(self, array, log):
        self.array, self.log = array, log
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, index):
        return DeviceArray(self.array[index], self.log)

    def get(self):
        self.log.append(self.array.size)
        return self.array.copy()


@pytest.mark.parametrize("shape", [(100_000,), (300, 400), (7, 6, 8, 50), (2, 5000), (5000, 2), (3, 40, 2, 40)])
def test_only_the_corners_of_a_large_array_are_read(shape):
    array = np.arange(math.prod(shape)).reshape(shape)
    log = []
    assert tensor_repr(DeviceArray(array, log), dtype="int64") == tensor_repr(array, dtype="int64")
    assert sum(log) == math.prod(min(size, 6) for size in shape)


def test_printing_a_huge_array_makes_no_copy_of_it():
    huge = np.broadcast_to(np.float32(1.5), (10**6, 10**6, 10**3))
    lines = tensor_repr(huge, dtype="float32").split("\n")
    # Six blocks of seven rows, an ellipsis for the others, and six blank lines between them.
    assert len(lines) == 6 * 7 + 1 + 6


# -- livegrad's own objects --------------------------------------------------------------------------------------------


def test_tensors_parameters_and_sizes_print_themselves():
    import livegrad as lg

    x = lg.tensor([[1.0, 2.5]], requires_grad=True)
    assert repr(x) == "tensor([[1.0000, 2.5000]], requires_grad=True)"
    assert repr(x * 2) == "tensor([[2., 5.]], grad_fn=<MulBackward0>)"
    assert repr(lg.nn.Parameter(x.detach())) == "Parameter containing:\n" + repr(x)
    assert repr(lg.tensor([1.0, 2.0], dtype=lg.bfloat16)) == "tensor([1., 2.], dtype=torch.bfloat16)"
    assert str(lg.tensor(3)) == "tensor(3)" and f"{lg.tensor(0.5):.3f}" == "0.500"
    assert repr(x.shape) == size_repr((1, 2))
    with lg.printoptions(precision=1):
        assert repr(x.detach()) == "tensor([[1.0, 2.5]])"


# -- against PyTorch ---------------------------------------------------------------------------------------------------

DTYPES = ["bool", "float16", "bfloat16", "float32", "float64", "complex64", "complex128"]
DTYPES += ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
BORDERLINE = [0.0, -0.0, 1.0, 1000.0, 1001.0, 1e-4, 9.9e-5, 1e8, 1.00001e8, 0.5, 99999999.0, 99999.99995]


def random_reals(count, choose, numbers):
    """Real numbers of one of several characters: plain, whole, of mixed magnitude, on the borders, with nan or inf."""
    values = [
        lambda: numbers.standard_normal(count),
        lambda: numbers.integers(-2000, 2000, count).astype(float),
        lambda: numbers.standard_normal(count) * 10.0 ** numbers.integers(-12, 12, count),
        lambda: numbers.standard_normal(count) * 10.0 ** choose.randrange(-12, 12),
        lambda: np.floor(numbers.random(count) * 10.0 ** choose.randrange(0, 12)),
        lambda: numbers.choice(BORDERLINE, count),
        lambda: numbers.random(count) * 1000 + 1,
        lambda: numbers.choice([0.0, -0.0], count),
        lambda: numbers.choice([1e-4, 0.1, 0.05, 0.0999999], count),
    ][choose.randrange(9)]()
    if choose.random() < 0.3:
        special = numbers.choice([nan, inf, -inf, 0.0, -0.0], count)
        values = np.where(numbers.random(count) < choose.choice([0.1, 0.5, 1]), special, values)
    return values


@np.errstate(all="ignore")
def random_array(dtype, choose, numbers):
    dims = choose.choice([0, 1, 1, 1, 2, 2, 3, 3, 4, 5])
    most = ([1, 3000, 70, 16, 9, 7] if choose.random() < 0.3 else [1, 60, 12, 6, 4, 3])[dims]
    shape = tuple(choose.randrange(0 if choose.random() < 0.1 else 1, most + 1) for _ in range(dims))
    count = math.prod(shape)
    if dtype == "bool":
        return np.asarray(numbers.random(shape) < choose.choice([0, 0.5, 1]))
    if "int" in dtype:
        least, greatest = np.iinfo(dtype).min, np.iinfo(dtype).max
        low, high = choose.choice([(least, greatest), (0, 9), (max(least, -100), 100)])
        return np.asarray(numbers.integers(low, high, shape, dtype=dtype, endpoint=True))
    if dtype.startswith("complex"):
        array = np.empty(count, dtype)
        array.real, array.imag = random_reals(count, choose, numbers), random_reals(count, choose, numbers)
        return array.reshape(shape)
    kind = BFLOAT16 if dtype == "bfloat16" else np.dtype(dtype)
    return np.asarray(random_reals(count, choose, numbers).astype(kind).reshape(shape))


OPTIONS = {
    "precision": [0, 1, 2, 4, 6, 10],
    "threshold": [0, 5, 100, 1000],
    "edgeitems": [0, 1, 2, 3, 5],
    "linewidth": [10, 30, 37, 50, 60, 79, 80, 81, 120, 200],
    "sci_mode": [None, True, False],
    "profile": ["default", "short", "full"],
}


@pytest.mark.parametrize("seed", range(6))
def test_random_tensors_print_as_in_pytorch(seed):
    torch = pytest.importorskip("torch")
    choose, numbers = random.Random(seed), np.random.default_rng(seed)
    for _ in range(600):
        dtype = choose.choice(DTYPES)
        array = random_array(dtype, choose, numbers)
        if dtype == "bfloat16":
            tensor = torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
        else:
            tensor = torch.from_numpy(array)
        kwargs = {"dtype": dtype, "default_dtype": choose.choice(["float32", "float32", "float64"])}
        decorate = str
        if dtype[0] in "fbc" and dtype != "bool":
            if choose.random() < 0.3:
                tensor.requires_grad_()
                kwargs["requires_grad"] = True
                if choose.random() < 0.5:
                    tensor = choose.choice([torch.Tensor.clone, torch.neg, torch.mean])(tensor)
                    kwargs["grad_fn"] = tensor.grad_fn.name()
                    detached = tensor.detach()
                    if dtype == "bfloat16":
                        array = detached.view(torch.int16).numpy().view(BFLOAT16)
                    else:
                        array = detached.resolve_neg().numpy()
            elif choose.random() < 0.2:
                tensor = torch.nn.Parameter(tensor, requires_grad=False)
                decorate = parameter_repr
        options = {name: choose.choice(values) for name, values in OPTIONS.items() if choose.random() < 0.2}
        try:
            torch.set_printoptions(**options)
            torch.set_default_dtype(getattr(torch, kwargs["default_dtype"]))
            expected = repr(tensor)
        finally:
            torch.set_default_dtype(torch.float32)
            torch.set_printoptions(profile="default")
        with printoptions(**options):
            assert decorate(tensor_repr(array, **kwargs)) == expected, (dtype, array.shape, options)


def test_options_follow_pytorch():
    torch = pytest.importorskip("torch")
    torch_options = pytest.importorskip("torch._tensor_str").get_printoptions
    choose = random.Random(0)
    try:
        for _ in range(200):
            options = {name: choose.choice(values) for name, values in OPTIONS.items() if choose.random() < 0.4}
            torch.set_printoptions(**options)
            printing.set_printoptions(**options)
            assert get_printoptions() == torch_options()
    finally:
        torch.set_printoptions(profile="default")
