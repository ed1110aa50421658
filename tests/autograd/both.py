"""Runs one program with PyTorch and with livegrad, and compares what comes out."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import livegrad

torch = pytest.importorskip("torch")


def plain(x):
    """Tensors as (shape, dtype, numbers); everything else as it is."""
    if isinstance(x, (torch.Tensor, livegrad.Tensor)):
        a = x.detach()
        return ["tensor", tuple(a.shape), str(a.dtype).split(".")[-1], np.array(a.numpy()), bool(x.requires_grad)]
    if isinstance(x, (list, tuple)):
        return [plain(y) for y in x]
    if isinstance(x, dict):
        return {k: plain(y) for k, y in x.items()}
    return x


def compare(got, expected, where="result"):
    if isinstance(expected, list):
        assert isinstance(got, list) and len(got) == len(expected), f"{where}: {got!r} is not {expected!r}"
        for i, (g, e) in enumerate(zip(got, expected)):
            compare(g, e, f"{where}[{i}]")
    elif isinstance(expected, dict):
        assert got.keys() == expected.keys()
        for k in expected:
            compare(got[k], expected[k], f"{where}[{k!r}]")
    elif isinstance(expected, (np.ndarray, float)):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6, err_msg=where)
    else:
        assert got == expected, f"{where}: {got!r} is not {expected!r}"


def outcome(program, lib):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return plain(program(lib)), None
        except Exception as e:
            return None, e


def same(program, error=None):
    """The program gives the same with both libraries; or raises the same kind of error in both."""
    expected, wrong_there = outcome(program, torch)
    got, wrong_here = outcome(program, livegrad)
    if error is not None:
        assert wrong_there is not None, f"PyTorch does not raise; gives {expected}"
    if wrong_there is not None:
        assert wrong_here is not None, f"PyTorch raises {wrong_there!r}; here: {got}"
        assert isinstance(wrong_here, type(wrong_there)), f"{wrong_here!r} is not a {wrong_there!r}"
        if error is not None:
            assert error in str(wrong_there), f"PyTorch says: {wrong_there}"
            assert error in str(wrong_here), f"here: {wrong_here}"
        return
    if wrong_here is not None:
        raise wrong_here
    compare(got, expected)


def tree(node, depth=12):
    """The recorded graph from a node: names and outputs, nested. Inputs without history are left out."""
    if node is None:
        return None
    if depth == 0:
        return "..."
    return [node.name().split(":")[-1], [[tree(n, depth - 1), nr] for n, nr in node.next_functions if n is not None]]
