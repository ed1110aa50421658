"""Graphs that differ from step to step, and gradients of gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cases import case


@case(0.6)
def dynamic_depth(m: Any) -> Callable:
    """Dynamic depth: 2 to 9 layers of a small MLP (width 64, batch 64) chosen by the data each step, SGD."""
    m.manual_seed(0)
    layers = m.nn.ModuleList([m.nn.Linear(64, 64) for _ in range(9)])
    head = m.nn.Linear(64, 1)
    batches = [m.randn(64, 64) for _ in range(16)]
    targets = m.randn(64, 1)
    optimizer = m.optim.SGD([*layers.parameters(), *head.parameters()], lr=0.01)
    turn = 0

    def step() -> float:
        nonlocal turn
        x = batches[turn % len(batches)]
        turn += 1
        depth = 2 + int(x[0].abs().sum().item() * 100) % 8
        for layer in layers[:depth]:
            x = layer(x).tanh()
        loss = m.nn.functional.mse_loss(head(x), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


@case(0.7)
def gradient_penalty(m: Any) -> Callable:
    """Double backward through a small MLP (gradient penalty, create_graph=True)."""
    m.manual_seed(0)
    nn = m.nn
    model = nn.Sequential(nn.Linear(32, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
    x = m.randn(64, 32, requires_grad=True)

    def step() -> float:
        for p in model.parameters():
            p.grad = None
        score = model(x).mean()
        (slope,) = m.autograd.grad(score, x, create_graph=True)
        loss = score + 10 * ((slope * slope).sum(1).sqrt() - 1).square().mean()
        loss.backward()
        return model[0].weight.grad[0, 0].item()

    return step
