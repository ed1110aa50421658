"""Ways that are short for small tensors: values, gradients of any layout and second derivatives are PyTorch's."""

import numpy as np
import pytest

import livegrad

torch = pytest.importorskip("torch")

OPERATORS = {
    "max of rows": lambda m, x: x.max(1)[0],
    "max of columns": lambda m, x: x.max(0).values,
    "min, kept": lambda m, x: x.min(1, keepdim=True)[0],
    "padded": lambda m, x: m.nn.functional.pad(x, (1, 2), value=3.0),
    "padded all around": lambda m, x: m.nn.functional.pad(x, (1, 0, 2, 1)),
    "padded and cut": lambda m, x: m.nn.functional.pad(x, (-1, 2, 0, -1), value=-1.0),
}
FLOWS = {
    "contiguous": lambda m, shape, a: m.tensor(a.tolist()).reshape(shape),
    "one number": lambda m, shape, a: m.tensor(a[0].item()).expand(shape),
    "transposed": lambda m, shape, a: m.tensor(a.tolist()).reshape(shape[::-1]).permute(*range(len(shape))[::-1]),
    "a window": lambda m, shape, a: m.stack([m.tensor(a.tolist())] * 2, 1)[:, 0].reshape(shape),
}


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("name", OPERATORS)
def test_gradients(name, flow):
    r = np.random.default_rng(3)
    numbers, more = r.standard_normal((4, 5)), r.standard_normal(200)
    found = []
    for m in (torch, livegrad):
        x = m.tensor(numbers.tolist(), requires_grad=True)
        made = OPERATORS[name](m, x * x)
        shape = tuple(made.shape)
        g = FLOWS[flow](m, shape, more[: int(np.prod(shape))])
        (first,) = m.autograd.grad(made, x, g, create_graph=True)
        (second,) = m.autograd.grad((first**2).sum(), x)
        found.append([t.detach().numpy() for t in (made, first, second)])
    for ours, theirs in zip(found[1], found[0]):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int8", "bool"])
def test_extremes_along_a_dimension(dtype):
    a = np.random.default_rng(0).integers(-2, 3, (6, 7)).astype(dtype)
    for name in ("max", "min"):
        for dim in (0, 1):
            ours = getattr(livegrad.tensor(a.tolist(), dtype=getattr(livegrad, dtype)), name)(dim)
            theirs = getattr(torch.tensor(a.tolist(), dtype=getattr(torch, dtype)), name)(dim)
            np.testing.assert_array_equal(ours.values.numpy(), theirs.values.numpy())
            np.testing.assert_array_equal(ours.indices.numpy(), theirs.indices.numpy())
    x = livegrad.tensor([[1.0, float("nan"), 3.0], [float("-inf"), 2.0, float("inf")]])
    y = torch.tensor(x.tolist())
    for name in ("max", "min"):
        np.testing.assert_array_equal(getattr(x, name)(1)[0].numpy(), getattr(y, name)(1)[0].numpy())
        np.testing.assert_array_equal(getattr(x, name)(1)[1].numpy(), getattr(y, name)(1)[1].numpy())


@pytest.mark.parametrize("n", [1, 16, 1000, (1 << 14) - 1, 1 << 14, (1 << 14) + 1])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dropout_draws_the_same_whatever_the_size(n, dtype):
    made = []
    for m in (torch, livegrad):
        m.manual_seed(5)
        x = m.linspace(1, 2, n, dtype=getattr(m, dtype), requires_grad=True)
        y = m.nn.functional.dropout(x, 0.3)
        y.sum().backward()
        made.append((y.detach().numpy(), x.grad.numpy(), m.rand(3).numpy()))
    for ours, theirs in zip(made[1], made[0]):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("classes", [-1, 5, 9])
def test_one_hot(classes):
    for indices in ([], [4], [[0, 1, 2], [3, 4, 1]], list(range(5)) * 20):
        if not indices and classes < 0:
            continue
        ours = livegrad.nn.functional.one_hot(livegrad.tensor(indices, dtype=livegrad.int64), classes)
        theirs = torch.nn.functional.one_hot(torch.tensor(indices, dtype=torch.int64), classes)
        assert ours.dtype is livegrad.int64
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    for wrong in ([-1], [5]):
        with pytest.raises(RuntimeError, match="Class values must be"):
            livegrad.nn.functional.one_hot(livegrad.tensor(wrong), 5)


def test_padding_is_one_step_of_the_graph():
    made = livegrad.nn.functional.pad(livegrad.ones(2, 2, requires_grad=True), (1, 1))
    assert made.grad_fn.name() == "ConstantPadNdBackward0"
