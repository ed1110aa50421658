"""Every operator of the registry on a GPU against the CPU: values, dtypes, shapes and gradients. Skipped without a GPU."""

from __future__ import annotations

import numpy as np
import pytest
from ops_samples import CASES
from ops_support import ALL, FLOATS, Raised, as_dtype, attempt, to_numpy

import livegrad

pytestmark = pytest.mark.skipif(not livegrad.cuda.is_available(), reason="no CUDA device")

# The CPU's kernels and the GPU's round differently where a library or another order of additions is behind them.
RTOL = {"float16": 4e-3, "bfloat16": 3e-2, "float32": 2e-5, "float64": 1e-12}
UNINITIALISED = {"empty_like", "new_empty"}
RANDOM = {"bernoulli", "multinomial", "normal", "poisson", "rand_like", "randn_like", "randint_like"}


def on(device, x):
    """NumPy arrays as tensors on a device, in any nesting."""
    if isinstance(x, np.ndarray):
        return livegrad.tensor(x, device=device)
    if isinstance(x, (list, tuple)):
        return type(x)(on(device, i) for i in x)
    return x


def tensors(x):
    """All tensors in what an operator took or gave."""
    if isinstance(x, livegrad.Tensor):
        return [x]
    return [t for i in x for t in tensors(i)] if isinstance(x, (list, tuple)) else []


def weighted(t):
    """The sum of a tensor's elements with weights that differ; without them some gradients are rounding errors alone."""
    weights = (np.arange(t.numel()) % 7 - 2.5).reshape(tuple(t.shape))
    return (t.double() * livegrad.tensor(weights, device=t.device)).sum()


def backward(outputs):
    """Go backward from the sum of all that can be differentiated."""
    parts = [weighted(t) for t in outputs if t.requires_grad]
    sum(parts[1:], parts[0]).backward()
    return 0


def same(there, here, what):
    assert there.is_cuda and there.dtype is here.dtype and there.shape == here.shape, what
    a, b = to_numpy(there), to_numpy(here)
    if not here.is_floating_point():
        np.testing.assert_array_equal(a, b, err_msg=what)
        return
    rtol = RTOL[here.dtype.name]
    a, b = a.astype(np.float64), b.astype(np.float64)
    scale = np.abs(b[np.isfinite(b)]).max(initial=1e-3)
    np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * scale, equal_nan=True, err_msg=what)


@pytest.mark.parametrize("name", [n for n in CASES if n not in UNINITIALISED | RANDOM])
def test_values_and_gradients_are_the_cpus(name):
    case = CASES[name]
    for d in ALL:
        for args, kwargs in case.samples():
            given = tuple(as_dtype(a, d) for a in args), {k: as_dtype(v, d) for k, v in kwargs.items()}
            here, there = [(on(w, given[0]), {k: on(w, v) for k, v in given[1].items()}) for w in ("cpu", "cuda")]
            leaves = [[t.requires_grad_() for t in tensors(list(a)) if d in FLOATS and t.is_floating_point()]
                      for a, _ in (here, there)]  # fmt: skip
            expected, found = attempt(case.function, *here[0], **here[1]), attempt(case.function, *there[0], **there[1])
            what = f"{name}, {d.name}, {[getattr(a, 'shape', a) for a in args]}, {kwargs}"
            if isinstance(expected, Raised) or isinstance(found, Raised):
                assert isinstance(expected, Raised) and isinstance(found, Raised), (
                    f"{what}: {found!r}, not {expected!r}"
                )
                continue
            results = tensors(expected), tensors(found)
            assert len(results[0]) == len(results[1]), what
            for a, b in zip(results[1], results[0]):
                same(a, b, what)
            if not any(t.requires_grad for t in results[0]):
                continue
            went = [attempt(backward, outputs) for outputs in results]
            assert isinstance(went[0], Raised) == isinstance(went[1], Raised), f"{what}, backward: {went[1]!r}"
            for a, b in zip(leaves[1], leaves[0]):
                assert (a.grad is None) == (b.grad is None), what
                if b.grad is not None:
                    same(a.grad, b.grad, f"{what}, gradient")
