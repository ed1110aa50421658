"""Gradients of what hardly depends on its input: parts of numbers, counts, powers of zero, statistics of nothing."""

import math

import pytest

import livegrad
from livegrad import nn


@pytest.mark.parametrize("dtype", [livegrad.float16, livegrad.bfloat16, livegrad.float32, livegrad.float64])
def test_mantissa(dtype):
    x = livegrad.tensor([1.5, -3.0, 0.0, 8.0, math.inf], dtype=dtype, requires_grad=True)
    mantissa, exponent = livegrad.frexp(x)
    assert mantissa.grad_fn.name() == "FrexpBackward0" and exponent.grad_fn is None
    mantissa.sum().backward()
    assert x.grad.dtype == dtype
    assert x.grad.tolist() == [0.5, 0.25, 1.0, 0.0625, 1.0]


@pytest.mark.parametrize("p", [0, 0.5, 1, 1.5, 2, 3, math.inf])
def test_distances(p):
    torch = pytest.importorskip("torch")
    a = [[1.0, 2.0, 2.0], [3.0, 4.0, 4.0]]
    b = [[1.0, 0.0, 0.0], [3.0, 4.0, 4.0], [5.0, 6.0, 3.0], [2.0, 2.0, 0.5]]
    found = []
    for m in (livegrad, torch):
        x = m.tensor(a, dtype=m.float64, requires_grad=True)
        y = m.tensor(b, dtype=m.float64, requires_grad=True)
        d = m.cdist(x, y, p=p)
        (d * m.arange(8.0).reshape(2, 4)).sum().backward()
        found.append((d.grad_fn.name(), d.tolist(), x.grad.tolist(), y.grad.tolist()))
    ours, theirs = found
    assert ours[0] == theirs[0] == "CdistBackward0"
    for mine, other in zip(ours[1:], theirs[1:], strict=True):
        torch.testing.assert_close(torch.tensor(mine), torch.tensor(other))


def test_power_of_zero_has_a_gradient_of_zero():
    a = livegrad.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    y = livegrad.linalg.matrix_power(a, 0)
    assert y.tolist() == [[1.0, 0.0], [0.0, 1.0]]
    y.sum().backward()
    assert a.grad.tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_power_of_one_is_a_copy():
    a = livegrad.eye(2, requires_grad=True)
    y = livegrad.linalg.matrix_power(a, 1)
    assert y is not a and y.grad_fn.name() == "CloneBackward0"


def test_ctc_loss_raises_only_where_its_gradient_is_differentiated():
    logs = livegrad.randn(5, 2, 4).log_softmax(-1).detach().requires_grad_()
    scale = livegrad.tensor(2.0, requires_grad=True)
    targets, lengths, sizes = (livegrad.tensor(x) for x in ([[1, 2], [2, 3]], [5, 5], [2, 2]))
    loss = nn.functional.ctc_loss(logs, targets, lengths, sizes) * scale
    (g,) = livegrad.autograd.grad(loss, logs, create_graph=True)
    assert g.requires_grad
    with pytest.raises(RuntimeError, match="derivative for aten::_ctc_loss_backward is not implemented"):
        livegrad.autograd.grad(g.pow(2).sum(), logs)


@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 4), (2, 3, 0)])
def test_statistics_of_nothing_are_not_taken_in(shape):
    norm = nn.BatchNorm1d(3)
    assert norm(livegrad.zeros(shape)).shape == shape
    assert norm.running_mean.tolist() == [0, 0, 0] and norm.running_var.tolist() == [1, 1, 1]
    assert norm.num_batches_tracked == 1


@pytest.mark.parametrize("eps", [0, -1.0, -1e-9])
def test_batch_norm_wants_a_positive_eps(eps):
    with pytest.raises(ValueError, match=f"batch_norm eps must be positive during training, but got {eps}"):
        nn.BatchNorm1d(3, eps=eps)(livegrad.ones(4, 3))
    norm = nn.BatchNorm1d(3, eps=eps).eval()
    if eps:
        with pytest.raises(ValueError, match="batch_norm eps must be non-negative"):
            norm(livegrad.ones(4, 3))
    else:
        assert norm(livegrad.ones(1, 3)).tolist() == [[1, 1, 1]]
