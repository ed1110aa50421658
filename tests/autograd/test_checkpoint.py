"""utils.checkpoint, compared with PyTorch and with the same program without it."""

import importlib

import numpy as np
import pytest
from both import same

import livegrad


def checkpoint_of(t):
    return importlib.import_module(t.__name__ + ".utils.checkpoint").checkpoint


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradients(reentrant):
    def program(t):
        x = t.tensor([0.5, -1.0], requires_grad=True)
        w = t.tensor([2.0, 3.0], requires_grad=True)
        y = checkpoint_of(t)(lambda a, k: (a * w).sin().exp() * k, x, 3.0, use_reentrant=reentrant)
        (y * y).sum().backward()
        return y, x.grad, w.grad

    same(program)


def test_only_the_parameters_need_gradients():
    def program(t):
        x = t.tensor([0.5, -1.0])
        w = t.tensor([2.0, 3.0], requires_grad=True)
        y = checkpoint_of(t)(lambda a: (a * w).exp(), x, use_reentrant=False)
        y.sum().backward()
        return w.grad

    same(program)


def test_random_numbers_are_the_same_again():
    def program(t):
        t.manual_seed(3)
        x = t.ones(1000, requires_grad=True)
        y = checkpoint_of(t)(lambda a: t.nn.functional.dropout(a, 0.5) * a, x, use_reentrant=False)
        after = t.rand(3)
        y.sum().backward()
        kept = (y.detach() != 0) == (x.grad != 0)
        return y, x.grad, after, t.rand(3), kept.all().item()

    same(program)


def test_several_inputs_outputs_and_none():
    def program(t):
        x = t.tensor([0.5, -1.0], requires_grad=True)
        z = t.tensor([1.5, 2.0], requires_grad=True)

        def part(a, nothing, b):
            assert nothing is None
            return a * b, (a + b).exp()

        p, q = checkpoint_of(t)(part, x, None, z, use_reentrant=False)
        (p * q).sum().backward()
        return x.grad, z.grad

    same(program)


def test_one_inside_the_other():
    def program(t):
        check = checkpoint_of(t)
        x = t.tensor([0.5, -1.0], requires_grad=True)
        y = check(lambda a: check(lambda b: b.sin().exp(), a * 2, use_reentrant=False) * a, x, use_reentrant=False)
        y.sum().backward()
        return x.grad

    same(program)


def test_sequential():
    def program(t):
        module = importlib.import_module(t.__name__ + ".utils.checkpoint")
        x = t.tensor([0.5, -1.0], requires_grad=True)
        steps = [lambda a: a.sin(), lambda a: a.exp(), lambda a: a * a, lambda a: a + 1, lambda a: a.tanh()]
        y = module.checkpoint_sequential(steps, 2, x, use_reentrant=False)
        y.sum().backward()
        return x.grad

    same(program)


def test_computes_again():
    calls = []

    def part(x):
        calls.append(livegrad.is_grad_enabled())
        return x.exp().exp()

    x = livegrad.ones(2, requires_grad=True)
    y = checkpoint_of(livegrad)(part, x, use_reentrant=False)
    assert calls == [False]
    y.sum().backward()
    assert calls == [False, True]


@pytest.mark.parametrize("leaves", ["arguments", "arguments and own"])
def test_second_derivatives_go_through(leaves):
    found = []
    for lib, run in ((livegrad, livegrad.utils.checkpoint.checkpoint), (livegrad, lambda f, t, **_: f(t))):
        a = lib.tensor([2.0, 3.0], dtype=lib.float64, requires_grad=True)
        x = lib.tensor([1.0, 0.5], dtype=lib.float64, requires_grad=True)
        w = lib.tensor([0.5, -1.0], dtype=lib.float64, requires_grad=True)
        own = w if leaves != "arguments" else w.detach()
        y = run(lambda t, own=own: t.sin() * t * own, x * a, use_reentrant=False)
        (g,) = lib.autograd.grad((y * a * a).sum(), x, create_graph=True)
        w.grad = None
        (g * g).sum().backward()
        found.append((g.tolist(), a.grad.tolist(), x.grad.tolist()))
    for mine, plain in zip(*found):
        np.testing.assert_allclose(mine, plain, rtol=1e-12)


def test_recorded_backward_accumulates_in_the_functions_own_parameters():
    x = livegrad.tensor([1.0, 0.5], requires_grad=True)
    w = livegrad.tensor([0.5, -1.0], requires_grad=True)
    livegrad.utils.checkpoint.checkpoint(lambda t: (t * w).exp(), x, use_reentrant=False).sum().backward(
        create_graph=True
    )
    assert livegrad.allclose(w.grad, x * (x * w).exp())
    assert livegrad.allclose(x.grad, w * (x * w).exp())
