"""Sequences: recurrent layers, attention, a small GPT, and the products that they are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cases import case
from gpt import gpt


def _lstm(m: Any, kind: str) -> Callable:
    m.manual_seed(0)
    model = getattr(m.nn, kind)(64, 128)
    x = m.randn(50, 32, 64)

    def step() -> float:
        for p in model.parameters():
            p.grad = None
        y, _ = model(x)
        y.sum().backward()
        return model.weight_ih_l0.grad[0, 0].item()

    return step


@case(1.0)
def lstm(m: Any) -> Callable:
    """LSTM 64 -> 128, batch 32, 50 steps, forward and backward."""
    return _lstm(m, "LSTM")


@case(1.0)
def gru(m: Any) -> Callable:
    """GRU 64 -> 128, batch 32, 50 steps, forward and backward."""
    return _lstm(m, "GRU")


def _attention(m: Any, shape: tuple) -> Callable:
    m.manual_seed(0)
    q, k, v = (m.randn(*shape, requires_grad=True) for _ in range(3))
    attend = m.nn.functional.scaled_dot_product_attention

    def step() -> float:
        q.grad = k.grad = v.grad = None
        attend(q, k, v, is_causal=True).sum().backward()
        return q.grad[0, 0, 0, 0].item()

    return step


@case(1.0)
def sdpa_64(m: Any) -> Callable:
    """Causal attention, 12 x 4 heads, 64 x 32, forward and backward."""
    return _attention(m, (12, 4, 64, 32))


@case(1.0)
def sdpa_1024(m: Any) -> Callable:
    """Causal attention, 1 x 8 heads, 1024 x 64, forward and backward."""
    return _attention(m, (1, 8, 1024, 64))


@case(0.5)
def gpt_small(m: Any) -> Callable:
    """GPT: 4 layers, 4 heads, width 128, batch 12 x 64, 65 letters, one AdamW step."""
    m.manual_seed(0)
    length, letters = 64, 65
    model = gpt(m, 128, 4, 4, length, letters)
    x, y = m.randint(0, letters, (12, length)), m.randint(0, letters, (12, length))
    optimizer = m.optim.AdamW(model.parameters(), lr=1e-3)

    def step() -> float:
        loss = model(x, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def _product(m: Any, a: tuple, b: tuple) -> Callable:
    m.manual_seed(0)
    x, y = m.randn(*a), m.randn(*b)
    return lambda: (x @ y).reshape(-1)[0].item()


def _product_case(a: tuple, b: tuple, budget: float = 1.0) -> None:
    def made(m: Any) -> Callable:
        return _product(m, a, b)

    def sizes(shape: tuple) -> str:
        return "x".join(map(str, shape))

    made.__name__ = f"product_{sizes(a)}_{sizes(b)}"
    made.__doc__ = f"A product of {' x '.join(map(str, a))} and {' x '.join(map(str, b))}."
    case(budget)(made)


for _a, _b in (
    ((8, 8), (8, 8)), ((128, 2), (2, 4)), ((64, 64), (64, 64)), ((128, 128), (128, 128)), ((256, 256), (256, 256)),
    ((512, 512), (512, 512)), ((48, 64, 32), (48, 32, 64)), ((8, 256, 256), (8, 256, 256)), ((768, 128), (128, 512)),
    ((1024, 1024), (1024,)), ((12, 64, 128), (128, 384)),
):  # fmt: skip
    _product_case(_a, _b)
