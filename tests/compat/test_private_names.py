"""Names behind PyTorch's public ones that libraries use when they are imported: ops.aten, printing, questions."""

import importlib
import io
import os
import pickle
import subprocess
import sys
from collections import OrderedDict

import pytest

import livegrad
from livegrad._subclasses.fake_tensor import FakeTensor, is_fake
from livegrad._tensor_str import PRINT_OPTS, _add_suffixes, _str, _tensor_str

ATEN = [
    ("add.Tensor", lambda m: (m.ones(2), m.arange(2.0))),
    ("cat.default", lambda m: ([m.ones(2), m.zeros(1)], 0)),
    ("flip.default", lambda m: (m.arange(3), [0])),
    ("sort.default", lambda m: (m.tensor([2, 1, 3]), 0, True)),
    ("index_select.default", lambda m: (m.arange(6).view(2, 3), 1, m.tensor([2, 0]))),
    ("select.int", lambda m: (m.arange(6).view(2, 3), 1, -1)),
    ("slice.Tensor", lambda m: (m.arange(6).view(2, 3), -1, 1, 5)),
    ("slice.Tensor", lambda m: (m.arange(6), 0, None, -1, 2)),
    ("index.Tensor", lambda m: (m.arange(6).view(2, 3), [None, m.tensor([0, 2])])),
    ("unbind.int", lambda m: (m.arange(4).view(2, 2), 1)),
    ("_to_copy.default", lambda m: (m.arange(3),)),
    ("alias.default", lambda m: (m.arange(3),)),
    ("mm.default", lambda m: (m.ones(2, 3), m.ones(3, 2))),
    ("gelu.default", lambda m: (m.arange(3.0),)),
    ("view.dtype", lambda m: (m.ones(2), m.int32)),
]


def shown(result):
    return str(tuple(result) if isinstance(result, (tuple, list)) else result)


@pytest.mark.parametrize(("name", "arguments"), ATEN, ids=[n for n, _ in ATEN])
def test_aten_calls_what_pytorch_does(name, arguments):
    torch = pytest.importorskip("torch")
    packet, overload = name.split(".")
    ours = getattr(getattr(livegrad.ops.aten, packet), overload)
    theirs = getattr(getattr(torch.ops.aten, packet), overload)
    assert (str(ours), ours.name(), ours.__name__) == (str(theirs), theirs.name(), theirs.__name__)
    assert (repr(ours), str(ours.overloadpacket)) == (repr(theirs), str(theirs.overloadpacket))
    assert shown(ours(*arguments(livegrad))) == shown(theirs(*arguments(torch)))
    assert shown(ours.overloadpacket(*arguments(livegrad))) == shown(theirs(*arguments(torch)))


def test_a_copy_is_one_and_takes_a_dtype():
    x = livegrad.ones(2)
    made = livegrad.ops.aten._to_copy.default(x, dtype=livegrad.float64)
    assert made.dtype is livegrad.float64
    same = livegrad.ops.aten._to_copy.default(x)
    same += 1
    assert x.tolist() == [1.0, 1.0]


def test_overloads_are_there_once_and_have_their_names():
    aten = livegrad.ops.aten
    assert aten.add.Tensor is aten.add.Tensor and aten.add.Tensor != aten.add.Scalar
    assert len({aten.add.Tensor: 1, aten.add.Scalar: 2, aten.sub.Tensor: 3}) == 3
    ops = importlib.import_module("livegrad._ops")
    assert isinstance(aten.add, ops.OpOverloadPacket) and isinstance(aten.add.out, ops.OpOverload)
    with pytest.raises(AttributeError, match="'_OpNamespace' 'aten' object has no attribute 'there_is_none'"):
        _ = aten.there_is_none
    with pytest.raises(NotImplementedError, match="_sparse_addmm is a name to compare with"):
        aten._sparse_addmm.default()


def test_tensors_of_others_are_written_as_pytorch_writes_them():
    torch = pytest.importorskip("torch")
    theirs = importlib.import_module("torch._tensor_str")
    for make in (lambda m: m.arange(40), lambda m: m.ones(2, 3), lambda m: m.zeros(0, 2)):
        ours, other = make(livegrad), make(torch)
        for indent in (0, 6):
            text = _tensor_str(ours, indent)
            assert text == theirs._tensor_str(other, indent)
            for notes in ([], ["a=1"], ["size=" + "9" * 40, "b=" + "1" * 40]):
                for newline in (False, True):
                    added = _add_suffixes("Mine(" + text, notes, indent, newline)
                    assert added == theirs._add_suffixes("Mine(" + text, notes, indent, newline)
    assert _str(livegrad.ones(1), tensor_contents="[x]") == theirs._str(torch.ones(1), tensor_contents="[x]")
    assert PRINT_OPTS.linewidth == 80


def test_nothing_is_fake_traced_or_remote():
    assert not is_fake(livegrad.ones(1)) and not isinstance(livegrad.ones(1), FakeTensor)
    with pytest.raises(TypeError, match="no fake tensors"):
        FakeTensor(livegrad.ones(1))
    assert importlib.import_module("livegrad.fx.experimental.proxy_tensor").get_proxy_mode() is None
    assert importlib.import_module("livegrad.distributed.rpc").is_available() is False
    assert not isinstance(livegrad.ones(1), importlib.import_module("livegrad._C").Value)


def test_torch_has_itself_by_its_name():
    code = (
        "import livegrad, livegrad.compat as c; c.install(); import torch; assert torch.torch.Tensor is torch.Tensor; "
        "c.uninstall(); print(hasattr(livegrad, 'torch'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


@pytest.mark.parametrize("module", ["livegrad", "torch"])
def test_context_managers_that_decorate(module):
    pytest.importorskip(module)
    base = importlib.import_module(f"{module}.utils._contextlib")
    seen = []

    class noted(base._DecoratorContextManager):
        def __init__(self, name):
            self.name = name

        def __enter__(self):
            seen.append(f"in {self.name}")

        def __exit__(self, *exc):
            seen.append(f"out {self.name}")

        def clone(self):
            return type(self)(self.name)

    class plain(base._NoParamDecoratorContextManager):
        def __enter__(self):
            seen.append("plain")

        def __exit__(self, *exc):
            pass

    @noted("a")
    def count(n):
        for i in range(n):
            got = yield i
            seen.append(got)
        return "end"

    @plain
    def f():
        return 1

    @plain()
    def g():
        return 2

    running = count(2)
    assert next(running) == 0 and running.send("x") == 1
    with pytest.raises(StopIteration, match="end"):
        running.send("y")
    assert (f(), g()) == (1, 2)
    assert seen == ["in a", "out a", "in a", "x", "out a", "in a", "y", "out a", "plain", "plain"]


def test_groups_of_tensors_by_dtype():
    for module in (livegrad, pytest.importorskip("torch")):
        utils = importlib.import_module(f"{module.__name__}.utils._foreach_utils")
        a, b, c = module.ones(1), module.ones(1, dtype=module.float64), module.zeros(1)
        groups = utils._group_tensors_by_device_and_dtype([[a, b, c], [c, None, a]], with_indices=True)
        made = {str(dtype): (lists, indices) for (device, dtype), (lists, indices) in groups.items()}
        lists, indices = made["torch.float32"]
        assert lists[0][0] is a and lists[0][1] is c and lists[1][1] is a and list(indices) == [0, 2]
        assert made["torch.float64"][0][1] == [None] and list(made["torch.float64"][1]) == [1]
        assert utils._has_foreach_support([a, None], a.device) in (True, False)


def test_bases_of_layers_have_pytorchs_names():
    for module in (livegrad, pytest.importorskip("torch")):
        conv, dropout = (importlib.import_module(f"{module.__name__}.nn.modules.{n}") for n in ("conv", "dropout"))
        assert isinstance(module.nn.Conv2d(1, 1, 1), conv._ConvNd)
        assert isinstance(module.nn.ConvTranspose1d(1, 1, 1), (conv._ConvTransposeNd, conv._ConvNd))
        assert issubclass(conv._ConvTransposeNd, conv._ConvNd) and issubclass(module.nn.Dropout2d, dropout._DropoutNd)


@pytest.mark.parametrize("name", ["livegrad", "torch"])
def test_an_optimizer_around_another_has_hooks_if_it_asks_for_them(name):
    module = pytest.importorskip(name)

    class Around(module.optim.Optimizer):
        def __init__(self, inner):
            self.inner = inner
            self._optimizer_step_pre_hooks, self._optimizer_step_post_hooks = OrderedDict(), OrderedDict()
            self._patch_step_function()

        def step(self, closure=None):
            return self.inner.step(closure)

    p = module.nn.Parameter(module.ones(1))
    optimizer = Around(module.optim.SGD([p], lr=1.0))
    seen = []
    optimizer.register_step_post_hook(lambda *args: seen.append(p.item()))
    p.grad = module.ones(1)
    optimizer.step()
    assert seen == [0.0]
    assert p._cdata == p._cdata != module.ones(1)._cdata


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_gradients_of_softmax_by_their_own_names(name):
    torch = pytest.importorskip("torch")
    found = []
    for module in (livegrad, torch):
        x = module.linspace(-1, 1, 6, dtype=module.float64).view(2, 3).requires_grad_()
        y = getattr(x, name)(-1)
        g = module.arange(6.0, dtype=module.float64).view(2, 3)
        (expected,) = module.autograd.grad(y, x, g)
        made = getattr(module, f"_{name}_backward_data")(g, y.detach(), -1, module.float64)
        assert module.allclose(made, expected)
        found.append(made.tolist())
    assert found[0] == [pytest.approx(row) for row in found[1]]


def test_names_of_what_is_not_there_can_be_imported():
    from livegrad.distributed import device_mesh
    from livegrad.distributed._tensor import DTensor
    from livegrad.distributed.fsdp import wrap

    assert livegrad.distributed.device_mesh is device_mesh
    assert livegrad.distributed.DeviceMesh is device_mesh.DeviceMesh
    assert DTensor is livegrad.distributed.tensor.DTensor
    for function in (wrap.transformer_auto_wrap_policy, livegrad.distributed.init_device_mesh):
        with pytest.raises(NotImplementedError, match="not sharded"):
            function()
    for name in ("ObserverBase", "FakeQuantizeBase"):
        with pytest.raises(NotImplementedError, match=name):
            getattr(livegrad.ao.quantization, name)()
    assert not isinstance(livegrad.ones(1), livegrad.TensorType)


def test_what_zuko_and_laplace_take_from_distributions():
    torch = pytest.importorskip("torch")
    from livegrad.distributions import constraints, multivariate_normal, transforms

    assert isinstance(transforms.ExpTransform().inv, transforms._InverseTransform)
    assert isinstance(constraints.independent(constraints.real, 1), constraints._IndependentConstraint)
    precision = torch.tensor([[2.0, 0.5], [0.5, 1.0]])
    ours = multivariate_normal._precision_to_scale_tril(livegrad.tensor(precision.tolist()))
    theirs = torch.distributions.multivariate_normal._precision_to_scale_tril(precision)
    assert ours.flatten().tolist() == pytest.approx(theirs.flatten().tolist())
    livegrad.manual_seed(0), torch.manual_seed(0)
    shapes = [[0.5, 2.0, 30.0], [1.0, 0.1, 7.0]]
    ours, theirs = livegrad.tensor(shapes, requires_grad=True), torch.tensor(shapes, requires_grad=True)
    drawn, expected = livegrad._standard_gamma(ours), torch._standard_gamma(theirs)
    drawn.sum().backward(), expected.sum().backward()
    assert drawn.flatten().tolist() == pytest.approx(expected.flatten().tolist(), rel=1e-5)
    assert ours.grad.flatten().tolist() == pytest.approx(theirs.grad.flatten().tolist(), rel=1e-3)


def test_private_modules_of_data():
    pytest.importorskip("torch")
    from torch.utils.data import _utils as theirs

    from livegrad.utils.data import _utils

    assert _utils.worker._generate_state(2**40 + 7, 3) == theirs.worker._generate_state(2**40 + 7, 3)
    assert _utils.worker._worker_info is None

    class Own:
        pass

    _utils.collate.default_collate_fn_map[Own] = lambda batch, *, collate_fn_map=None: len(batch)
    try:
        assert livegrad.utils.data.default_collate([{"a": Own()}, {"a": Own()}]) == {"a": 2}
    finally:
        del _utils.collate.default_collate_fn_map[Own]
    batch = [(1, 2.0), (3, 4.0)]
    ours, expected = ((m.collate.collate(batch, collate_fn_map={int: lambda b, collate_fn_map: b,
                       float: lambda b, collate_fn_map: sum(b)})) for m in (_utils, theirs))  # fmt: skip
    assert ours == expected


def test_tensors_as_keys():
    from livegrad.utils.weak import TensorWeakRef, WeakTensorKeyDictionary

    x, y = livegrad.ones(2), livegrad.ones(2)
    names = WeakTensorKeyDictionary({x: 1, y: 2})
    assert names[x] == 1 and names[y] == 2 and list(names) == [x, y] and 3 not in names
    ref = TensorWeakRef(y)
    assert ref() is y
    del names[x], y
    assert len(names) == 0 and ref() is None


def test_members_and_flat_tensors():
    torch = pytest.importorskip("torch")
    from livegrad._utils import _get_available_device_type, _get_device_module, _rebuild_tensor_v2
    from livegrad.nn.utils._named_member_accessor import swap_tensor

    layer, given = livegrad.nn.Linear(2, 1), livegrad.ones(1, 2)
    weight = layer.weight
    assert swap_tensor(layer, "weight", given) is weight and layer.weight is given
    with pytest.raises(KeyError):
        swap_tensor(layer, "a.b", given)
    with pytest.raises(AttributeError):
        swap_tensor(layer, "no", given)
    assert swap_tensor(layer, "no", given, allow_missing=True) is None and layer.no is given
    assert _get_device_module("cuda") is livegrad.cuda and _get_available_device_type() in (None, "cuda")
    x = livegrad.arange(6.0).view(2, 3)
    made = _rebuild_tensor_v2(x.storage(), 1, (2, 2), (3, 1), True, None)
    assert made.tolist() == torch.arange(6.0).view(2, 3)[:, 1:].tolist() and made.requires_grad
    assert livegrad._C._is_alias_of(x, x[0]) and not livegrad._C._is_alias_of(x, x + 1)
    assert not livegrad._C._is_torch_function_mode_enabled()


def test_operators_by_their_names():
    torch = pytest.importorskip("torch")
    for library in (livegrad, torch):
        x = library.tensor([1, 2])
        assert (2 << x).tolist() == [4, 8] and (8 >> x).tolist() == [4, 2]
        assert x.__div__(2).tolist() == [0.5, 1] and x.__rdiv__(2).tolist() == [2, 1]
        assert library.tensor(3.5).__long__() == 3 and library.tensor(3.5).__nonzero__() is True
        assert x.__rmatmul__(x).item() == 5
        with pytest.raises(TypeError):
            [1, 2] @ x


def test_modules_of_devices():
    assert livegrad.get_device_module("cpu") is livegrad.cpu and livegrad.get_device_module("cuda:0") is livegrad.cuda
    assert livegrad.get_device_module() in (livegrad.cpu, livegrad.cuda)
    with pytest.raises(RuntimeError, match="'torch.meta'"):
        livegrad.get_device_module("meta")
    cpu = livegrad.cpu
    x = livegrad.ones(1000) * 2
    cpu.synchronize()
    with cpu.stream(cpu.current_stream()):
        assert cpu.is_available() and cpu.current_device() == "cpu" and x.sum().item() == 2000
    event = cpu.Event()
    event.record()
    event.synchronize()
    assert event.query()
    with pytest.warns(FutureWarning), cpu.amp.autocast():
        assert (livegrad.ones(2, 2) @ livegrad.ones(2, 2)).dtype is livegrad.bfloat16
    assert livegrad.Stream is livegrad.cuda.Stream
    assert isinstance(x.untyped_storage(), livegrad.StorageBase)


def test_what_libraries_look_at_in_functions_and_loaders():
    """MONAI looks for the defaults of functions, which may be machine code by then; fastai and opacus import names."""
    from livegrad.amp.grad_scaler import OptState
    from livegrad.jit import Error, ScriptFunction, TracerWarning, interface
    from livegrad.utils.data.dataloader import _collate_fn_t

    assert [s.name for s in OptState] == ["READY", "UNSCALED", "STEPPED"]
    assert livegrad._guards.active_fake_mode() is None
    assert interface(int) is int and issubclass(TracerWarning, Warning) and issubclass(Error, RuntimeError)
    assert not isinstance(livegrad.meshgrid, ScriptFunction) and _collate_fn_t is not None
    code = "import livegrad; print(livegrad.meshgrid.__kwdefaults__, livegrad.meshgrid.__defaults__)"
    for mode in ("0", "always"):
        env = {**os.environ, "LIVEGRAD_NATIVE": mode}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, env=env)
        assert done.stdout == "None None\n", done.stderr


class _Here(pickle.Unpickler):
    """Reads a pickle as a program that imports livegrad as torch does."""

    def find_class(self, module, name):
        return super().find_class(module.replace("torch", "livegrad", 1), name)


def test_plain_pickles_of_pytorchs_tensors():
    torch = pytest.importorskip("torch")
    given = {
        "numbers": torch.arange(3.0), "view": torch.arange(6).reshape(2, 3).t()[1:],
        "leaf": torch.ones(2, requires_grad=True),
        "half": torch.ones(2, dtype=torch.bfloat16), "bools": torch.tensor([True, False]), "complex": torch.ones(1) + 1j,
        "parameter": torch.nn.Parameter(torch.ones(2, 2)),
    }  # fmt: skip
    found = _Here(io.BytesIO(pickle.dumps(given))).load()
    for name, t in given.items():
        mine = found[name]
        assert isinstance(mine, livegrad.Tensor) and mine.tolist() == t.tolist() and mine.stride() == t.stride()
        assert str(mine.dtype) == str(t.dtype) and mine.requires_grad == t.requires_grad
    assert isinstance(found["parameter"], livegrad.nn.Parameter)
