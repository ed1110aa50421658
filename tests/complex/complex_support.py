"""The same program on complex tensors here and in PyTorch: results, dtypes, errors, first and second derivatives."""

import warnings

import numpy as np
import pytest

import livegrad

torch = pytest.importorskip("torch")

Z = [[0.5 + 0.2j, -1.1 + 0.7j], [1.3 - 0.4j, 0.3 + 0.9j]]
W = [[1.5 - 0.3j, 0.4 + 1j], [-0.7 + 0.2j, 2 - 1j]]
R = [[0.5, 2.0], [1.25, -0.75]]


def operands(m, grad=True):
    """Two complex matrices and a real one."""
    return (
        m.tensor(Z, dtype=m.complex128, requires_grad=grad),
        m.tensor(W, dtype=m.complex128, requires_grad=grad),
        m.tensor(R, dtype=m.float64, requires_grad=grad),
    )


def _plain(t):
    return t.detach().resolve_conj().numpy()


def _weighted(m, t):
    """A real number that every part of a tensor enters differently."""
    weight = m.tensor(np.linspace(0.3, 1.7, max(t.numel(), 1)).reshape(tuple(t.shape)), dtype=m.float64)
    return (t * weight * (1 + 0.5j)).real.sum() if t.is_complex() else (t * weight).sum()


def outcome(m, program, order):
    """("error", its type and text) or ("value", results, gradients of the operands up to that order)."""
    given = operands(m, order > 0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = program(m, *given)
    except Exception as error:
        return "error", type(error).__name__, str(error).splitlines()[0]
    parts = list(made) if isinstance(made, (tuple, list)) else [made]
    if not all(hasattr(p, "detach") for p in parts):
        return "value", made, []
    loss = sum(_weighted(m, p) for p in parts if p.requires_grad)
    grads = []
    for k in range(order):
        if not getattr(loss, "requires_grad", False):
            break
        flow = m.autograd.grad(loss, given, create_graph=k + 1 < order, allow_unused=True)
        grads.append([None if g is None else (str(g.dtype), _plain(g)) for g in flow])
        loss = sum(_weighted(m, g * g) for g in flow if g is not None and g.requires_grad)
    return "value", [(str(p.dtype), tuple(p.shape), _plain(p)) for p in parts], grads


def same(program, order=2, tolerance=1e-9):
    """Assert that a program of (library, z, w, r) does the same here and in PyTorch."""
    expected, got = outcome(torch, program, order), outcome(livegrad, program, order)
    if expected[0] == "error" or got[0] == "error":
        assert got[:2] == expected[:2], (got, expected)
        assert got[2].startswith(expected[2]), (got, expected)
        return
    if not isinstance(expected[1], list) or not expected[1] or not isinstance(expected[1][0], tuple):
        assert got[1] == expected[1]
        return
    assert [p[:2] for p in got[1]] == [p[:2] for p in expected[1]]
    for (_, _, a), (_, _, b) in zip(got[1], expected[1]):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    assert len(got[2]) == len(expected[2])
    for mine, its in zip(got[2], expected[2]):
        for a, b in zip(mine, its):
            if a is None or b is None:  # PyTorch has zeros where we know that nothing flows, or the other way round
                assert not np.any((a or b or ("", 0))[1])
                continue
            assert a[0] == b[0]
            np.testing.assert_allclose(a[1], b[1], rtol=tolerance, atol=tolerance)
