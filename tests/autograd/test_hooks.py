"""Hooks on tensors, leaves and nodes, and retained gradients, compared with PyTorch."""

import importlib

import pytest
from both import same

import livegrad

PROGRAMS = []


def program(f):
    PROGRAMS.append(f)
    return f


@program
def sees_the_gradient(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    seen = []
    y = x * 3
    y.register_hook(lambda g: seen.append(g.clone()))
    (y * y).sum().backward()
    return seen, x.grad


@program
def replaces(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    y = x * 3
    y.register_hook(lambda g: g * 10)
    (y * y).sum().backward()
    return x.grad


@program
def on_a_leaf(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    calls = []

    def hook(g):
        calls.append(g.clone())
        return g + 1

    x.register_hook(hook)
    (x * 2 + x * x).sum().backward()
    return x.grad, calls


@program
def several_in_order(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    order = []
    x.register_hook(lambda g: (order.append("a"), g * 2)[1])
    x.register_hook(lambda g: (order.append("b"), g + 1)[1])
    x.register_hook(lambda g: order.append("c"))
    (x * 2).sum().backward()
    return x.grad, order


@program
def removed(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    handle = x.register_hook(lambda g: g * 100)
    (x * 2).sum().backward()
    handle.remove()
    handle.remove()
    (x * 2).sum().backward()
    return x.grad


@program
def handle_as_context(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    with x.register_hook(lambda g: g * 100):
        (x * 2).sum().backward()
    (x * 2).sum().backward()
    return x.grad


@program
def removes_itself(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    handles = []
    handles.append(x.register_hook(lambda g: handles[0].remove()))
    x.register_hook(lambda g: g * 2)
    (x * 2).sum().backward()
    (x * 2).sum().backward()
    return x.grad


@program
def once_for_a_tensor_used_twice(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    h = x * 2
    calls = []
    h.register_hook(lambda g: calls.append(g.clone()))
    (h * 3 + h.exp() + h).sum().backward()
    return calls, x.grad


@program
def on_one_output_of_several(t):
    x = t.arange(4.0).requires_grad_()
    a, b = x.split(2)
    a.register_hook(lambda g: g * 10)
    (a * 2 + b * 3).sum().backward()
    return x.grad


@program
def on_root(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    y = (x * 2).sum()
    y.register_hook(lambda g: g * 7)
    y.backward()
    return x.grad


@program
def with_grad_function(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    h = x * 2
    h.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: g + 0.5)
    return t.autograd.grad((h * h).sum(), [x])


@program
def with_grad_function_by_the_hooked(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    h = x * 2
    h.register_hook(lambda g: g * 10)
    return t.autograd.grad((h * h).sum(), [h])


@program
def node_prehook_does_not_change_what_is_asked_for(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    h = x * 2
    h.grad_fn.register_prehook(lambda g: (g[0] * 10,))
    return t.autograd.grad((h * h).sum(), [h, x])


@program
def with_create_graph(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    y = x * x
    y.register_hook(lambda g: g * g)
    (g,) = t.autograd.grad((y * y).sum(), x, create_graph=True)
    return g, t.autograd.grad(g.sum(), x)


@program
def grad_mode_in_hooks(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    modes = []
    x.register_hook(lambda g: modes.append((t.is_grad_enabled(), g.requires_grad)))
    (x * x).sum().backward()
    (x * x).sum().backward(create_graph=True)
    x.grad = None
    return modes


@program
def retain(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    h = x * 2
    h.retain_grad()
    k = h * h
    k.retain_grad()
    k.retain_grad()
    k.sum().backward(retain_graph=True)
    first = h.grad.clone()
    k.sum().backward()
    return first, h.grad, k.grad, h.retains_grad


@program
def retain_sees_what_hooks_return(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    h = x * 2
    h.retain_grad()
    h.register_hook(lambda g: g * 10)
    (h * h).sum().backward()
    return h.grad, x.grad


@program
def retain_on_leaf(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    x.retain_grad()
    (x * 2).sum().backward()
    return x.grad, x.retains_grad


@program
def retain_several_outputs(t):
    x = t.arange(4.0).requires_grad_()
    a, b = x.split(2)
    b.retain_grad()
    (a * 2 + b * 3).sum().backward()
    return x.grad, b.grad


@program
def node_hook(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    y = x * 3
    seen = []

    def hook(grad_inputs, grad_outputs):
        seen.append([g for g in grad_inputs if g is not None])
        seen.append(list(grad_outputs))

    y.grad_fn.register_hook(hook)
    (y * y).sum().backward()
    return seen, x.grad


@program
def node_hook_replaces(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    y = x.exp()
    y.grad_fn.register_hook(lambda grad_inputs, grad_outputs: (grad_inputs[0] * 5,))
    y.sum().backward()
    return x.grad


@program
def node_prehook(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    y = x.exp()
    order = []
    y.grad_fn.register_prehook(lambda grads: (order.append("pre"), (grads[0] * 5,))[1])
    y.register_hook(lambda g: order.append("tensor"))
    y.sum().backward()
    return x.grad, order


@program
def node_hook_removed(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    y = x.exp()
    handle = y.grad_fn.register_hook(lambda grad_inputs, grad_outputs: (grad_inputs[0] * 5,))
    handle.remove()
    y.sum().backward()
    return x.grad


@program
def hook_on_accumulate_node(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    node = y.grad_fn.next_functions[0][0]
    seen = []
    node.register_prehook(lambda grads: seen.append(grads[0].clone()))
    node.register_hook(lambda grad_inputs, grad_outputs: seen.append(len(grad_inputs)))
    y.sum().backward()
    return seen, x.grad, node.name().split(":")[-1], node.variable is x


@program
def post_accumulate(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    seen = []

    def hook(p):
        seen.append(p.grad.clone())
        p.grad = None

    handle = x.register_post_accumulate_grad_hook(hook)
    (x * 2).sum().backward()
    (x * 3).sum().backward()
    handle.remove()
    (x * 3).sum().backward()
    return seen, x.grad


@program
def hook_after_in_place(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    seen = []
    y.register_hook(lambda g: seen.append(("before", g.clone())))
    y.mul_(3)
    y.register_hook(lambda g: seen.append(("after", g.clone())))
    y.sum().backward()
    return sorted(seen, key=lambda s: s[0]), x.grad


@program
def retain_after_in_place(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    y.retain_grad()
    y.mul_(3)
    y.sum().backward()
    return y.grad, x.grad


@program
def hook_that_clips(t):
    x = t.tensor([1.0, 20.0], requires_grad=True)
    x.register_hook(lambda g: g.clamp(-1, 1))
    (x * x).sum().backward()
    return x.grad


@pytest.mark.parametrize("f", PROGRAMS, ids=lambda f: f.__name__)
def test_same(f):
    same(f)


def hook_without_grad(t):
    t.ones(2).register_hook(lambda g: g)


def hook_returns_wrong_shape(t):
    x = t.ones(2, requires_grad=True)
    x.register_hook(lambda g: t.ones(3))
    (x * 2).sum().backward()


def hook_raises(t):
    x = t.ones(2, requires_grad=True)
    x.register_hook(lambda g: 1 / 0)
    (x * 2).sum().backward()


def post_accumulate_on_result(t):
    x = t.ones(2, requires_grad=True)
    (x * 2).register_post_accumulate_grad_hook(print)


@pytest.mark.parametrize(
    ("f", "text"),
    [
        (hook_without_grad, "cannot register a hook on a tensor that doesn't require gradient"),
        (hook_returns_wrong_shape, ""),
        (hook_raises, "division by zero"),
        (post_accumulate_on_result, "non-leaf"),
    ],
    ids=lambda f: getattr(f, "__name__", ""),
)
def test_errors(f, text):
    same(f, error=text)


def test_hooks_on_several_tensors():
    torch = pytest.importorskip("torch")
    results = []
    for m in (livegrad, torch):
        seen = []
        register = importlib.import_module(f"{m.__name__}.autograd.graph").register_multi_grad_hook
        a, b, c = (m.full((1,), float(n), requires_grad=True) for n in (1, 2, 3))
        d = a * b

        def all_of_them(grads, seen=seen):
            seen.append([None if g is None else g.item() for g in grads])

        handle = register((a, b, c, d), all_of_them)
        first = register((b, c), lambda g, seen=seen: seen.append("any"), mode="any")
        (d * c).backward(retain_graph=True)
        (d * 2).backward(retain_graph=True)
        (c * 5).backward()
        handle.remove()
        with first:
            (c * 7).backward()
        (c * 7).backward()
        results.append(sorted(map(str, seen)))
        with pytest.raises(ValueError, match="Expects mode to be one of"):
            register((a,), print, mode="x")
    assert results[0] == results[1]


HISTORIES = {
    "of a result": lambda m, x, hang: hang(x * 2).detach_().requires_grad_(),
    "of a leaf": lambda m, x, hang: hang(x).detach_().requires_grad_(),
    "switched off": lambda m, x, hang: hang(x).requires_grad_(False).requires_grad_(),
    "of a second result": lambda m, x, hang: hang(m.var_mean(x, 0)[1]).detach_().requires_grad_(),
}


@pytest.mark.parametrize("name", HISTORIES)
def test_hooks_stay_with_a_tensor_that_loses_its_history(name):
    seen = []
    for m in (livegrad, pytest.importorskip("torch")):
        own = []

        def hang(t, own=own):
            t.register_hook(lambda g: own.append(("first", g.sum().item())))
            removed = t.register_hook(lambda g: own.append(("removed", g.sum().item())))
            if t.is_leaf:
                t.register_post_accumulate_grad_hook(lambda t: own.append(("after", t.grad.sum().item())))
            own.append(removed)
            return t

        x = m.tensor([1.0, 2.0], requires_grad=True)
        t = HISTORIES[name](m, x, hang)
        own.pop(0).remove()
        (t * 3).sum().backward()
        seen.append([*own, t.grad.sum().item()])
    assert seen[0] == seen[1] and len(seen[0]) > 1
