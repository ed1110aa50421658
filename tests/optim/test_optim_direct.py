"""Steps on the parameters' own memory: the same numbers as steps that are recorded, whoever looks at the memory."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import livegrad
import livegrad.nn
import livegrad.optim
from livegrad.llvm import machine
from livegrad.observe import WATCH, Observer
from livegrad.ops.registry import ELEMENTWISE
from livegrad.ops.updates import Changes, Update

needs_kernels = pytest.mark.skipif(not machine.compiler_available(), reason="no kernels without llvmlite")

CASES = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "maximize": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("Adam", {}),
    ("Adam", {"amsgrad": True, "weight_decay": 0.1, "maximize": True}),
    ("AdamW", {"amsgrad": True, "lr": 0.01}),
    ("RMSprop", {}),
    ("RMSprop", {"centered": True, "momentum": 0.9, "weight_decay": 0.1}),
    ("RMSprop", {"momentum": 0.9}),
    ("RMSprop", {"centered": True}),
    ("Adagrad", {"lr_decay": 0.1, "weight_decay": 0.1}),
    ("ASGD", {"lr": 0.1, "t0": 2, "lambd": 0.01, "weight_decay": 0.1}),
    ("Rprop", {"lr": 0.1}),
    ("Adadelta", {"lr": 0.5, "weight_decay": 0.1, "maximize": True}),
    ("Adamax", {"weight_decay": 0.1}),
    ("NAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {"weight_decay": 0.1, "lr": 0.1}),
]
SHAPES = [(3, 4), (5,), (), (70, 50), (0, 2), (61, 53)]  # of small ones, launched one by one, and of larger ones


def tensor_of(rng, shape, dtype):
    """Memory of the library's own: what comes from NumPy is seen by the outside, and written another way."""
    return livegrad.tensor(rng.standard_normal(shape).tolist(), dtype=dtype).reshape(shape).clone()


def walk(name, options, dtype=livegrad.float32, steps=6):
    rng = np.random.default_rng(1)
    params = [livegrad.nn.Parameter(tensor_of(rng, s, dtype)) for s in SHAPES]
    optimizer = getattr(livegrad.optim, name)(params, **options)
    for _ in range(steps):
        for p in params:
            p.grad = tensor_of(rng, p.shape, dtype)
            livegrad.eval(p.grad)
        optimizer.step()
    states = [v for p in params for v in optimizer.state[p].values() if isinstance(v, livegrad.Tensor)]
    return params, states


def bits(tensors):
    return [t.detach().clone().view(livegrad.uint8).tolist() if t.numel() else [] for t in map(as_row, tensors)]


def as_row(t):
    return t.detach().reshape(-1)


@pytest.fixture
def watched():
    """While somebody watches every step is recorded."""
    before = WATCH.observer

    class Recorded:
        def __enter__(self):
            WATCH.observer = Observer()

        def __exit__(self, *exc):
            WATCH.observer = before

    return Recorded()


@pytest.mark.parametrize("dtype", [livegrad.float32, livegrad.float64, livegrad.bfloat16])
@pytest.mark.parametrize("name, options", CASES)
def test_both_ways_give_the_same_bits(name, options, dtype, watched):
    with livegrad.compiling("always"):
        direct = walk(name, options, dtype)
        with watched:
            recorded = walk(name, options, dtype)
    for a, b in zip(direct, recorded):
        assert bits(a) == bits(b)


def memory_of(p):
    return p._value().ready().ptr


@needs_kernels
@pytest.mark.parametrize("name, options", CASES)
def test_memory_stays_where_it_is(name, options):
    """A step writes into the memory that there is; that is what makes it direct."""
    rng = np.random.default_rng(2)
    with livegrad.compiling("always"):
        params = [livegrad.nn.Parameter(tensor_of(rng, s, livegrad.float32)) for s in ((3, 4), (60, 50))]
        optimizer = getattr(livegrad.optim, name)(params, **options)
        places = []
        for _ in range(6):
            for p in params:
                p.grad = tensor_of(rng, p.shape, p.dtype)
                livegrad.eval(p.grad)
            optimizer.step()
            tensors = [*params, *(v for p in params for v in optimizer.state[p].values() if hasattr(v, "_value"))]
            places.append([memory_of(t) for t in tensors])
    assert places[-1] == places[-2] == places[-3]


def sgd(p, lr=0.5):
    p.grad = livegrad.full_like(p, 2.0)
    livegrad.eval(p.grad)
    livegrad.optim.SGD([p], lr=lr).step()


LOOKS = {
    "a pending value": lambda p: p.detach() * 10,
    "a value of a view": lambda p: p.detach()[1:] * 10,
    "a value of a transposed view": lambda p: p.detach().reshape(2, 2).t() * 10,
    "a clone": lambda p: p.detach().clone() * 10,
}


@pytest.mark.parametrize("look", LOOKS)
def test_what_was_read_before_does_not_change(look):
    with livegrad.compiling("always"):
        p = livegrad.nn.Parameter(livegrad.arange(4.0) + 1)
        for _ in range(3):
            sgd(p)
        expected = LOOKS[look](p).tolist()
        seen = LOOKS[look](p)
        sgd(p)
        assert seen.tolist() == expected
        assert p.tolist() == [-3.0 + k for k in range(4)]
        del seen
        sgd(p)
        assert p.tolist() == [-4.0 + k for k in range(4)]


def test_aliases_and_views_see_the_step():
    with livegrad.compiling("always"):
        p = livegrad.nn.Parameter(livegrad.arange(4.0))
        sgd(p)
        alias, view = p.detach(), p.detach()[1:3]
        before = p._version
        sgd(p)
        assert p._version == before + 1 == alias._version
        assert alias.tolist() == [-2.0, -1.0, 0.0, 1.0] and view.tolist() == [-1.0, 0.0]


def test_memory_of_numpy_is_written_in_place():
    p = livegrad.nn.Parameter(livegrad.arange(3.0))
    with livegrad.compiling("always"):
        sgd(p)
        seen = p.detach().numpy()
        sgd(p)
        sgd(p)
    np.testing.assert_array_equal(seen, [-3.0, -2.0, -1.0])


def test_a_graph_that_needs_the_parameter_notices_the_step():
    with livegrad.compiling("always"):
        p = livegrad.nn.Parameter(livegrad.arange(3.0))
        sgd(p)
        loss = (p * p).sum()
        sgd(p)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()
        sgd(p)
        (p * p).sum().backward()
        assert p.tolist() == [-3.0, -2.0, -1.0]


def test_one_gradient_for_two_parameters_and_a_parameter_twice():
    with livegrad.compiling("always"):
        for n in (3, 4000):
            p, q = (livegrad.nn.Parameter(livegrad.zeros(n)) for _ in range(2))
            for _ in range(3):
                p.grad = q.grad = livegrad.ones(n)
                with pytest.warns(UserWarning, match="duplicate"):
                    optimizer = livegrad.optim.SGD([p, q, p], lr=1.0)
                optimizer.step()
            assert p.tolist() == [-6.0] * n and q.tolist() == [-3.0] * n


def test_a_parameter_may_be_another_ones_gradient():
    with livegrad.compiling("always"):
        for n in (3, 4000):
            p, q = livegrad.nn.Parameter(livegrad.zeros(n)), livegrad.nn.Parameter(livegrad.ones(n))
            for k in range(3):
                p.grad, q.grad = q, livegrad.ones(n)
                livegrad.eval(q.grad)
                livegrad.optim.SGD([q, p], lr=1.0).step()
                assert q.tolist() == [-float(k)] * n
            assert p.tolist() == [0.0 + 0 + 1 + 2] * n


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_formula(data):
    """Formulas of any operators, tensors and numbers: as if each result were computed by itself, from the old values."""
    names = ["_add_scaled", "_decay_add", "_shrink", "maximum", "_lerp"]
    n_changes, n_read = data.draw(st.integers(1, 3)), data.draw(st.integers(0, 2))
    total = n_changes + n_read
    numbers = tuple(data.draw(st.lists(st.sampled_from([0.5, -1.25, 2.0, 0.1]), min_size=2, max_size=2)))
    plan = []
    for k in range(data.draw(st.integers(n_changes, 6))):
        op = ELEMENTWISE[data.draw(st.sampled_from(names))]
        tensors = 1 if op.name == "_shrink" else 2
        slots = [data.draw(st.integers(0, total + k - 1)) for _ in range(tensors)]
        plan.append((op, slots, [data.draw(st.integers(0, 1)) for _ in range(len(op.names) - tensors)]))

    def formula(*given):
        made, told = list(given[:total]), given[total:]
        for op, slots, places in plan:
            made.append(op(*(made[s] for s in slots), *(told[p] for p in places)))
        return tuple(made[-n_changes:])

    shape = data.draw(st.sampled_from([(4,), (2, 3), (1,), (50, 70)]))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    start = [livegrad.from_numpy(rng.standard_normal(shape).astype(np.float32)) for _ in range(total)]
    own = [t.clone() for t in start]
    livegrad.eval(own)
    update = Update(formula)
    reference = [t.clone() for t in start]
    for _ in range(3):
        changes = Changes()
        with livegrad.no_grad(), livegrad.compiling("always"):
            changes.apply(update, tuple(own), numbers)
            changes.finish()
        reference[:n_changes] = [t.clone() for t in formula(*reference, *numbers)]
        for a, b in zip(own, reference):
            assert bits([a]) == bits([b])


PROGRAMS = {
    "an activation after a layer": lambda nn: nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)),
    "gelu, which reads its input again": lambda nn: nn.Sequential(nn.Linear(2, 4), nn.GELU(), nn.Linear(4, 1)),
    "norms": lambda nn: nn.Sequential(nn.Linear(2, 4), nn.LayerNorm(4), nn.Linear(4, 4), nn.BatchNorm1d(4)),
    "a large layer": lambda nn: nn.Sequential(nn.Linear(2, 512), nn.ReLU(), nn.Linear(512, 96)),
}


@needs_kernels
@pytest.mark.parametrize("name", PROGRAMS)
def test_training_leaves_parameters_where_they_are(name):
    """What forward and backward have read of the parameters is over when the step comes."""
    with livegrad.compiling("always"):
        model = PROGRAMS[name](livegrad.nn)
        optimizer = livegrad.optim.Adam(model.parameters())
        x = livegrad.randn(128, 2)
        places = []
        for _ in range(5):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()
            places.append([memory_of(p) for p in model.parameters()])
        assert places[-1] == places[-2]


def test_stepping_inside_the_backward_pass():
    """A hook steps on a parameter that is itself the gradient on its way to another one."""
    with livegrad.compiling("always"):
        p, q = (livegrad.nn.Parameter(livegrad.arange(3.0) + k) for k in (0, 5))
        sgd(p)
        sgd(q)

        class Pass(livegrad.autograd.Function):
            @staticmethod
            def forward(ctx, a, b):
                return a + b

            @staticmethod
            def backward(ctx, g):
                return g, p.detach()

        p.grad = q.grad = None
        optimizer = livegrad.optim.SGD([p], lr=1.0)
        p.register_post_accumulate_grad_hook(lambda _: optimizer.step())
        before = p.tolist()
        Pass.apply(p, q).sum().backward()
        assert q.grad.tolist() == before
        assert p.tolist() == [v - 1 for v in before]
