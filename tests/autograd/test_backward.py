"""backward and grad, compared with PyTorch."""

import pytest
from both import same

PROGRAMS = []


def program(f):
    PROGRAMS.append(f)
    return f


@program
def accumulates(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    (x * 3).sum().backward()
    first = x.grad
    (x * x).sum().backward()
    return x.grad, first is x.grad, first


@program
def recorded_gradients_of_leaves_are_their_own(t):
    """A recorded gradient may be a view of one number, or shared by two leaves: each leaf gets a copy."""
    x = t.tensor([1.0, 2.0, 2.0], requires_grad=True)
    x.sum().backward(create_graph=True)
    (x[:1] * 4).sum().backward()
    a, b = (t.ones(2, requires_grad=True) for _ in range(2))
    (a + b).backward(t.tensor([1.0, 2.0]), create_graph=True)
    with t.no_grad():
        a.grad.add_(10)
    return x.grad, a.grad, b.grad


@program
def what_is_named_in_inputs_retains_its_gradient(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    y, z = x * 2, x * 3
    y.sum().backward(inputs=[y, z], retain_graph=True)
    first = y.grad.clone(), z.grad, x.grad
    (y * z).sum().backward()
    return first, y.grad, z.grad, x.grad, y.retains_grad


@program
def a_leaf_that_is_detached_in_place_keeps_its_gradient(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    (x * 3).sum().backward()
    x.detach_()
    return x.grad, x.requires_grad, x.is_leaf


@program
def set_to_none_and_again(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    (x * 3).sum().backward()
    x.grad = None
    (x * x).sum().backward()
    return x.grad


@program
def zero_in_place(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    (x * 3).sum().backward()
    g = x.grad
    x.grad.zero_()
    (x * x).sum().backward()
    return x.grad, g, g is x.grad


@program
def retained_graph_twice(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    y = (x.exp() * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    return x.grad


@program
def freed_but_nothing_kept(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    y = (x + 1).sum()
    y.backward()
    y.backward()
    return x.grad


@program
def shared_subgraph_not_freed(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    h = x + 1
    a, b = (h * 2).sum(), (h * 3).sum()
    a.backward()
    b.backward()
    return x.grad


@program
def gradient_argument(t):
    x = t.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    y = x * x
    y.backward(t.tensor([[1.0, 0.0], [0.5, 2.0]]))
    return x.grad


@program
def several_roots(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    a, b = x * 2, x.exp()
    t.autograd.backward([a, b], [t.ones(2), t.tensor([1.0, 2.0])])
    return x.grad


@program
def several_roots_one_above_the_other(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    a = x * 2
    b = a.exp()
    t.autograd.backward([a, b], [t.ones(2), t.ones(2)])
    return x.grad


@program
def same_root_twice(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    a = (x * x).sum()
    t.autograd.backward([a, a])
    return x.grad


@program
def inputs_only(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    w = t.tensor([3.0, 4.0], requires_grad=True)
    h = x * w
    (h * h).sum().backward(inputs=[w])
    return x.grad, w.grad


@program
def inputs_non_leaf(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    h = x * 2
    h.retain_grad()
    (h * h).sum().backward(inputs=[h])
    return x.grad, h.grad


@program
def inputs_as_tensor(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward(inputs=x)
    return x.grad


@program
def backward_on_a_leaf(t):
    x = t.tensor(2.0, requires_grad=True)
    x.backward()
    return x.grad


@program
def grad_of_itself(t):
    x = t.tensor(2.0, requires_grad=True)
    return t.autograd.grad(x, x)


@program
def grad_of_several(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    w = t.tensor([3.0, 5.0], requires_grad=True)
    y = (x * w).sum()
    gx, gw = t.autograd.grad(y, (x, w))
    return gx, gw, x.grad, w.grad


@program
def grad_by_intermediate(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    h = x.exp()
    return t.autograd.grad((h * h).sum(), [h, x])


@program
def grad_by_intermediate_and_through_it(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    h = x * x
    k = h * h
    return t.autograd.grad(k.sum(), [k, h, x, x])


@program
def unused_allowed(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    z = t.tensor([1.0, 2.0], requires_grad=True)
    return t.autograd.grad((x * x).sum(), [x, z], allow_unused=True)


@program
def unused_materialized(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    z = t.tensor([1.0, 2.0, 3.0], requires_grad=True)
    return t.autograd.grad((x * x).sum(), [x, z], materialize_grads=True)


@program
def of_several_outputs(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    return t.autograd.grad([x * x, x.exp()], [x], [t.ones(2), t.tensor([2.0, 0.5])])


@program
def several_outputs_of_one_operator(t):
    x = t.arange(6.0).requires_grad_()
    a, b, c = x.split(2)
    return t.autograd.grad(
        (a * 2 + c * c).sum(),
        [
            x,
        ],
    )


@program
def one_output_of_several(t):
    x = t.tensor([[3.0, 1.0], [2.0, 5.0]], requires_grad=True)
    values, places = x.max(1)
    values.sum().backward()
    return x.grad, places


@program
def unbind_some(t):
    x = t.tensor([[3.0, 1.0], [2.0, 5.0]], requires_grad=True)
    a, b = x.unbind()
    (b * b).sum().backward()
    return x.grad


@program
def second_derivative(t):
    x = t.tensor([0.3, -1.2], requires_grad=True)
    y = (x.sin() * x.exp()).sum()
    (g,) = t.autograd.grad(y, x, create_graph=True)
    (h,) = t.autograd.grad(g.sum(), x)
    return g, h


@program
def third_and_fourth_derivative(t):
    x = t.tensor([0.3, -1.2, 2.0], requires_grad=True)
    d = (x.tanh() * x**3).sum()
    out = []
    for _ in range(4):
        (d,) = t.autograd.grad(d.sum(), x, create_graph=True)
        out.append(d)
    return out


@program
def hessian_vector_product(t):
    w = t.tensor([[0.5, -0.2], [0.1, 0.7]], requires_grad=True)
    x = t.tensor([[1.0, 2.0], [3.0, -1.0], [0.5, 0.2]])
    y = (x @ w).tanh().pow(2).mean()
    (g,) = t.autograd.grad(y, w, create_graph=True)
    v = t.tensor([[1.0, 0.5], [-1.0, 2.0]])
    (hv,) = t.autograd.grad((g * v).sum(), w)
    return g, hv


@program
def gradient_penalty(t):
    x = t.tensor([[1.0, 2.0], [3.0, -1.0]], requires_grad=True)
    w = t.tensor([[0.5, -0.2], [0.1, 0.7]], requires_grad=True)
    y = (x @ w).sigmoid().sum()
    (g,) = t.autograd.grad(y, x, create_graph=True)
    loss = y + ((g.norm(2, dim=1) - 1) ** 2).mean()
    loss.backward()
    return w.grad, x.grad, loss


@program
def create_graph_in_backward(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    (x**3).sum().backward(create_graph=True)
    g = x.grad
    out = (g, g.requires_grad)
    (h,) = t.autograd.grad(g.sum(), x)
    x.grad = None
    return out, h


@program
def create_graph_keeps_graph(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    y = (x**3).sum()
    t.autograd.grad(y, x, create_graph=True)
    return t.autograd.grad(y, x)


@program
def batched(t):
    x = t.tensor([1.0, 2.0, 3.0], requires_grad=True)
    return t.autograd.grad(x**2, x, t.eye(3), is_grads_batched=True)


@program
def grad_is_not_recorded(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    (g,) = t.autograd.grad((x * x).sum(), x)
    return g.requires_grad, g.grad_fn is None, g.is_leaf


@program
def grad_inside_no_grad(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    y = (x * x).sum()
    with t.no_grad():
        (g,) = t.autograd.grad(y, x, create_graph=True)
    return g.requires_grad


@program
def diamond(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    a = x * 2
    b, c = a.exp(), a * a
    (b * c + a).sum().backward()
    return x.grad


@program
def wide(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    sum(x * i for i in range(100)).sum().backward()
    return x.grad


@program
def broadcast(t):
    x = t.tensor([[1.0], [2.0]], requires_grad=True)
    w = t.tensor([1.0, 2.0, 3.0], requires_grad=True)
    s = t.tensor(2.0, requires_grad=True)
    (x * w * s).sum().backward()
    return x.grad, w.grad, s.grad


@program
def mixed_dtypes(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    w = t.tensor([1.0, 2.0], dtype=t.float64, requires_grad=True)
    (x * w).sum().backward()
    return x.grad, w.grad


@program
def through_a_cast(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    (x.double() ** 2).sum().backward()
    return x.grad


@program
def where_hides_nan(t):
    x = t.tensor([0.0, 4.0], requires_grad=True)
    t.where(x > 0, x.sqrt(), t.zeros(2)).sum().backward()
    y = t.tensor([0.0, 4.0], requires_grad=True)
    t.where(y > 0, y, t.zeros(2)).sum().backward()
    return y.grad


@program
def detached(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    d = x.detach()
    d += 1
    return x, d.requires_grad, (x * x.detach()).requires_grad


@program
def detach_in_place(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    y.detach_()
    return y.requires_grad, y.is_leaf, y.grad_fn is None


@program
def requires_grad_later(t):
    x = t.tensor([1.0, 2.0])
    y = x * 2
    x.requires_grad_()
    (y.sum() + (x * 3).sum()).backward()
    return x.grad, y.requires_grad


@program
def requires_grad_off_and_on(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    (x * 3).sum().backward()
    x.requires_grad_(False)
    a = x.grad
    x.requires_grad_(True)
    (x * 3).sum().backward()
    return x.grad, a


@program
def leaf_facts(t):
    x = t.ones(2, requires_grad=True)
    y = x * 2
    z = t.ones(2)
    return [(a.is_leaf, a.requires_grad, a.grad_fn is None, a.retains_grad) for a in (x, y, z, z * 2)]


@program
def zero_dim_and_empty(t):
    x = t.zeros(0, 3, requires_grad=True)
    (x * 2).sum().backward()
    return x.grad


@program
def assigned_grad(t):
    x = t.ones(2, requires_grad=True)
    x.grad = t.tensor([5.0, 6.0])
    (x * 3).sum().backward()
    return x.grad


@program
def grad_with_history_accumulates(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    (x**3).sum().backward(create_graph=True)
    (x**2).sum().backward()
    out = x.grad.detach().clone(), x.grad.requires_grad
    x.grad = None
    return out


@program
def copies_do_not_share_grad(t):
    a = t.tensor([1.0, 2.0], requires_grad=True)
    b = t.tensor([3.0, 4.0], requires_grad=True)
    (a + b).sum().backward()
    a.grad += 1
    (a + b).backward(t.ones(2))
    return a.grad, b.grad, a.grad is b.grad


@program
def given_gradient_is_not_changed(t):
    a = t.tensor([1.0, 2.0], requires_grad=True)
    g = t.tensor([1.0, 1.0])
    b = a + 0
    b.backward(g, retain_graph=True)
    b.backward(g)
    a.grad *= 5
    return a.grad, g


@program
def two_leaves_one_gradient_then_in_place(t):
    a = t.tensor([1.0, 2.0], requires_grad=True)
    b = t.tensor([1.0, 2.0], requires_grad=True)
    g = t.ones(2)
    (a + b).backward(g)
    a.grad.mul_(2)
    return a.grad, b.grad, g


@program
def in_place_chain(t):
    x = t.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    y += 1
    y *= x
    y.sum().backward()
    return x.grad


@program
def in_place_on_view(t):
    x = t.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    y = x * 2
    y[0] *= 10
    y[:, 1] += x[:, 0]
    (y * y).sum().backward()
    return x.grad


@pytest.mark.parametrize("f", PROGRAMS, ids=lambda f: f.__name__)
def test_same(f):
    same(f)


ERRORS = []


def fails(text):
    def enter(f):
        ERRORS.append((f, text))
        return f

    return enter


@fails("grad can be implicitly created only for scalar outputs")
def not_a_scalar(t):
    x = t.ones(2, requires_grad=True)
    (x * 2).backward()


@fails("grad can be implicitly created only for scalar outputs")
def grad_of_no_scalar(t):
    x = t.ones(2, requires_grad=True)
    t.autograd.grad(x * 2, x)


@fails("Trying to backward through the graph a second time")
def freed(t):
    x = t.ones(2, requires_grad=True)
    y = (x.exp()).sum()
    y.backward()
    y.backward()


@fails("Trying to backward through the graph a second time")
def freed_by_grad(t):
    x = t.ones(2, requires_grad=True)
    y = (x * x).sum()
    t.autograd.grad(y, x)
    y.backward()


@fails("Trying to backward through the graph a second time")
def shared_part_freed(t):
    x = t.ones(2, requires_grad=True)
    h = x.exp()
    (h * 2).sum().backward()
    (h * 3).sum().backward()


@fails("does not require grad and does not have a grad_fn")
def nothing_recorded(t):
    t.ones(()).backward()


@fails("does not require grad and does not have a grad_fn")
def grad_of_nothing_recorded(t):
    x = t.ones((), requires_grad=True)
    t.autograd.grad(t.ones(()), x)


@fails("One of the differentiated Tensors does not require grad")
def by_no_variable(t):
    x = t.ones((), requires_grad=True)
    t.autograd.grad(x * 2, t.ones(()))


@fails("The differentiated Tensor at index 0 appears to not have been used in the graph")
def unused(t):
    x = t.ones((), requires_grad=True)
    z = t.ones((), requires_grad=True)
    t.autograd.grad(x * 2, z)


@fails("Mismatch in shape")
def wrong_shape_of_gradient(t):
    x = t.ones(2, requires_grad=True)
    (x * 2).backward(t.ones(3))


@fails("cannot be empty")
def no_inputs(t):
    x = t.ones((), requires_grad=True)
    (x * 2).backward(inputs=[])


@fails("you can only change requires_grad flags of leaf variables")
def requires_grad_of_result(t):
    x = t.ones(2, requires_grad=True)
    (x * 2).requires_grad = False


@fails("Tensors of floating point")
def integers(t):
    t.tensor([1, 2], requires_grad=True)


@fails("can't retain_grad on Tensor that has requires_grad=False")
def retain_without(t):
    t.ones(2).retain_grad()


@fails("a leaf Variable that requires grad")
def leaf_in_place(t):
    x = t.ones(2, requires_grad=True)
    x += 1


@fails("has been modified by an inplace operation")
def changed_in_place(t):
    x = t.ones(2, requires_grad=True)
    y = x.exp()
    z = (y * y).sum()
    y += 1
    z.backward()


@fails("Can't call numpy() on Tensor that requires grad")
def numpy_of_variable(t):
    t.ones(2, requires_grad=True).numpy()


@fails("")
def wrong_count(t):
    x = t.ones(2, requires_grad=True)
    t.autograd.backward([x.sum(), x.sum()], [t.ones(())])


@fails("attempting to assign a gradient of size '[3]' to a tensor of size '[2]'")
def assign_wrong_grad(t):
    x = t.ones(2, requires_grad=True)
    x.grad = t.ones(3)


@pytest.mark.parametrize(("f", "text"), ERRORS, ids=lambda f: getattr(f, "__name__", ""))
def test_errors(f, text):
    same(f, error=text)


@pytest.mark.parametrize("create_graph", [False, True])
def test_only_wanted_gradients_are_computed(create_graph):
    import livegrad
    from livegrad.ops.registry import operator

    computed = []

    def gradient(name, value):
        computed.append(name)
        return value

    product = operator(
        "watched_product",
        lambda a, b: a * b,
        tensors=("a", "b"),
        grads={"a": lambda g, b: gradient("a", g * b), "b": lambda g, a: gradient("b", g * a)},
    )
    a = livegrad.tensor([1.0, 2.0], requires_grad=True)
    b = livegrad.tensor([3.0, 4.0], requires_grad=True)
    y = product.apply((a, product.apply((a.exp(), b)))).sum()
    (found,) = livegrad.autograd.grad(y, b, create_graph=create_graph, retain_graph=True)
    assert computed == ["b", "b"]
    assert found.tolist() == pytest.approx((a * a.exp()).tolist())
    y.backward()
    assert sorted(computed[2:]) == ["a", "a", "b", "b"]
