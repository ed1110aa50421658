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


@pytest.mark.parametrize("reentrant", [True, False])
def test_computes_again(reentrant):
    calls = []

    def part(x):
        calls.append(livegrad.is_grad_enabled())
        return x.exp().exp()

    x = livegrad.ones(2, requires_grad=True)
    y = checkpoint_of(livegrad)(part, x, use_reentrant=reentrant)
    assert calls == [not reentrant]
    y.sum().backward()
    assert calls == [not reentrant, True]


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


def test_gradients_of_what_is_no_argument():
    def program(t):
        x = t.tensor([0.5, -1.0], requires_grad=True)
        w = t.tensor([2.0, 3.0], requires_grad=True)
        y = checkpoint_of(t)(lambda a: (a * w).sin(), x, use_reentrant=False)
        return t.autograd.grad((y * w).sum(), [w, x])

    same(program)


def test_a_parameter_inside_and_outside_is_accumulated_once():
    def program(t):
        seen = []
        w = t.tensor([2.0, 3.0], requires_grad=True)
        w.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.tolist()))
        y = checkpoint_of(t)(lambda a: (a * w).sin(), t.tensor([0.5, -1.0]), use_reentrant=False)
        (y * w).sum().backward()
        return t.tensor(seen)

    same(program)


def test_passes_one_after_the_other():
    def program(t):
        x = t.tensor([0.5, -1.0], requires_grad=True)
        w = t.tensor([2.0, 3.0], requires_grad=True)
        y = checkpoint_of(t)(lambda a: ((a * w).sin() * a, a.exp()), x, use_reentrant=False)
        first = t.autograd.grad(y[0].sum(), x, retain_graph=True)[0]
        second = t.autograd.grad(y[1].sum(), x, retain_graph=True)[0]
        (y[0] * y[1]).sum().backward(retain_graph=True)
        (y[0] + y[1]).sum().backward()
        return first, second, x.grad, w.grad

    same(program)


def test_layers():
    def program(t):
        t.manual_seed(0)
        nn = t.nn
        model = nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.3), nn.Linear(36, 8),
            nn.LayerNorm(8), nn.GELU(), nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0),
        )  # fmt: skip
        x = t.randn(3, 2, 8, 8)
        y = checkpoint_of(t)(model, x, use_reentrant=False)
        loss = t.nn.functional.cross_entropy(y, t.tensor([1, 0, 7]))
        loss.backward()
        return loss, *[p.grad for p in model.parameters()]

    same(program)


def test_autocast_is_the_same_again():
    def program(t):
        w = t.full((3, 2), 0.3, requires_grad=True)
        with t.autocast("cpu"):
            y = checkpoint_of(t)(lambda a: (a @ w).exp(), t.ones(4, 3), use_reentrant=False)
        y.float().sum().backward()
        return y, w.grad

    same(program)


def test_a_function_that_does_something_else():
    calls = []

    def part(x):
        calls.append(0)
        return x.exp() * x.sin() if len(calls) == 1 else x * 2

    x = livegrad.ones(2, requires_grad=True)
    y = checkpoint_of(livegrad)(part, x, use_reentrant=False)
    with pytest.raises(livegrad.utils.checkpoint.CheckpointError, match="different number of tensors"):
        y.sum().backward()


def test_which_way_has_to_be_said():
    with pytest.warns(UserWarning, match="use_reentrant parameter should be passed explicitly"):
        checkpoint_of(livegrad)(livegrad.exp, livegrad.ones(2, requires_grad=True))


def test_what_is_computed_again_is_compared():
    torch = pytest.importorskip("torch")
    for m in (livegrad, torch):
        checkpoint = m.utils.checkpoint.checkpoint
        sizes = iter((2, 3, 2, 3))

        def changing(x, m=m, sizes=sizes):
            return (x.exp() * x.new_ones(next(sizes), 1).exp().requires_grad_()).sum()

        with pytest.raises(m.utils.checkpoint.CheckpointError, match="have different metadata than during the forward"):
            checkpoint(changing, m.ones(1, requires_grad=True), use_reentrant=False).backward()
        with pytest.raises(ValueError, match=r"determinism_check should be one of \['default', 'none'\], but got x"):
            checkpoint(changing, m.ones(1), use_reentrant=False, determinism_check="x")


def test_running_again_stops_early_or_not():
    torch = pytest.importorskip("torch")
    counts = []
    for m in (livegrad, torch):
        checkpoint, early = m.utils.checkpoint.checkpoint, m.utils.checkpoint.set_checkpoint_early_stop
        for how in ("default", "call", "block", "block against the call"):
            ends = []

            def function(x, ends=ends):
                y = x.exp().sin() + 1
                ends.append(1)
                return y

            x = m.ones(2, requires_grad=True)
            options = {"early_stop": how != "call"}
            with early(how == "block against the call") if "block" in how else m.enable_grad():
                out = checkpoint(function, x, use_reentrant=False, **options)
            out.sum().backward()
            counts.append(len(ends))
    assert counts[:4] == counts[4:] == [1, 2, 2, 1]


def test_helpers_of_checkpointing():
    torch = pytest.importorskip("torch")
    for m in (livegrad, torch):
        c = m.utils.checkpoint
        assert c.get_device_states(m.ones(1), 2) == ([], [])
        c.set_device_states([], [])
        x = m.ones(1, requires_grad=True)
        (y, n) = c.detach_variable((x * 2, 3))
        assert y.is_leaf and y.requires_grad and n == 3
        with pytest.raises(RuntimeError, match="Only tuple of tensors is supported"):
            c.detach_variable([x])
        with pytest.warns(UserWarning, match="None of the inputs have requires_grad=True"):
            c.check_backward_validity([m.ones(1)])
        a, b = c.noop_context_fn()
        with a, b:
            pass


def test_selective_contexts_give_the_same_gradients():
    from functools import partial

    from livegrad.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

    x = livegrad.tensor([0.5, 1.5], requires_grad=True)
    contexts = partial(create_selective_checkpoint_contexts, lambda *_: CheckpointPolicy.MUST_SAVE)
    checkpoint(lambda t: t.exp().sin().square(), x, use_reentrant=False, context_fn=contexts).sum().backward()
    y = x.detach().clone().requires_grad_()
    y.exp().sin().square().sum().backward()
    assert x.grad.tolist() == y.grad.tolist()
    with pytest.raises(TypeError, match="list of ops"):
        create_selective_checkpoint_contexts(3)


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("named", [True, False])
def test_arguments_that_were_changed_in_place_are_refused(reentrant, named):
    x, k = livegrad.ones(3, requires_grad=True), livegrad.ones(3)
    how = ((x,), {"k": k}) if named else ((x, k), {})
    y = checkpoint_of(livegrad)(lambda x, k: (x * k).sin() * k, *how[0], use_reentrant=reentrant, **how[1])
    k.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
