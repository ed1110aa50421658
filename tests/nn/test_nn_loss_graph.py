"""A loss is one step of the graph, named as PyTorch names it."""

import numpy as np
import pytest

import livegrad
import livegrad.nn.functional as F

torch = pytest.importorskip("torch")
TF = torch.nn.functional

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(2, 4, 3)).astype(np.float32)
P, Q = RNG.uniform(0.1, 0.9, (2, 4, 3)).astype(np.float32)
CLASSES = np.array([0, 2, 1, 2])
PICTURE = RNG.normal(size=(2, 3, 2, 2)).astype(np.float32)
CASES = [
    ("mse_loss", X, Y),
    ("l1_loss", X, Y),
    ("huber_loss", X, Y),
    ("smooth_l1_loss", X, Y),
    ("soft_margin_loss", X, Y),
    ("binary_cross_entropy", P, Q),
    ("binary_cross_entropy_with_logits", X, Q),
    ("nll_loss", X, CLASSES),
    ("cross_entropy", X, CLASSES),
    ("cross_entropy", X[0], np.array(1)),
    ("cross_entropy", PICTURE, RNG.integers(0, 3, (2, 2, 2))),
]


def names(module, functions, name, x, y, reduction):
    loss = getattr(functions, name)(module.tensor(x, requires_grad=True), module.tensor(y), reduction=reduction)
    return loss.grad_fn.name(), [n and n.name().rpartition(":")[2] for n, _ in loss.grad_fn.next_functions]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]}-{c[1].ndim}d")
def test_the_node_of_a_loss(case, reduction):
    ours, theirs = names(livegrad, F, *case, reduction), names(torch, TF, *case, reduction)
    assert ours[0] == theirs[0]
    # PyTorch subtracts in a step of its own in the first; the second does not count its target as an input.
    if case[0] not in ("l1_loss", "soft_margin_loss"):
        assert ours[1] == theirs[1]


def test_kl_div_of_negative_targets_is_nan_as_its_logarithm():
    x, y = np.float32([-1, -2, -0.5]), np.float32([-0.5, 0, 0.5])
    ours = F.kl_div(livegrad.tensor(x), livegrad.tensor(y), reduction="none").numpy()
    np.testing.assert_allclose(ours, TF.kl_div(torch.tensor(x), torch.tensor(y), reduction="none").numpy(), rtol=1e-6)


def test_an_ignored_infinite_log_probability_leaves_no_nan():
    x = livegrad.tensor([[0.0, -np.inf], [1.0, 2.0]], requires_grad=True)
    loss = F.nll_loss(x, livegrad.tensor([1, 0]), ignore_index=1)
    loss.backward()
    assert loss.item() == -1.0
    assert x.grad.tolist() == [[0.0, 0.0], [-1.0, 0.0]]
