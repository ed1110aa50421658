"""Optimizers: trajectories, states and errors equal PyTorch's."""

import copy
import pickle
import warnings

import numpy as np
import pytest

import livegrad
import livegrad.nn
import livegrad.optim

torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")
BOTH = (livegrad, torch)
SHAPES = [(3, 4), (5,), ()]

CASES = [
    ("SGD", {}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "maximize": True}),
    ("Adam", {}),
    ("Adam", {"amsgrad": True, "weight_decay": 0.1}),
    ("Adam", {"maximize": True, "betas": (0.5, 0.6), "eps": 1e-3}),
    ("Adam", {"decoupled_weight_decay": True, "weight_decay": 0.1, "lr": 0.05}),
    ("AdamW", {}),
    ("AdamW", {"amsgrad": True, "lr": 0.01}),
    ("RMSprop", {}),
    ("RMSprop", {"centered": True, "momentum": 0.9, "weight_decay": 0.1}),
    ("Adagrad", {}),
    ("Adagrad", {"lr_decay": 0.1, "initial_accumulator_value": 0.5, "weight_decay": 0.1}),
    ("RMSprop", {"momentum": 0.9}),
    ("RMSprop", {"centered": True}),
    ("ASGD", {}),
    ("ASGD", {"lr": 0.1, "t0": 3, "lambd": 0.01, "weight_decay": 0.1, "maximize": True}),
    ("Rprop", {}),
    ("Rprop", {"lr": 0.1, "etas": (0.4, 1.5), "step_sizes": (0.05, 0.3), "maximize": True}),
    ("Adafactor", {}),
    ("Adafactor", {"lr": 0.1, "weight_decay": 0.1, "d": 2.0, "eps": (1e-5, 1e-2), "maximize": True}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "weight_decay": 0.1, "maximize": True}),
    ("Adamax", {}),
    ("Adamax", {"weight_decay": 0.1}),
    ("NAdam", {}),
    ("NAdam", {"weight_decay": 0.1}),
    ("NAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {}),
    ("RAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {"weight_decay": 0.1, "lr": 0.1}),
]


def numpy(tensor):
    return tensor.detach().numpy().copy()


def parameters(library, dtype=np.float32):
    rng = np.random.default_rng(0)
    return [library.nn.Parameter(library.from_numpy(np.asarray(rng.standard_normal(s), dtype))) for s in SHAPES]


def walk(library, params, optimizer, steps, start=0):
    """Steps with given gradients; the parameters after every step."""
    path = []
    for i in range(start, start + steps):
        rng = np.random.default_rng(100 + i)
        for p in params:
            p.grad = library.from_numpy(np.asarray(rng.standard_normal(tuple(p.shape)), numpy(p).dtype))
        optimizer.step()
        path.append([numpy(p) for p in params])
    return path


def both(name, options, steps=20, dtype=np.float32):
    result = []
    for library in BOTH:
        params = parameters(library, dtype)
        optimizer = getattr(library.optim, name)(params, **options)
        result.append((optimizer, walk(library, params, optimizer, steps)))
    return result


def close(mine, theirs, rtol=2e-6, atol=1e-6):
    for a, b in zip(mine, theirs):
        for p, q in zip(a, b):
            np.testing.assert_allclose(p, q, rtol=rtol, atol=atol)


def same_state(mine, theirs):
    assert mine["param_groups"] == theirs["param_groups"]
    assert [list(g) for g in mine["param_groups"]] == [list(g) for g in theirs["param_groups"]]
    assert list(mine["state"]) == list(theirs["state"])
    for number, state in theirs["state"].items():
        assert list(mine["state"][number]) == list(state)
        for key, value in state.items():
            ours = mine["state"][number][key]
            if value is None:
                assert ours is None
                continue
            assert str(ours.dtype) == str(value.dtype) and tuple(ours.shape) == tuple(value.shape)
            np.testing.assert_allclose(numpy(ours), numpy(value), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name, options", CASES)
def test_trajectories(name, options):
    (mine, path), (theirs, reference) = both(name, options)
    close(path, reference)
    same_state(mine.state_dict(), theirs.state_dict())
    assert repr(mine) == repr(theirs)


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop"])
def test_trajectories_in_float64(name):
    (_, path), (_, reference) = both(name, {"lr": 0.1}, dtype=np.float64)
    close(path, reference, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("name, options", CASES)
def test_states_load_and_continue(name, options):
    params = parameters(livegrad)
    optimizer = getattr(livegrad.optim, name)(params, **options)
    walk(livegrad, params, optimizer, 4)
    saved = copy.deepcopy(optimizer.state_dict())
    values = [p.detach().clone() for p in params]
    expected = walk(livegrad, params, optimizer, 4, start=4)

    again = [livegrad.nn.Parameter(v) for v in values]
    resumed = getattr(livegrad.optim, name)(again)
    resumed.load_state_dict(saved)
    assert resumed.state_dict()["param_groups"] == saved["param_groups"]
    close(walk(livegrad, again, resumed, 4, start=4), expected, rtol=0, atol=0)


def test_states_of_pytorch_load():
    (_, _), (theirs, _) = both("Adam", {"amsgrad": True})
    state = pickle.loads(pickle.dumps(theirs.state_dict()))
    for entry in state["state"].values():
        for key, value in entry.items():
            entry[key] = livegrad.from_numpy(value.numpy())
    params = parameters(livegrad)
    optimizer = livegrad.optim.Adam(params)
    optimizer.load_state_dict(state)
    same_state(optimizer.state_dict(), theirs.state_dict())


@pytest.mark.parametrize("shape", [(8, 4), (4, 8), (6, 6)])
@pytest.mark.parametrize("options", [{}, {"nesterov": False, "lr": 0.1, "adjust_lr_fn": "match_rms_adamw"}])
def test_muon(shape, options):
    """To the precision of bfloat16, in which its iteration runs."""
    results = []
    for library in BOTH:
        rng = np.random.default_rng(5)
        p = library.nn.Parameter(library.from_numpy(rng.standard_normal(shape).astype(np.float32)))
        optimizer = library.optim.Muon([p], **options)
        for _ in range(4):
            p.grad = library.from_numpy(rng.standard_normal(shape).astype(np.float32))
            optimizer.step()
        state = optimizer.state_dict()
        assert list(state["state"][0]) == ["momentum_buffer"]
        results.append((numpy(p), numpy(state["state"][0]["momentum_buffer"]), repr(optimizer)))
    step = options.get("lr", 1e-3) * 4
    np.testing.assert_allclose(results[0][0], results[1][0], atol=0.05 * step, rtol=0)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-5, atol=1e-7)
    assert results[0][2] == results[1][2]


def test_groups_and_their_options():
    paths = []
    for library in BOTH:
        a, b, c = parameters(library)
        optimizer = library.optim.Adam([{"params": a}, {"params": [b], "lr": 0.5, "betas": (0.8, 0.9)}], lr=0.1)
        optimizer.add_param_group({"params": [c], "weight_decay": 0.3})
        paths.append((walk(library, [a, b, c], optimizer, 3), repr(optimizer)))
        assert [g["lr"] for g in optimizer.param_groups] == [0.1, 0.5, 0.1]
    close(paths[0][0], paths[1][0])
    assert paths[0][1] == paths[1][1]


def test_parameters_without_gradients_are_left_alone():
    for library in BOTH:
        a, b, _ = parameters(library)
        optimizer = library.optim.Adam([a, b])
        before = numpy(b)
        a.grad = library.ones(3, 4)
        optimizer.step()
        assert list(optimizer.state_dict()["state"]) == [0]
        np.testing.assert_array_equal(numpy(b), before)


def test_a_closure_is_called_with_gradients_on():
    p = livegrad.nn.Parameter(livegrad.tensor(2.0))
    optimizer = livegrad.optim.SGD([p], lr=0.25)

    def closure():
        optimizer.zero_grad()
        loss = p * p
        loss.backward()
        return loss

    with livegrad.no_grad():
        assert float(optimizer.step(closure).detach()) == 4.0
    assert float(p.detach()) == 1.0


def test_zero_grad():
    p = livegrad.nn.Parameter(livegrad.ones(2))
    optimizer = livegrad.optim.SGD([p], lr=1.0)
    (p * 3).sum().backward()
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.tolist() == [0.0, 0.0]
    optimizer.zero_grad()
    assert p.grad is None


def test_learning_rates_may_be_tensors():
    paths = []
    for library in BOTH:
        params = parameters(library)
        optimizer = library.optim.Adam(params, lr=library.tensor(0.25))
        paths.append(walk(library, params, optimizer, 3))
    close(*paths)


def test_a_step_changes_the_parameter_in_place():
    """Whoever holds the parameter, or a view of it, sees the step; the graph of an earlier loss does not."""
    p = livegrad.nn.Parameter(livegrad.ones(3))
    view = p.detach()
    optimizer = livegrad.optim.SGD([p], lr=1.0)
    (p * 2).sum().backward()
    assert optimizer.step() is None
    assert view.tolist() == [-1.0, -1.0, -1.0] and p.requires_grad and p.is_leaf


def test_hooks():
    logs = []
    for library in BOTH:
        log = []
        params = parameters(library)
        optimizer = library.optim.SGD(params, lr=0.1)
        handles = [
            optimizer.register_step_pre_hook(lambda o, args, kwargs, log=log: log.append("before")),
            optimizer.register_step_post_hook(lambda o, args, kwargs, log=log: log.append("after")),
            optimizer.register_state_dict_pre_hook(lambda o, log=log: log.append("save")),
            optimizer.register_state_dict_post_hook(lambda o, s, log=log: log.append(sorted(s))),
            optimizer.register_load_state_dict_pre_hook(lambda o, s, log=log: log.append("load")),
            optimizer.register_load_state_dict_post_hook(lambda o, log=log: log.append("loaded")),
        ]
        walk(library, params, optimizer, 2)
        optimizer.load_state_dict(optimizer.state_dict())
        for handle in handles:
            handle.remove()
        walk(library, params, optimizer, 1)
        logs.append(log)
    assert logs[0] == logs[1]


def test_an_optimizer_of_ones_own():
    class Halve(livegrad.optim.Optimizer):
        def __init__(self, params, times=1):
            super().__init__(params, {"times": times})

        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    state = self.state[p]
                    state["step"] = state.get("step", 0) + 1
                    p.data.mul_(0.5 ** group["times"])

    p = livegrad.nn.Parameter(livegrad.ones(2))
    optimizer = Halve([p], times=2)
    seen = []
    optimizer.register_step_post_hook(lambda *args: seen.append(1))
    optimizer.step()
    assert p.detach().tolist() == [0.25, 0.25] and seen == [1]
    assert optimizer.state_dict() == {"state": {0: {"step": 1}}, "param_groups": [{"times": 2, "params": [0]}]}
    schedule = livegrad.optim.lr_scheduler  # a schedule only needs an "lr" in every group
    for group in optimizer.param_groups:
        group["lr"] = 1.0
    assert schedule.StepLR(optimizer, 1).get_last_lr() == [1.0]


def test_an_optimizer_that_wraps_another():
    """It never calls ``Optimizer.__init__``, and so has no hooks of its own; the one inside has."""

    class Wrapper(livegrad.optim.Optimizer):
        def __init__(self, inner):
            self.inner = inner

        def step(self, closure=None):
            return self.inner.step(closure)

    p = livegrad.nn.Parameter(livegrad.ones(2))
    inner = livegrad.optim.SGD([p], lr=1.0)
    seen = []
    inner.register_step_post_hook(lambda *args: seen.append(1))
    p.sum().backward()
    Wrapper(inner).step()
    assert p.tolist() == [0.0, 0.0] and seen == [1]


def test_optimizers_can_be_pickled():
    (mine, _), _ = both("Adam", {}, steps=2)
    again = pickle.loads(pickle.dumps(mine))
    assert repr(again) == repr(mine) and len(again.state) == 3
    again.step()
    again.register_step_post_hook(lambda *args: None)


WRONG = [
    "optim.SGD([])", "optim.SGD(p)", "optim.SGD([3])", "optim.SGD([p], lr=-1)", "optim.SGD([p], momentum=-1)",
    "optim.SGD([p], weight_decay=-1)", "optim.SGD([p], nesterov=True)", "optim.Adam([p], eps=-1)",
    "optim.Adam([p], lr=-1)", "optim.Adam([p], betas=(1, 0.9))", "optim.Adam([p], betas=(0.1, 1.9))",
    "optim.Adam([p], weight_decay=-1)", "optim.SGD([p, p])", "optim.SGD([{'params': [p]}, {'params': [p]}])",
    "optim.SGD([{'params': {p}}])", "optim.SGD([p * 2])", "optim.SGD({'params': [p]})", "optim.SGD([('a', p), q])",
    "optim.SGD([p, ('a', q)])", "optim.RMSprop([p], alpha=-1)", "optim.RMSprop([p], momentum=-1)",
    "optim.RMSprop([p], eps=-1)", "optim.Adagrad([p], lr_decay=-1)", "optim.Adagrad([p], eps=-1)",
    "optim.Adagrad([p], initial_accumulator_value=-1)", "optim.Adadelta([p], rho=2)", "optim.Adadelta([p], eps=-2)",
    "optim.ASGD([p], lr=-1)", "optim.ASGD([p], weight_decay=-1)", "optim.Rprop([p], etas=(2, 3))",
    "optim.Rprop([p], lr=-1)", "optim.Adafactor([p], lr=-1)", "optim.Adafactor([p], beta2_decay=1)",
    "optim.Adafactor([p], d=0.5)", "optim.Adafactor([p], eps=(-1, 1))", "optim.Adafactor([p], eps=(None, -1))",
    "optim.Adafactor([p], weight_decay=-1)", "optim.Muon([p])", "optim.Muon([p], lr=-1)", "optim.Muon([p], momentum=-1)",
    "optim.Muon([p], weight_decay=-1)", "optim.Muon([p], adjust_lr_fn='x')", "optim.NAdam([p], momentum_decay=-1)", "optim.SGD([p], lr=p)", "optim.Adam([p], foreach=True, fused=True)",
    "optim.SGD([p], foreach=True, fused=True)", "optim.SGD([p]).load_state_dict(optim.SGD([p, q]).state_dict())",
    "optim.SGD([p]).load_state_dict(optim.SGD([{'params': [p]}, {'params': [q]}]).state_dict())",
    "optim.SGD([p]).add_param_group(3)", "optim.SGD([{'lr': 3}])",
]  # fmt: skip


def outcome(code, library):
    space = {"optim": library.optim}
    for name in "pq":
        space[name] = library.nn.Parameter(library.ones(2))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            eval(code, space)
            error = None
        except Exception as raised:
            error = (type(raised).__name__, str(raised))
    return error, [str(w.message) for w in caught]


@pytest.mark.parametrize("code", WRONG)
def test_errors_and_warnings_read_as_pytorchs(code):
    assert outcome(code, livegrad) == outcome(code, torch)


def test_named_parameters():
    for library in BOTH:
        a, b, _ = parameters(library)
        state = library.optim.SGD([("a", a), ("b", b)]).state_dict()
        assert list(state["param_groups"][0])[0] == "param_names"
        assert state["param_groups"][0]["param_names"] == ["a", "b"]
