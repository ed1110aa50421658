"""The programs that are timed. Each is written once and runs on livegrad and on PyTorch (`m` is the library).

A case is a function that sets up and returns its step, which does one round and reads a value back, so that deferred
work is paid for. `budget` is the largest ratio to PyTorch that we accept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

CASES: dict[str, Callable] = {}


def case(budget: float) -> Callable:
    """Decorator: enter a case with its budget."""

    def enter(function: Callable) -> Callable:
        function.budget = budget
        CASES[function.__name__] = function
        return function

    return enter


@case(1.0)
def record_add(m: Any) -> Callable:
    """a + b on three elements, recorded (nothing is read: this times the record)."""
    a, b = m.ones(3, requires_grad=True), m.ones(3)
    return lambda: a + b


@case(0.5)
def record_scale(m: Any) -> Callable:
    """a * 2 on three elements, recorded."""
    a = m.ones(3, requires_grad=True)
    return lambda: a * 2


@case(0.5)
def chain_100(m: Any) -> Callable:
    """100 tiny operators, forward and backward."""

    def step() -> float:
        x = m.ones(3, requires_grad=True)
        y = x
        for _ in range(50):
            y = y * 1.01
            y = y + 0.1
        y.sum().backward()
        return x.grad[0].item()

    return step


@case(0.5)
def article(m: Any) -> Callable:
    """((x + 2) ** 2 + 3).mean().backward()"""

    def step() -> list:
        x = m.arange(1.0, 4.0, requires_grad=True)
        ((x + 2) ** 2 + 3).mean().backward()
        return x.grad.tolist()

    return step


@case(0.5)
def exp_4m(m: Any) -> Callable:
    """exp of 4 M floats."""
    x = m.randn(4 << 20)
    return lambda: x.exp()[0].item()


@case(1.0)
def add_4m(m: Any) -> Callable:
    """x + y, 4 M floats."""
    x, y = m.randn(4 << 20), m.randn(4 << 20)
    return lambda: (x + y)[0].item()


@case(0.1)
def gelu_4m(m: Any) -> Callable:
    """tanh-GELU written out, 4 M floats."""
    x = m.randn(4 << 20)
    return lambda: (0.5 * x * (1 + m.tanh(0.7978845608 * (x + 0.044715 * x**3))))[0].item()


@case(0.3)
def sigmoid_tanh_1m(m: Any) -> Callable:
    """sum(sigmoid(x) * tanh(x)) of 1 M floats, forward and backward."""
    x = m.randn(1 << 20, requires_grad=True)

    def step() -> float:
        x.grad = None
        (x.sigmoid() * x.tanh()).sum().backward()
        return x.grad[0].item()

    return step


@case(0.5)
def matmul_1024(m: Any) -> Callable:
    """A float32 product of 1024 x 1024 matrices."""
    a, b = m.randn(1024, 1024), m.randn(1024, 1024)
    return lambda: (a @ b)[0, 0].item()


@case(1.0)
def sum_rows(m: Any) -> Callable:
    """Sum over axis 1 of 4096 x 1024."""
    x = m.randn(4096, 1024)
    return lambda: x.sum(1)[0].item()


@case(1.0)
def sum_columns(m: Any) -> Callable:
    """Sum over axis 0 of 4096 x 1024."""
    x = m.randn(4096, 1024)
    return lambda: x.sum(0)[0].item()


@case(0.7)
def softmax(m: Any) -> Callable:
    """softmax over the rows of 4096 x 1024."""
    x = m.randn(4096, 1024)
    return lambda: x.softmax(-1)[0, 0].item()


def _xor(m: Any, make: Callable) -> Callable:
    m.manual_seed(0)
    model = m.nn.Sequential(m.nn.Linear(2, 4), m.nn.Tanh(), m.nn.Linear(4, 1))
    data = m.randn(128, 2)
    labels = (data[:, 0] * data[:, 1] > 0).float()
    loss_of = m.nn.BCEWithLogitsLoss()
    optimizer = make(model.parameters())

    def step() -> float:
        loss = loss_of(model(data).squeeze(1), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


@case(0.6)
def xor_sgd(m: Any) -> Callable:
    """XOR MLP 2-4-1, batch 128, one SGD step."""
    return _xor(m, lambda p: m.optim.SGD(p, lr=0.1))


@case(0.6)
def xor_adam(m: Any) -> Callable:
    """XOR MLP 2-4-1, batch 128, one Adam step."""
    return _xor(m, lambda p: m.optim.Adam(p, lr=0.01))


@case(1.0)
def mlp_adam(m: Any) -> Callable:
    """MLP 784-512-512-10, batch 256, one Adam step."""
    m.manual_seed(0)
    nn = m.nn
    model = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
    x, y = m.randn(256, 784), m.randint(0, 10, (256,))
    loss_of = nn.CrossEntropyLoss()
    optimizer = m.optim.Adam(model.parameters(), lr=1e-3)

    def step() -> float:
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


import cases_conv  # noqa: E402, F401  (enter their cases above)
import cases_graphs  # noqa: E402, F401
import cases_rows  # noqa: E402, F401
