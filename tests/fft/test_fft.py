"""`livegrad.fft` against PyTorch: values, dtypes, shapes, refusals, first and second derivatives; `stft` and `istft`."""

import itertools

import numpy as np
import pytest

import livegrad

torch = pytest.importorskip("torch")

ONE = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")
MANY = tuple(name + end for end in ("2", "n") for name in ONE)
RANDOM = np.random.default_rng(0)
REAL = RANDOM.standard_normal((3, 5, 4))
COMPLEX = REAL + 1j * RANDOM.standard_normal((3, 5, 4))
NORMS = (None, "backward", "forward", "ortho")


def _weighted(m, t):
    weight = m.tensor(np.linspace(0.3, 1.7, t.numel()).reshape(tuple(t.shape)), dtype=m.float64)
    return (t * weight * (1 - 0.5j)).real.sum() if t.is_complex() else (t * weight).sum()


def outcome(m, data, call, order):
    x = m.tensor(data, requires_grad=order > 0)
    try:
        made = call(m, x)
    except Exception as error:
        return type(error).__name__, str(error).splitlines()[0]
    found = [made]
    loss = _weighted(m, made)
    for k in range(order):
        (g,) = m.autograd.grad(loss * loss, x, create_graph=k + 1 < order)
        found.append(g)
        loss = _weighted(m, g)
    return [(str(t.dtype), tuple(t.shape), t.detach().resolve_conj().numpy()) for t in found]


def same(data, call, order=2, tolerance=1e-9):
    mine, its = outcome(livegrad, data, call, order), outcome(torch, data, call, order)
    if isinstance(its, tuple):
        assert mine == its
        return
    assert isinstance(mine, list), mine
    assert [t[:2] for t in mine] == [t[:2] for t in its]
    for a, b in zip(mine, its):
        np.testing.assert_allclose(a[2], b[2], rtol=tolerance, atol=tolerance * max(1, np.abs(b[2]).max(initial=0)))


@pytest.mark.parametrize("name", ONE)
def test_along_one_dimension(name):
    for data, n, dim, norm in itertools.product((REAL, COMPLEX), (None, 3, 4, 7), (-1, 1), NORMS[1:]):
        same(data, lambda m, x: getattr(m.fft, name)(x, n, dim, norm), order=2 if norm == "ortho" else 1)


@pytest.mark.parametrize("name", MANY)
def test_along_several_dimensions(name):
    for data, (s, dim) in itertools.product(
        (REAL, COMPLEX), ((None, (0, 1)), ((4, 3), (-1, 0)), ((6, -1), (1, 2)), ((5, 5), (-2, -1)))
    ):
        for norm in NORMS:
            same(data, lambda m, x: getattr(m.fft, name)(x, s=s, dim=dim, norm=norm), order=1 if norm else 2)
    same(REAL, lambda m, x: getattr(m.fft, name)(x))


@pytest.mark.parametrize("name", ONE)
def test_single_precision_stays(name):
    for data in (REAL.astype(np.float32), COMPLEX.astype(np.complex64), np.arange(5)):
        same(data, lambda m, x: getattr(m.fft, name)(x), order=0, tolerance=1e-5)


REFUSED = [
    (REAL, lambda m, x: m.fft.fft(x, 0)),
    (REAL, lambda m, x: m.fft.fft(x, n=-2)),
    (REAL, lambda m, x: m.fft.fft(x, norm="bad")),
    (REAL, lambda m, x: m.fft.fft(x, dim=3)),
    (REAL[0, 0, 0], lambda m, x: m.fft.fft(x)),
    (REAL[:0], lambda m, x: m.fft.fft(x, dim=0)),
    (REAL, lambda m, x: m.fft.fft(x.half())),
    (COMPLEX[..., :1], lambda m, x: m.fft.irfft(x)),
    (REAL, lambda m, x: m.fft.fftn(x, s=(2,), dim=(0, 1))),
    (REAL, lambda m, x: m.fft.fftn(x, dim=(0, 0))),
    (REAL, lambda m, x: m.fft.fftn(x, s=(2, 2, 2, 2))),
    (REAL[0, 0], lambda m, x: m.fft.rfft2(x)),
    (REAL, lambda m, x: m.fft.rfftn(x, dim=())),
    (COMPLEX, lambda m, x: m.fft.irfftn(x, dim=())),
    (REAL, lambda m, x: m.fft.fftfreq(4, dtype=m.int64)),
]


@pytest.mark.parametrize("data, call", REFUSED)
def test_refusals(data, call):
    assert isinstance(outcome(torch, data, call, 0), tuple)
    same(data, call, order=0)


def test_frequencies_and_shifts():
    for n, d in itertools.product((1, 4, 5, 8, 9), (1.0, 0.5)):
        for name in ("fftfreq", "rfftfreq"):
            mine, its = (getattr(m.fft, name)(n, d) for m in (livegrad, torch))
            assert mine.tolist() == its.tolist() and str(mine.dtype) == str(its.dtype)
    assert livegrad.fft.fftfreq(4, dtype=livegrad.float64).dtype is livegrad.float64
    for dim in (None, 0, (1, 2), -1):
        same(REAL, lambda m, x: m.fft.fftshift(x, dim))
        same(COMPLEX, lambda m, x: m.fft.ifftshift(x, dim=dim))
    x = livegrad.tensor(REAL)
    assert livegrad.fft.ifftshift(livegrad.fft.fftshift(x)).tolist() == x.tolist()


def test_into_what_is_given():
    out = livegrad.empty(0, dtype=livegrad.complex128)
    assert livegrad.fft.fft(livegrad.tensor(REAL), out=out) is out
    np.testing.assert_allclose(out.numpy(), np.fft.fft(REAL))


SIGNAL = RANDOM.standard_normal((2, 40))
WAYS = [
    {},
    {"hop_length": 3},
    {"center": False},
    {"win_length": 6},
    {"normalized": True},
    {"onesided": False},
    {"pad_mode": "constant"},
]


@pytest.mark.parametrize("options", WAYS, ids=str)
@pytest.mark.parametrize("windowed", [False, True])
def test_short_time_transform_and_back(options, windowed):
    def call(m, x):
        window = None
        if windowed:
            window = m.hann_window(options.get("win_length", 8), dtype=m.float64) + 0.1
        return m.stft(x, 8, window=window, return_complex=True, **options)

    same(SIGNAL, call)
    same(SIGNAL[0], call)
    back = {k: v for k, v in options.items() if k != "pad_mode"}

    def there_and_back(m, x):
        window = m.ones(options.get("win_length", 8), dtype=m.float64)
        spectrum = m.stft(x, 8, window=window, return_complex=True, **options) * 2
        return m.istft(spectrum, 8, window=window, **back)

    same(SIGNAL, there_and_back)
    same(SIGNAL, lambda m, x: m.istft(m.stft(x, 8, return_complex=True, **options), 8, length=30, **back))


def test_short_time_transform_of_complex_numbers_and_as_parts():
    same(SIGNAL * (1 + 2j), lambda m, x: m.stft(x, 8, return_complex=True))
    same(SIGNAL, lambda m, x: m.stft(x, 8, return_complex=False))
    same(SIGNAL, lambda m, x: x.stft(8, return_complex=True).istft(8))
    same(SIGNAL, lambda m, x: m.stft(x, 8), order=0)
    same(SIGNAL, lambda m, x: m.stft(x, 80, return_complex=True, center=False), order=0)
