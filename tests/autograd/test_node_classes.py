"""Programs that draw graphs read the names of nodes' classes, as PyTorch has a class for each kind of node."""

import livegrad


def kinds(t):
    return [type(t.grad_fn).__name__, *(type(n).__name__ for n, _ in t.grad_fn.next_functions)]


def test_classes_are_called_as_nodes_are():
    x = livegrad.ones(2, 2, requires_grad=True)
    layer = livegrad.nn.Linear(2, 2)
    assert kinds(x + 1) == ["AddBackward0", "AccumulateGrad", "NoneType"]
    assert kinds(x @ x) == ["MmBackward0", "AccumulateGrad", "AccumulateGrad"]
    assert kinds(layer(x)) == ["AddmmBackward0", "AccumulateGrad", "AccumulateGrad", "TBackward0"]
    assert kinds((x * 2)[0, 0]) == ["SelectBackward0", "SelectBackward0"]


def test_of_a_users_function():
    class Double(livegrad.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2

    assert kinds(Double.apply(livegrad.ones(2, requires_grad=True))) == ["DoubleBackward", "AccumulateGrad"]


def test_a_node_that_was_seen_goes_backward_all_the_same():
    x = livegrad.tensor([1.0, 2.0], requires_grad=True)
    y = ((x * 3).exp() @ x).sum()
    seen, waiting = [], [y.grad_fn]
    while waiting:
        node = waiting.pop()
        seen.append(node)
        waiting += [n for n, _ in node.next_functions if n is not None]
    assert all(type(n).__name__ == n.name() for n in seen)
    y.backward(create_graph=True)
    first = x.grad.detach().clone()
    x.grad = None
    ((x * 3).exp() @ x).sum().backward()
    assert livegrad.equal(first, x.grad)


def test_nodes_of_a_kind_share_a_class():
    x = livegrad.ones(2, requires_grad=True)
    assert type((x * 2).grad_fn) is type((x * 3).grad_fn)
    assert isinstance((x * 2).grad_fn, livegrad.autograd.graph.Node)
