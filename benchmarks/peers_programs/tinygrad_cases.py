"""The programs for tinygrad, with its JIT."""

from __future__ import annotations

from tinygrad import Tensor, TinyJit, nn


def _trained(model, optimizer, loss_of, x, y):
    @TinyJit
    def step(x, y):
        optimizer.zero_grad()
        loss = loss_of(model(x), y).backward()
        return loss.realize(*optimizer.schedule_step())

    x, y = x.realize(), y.realize()

    def run():
        with Tensor.train():
            return step(x, y).item()

    return run


def mlp_adam():
    a, b, c = nn.Linear(784, 512), nn.Linear(512, 512), nn.Linear(512, 10)
    optimizer = nn.optim.Adam(nn.state.get_parameters([a, b, c]), lr=1e-3)
    x, y = Tensor.randn(256, 784), Tensor.randint(256, high=10)
    return _trained(
        lambda x: c(b(a(x).relu()).relu()), optimizer, lambda z, y: z.sparse_categorical_crossentropy(y), x, y
    )


def _xor(method, lr):
    a, b = nn.Linear(2, 4), nn.Linear(4, 1)
    optimizer = method(nn.state.get_parameters([a, b]), lr=lr)
    x = Tensor.randn(128, 2)
    y = (x[:, 0] * x[:, 1] > 0).float()
    return _trained(lambda x: b(a(x).tanh()).squeeze(1), optimizer, lambda z, y: z.binary_crossentropy_logits(y), x, y)


def _forward(function):
    x, f = Tensor.randn(4096, 1024).realize(), TinyJit(lambda x: function(x).realize())
    return lambda: f(x)[0, 0].item()


def layer_norm():
    layer = nn.LayerNorm(1024)
    return _forward(layer)


CASES = {
    "mlp_adam": mlp_adam,
    "xor_sgd": lambda: _xor(nn.optim.SGD, 0.1),
    "xor_adam": lambda: _xor(nn.optim.Adam, 0.01),
    "softmax": lambda: _forward(lambda x: x.softmax(-1)),
    "layer_norm": layer_norm,
}
