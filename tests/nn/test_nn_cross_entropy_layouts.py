"""Cross-entropy and its gradient over layouts of logits, targets and incoming gradients, against PyTorch."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import livegrad  # noqa: E402

SHAPES = [(5, 7), (33, 1000), (3, 4, 6, 5), (2, 70_000), (1, 3), (4, 2), (64, 17, 3)]
LOGITS = {
    "contiguous": lambda x: x,
    "transposed": lambda x: x.transpose(0, -1).contiguous().transpose(0, -1),
    "every second": lambda x: x.repeat_interleave(2, 1)[:, ::2],
    "expanded": lambda x: x[:1].expand(*x.shape),
    "pending": lambda x: x * 2.0,
}
GRADIENTS = {
    "contiguous": lambda g: g,
    "transposed": lambda g: g.transpose(0, -1).contiguous().transpose(0, -1),
    "expanded": lambda g: g.reshape(-1)[:1].expand(g.numel()).reshape(g.shape),
}


def _case(m, numbers, classes, flow, logits, gradient, dtype, options):
    leaf = m.tensor(numbers, requires_grad=True)
    x = LOGITS[logits](leaf.to(getattr(m, dtype)))
    options = {k: m.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    loss = m.nn.functional.cross_entropy(x, m.tensor(classes), **options)
    loss.backward(GRADIENTS[gradient](m.tensor(flow)).to(loss.dtype) if loss.dim() else None)
    return loss.detach().float().numpy(), leaf.grad.numpy()


def _check(shape, logits, gradient, mode, dtype="float32", **options):
    rng = np.random.default_rng(0)
    numbers = (3 * rng.normal(size=shape)).astype(np.float32)
    rest = (shape[0], *shape[2:])
    classes = rng.integers(0, shape[1], rest)
    if "ignore_index" in options:
        classes.reshape(-1)[::2] = options["ignore_index"]
    flow = rng.normal(size=rest).astype(np.float32)
    with livegrad.compiling(mode):
        found = _case(livegrad, numbers, classes, flow, logits, gradient, dtype, options)
    expected = _case(torch, numbers, classes, flow, logits, gradient, dtype, options)
    close = {"float32": 2e-5, "bfloat16": 4e-2, "float16": 1e-2, "float64": 1e-6}[dtype]
    for a, b in zip(found, expected):
        np.testing.assert_allclose(a, b, rtol=close, atol=close)


@pytest.mark.parametrize("mode", ["always", "never"])
@pytest.mark.parametrize("logits", LOGITS)
@pytest.mark.parametrize("shape", SHAPES)
def test_logits(shape, logits, mode):
    _check(shape, logits, "contiguous", mode, reduction="none")
    _check(shape, logits, "contiguous", mode)


@pytest.mark.parametrize("mode", ["always", "never"])
@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("shape", SHAPES[:3])
def test_incoming_gradients(shape, gradient, mode):
    _check(shape, "contiguous", gradient, mode, reduction="none")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
@pytest.mark.parametrize("shape", SHAPES[:3])
def test_dtypes(shape, dtype):
    _check(shape, "contiguous", "contiguous", "always", dtype, reduction="none")


@pytest.mark.parametrize("options", [{"ignore_index": 1}, {"ignore_index": -100}, {"weight": True}])
@pytest.mark.parametrize("shape", SHAPES[:3])
def test_options(shape, options):
    options = dict(options)
    if "weight" in options:
        options["weight"] = np.linspace(0.5, 2.0, shape[1]).astype(np.float32)
    for reduction in ("none", "sum", "mean"):
        _check(shape, "contiguous", "contiguous", "always", reduction=reduction, **options)


def test_other_elements_do_not_matter_to_the_target():
    """Infinities elsewhere in the row are not multiplied with zero."""
    x = livegrad.tensor([[1.0, -livegrad.inf, 2.0], [0.0, 1.0, -livegrad.inf]], requires_grad=True)
    with livegrad.compiling("always"):
        loss = livegrad.nn.functional.cross_entropy(x, livegrad.tensor([0, 1]), reduction="none")
        loss.sum().backward()
    y = torch.tensor([[1.0, -torch.inf, 2.0], [0.0, 1.0, -torch.inf]], requires_grad=True)
    other = torch.nn.functional.cross_entropy(y, torch.tensor([0, 1]), reduction="none")
    other.sum().backward()
    np.testing.assert_allclose(loss.detach().numpy(), other.detach().numpy(), rtol=1e-6)
    np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-5, atol=1e-7)
