"""The programs for MLX, compiled."""

from __future__ import annotations

from functools import partial

import mlx.core as mx
from mlx import nn, optimizers

mx.set_default_device(mx.cpu)


def _trained(model, optimizer, loss_of, x, y):
    mx.eval(model.parameters(), x, y)
    gradient = nn.value_and_grad(model, lambda x, y: loss_of(model(x), y))
    state = [model.state, optimizer.state]

    @partial(mx.compile, inputs=state, outputs=state)
    def step(x, y):
        loss, grads = gradient(x, y)
        optimizer.update(model, grads)
        return loss

    def run():
        loss = step(x, y)
        mx.eval(state, loss)
        return loss.item()

    return run


def mlp_adam():
    model = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
    x, y = mx.random.normal((256, 784)), mx.random.randint(0, 10, (256,))
    loss = partial(nn.losses.cross_entropy, reduction="mean")
    return _trained(model, optimizers.Adam(1e-3), loss, x, y)


def _xor(optimizer):
    model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
    x = mx.random.normal((128, 2))
    y = (x[:, 0] * x[:, 1] > 0).astype(mx.float32)
    return _trained(
        model, optimizer, lambda z, y: nn.losses.binary_cross_entropy(z.squeeze(1), y, with_logits=True), x, y
    )


def _forward(function):
    x = mx.random.normal((4096, 1024))
    mx.eval(x)
    return lambda: function(x)[0, 0].item()


CASES = {
    "mlp_adam": mlp_adam,
    "xor_sgd": lambda: _xor(optimizers.SGD(0.1)),
    "xor_adam": lambda: _xor(optimizers.Adam(0.01)),
    "softmax": lambda: _forward(lambda x: mx.softmax(x, -1)),
    "layer_norm": lambda: _forward(nn.LayerNorm(1024)),
}
