"""`cond`, `while_loop`, `scan` and `associative_scan`, against PyTorch and against loops."""

import pytest

import livegrad
from livegrad._higher_order_ops import scan
from livegrad._higher_order_ops.associative_scan import associative_scan
from livegrad.testing import assert_close

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("module", [livegrad, torch], ids=["livegrad", "torch"])
@pytest.mark.parametrize("pred", [True, False])
def test_cond_computes_one_branch_and_has_its_gradient(module, pred):
    x = module.tensor([0.5, 1.0], requires_grad=True)
    y = module.cond(module.tensor(pred), lambda x: x * 2, lambda x: x * 3, (x,))
    y.sum().backward()
    assert x.grad.tolist() == ([2.0, 2.0] if pred else [3.0, 3.0])


def test_cond_refuses_what_is_no_condition():
    for cond, operands in (("yes", ()), (livegrad.ones(2), ()), (True, livegrad.ones(2))):
        with pytest.raises(RuntimeError, match="cond"):
            livegrad.cond(cond, lambda: 1, lambda: 2, operands)


def test_while_loop_carries_values():
    n, x = livegrad.while_loop(lambda n, x: n < 3, lambda n, x: (n + 1, x * 2), (livegrad.tensor(0), livegrad.ones(2)))
    assert n.item() == 3 and x.tolist() == [8.0, 8.0]
    with pytest.raises(RuntimeError, match="1 values of 2"):
        livegrad.while_loop(lambda n, x: n < 3, lambda n, x: (n + 1,), (0, 1))


@pytest.mark.parametrize("dim, reverse", [(0, False), (0, True), (1, False), (-1, True)])
def test_scan_stacks_what_each_step_makes(dim, reverse):
    x = livegrad.arange(6.0).view(2, 3)
    init = livegrad.zeros(3 if dim == 0 else 2)
    last, ys = scan(lambda c, a: (c + a, {"sum": c + a}), init, x, dim=dim, reverse=reverse)
    expected = x.flip(dim).cumsum(dim).flip(dim) if reverse else x.cumsum(dim)
    assert_close(ys["sum"], expected)
    assert_close(last, x.sum(dim))


@pytest.mark.parametrize("size", [1, 2, 3, 8, 13])
@pytest.mark.parametrize("reverse", [False, True])
def test_associative_scan_of_a_recurrence(size, reverse):
    """h = a h + b, which state-space models compute so, and its gradients, against a loop."""
    livegrad.manual_seed(0)
    a, b = (livegrad.rand(2, size, 3, dtype=livegrad.float64, requires_grad=True) for _ in range(2))
    made = associative_scan(lambda l, r: (l[0] * r[0], r[0] * l[1] + r[1]), (a, b), 1, reverse, combine_mode="generic")[
        1
    ]
    h, states = livegrad.zeros(2, 3, dtype=livegrad.float64), []
    for i in reversed(range(size)) if reverse else range(size):
        h = a[:, i] * h + b[:, i]
        states.append(h)
    expected = livegrad.stack(states[::-1] if reverse else states, 1)
    assert_close(made, expected)
    weights = livegrad.rand(2, size, 3, dtype=livegrad.float64)
    for g, e in zip(
        livegrad.autograd.grad((made * weights).sum(), (a, b), allow_unused=True),
        livegrad.autograd.grad((expected * weights).sum(), (a, b), allow_unused=True),
    ):
        if g is not None:
            assert_close(g, e)


def test_scans_refuse_what_does_not_fit():
    x = livegrad.ones(2, 3)
    with pytest.raises(IndexError, match="Dimension out of range"):
        associative_scan(livegrad.add, x, 2)
    with pytest.raises(RuntimeError, match="one size"):
        scan(lambda c, x: (c, c), x, (x, livegrad.ones(3, 3)))
    with pytest.raises(RuntimeError, match="made shapes"):
        associative_scan(lambda a, b: a.sum(), x, 1)
    with pytest.raises(ValueError, match="combine_mode|Combine_mode"):
        associative_scan(livegrad.add, x, 0, combine_mode="fast")
