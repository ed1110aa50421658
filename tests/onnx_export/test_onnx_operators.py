"""Every translation to ONNX: the exported model's numbers against the program's, at the example's sizes and at others."""

import math

import numpy as np
import pytest

import livegrad
from livegrad import nn
from livegrad.nn import functional as F

onnx = pytest.importorskip("onnx", reason="the extra `onnx` is not installed")

INTS = livegrad.int64


def draw(*shape):
    """Numbers that are no ties and keep away from bends and edges."""
    draws = np.random.default_rng(sum(shape) + 7)
    return livegrad.tensor(
        (draws.permutation(math.prod(shape)).reshape(shape) + 0.4) / max(math.prod(shape), 1) * 4 - 2
    ).float()


def whole(*shape, top=3):
    return livegrad.tensor(np.random.default_rng(3).integers(0, top, shape))


def module(function):
    made = nn.Module()
    made.forward = function
    return made


def exported(model, inputs, dynamic, opset):
    shapes = None
    if dynamic:
        shapes = tuple(
            {0: livegrad.export.Dim("n")} if isinstance(x, livegrad.Tensor) and x.dim() else None for x in inputs
        )
    return livegrad.onnx.export(model, inputs, dynamic_shapes=shapes, opset_version=opset)


def check(model, inputs, dynamic=False, opset=18, rtol=1e-4, atol=1e-5):
    model = model if isinstance(model, nn.Module) else module(model)
    made = exported(model.eval(), inputs, dynamic, opset)
    onnx.checker.check_model(made.model_proto, full_check=True)
    others = tuple(
        livegrad.cat([x, x[:1]]) if dynamic and isinstance(x, livegrad.Tensor) and x.dim() else x for x in inputs
    )
    for given in (inputs, others):
        expected = livegrad.utils._pytree.tree_leaves(model(*given))
        mine = made(*given)
        assert len(mine) == len(expected)
        for a, b in zip(mine, expected):
            assert a.dtype is b.dtype and a.shape == b.shape
            livegrad.testing.assert_close(a, b.detach(), rtol=rtol, atol=atol, equal_nan=True)


UNARY = [
    "abs",
    "neg",
    "exp",
    "sqrt",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "sinh",
    "cosh",
    "asinh",
    "atanh",
    "floor",
    "ceil",
    "sign",
    "reciprocal",
    "erf",
    "rsqrt",
    "square",
    "exp2",
    "expm1",
    "log1p",
    "log",
    "log2",
    "log10",
    "trunc",
    "frac",
    "round",
    "relu",
    "sigmoid",
    "tanh",
    "isnan",
    "isfinite",
    "isinf",
    "logical_not",
    "T",
    "t",
    "contiguous",
    "detach",
    "clone",
    "sgn",
    "positive",
    "absolute",
    "negative",
]


@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_tensor(name):
    def program(x):
        found = getattr(x, name)
        return found() if callable(found) else found

    check(program, (draw(4, 3),), dynamic=True)


ACTIVATIONS = [
    F.relu, F.relu6, F.leaky_relu, F.elu, F.selu, F.celu, F.gelu, lambda x: F.gelu(x, approximate="tanh"), F.silu, F.mish, F.softplus,
    lambda x: F.softplus(x, 2.0, 1.5), F.softsign, F.hardtanh, F.hardsigmoid, F.hardswish, F.logsigmoid, F.tanhshrink,
    F.hardshrink, F.softshrink, lambda x: F.threshold(x, 0.1, 20.0), lambda x: F.glu(x, 1), F.rrelu,
    lambda x: F.softmax(x, 1), lambda x: F.log_softmax(x, -1), lambda x: F.softmin(x, 1), F.normalize,
    lambda x: F.normalize(x, p=1, dim=-1), lambda x: F.dropout(x, 0.5, False),
]  # fmt: skip


@pytest.mark.parametrize("k", range(len(ACTIVATIONS)))
def test_activations(k):
    check(ACTIVATIONS[k], (draw(3, 4),), dynamic=True)


BINARY = [
    lambda x, y: x + y, lambda x, y: x - y, lambda x, y: x * y, lambda x, y: x / y, lambda x, y: x // y, lambda x, y: x % y,
    lambda x, y: x**2 + y.abs() ** 0.5, lambda x, y: 2**x, lambda x, y: 1 - x, lambda x, y: 1 / y, lambda x, y: 3 // y,
    lambda x, y: livegrad.add(x, y, alpha=2), lambda x, y: livegrad.sub(x, y, alpha=0.5), lambda x, y: x.maximum(y),
    lambda x, y: livegrad.minimum(x, y), lambda x, y: x.fmod(y), lambda x, y: livegrad.max(x, y),
    lambda x, y: livegrad.div(x, y, rounding_mode="trunc"), lambda x, y: livegrad.div(x, y, rounding_mode="floor"),
    lambda x, y: (x > y, x >= y, x < y, x <= y, x == y, x != y, x > 0.5), lambda x, y: livegrad.lerp(x, y, 0.3),
    lambda x, y: livegrad.addcmul(x, x, y, value=2), lambda x, y: livegrad.addcdiv(x, x, y), lambda x, y: x.rsub(y),
    lambda x, y: livegrad.where(x > 0, x, y), lambda x, y: livegrad.where(x > 0, x, 0.0), lambda x, y: x.clamp(-1, 1),
    lambda x, y: x.masked_fill(y > 0, -1.0), lambda x, y: x.clamp(min=y), lambda x, y: x.clamp_min(0.5), lambda x, y: x.clip(max=1),
    lambda x, y: (x > 0) & (y > 0) | ~(x > y) ^ (x < 1), lambda x, y: livegrad.logical_and(x, y > 0),
    lambda x, y: x.nan_to_num(), lambda x, y: x.round(decimals=1), lambda x, y: x.fill_(3.0) + y,
]  # fmt: skip


@pytest.mark.parametrize("k", range(len(BINARY)))
def test_functions_of_two_tensors(k):
    check(BINARY[k], (draw(3, 4), draw(3, 4).flip(1) + 0.05), dynamic=True)


def test_whole_numbers_and_promotion():
    x, y = whole(3, 4, top=9), whole(3, 4, top=5) + 1
    check(lambda x, y: (x + y, x / y, x // y, x % y, x * 2.5, x > 2, x & y, x | y, -x, x**2), (x, y), dynamic=True)
    check(lambda x, y: (x.float() * 2, x.to(livegrad.int32), x.double() + y, x.bool(), y.type_as(x)), (x, y))
    check(lambda x, y: (x.sum(), x.float().mean(), x.prod(1), x.max(), x.cumsum(1), x.any(), (x > 0).all(1)), (x, y))


REDUCTIONS = [
    lambda x: (x.sum(), x.sum(1), x.sum((0, 2), keepdim=True), x.sum(-1, dtype=livegrad.float64)),
    lambda x: (x.mean(), x.mean(1), x.mean((0, 2), True), x.amax(1), x.amin((1, 2))), lambda x: (x.prod(), x.prod(1)),
    lambda x: (x.max(), *x.max(1), *x.min(2, keepdim=True)), lambda x: (x.argmax(), x.argmax(1), x.argmin(-1, True)),
    lambda x: (x.var(1), x.std(2), x.var((1, 2), unbiased=False), x.std(1, correction=0, keepdim=True)),
    lambda x: (x.norm(dim=1), x.norm(p=1, dim=(1, 2)), livegrad.linalg.vector_norm(x, dim=2), x.norm(float("inf"), 1)),
    lambda x: (livegrad.logsumexp(x, 1), x.cumsum(2), *x.topk(2, 1), *x.sort(2), *x.sort(1, descending=True)),
    lambda x: ((x > 0).any(), (x > 0).all(1), (x > 1).any(1, keepdim=True), x.count_nonzero(), x.argsort(1)),
    lambda x: livegrad.linalg.norm(x, dim=1),
]  # fmt: skip


@pytest.mark.parametrize("k", range(len(REDUCTIONS)))
@pytest.mark.parametrize("opset", [17, 18])
def test_reductions(k, opset):
    check(REDUCTIONS[k], (draw(3, 4, 5),), dynamic=True, opset=opset)


SHAPES = [
    lambda x: (x.view(x.shape[0], -1), x.reshape(-1, 12), x.flatten(1), x.flatten(), x.unflatten(2, (3, 2))),
    lambda x: (x.unsqueeze(1), x.unsqueeze(-1), x[:, :1].squeeze(1), x[:, :1].squeeze(), x.transpose(1, 2), x.permute(2, 0, 1)),
    lambda x: (x.mT, x.movedim(0, 2), x.expand(2, *x.shape), x[:, :1].expand(-1, 3, -1), x.repeat(1, 2, 1), x.tile(2)),
    lambda x: (livegrad.cat([x, x * 2], 1), livegrad.stack([x, -x], 1), livegrad.cat([x, x]), livegrad.stack([x, x])),
    lambda x: (*x.split(2, 1), *x.chunk(3, 2), *x.split([1, 3], 1), *x.unbind(1), *livegrad.tensor_split(x, 3, 2)),
    lambda x: (x.flip(1), x.flip(0, 2), x.roll(1, 2), x.roll((1, -1), (1, 2)), x.tril(), x.triu(1)),
    lambda x: (x.repeat_interleave(2, 1), x.repeat_interleave(3), x.view_as(x * 1), x[:, :1].expand_as(x)),
    lambda x: (x.reshape(x.size(0) * 2, -1), x.view(x.numel() // 6, 6), x.swapaxes(0, 1), x.broadcast_to(2, *x.shape)),
    lambda x: (livegrad.zeros(x.shape[0], 2), livegrad.ones_like(x), x.new_full((x.shape[0],), 2.0), livegrad.full_like(x, 3)),
    lambda x: (livegrad.arange(x.shape[0]), livegrad.arange(1, x.shape[0], 2), x / x.shape[0], x * (x.size(0) + 1)),
    lambda x: livegrad.arange(x.size(0)).unsqueeze(1) < livegrad.arange(4),
    lambda x: livegrad.meshgrid(livegrad.arange(x.shape[0]), livegrad.arange(3), indexing="xy"),
]  # fmt: skip


@pytest.mark.parametrize("k", range(len(SHAPES)))
def test_shapes(k):
    check(SHAPES[k], (draw(3, 4, 6),), dynamic=True)


PLACES = [
    lambda x, i: (x[0], x[:, 1], x[..., 2], x[:, None, 1:3], x[-1], x[1:, ::2, -1], x[:, :-1], x[..., None]),
    lambda x, i: (x[i], x[:, i], x[i, i], x[i, i, i], x[:, :, i], x[i.unsqueeze(0), i.unsqueeze(1)]),
    lambda x, i: (x.index_select(1, i), x.gather(1, i.view(-1, 1, 1).expand(-1, 2, 5)), x.select(1, 2), x.narrow(2, 1, 2), x.take(i)),
    lambda x, i: (x[x > 0], x[x[:, 0, 0] > -9], livegrad.masked_select(x, x > 1), (x > 1).nonzero()),
    lambda x, i: (x[: x.shape[0] - 1], x[x.shape[0] // 2 :], x[:, 1 : 1 + 2], x[[0, 1]], x[:, [2, 0]]),
    lambda x, i: x.scatter(1, i.view(-1, 1, 1), x * 2), lambda x, i: x.scatter_add(1, i.view(-1, 1, 1), x * 2),
    lambda x, i: x.scatter(1, i.view(-1, 1, 1), 7.0), lambda x, i: (F.one_hot(i, 5), F.embedding(i, x[0])),
]  # fmt: skip


@pytest.mark.parametrize("k", range(len(PLACES)))
def test_places(k):
    check(PLACES[k], (draw(3, 4, 5), livegrad.tensor([0, 2, 1])), dynamic=True)


def test_assignments():
    def program(x):
        y = x.clone()
        y[:, 0] = 3
        y[1, 1:3] = x[0, :2]
        y[..., -1] *= 2
        y[y > 1.5] = 0.0
        y += 1
        return y.relu_()

    check(program, (draw(3, 4),))


PRODUCTS = [
    lambda x, y: (x @ y.mT, livegrad.bmm(x, y.mT), x.matmul(y[0].T), livegrad.einsum("bij, bkj -> bik", x, y)),
    lambda x, y: (livegrad.baddbmm(x[:, :, :4], x, y.mT, beta=0.5, alpha=2), x[0] @ y[0].T, x[0] @ y[0, 0], x[0].mm(y[0].T)),
    lambda x, y: (livegrad.addmm(x[0, :, :4], x[0], y[0].T), livegrad.outer(x[0, 0], y[0, 0]), x[0, 0].dot(y[0, 0])),
    lambda x, y: (F.cosine_similarity(x, y, dim=2), F.pairwise_distance(x, y), F.linear(x, y[0]), F.linear(x[0], y[0], y[0, :, 0])),
    lambda x, y: F.bilinear(x, y, draw(2, 5, 5), draw(2)),
]  # fmt: skip


@pytest.mark.parametrize("k", range(len(PRODUCTS)))
def test_products(k):
    check(PRODUCTS[k], (draw(2, 4, 5), draw(2, 4, 5).flip(2)), dynamic=True)


LAYERS = [
    (nn.Conv1d(2, 4, 3, stride=2, padding=1), (2, 9)), (nn.Conv2d(2, 4, 3, padding="same", dilation=2), (2, 9, 8)),
    (nn.Conv2d(4, 4, (3, 1), groups=2, bias=False), (4, 5, 6)), (nn.Conv3d(1, 2, 2), (1, 4, 5, 6)),
    (nn.ConvTranspose1d(2, 3, 3, stride=2, output_padding=1), (2, 5)), (nn.ConvTranspose2d(2, 3, 3, padding=1), (2, 5, 4)),
    (nn.BatchNorm1d(3), (3,)), (nn.BatchNorm2d(3), (3, 4, 5)), (nn.InstanceNorm2d(3, affine=True), (3, 4, 5)),
    (nn.InstanceNorm1d(3), (3, 4)), (nn.LayerNorm(5), (4, 5)), (nn.LayerNorm((4, 5), elementwise_affine=False), (3, 4, 5)),
    (nn.GroupNorm(2, 4), (4, 3, 2)), (nn.RMSNorm(5), (4, 5)), (nn.LocalResponseNorm(3), (4, 3, 3)), (nn.PReLU(4), (4, 3, 2)),
    (nn.MaxPool1d(2), (2, 6)), (nn.MaxPool2d(3, stride=2, padding=1), (2, 7, 6)), (nn.MaxPool2d(2, ceil_mode=True), (2, 5, 5)),
    (nn.AvgPool1d(2), (2, 6)), (nn.AvgPool2d(3, stride=2, padding=1), (2, 7, 6)), (nn.MaxPool3d(2), (1, 4, 4, 4)),
    (nn.AvgPool2d(3, padding=1, count_include_pad=False), (2, 7, 6)), (nn.AdaptiveAvgPool2d(1), (2, 5, 6)),
    (nn.AdaptiveAvgPool2d((2, None)), (2, 4, 6)), (nn.AdaptiveMaxPool1d(3), (2, 6)), (nn.LPPool2d(2, 2), (2, 4, 6)),
    (nn.PixelShuffle(2), (8, 3, 2)), (nn.PixelUnshuffle(2), (2, 4, 6)), (nn.ChannelShuffle(2), (4, 3, 3)),
    (nn.Upsample(scale_factor=2), (2, 3, 4)), (nn.Upsample(size=(5, 7), mode="bilinear"), (2, 3, 4)),
    (nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), (2, 3, 4)), (nn.Upsample(scale_factor=2, mode="bicubic"), (2, 4, 4)),
    (nn.Upsample(scale_factor=2, mode="linear"), (2, 5)), (nn.ZeroPad2d((1, 2, 0, 1)), (2, 3, 4)), (nn.ConstantPad1d(1, 3.5), (2, 4)),
    (nn.ReflectionPad2d((1, 2, 0, 1)), (2, 3, 4)), (nn.ReplicationPad1d(2), (2, 4)), (nn.Linear(5, 3), (5,)), (nn.Linear(5, 3), (4, 5)),
    (nn.Flatten(), (2, 3)), (nn.Softmax2d(), (2, 3, 3)), (nn.Dropout2d(), (2, 3, 3)), (nn.Sequential(nn.Linear(4, 4), nn.ReLU(True)), (4,)),
    (nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)), (4,)), (nn.Embedding(5, 3), None),
]  # fmt: skip


@pytest.mark.parametrize("k", range(len(LAYERS)), ids=lambda k: type(LAYERS[k][0]).__name__)
def test_layers(k):
    layer, shape = LAYERS[k]
    livegrad.manual_seed(k)
    for p in layer.parameters():
        nn.init.uniform_(p, -1, 1)
    for name, b in layer.named_buffers():
        if "running" in name:
            nn.init.uniform_(b, 0.5, 1)
    given = whole(2, 3, top=5) if shape is None else draw(2, *shape)
    check(layer, (given,), dynamic=True, rtol=1e-3 if isinstance(layer, nn.LocalResponseNorm) else 1e-4)


def test_layers_without_a_batch():
    check(nn.Conv2d(2, 3, 3), (draw(2, 5, 6),))
    check(nn.MaxPool2d(2), (draw(2, 5, 6),))
    check(nn.ConvTranspose2d(2, 3, 3), (draw(2, 5, 6),))


def test_circular_padding_and_cubic_sampling_need_newer_operators():
    check(nn.CircularPad1d(2), (draw(1, 2, 5),), opset=19)
    grid = draw(1, 3, 3, 2) / 2
    check(lambda x, g: F.grid_sample(x, g, align_corners=False), (draw(1, 2, 4, 5), grid), opset=20)
    with pytest.raises(livegrad.onnx.OnnxExporterError, match="opset_version 19"):
        exported(nn.CircularPad1d(2), (draw(1, 2, 5),), False, 18)


RECURRENT = [
    nn.LSTM(4, 5), nn.LSTM(4, 5, 2, bidirectional=True), nn.LSTM(4, 5, batch_first=True, bias=False), nn.GRU(4, 5, 2),
    nn.GRU(4, 5, bidirectional=True, batch_first=True), nn.RNN(4, 5), nn.RNN(4, 5, nonlinearity="relu", bidirectional=True),
]  # fmt: skip


@pytest.mark.parametrize("k", range(len(RECURRENT)))
@pytest.mark.parametrize("dynamic", [False, True])
def test_recurrent_networks(k, dynamic):
    if getattr(RECURRENT[k], "nonlinearity", "") == "relu":
        pytest.importorskip("onnxruntime", reason="ONNX's reference implementation has no such network")
    check(RECURRENT[k], (draw(3, 2, 4),), dynamic=dynamic)


def test_recurrent_cells_and_states():
    check(nn.LSTMCell(4, 5), (draw(3, 4), (draw(3, 5), draw(3, 5))))
    check(nn.GRUCell(4, 5), (draw(3, 4), draw(3, 5)), dynamic=True)
    check(nn.RNNCell(4, 5), (draw(4), draw(5)))
    check(nn.LSTM(4, 5, 2), (draw(3, 2, 4), (draw(2, 2, 5), draw(2, 2, 5))))
    projected = nn.LSTM(4, 5, proj_size=2)
    with pytest.raises(livegrad.onnx.OnnxExporterError, match="lstm.*projections.*test_onnx_operators"):
        exported(module(lambda x: projected(x)), (draw(3, 2, 4),), False, 18)


def test_attention():
    q = draw(2, 2, 3, 4)
    check(lambda q: F.scaled_dot_product_attention(q, q, q), (q,), dynamic=True)
    check(lambda q: F.scaled_dot_product_attention(q, q, q, is_causal=True), (q,), dynamic=True)
    check(lambda q, m: F.scaled_dot_product_attention(q, q, q, m, scale=0.3), (q, draw(3, 3)))
    check(lambda q, m: F.scaled_dot_product_attention(q, q, q, m > -1.5), (q, draw(3, 3)))
    check(lambda q: F.scaled_dot_product_attention(q, q[:, :1], q[:, :1], enable_gqa=True), (q,))
    x = draw(3, 2, 4)
    check(nn.MultiheadAttention(4, 2), (x, x, x), dynamic=True)
    hidden = livegrad.tensor([[False, False, True], [False, True, False]])
    layer = nn.MultiheadAttention(4, 2, batch_first=True)
    check(
        lambda x, h: layer(x, x, x, key_padding_mask=h, average_attn_weights=False),
        (x.transpose(0, 1).contiguous(), hidden),
    )
    mask = nn.Transformer.generate_square_subsequent_mask(3)
    check(lambda x, m: layer(x, x, x, attn_mask=m, need_weights=False)[0], (x.transpose(0, 1).contiguous(), mask))
    check(nn.MultiheadAttention(4, 2, kdim=3, vdim=5), (x, draw(6, 2, 3), draw(6, 2, 5)))


@pytest.mark.parametrize("options", [{}, {"batch_first": True, "norm_first": True, "activation": "gelu"}], ids=str)
def test_transformers(options):
    check(nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, **options), 2), (draw(3, 2, 4),), dynamic=True)
    check(nn.TransformerDecoderLayer(4, 2, 8, **options), (draw(3, 2, 4), draw(3, 2, 4)))


def test_losses():
    x, y = draw(4, 3), draw(4, 3).flip(0)
    check(lambda x, y: (F.mse_loss(x, y), F.l1_loss(x, y, reduction="sum"), F.mse_loss(x, y, reduction="none")), (x, y))
    check(lambda x, t: (F.cross_entropy(x, t), F.nll_loss(x.log_softmax(1), t, reduction="none")), (x, whole(4)))
    check(lambda x, y: F.binary_cross_entropy_with_logits(x, y.sigmoid()), (x, y))
