"""histogram and histogramdd against PyTorch."""

import numpy as np
import pytest

import livegrad

torch = pytest.importorskip("torch")
VALUES = np.random.default_rng(0).normal(size=(40, 2))
CALLS = [
    "histogram(x, 5)",
    "histogram(x, 4, range=(-1., 1.5), density=True)",
    "histogram(x, lib.tensor([-1., 0., .5, 2.], dtype=lib.float64))",
    "histogram(x, 3, weight=x * x, density=True)",
    "histogram(x[:0], 3)",
    "histogram(lib.ones(3), 2)",
    "histogramdd(x, [3, 4])",
    "histogramdd(x, 3, range=[-1., 1., 0., 2.], density=True)",
    "histogramdd(x, [lib.tensor([-1., 0., 2.], dtype=lib.float64), lib.tensor([0., 1.], dtype=lib.float64)])",
    "histogramdd(x, [2, 2], weight=x[:, 0])",
]


@pytest.mark.parametrize("code", CALLS)
def test_as_pytorch(code):
    mine, theirs = (eval(f"lib.{code}", {"lib": lib, "x": lib.tensor(VALUES)}) for lib in (livegrad, torch))
    assert str(mine.hist.dtype) == str(theirs.hist.dtype)
    np.testing.assert_allclose(mine.hist.numpy(), theirs.hist.numpy(), rtol=1e-6)
    edges = [e if isinstance(e, tuple) else (e,) for e in (mine.bin_edges, theirs.bin_edges)]
    for a, b in zip(*edges, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6)


@pytest.mark.parametrize(
    "code",
    ["histogram(x, 0)", "histogram(x, 2, range=(1., 0.))", "histogram(x, x)", "histogram(x, 2, weight=x[:3])",
     "histogramdd(x[:, 0], 2)", "histogramdd(x, [2])", "histogramdd(x, 2, range=[0., 1.])"],
)  # fmt: skip
def test_what_is_refused(code):
    for lib in (livegrad, torch):
        with pytest.raises(RuntimeError):
            eval(f"lib.{code}", {"lib": lib, "x": lib.tensor(VALUES)})
