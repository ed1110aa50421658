"""Every operator on the second CUDA device while the first is the current one, over the stand-in for CuPy.

CuPy computes on the current device and leaves its results there; the stand-in refuses arrays of another one.
"""

import numpy as np
import pytest
import stand_in
from ops_samples import CASES
from ops_support import as_dtype, mode, to_numpy
from test_ops_gradients import REFUSED

import livegrad
from livegrad import dtypes

ELSEWHERE = "cuda:1"


@pytest.fixture(autouse=True)
def pretended():
    with stand_in.in_use():
        yield


def tensors(x, device):
    if isinstance(x, np.ndarray):
        made = livegrad.tensor(x, device=device)
        return made.requires_grad_() if made.is_floating_point() else made
    return type(x)(tensors(i, device) for i in x) if isinstance(x, (list, tuple)) else x


def flat(made):
    if isinstance(made, (list, tuple)):
        return [t for m in made for t in flat(m)]
    return [made] if isinstance(made, livegrad.Tensor) else []


def run(case, args, kwargs, device):
    """Results, and gradients by what was given."""
    given = tensors(args, device)
    made = flat(case.function(*given, **{k: tensors(v, device) for k, v in kwargs.items()}))
    parts = [t.sum() for t in made if t.requires_grad and not t.is_complex()]
    if parts and case.name not in REFUSED:
        sum(parts[1:], parts[0]).backward()
    return made, [t.grad for t in flat(given) if t.requires_grad and t.grad is not None]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("way", ["reference", "kernels"])
def test_results_and_gradients_are_there(name, way):
    case = CASES[name]
    args, kwargs = next(iter(case.samples()))
    args = as_dtype(args, dtypes.int32 if name.startswith("bitwise") else dtypes.float32)
    with mode("deferred reference" if way == "reference" else "deferred"):
        livegrad.manual_seed(0)
        here = run(case, args, kwargs, "cpu")
        livegrad.manual_seed(0)
        there = run(case, args, kwargs, ELSEWHERE)
        assert livegrad.cuda.current_device() == 0
        for ours, theirs in zip(here, there):
            assert len(ours) == len(theirs)
            for a, b in zip(ours, theirs):
                assert b.device == livegrad.device(ELSEWHERE)
                np.testing.assert_allclose(to_numpy(b), to_numpy(a), rtol=1e-4, atol=1e-5)
