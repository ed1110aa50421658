"""Sparse gradients of embeddings, and the optimizers that take them, against PyTorch's."""

import numpy as np
import pytest

import livegrad

torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")

BOTH = (livegrad, torch)
WEIGHT = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)


def table(m, **options):
    return m.nn.Embedding.from_pretrained(m.from_numpy(WEIGHT.copy()), freeze=False, sparse=True, **options)


def loss_of(m, layer, rows=((1, 4, 1), (2, 2, 5))):
    out = layer(m.tensor(rows))
    return (out * out.detach().cumsum(-1)).sum()


def same(results, **tolerance):
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), **{"rtol": 1e-5, "atol": 1e-6, **tolerance})


@pytest.mark.parametrize("padding", [None, 2])
def test_gradients_are_sparse(padding):
    results = []
    for m in BOTH:
        layer = table(m, padding_idx=padding)
        loss_of(m, layer).backward()
        g = layer.weight.grad
        assert g.is_sparse and not g.is_coalesced() and tuple(g.shape) == (6, 3)
        first, once = g._indices().tolist(), g.to_dense()
        loss_of(m, layer, ((0, 1),)).backward()
        twice = layer.weight.grad
        assert twice.is_sparse
        (alone,) = m.autograd.grad(loss_of(m, layer), layer.weight)
        assert alone.is_sparse
        results.append(
            (once, twice.to_dense(), alone.to_dense(), m.tensor(first), layer.weight.grad.coalesce().values())
        )
    same(results)


def test_sparse_and_dense_gradients_add_up():
    results = []
    for m in BOTH:
        layer = table(m)
        (loss_of(m, layer) + (layer.weight**2).sum()).backward()
        assert not layer.weight.grad.is_sparse
        loss_of(m, layer).backward()
        other = table(m)
        loss_of(m, other).backward()
        (other.weight * 2).sum().backward()
        results.append((layer.weight.grad, other.weight.grad))
    same(results)


def test_hooks_see_them_and_frequencies_do_not_go_with_them():
    for m in BOTH:
        layer = table(m)
        seen = []
        layer.weight.register_hook(lambda g, seen=seen: seen.append(g.is_sparse))
        loss_of(m, layer).backward()
        assert seen == [True]
        layer.weight.grad = layer.weight.grad.clone()
        layer.zero_grad()
        assert layer.weight.grad is None
        with pytest.raises(RuntimeError, match="scale_grad_by_freq not supported with sparse gradients"):
            loss_of(m, table(m, scale_grad_by_freq=True)).backward()


MAKERS = {
    "SparseAdam": lambda m, p: m.optim.SparseAdam(p, lr=0.05),
    "SparseAdam, up": lambda m, p: m.optim.SparseAdam(p, lr=0.05, betas=(0.5, 0.9), eps=1e-4, maximize=True),
    "SGD": lambda m, p: m.optim.SGD(p, lr=0.1),
    "SGD, momentum": lambda m, p: m.optim.SGD(p, lr=0.1, momentum=0.9),
    "Adagrad": lambda m, p: m.optim.Adagrad(p, lr=0.1),
}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.filterwarnings("ignore")
def test_steps(name):
    results = []
    for m in BOTH:
        layer = table(m)
        optimizer = MAKERS[name](m, layer.parameters())
        for rows in (((1, 4, 1),), ((0, 4),), ((5, 5, 1),)):
            optimizer.zero_grad()
            loss_of(m, layer, rows).backward()
            optimizer.step()
            assert layer.weight.grad.is_sparse
        state = optimizer.state_dict()["state"].get(0) or {}
        results.append([layer.weight, *[state[k] for k in ("exp_avg", "exp_avg_sq", "sum") if k in state]])
        if "step" in state:
            assert float(state["step"]) == 3
    same(results)


@pytest.mark.parametrize("name", ["Adam", "AdamW", "RMSprop", "Adadelta", "NAdam", "RAdam", "Rprop", "Adamax", "ASGD"])
def test_others_refuse_them(name):
    for m in BOTH:
        layer = table(m)
        loss_of(m, layer).backward()
        with pytest.raises(RuntimeError, match="does not support sparse gradients") as error:
            getattr(m.optim, name)(layer.parameters()).step()
        if m is livegrad:
            mine = str(error.value)
        else:
            assert mine == str(error.value)


def test_wrong_options():
    for m in BOTH:
        w = m.nn.Parameter(m.ones(2))
        for options, text in [
            ({"lr": 0.0}, "learning rate"),
            ({"eps": -1.0}, "epsilon"),
            ({"betas": (1.0, 0.5)}, "index 0"),
        ]:
            with pytest.raises(ValueError, match=text):
                m.optim.SparseAdam([w], **options)
        w.sum().backward()
        with pytest.raises(RuntimeError, match="SparseAdam does not support dense gradients, please consider Adam"):
            m.optim.SparseAdam([w]).step()
        with pytest.raises(ValueError, match="Complex params at indices"):
            m.optim.SparseAdam([m.zeros(1, dtype=m.complex64, requires_grad=True)])
        layer = table(m)
        loss_of(m, layer).backward()
        with pytest.raises(RuntimeError, match="weight_decay option is not compatible"):
            m.optim.Adagrad(layer.parameters(), weight_decay=0.1).step()
