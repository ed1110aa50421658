"""A reduced dimension of size 1, at any place: every row is one element, and the work is that of copying."""

from __future__ import annotations

import numpy as np
import pytest

import livegrad
from livegrad import dtypes
from livegrad.lazy.reduce import reduce_and_keep

SHAPES = [
    (1,),
    (1, 1),
    (70, 1),
    (1, 70),
    (3000, 1),
    (1, 3000),
    (5, 1, 40),
    (33, 7, 1),
    (1, 9, 1),
    (0, 1),
    (6, 1, 3, 50),
]


NAMES = ["sum", "prod", "amax", "amin", "cumsum", "cumprod"]
CASES = [(n, d) for n in NAMES for d in (np.float32, np.float16, np.int64, np.bool_)]
CASES += [("mean", np.float32), ("mean", np.float16), ("any", np.bool_), ("all", np.bool_), ("all", np.int64)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_every_reduction_and_total(name, dtype, shape):
    a = (np.arange(np.prod(shape)) % 17 - 8).reshape(shape).astype(dtype)
    with livegrad.compiling("always"):
        for source in (a, a.T, np.repeat(a, 2, 0)[::2]):
            x = livegrad.from_numpy(source)
            # In memory, and made in the same kernel.
            for operand, expected in ((x, source), (~x, ~source) if dtype is np.bool_ else (x * 3, source * 3)):
                for dim in [d for d, n in enumerate(x.shape) if n == 1]:
                    made = getattr(operand, name)(dim).numpy()
                    own = expected if name.startswith("cum") else expected.squeeze(dim)
                    np.testing.assert_array_equal(made, own.astype(bool) if name in ("any", "all") else own)


def test_a_kept_value_is_written_too():
    with livegrad.compiling("always"):
        v = (livegrad.arange(700.0).reshape(700, 1) * 2)._value()
        total = reduce_and_keep(v, "sum", (1,), dtypes.float32)
        assert v.array is not None
        np.testing.assert_array_equal(total.native(), 2 * np.arange(700))
