"""Training on a GPU gives the CPU's losses. Skipped without a GPU; that the programs learn is seen on the CPU."""

import numpy as np
import pytest
from programs import PROGRAMS, train

import livegrad


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_programs_learn(name):
    with livegrad.compiling("always"):  # else bits depend on when kernels are ready
        losses = train(name, "cpu")
        assert losses[-1] < 0.8 * losses[0] and np.isfinite(losses).all()
        assert train(name, "cpu", 3) == losses[:3]


@pytest.mark.skipif(not livegrad.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", PROGRAMS)
def test_losses_are_the_cpus(name):
    with livegrad.backends.cudnn.flags(allow_tf32=False, deterministic=True):
        np.testing.assert_allclose(train(name, "cuda"), train(name, "cpu"), rtol=2e-3)
        assert train(name, "cuda") == train(name, "cuda")  # to the last bit: nothing is added in a random order


@pytest.mark.skipif(not livegrad.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", [livegrad.bfloat16, livegrad.float16])
def test_mixed_precision(dtype):
    np.testing.assert_allclose(train("gpt", "cuda", dtype=dtype), train("gpt", "cpu"), rtol=0.05)


@pytest.mark.parametrize("name", PROGRAMS)
def test_over_the_stand_in(name):
    """The same operators in the same order, whoever computes them: plumbing, and no proof of what a GPU computes."""
    import stand_in

    with stand_in.in_use(), livegrad.compiling("never"):
        found = train(name, "cuda", 3)
    np.testing.assert_allclose(found, train(name, "cpu", 3), rtol=1e-4)
