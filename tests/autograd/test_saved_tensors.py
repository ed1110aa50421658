"""Functions that pack what the graph keeps for the backward pass."""

import doctest

import numpy as np
import pytest

import livegrad
from livegrad.autograd import graph


class Cube(livegrad.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * g * x * x


PROGRAMS = {
    "elementwise": lambda x, w: (x * x.exp()).tanh(),
    "product": lambda x, w: x @ w,
    "softmax": lambda x, w: x.softmax(1) * x,
    "function": lambda x, w: Cube.apply(x),
    "layers": lambda x, w: livegrad.nn.functional.layer_norm((x @ w).relu(), (2,)),
    "indexing": lambda x, w: x[livegrad.tensor([0, 2])].cumprod(0),
    "sorted": lambda x, w: x.sort(dim=1, descending=True).values.square(),
}


def tensors():
    livegrad.manual_seed(0)
    return livegrad.randn(3, 4, requires_grad=True), livegrad.randn(4, 2, requires_grad=True)


def through_numpy(log):
    return graph.saved_tensors_hooks(lambda t: log.append(t.shape) or t.numpy().copy(), livegrad.from_numpy)


@pytest.mark.parametrize("name", PROGRAMS)
def test_gradients_are_the_same(name):
    program, log = PROGRAMS[name], []
    plain, packed = tensors(), tensors()
    program(*plain).square().sum().backward()
    with through_numpy(log):
        made = program(*packed).square().sum()
    made.backward()
    assert log
    for a, b in zip(plain, packed):
        assert (a.grad is None) == (b.grad is None)
        if a.grad is not None:
            livegrad.testing.assert_close(a.grad, b.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", PROGRAMS)
def test_gradients_of_gradients(name):
    program = PROGRAMS[name]
    found = []
    for block in (lambda: livegrad.enable_grad(), lambda: through_numpy([])):
        x, w = tensors()
        with block():
            made = program(x, w).square().sum()
            (g,) = livegrad.autograd.grad(made, x, create_graph=True)
            g.square().sum().backward()
        found.append(x.grad)
    livegrad.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


def test_going_backward_twice():
    x, w = tensors()
    with graph.save_on_cpu():
        made = (x @ w).exp().sum()
    made.backward(retain_graph=True)
    first = x.grad.clone()
    made.backward()
    livegrad.testing.assert_close(x.grad, 2 * first)
    with pytest.raises(RuntimeError, match="second time"):
        made.backward()


def test_the_innermost_functions_count():
    outer, inner = [], []
    x = livegrad.ones(2, requires_grad=True)
    with graph.saved_tensors_hooks(lambda t: outer.append(t) or t, lambda t: t):
        with graph.saved_tensors_hooks(lambda t: inner.append(t) or t, lambda t: t):
            y = x.exp()
        z = y.exp()
    w = z.exp()
    assert (len(outer), len(inner)) == (1, 1)
    w.sum().backward()
    assert x.grad is not None


def test_what_is_not_needed_is_not_packed():
    log = []
    x = livegrad.ones(2, requires_grad=True)
    with graph.saved_tensors_hooks(lambda t: log.append(t) or t, lambda t: t):
        x + 1
        with livegrad.no_grad():
            x * x
    assert not log


def test_what_comes_back_is_looked_at():
    x = livegrad.ones(2, requires_grad=True)
    with graph.saved_tensors_hooks(lambda t: t, lambda t: 3):
        y = x.exp().sum()
    with pytest.raises(TypeError, match="expected to be a Tensor but got result of type int"):
        y.backward()
    with graph.saved_tensors_hooks(lambda t: t, lambda t: t.double()):
        y = x.exp().sum()
    with pytest.raises(RuntimeError, match="float64"):
        y.backward()


def test_what_was_packed_survives_changes_in_place():
    x = livegrad.tensor([1.0, 2.0], requires_grad=True)
    y = x * 1
    with graph.saved_tensors_hooks(lambda t: t.numpy().copy(), livegrad.from_numpy):
        z = (y * y).sum()
    y.detach().zero_()
    z.backward()
    assert x.grad.tolist() == [2.0, 4.0]


def test_packed_values_are_let_go():
    class Held(np.ndarray):
        alive = 0

    def pack(t):
        Held.alive += 1
        made = t.numpy().copy().view(Held)
        import weakref

        weakref.finalize(made, lambda: setattr(Held, "alive", Held.alive - 1))
        return made

    x = livegrad.ones(2, requires_grad=True)
    with graph.saved_tensors_hooks(pack, lambda a: livegrad.from_numpy(np.asarray(a))):
        y = (x.exp() @ x.exp()).sum()
    assert Held.alive
    y.backward()
    assert Held.alive == 0


def test_refusing_such_blocks():
    with graph.disable_saved_tensors_hooks("not here"), pytest.raises(RuntimeError, match="not here"):
        graph.save_on_cpu().__enter__()
    with graph.save_on_cpu(), pytest.raises(RuntimeError, match="not here"):
        graph.disable_saved_tensors_hooks("not here").__enter__()


def test_edges_and_versions():
    x = livegrad.ones(2, requires_grad=True)
    y = x * 2
    edge = graph.get_gradient_edge(y)
    assert edge.node is y.grad_fn and edge.output_nr == 0
    assert graph.get_gradient_edge(x).node.variable is x
    with pytest.raises(RuntimeError, match="does not require"):
        graph.get_gradient_edge(livegrad.ones(1))
    z = y.exp().exp()
    graph.increment_version(y)
    assert y._version == 1
    z.sum().backward()


def test_examples():
    assert doctest.testmod(graph).failed == 0


def test_a_node_gives_what_it_keeps():
    a, b = livegrad.rand(3, requires_grad=True), livegrad.rand(3, requires_grad=True)
    product = a * b
    assert product.grad_fn._saved_self is a and product.grad_fn._saved_other is b
    result = a.exp()
    assert result.grad_fn._saved_result.equal(result)
    assert (a @ b.exp()).grad_fn._saved_mat2.grad_fn.name() == "ExpBackward0"
    assert livegrad.nn.functional.leaky_relu(a, 0.25).grad_fn._saved_negative_slope == 0.25
    assert [name for name in dir(product.grad_fn) if name.startswith("_saved_")] == ["_saved_other", "_saved_self"]
    with pytest.raises(AttributeError, match="it keeps _saved_self, _saved_other"):
        product.grad_fn._saved_weight  # noqa: B018
    with pytest.raises(AttributeError, match="object has no attribute 'kept_else'"):
        product.grad_fn.kept_else  # noqa: B018
    product.sum().backward()
    with pytest.raises(RuntimeError, match="a second time"):
        product.grad_fn._saved_self  # noqa: B018
    assert not any(name.startswith("_saved_") for name in dir(product.grad_fn))


@pytest.mark.parametrize("exponent", [2, 3, 0.5, -1, 2.5])
def test_a_power_tells_its_exponent(exponent):
    for lib in (livegrad, pytest.importorskip("torch")):
        x = lib.ones(2, requires_grad=True)
        node = (x**exponent).grad_fn
        assert node._saved_exponent == exponent


def test_writes_through_data_are_not_seen_by_gradients():
    x, w = livegrad.ones(2, 2, requires_grad=True), livegrad.full((2, 2), 3.0, requires_grad=True)
    y = (x * x + x @ w).sum()
    x.data.add_(1)
    w.data = livegrad.zeros(2, 2)
    y.backward()
    assert x.grad.tolist() == [[8.0, 8.0]] * 2 and w.grad.tolist() == [[2.0, 2.0]] * 2


def test_a_node_gives_what_was_packed():
    a, w = livegrad.rand(2, 3, requires_grad=True), livegrad.rand(3, 2, requires_grad=True)
    with graph.saved_tensors_hooks(lambda t: t.detach().numpy(), lambda array: livegrad.from_numpy(array) + 1):
        node, product = (a.exp() * 3).grad_fn.next_functions[0][0], (a @ w).grad_fn
    assert node._saved_result.allclose(a.exp() + 1)
    assert product._saved_mat2.allclose(w + 1)


CHANGES = [
    "y = x.exp(); z = (y * y).sum(); y.zero_()",
    "y = x @ w; z = (y @ w).tanh().sum(); y.add_(1); w.mul_(2)",
    "y = x.tanh(); z = (y ** 3).sum(); y.fill_(2)",
    "y = w * 1; z = (x * y).sum(); y.copy_(x.detach()); z = z + (x * y).sum()",
]


@pytest.mark.parametrize("code", CHANGES)
def test_changes_in_place_of_what_is_needed_may_be_allowed(code):
    grads = []
    for lib in (livegrad, pytest.importorskip("torch")):
        x = lib.arange(6.0).reshape(3, 2).div(6).requires_grad_()
        names = {"x": x, "w": lib.tensor([[1.0, 2.0], [-1.0, 0.5]])[[0, 1, 1][: 2 if "@" in code else 3]]}
        with lib.autograd.graph.allow_mutation_on_saved_tensors() as block:
            exec(code, names)
            names["z"].backward()
            block.clear()
        grads.append(x.grad.tolist())
    for mine, its in zip(*grads):
        assert mine == pytest.approx(its, rel=1e-6)


def test_changes_of_parts_are_allowed_as_well():
    x = livegrad.arange(6.0).reshape(3, 2).requires_grad_()
    with graph.allow_mutation_on_saved_tensors():
        y = x.clone()
        z = (y[:, 0] * y[:, 1]).sum() + y.square().sum()
        y[0] = 7
        y[1:].fill_(2)
    z.backward()
    assert x.grad.tolist() == (x.flip(1) + 2 * x).tolist()


def test_changes_are_errors_again_after_the_block():
    x = livegrad.ones(2, requires_grad=True)
    y = x.exp()
    z = y.sum()
    with graph.allow_mutation_on_saved_tensors():
        with pytest.raises(RuntimeError, match="cannot be nested"), graph.allow_mutation_on_saved_tensors():
            pass
        y.add_(1)
    z.backward()
    assert x.grad.tolist() == pytest.approx([2.718281828] * 2)
    y = x.exp()
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
