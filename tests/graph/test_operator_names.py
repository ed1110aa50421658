"""Operators in a graph, and in a profile, have the names of the functions that were called."""

import pytest

import livegrad
from livegrad import nn
from livegrad.graph.operators import called, from_node
from livegrad.profiler import profile

F = nn.functional
X = livegrad.rand(4, 6)
IMAGE = livegrad.rand(2, 4, 8, 8)
PLACES = livegrad.tensor([0, 2, 1, 5])

CALLS = {
    "log_softmax": lambda x, image: x.log_softmax(1),
    "layer_norm": lambda x, image: F.layer_norm(x, (6,)),
    "rms_norm": lambda x, image: F.rms_norm(x, (6,)),
    "batch_norm": lambda x, image: F.batch_norm(image, None, None, training=True),
    "group_norm": lambda x, image: F.group_norm(image, 2),
    "conv1d": lambda x, image: F.conv1d(image[0], livegrad.rand(3, 8, 2)),
    "conv2d": lambda x, image: F.conv2d(image, livegrad.rand(3, 4, 2, 2)),
    "conv_transpose2d": lambda x, image: F.conv_transpose2d(image, livegrad.rand(4, 3, 2, 2)),
    "max_pool2d": lambda x, image: F.max_pool2d(image, 2),
    "avg_pool2d": lambda x, image: F.avg_pool2d(image, 2),
    "adaptive_max_pool2d": lambda x, image: F.adaptive_max_pool2d(image, 3),
    "interpolate": lambda x, image: F.interpolate(image, scale_factor=2, mode="bilinear"),
    "pad": lambda x, image: F.pad(x, (1, 1)),
    "unfold": lambda x, image: F.unfold(image, 2),
    "fold": lambda x, image: F.fold(image[:, :, :4, 0], (3, 3), 2),
    "mse_loss": lambda x, image: F.mse_loss(x, X),
    "smooth_l1_loss": lambda x, image: F.smooth_l1_loss(x, X),
    "huber_loss": lambda x, image: F.huber_loss(x, X),
    "binary_cross_entropy": lambda x, image: F.binary_cross_entropy(x, X),
    "binary_cross_entropy_with_logits": lambda x, image: F.binary_cross_entropy_with_logits(x, X),
    "nll_loss": lambda x, image: F.nll_loss(x, PLACES),
    "embedding": lambda x, image: F.embedding(PLACES % 4, x),
    "index_select": lambda x, image: x.index_select(1, PLACES),
    "masked_select": lambda x, image: x.masked_select(X > 0.5),
    "take": lambda x, image: x.take(PLACES),
    "gather": lambda x, image: x.gather(1, PLACES[:, None]),
    "sort": lambda x, image: x.sort()[0],
    "topk": lambda x, image: x.topk(2)[0],
    "max": lambda x, image: x.max(1)[0],
    "cummax": lambda x, image: x.cummax(1)[0],
    "index_add": lambda x, image: x.index_add(0, PLACES[:2], X[:2]),
    "scatter_add": lambda x, image: x.scatter_add(1, PLACES[:, None], X),
    "transpose": lambda x, image: x.transpose(0, 1),
    "permute": lambda x, image: image.permute(0, 2, 3, 1),
    "trace": lambda x, image: x.trace(),
    "sum": lambda x, image: x.sum(),
    "clamp": lambda x, image: x.clamp(min=0.5),
    "cdist": lambda x, image: livegrad.cdist(x, X, p=1.0),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_the_name_is_that_of_the_call(name):
    x, image = X.clone().requires_grad_(), IMAGE.clone().requires_grad_()
    y = CALLS[name](x, image)
    g = livegrad.graph(y)
    assert g.results[0][0].op == name
    assert g.results[0][0] in g.find(op=name)


def test_the_parts_of_a_cross_entropy():
    x = X.clone().requires_grad_()
    g = livegrad.graph(F.cross_entropy(x, PLACES))
    assert [node.op for node in g.ops] == ["log_softmax", "nll_loss"]
    assert g.find(op="cross_entropy") == g.find(op="nll_loss")


def test_other_names():
    x = X.clone().requires_grad_()
    (product,) = livegrad.graph(x @ X.T).ops
    g = livegrad.graph((x @ X.T).reshape(2, 8))
    assert product.op_names == {"matmul", "mm"}
    assert len(g.find(op="matmul")) == len(g.find(op="mm")) == len(g.find(op="view")) == len(g.find(op="reshape")) == 1
    assert g.find(op="layer_norm") == g.find(op="native_layer_norm") == []
    with pytest.raises(ValueError, match="no operator is called 'matmull'; this graph has matmul"):
        g.find(op="matmull")


def test_a_function_of_ones_own():
    class Cube(livegrad.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, g):
            return g * 3 * ctx.saved_tensors[0] ** 2

    (node,) = livegrad.graph(Cube.apply(X.clone().requires_grad_())).ops
    assert node.op == "Cube"


def test_names_from_nodes():
    assert from_node("UpsampleBilinear2DBackward0") == "upsample_bilinear2d"
    assert from_node("FftR2CBackward0") == "fft_r2c"
    assert from_node("SpecialI0EBackward0") == "special_i0e"
    assert from_node("CopyBackwards") == "copy"
    assert called("something_new") == "something_new"


def test_a_profile_has_the_same_names():
    x = X.clone().requires_grad_()
    with profile(with_flops=True) as prof:
        F.embedding(PLACES, x.transpose(0, 1) @ X).topk(2)[0].sum().backward()
    names = {event.name for event in prof.events() if event.kind == "operator"}
    assert {"transpose", "matmul", "embedding", "topk"} <= names
    assert not names & {"permute", "index", "gather"}
