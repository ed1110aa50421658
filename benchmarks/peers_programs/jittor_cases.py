"""The programs for Jittor."""

from __future__ import annotations

import jittor as jt
from jittor import nn


def _trained(model, optimizer, loss_of, x, y):
    def run():
        loss = loss_of(model(x), y)
        optimizer.step(loss)
        return loss.item()

    return run


def mlp_adam():
    model = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
    x, y = jt.randn(256, 784), jt.randint(0, 10, (256,))
    return _trained(model, nn.Adam(model.parameters(), lr=1e-3), nn.cross_entropy_loss, x, y)


def _xor(method, lr):
    model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
    x = jt.randn(128, 2)
    y = (x[:, 0] * x[:, 1] > 0).float32()
    return _trained(
        model, method(model.parameters(), lr=lr), lambda z, y: nn.binary_cross_entropy_with_logits(z[:, 0], y), x, y
    )


def _forward(function):
    x = jt.randn(4096, 1024)
    x.sync()

    def run():
        y = function(x)
        y.sync()
        return y[0, 0].item()

    return run


CASES = {
    "mlp_adam": mlp_adam,
    "xor_sgd": lambda: _xor(nn.SGD, 0.1),
    "xor_adam": lambda: _xor(nn.Adam, 0.01),
    "softmax": lambda: _forward(lambda x: nn.softmax(x, dim=-1)),
    "layer_norm": lambda: _forward(nn.LayerNorm(1024)),
}
