"""Products of half types with something added: added up in float32, and rounded once."""

import pytest

import livegrad
from livegrad.nn.functional import linear

SIZES = [(1, 5, 3), (8, 8, 8), (16, 33, 17), (64, 128, 96)]
FACTORS = [(1, 1), (0.5, 1), (1, 0.3), (2.5, -0.7), (1, 0)]


def numbers(*shape, dtype):
    return livegrad.randn(*shape).to(dtype).requires_grad_()


def sums(name, size, dtype, alpha, beta):
    """The operands, what the library makes of them, and what it makes of them in float64."""
    m, k, n = size
    if name.startswith("linear"):
        lead = (2, m) if name == "linear3" else (m,)
        given = [numbers(*lead, k, dtype=dtype), numbers(n, k, dtype=dtype), numbers(n, dtype=dtype)]
        return given, linear(*given), linear(*[t.double() for t in given])
    shapes = {
        "addmm": [(m, n), (m, k), (k, n)], "addmm_row": [(n,), (m, k), (k, n)], "addmv": [(m,), (m, k), (k,)],
        "baddbmm": [(2, m, n), (2, m, k), (2, k, n)],
    }[name]  # fmt: skip
    f = getattr(livegrad, name.partition("_")[0])
    given = [numbers(*shape, dtype=dtype) for shape in shapes]
    return given, f(*given, alpha=alpha, beta=beta), f(*[t.double() for t in given], alpha=alpha, beta=beta)


@pytest.mark.parametrize("dtype", [livegrad.bfloat16, livegrad.float16], ids=str)
@pytest.mark.parametrize("name", ["linear", "linear3", "addmm", "addmm_row", "addmv", "baddbmm"])
def test_sums_are_rounded_once(name, dtype):
    livegrad.manual_seed(3)
    found, count = 0, 0
    for size in SIZES:
        for alpha, beta in FACTORS if "linear" not in name else FACTORS[:1]:
            given, made, exact = sums(name, size, dtype, alpha, beta)
            assert made.dtype is dtype and made.shape == exact.shape
            found += int((made != exact.to(dtype)).sum())
            count += made.numel()
            g = livegrad.randn(made.shape)
            ours = livegrad.autograd.grad(made, given, g.to(dtype))
            theirs = livegrad.autograd.grad(exact, given, g.to(dtype).double(), materialize_grads=True)
            for a, b in zip(ours, theirs):
                assert a.dtype is dtype
                livegrad.testing.assert_close(a, b, rtol=0.02, atol=0.02 * max(1.0, float(b.abs().max())))
    # Rounding the product before the sum changes a fifth of the numbers or more; ties in float32 hardly any.
    assert found <= 0.01 * count


def test_beta_of_zero_ignores_what_is_added():
    bad = livegrad.full((2, 2), float("nan"), dtype=livegrad.bfloat16)
    a = livegrad.ones(2, 2, dtype=livegrad.bfloat16)
    assert livegrad.addmm(bad, a, a, beta=0).tolist() == [[2, 2], [2, 2]]
    assert livegrad.baddbmm(bad[None], a[None], a[None], beta=0).tolist() == [[[2, 2], [2, 2]]]
    assert livegrad.addmv(bad[0], a, a[0], beta=0).tolist() == [2, 2]
