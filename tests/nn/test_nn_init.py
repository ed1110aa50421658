"""Initialisers draw PyTorch's numbers, in its order."""

import numpy as np
import pytest
from against_torch import drawn_by_both, numpy, outcome, same, torch

import livegrad

CASES = [
    "uniform_(e(4, 5))", "uniform_(e(4, 5), -2, 3)", "normal_(e(40, 5))", "normal_(e(3), 1, 0.1)",
    "constant_(e(4, 5), 0.3)", "ones_(e(4, 5))", "zeros_(e(4, 5))", "eye_(e(4, 5))", "eye_(e(5, 3))",
    "dirac_(e(3, 3, 3))", "dirac_(e(4, 2, 3, 3), 2)", "dirac_(e(2, 4, 3, 3, 2))", "xavier_uniform_(e(4, 5))",
    "xavier_uniform_(e(4, 5, 3, 3), 2.0)", "xavier_normal_(e(40, 5))", "xavier_normal_(e(4, 5, 3), 0.5)",
    "kaiming_uniform_(e(4, 5))", "kaiming_uniform_(e(4, 5, 3), 0.1, 'fan_out')",
    "kaiming_uniform_(e(4, 5), nonlinearity='tanh')", "kaiming_normal_(e(40, 5))",
    "kaiming_normal_(e(4, 5, 3, 3), mode='fan_out', nonlinearity='relu')", "trunc_normal_(e(40, 5))",
    "trunc_normal_(e(40, 5), 1.0, 2.0, 0.0, 1.5)", "orthogonal_(e(6, 4))", "orthogonal_(e(4, 6), 2.0)",
    "orthogonal_(e(4, 3, 2))", "sparse_(e(10, 4), 0.3)", "kaiming_normal_(e(0, 3))",
]  # fmt: skip


@pytest.mark.parametrize("code", CASES)
@pytest.mark.filterwarnings("ignore:Initializing zero-element")
def test_initialisers(code):
    mine, theirs = drawn_by_both(
        lambda: eval("init." + code, {"init": livegrad.nn.init, "e": livegrad.empty}),
        lambda: eval("init." + code, {"init": torch.nn.init, "e": torch.empty}),
    )
    if "orthogonal" in code:
        same(mine, theirs, rtol=1e-4, atol=1e-5)
    else:
        same(mine, theirs, rtol=3e-7, atol=1e-8)


def test_they_take_a_generator_and_leave_the_graph_alone():
    p = livegrad.nn.Parameter(livegrad.empty(3, 3))
    generator = livegrad.Generator()
    generator.manual_seed(4)
    assert livegrad.nn.init.uniform_(p, generator=generator) is p
    assert p.is_leaf and p.requires_grad
    reference = torch.empty(3, 3).uniform_(generator=torch.Generator().manual_seed(4))
    np.testing.assert_array_equal(numpy(p), numpy(reference))


def test_gains():
    for name, param in [("linear", None), ("conv2d", None), ("sigmoid", None), ("tanh", None), ("relu", None),
                        ("leaky_relu", None), ("leaky_relu", 0.3), ("selu", None)]:  # fmt: skip
        assert livegrad.nn.init.calculate_gain(name, param) == torch.nn.init.calculate_gain(name, param)


WRONG = [
    "kaiming_uniform_(o(3))", "kaiming_uniform_(o(3, 3), mode='x')", "calculate_gain('x')",
    "calculate_gain('leaky_relu', 'a')", "eye_(o(3))", "dirac_(o(3))", "dirac_(o(3, 1, 1), 2)", "orthogonal_(o(3))",
    "sparse_(o(3), 0.1)", "kaiming_normal_(o(0, 3))", "xavier_uniform_(o(3))", "uniform(o(3))",
    "xavier_normal(o(3, 3))", "trunc_normal_(o(2), 9.0)",
]  # fmt: skip


@pytest.mark.parametrize("code", WRONG)
def test_errors_and_warnings_read_as_pytorchs(code):
    mine = outcome(lambda: eval("init." + code, {"init": livegrad.nn.init, "o": livegrad.ones}))
    theirs = outcome(lambda: eval("init." + code, {"init": torch.nn.init, "o": torch.ones}))
    assert mine[1:] == theirs[1:]
