"""Small linear maps start from the bias (`ops.linear`): values and gradients of every layout are PyTorch's."""

import numpy as np
import pytest

import livegrad

torch = pytest.importorskip("torch")

INPUTS = {
    "rows": lambda m, x: m.tensor(x),
    "transposed": lambda m, x: m.tensor(np.ascontiguousarray(np.array(x).T).tolist()).t(),
    "expanded": lambda m, x: m.tensor(x[:1]).expand(len(x), -1),
    "pending": lambda m, x: m.tensor(x) * 2 + 1,
    "a stack": lambda m, x: m.tensor([x, x]),
}
BIASES = {
    "a row": lambda m, b: m.tensor(b),
    "every other": lambda m, b: m.tensor([[c, 0.0] for c in b])[:, 0],
    "one number": lambda m, b: m.tensor(b[:1]).expand(len(b)),
    "pending": lambda m, b: m.tensor(b) - 1,
}


@pytest.mark.parametrize("sizes", [(3, 2, 4), (128, 2, 1), (1, 5, 3), (40, 3, 30), (16, 24, 40), (4, 1, 1)])
@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("given", INPUTS)
def test_values_and_gradients(given, bias, sizes):
    rows, k, n = sizes
    r = np.random.default_rng(rows)
    x = r.standard_normal((rows, k)).astype(np.float32).tolist()
    w = r.standard_normal((n, k)).astype(np.float32).tolist()
    b = r.standard_normal(n).astype(np.float32).tolist()
    found = []
    for m in (torch, livegrad):
        leaves = [INPUTS[given](m, x).detach(), m.tensor(w), BIASES[bias](m, b).detach()]
        for t in leaves:
            t.requires_grad_()
        made = m.nn.functional.linear(*leaves)
        before = [t.detach().clone() for t in leaves]
        (made * made.tanh()).sum().backward()
        for t, same in zip(leaves, before):
            assert (t.detach() == same).all()  # nothing was written into an operand
        found.append([made.detach().numpy(), *(t.grad.numpy() for t in leaves)])
    for ours, theirs in zip(found[1], found[0]):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (2, 0, 3)])
def test_empty(shape):
    for n in (0, 2):
        made = livegrad.nn.functional.linear(livegrad.ones(shape), livegrad.ones(n, shape[-1]), livegrad.ones(n))
        expected = torch.nn.functional.linear(torch.ones(shape), torch.ones(n, shape[-1]), torch.ones(n))
        np.testing.assert_array_equal(made.numpy(), expected.numpy())
