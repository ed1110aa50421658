"""livegrad.func against torch.func."""

import doctest
import importlib

import numpy as np
import pytest

import livegrad
from livegrad import func
from livegrad.utils._pytree import tree_leaves

torch = pytest.importorskip("torch")

BOTH = (livegrad, livegrad.func), (torch, torch.func)


def numbers(tree):
    return [np.asarray(x.detach().numpy()) if hasattr(x, "detach") else x for x in tree_leaves(tree)]


def same(program):
    """The program gives the same with both libraries: numbers, or the error's type and text."""
    made = []
    for m, f in BOTH:
        try:
            made.append(program(m, f))
        except Exception as e:
            made.append((type(e), str(e)))
    ours, theirs = made
    if isinstance(ours, tuple) and isinstance(ours[0], type):
        assert ours == theirs
        return
    assert not (isinstance(theirs, tuple) and isinstance(theirs[0], type)), theirs
    ours, theirs = numbers(ours), numbers(theirs)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)


X = [[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]]

DERIVATIVES = {
    "grad": lambda m, f: f.grad(lambda x: (x.sin() * x).sum())(m.tensor(X)),
    "grad of grad": lambda m, f: f.grad(f.grad(lambda x: x.sin()))(m.tensor(0.5)),
    "third": lambda m, f: f.grad(f.grad(f.grad(lambda x: x**4)))(m.tensor(1.5)),
    "argnums": lambda m, f: f.grad(lambda x, y: (x * y).sum(), argnums=(1, 0))(m.tensor([1.0, 2.0]), m.tensor([3.0, 5.0])),
    "aux": lambda m, f: f.grad(lambda x: ((x * x).sum(), x + 1), has_aux=True)(m.tensor(X)),
    "value": lambda m, f: f.grad_and_value(lambda x: (x * x).sum())(m.tensor(X)),
    "value and aux": lambda m, f: f.grad_and_value(lambda x: ((x * x).sum(), x + 1), has_aux=True)(m.tensor(X)),
    "dictionary": lambda m, f: f.grad(lambda p: (p["a"] * p["b"][0]).sum())({"a": m.tensor([1.0, 2.0]), "b": [m.tensor([3.0, 4.0])]}),
    "unused": lambda m, f: f.grad(lambda x, y: x.sum(), argnums=(0, 1))(m.tensor(X), m.tensor(X)),
    "closure": lambda m, f: f.grad(lambda x: f.grad(lambda y: x * y * y)(m.tensor(3.0)) * x)(m.tensor(2.0)),
    "no_grad inside": lambda m, f: f.grad(lambda x: (x * (x * x).detach()).sum())(m.tensor(X)),
    "vjp": lambda m, f: (lambda o, p: (o, p(m.tensor(X))))(*f.vjp(lambda x: x.exp(), m.tensor(X))),
    "vjp of two": lambda m, f: (lambda o, p: (o, p((m.tensor(X), m.tensor(1.0)))))(*f.vjp(lambda x, y: (x * y, y.sum()), m.tensor(X), m.tensor(X))),
    "jvp": lambda m, f: f.jvp(lambda x: x.exp().sum(0), (m.tensor(X),), (m.tensor(X),)),
    "jvp of two": lambda m, f: f.jvp(lambda x, y: (x * y, y.sin()), (m.tensor(X), m.tensor(X)), (m.tensor(X), m.ones(2, 3))),
    "jvp aux": lambda m, f: f.jvp(lambda x: (x.exp(), x), (m.tensor(X),), (m.tensor(X),), has_aux=True),
    "grad of jvp": lambda m, f: f.grad(lambda x: f.jvp(lambda y: y.sin(), (x,), (m.tensor(1.0),))[1])(m.tensor(0.5)),
    "jvp of grad": lambda m, f: f.jvp(f.grad(lambda x: x.sin()), (m.tensor(0.5),), (m.tensor(2.0),)),
    "jacrev": lambda m, f: f.jacrev(lambda x: x.sin() @ x.T)(m.tensor(X)),
    "jacrev aux": lambda m, f: f.jacrev(lambda x: (x.sin(), x), has_aux=True)(m.tensor(X)),
    "jacrev of two": lambda m, f: f.jacrev(lambda x, y: (x * y, x.sum()), argnums=(0, 1))(m.tensor(X), m.tensor(X)),
    "jacfwd": lambda m, f: f.jacfwd(lambda x: x.sin() @ x.T)(m.tensor(X)),
    "jacfwd of two": lambda m, f: f.jacfwd(lambda x, y: {"p": x * y}, argnums=(0, 1))(m.tensor([1.0, 2.0]), m.tensor([0.5, 3.0])),
    "hessian": lambda m, f: f.hessian(lambda x: (x.sin() * x.sum()).sum())(m.tensor([0.5, 1.0, -1.0])),
    "jacrev of jacrev": lambda m, f: f.jacrev(f.jacrev(lambda x: (x**3).sum()))(m.tensor([0.5, 1.0, -1.0])),
    "linearize": lambda m, f: (lambda o, p: (o, p(m.tensor(X))))(*f.linearize(lambda x: x.sin() * 2, m.tensor(X))),
    "not a scalar": lambda m, f: f.grad(lambda x: x)(m.tensor(X)),
    "argnum": lambda m, f: f.grad(lambda x: x.sum(), argnums=2)(m.tensor(X)),
}  # fmt: skip


@pytest.mark.parametrize("name", DERIVATIVES)
def test_derivatives(name):
    same(DERIVATIVES[name])


def norm_loss(m):
    return lambda w, x, y: ((x @ w - y) ** 2).mean()


BATCHES = {
    "dot": lambda m, f: f.vmap(m.dot)(m.tensor(X), m.tensor(X)),
    "in_dims": lambda m, f: f.vmap(m.dot, in_dims=(1, 0))(m.tensor(X), m.tensor(X).T.contiguous()),
    "one for all": lambda m, f: f.vmap(lambda x, y: x * y, in_dims=(0, None))(m.tensor(X), m.tensor([1.0, 2.0, 3.0])),
    "out_dims": lambda m, f: f.vmap(lambda x: (x, x.sum()), out_dims=(1, 0))(m.tensor(X)),
    "nested": lambda m, f: f.vmap(f.vmap(lambda x: x * 2 + x.sin()))(m.tensor(X)),
    "structure": lambda m, f: f.vmap(lambda d: {"s": d["a"] + d["b"][0]}, in_dims=({"a": 0, "b": [1]},))({"a": m.tensor(X), "b": [m.tensor(X).T.contiguous()]}),
    "keyword": lambda m, f: f.vmap(lambda x, y: x + y)(m.tensor(X), y=m.tensor(X)),
    "gradients per example": lambda m, f: f.vmap(f.grad(norm_loss(m)), in_dims=(None, 0, 0))(m.tensor([1.0, 2.0, 3.0]), m.tensor(X), m.tensor([0.5, 1.0])),
    "jacobian by hand": lambda m, f: (lambda o, p: f.vmap(p)(m.eye(3)))(*f.vjp(lambda x: x.sin() * x.sum(), m.tensor([0.5, 1.0, 2.0]))),
    "gradient through": lambda m, f: f.grad(lambda x: f.vmap(lambda r: (r * r).sum())(x).prod())(m.tensor(X)),
    "chunks": lambda m, f: f.vmap(lambda x: x * 2, chunk_size=1)(m.tensor(X)),
    "same numbers": lambda m, f: (lambda r: [r[0] - r[1]])(f.vmap(lambda x: x * 0 + m.rand(3), randomness="same")(m.tensor(X))),
    "sizes": lambda m, f: f.vmap(lambda x, y: x)(m.ones(2), m.ones(3)),
    "random": lambda m, f: f.vmap(lambda x: x + m.rand(3))(m.tensor(X)),
    "no dimension": lambda m, f: f.vmap(lambda x: x)(m.tensor(1.0)),
    "no inputs": lambda m, f: f.vmap(m.sin)(),
    "no such randomness": lambda m, f: f.vmap(m.sin, randomness="x")(m.tensor(X)),
}  # fmt: skip


@pytest.mark.parametrize("name", BATCHES)
def test_batches(name):
    if name in ("no dimension", "no inputs"):  # the text names the function's address, or says more
        with pytest.raises(ValueError, match=r"in_dim=0|no inputs"):
            BATCHES[name](livegrad, func)
    else:
        same(BATCHES[name])


def model(m):
    m.manual_seed(0)
    return m.nn.Sequential(m.nn.Linear(3, 4), m.nn.BatchNorm1d(4), m.nn.Linear(4, 1))


def test_functional_call():
    def program(m, f):
        net = model(m)
        given = {n: p.detach() * 2 for n, p in net.named_parameters()}
        buffers = {n: b.clone() for n, b in net.named_buffers()}
        made = f.functional_call(net, (given, buffers), (m.tensor(X),))
        gradients = f.grad(lambda p: f.functional_call(net.eval(), p, m.tensor(X)).sum())(given)
        return made, gradients, dict(net.named_parameters()), buffers

    same(program)


def test_functional_call_leaves_the_module_as_it_was():
    net = model(livegrad)
    before = dict(net.named_parameters())
    with pytest.raises(ZeroDivisionError):
        func.functional_call(
            livegrad.nn.Sequential(net, Failing()), {"0.0.weight": livegrad.zeros(4, 3)}, livegrad.tensor(X)
        )
    assert all(after is before[name] for name, after in net.named_parameters())
    assert net[0].weight is before["0.weight"]


class Failing(livegrad.nn.Module):
    def forward(self, x):
        raise ZeroDivisionError


def test_functional_call_replaces_tied_weights():
    for m, f in BOTH:
        net = m.nn.Sequential(m.nn.Linear(2, 2, bias=False), m.nn.Linear(2, 2, bias=False))
        net[1].weight = net[0].weight
        made = f.functional_call(net, {"0.weight": m.eye(2) * 3}, m.ones(2))
        assert made.tolist() == [9.0, 9.0]
        with pytest.raises(ValueError, match="tied"):
            f.functional_call(net, {"0.weight": m.eye(2), "1.weight": m.ones(2, 2)}, m.ones(2))


def test_ensembles():
    def program(m, f):
        nets = []
        for seed in range(3):
            m.manual_seed(seed)
            nets.append(m.nn.Linear(3, 2))
        parameters, buffers = f.stack_module_state(nets)
        made = f.vmap(lambda p, b, x: f.functional_call(nets[0], (p, b), (x,)), in_dims=(0, 0, None))(
            parameters, buffers, m.tensor(X)
        )
        made.sum().backward()
        return made, [p.grad for p in parameters.values()]

    same(program)


def test_a_result_is_recorded_where_somebody_outside_needs_it():
    for m, f in BOTH:
        w = m.tensor(2.0, requires_grad=True)
        slope = f.grad(lambda x: w * x * x)(m.tensor(3.0))
        slope.backward()
        assert w.grad.item() == 6.0
        assert not f.grad(lambda x: x * x)(m.tensor(3.0)).requires_grad
        with m.no_grad():
            assert f.grad(lambda x: w * x * x)(m.tensor(3.0)).item() == 12.0
            assert not f.grad(lambda x: w * x * x)(m.tensor(3.0)).requires_grad


def test_nothing_accumulates_in_the_arguments():
    x = livegrad.tensor([1.0, 2.0], requires_grad=True)
    func.grad(lambda v: (v * v).sum())(x)
    assert x.grad is None


@pytest.mark.parametrize("name", ["func", "func.derivatives", "func.batch", "func.modules"])
def test_examples(name):
    assert doctest.testmod(importlib.import_module(f"livegrad.{name}")).failed == 0


def test_functional_call_puts_back_what_was_there_when_it_is_interrupted(monkeypatch):
    nn = livegrad.nn
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    own = dict(net.named_parameters())
    put, calls = nn.Module._put, []

    def interrupted(module, *args):
        calls.append(args)
        if len(calls) in (6, 8):  # four are put in, four are put back
            raise KeyboardInterrupt
        put(module, *args)

    monkeypatch.setattr(nn.Module, "_put", interrupted)
    with pytest.raises(KeyboardInterrupt):
        livegrad.func.functional_call(net, {name: p.detach() * 2 for name, p in own.items()}, livegrad.ones(2))
    assert all(p is own[name] for name, p in net.named_parameters()) and len(calls) == 10
