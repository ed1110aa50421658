"""autocast and GradScaler against PyTorch's: dtypes of every listed operator, caching, nesting, training."""

import threading
import warnings

import numpy as np
import pytest

import livegrad
from livegrad.nn import functional as F
from livegrad.ops.casting import POLICIES
from livegrad.ops.registry import REGISTRY

torch = pytest.importorskip("torch")

HALVES = ["bfloat16", "float16"]


def given(name, package, dtype):
    """Arguments of a listed operator, for either package."""
    rng = np.random.default_rng(0)

    def data(*shape, positive=False):
        a = rng.random(shape) * 0.8 + 0.1 if positive else rng.standard_normal(shape)
        return package.tensor(a.tolist(), dtype=getattr(package, dtype))

    def whole(*values):
        return package.tensor(list(values))

    square = data(4, 4)
    n = int(name[name.rindex("d") - 1]) if name[-2:] in ("1d", "2d", "3d") else 0
    match name:
        case "addmm" | "baddbmm" | "addbmm" | "addmv" | "addr":
            shapes = {
                "addmm": ((4, 4),) * 3, "baddbmm": ((2, 4, 4),) * 3, "addbmm": ((4, 4), (2, 4, 4), (2, 4, 4)),
                "addmv": ((4,), (4, 4), (4,)), "addr": ((4, 4), (4,), (4,)),
            }[name]  # fmt: skip
            return [data(*s) for s in shapes]
        case "bmm":
            return [data(2, 3, 4), data(2, 4, 3)]
        case "mm" | "matmul" | "linear" | "cdist" | "dist":
            return [square, data(4, 4)]
        case "mv":
            return [square, data(4)]
        case "prelu":
            return [square, data(1)]
        case "scaled_dot_product_attention":
            return [data(1, 2, 3, 4) for _ in range(3)]
        case "conv1d" | "conv2d" | "conv3d" | "conv_transpose1d" | "conv_transpose2d" | "conv_transpose3d":
            return [data(2, 3, *(4,) * n), data(3, 3, *(2,) * n), data(3)]
        case "avg_pool3d" | "max_pool3d" | "adaptive_avg_pool3d" | "adaptive_max_pool3d":
            return [data(1, 1, 4, 4, 4), 2]
        case "fractional_max_pool2d" | "fractional_max_pool3d":
            return [data(1, 1, *(4,) * n), 2, 3]  # for which there is one way to place the windows
        case "max_unpool2d" | "max_unpool3d":
            shape = (1, 1) + (2,) * n
            return [data(*shape), whole(*range(2**n)).reshape(shape), 2]
        case "binary_cross_entropy" | "binary_cross_entropy_with_logits" | "kl_div":
            return [data(4, 3, positive=True), data(4, 3, positive=True)]
        case "cosine_embedding_loss":
            return [square, data(4, 4), whole(1, -1, 1, 1)]
        case "margin_ranking_loss":
            return [data(4), data(4), whole(1, -1, 1, 1)]
        case "hinge_embedding_loss" | "soft_margin_loss":
            return [data(4), whole(1, -1, 1, 1)]
        case "cross_entropy" | "nll_loss" | "multi_margin_loss":
            return [square, whole(0, 1, 2, 3)]
        case "multilabel_margin_loss":
            return [square, package.tensor([[0, -1, 1, 2], [3, 1, -1, 0], [-1, 0, 1, 2], [0, 1, 2, 3]])]
        case "triplet_margin_loss":
            return [square, data(4, 4), data(4, 4)]
        case "ctc_loss":
            return [data(6, 2, 4), package.tensor([[1, 2], [2, 3]]), whole(6, 6), whole(2, 2)]
        case "cholesky" | "inverse" | "pinverse":
            return [package.eye(3, dtype=getattr(package, dtype))]
        case "index_copy":
            return [square, 0, whole(0, 2), data(2, 4)]
        case "quantile" | "nanquantile":
            return [data(8), 0.5]
        case "l1_loss" | "mse_loss" | "smooth_l1_loss" | "huber_loss" | "poisson_nll_loss":
            return [square, data(4, 4)]
        case _:
            return [square]


def call(name, package, functional, dtype, region):
    where = package if hasattr(package, name) else functional
    if name in ("prelu", "cosine_embedding_loss", "hinge_embedding_loss", "kl_div", "margin_ranking_loss",
                "poisson_nll_loss", "triplet_margin_loss", "binary_cross_entropy_with_logits", "ctc_loss",
                "fractional_max_pool2d", "fractional_max_pool3d"):  # fmt: skip
        where = functional
    args = given(name, package, dtype)
    with package.autocast("cpu", dtype=getattr(package, region)):
        return getattr(where, name)(*args)


@pytest.mark.parametrize("region", HALVES)
@pytest.mark.parametrize("name", sorted(set(POLICIES["cpu"]) - {"lstm"}))
def test_listed_operators(name, region):
    for dtype in ("float32", region, "float64"):
        try:
            wanted = call(name, torch, torch.nn.functional, dtype, region)
        except (RuntimeError, NotImplementedError):
            continue  # PyTorch lacks it for that dtype
        made = call(name, livegrad, F, dtype, region)
        assert str(made.dtype) == str(wanted.dtype), (name, dtype)
        np.testing.assert_allclose(
            made.detach().double().numpy(), wanted.detach().double().numpy(), rtol=0.05, atol=0.05, err_msg=name
        )


UNARY = [n for n, e in REGISTRY.items() if e.kind == "elementwise" and e.reference and e.op is not None
         and len(e.op.names) == 1 and hasattr(torch, n)]  # fmt: skip


@pytest.mark.parametrize("name", UNARY)
def test_elementwise_operators_stay(name):
    """On the CPU autocast leaves elementwise operators alone."""
    made, wanted = [], []
    for package, found in ((livegrad, made), (torch, wanted)):
        for dtype in (package.bfloat16, package.float32):
            x = package.tensor([0.25, 0.5], dtype=dtype)
            with package.autocast("cpu"):
                try:
                    found.append(str(getattr(package, name)(x).dtype))
                except (RuntimeError, NotImplementedError):
                    found.append("refused")
    assert made == [m if w == "refused" else w for m, w in zip(made, wanted)]


def test_cuda_policies(monkeypatch):
    """What CUDA's list says, seen on the CPU by letting the CPU follow it."""
    monkeypatch.setitem(POLICIES, "cpu", POLICIES["cuda"])
    half = livegrad.tensor([0.25, 0.5], dtype=livegrad.float16)
    matrix = half.reshape(1, 2)
    with livegrad.autocast("cpu", dtype=livegrad.float16):
        for name in [
            "acos",
            "asin",
            "cosh",
            "erfinv",
            "exp",
            "expm1",
            "log",
            "log10",
            "log1p",
            "log2",
            "reciprocal",
            "rsqrt",
            "sinh",
            "tan",
        ]:
            assert getattr(livegrad, name)(half).dtype is livegrad.float32, name
            assert getattr(half, name)().dtype is livegrad.float32, name
        for made in (
            half**2, half**1.7, half.pow(half), 2.0**half, 1 / half, half.sum(), half.softmax(0), half.log_softmax(0),
            half.cumsum(0), half.cumprod(0), half.norm(), half.prod(), half.logsumexp(0), F.softplus(half),
            F.layer_norm(half, (2,)), F.rms_norm(half, (2,)), F.group_norm(matrix, 1),
            F.cosine_similarity(matrix, matrix), matrix.dist(matrix), matrix.renorm(2, 0, 1.0),
        ):  # fmt: skip
            assert made.dtype is livegrad.float32
        wide = half.float()
        assert half.dot(wide).dtype is livegrad.float32
        assert livegrad.tensordot(matrix, wide, ([1], [0])).dtype is livegrad.float32
        assert half.scatter_add(0, livegrad.tensor([0]), wide[:1]).dtype is livegrad.float32
        assert (wide.reshape(1, 2) @ half).dtype is livegrad.float16
        for made in (half.sin(), half + half, half.tanh(), half.mean(), half.sqrt(), F.gelu(half)):
            assert made.dtype is livegrad.float16
        with pytest.raises(RuntimeError, match="unsafe to autocast"):
            F.binary_cross_entropy(wide, wide)


def test_the_lists_are_those_of_pytorch():
    """Every operator that PyTorch casts, and that exists here under its name, is listed, and no other one."""

    def has(overload, key):
        try:
            return torch._C._dispatch_has_kernel_for_dispatch_key(overload, key)
        except RuntimeError:  # TorchScript's own
            return False

    known = {s.name[6:] for s in torch._C._jit_get_all_schemas() if s.name.startswith("aten::")}
    overloads = {}
    for s in torch._C._jit_get_all_schemas():
        if s.name.startswith("aten::"):
            overloads.setdefault(s.name[6:], []).append(s.name + ("." + s.overload_name if s.overload_name else ""))
    same = {"cross_entropy": "cross_entropy_loss", "interpolate": "upsample_nearest2d", "lstm": "lstm_cell",
            "recurrent": "gru_cell", "ctc_loss": "ctc_loss", "cholesky": "cholesky"}  # fmt: skip
    promotes = {"addcdiv", "addcmul", "atan2", "cat", "stack", "einsum", "chain_matmul"}
    for kind, key in (("cpu", "AutocastCPU"), ("cuda", "AutocastCUDA")):
        for name in (n for n in known if n in REGISTRY or n in F.__all__):
            if name not in promotes and any(has(o, key) for o in overloads[name]):
                assert name in POLICIES[kind], (name, kind)
        for name in POLICIES[kind]:
            theirs = same.get(name, name)
            if (name, kind) in (("cross_entropy", "cuda"), ("lstm", "cpu")):
                continue  # there it is made of listed ones; oneDNN's has another name
            assert any(has(o, key) for o in overloads[theirs]), (name, kind)


@pytest.mark.parametrize("layer", ["LSTM", "GRU", "RNN", "LSTMCell", "GRUCell", "RNNCell"])
def test_recurrent_layers(layer):
    found = []
    for package in (livegrad, torch):
        model = getattr(package.nn, layer)(3, 4)
        x = package.zeros(2, 3) if layer.endswith("Cell") else package.zeros(5, 2, 3)
        try:
            with package.autocast("cpu"):
                out = model(x)
        except RuntimeError as error:
            if package is torch and "could not create a primitive" in str(error):
                pytest.skip("PyTorch has no such layer in bfloat16 for this processor")
            raise
        flat = []
        stack = [out]
        while stack:
            item = stack.pop()
            if isinstance(item, tuple):
                stack.extend(item)
            else:
                flat.append(str(item.dtype))
        found.append(flat)
    assert found[0] == found[1]


def training(package, optimizer, steps=6):
    """A small network under autocast with bfloat16: the losses, and the dtypes of the gradients."""
    F = package.nn.functional
    rng = np.random.default_rng(1)
    x = package.tensor(rng.standard_normal((16, 8)).tolist())
    y = package.tensor((rng.integers(0, 3, 16)).tolist())
    model = package.nn.Sequential(
        package.nn.Linear(8, 16), package.nn.LayerNorm(16), package.nn.ReLU(), package.nn.BatchNorm1d(16),
        package.nn.Linear(16, 3),
    )  # fmt: skip
    with package.no_grad():
        for p in model.parameters():
            p.copy_(package.tensor((rng.standard_normal(tuple(p.shape)) * 0.3).tolist()))
    steps_of = getattr(package.optim, optimizer)(model.parameters(), lr=0.05)
    losses = []
    for _ in range(steps):
        steps_of.zero_grad()
        with package.autocast("cpu", dtype=package.bfloat16):
            loss = F.cross_entropy(model(x), y)
        loss.backward()
        steps_of.step()
        losses.append(loss.item())
    return losses, [str(p.grad.dtype) for p in model.parameters()]


def test_training_parity():
    ours, theirs = training(livegrad, "SGD"), training(torch, "SGD")
    assert ours[1] == theirs[1]
    np.testing.assert_allclose(ours[0], theirs[0], rtol=0.03)


def test_nested_and_disabled_regions():
    for package in (livegrad, torch):
        x = package.ones(2, 2)
        with package.autocast("cpu", dtype=package.bfloat16):
            with package.autocast("cpu", enabled=False):
                assert (x @ x).dtype is package.float32
                assert not package.is_autocast_enabled("cpu")
            with package.autocast("cpu", dtype=package.float16):
                assert (x @ x).dtype is package.float16
            assert (x @ x).dtype is package.bfloat16
        assert (x @ x).dtype is package.float32


def test_decorator_and_errors_leave_the_state():
    @livegrad.autocast("cpu", dtype=livegrad.bfloat16)
    def product(x, fail=False):
        if fail:
            raise ValueError
        return x @ x

    x = livegrad.ones(2, 2)
    assert product(x).dtype is livegrad.bfloat16
    with pytest.raises(ValueError):
        product(x, True)
    assert (x @ x).dtype is livegrad.float32
    assert not livegrad.is_autocast_enabled("cpu")


def test_another_thread_is_not_in_the_region():
    seen = []
    x = livegrad.ones(2, 2)
    with livegrad.autocast("cpu"):
        thread = threading.Thread(target=lambda: seen.append((x @ x).dtype))
        thread.start()
        thread.join()
    assert seen == [livegrad.float32]


def test_casts_of_parameters_are_kept():
    w = livegrad.ones(2, 2, requires_grad=True)
    x = livegrad.ones(1, 2)
    with livegrad.autocast("cpu"):
        a, b = x @ w, x @ w
        casts = {e.grad_fn.next_functions[1][0] for e in (a, b)}
        assert len(casts) == 1
        with livegrad.no_grad():
            assert not (x @ w).requires_grad
            w.mul_(2)
        assert (x @ w).tolist() == [[4.0, 4.0]]
        with livegrad.autocast("cpu", cache_enabled=False):
            c, d = x @ w, x @ w
            assert c.grad_fn.next_functions[1][0] is not d.grad_fn.next_functions[1][0]
    (a + b).sum().backward()
    assert w.grad.tolist() == [[2.0, 2.0], [2.0, 2.0]]


def test_unsupported_requests():
    with pytest.warns(UserWarning, match="target dtype is not supported"), livegrad.autocast("cpu", livegrad.float64):
        assert not livegrad.is_autocast_enabled("cpu")
    if not livegrad.cuda.is_available():
        with pytest.warns(UserWarning, match="CUDA is not available"), livegrad.autocast("cuda"):
            assert not livegrad.is_autocast_enabled("cuda")
    with pytest.raises(RuntimeError, match="unsupported autocast device_type"):
        livegrad.autocast("abacus")
    with pytest.raises(TypeError, match="requires a callable"):
        livegrad.autocast("cpu")(3)


def test_custom_functions():
    seen = []

    class Product(livegrad.autograd.Function):
        @staticmethod
        @livegrad.amp.custom_fwd(device_type="cpu", cast_inputs=livegrad.float32)
        def forward(ctx, a, b):
            seen.append((a.dtype, livegrad.is_autocast_enabled("cpu")))
            ctx.save_for_backward(a, b)
            return a @ b

        @staticmethod
        @livegrad.amp.custom_bwd(device_type="cpu")
        def backward(ctx, g):
            a, b = ctx.saved_tensors
            return g @ b.t(), a.t() @ g

    a = livegrad.ones(2, 2, dtype=livegrad.bfloat16, requires_grad=True)
    with livegrad.autocast("cpu"):
        y = Product.apply(a, a.detach())
    assert seen == [(livegrad.float32, False)] and y.dtype is livegrad.float32


# --- GradScaler -------------------------------------------------------------------------------------------------


def scaled_training(package):
    """Steps with gradients that overflow now and then: factor, parameters and counts after each."""
    p = package.nn.Parameter(package.tensor([1.0, -2.0]))
    optimizer = package.optim.SGD([p], lr=0.1)
    scaler = package.amp.GradScaler("cpu", init_scale=16.0, growth_interval=2)
    seen = []
    for factor in (1.0, 2.0, float("inf"), 1.0, float("nan"), 1.0, 3.0, 1.0):
        optimizer.zero_grad()
        scaler.scale((p * factor).sum()).backward()
        if factor == 3.0:
            scaler.unscale_(optimizer)
            seen.append(p.grad.tolist())
        scaler.step(optimizer)
        scaler.update()
        seen.append((scaler.get_scale(), [round(x, 5) for x in p.tolist()], scaler.state_dict()))
    return seen


def test_grad_scaler():
    assert scaled_training(livegrad) == scaled_training(torch)


def test_grad_scaler_misuse_and_state():
    p = livegrad.nn.Parameter(livegrad.ones(2))
    optimizer = livegrad.optim.SGD([p], lr=0.1)
    scaler = livegrad.amp.GradScaler("cpu", init_scale=4.0)
    with pytest.raises(AssertionError, match="_scale is None"):
        scaler.unscale_(optimizer)
    losses = scaler.scale([p.sum(), (p.sum(),)])
    assert losses[0].item() == 8.0 and losses[1][0].item() == 8.0
    losses[0].backward()
    scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="already been called"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    with pytest.raises(RuntimeError, match=r"step\(\) has already been called"):
        scaler.step(optimizer)
    scaler.update(2.0)
    assert scaler.get_scale() == 2.0
    other = livegrad.amp.GradScaler("cpu")
    other.load_state_dict(scaler.state_dict())
    assert other.scale(livegrad.tensor(3.0)).item() == 6.0
    with pytest.raises(RuntimeError, match="state dict is empty"):
        other.load_state_dict({})
    half = livegrad.nn.Parameter(livegrad.ones(2, dtype=livegrad.float16))
    scaler.scale(half.sum()).backward()
    with pytest.raises(ValueError, match="FP16"):
        scaler.unscale_(livegrad.optim.SGD([half], lr=0.1))


def test_grad_scaler_off():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scaler = livegrad.amp.GradScaler(enabled=False)
    p = livegrad.nn.Parameter(livegrad.ones(1))
    optimizer = livegrad.optim.SGD([p], lr=1.0)
    scaler.scale(p.sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    assert p.item() == 0.0 and scaler.state_dict() == {} and scaler.get_scale() == 1.0


def test_a_warning_names_the_users_line():
    with pytest.warns(UserWarning, match="reduction: 'mean' divides") as caught:
        F.kl_div(livegrad.zeros(2), livegrad.ones(2))
    assert caught[0].filename == __file__


def test_older_names():
    with pytest.warns(FutureWarning, match="deprecated"):
        region = livegrad.cuda.amp.autocast(enabled=False)
    with region:
        assert livegrad.get_autocast_dtype("cuda") is livegrad.float16
    with pytest.warns(FutureWarning, match="deprecated"):
        assert livegrad.cuda.amp.GradScaler(enabled=False).get_scale() == 1.0
