"""L-BFGS takes PyTorch's steps."""

import numpy as np
import pytest

import livegrad

torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")

FUNCTIONS = {
    "valley": lambda m, x: 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2,
    "bowl": lambda m, x: (x * x * m.tensor([1.0, 10.0], dtype=m.float64)).sum() + x[0].sin(),
    "waves": lambda m, x: (x - 1).pow(4).sum() + (3 * x).cos().sum(),
}


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    "options",
    [{"lr": 0.01}, {"lr": 0.1, "max_iter": 4}, {"line_search_fn": "strong_wolfe"},
     {"line_search_fn": "strong_wolfe", "history_size": 2, "max_iter": 7}, {"lr": 0.05, "max_eval": 3}],
    ids=str,
)  # fmt: skip
def test_steps(function, options):
    found = []
    for m in (livegrad, torch):
        x = m.tensor([-1.2, 1.0], dtype=m.float64).requires_grad_()
        other = m.zeros(3, dtype=m.float64).requires_grad_()
        optimizer = m.optim.LBFGS([x, other], **options)
        calls = []

        def closure():
            optimizer.zero_grad()
            loss = FUNCTIONS[function](m, x)
            loss.backward()
            calls.append(loss.item())
            return loss

        losses = [float(optimizer.step(closure)) for _ in range(4)]
        found.append((losses, calls, x.tolist(), optimizer.state_dict()["state"][0]["func_evals"]))
    (a, b, c, d), (e, f, g, h) = found
    assert (len(b), d) == (len(f), h)
    np.testing.assert_allclose(b, f, rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(c, g, rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(a, e, rtol=1e-7, atol=1e-12)


def test_state_goes_on():
    """Training that is saved and loaded takes the same steps as training that is not."""

    def start(state=None, at=None):
        x = livegrad.tensor([-1.2, 1.0] if at is None else at, dtype=livegrad.float64, requires_grad=True)
        optimizer = livegrad.optim.LBFGS([x], lr=0.05, max_iter=3)
        if state is not None:
            optimizer.load_state_dict(state)

        def closure():
            optimizer.zero_grad()
            loss = FUNCTIONS["valley"](livegrad, x)
            loss.backward()
            return loss

        return x, optimizer, closure

    x, optimizer, closure = start()
    optimizer.step(closure)
    y, again, closure_again = start(optimizer.state_dict(), x.tolist())
    optimizer.step(closure)
    again.step(closure_again)
    assert x.tolist() == y.tolist()


def test_errors():
    for m in (livegrad, torch):
        x, y = (m.ones(1, requires_grad=True) for _ in range(2))
        with pytest.raises(ValueError, match="per-parameter options"):
            m.optim.LBFGS([{"params": [x]}, {"params": [y]}])
        with pytest.raises(ValueError, match="Invalid learning rate: -1"):
            m.optim.LBFGS([x], lr=-1)
        optimizer = m.optim.LBFGS([x], line_search_fn="other")

        def closure():
            loss = (x * x).sum()
            loss.backward()
            return loss

        with pytest.raises(RuntimeError, match="only 'strong_wolfe' is supported"):
            optimizer.step(closure)


def test_a_line_falls_for_ever():
    """Its cubic has no minimum: the search takes the longest step that it may, and divides by nothing."""
    x = livegrad.zeros(3, dtype=livegrad.float64, requires_grad=True)
    optimizer = livegrad.optim.LBFGS([x], max_iter=2, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = x.sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert x.isfinite().all().item() and (x < -1e6).all().item()
