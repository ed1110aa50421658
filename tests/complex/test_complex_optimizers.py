"""Optimizers change complex parameters as pairs of real numbers, as PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest

import livegrad

torch = pytest.importorskip("torch")

START = np.array([[1 + 2j, 3 - 1j, -2 + 0.5j], [0.3j, -1, 0.1 + 0.1j]])
CASES = [
    ("SGD", {"momentum": 0.9, "nesterov": True}), ("Adam", {}), ("Adam", {"amsgrad": True, "weight_decay": 0.1}),
    ("AdamW", {}), ("RMSprop", {"centered": True}), ("Adagrad", {"initial_accumulator_value": 0.5}), ("Adamax", {}), ("NAdam", {}), ("RAdam", {}),
    ("Rprop", {}), ("ASGD", {}), ("Adadelta", {}),
]  # fmt: skip


def _trained(m, name, options):
    p = m.nn.Parameter(m.tensor(START))
    optimizer = getattr(m.optim, name)([p], lr=0.1, **options)
    for _ in range(4):
        optimizer.zero_grad()
        ((p * p - 1j).abs().square().sum() + p.real.sum()).backward()
        optimizer.step()
    return p, optimizer.state_dict()["state"][0]


@pytest.mark.parametrize(("name", "options"), CASES)
def test_as_in_pytorch(name, options):
    (mine, kept), (its, state) = _trained(livegrad, name, options), _trained(torch, name, options)
    np.testing.assert_allclose(mine.detach().numpy(), its.detach().numpy(), rtol=1e-6, atol=1e-8)
    for key in ("exp_avg", "exp_avg_sq", "momentum_buffer", "square_avg", "sum"):
        if key in state:
            np.testing.assert_allclose(kept[key].numpy(), state[key].numpy(), rtol=1e-6, atol=1e-8)
