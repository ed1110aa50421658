"""The programs that are timed on a GPU. Each is written once and runs on livegrad and on PyTorch (`m` is the library).

A case sets up and returns its step, which starts its work on the device and waits for nothing. `moved` are the bytes that
a step has to read and write at least, `operations` its multiplications and additions; `against` says which forms of
PyTorch it is compared with, and `budget` how many times as long as each livegrad may take.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gpt import gpt

CASES: dict[str, Callable] = {}
EAGER, COMPILED = "torch", "torch.compile"


def case(against: dict[str, float], moved: int = 0, operations: int = 0) -> Callable:
    """Decorator: enter a case. against: form of PyTorch -> the budget, a ratio of times."""

    def enter(function: Callable) -> Callable:
        function.against, function.moved, function.operations = against, moved, operations
        CASES[function.__name__] = function
        return function

    return enter


def now(m: Any, *tensors: Any) -> None:
    """Start what is pending: PyTorch has started it already."""
    if m.__name__ == "livegrad":
        m.eval(*tensors)


N = 1 << 26  # floats in 256 MB


@case({EAGER: 1.0}, moved=12 * N)
def add(m: Any) -> Callable:
    """x + y, 256 MB each."""
    x, y = m.randn(N, device="cuda"), m.randn(N, device="cuda")
    return lambda: now(m, x + y)


@case({EAGER: 0.5}, moved=8 * N)
def chain(m: Any) -> Callable:
    """Six elementwise operators on 256 MB."""
    x = m.randn(N, device="cuda")
    return lambda: now(m, ((x * 2 + 1).sigmoid() * x).tanh() - 0.5)


@case({EAGER: 1.0}, moved=8 * N)
def softmax(m: Any) -> Callable:
    """Softmax of rows of 1024, 256 MB."""
    x = m.randn(N // 1024, 1024, device="cuda")
    return lambda: now(m, x.softmax(-1))


@case({EAGER: 1.0}, moved=8 * N)
def layer_norm(m: Any) -> Callable:
    """Layer norm of rows of 1024, 256 MB."""
    x, layer = m.randn(N // 1024, 1024, device="cuda"), m.nn.LayerNorm(1024).to("cuda")

    def step() -> None:
        with m.no_grad():
            now(m, layer(x))

    return step


@case({EAGER: 1.0}, moved=4 * N)
def total(m: Any) -> Callable:
    """The sum of 256 MB."""
    x = m.randn(N, device="cuda")
    return lambda: now(m, x.sum())


def _product(m: Any, dtype: Any) -> Callable:
    a, b = (m.randn(8192, 8192, device="cuda").to(dtype) for _ in range(2))
    now(m, a, b)
    return lambda: now(m, a @ b)


@case({EAGER: 1 / 0.97}, operations=2 * 8192**3)
def matmul_float32(m: Any) -> Callable:
    """A product of 8192 x 8192, float32 in full precision."""
    m.set_float32_matmul_precision("highest")
    return _product(m, m.float32)


@case({EAGER: 1 / 0.97}, operations=2 * 8192**3)
def matmul_bfloat16(m: Any) -> Callable:
    """A product of 8192 x 8192, bfloat16."""
    return _product(m, m.bfloat16)


@case({EAGER: 0.5}, moved=8 * N)
def gelu_written_out(m: Any) -> Callable:
    """GELU's approximation by tanh, written in operators, 256 MB."""
    x = m.randn(N, device="cuda")
    c = math.sqrt(2 / math.pi)
    return lambda: now(m, 0.5 * x * (1 + (c * (x + 0.044715 * x**3)).tanh()))


@case({EAGER: 0.5}, moved=28 * (N // 4))
def adam(m: Any) -> Callable:
    """Adam's update written in operators, four tensors of 64 MB."""
    p, g = m.randn(N // 4, device="cuda"), m.randn(N // 4, device="cuda")
    mean, square = m.zeros(N // 4, device="cuda"), m.zeros(N // 4, device="cuda")

    def step() -> None:
        with m.no_grad():
            mean.mul_(0.9).add_(g * 0.1)
            square.mul_(0.999).add_(g * g * 0.001)
            p.sub_(1e-3 * mean / (square.sqrt() + 1e-8))
            now(m, p, mean, square)

    return step


def _training(m: Any, model: Any, loss: Callable, optimizer: Any) -> Callable:
    def step() -> None:
        optimizer.zero_grad()
        found = loss(model)
        found.backward()
        optimizer.step()
        now(m, *(p for p in model.parameters()))

    step.model = model  # type: ignore[attr-defined]  # what torch.compile is given
    return step


@case({EAGER: 0.5})
def small_mlp(m: Any) -> Callable:
    """A step of an MLP 64-128-128-10 with 128 samples and Adam: bound by launches."""
    nn, F = m.nn, m.nn.functional
    m.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)).to("cuda")
    x, y = m.randn(128, 64, device="cuda"), m.randn(128, 10, device="cuda")
    return _training(m, model, lambda f: F.mse_loss(f(x), y), m.optim.Adam(model.parameters(), lr=1e-3))


@case({EAGER: 1.0, COMPILED: 1.0})
def gpt2_small(m: Any) -> Callable:
    """A step of a model of GPT-2 small's shape (12 layers, width 768), 8 x 1024 tokens, bfloat16, AdamW."""
    letters, length, batch = 50304, 1024, 8
    m.manual_seed(0)
    model = gpt(m, 768, 12, 12, length, letters, "tanh").to("cuda")
    x, y = (m.randint(0, letters, (batch, length), device="cuda") for _ in range(2))

    def loss(f: Any) -> Any:
        with m.autocast("cuda", dtype=m.bfloat16):
            return f(x, y)

    return _training(m, model, loss, m.optim.AdamW(model.parameters(), lr=1e-4))


@case({EAGER: 1.0, COMPILED: 1.0})
def resnet(m: Any) -> Callable:
    """A step of a ResNet-18 on 64 images of 224 x 224, bfloat16, SGD with momentum."""
    nn, F = m.nn, m.nn.functional

    class Block(nn.Module):
        def __init__(self, inside: int, outside: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
            self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
            self.bn1, self.bn2 = nn.BatchNorm2d(outside), nn.BatchNorm2d(outside)
            self.short = None
            if stride != 1 or inside != outside:
                self.short = nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))

        def forward(self, x: Any) -> Any:
            made = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
            return (made + (x if self.short is None else self.short(x))).relu()

    sizes = [(64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2),
             (512, 512, 1)]  # fmt: skip
    m.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
        *[Block(*s) for s in sizes], nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000),
    ).to("cuda")  # fmt: skip
    x, y = m.randn(64, 3, 224, 224, device="cuda"), m.randint(0, 1000, (64,), device="cuda")

    def loss(f: Any) -> Any:
        with m.autocast("cuda", dtype=m.bfloat16):
            return F.cross_entropy(f(x).float(), y)

    return _training(m, model, loss, m.optim.SGD(model.parameters(), lr=0.01, momentum=0.9))
