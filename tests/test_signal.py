"""Windows against PyTorch's."""

import numpy as np
import pytest

import livegrad
from livegrad.signal import windows

torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")

OPTIONS = {
    "bartlett": [{}], "blackman": [{}], "cosine": [{}], "hamming": [{}], "hann": [{}], "nuttall": [{}],
    "exponential": [{}, {"tau": 3.0}, {"center": 1.0, "sym": False}], "gaussian": [{}, {"std": 2.5}],
    "kaiser": [{}, {"beta": 0.0}, {"beta": 4.0}], "general_hamming": [{"alpha": 0.6}],
    "general_cosine": [{"a": [0.5, 0.3, 0.2]}],
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_windows(name, dtype):
    assert set(OPTIONS) == set(windows.__all__)
    for options in OPTIONS[name]:
        for M in (0, 1, 2, 5, 10):
            for sym in (True, False):
                given = {"sym": sym, **options}
                mine = getattr(windows, name)(M, dtype=getattr(livegrad, dtype), **given)
                theirs = getattr(torch.signal.windows, name)(M, dtype=getattr(torch, dtype), **given)
                assert str(mine.dtype) == str(theirs.dtype)
                np.testing.assert_allclose(
                    mine.numpy(), theirs.numpy(), rtol=1e-5, atol=2e-6 if dtype == "float32" else 1e-12
                )


def test_what_is_no_window():
    for m in (livegrad, torch):
        w = m.signal.windows
        with pytest.raises(ValueError, match="requires non-negative window length, got M=-1"):
            w.cosine(-1)
        with pytest.raises(ValueError, match="expects float32 or float64 dtypes, got: torch.int64"):
            w.cosine(3, dtype=m.int64)
        with pytest.raises(ValueError, match="Tau must be positive"):
            w.exponential(3, tau=0.0)
        with pytest.raises(ValueError, match="Center must be None for symmetric windows"):
            w.exponential(3, center=1.0)
        with pytest.raises(ValueError, match="Standard deviation must be positive"):
            w.gaussian(3, std=-1.0)
        with pytest.raises(ValueError, match="beta must be non-negative"):
            w.kaiser(3, beta=-1.0)
        with pytest.raises(ValueError, match="Coefficients cannot be empty"):
            w.general_cosine(3, a=[])
        with pytest.raises(TypeError):
            w.hann(3, nothing=1)
        assert w.hann(3, requires_grad=True).requires_grad
