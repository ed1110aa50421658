"""Sequences: recurrent layers, attention, a small GPT, and the products that they are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cases import case


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
