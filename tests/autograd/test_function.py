"""autograd.Function, compared with PyTorch."""

import gc
import weakref

import pytest
from both import same

import livegrad

PROGRAMS = []


def program(f):
    PROGRAMS.append(f)
    return f


def exp_of(t):
    class Exp(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y = x.exp()
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx, g):
            (y,) = ctx.saved_tensors
            return g * y

    return Exp


@program
def saves_its_output(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    y = exp_of(t).apply(x)
    y.sum().backward()
    return x.grad, y, y.grad_fn.name(), y.is_leaf


@program
def twice_differentiated(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    y = exp_of(t).apply(x)
    (g,) = t.autograd.grad(y.sum(), x, create_graph=True)
    (h,) = t.autograd.grad((g * g).sum(), x, create_graph=True)
    return g, h, t.autograd.grad(h.sum(), x)


@program
def saves_its_input_and_attributes(t):
    class Power(t.autograd.Function):
        @staticmethod
        def forward(ctx, x, n):
            ctx.save_for_backward(x)
            ctx.n = n
            return x**n

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * ctx.n * x ** (ctx.n - 1), None

    x = t.tensor([1.0, 2.0], requires_grad=True)
    y = Power.apply(x, 3)
    (g,) = t.autograd.grad(y.sum(), x, create_graph=True)
    (h,) = t.autograd.grad(g.sum(), x)
    return g, h


@program
def several_inputs_and_needs(t):
    needs = []

    class Mul(t.autograd.Function):
        @staticmethod
        def forward(ctx, a, b, c=2.0):
            ctx.save_for_backward(a, b)
            ctx.c = c
            needs.append(ctx.needs_input_grad)
            return a * b * c

        @staticmethod
        def backward(ctx, g):
            a, b = ctx.saved_tensors
            needs.append(ctx.needs_input_grad)
            return (
                g * b * ctx.c if ctx.needs_input_grad[0] else None,
                g * a * ctx.c if ctx.needs_input_grad[1] else None,
                None,
            )

    a = t.tensor([1.0, 2.0], requires_grad=True)
    b = t.tensor([3.0, 4.0])
    Mul.apply(a, b, 5.0).sum().backward()
    Mul.apply(b, a * 2, 5.0).sum().backward()
    return a.grad, needs


@program
def several_outputs(t):
    class Two(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * 2, x * x

        @staticmethod
        def backward(ctx, a, b):
            (x,) = ctx.saved_tensors
            return a * 2 + b * 2 * x

    x = t.tensor([1.0, 2.0], requires_grad=True)
    a, b = Two.apply(x)
    (a * b).sum().backward()
    out = [x.grad.clone(), a.output_nr, b.output_nr]
    x.grad = None
    a, b = Two.apply(x)
    b.sum().backward()
    return out, x.grad


@program
def not_materialized(t):
    seen = []

    class Two(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            return x * 2, x * 3

        @staticmethod
        def backward(ctx, a, b):
            seen.append((a is None, b is None))
            return b * 3

    x = t.tensor([1.0, 2.0], requires_grad=True)
    Two.apply(x)[1].sum().backward()
    return x.grad, seen


@program
def materialized(t):
    seen = []

    class Two(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2, x.double().sum()

        @staticmethod
        def backward(ctx, a, b):
            seen.append((a, b))
            return a * 2

    x = t.tensor([1.0, 2.0], requires_grad=True)
    Two.apply(x)[0].sum().backward()
    return x.grad, seen


@program
def non_differentiable(t):
    class SortIt(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y, places = x.sort()
            mask = (x > 1).float()
            ctx.mark_non_differentiable(places, mask)
            ctx.save_for_backward(places)
            return y, places, mask

        @staticmethod
        def backward(ctx, g, *rest):
            (places,) = ctx.saved_tensors
            return t.zeros_like(g).scatter(0, places, g)

    x = t.tensor([3.0, 1.0, 2.0], requires_grad=True)
    y, places, mask = SortIt.apply(x)
    (y * t.tensor([1.0, 10.0, 100.0])).sum().backward()
    return x.grad, places.requires_grad, mask.requires_grad


@program
def dirty(t):
    class AddOne(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            x.add_(1)
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 5

    x = t.tensor([1.0, 2.0], requires_grad=True)
    h = x * 2
    y = AddOne.apply(h)
    (y * y).sum().backward()
    return x.grad, y is h, h, h.grad_fn.name()


@program
def with_setup_context(t):
    class Cube(t.autograd.Function):
        @staticmethod
        def forward(x, k):
            return x * x * x * k, x * x

        @staticmethod
        def setup_context(ctx, inputs, output):
            x, k = inputs
            ctx.k = k
            ctx.save_for_backward(x)
            ctx.mark_non_differentiable(output[1])

        @staticmethod
        def backward(ctx, g, _):
            (x,) = ctx.saved_tensors
            return 3 * x * x * ctx.k * g, None

    x = t.tensor([1.0, 2.0], requires_grad=True)
    y, square = Cube.apply(x, 2.0)
    (g,) = t.autograd.grad(y.sum(), x, create_graph=True)
    return g, t.autograd.grad(g.sum(), x), square.requires_grad


@program
def none_inputs_and_outputs(t):
    class Maybe(t.autograd.Function):
        @staticmethod
        def forward(ctx, x, bias):
            ctx.save_for_backward(x, bias)
            return x * 2, None

        @staticmethod
        def backward(ctx, g, _):
            x, bias = ctx.saved_tensors
            assert bias is None
            return g * 2, None

    x = t.tensor([1.0, 2.0], requires_grad=True)
    y, nothing = Maybe.apply(x, None)
    y.sum().backward()
    return x.grad, nothing


@program
def returns_its_input(t):
    class Same(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 3

    x = t.tensor([1.0, 2.0], requires_grad=True)
    y = Same.apply(x)
    y.sum().backward()
    return x.grad, y is x, x.is_leaf, y.is_leaf


@program
def returns_a_view_of_its_input(t):
    class Reversed(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.view_as(x)

        @staticmethod
        def backward(ctx, g):
            return -g

    x = t.tensor([1.0, 2.0], requires_grad=True)
    Reversed.apply(x).sum().backward()
    return x.grad


@program
def fewer_dimensions_allowed(t):
    class Broadcast(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.expand(3, 2) * 1

        @staticmethod
        def backward(ctx, g):
            return g

    x = t.tensor([1.0, 2.0], requires_grad=True)
    Broadcast.apply(x).sum().backward()
    return x.grad


@program
def no_grad_around(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    with t.no_grad():
        y = exp_of(t).apply(x)
    return y.requires_grad, y.grad_fn is None


@program
def nothing_requires_grad(t):
    return exp_of(t).apply(t.ones(2)).requires_grad


@program
def forward_does_not_record(t):
    modes = []

    class Look(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            modes.append((t.is_grad_enabled(), x.requires_grad, (x * 2).requires_grad))
            return x * 2

        @staticmethod
        def backward(ctx, g):
            modes.append((t.is_grad_enabled(), g.requires_grad))
            return g * 2

    x = t.ones(2, requires_grad=True)
    Look.apply(x).sum().backward()
    Look.apply(x).sum().backward(create_graph=True)
    x.grad = None
    return modes


@program
def once(t):
    class Half(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @t.autograd.function.once_differentiable
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * 2 * x

    x = t.tensor([1.0, 2.0], requires_grad=True)
    Half.apply(x).sum().backward()
    return x.grad


@program
def inner_backward(t):
    class Inner(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            with t.enable_grad():
                inside = x.detach().requires_grad_()
                y = inside.sin()
            ctx.inside, ctx.y = inside, y
            return y.detach()

        @staticmethod
        def backward(ctx, g):
            (got,) = t.autograd.grad(ctx.y, ctx.inside, g)
            return got

    x = t.tensor([1.0, 2.0], requires_grad=True)
    Inner.apply(x).sum().backward()
    return x.grad


@program
def hooks_on_a_function(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    y = exp_of(t).apply(x)
    y.register_hook(lambda g: g * 2)
    y.grad_fn.register_hook(lambda i, o: (i[0] + 1,))
    y.sum().backward()
    return x.grad


@program
def keyword_next_functions(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    y = exp_of(t).apply(x * 2)
    return [(n.name(), nr) for n, nr in y.grad_fn.next_functions]


@pytest.mark.parametrize("f", PROGRAMS, ids=lambda f: f.__name__)
def test_same(f):
    same(f)


def wrong_number_of_gradients(t):
    class Bad(t.autograd.Function):
        @staticmethod
        def forward(ctx, a, b):
            return a * b

        @staticmethod
        def backward(ctx, g):
            return g

    x = t.ones(2, requires_grad=True)
    Bad.apply(x, x).sum().backward()


def wrong_shape(t):
    class Bad(t.autograd.Function):
        @staticmethod
        def forward(ctx, a):
            return a * 2

        @staticmethod
        def backward(ctx, g):
            return t.ones(5)

    x = t.ones(2, requires_grad=True)
    Bad.apply(x).sum().backward()


def saved_twice(t):
    x = t.ones(2, requires_grad=True)
    y = exp_of(t).apply(x).sum()
    y.backward()
    y.backward()


def once_is_not_twice(t):
    class Half(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @t.autograd.function.once_differentiable
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * 2 * x

    x = t.tensor([1.0, 2.0], requires_grad=True)
    y = Half.apply(x)
    (g,) = t.autograd.grad((y * y).sum(), x, create_graph=True)
    g.sum().backward()


def saved_then_changed(t):
    class Square(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * 2 * x

    x = t.tensor([1.0, 2.0], requires_grad=True)
    h = x * 2
    y = Square.apply(h)
    h += 1
    y.sum().backward()


def no_backward(t):
    class Bad(t.autograd.Function):
        @staticmethod
        def forward(ctx, a):
            return a * 2

    x = t.ones(2, requires_grad=True)
    Bad.apply(x).sum().backward()


def raises_in_backward(t):
    class Bad(t.autograd.Function):
        @staticmethod
        def forward(ctx, a):
            return a * 2

        @staticmethod
        def backward(ctx, g):
            raise KeyError("mine")

    x = t.ones(2, requires_grad=True)
    Bad.apply(x).sum().backward()


@pytest.mark.parametrize(
    ("f", "text"),
    [
        (wrong_number_of_gradients, "returned an incorrect number of gradients (expected 2, got 1)"),
        (wrong_shape, "returned an invalid gradient at index 0 - got [5] but expected shape compatible with [2]"),
        (saved_twice, "Trying to backward through the graph a second time"),
        (once_is_not_twice, "once_differentiable"),
        (saved_then_changed, "has been modified by an inplace operation"),
        (no_backward, "You must implement either the backward or vjp method for your custom autograd.Function"),
        (raises_in_backward, "mine"),
    ],
    ids=lambda f: getattr(f, "__name__", ""),
)
def test_errors(f, text):
    same(f, error=text)


@pytest.mark.parametrize("run_backward", [False, True])
def test_no_reference_cycle(run_backward):
    """A graph of Functions that save inputs, outputs and temporaries is freed without the garbage collector."""

    class Keep(livegrad.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y = x * 2
            ctx.save_for_backward(x, y)
            return y

        @staticmethod
        def backward(ctx, g):
            ctx.saved_tensors  # noqa: B018
            return g * 2

    gc.collect()
    gc.disable()
    try:
        x = livegrad.ones(3, requires_grad=True)
        y = Keep.apply(Keep.apply(x))
        node = weakref.ref(y.grad_fn)
        tensor = weakref.ref(y)
        if run_backward:
            y.sum().backward()
        del y
        assert tensor() is None
        assert node() is None
    finally:
        gc.enable()


def test_saved_output_keeps_what_it_was():
    class Keep(livegrad.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y = x.exp()
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx, g):
            return g * ctx.saved_tensors[0]

    x = livegrad.ones(3, requires_grad=True)
    y = Keep.apply(x)
    y += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation") as info:
        y.sum().backward()
    assert "y += 1" in str(info.value)
    assert "Keep.apply(x)" in str(info.value)


def tripled_of(t, several=False, returned=True):
    class Tripled(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            x.mul_(3)
            return (x, x * 2) if several else x if returned else x * 1

        @staticmethod
        def backward(ctx, g, *rest):
            return g * 3

    return Tripled


CHANGED = {  # (what is asked for, what is changed)
    "a view's base": lambda b: (b, b[0]),
    "a view": lambda b: (b[0],) * 2,
    "another view": lambda b: (b[:2], b[0]),
    "a view of what is changed": lambda b: (b[1], b),
    "views of views": lambda b: (b.t(), b.view(6)),
}
REFUSED = {
    "a view of a leaf": lambda t, leaf: tripled_of(t).apply(leaf[0]),
    "one of several views": lambda t, leaf: tripled_of(t).apply((leaf * 2).split(1)[0]),
    "several results": lambda t, leaf: tripled_of(t, several=True).apply((leaf * 2)[0]),
    "not returned": lambda t, leaf: tripled_of(t, returned=False).apply(leaf * 2),
    "expanded": lambda t, leaf: tripled_of(t).apply((leaf * 2)[:1].expand(3, 2)),
}


@pytest.mark.parametrize("case", CHANGED)
def test_views_of_what_a_function_changes_in_place(case):
    torch = pytest.importorskip("torch")
    found = []
    for t in (torch, livegrad):
        leaf = t.ones(3, 2, requires_grad=True)
        made, changed = CHANGED[case](leaf * 2)
        assert tripled_of(t).apply(changed) is changed
        (made * t.arange(made.numel()).reshape(made.shape)).sum().backward()
        found.append((leaf.grad.tolist(), made.tolist()))
    assert found[0] == found[1]


@pytest.mark.parametrize("case", REFUSED)
def test_changes_in_place_whose_history_cannot_be_told(case):
    modules = [livegrad]
    try:
        import torch
    except ImportError:
        pass
    else:
        modules.append(torch)
    for t in modules:
        with pytest.raises(RuntimeError):
            REFUSED[case](t, t.ones(3, 2, requires_grad=True))
