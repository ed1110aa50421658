"""`__torch_function__`: the same programs with livegrad and with PyTorch, and what they are told."""

import copy
import functools
import importlib
import inspect
import io
import pickle
import subprocess
import sys

import pytest

import livegrad


def in_both(program):
    """Runs a test with each library and asserts that it returns the same."""

    @functools.wraps(program)
    def test():
        torch = pytest.importorskip("torch")
        assert program(livegrad) == program(torch)

    del test.__wrapped__
    return test


def overrides(lib):
    return importlib.import_module(f"{lib.__name__}.overrides")


def functional(lib):
    return importlib.import_module(f"{lib.__name__}.nn.functional")


class Quiet:
    """What a test returns, made comparable."""

    def __new__(cls, x):
        if hasattr(x, "tolist"):
            return type(x).__name__, Quiet(x.detach().tolist())
        if isinstance(x, float):
            return round(x, 5)
        return [Quiet(y) for y in x] if isinstance(x, (tuple, list)) else x


def logging_class(lib):
    class Logged(lib.Tensor):
        calls = []

        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            cls.calls.append((overrides(lib).resolve_name(func).replace("functional.e", "e"), func.__name__))
            return super().__torch_function__(func, types, args, kwargs or {})

    return Logged


# --- subclasses ---------------------------------------------------------------------------------------------------


@in_both
def test_results_keep_the_subclass(lib):
    class Sub(lib.Tensor):
        pass

    class SubSub(Sub):
        pass

    F = functional(lib)
    x, y, z = Sub([[1.0, 2.0], [3.0, 4.0]]), lib.ones(2, 2), SubSub([[1.0, 1.0], [2.0, 2.0]])
    results = [x + y, y + x, x + z, 2 * x, x[0], x.sum(), lib.mean(x), F.relu(x), lib.cat([y, x]), x.max(0), x.T, -x,
               x.split(1), x.view(-1), x > 1, lib.add(y, x), x.to(lib.float64), lib.where(y > 0, x, y), x.clone(),
               F.linear(y, x), x.data, x.detach(), x.new_zeros(2), lib.zeros_like(x), x @ y, list(x),
               lib.as_tensor(x), x.add_(1), y.mul_(x), y, x.tolist(), x.shape == (2, 2), x.dim(), float(x.sum())]  # fmt: skip
    return [Quiet(r) for r in results], str(lib.max(x, 0)).replace("\n", ""), [type(t).__name__ for t in (x, y, z)]


@in_both
def test_text_begins_with_the_name_of_the_class(lib):
    class Sub(lib.Tensor):
        pass

    x = Sub([1.5, 2.0])
    assert not isinstance(lib.nn.Parameter(lib.ones(1)) * 1, lib.nn.Parameter)
    return repr(x), str(x * 2), repr(lib.nn.Parameter(lib.ones(1)))


@in_both
def test_history_goes_through_subclasses(lib):
    class Sub(lib.Tensor):
        pass

    leaf = lib.ones(3, requires_grad=True)
    x = leaf.as_subclass(Sub)
    y = (x * x[0]).exp()
    y.retain_grad()
    y.sum().backward()
    own = Sub([2.0]).requires_grad_()
    (own * 3).backward()
    (g,) = lib.autograd.grad((own**2).sum(), own)
    return (type(x).__name__, x.is_leaf, x.requires_grad, type(y).__name__, Quiet(leaf.grad), y.grad is not None,
            Quiet(own.grad.detach())[1], Quiet(g))  # fmt: skip


def test_data_is_shared_and_in_place_changes_keep_the_class():
    class Sub(livegrad.Tensor):
        pass

    base = livegrad.zeros(4)
    x = base.as_subclass(Sub)
    x[1] = 5
    x.add_(1)
    part = x[:2]
    part.mul_(10)
    assert base.tolist() == [10, 60, 1, 1] and type(part) is Sub and type(base) is livegrad.Tensor
    w = livegrad.ones(3, requires_grad=True)
    v = (w * 2).as_subclass(Sub)
    v[0] = 7
    v *= 2
    v.sum().backward()
    assert w.grad.tolist() == [0, 4, 4] and v.tolist() == [14, 4, 4]


@in_both
def test_classes_that_are_not_related_have_to_be_dealt_with(lib):
    class A(lib.Tensor):
        pass

    class B(lib.Tensor):
        pass

    with pytest.raises(TypeError) as error:
        lib.add(A([1.0]), B([1.0]))
    name = str(error.value).partition("\n\nFor more")[0].replace("<locals>", "")

    class Both(A):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            with importlib.import_module(f"{lib.__name__}._C").DisableTorchFunctionSubclass():
                return "both", sorted(t.__name__ for t in types)

    return name, lib.add(A([1.0]), Both([1.0]))


@in_both
def test_what_an_override_is_told(lib):
    Logged = logging_class(lib)
    x, y = lib.ones(3, 2).as_subclass(Logged), lib.ones(3, 2)
    F = functional(lib)
    _ = [x + y, y + x, 1 + x, y - x, x * 2, 3 * x, x / y, y / x, x @ y.T, -x, abs(x), x == y, x < 1, x[0], len(x),
         x.shape, x.dtype, x.T, x.size(), x.sum(), lib.add(y, x), lib.mean(x), lib.cat([y, x]), F.relu(x),
         F.linear(y, x), F.softmax(x, -1), x.max(0), lib.max(x, 0), x.tolist(), repr(x), x.numpy(), x.detach(),
         x.data, x.requires_grad, x.grad, x.is_leaf, x.add_(y), y.add_(x), x.double(), x.new_zeros(1),
         lib.zeros_like(x), x.view(-1), lib.equal(x, y), lib.where(y > 0, x, y), x.device, x.ndim, ~(x > 0), x // 1,
         x % 2, lib.vstack([x, y]), lib.einsum("ij->i", x), x.__setitem__(0, 1), bool(x[0, 0] > 0), hash(x),
         lib.is_tensor(x), lib.as_tensor(x), lib.sort(x), x.chunk(2), lib.nn.Linear(2, 2)(x), x._version]  # fmt: skip
    x += 1
    x *= 2
    names = [name for name, _ in Logged.calls]
    assert ("torch.Tensor.add", "add") in Logged.calls and ("torch.Tensor.shape.__get__", "__get__") in Logged.calls
    return names


def test_functions_that_a_table_knows_are_found_in_it():
    table = {}

    def implements(*functions):
        def enter(f):
            table.update(dict.fromkeys(functions, f))
            return f

        return enter

    class Scalar:
        def __init__(self, n, value):
            self.n, self.value = n, value

        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            if func not in table or not all(issubclass(t, (livegrad.Tensor, Scalar)) for t in types):
                return NotImplemented
            return table[func](*args, **(kwargs or {}))

    def dense(x):
        return x.value * livegrad.eye(x.n) if isinstance(x, Scalar) else x

    @implements(livegrad.mean)
    def mean(x):
        return float(x.value) / x.n

    @implements(livegrad.add, livegrad.Tensor.add)
    def add(x, y):
        if isinstance(x, Scalar) and isinstance(y, Scalar):
            return Scalar(x.n, x.value + y.value)
        return dense(x) + dense(y)

    @implements(livegrad.nn.functional.linear)
    def linear(x, w, bias=None):
        return "linear"

    s = Scalar(2, 3.0)
    assert livegrad.mean(s) == 1.5
    assert livegrad.add(s, s).value == 6.0
    assert livegrad.add(s, livegrad.ones(2, 2)).tolist() == [[4, 1], [1, 4]]
    assert livegrad.add(livegrad.ones(2, 2), s).tolist() == [[4, 1], [1, 4]]
    assert (livegrad.ones(2, 2) + s).tolist() == [[4, 1], [1, 4]]
    assert livegrad.nn.functional.linear(s, livegrad.ones(1)) == "linear"
    with pytest.raises(TypeError, match="Multiple dispatch failed for 'torch.mul'; all"):
        livegrad.mul(s, 2)
    with pytest.raises(TypeError, match="failed for 'torch.cat'"):
        livegrad.cat([livegrad.ones(1), s])


@in_both
def test_duck_types_carry_what_they_like(lib):
    class Noted:
        def __init__(self, data, note=None):
            self.t, self.note = lib.as_tensor(data), note

        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            notes = tuple(a.note for a in args if hasattr(a, "note"))
            args = [getattr(a, "t", a) for a in args]
            return cls(func(*args, **(kwargs or {})), notes[0])

    a, b = Noted([[1.0, 2.0]], "first"), Noted([[1.0, 1.0]], "second")
    F = functional(lib)
    made = [lib.add(a, b), lib.mul(b, a), F.relu(a), lib.exp(b), lib.sum(a, dim=0), F.mse_loss(a, b)]
    return [(m.note, Quiet(m.t)) for m in made]


@in_both
def test_subclasses_can_have_data_of_their_own(lib):
    class Unit(lib.Tensor):
        @staticmethod
        def __new__(cls, data, unit="m"):
            return super().__new__(cls, data)

        def __init__(self, data, unit="m"):
            self.unit = unit

        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            made = super().__torch_function__(func, types, args, kwargs)
            if isinstance(made, cls):
                made.unit = next(a.unit for a in args if isinstance(a, cls))
            return made

        def twice(self):
            return super().add(self)

    x = Unit([1.0, 2.0], "kg")
    return (x + 1).unit, lib.sum(x).unit, Quiet(x.twice()), x.twice().unit, x.view(2, 1).unit


class Duck:
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return func.__name__


@pytest.mark.parametrize("first", ["x / d", "x @ d", "x < d", "x + d", "x.__radd__(d)", "x.matmul(d)"])
def test_operators_ask_what_is_on_their_right(first):
    """Also the first one of a program: what is done at first is done in a process of its own."""
    torch = pytest.importorskip("torch")
    what = f"{first}, x + d, x - d, x * d, x / d, x @ d, x < d, x.add(d), lib.stack([x, d]), x.copy_(d), x.mul_(d)"
    expected = eval(what, {"lib": torch, "x": torch.ones(2), "d": Duck()})
    program = f"import livegrad as lib\n{inspect.getsource(Duck)}\nx, d = lib.ones(2), Duck()\nprint(({what}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == str(expected), done.stderr


# --- wrapping, parameters, copies ---------------------------------------------------------------------------------


@in_both
def test_subclasses_are_made_of_tensors(lib):
    class Sub(lib.Tensor):
        pass

    data = lib.ones(2)
    made = lib.Tensor._make_subclass(Sub, data, True)
    data.add_(1)

    class Wrapper(Sub):
        @classmethod
        def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
            return NotImplemented

    wrapped = lib.Tensor._make_wrapper_subclass(Wrapper, (2, 3), dtype=lib.float64, requires_grad=True)
    with pytest.raises(TypeError):
        data.as_subclass(int)
    return (Quiet(made), made.requires_grad, made.is_leaf, type(wrapped).__name__, tuple(wrapped.shape),
            str(wrapped.dtype), wrapped.requires_grad)  # fmt: skip


@in_both
def test_parameters_of_a_subclass_keep_it(lib):
    class Sub(lib.Tensor):
        pass

    nn = lib.nn
    p = nn.Parameter(Sub([1.0, 2.0]))
    assert type(p) is Sub and isinstance(p, nn.Parameter) and not isinstance(lib.ones(1), nn.Parameter)
    assert not isinstance(Sub([1.0]), nn.Parameter) and not isinstance(p, nn.Buffer)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.p = p
            self.register_buffer("b", Sub([1.0]))

    model = Model()
    optimizer = lib.optim.SGD(model.parameters(), lr=0.5)
    (model.p * model.b).sum().backward()
    optimizer.step()
    return [name for name, _ in model.named_parameters()], Quiet(p), list(model.state_dict()), p.requires_grad


def test_copies_and_pickles_keep_class_and_attributes():
    x = Kept([1.0, 2.0])
    x.note = ["a"]
    x.requires_grad_()
    for made in (copy.deepcopy(x), pickle.loads(pickle.dumps(x)), copy.copy(x)):
        assert type(made) is Kept and made.tolist() == [1, 2] and made.note == ["a"] and made.requires_grad
    file = io.BytesIO()
    livegrad.save({"x": x}, file)
    file.seek(0)
    made = livegrad.load(file, weights_only=False)["x"]
    assert type(made) is Kept and made.tolist() == [1, 2] and made.note == ["a"]
    layer = livegrad.nn.Linear(2, 1)
    layer.weight = livegrad.nn.Parameter(Kept([[1.0, 2.0]]))
    twin = copy.deepcopy(layer)
    assert type(twin.weight) is Kept and isinstance(twin.weight, livegrad.nn.Parameter)


class Kept(livegrad.Tensor):
    pass


# --- switching off, and modes -------------------------------------------------------------------------------------


@in_both
def test_overrides_are_switched_off(lib):
    C = importlib.import_module(f"{lib.__name__}._C")

    class Sub(lib.Tensor):
        pass

    class Plain(lib.Tensor):
        __torch_function__ = C._disabled_torch_function_impl

    x = Sub([1.0])
    with C.DisableTorchFunctionSubclass():
        inside = x + 1
        assert not overrides(lib).has_torch_function((x,))
    assert overrides(lib).has_torch_function((1, x)) and not overrides(lib).has_torch_function((lib.ones(1), 2))
    assert not overrides(lib).has_torch_function_unary(Plain([1.0]))
    return Quiet(inside), Quiet(x + 1), Quiet(Plain([1.0]) + 1)


@in_both
def test_modes_see_every_function(lib):
    o, F = overrides(lib), functional(lib)
    seen = []

    class Log(o.TorchFunctionMode):
        def __init__(self, name):
            super().__init__()
            self.name = name

        def __torch_function__(self, func, types, args=(), kwargs=None):
            seen.append((self.name, func.__name__))
            return func(*args, **(kwargs or {}))

    x = lib.ones(2)
    with Log("a"), Log("b"):
        y = lib.zeros(2) + x
        F.relu(y).sum()
    lib.ones(1)
    with Log("c"):
        lib.tensor([1.0]).item()
    return seen, Quiet(y)


@in_both
def test_modes_replace_functions(lib):
    o = overrides(lib)
    rand = lib.rand

    class NoRandom(o.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            if func is rand:
                return lib.zeros(*args)
            return func(*args, **(kwargs or {}))

    with NoRandom():
        a = lib.rand(2)
    with pytest.raises(ZeroDivisionError), o.BaseTorchFunctionMode():
        raise ZeroDivisionError
    assert o._get_current_function_mode() is None
    return Quiet(a), bool(lib.rand(2).abs().sum() > 0)


@in_both
def test_a_mode_that_replaces_while_others_look_on(lib):
    """A pattern of edits: functions are rewritten by rules, and rules may use the functions that they rewrite."""
    o = overrides(lib)

    class Rules(o.TorchFunctionMode):
        def __init__(self, rules):
            self.rules = rules

        def __torch_function__(self, func, types, args=(), kwargs=None):
            if func in self.rules:
                return self.rules[func](func, *args, **(kwargs or {}))
            return func(*args, **(kwargs or {}))

    rules = {lib.add: lambda f, a, b: lib.sub(a, b), lib.mul: lambda f, a, b: f(a, b) + 100}
    x = lib.ones(2)
    with Rules(rules):
        return Quiet(lib.add(x, x)), Quiet(lib.mul(x, x)), Quiet(x + x)


# --- functions of programs, and what there is ---------------------------------------------------------------------


@in_both
def test_functions_of_programs_can_be_overridden(lib):
    o = overrides(lib)

    def twice(x):
        if o.has_torch_function_unary(x):
            return o.handle_torch_function(twice, (x,), x)
        return x + x

    @o.wrap_torch_function(lambda a, b: (a, b))
    def both(a, b):
        return a * b

    names = []

    class Named(lib.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            names.append(func.__name__)
            return super().__torch_function__(func, types, args, kwargs)

    made = [twice(Named([1.0])), both(Named([2.0]), lib.ones(1)), twice(lib.ones(1))]
    depth = []

    class Deep(lib.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            depth.append(func.__name__)
            return o.redispatch_function(func, types, args, kwargs or {})

    twice(Deep([1.0]))
    return [Quiet(m) for m in made], names, depth


def test_a_plain_method_is_warned_of():
    class Old:
        def __torch_function__(self, func, types, args=(), kwargs=None):
            return "old"

    with pytest.warns(DeprecationWarning, match="as a plain method is deprecated"):
        assert livegrad.exp(Old()) == "old"


@in_both
def test_names(lib):
    o = overrides(lib)
    F = functional(lib)
    functions = [lib.add, lib.Tensor.add, F.relu, lib.linalg.norm, lib.fft.fft, lib.Tensor.shape.__get__, lib.mean,
                 lib.Tensor.relu_, lib.zeros_like]  # fmt: skip

    class Duck:
        def __torch_function__(self, *_):
            return None

    return [o.resolve_name(f) for f in functions], [o.is_tensor_like(x) for x in (lib.ones(1), Duck(), 1, [])]


def test_every_function_of_pytorch_that_can_be_overridden_can_be_here():
    torch = pytest.importorskip("torch")
    theirs = {torch.overrides.resolve_name(f) for f in torch.overrides.get_testing_overrides()}
    wrong = []
    for name in filter(None, theirs):
        _, *path, last = name.split(".")
        if path in (["Tensor"], ["functional"]) or "Tensor" in path or last.startswith("sym_"):  # those take numbers
            continue
        try:
            owner = importlib.import_module(".".join(["livegrad", *path]))
            f = getattr(owner, last)
        except (ImportError, AttributeError):
            continue
        if not livegrad.overrides.is_overridable(f):
            wrong.append(name)
    assert wrong == []


def test_overridable_functions_have_names():
    o = livegrad.overrides
    found = o.get_overridable_functions()
    assert livegrad.mean in found[livegrad] and livegrad.Tensor.mean in found[livegrad.Tensor]
    assert [f for functions in found.values() for f in functions if not o.resolve_name(f)] == []
    assert livegrad.zeros not in o.get_ignored_functions() and livegrad.is_tensor in o.get_ignored_functions()
    assert o.is_tensor_method_or_property(livegrad.Tensor.add) and not o.is_tensor_method_or_property(livegrad.add)
    assert livegrad.add in o.get_testing_overrides()


def test_tensors_of_pytorchs_own_are_refused_and_refuse():
    torch = pytest.importorskip("torch")
    for call in (
        lambda: torch.sum(livegrad.ones(2)),
        lambda: torch.ones(2) + livegrad.ones(2),
        lambda: torch.nn.Linear(2, 2)(livegrad.ones(2)),
        lambda: livegrad.sum(torch.ones(2)),
        lambda: livegrad.ones(2) + torch.ones(2),
        lambda: livegrad.nn.Linear(2, 2)(torch.ones(2)),
    ):
        with pytest.raises(TypeError):
            call()
    assert livegrad.tensor(torch.ones(2)).tolist() == livegrad.as_tensor(torch.ones(2)).tolist() == [1, 1]


def test_functions_that_came_after_names_were_asked_for_have_names(monkeypatch):
    late = livegrad.overriding.asks(lambda x: x)
    assert livegrad.overrides.resolve_name(livegrad.mean) == "torch.mean"
    monkeypatch.setattr(livegrad, "late_function", late, raising=False)
    assert livegrad.overrides.resolve_name(late) == "torch.late_function"
    monkeypatch.delattr(livegrad, "late_function")
    livegrad.overriding.ANNOUNCED.pop(late)
    livegrad.overrides._names.cache_clear()
