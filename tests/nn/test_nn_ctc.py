"""CTC loss against PyTorch, and against the sum over all alignments."""

import itertools

import numpy as np
import pytest
from against_torch import outcome, same, torch

import livegrad
from livegrad import nn
from livegrad.codegen.kernels import Policy
from livegrad.llvm import machine
from livegrad.runtime import alignments

CASES = {
    "rows": ([[1, 2, 2], [3, 3, 1]], [6, 4], [3, 2], {}),
    "joined": ([1, 2, 2, 3, 1], [6, 5], [3, 2], {}),
    "blank": ([[1, 2], [0, 0]], [6, 6], [2, 2], {"blank": 3}),
    "empty target": ([[1, 2], [0, 0]], [6, 3], [2, 0], {}),
    "too long": ([[1, 1, 1], [2, 2, 2]], [3, 6], [3, 3], {}),
    "no steps": ([[1, 2], [0, 0]], [6, 0], [2, 0], {}),
    "no steps, joined": ([1, 2, 2], [0, 6], [0, 3], {"blank": 3}),
    "no steps, zero": ([[1, 1], [2, 2]], [0, 6], [1, 2], {"zero_infinity": True}),
    "too long, zero": ([[1, 1, 1], [2, 2, 2]], [3, 6], [3, 3], {"zero_infinity": True}),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("tensors", [True, False])
def test_against_torch(case, reduction, tensors):
    targets, lengths, sizes, options = CASES[case]
    found = []
    for m in (livegrad, torch):
        x = m.tensor(np.random.default_rng(0).standard_normal((6, 2, 4))).requires_grad_()
        given = (m.tensor(lengths), m.tensor(sizes)) if tensors else (tuple(lengths), tuple(sizes))
        loss = m.nn.CTCLoss(reduction=reduction, **options)(x.log_softmax(2), m.tensor(targets), *given)
        if case != "too long":
            loss.sum().backward()
        found.append([loss, x.grad])
    same(*found, rtol=1e-9, atol=1e-12)


def test_without_a_batch():
    found = []
    for m in (livegrad, torch):
        logs = m.linspace(-1, 1, 20).reshape(5, 4).log_softmax(1)
        found.append(m.nn.functional.ctc_loss(logs, m.tensor([1, 2]), m.tensor(5), m.tensor(2)))
    same(*found)


@pytest.mark.skipif(not machine.compiler_available(), reason="needs llvmlite")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", ["plain", "batch first"])
def test_kernels_against_numpy(dtype, layout, monkeypatch):
    monkeypatch.setattr(Policy, "mode", "always")
    rng = np.random.default_rng(0)
    logs = np.log(rng.dirichlet(np.ones(21), (7, 5) if layout == "plain" else (5, 7)).astype(dtype))
    logs = logs if layout == "plain" else logs.swapaxes(0, 1)
    labels = rng.integers(1, 21, (5, 9))
    labels[:, 4] = labels[:, 3]
    lengths, sizes = np.array([7, 1, 6, 7, 3]), np.array([5, 1, 0, 9, 2])  # the fourth has no alignment
    found = alignments.alignments(logs, labels, lengths, sizes, 0, True)
    assert isinstance(found, alignments.Walked)
    wanted = alignments.Alignments(logs.astype(np.float64), labels, lengths, sizes, 0)
    np.testing.assert_allclose(found.loss, wanted.loss, rtol=1e-12)
    assert np.isinf(found.loss[3])
    g = rng.standard_normal(5)
    rtol = 1e-5 if dtype is np.float32 else 1e-11
    gradients = found.gradient(g, True), wanted.gradient(g, True)
    assert gradients[0].dtype == dtype
    np.testing.assert_allclose(*gradients, rtol=rtol, atol=rtol)


def test_sum_over_alignments():
    logs = livegrad.randn(4, 1, 3, dtype=livegrad.float64).log_softmax(2)
    p = logs.exp().numpy()[:, 0]
    total = 0.0
    for path in itertools.product(range(3), repeat=4):
        joined = [c for c, _ in itertools.groupby(path)]
        if [c for c in joined if c] == [1, 2]:
            total += np.prod([p[t, c] for t, c in enumerate(path)])
    loss = nn.CTCLoss(reduction="sum")(logs, livegrad.tensor([[1, 2]]), [4], [2])
    np.testing.assert_allclose(loss.item(), -np.log(total))


@pytest.mark.parametrize(
    "text",
    ["F(m.zeros(3, 1, 2), m.tensor([[1]]), [3], [1], blank=5)", "F(m.zeros(3, 1, 2), m.tensor([[1]]), [3, 3], [1])"],
)
def test_errors(text):
    mine, theirs = (outcome(lambda: eval(text, {"m": m, "F": m.nn.functional.ctc_loss})) for m in (livegrad, torch))
    assert mine[1] == theirs[1]


def test_lengths_that_do_not_fit():
    logs = livegrad.zeros(3, 1, 2)
    with pytest.raises(RuntimeError, match="at most 3"):
        nn.functional.ctc_loss(logs, livegrad.tensor([[1]]), [4], [1])
    with pytest.raises(RuntimeError, match="Expected targets of at least 2"):
        nn.functional.ctc_loss(logs, livegrad.tensor([[1]]), [3], [2])


@pytest.mark.parametrize(
    ("targets", "lengths", "sizes"),
    [([[1, 9]], [5], [2]), ([[-1, 2]], [5], [2]), ([[1, 2]], [-1], [2]), ([[1, 2]], [5], [-1]), ([[1, 2]], [6], [2])],
)
def test_what_does_not_fit_is_refused(targets, lengths, sizes):
    logs = livegrad.zeros(5, 1, 4)
    with pytest.raises(RuntimeError, match=r"Expected (targets|input_lengths|target_lengths) to"):
        nn.functional.ctc_loss(logs, livegrad.tensor(targets), lengths, sizes)
    with pytest.raises(RuntimeError, match="must not be empty"):
        nn.functional.ctc_loss(livegrad.zeros(0, 1, 4), livegrad.tensor([[1, 2]]), [0], [0])
