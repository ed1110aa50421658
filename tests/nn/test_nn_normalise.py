"""Normalisation as one step of the graph: results and gradients as in PyTorch, with every combination of operands."""

from __future__ import annotations

import numpy as np
import pytest

import livegrad
import livegrad.nn.functional as F
from livegrad.autograd.gradcheck import gradcheck, gradgradcheck

torch = pytest.importorskip("torch")
TF = torch.nn.functional

# Name, shape of the input, shape of weight and bias, the call.
CASES = [
    ("layer", (4, 65), (65,), lambda f, x, w, b: f.layer_norm(x, (65,), w, b)),
    ("layer two dimensions", (3, 5, 9), (5, 9), lambda f, x, w, b: f.layer_norm(x, (5, 9), w, b)),
    ("layer few long rows", (1, 100_000), (100_000,), lambda f, x, w, b: f.layer_norm(x, (100_000,), w, b)),
    ("batch matrix", (7, 70), (70,), lambda f, x, w, b: f.batch_norm(x, None, None, w, b, True)),
    ("batch images", (5, 3, 9, 33), (3,), lambda f, x, w, b: f.batch_norm(x, None, None, w, b, True)),
    ("instance", (2, 3, 40), (3,), lambda f, x, w, b: f.instance_norm(x, None, None, w, b)),
    ("group", (2, 6, 9, 8), (6,), lambda f, x, w, b: f.group_norm(x, 2, w, b)),
    ("group of all", (5, 8, 16), (8,), lambda f, x, w, b: f.group_norm(x, 1, w, b)),
    ("rms", (3, 2, 130), (130,), lambda f, x, w, b: f.rms_norm(x, (130,), w)),
]


def _both(array, dtype):
    t = torch.tensor(array).to(getattr(torch, dtype))
    return livegrad.tensor(array).to(getattr(livegrad, dtype)).requires_grad_(), t.requires_grad_()


@pytest.mark.parametrize("how", ["always", "never"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("operands", ["", "w", "wb", "b"])
@pytest.mark.parametrize("case", CASES, ids=lambda c: c[0])
def test_as_in_pytorch(case, operands, dtype, how):
    name, shape, affine, call = case
    if name.startswith("group") and operands == "b":
        pytest.skip("PyTorch's backward fails there")
    if name == "rms" and "b" in operands:
        pytest.skip("it has no bias")
    rng = np.random.default_rng(0)
    ours, theirs = zip(*[_both(rng.normal(size=s), dtype) for s in (shape, *(affine for _ in operands))])
    g = rng.normal(size=shape)
    made = []
    for f, tensors in ((F, ours), (TF, theirs)):
        weight = tensors[1] if "w" in operands else None
        bias = tensors[-1] if "b" in operands else None
        with livegrad.compiling(how):
            y = call(f, tensors[0], weight, bias)
            (y * (_both(g, dtype)[0 if f is F else 1].detach())).sum().backward()
        made.append([y.detach(), *(t.grad for t in tensors)])
    rtol = {"float32": 3e-5, "float64": 1e-9, "bfloat16": 3e-2}[dtype]
    for a, b in zip(*made):
        assert str(a.dtype) == str(b.dtype)
        b = b.double().numpy()
        np.testing.assert_allclose(a.double().numpy(), b, rtol, rtol * max(1.0, np.abs(b).max()))


def test_one_node_with_pytorchs_name():
    x, t = _both(np.random.default_rng(0).normal(size=(2, 6, 5, 5)), "float32")
    for (_, _, _, call), affine in ((CASES[4], 6), (CASES[6], 6)):
        w, tw = _both(np.ones(affine), "float32")
        assert call(F, x, w, w).grad_fn.name() == call(TF, t, tw, tw).grad_fn.name()
    assert F.layer_norm(x, (5,)).grad_fn.name() == TF.layer_norm(t, (5,)).grad_fn.name()


def test_can_be_differentiated_twice():
    rng = np.random.default_rng(0)
    x, w, b = (livegrad.tensor(rng.normal(size=s)).requires_grad_() for s in ((2, 4, 3), (4,), (4,)))
    last = livegrad.tensor(rng.normal(size=3)).requires_grad_()
    for call, inputs in (
        (lambda x, w, b: F.batch_norm(x, None, None, w, b, True), (x, w, b)),
        (lambda x, w, b: F.group_norm(x, 2, w, b), (x, w, b)),
        (lambda x, w: F.layer_norm(x, (3,), w), (x, last)),
        (lambda x: F.layer_norm(x, (3,)), (x,)),
        (lambda x, w: F.rms_norm(x, (3,), w), (x, last)),
        (lambda x: x.softmax(1), (x,)),
        (lambda x: x.log_softmax(1), (x,)),
        (lambda x: x.logsumexp((0, 2)), (x,)),
        (lambda x: x.var((0, 1)), (x,)),
    ):
        assert gradcheck(call, inputs)
        assert gradgradcheck(call, inputs)


@pytest.mark.parametrize("shape", [(6, 5), (3, 5, 2, 4)])
@pytest.mark.parametrize(
    "options", [{}, {"reduction": "sum"}, {"reduction": "none"}, {"ignore_index": 2}, {"weight": 1}]
)
def test_cross_entropy_and_its_gradient(shape, options):
    rng = np.random.default_rng(0)
    array = rng.normal(size=shape) * 30 + 1000  # large: what is subtracted must not cost digits
    target = rng.integers(0, 5, (shape[0], *shape[2:]))
    weights = rng.uniform(0.5, 2, 5)
    made = []
    for library, f in ((livegrad, F), (torch, TF)):
        x = library.tensor(array.astype(np.float32)).requires_grad_()
        own = dict(options)
        if "weight" in own:
            own["weight"] = library.tensor(weights.astype(np.float32))
        loss = f.cross_entropy(x, library.tensor(target), **own)
        loss.sum().backward()
        made.append((loss.detach().numpy(), x.grad.numpy()))
    for a, b in zip(*made):
        np.testing.assert_allclose(a, b, 1e-5, 1e-6)


def test_cross_entropy_can_be_differentiated_twice():
    x = livegrad.tensor(np.random.default_rng(0).normal(size=(4, 3))).requires_grad_()
    target = livegrad.tensor([0, 2, 1, 1])
    for options in ({}, {"reduction": "none"}, {"ignore_index": 1}):
        assert gradgradcheck(lambda x, o=options: F.cross_entropy(x, target, **o), (x,))
