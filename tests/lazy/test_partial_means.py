"""Means whose partial sums are made by a kernel, and added up where the kernel for that is not there yet."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import livegrad
x = livegrad.full({shape}, 3.0, dtype=livegrad.float64)
print(((x * 2).exp().log()).mean({dims}).flatten().tolist())
"""


@pytest.mark.parametrize(("shape", "dims"), [((1_000_000,), (0,)), ((3, 400_000), (1,)), ((200_000, 5), (0,))])
def test_partial_sums_are_added_up_without_a_kernel(shape, dims):
    """A first run: nothing is on disk, and only what is worth waiting for is compiled at once."""
    env = {**os.environ, "LIVEGRAD_CACHE_DIR": "", "LIVEGRAD_COMPILE": "auto", "LIVEGRAD_NATIVE": "0"}
    command = [sys.executable, "-c", PROGRAM.format(shape=shape, dims=dims)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    mean = eval(done.stdout)
    assert mean == pytest.approx([6.0] * len(mean))
