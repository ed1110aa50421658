"""Transforms by our own kernel, of every length it takes and any number of rows: against NumPy's in double precision."""

import numpy as np
import pytest

import livegrad
from livegrad.llvm import machine

pytestmark = pytest.mark.skipif(not machine.compiler_available(), reason="llvmlite is missing")

LENGTHS = [
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    10,
    11,
    12,
    13,
    15,
    16,
    20,
    26,
    32,
    49,
    60,
    64,
    77,
    100,
    128,
    143,
    256,
    400,
    1000,
    1024,
]
LENGTHS += [2048, 8192, 17, 34, 1009]  # (the last three are left to NumPy)
PRECISION = {"f": 3e-6, "d": 1e-14}


def near(made, expected, precision):
    assert tuple(made.shape) == expected.shape
    scale = abs(expected).max(initial=0) or 1.0
    assert abs(made.numpy() - expected).max(initial=0) / scale < precision


def numbers(r, shape, letter):
    return r.standard_normal(shape).astype(letter)


@pytest.mark.parametrize("letter", "fd")
@pytest.mark.parametrize("n", LENGTHS)
def test_every_kind_of_rows(n, letter):
    r = np.random.default_rng(n)
    precision = PRECISION[letter]
    for rows in (1, 2, 5, 16, 17, 33) if n < 2000 else (5, 17):
        real = numbers(r, (rows, n), letter)
        both = (real + 1j * numbers(r, (rows, n), letter)).astype(letter.upper())
        half = both[:, : n // 2 + 1]
        x, z, h = (livegrad.tensor(v.copy()) for v in (real, both, half))
        with livegrad.compiling("always"):
            near(livegrad.fft.fft(z), np.fft.fft(both.astype("D")), precision)
            near(livegrad.fft.ifft(z), np.fft.ifft(both.astype("D")), precision)
            near(livegrad.fft.fft(x), np.fft.fft(real.astype("d")), precision)
            near(livegrad.fft.rfft(x), np.fft.rfft(real.astype("d")), precision)
            near(livegrad.fft.irfft(h, n), np.fft.irfft(half.astype("D"), n), precision)
            near(livegrad.fft.ihfft(x), np.fft.ihfft(real.astype("d")), precision)
            near(livegrad.fft.hfft(h, n, norm="ortho"), np.fft.hfft(half.astype("D"), n, norm="ortho"), precision)


@pytest.mark.parametrize("dims", [(0,), (1,), (2,), (0, 1), (2, 0), (0, 1, 2), (1, 2)])
def test_any_dimensions(dims):
    r = np.random.default_rng(1)
    real = numbers(r, (6, 20, 8), "f")
    both = (real + 1j * numbers(r, (6, 20, 8), "f")).astype("F")
    for order in ((0, 1, 2), (2, 0, 1), (1, 0, 2)):
        back = np.argsort(order).tolist()
        x, z = (livegrad.tensor(v.transpose(order).copy()).permute(back) for v in (real, both))
        with livegrad.compiling("always"):
            near(livegrad.fft.fftn(z, dim=dims), np.fft.fftn(both.astype("D"), axes=dims), 3e-6)
            near(livegrad.fft.ifftn(x, dim=dims), np.fft.ifftn(real.astype("D"), axes=dims), 3e-6)
            half = livegrad.fft.rfftn(x, dim=dims)
            near(half, np.fft.rfftn(real.astype("d"), axes=dims), 3e-6)
            near(livegrad.fft.irfftn(half, s=[real.shape[d] for d in dims], dim=dims), real, 3e-6)


def test_what_cannot_be_complex_is_not_looked_at():
    half = np.array([[1 + 5j, 2 - 1j, 3 + 7j]] * 9, "F")
    with livegrad.compiling("always"):
        near(livegrad.fft.irfft(livegrad.tensor(half), 4), np.fft.irfft(half.astype("D"), 4), 3e-6)


def test_rows_do_not_mix():
    x = livegrad.ones(20, 16, dtype=livegrad.complex64)
    x[3, 2], x[7, 0] = float("nan"), float("inf")
    with livegrad.compiling("always"):
        made = livegrad.fft.fft(x).isfinite().all(1)
    assert (~made).nonzero().flatten().tolist() == [3, 7]


def test_the_same_bits_for_any_number_of_threads():
    x = livegrad.randn(300, 512)
    found = []
    before = livegrad.get_num_threads()
    try:
        for threads in (1, 2, 5):
            livegrad.set_num_threads(threads)
            with livegrad.compiling("always"):
                found.append(livegrad.fft.rfft(x))
    finally:
        livegrad.set_num_threads(before)
    assert all(livegrad.equal(found[0], other) for other in found[1:])


@pytest.mark.parametrize(
    "call", ["fft(x)", "rfft(x)", "irfft(fft(x))", "fft2(x)", "ihfft(x)", "irfft2(fft2(x), s=(8, 7))"]
)
def test_gradients(call):
    x = livegrad.randn(6, 8, dtype=livegrad.float64, requires_grad=True)
    names = {name: getattr(livegrad.fft, name) for name in livegrad.fft.__all__}
    with livegrad.compiling("always"):
        assert livegrad.autograd.gradcheck(lambda x: eval(call, names | {"x": x}), (x,))
