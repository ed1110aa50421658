"""Tensors without data: what is known of them, what they do not do, and modules that are made of them."""

import threading

import pytest

import livegrad
from livegrad import nn

RESULTS = {
    "elementwise": lambda m, x: (x * 2 + 1).exp().where(x > 0, x),
    "broadcast": lambda m, x: x + m.ones(5, 1, 3, device="meta"),
    "product": lambda m, x: x @ x.mT,
    "reduction": lambda m, x: x.sum(0),
    "all of it": lambda m, x: x.mean(),
    "softmax": lambda m, x: x.softmax(1),
    "scan": lambda m, x: x.cumsum(1),
    "views": lambda m, x: x.t()[1:].reshape(-1, 1).expand(-1, 4),
    "joined": lambda m, x: m.cat([x, x], 1),
    "indexed": lambda m, x: x[0, None, 1:],
    "converted": lambda m, x: x.to(m.float64).argmax(1),
    "norm": lambda m, x: m.nn.functional.layer_norm(x, (3,)),
    "convolution": lambda m, x: m.nn.functional.conv1d(x[None], x[None, :, :2]),
    "lookup": lambda m, x: m.nn.functional.embedding(m.zeros(4, dtype=m.int64, device="meta"), x),
    "transposed convolution": lambda m, x: m.nn.functional.conv_transpose1d(x[None], x[:, None]),
    "average": lambda m, x: m.nn.functional.avg_pool1d(x, 2),
    "product of stacks": lambda m, x: m.empty(5, 1, 3, 2, device="meta") @ m.empty(4, 2, 6, device="meta"),
    "product with a vector": lambda m, x: m.empty(5, 2, 3, device="meta") @ x[0],
    "product of a vector": lambda m, x: x[0] @ m.empty(5, 3, 2, device="meta"),
    "product of vectors": lambda m, x: x[0] @ x[1],
    "linear": lambda m, x: m.nn.functional.linear(m.empty(4, 5, 3, device="meta"), x, x[:, 0]),
    "linear without bias": lambda m, x: m.nn.functional.linear(m.empty(4, 5, 3, device="meta"), x),
    "added product": lambda m, x: m.addmm(x[0], x.mT, x),
    "in place": lambda m, x: x.clone().add_(1).mul_(x),
    "like": lambda m, x: m.randn_like(x, dtype=m.float64),
}


@pytest.mark.parametrize("name", RESULTS)
def test_shapes_and_dtypes_are_those_of_pytorch(name):
    torch = pytest.importorskip("torch")
    found, expected = (RESULTS[name](m, m.empty(2, 3, device="meta")) for m in (livegrad, torch))
    assert found.device == livegrad.device("meta") and found.is_meta
    assert tuple(found.shape) == tuple(expected.shape) and str(found.dtype) == str(expected.dtype)
    assert repr(found) == repr(expected)


def test_long_texts_are_broken_where_pytorch_breaks_them():
    torch = pytest.importorskip("torch")
    texts = [
        repr(m.empty(1024, 5, 65535, 655, dtype=m.float64, device="meta", requires_grad=True) * 2)
        for m in (livegrad, torch)
    ]
    assert texts[0] == texts[1] and "\n" in texts[0]


def test_they_take_no_memory_and_no_time():
    huge = livegrad.empty(1 << 40, 1 << 10, device="meta")
    assert (huge * 2).sum(0).numel() == 1 << 10
    huge.normal_()
    images = livegrad.empty(1024, 3, 65536, 65536, device="meta")
    assert nn.Conv2d(3, 5, 2, device="meta")(images).shape == (1024, 5, 65535, 65535)
    assert nn.Linear(1 << 10, 1 << 20, device="meta")(huge).shape == (1 << 40, 1 << 20)
    assert huge.clone().fill_(1).storage_offset() == 0


READS = {
    "item": (lambda x: x.sum().item(), RuntimeError),
    "bool": (lambda x: bool(x.sum()), RuntimeError),
    "float": (lambda x: float(x.sum()), RuntimeError),
    "cpu": (lambda x: x.cpu(), NotImplementedError),
    "to": (lambda x: x.to("cpu"), NotImplementedError),
    "tolist": (lambda x: x.tolist(), NotImplementedError),
    "numpy": (lambda x: x.numpy(), TypeError),
    "nonzero": (lambda x: x.nonzero(), NotImplementedError),
    "mask": (lambda x: x[x > 0], NotImplementedError),
}


@pytest.mark.parametrize("name", READS)
def test_nothing_is_read(name):
    read, error = READS[name]
    for m in filter(None, (livegrad, pytest.importorskip("torch"))):
        with pytest.raises(error):
            read(m.empty(2, 3, device="meta"))


def test_copies_go_there_and_not_back():
    x = livegrad.arange(3.0).to("meta")
    assert x.is_meta and x.shape == (3,)
    x.copy_(livegrad.ones(3))
    x[1:] = 5
    x[:2].zero_()
    with pytest.raises(NotImplementedError, match="no data"):
        livegrad.ones(3).copy_(x)
    assert livegrad.empty_like(x, device="cpu").device == livegrad.device("cpu")


def test_no_random_numbers_are_drawn():
    livegrad.manual_seed(0)
    expected = livegrad.rand(3)
    livegrad.manual_seed(0)
    x = livegrad.randn(4, 4, device="meta")
    livegrad.randint(0, 5, (2,), device="meta")
    for fill in (nn.init.kaiming_uniform_, nn.init.xavier_normal_, nn.init.trunc_normal_, nn.init.zeros_):
        assert fill(x) is x
    x.bernoulli_(0.5)
    assert livegrad.equal(livegrad.rand(3), expected)


def test_a_device_is_a_block():
    with livegrad.device("meta") as where:
        assert where == livegrad.device("meta") and livegrad.get_default_device() == where
        made = [
            livegrad.zeros(2), livegrad.tensor([1, 2]), livegrad.arange(3), livegrad.eye(2), livegrad.linspace(0, 1, 5),
            livegrad.rand(2), livegrad.randint(3, (2,)), livegrad.full((2,), 1.0), livegrad.empty(0),
        ]  # fmt: skip
        assert all(t.is_meta for t in made)
        with livegrad.device("cpu"):
            assert not livegrad.zeros(1).is_meta
        other = []
        thread = threading.Thread(target=lambda: other.append(livegrad.zeros(1).is_meta))
        thread.start()
        thread.join()
        assert other == [False]
        with pytest.raises(ZeroDivisionError), livegrad.device("cpu"):
            1 / 0  # noqa: B018
        assert livegrad.zeros(1).is_meta
    assert not livegrad.zeros(1).is_meta


def test_modules_are_made_without_data_and_filled_later():
    with livegrad.device("meta"):
        model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    assert all(t.is_meta for t in (*model.parameters(), *model.buffers()))
    assert isinstance(model[0].weight, nn.Parameter) and model[0].weight.requires_grad
    out = model(livegrad.empty(5, 4, device="meta"))
    assert out.shape == (5, 2) and out.requires_grad and out.is_meta
    with pytest.raises(NotImplementedError, match="to_empty"):
        model.to("cpu")
    full = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    model.load_state_dict(full.state_dict(), assign=True)
    x = livegrad.randn(5, 4)
    assert livegrad.equal(model.eval()(x), full.eval()(x))
    empty = nn.Linear(3, 3, device="meta").to_empty(device="cpu")
    assert empty.weight.device == livegrad.device("cpu")


def test_gradients_have_a_shape_where_they_are_elementwise():
    x = livegrad.empty(3, device="meta", requires_grad=True)
    ((x * 2).exp() + x).sum().backward()
    assert x.grad.is_meta and x.grad.shape == (3,)


@pytest.mark.parametrize(
    "call",
    [
        lambda f, m, x: f.batch_norm(x, None, None, m(2), m(2), True),
        lambda f, m, x: f.layer_norm(x, (2,), m(2), m(2)),
        lambda f, m, x: f.layer_norm(x, (2,), None, m(2)),
        lambda f, m, x: f.group_norm(x, 1, m(2), m(2)),
        lambda f, m, x: f.rms_norm(x, (2,), m(2)),
        lambda f, m, x: f.instance_norm(x.view(1, 3, 2), weight=m(3), bias=m(3)),
    ],
)
def test_weights_of_norms_without_data_are_refused(call):
    x = livegrad.arange(6.0).view(3, 2)
    call(livegrad.nn.functional, livegrad.ones, x)  # what has run is known by its layout
    with pytest.raises(RuntimeError, match="same device"):
        call(livegrad.nn.functional, lambda *s: livegrad.ones(*s, device="meta"), x)


def test_modules_that_go_to_meta_get_parameters_of_their_own():
    """Whoever else holds a parameter, such as an optimizer, keeps its numbers."""
    module = livegrad.nn.Linear(2, 3)
    held, numbers = module.weight, module.weight.tolist()
    held.grad = livegrad.ones(3, 2)
    module.to("meta")
    assert module.weight is not held and module.weight.device.type == "meta" and module.weight.requires_grad
    assert held.tolist() == numbers and held.grad.device.type == "cpu" and module.weight.grad.device.type == "meta"
    gone = module.weight
    module.to_empty(device="cpu")
    assert module.weight is not gone and gone.device.type == "meta" and module.weight.device.type == "cpu"
    kept = module.weight
    assert module.double().weight is kept
