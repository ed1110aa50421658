"""Module: registration, walking, state dictionaries, hooks, errors."""

import copy
import pickle
from collections import OrderedDict

import numpy as np
import pytest
from against_torch import numpy, outcome, same, torch

import livegrad
from livegrad import nn
from livegrad.nn import running


def make(library):
    """One model with a bit of everything, in either library."""
    n = library.nn

    class Block(n.Module):
        def __init__(self, width):
            super().__init__()
            self.fc = n.Linear(width, width)
            self.scale = n.Parameter(library.ones(width))
            self.register_buffer("count", library.zeros(1))
            self.register_buffer("scratch", library.zeros(2), persistent=False)
            self.register_parameter("nothing", None)
            self.note = "plain"

        def forward(self, x):
            return self.fc(x) * self.scale

        def extra_repr(self):
            return "note=" + self.note

    class Model(n.Module):
        def __init__(self):
            super().__init__()
            self.blocks = n.ModuleList(Block(3) for _ in range(2))
            self.head = n.Sequential(OrderedDict(norm=n.LayerNorm(3), out=n.Linear(3, 2, bias=False)))
            self.shared = self.blocks[0].fc
            self.absent = None
            self.table = n.ParameterDict({"a": library.zeros(2)})
            self.rows = n.ParameterList([library.zeros(2), library.ones(1, 2)])

        def forward(self, x):
            for block in self.blocks:
                x = block(x)
            return self.head(x)

    library.manual_seed(0)
    return Model()


BOTH = (livegrad, torch)


def test_walking():
    mine, theirs = make(livegrad), make(torch)
    for listing in (
        lambda m: [n for n, _ in m.named_parameters()],
        lambda m: [n for n, _ in m.named_parameters(remove_duplicate=False)],
        lambda m: [n for n, _ in m.named_parameters("model", recurse=False)],
        lambda m: [n for n, _ in m.named_buffers()],
        lambda m: [n for n, _ in m.named_modules()],
        lambda m: [n for n, _ in m.named_modules(remove_duplicate=False)],
        lambda m: [n for n, _ in m.named_modules(prefix="model")],
        lambda m: [n for n, _ in m.named_children()],
        lambda m: [type(x).__name__ for x in m.modules()],
        lambda m: [type(x).__name__ for x in m.children()],
        lambda m: [tuple(p.shape) for p in m.parameters()],
        lambda m: [tuple(b.shape) for b in m.buffers()],
        lambda m: list(m.state_dict()),
        lambda m: list(m.state_dict(prefix="model.")),
        lambda m: m.state_dict()._metadata,
        repr,
    ):
        assert listing(mine) == listing(theirs)


def test_attributes_and_registries_agree():
    m = make(livegrad).blocks[0]
    assert m.scale is m._parameters["scale"] and m.count is m._buffers["count"] and m.fc is m._modules["fc"]
    assert m.nothing is None
    new = nn.Parameter(livegrad.zeros(3))
    m._parameters["scale"] = new
    assert m.scale is new
    m._modules["fc"] = nn.Identity()
    assert isinstance(m.fc, nn.Identity) and repr(m.fc) == "Identity()"
    del m._parameters["scale"]
    assert not hasattr(m, "scale")
    m.scale = "now plain"
    assert m.scale == "now plain" and "scale" not in m._parameters
    m.scale = nn.Parameter(livegrad.zeros(1))
    m.scale = None
    assert m.scale is None and m._parameters["scale"] is None
    m.count = livegrad.ones(4)
    assert m._buffers["count"].shape == (4,) and m.count is m._buffers["count"]
    m.fc = nn.Parameter(livegrad.zeros(1))
    assert "fc" not in m._modules and "fc" in m._parameters
    del m.fc
    assert not hasattr(m, "fc")
    m.extra = nn.Buffer(livegrad.zeros(2), persistent=False)
    assert "extra" in m._buffers and "extra" not in m.state_dict()


def test_a_name_that_the_class_defines_belongs_to_the_class():
    class Sloppy(nn.Module):
        def __init__(self):
            super().__init__()
            self.loss = nn.MSELoss()

        def loss(self, x):
            return "the method"

    m = Sloppy()
    assert m.loss(1) == "the method"
    assert [n for n, _ in m.named_children()] == ["loss"]


def test_wrappers_may_fall_back_on_module_getattr():
    class Wrapper(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def __getattr__(self, name):
            try:
                return super().__getattr__(name)
            except AttributeError:
                return getattr(self.inner, name)

    inner = nn.Linear(2, 3)
    assert Wrapper(inner).out_features == 3 and Wrapper(inner).weight is inner.weight


def test_copies_are_independent():
    m = make(livegrad)
    m.blocks[0].note = "copied"
    for other in (copy.deepcopy(m), pickle.loads(pickle.dumps(nn.Sequential(nn.Linear(2, 2), nn.PReLU())))):
        first = next(other.modules())
        name, parameter = next(iter(first.named_parameters()))
        path, _, leaf = name.rpartition(".")
        owner = first.get_submodule(path)
        assert owner.__dict__[leaf] is owner._parameters[leaf] is parameter
        replaced = nn.Parameter(livegrad.zeros(1))
        owner._parameters[leaf] = replaced
        assert getattr(owner, leaf) is replaced
    assert copy.deepcopy(m).shared is not m.shared
    twin = copy.deepcopy(m)
    assert twin.shared is twin.blocks[0].fc and twin.blocks[0].note == "copied"
    shallow = copy.copy(m)
    assert shallow.head is m.head
    shallow.head = nn.Identity()
    assert not isinstance(m.head, nn.Identity)


def test_modules_die_at_once():
    import gc
    import weakref

    gc.disable()
    try:
        m = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        m(livegrad.ones(1, 2))
        dead = weakref.ref(m), weakref.ref(m[0]), weakref.ref(m[0].weight)
        del m
        assert [d() for d in dead] == [None, None, None]
    finally:
        gc.enable()


def test_training_mode_freezing_and_gradients():
    m = make(livegrad)
    assert m.training and m.eval() is m and not m.blocks[1].fc.training
    assert m.train() is m and m.head[0].training
    m(livegrad.ones(4, 3)).sum().backward()
    assert m.blocks[0].scale.grad is not None
    m.zero_grad(set_to_none=False)
    assert float(m.blocks[0].scale.grad.abs().sum()) == 0
    m.zero_grad()
    assert m.blocks[0].scale.grad is None
    m.requires_grad_(False)
    assert not any(p.requires_grad for p in m.parameters())
    assert not m(livegrad.ones(4, 3)).requires_grad


def test_apply_visits_children_first():
    seen = {library: [] for library in BOTH}
    for library in BOTH:
        m = make(library)
        assert m.apply(lambda x, library=library: seen[library].append(type(x).__name__)) is m
    assert seen[livegrad] == seen[torch]


def test_casting():
    m = make(livegrad)
    before = m.blocks[0].scale
    assert m.double() is m
    assert m.blocks[0].scale is before and before.dtype is livegrad.float64 and before.requires_grad
    m.register_buffer("steps", livegrad.tensor(3))
    m.to(livegrad.float32)
    assert m.steps.dtype is livegrad.int64 and m.blocks[0].count.dtype is livegrad.float32
    m.to("cpu", livegrad.float16)
    assert m.head.out.weight.dtype is livegrad.float16
    m.to(livegrad.ones(1, dtype=livegrad.float64))
    assert m.head.out.weight.dtype is livegrad.float64
    assert m.half().float().bfloat16().cpu().shared.weight.dtype is livegrad.bfloat16
    assert m.type(livegrad.float32).shared.weight.dtype is livegrad.float32


# --- state dictionaries -----------------------------------------------------------------------------------------


def test_state_is_shared_until_loaded():
    m = make(livegrad)
    state = m.state_dict()
    assert not state["blocks.0.scale"].requires_grad
    assert m.state_dict(keep_vars=True)["blocks.0.scale"] is m.blocks[0].scale
    with livegrad.no_grad():
        m.blocks[0].scale.fill_(7)
    assert float(state["blocks.0.scale"][0]) == 7
    other = make(livegrad)
    assert repr(other.load_state_dict(state)) == "<All keys matched successfully>"
    assert float(other.blocks[0].scale[0]) == 7
    with livegrad.no_grad():
        m.blocks[0].scale.fill_(8)
    assert float(other.blocks[0].scale[0]) == 7


def test_assigning_state():
    m = nn.Linear(2, 2)
    given = {"weight": livegrad.ones(2, 2), "bias": livegrad.zeros(2)}
    m.load_state_dict(given, assign=True)
    assert isinstance(m.weight, nn.Parameter) and m.weight.requires_grad
    given["weight"].fill_(5)
    assert float(m.weight[0, 0].detach()) == 5


LOADS = [
    "m.load_state_dict(3)",
    "m.load_state_dict({})",
    "m.load_state_dict({'weight': o(3), 'z': o(1), 'c.k': o(1)}, strict=False)",
    "m.load_state_dict({'weight': o(2, 2), 'z': o(1), 'c.k': o(1)}, strict=False)",
    "m.load_state_dict({'weight': o(3), 'z': o(1), 'c.k': o(1)})",
    "m.load_state_dict({'weight': 4, 'bias': o(2)})",
]


@pytest.mark.parametrize("code", LOADS)
def test_loading_errors_read_as_pytorchs(code):
    mine = outcome(lambda: repr(eval(code, {"m": nn.Linear(2, 2), "o": livegrad.ones})))
    theirs = outcome(lambda: repr(eval(code, {"m": torch.nn.Linear(2, 2), "o": torch.ones})))
    assert mine == theirs


def test_extra_state():
    def holder(library):
        class Holder(library.nn.Module):
            def __init__(self):
                super().__init__()
                self.value = 1

            def get_extra_state(self):
                return {"value": self.value}

            def set_extra_state(self, state):
                self.value = state["value"]

        return library.nn.Sequential(Holder())

    for library in BOTH:
        m = holder(library)
        m[0].value = 9
        state = m.state_dict()
        assert list(state) == ["0._extra_state"]
        other = holder(library)
        other.load_state_dict(state)
        assert other[0].value == 9
        with pytest.raises(RuntimeError, match="Missing key"):
            other.load_state_dict({})


def test_state_hooks():
    m = nn.Linear(2, 2)
    seen = []
    handles = [
        m.register_state_dict_pre_hook(lambda module, prefix, keep: seen.append("save")),
        m.register_state_dict_post_hook(lambda module, state, prefix, about: state.update(more=1)),
        m.register_load_state_dict_pre_hook(lambda module, state, prefix, *rest: state.pop("more", None)),
        m.register_load_state_dict_post_hook(lambda module, keys: seen.append(keys)),
    ]
    state = m.state_dict()
    assert state["more"] == 1
    m.load_state_dict(state)
    assert seen[0] == "save" and seen[1].missing_keys == []
    for handle in handles:
        handle.remove()
    assert list(m.state_dict()) == ["weight", "bias"]


# --- hooks ------------------------------------------------------------------------------------------------------


def run_hooks(library):
    """What hooks see and change, in order."""
    log = []
    m = library.nn.Sequential(library.nn.Linear(2, 2), library.nn.Tanh())
    with library.no_grad():
        m[0].weight.copy_(library.tensor([[1.0, 2.0], [3.0, 4.0]]))
        m[0].bias.zero_()
    x = library.tensor([[0.1, -0.2]], requires_grad=True)

    def note(name, *values):
        log.append((name, *[None if v is None else np.round(numpy(v), 5).tolist() for v in values]))

    handles = [
        m[0].register_forward_pre_hook(lambda mod, args: note("pre", *args)),
        m[0].register_forward_pre_hook(lambda mod, args: (args[0] * 2,)),
        m[0].register_forward_pre_hook(lambda mod, args, kwargs: (args, kwargs), with_kwargs=True),
        m[0].register_forward_hook(lambda mod, args, out: note("post", args[0], out)),
        m[0].register_forward_hook(lambda mod, args, out: out + 1),
        m[0].register_forward_hook(lambda mod, args, kwargs, out: note("kwargs", out), with_kwargs=True, prepend=True),
        m[0].register_full_backward_hook(lambda mod, gin, gout: note("back", *gin, *gout)),
        m[0].register_full_backward_hook(lambda mod, gin, gout: (gin[0] * 3,)),
        m[0].register_full_backward_pre_hook(lambda mod, gout: note("back pre", *gout)),
        m[0].register_full_backward_pre_hook(lambda mod, gout: (gout[0] * 5,)),
        m[1].register_full_backward_hook(lambda mod, gin, gout: note("tanh", *gin, *gout)),
    ]
    m(x).sum().backward()
    note("grads", x.grad, m[0].weight.grad, m[0].bias.grad)
    for handle in handles:
        handle.remove()
    log.append("removed")
    m(x).sum().backward()
    return log


def test_hooks():
    assert run_hooks(livegrad) == run_hooks(torch)


def test_full_backward_hook_without_gradients_of_inputs():
    for library in BOTH:
        m = library.nn.Linear(2, 2)
        seen = []
        m.register_full_backward_hook(lambda mod, gin, gout, seen=seen: seen.append((gin, numpy(gout[0]).tolist())))
        m(library.ones(1, 2)).sum().backward()
        assert seen == [((None,), [[1.0, 1.0]])]


def test_global_and_always_called_hooks():
    seen = []
    with nn.modules.module.register_module_forward_hook(lambda mod, args, out: seen.append(type(mod).__name__)):
        nn.Sequential(nn.Linear(1, 1))(livegrad.ones(1, 1))
    assert seen == ["Linear", "Sequential"]
    nn.Linear(1, 1)(livegrad.ones(1, 1))
    assert len(seen) == 2
    m = nn.Linear(1, 1)
    m.register_forward_hook(lambda mod, args, out: seen.append(out), always_call=True)
    with pytest.raises(RuntimeError):
        m(livegrad.ones(1, 5))
    assert seen[-1] is None
    assert not running._stack


def test_kinds_of_backward_hooks_do_not_mix():
    m = nn.Linear(1, 1)
    m.register_full_backward_hook(lambda *args: None)
    with pytest.raises(RuntimeError, match="Cannot use both"):
        m.register_backward_hook(lambda *args: None)


# --- the module that is running ---------------------------------------------------------------------------------


def test_the_running_module_has_a_path():
    seen = []

    class Probe(nn.Module):
        def forward(self, x):
            seen.append(running.module_path())
            return x

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Sequential(Probe()), Probe()])

        def forward(self, x):
            seen.append(running.module_path())
            for layer in self.layers:
                x = layer(x)
            return x

    assert running.module_path() is None
    model = Outer()
    model(1)
    model(1)
    assert seen == ["", "layers.0.0", "layers.1"] * 2
    seen.clear()
    model.layers[0](1)
    assert seen == ["0"]
    seen.clear()
    model.layers.insert(0, nn.Identity())
    model(1)
    assert seen == ["", "layers.1.0", "layers.2"]


def test_the_graph_says_which_module_made_a_node():
    if livegrad.nn is not nn or not hasattr(livegrad, "graph"):
        pytest.skip("no graph")
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh())
    y = model(livegrad.ones(1, 2))
    assert getattr(y.grad_fn, "module_path", "1") == "1"


# --- errors -----------------------------------------------------------------------------------------------------

WRONG = [
    "m.register_parameter('a.b', None)", "m.register_parameter('', None)", "m.register_parameter(3, None)",
    "m.register_parameter('forward', None)", "m.register_parameter('x', 3)", "m.register_parameter('x', o(1))",
    "m.register_buffer('a.b', None)", "m.register_buffer('', None)", "m.register_buffer(3, None)",
    "m.register_buffer('x', 3)", "m.register_buffer('weight', None)", "m.add_module('a.b', None)",
    "m.add_module('', None)", "m.add_module(3, None)", "m.add_module('weight', m)", "m.add_module('x', 3)",
    "setattr(m, 'weight', 3)", "setattr(m, 'weight', o(2))", "setattr(m, 'child', 3)", "setattr(m, 'buffer', 3)",
    "m.foo", "delattr(m, 'foo')", "m.get_submodule('foo.bar')", "m.get_submodule('weight')", "m.get_parameter('foo')",
    "m.get_parameter('child')", "m.get_parameter('x.y')", "m.get_buffer('child')", "m.set_submodule('', m)",
    "m.to(dtype('int32'))", "nn.Module(3)", "nn.Module(a=3)", "nn.Module()(3)", "m.train(3)",
    "nn.Sequential(3)", "nn.Sequential(m)[3]", "nn.Sequential(m)[-2]", "nn.ModuleList([3])",
    "nn.ModuleList([m])[3]", "nn.ModuleList([m]).extend(3)", "nn.ModuleDict([3])", "nn.ModuleDict(3)",
    "nn.ModuleDict([(1, 2, 3)])", "nn.ParameterDict(3)", "nn.ParameterList([o(2)])[5]", "nn.ParameterList(o(2))",
    "nn.ModuleList([m]) + 3", "nn.Sequential(m) * -1", "nn.Sequential(m) * 1.5", "nn.Sequential(m).insert(3, m)",
    "nn.Sequential(m).insert(0, 3)", "nn.Sequential(m).append(3)", "nn.ParameterList([o(2)])(1)",
    "nn.ParameterDict()(1)", "nn.ParameterDict()['x']", "nn.ModuleDict()['x']",
]  # fmt: skip


def subject(library):
    m = library.nn.Linear(2, 2)
    m.child = library.nn.ReLU()
    m.register_buffer("buffer", library.ones(1))
    return {"m": m, "nn": library.nn, "o": library.ones, "dtype": lambda name: getattr(library, name)}


@pytest.mark.parametrize("code", WRONG)
def test_errors_read_as_pytorchs(code):
    mine, theirs = (outcome(lambda library=library: eval(code, subject(library))) for library in BOTH)
    assert theirs[1] is not None

    def plain(error):
        return error[0], error[1].replace("<class 'torch.", "<class 'livegrad.")

    assert plain(mine[1]) == plain(theirs[1])


def test_members_need_an_initialised_module():
    for library in BOTH:

        class Early(library.nn.Module):
            def __init__(self, member):
                self.member = member

        for member, kind in ((library.nn.ReLU(), "module"), (library.nn.Parameter(library.ones(1)), "parameters")):
            with pytest.raises(AttributeError, match=f"cannot assign {kind} before Module.__init__"):
                Early(member)
        assert Early(3).member == 3


def test_parameters():
    data = livegrad.tensor([1.0, 2.0])
    p = nn.Parameter(data)
    assert p.requires_grad and p.is_leaf and isinstance(p, livegrad.Tensor) and not isinstance(p * 1, nn.Parameter)
    assert repr(p) == repr(torch.nn.Parameter(torch.tensor([1.0, 2.0])))
    data[0] = 5
    assert float(p[0].detach()) == 5
    assert not nn.Parameter(data, False).requires_grad
    assert nn.Parameter().shape == (0,)
    p.grad = livegrad.ones(2)
    twin = copy.deepcopy(p)
    assert type(twin) is nn.Parameter and twin.grad is None and twin.requires_grad
    same(pickle.loads(pickle.dumps(p)), torch.nn.Parameter(torch.tensor([5.0, 2.0])))
    with pytest.raises(RuntimeError):
        nn.Parameter(livegrad.tensor([1]))


def test_calling_costs_little():
    """A module looks at hooks only while there are some."""
    m = nn.Identity()
    assert m(3) == 3
    assert not m._hooked
    with m.register_forward_hook(lambda *args: None):
        assert m(3) == 3
        assert m._hooked
    assert m(3) == 3
    assert not m._hooked


def test_data_parallel_wraps():
    for library in BOTH:
        model = library.nn.DataParallel(library.nn.Linear(2, 3))
        assert list(model.state_dict()) == ["module.weight", "module.bias"]
        assert tuple(model(library.ones(4, 2)).shape) == (4, 3)


def test_paths_follow_modules_that_move():
    """Remembered paths are right after children come, go and change places, whichever module that happens in."""
    seen = []

    class Leaf(nn.Module):
        def forward(self, x):
            seen.append(running.module_path())
            return x

    class Root(nn.Module):
        def __init__(self, **children):
            super().__init__()
            for name, child in children.items():
                setattr(self, name, child)

        def forward(self, x):
            for module in list(self.modules()):
                if isinstance(module, Leaf):
                    module(x)

    leaf = Leaf()
    root = Root(a=nn.ModuleList([leaf]))
    root(0)
    part = root.a[:1]  # a list of its own, that is in no tree
    root(0)
    root.b = part
    root(0)
    del root.a
    root(0)
    part.append(Leaf())
    root(0)
    other = Root(c=leaf)
    del root
    other(0)
    copied = copy.deepcopy(other)
    copied.d = copied.c
    del copied.c
    copied(0)
    other(0)
    assert seen == ["a.0", "a.0", "a.0", "b.0", "b.0", "b.1", "c", "d", "c"]


@pytest.mark.parametrize("name", ["livegrad", "torch"])
def test_hooks_where_modules_get_what_they_have(name):
    library = pytest.importorskip(name)
    module = library.nn.modules.module
    seen = []

    def twice(owner, name, value):
        seen.append((type(owner).__name__, name))
        return library.nn.Parameter(value.detach() * 0 + 2) if name == "weight" else None

    with (
        module.register_module_parameter_registration_hook(twice),
        module.register_module_buffer_registration_hook(lambda *a: seen.append((type(a[0]).__name__, a[1]))),
        module.register_module_module_registration_hook(lambda *a: seen.append((type(a[0]).__name__, a[1]))),
    ):
        net = library.nn.Sequential(library.nn.BatchNorm1d(2))
    assert seen == [("BatchNorm1d", "weight"), ("BatchNorm1d", "bias"), ("BatchNorm1d", "running_mean"),
                    ("BatchNorm1d", "running_var"), ("BatchNorm1d", "num_batches_tracked"), ("Sequential", "0")]  # fmt: skip
    assert [k for k, _ in net.named_parameters()] == ["0.weight", "0.bias"]
    seen.clear()
    library.nn.Linear(1, 1)
    assert not seen
