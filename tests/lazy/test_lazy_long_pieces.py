"""Long pieces on few elements that have no kernel are run operator by operator (see `lazy.evaluate`)."""

import random

import pytest

import livegrad
from livegrad.codegen import kernels
from livegrad.lazy import evaluate

UNARY = ("exp", "sin", "tanh", "abs", "neg")
BINARY = ("add", "mul", "sub", "maximum")


def program(seed, shape):
    """What a chain of a structure of its own gives, with values that somebody holds, and an update in place."""
    choose = random.Random(seed)
    g = livegrad.manual_seed(seed)
    values = [livegrad.rand(shape, generator=g) * 2 - 1 for _ in range(2)]
    held = []
    for k in range(30):
        x = values[-1]
        if choose.random() < 0.5:
            made = getattr(x, choose.choice(UNARY))().clamp(-2, 2)
        else:
            made = getattr(x, choose.choice(BINARY))(choose.choice(values[-4:])).clamp(-2, 2)
        values.append(made)
        if k % 7 == 3:
            held.append(made)
        if k == 20:
            values[-1].mul_(0.5)
        del values[:-5]
    return [values[-1], *held]


@pytest.mark.parametrize("shape", [(), (3,), (4, 1), (0,)])
def test_long_pieces_without_a_kernel_give_what_single_operators_give(shape, monkeypatch):
    lengths = []
    interpret = evaluate.interpret
    monkeypatch.setattr(evaluate, "interpret", lambda piece: lengths.append(len(piece.nodes)) or interpret(piece))
    with kernels.compiling("auto"):
        for seed in range(12):
            made = program(seed, shape)
            with livegrad.eager():
                expected = program(seed, shape)
            for a, b in zip(made, expected, strict=True):
                livegrad.testing.assert_close(a, b)
    assert all(n < evaluate.LONG for n in lengths)
