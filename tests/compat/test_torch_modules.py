"""Modules that programs import besides tensors and layers: library, hub, accelerator, compiler, benchmark, foreach."""

import types

import pytest

import livegrad
from livegrad import nn

torch = pytest.importorskip("torch")

TENSORS = [[-1.5, 0.25, 2.0], [[0.5, -0.5], [3.0, 1.0]]]


def lists(module):
    return [module.tensor(t) for t in TENSORS]


def same(ours, theirs):
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs):
        assert a.tolist() == pytest.approx(b.tolist(), nan_ok=True, rel=1e-6) or str(a.tolist()) == str(b.tolist())


@pytest.mark.parametrize("name", ["abs", "exp", "neg", "sqrt", "sigmoid", "round", "reciprocal", "tanh", "lgamma"])
def test_foreach_of_one_list(name):
    for_each = f"_foreach_{name}"
    ours, theirs = getattr(livegrad, for_each)(lists(livegrad)), getattr(torch, for_each)(lists(torch))
    for a, b in zip(ours, theirs):
        assert a.flatten().tolist() == pytest.approx(b.flatten().tolist(), nan_ok=True, rel=1e-5)
    changed, expected = lists(livegrad), lists(torch)
    assert getattr(livegrad, for_each + "_")(changed) is None
    getattr(torch, for_each + "_")(expected)
    for a, b in zip(changed, expected):
        assert a.flatten().tolist() == pytest.approx(b.flatten().tolist(), nan_ok=True, rel=1e-5)


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div", "maximum", "minimum", "clamp_min", "clamp_max", "pow"])
@pytest.mark.parametrize("second", ["number", "numbers", "tensors"])
@pytest.mark.parametrize("suffix", ["", "_"])
def test_foreach_of_two(name, second, suffix):
    def run(module):
        other = {"number": 2.0, "numbers": [2.0, 3.0], "tensors": [t + 0.5 for t in lists(module)]}[second]
        given = lists(module)
        made = getattr(module, f"_foreach_{name}{suffix}")(given, other)
        return given if made is None else made

    for a, b in zip(run(livegrad), run(torch)):
        assert a.flatten().tolist() == pytest.approx(b.flatten().tolist(), nan_ok=True, rel=1e-5)


def test_foreach_of_three_and_others():
    for module in (livegrad, torch):
        p, a, b = lists(module), lists(module), [t.exp() for t in lists(module)]
        module._foreach_addcmul_(p, a, b, value=0.5)
        module._foreach_addcdiv_(p, a, b, [0.5, 2.0])
        module._foreach_lerp_(p, a, 0.25)
        norms = [float(n) for n in module._foreach_norm(p)]
        module._foreach_copy_(a, p)
        flat = [x for t in a for x in t.flatten().tolist()]
        if module is livegrad:
            found = norms + flat
            module._foreach_zero_(a)
            assert all(not t.any() for t in a)
    assert found == pytest.approx(norms + flat, rel=1e-5)
    with pytest.raises(RuntimeError, match="same number of tensors, got 2 and 1"):
        livegrad._foreach_add(lists(livegrad), [1.0])


def custom(module, name):
    @module.library.custom_op(f"{name}::scaled_sin", mutates_args=())
    def scaled_sin(x: module.Tensor, scale: float) -> module.Tensor:
        return module.sin(x) * scale

    @scaled_sin.register_fake
    def _(x, scale):
        return module.empty_like(x)

    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(inputs[0])
        ctx.scale = inputs[1]

    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * x.cos() * ctx.scale, None

    return scaled_sin, setup_context, backward


def test_custom_op_has_the_gradient_that_is_registered():
    results = []
    for module in (livegrad, torch):
        op, setup_context, backward = custom(module, "with_gradient")
        op.register_autograd(backward, setup_context=setup_context)
        x = module.tensor([0.5, 1.0], requires_grad=True)
        y = module.ops.with_gradient.scaled_sin(x, 3.0)
        module.ops.with_gradient.scaled_sin.default(y, 2.0).sum().backward()
        results.append((y.tolist(), x.grad.tolist(), y.grad_fn.name()))
    for a, b in zip(results[0][:2], results[1][:2]):
        assert a == pytest.approx(b, rel=1e-6)
    assert results[0][2] == results[1][2]


def test_custom_op_without_a_gradient_says_so_in_backward():
    for module in (livegrad, torch):
        op, _, _ = custom(module, "without_gradient")
        y = op(module.ones(2, requires_grad=True), 2.0)
        assert y.requires_grad
        with pytest.raises(RuntimeError, match="no autograd formula was registered"):
            y.sum().backward()


def test_library_defines_operators_and_their_kernels():
    for module in (livegrad, torch):
        lib = module.library.Library("a_shop", "DEF")
        lib.define("triple(Tensor x) -> Tensor")
        lib.define("half(Tensor x) -> Tensor")
        lib.impl("triple", lambda x: x * 3, "CompositeImplicitAutograd")
        lib.impl("half", lambda x: x / 2, "CPU")
        x = module.ones(2, requires_grad=True)
        module.ops.a_shop.triple(x).sum().backward()
        assert x.grad.tolist() == [3.0, 3.0]
        assert module.ops.a_shop.half(module.ones(2)).tolist() == [0.5, 0.5]
        with pytest.raises(AttributeError, match="'a_shop' object has no attribute 'quarter'"):
            module.ops.a_shop.quarter  # noqa: B018
    with pytest.raises(OSError, match="cannot be loaded"):
        livegrad.ops.load_library("x.so")


def test_hub_loads_from_a_folder(tmp_path):
    (tmp_path / "hubconf.py").write_text(
        "import torch\ndependencies = ['torch']\n\ndef layer(n):\n    'A layer.'\n    return torch.nn.Linear(n, 1)\n"
    )
    assert livegrad.hub.list(str(tmp_path), source="local") == ["layer"]
    assert livegrad.hub.help(str(tmp_path), "layer", source="local") == "A layer."
    assert livegrad.hub.load(str(tmp_path), "layer", 3, source="local").in_features == 3
    with pytest.raises(RuntimeError, match="source='local'"):
        livegrad.hub.load("someone/something", "layer")
    with pytest.raises(RuntimeError, match="Cannot find callable"):
        livegrad.hub.load(str(tmp_path), "other", source="local")


def test_weights_are_fetched_once_and_checked(tmp_path):
    import hashlib

    source = tmp_path / "source"
    source.mkdir()
    file = source / "w.pth"
    livegrad.save({"w": livegrad.ones(2)}, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
    named = source / f"w-{digest}.pth"
    file.rename(named)
    cache = tmp_path / "cache"
    for _ in range(2):  # the second time there is no source any more
        found = livegrad.hub.load_state_dict_from_url(named.as_uri(), model_dir=cache, check_hash=True)
        assert found["w"].tolist() == [1.0, 1.0]
        named.unlink(missing_ok=True)
    wrong = source / "w-00000000.pth"
    livegrad.save({}, wrong)
    with pytest.raises(RuntimeError, match="invalid hash value"):
        livegrad.hub.load_state_dict_from_url(wrong.as_uri(), model_dir=cache, check_hash=True)
    assert [p.name for p in cache.iterdir()] == [f"w-{digest}.pth"]


def test_accelerator_and_compiler_answer_for_this_machine():
    assert livegrad.accelerator.is_available() == livegrad.cuda.is_available()
    assert livegrad.accelerator.device_count() == livegrad.cuda.device_count()
    assert (livegrad.accelerator.current_accelerator() is None) == (not livegrad.cuda.is_available())
    livegrad.accelerator.synchronize()

    @livegrad.compiler.disable
    def f(x):
        return x + 1

    with livegrad.compiler.set_stance("force_eager"):
        assert f(1) == 2 and not livegrad.compiler.is_compiling()
    assert livegrad.compiler.disable(recursive=False)(f) is f


def test_timer_measures_what_it_is_given():
    from livegrad.utils.benchmark import Timer

    runs = []
    timer = Timer("f()", globals={"f": lambda: runs.append(1)}, label="appending")
    measured = timer.timeit(200)
    assert measured.number_per_run == 200 and len(measured.times) == 1 and len(runs) >= 200
    assert 0 < measured.median < 1 and measured.mean == measured.median
    assert "appending" in repr(measured)
    assert Timer("\n  x.add(1)\n", "\n    x = torch.ones(1)\n").timeit(2).title == "x.add(1)"
    assert timer.blocked_autorange(min_run_time=0.01).iqr >= 0
    with pytest.raises(ValueError, match="only statements in Python"):
        Timer("x", language="cpp")
    with pytest.raises(ValueError, match="only statements in Python"):
        Timer("x", language=livegrad.utils.benchmark.Language.CPP)
    assert Timer("1", language=livegrad.utils.benchmark.Language.PYTHON).timeit(2).times


def described(measurement, stmt="x + 1", setup="pass", label="adding", sub_label=None, description=None, threads=1):
    """What both libraries say of the same times, from the second line on."""
    from torch.utils.benchmark import Measurement as Theirs
    from torch.utils.benchmark.utils.common import TaskSpec

    from livegrad.utils.benchmark import Measurement

    number, raw = measurement
    spec = TaskSpec(stmt, setup, "", label, sub_label, description, None, threads)
    return Measurement(number, raw, stmt, setup, label, sub_label, description, None, threads), Theirs(
        number, raw, spec
    )


@pytest.mark.parametrize(("measurement", "options"), [
    ((10, [1e-4]), {}), ((10, [1e-4]), {"setup": "x = 1\ny = 2", "description": "twice"}),
    ((7, [0.5, 0.4, 0.7, 0.6, 0.5]), {"sub_label": "small", "threads": 2}),
    ((1000, [1e-5, 2e-5, 1.13e-5, 1.07e-5]), {"label": None}), ((3, [6.0, 6.01, 6.02, 6.0]), {"setup": "x = 1"}),
])  # fmt: skip
def test_measurements_are_described_as_pytorch_does(measurement, options):
    ours, theirs = described(measurement, **options)
    assert repr(ours).splitlines()[1:] == repr(theirs).splitlines()[1:]
    assert ours.significant_figures == theirs.significant_figures and ours.has_warnings == theirs.has_warnings


def test_tables_of_measurements_say_what_pytorchs_do():
    from torch.utils.benchmark import Compare as Theirs

    from livegrad.utils.benchmark import Compare

    results = [
        described((2, [1e-5 * (1 + n * t / 3)]), sub_label=f"n={n}", description=d, threads=t)
        for n in (1, 10) for d in ("a", "wider") for t in (1, 2) if (n, d) != (10, "a")
    ]  # fmt: skip
    tables = [Compare([ours for ours, _ in results]), Theirs([theirs for _, theirs in results])]
    words = [[line.strip("-[]").split() for line in str(table).replace("-", "").splitlines()] for table in tables]
    assert words[0] == words[1]
    tables[0].trim_significant_figures()
    tables[0].colorize()
    assert "\033[92m" in str(tables[0])
    with pytest.raises(ValueError, match="Expected an instance of `Measurement`"):
        Compare([1])


@pytest.mark.parametrize("transpose", [False, True])
def test_batch_norm_folds_into_a_convolution(transpose):
    livegrad.manual_seed(0)
    conv = (nn.ConvTranspose2d(3, 4, 3) if transpose else nn.Conv2d(3, 4, 3, bias=False)).eval()
    norm = nn.BatchNorm2d(4)
    norm(livegrad.randn(5, 4, 3, 3))
    norm.eval()
    x = livegrad.randn(2, 3, 6, 6)
    fused = nn.utils.fuse_conv_bn_eval(conv, norm, transpose)
    assert livegrad.allclose(fused(x), norm(conv(x)), atol=1e-5)
    with pytest.raises(AssertionError, match="only for eval"):
        nn.utils.fuse_conv_bn_eval(conv.train(), norm)


def test_batch_norm_folds_into_a_linear_layer():
    livegrad.manual_seed(0)
    linear, norm = nn.Linear(3, 4).eval(), nn.BatchNorm1d(4)
    norm(livegrad.randn(5, 4))
    norm.eval()
    x = livegrad.randn(2, 3)
    assert livegrad.allclose(nn.utils.fuse_linear_bn_eval(linear, norm)(x), norm(linear(x)), atol=1e-6)


def test_checks_raise_pytorchs_errors():
    for module in (livegrad, torch):
        module._assert(True, "fine")
        module._check(True)
        with pytest.raises(AssertionError, match="not so"):
            module._assert(False, "not so")
        with pytest.raises(RuntimeError, match="wrong"):
            module._check(False, lambda: "wrong")
        with pytest.raises(IndexError, match="Expected cond to be True"):
            module._check_index(False)
        with pytest.raises(TypeError):
            module._check(1)


def test_modules_under_their_other_names():
    import livegrad.nn.utils.stateless
    import livegrad.utils.dlpack
    import livegrad.utils.hooks
    import livegrad.utils.model_zoo

    assert isinstance(livegrad.types, types.ModuleType)
    layer = nn.Linear(2, 1, bias=False)
    made = livegrad.nn.utils.stateless.functional_call(layer, {"weight": livegrad.ones(1, 2)}, livegrad.ones(2))
    assert made.tolist() == [2.0]
    assert livegrad.utils.model_zoo.load_url is livegrad.hub.load_state_dict_from_url
    assert livegrad._C._get_tracing_state() is None
    keys = livegrad._C.DispatchKeySet(livegrad._C.DispatchKey.AutocastCPU)
    assert (keys | livegrad._C.DispatchKeySet(livegrad._C.DispatchKey.AutocastCUDA)).has(
        livegrad._C.DispatchKey.AutocastCPU
    )
    assert callable(layer.register_forward_hook(lambda *a: None).remove)
    assert livegrad.utils.hooks.RemovableHandle is nn.hooks.RemovableHandle


def test_jit_runs_what_it_is_given():
    jit = livegrad.jit

    class Scripted(jit.ScriptModule):
        @jit.script_method
        def forward(self, x):
            return x * 2

    assert Scripted()(livegrad.ones(2)).tolist() == [2.0, 2.0]
    assert jit.wait(jit.fork(lambda a, b: a + b, 1, b=2)) == 3
    assert jit.isinstance([1], list[int]) and not jit.isinstance(1, (list[int], str))
    assert jit.Attribute(3, int) == 3 and jit.optimize_for_inference(3) == 3
    with jit.optimized_execution(False):
        pass


def test_a_prefix_is_taken_off_a_state_dict():
    for module in (livegrad, torch):
        net = module.nn.Sequential(module.nn.Linear(2, 1))
        state = module.nn.DataParallel(net).state_dict()
        module.nn.modules.utils.consume_prefix_in_state_dict_if_present(state, "module.")
        assert list(state) == ["0.weight", "0.bias"]
        assert sorted(state._metadata) == ["", "0"]
        net.load_state_dict(state)
        assert module.nn.modules.utils._pair(3) == (3, 3) and module.nn.modules.utils._pair([1, 2]) == (1, 2)
        assert module.nn.modules.utils._reverse_repeat_tuple((1, 2), 2) == (2, 2, 1, 1)


def test_what_libraries_ask_when_they_are_imported():
    import livegrad._custom_ops
    import livegrad._dynamo.utils
    import livegrad.ao.quantization
    import livegrad.jit.annotations
    import livegrad.onnx

    assert not livegrad._dynamo.utils.is_compile_supported("cpu") and not livegrad.onnx.is_in_onnx_export()
    assert livegrad.onnx.symbolic_helper.parse_args("v")(len) is len
    assert livegrad.jit.annotations.BroadcastingList2[int].__origin__ is list
    stub = nn.Sequential(livegrad.ao.quantization.QuantStub(), livegrad.ao.quantization.DeQuantStub())
    assert stub(livegrad.ones(1)).tolist() == [1.0]
    assert livegrad._custom_ops.impl_abstract is livegrad.library.register_fake


@pytest.mark.parametrize("module", [livegrad, torch], ids=["livegrad", "torch"])
def test_arguments_reach_setup_context_by_position_and_with_defaults(module):
    seen = []

    @module.library.custom_op(f"{module.__name__}_arguments::scale", mutates_args=())
    def scale(x: module.Tensor, by: float, shift: float = 1.0, *, power: int = 1) -> module.Tensor:
        return x**power * by + shift

    def setup_context(ctx, inputs, keyword_only_inputs, output):
        seen.append((inputs[1:], keyword_only_inputs))
        ctx.by = inputs[1]

    scale.register_autograd(lambda ctx, g: (g * ctx.by, None, None), setup_context=setup_context)
    x = module.tensor([1.0, 2.0], requires_grad=True)
    y = scale(by=3.0, x=x, power=1)
    y.sum().backward()
    assert y.tolist() == [4.0, 7.0] and x.grad.tolist() == [3.0, 3.0]
    assert seen == [((3.0, 1.0), {"power": 1})]


@pytest.mark.parametrize("module", [livegrad, torch], ids=["livegrad", "torch"])
def test_setup_context_knows_no_keywords_where_all_arguments_have_positions(module):
    space = f"{module.__name__}_positions"
    lib = module.library.Library(space, "DEF")
    lib.define("scale(Tensor x, float by=2.0, int[2] unused=[1, 2], str mode='a,b') -> Tensor")
    lib.impl("scale", lambda x, by=2.0, unused=(), mode="": x * by, "CPU")
    seen = []

    def setup_context(ctx, inputs, output):
        seen.append([list(x) if isinstance(x, (list, tuple)) else x for x in inputs[1:]])

    def backward(ctx, g):
        return g * seen[-1][0], None, None, None

    module.library.register_autograd(f"{space}::scale", backward, setup_context=setup_context, lib=lib)
    x = module.tensor([1.0, 2.0], requires_grad=True)
    getattr(module.ops, space).scale(x=x).sum().backward()
    getattr(module.ops, space).scale(x, by=4.0).sum().backward()
    assert seen == [[2.0, [1, 2], "a,b"], [4.0, [1, 2], "a,b"]] and x.grad.tolist() == [6.0, 6.0]


def test_schemas_list_arguments():
    from livegrad.schemas import signature

    made = str(
        signature("f(Tensor(a!) x, Tensor? y=None, Scalar s=1, float[] w=[0.5, 1], *, ScalarType? t=None) -> ()")
    )
    assert made == "(x, y=None, s=1, w=[0.5, 1], *, t=None)"
    assert str(signature("(Tensor x) -> (Tensor, Tensor)")) == "(x)" and signature("") is None
    with pytest.raises(RuntimeError, match="expected an argument"):
        signature("f(x) -> Tensor")


@pytest.mark.parametrize("check", ["_check_tensor_all", "_check_tensor_all_with"])
@pytest.mark.parametrize("module", [livegrad, torch], ids=["livegrad", "torch"])
def test_checks_of_all_elements(module, check):
    error = ValueError if check.endswith("with") else RuntimeError
    first = (error,) if check.endswith("with") else ()
    function = getattr(module, check)
    function(*first, module.ones(2) > 0)
    with pytest.raises(error, match="too small"):
        function(*first, module.ones(2) > 1, lambda: "too small")
    with pytest.raises(TypeError, match="cond must be a tensor"):
        function(*first, True)
    with pytest.raises(TypeError, match="must have dtype"):
        function(*first, module.ones(2))
