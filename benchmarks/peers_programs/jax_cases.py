"""The programs for JAX: one jitted step each, as its users write them; optimizers are written out."""

from __future__ import annotations

import jax
import jax.numpy as np

KEY = jax.random.key(0)


def linear(sizes):
    """Weights and biases of a multi-layer perceptron, drawn as PyTorch draws them."""
    keys = jax.random.split(KEY, len(sizes))
    made = []
    for key, n, m in zip(keys, sizes, sizes[1:]):
        bound = n**-0.5
        made.append(
            (jax.random.uniform(key, (n, m), minval=-bound, maxval=bound), jax.random.uniform(key, (m,)) * bound)
        )
    return made


def adam(lr, loss, decay=0.0):
    """(start, step) of Adam, or AdamW with decay, on loss(params, *data); step(state, *data) returns the new state and the loss."""

    def start(params):
        zeros = jax.tree.map(np.zeros_like, params)
        return params, zeros, zeros, 0.0

    @jax.jit
    def step(state, *data):
        params, mean, square, count = state
        value, g = jax.value_and_grad(loss)(params, *data)
        count = count + 1
        mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, g)
        square = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, square, g)
        size, root = lr / (1 - 0.9**count), (1 - 0.999**count) ** 0.5
        params = jax.tree.map(
            lambda p, m, v: p * (1 - lr * decay) - size * m / (np.sqrt(v) / root + 1e-8), params, mean, square
        )
        return (params, mean, square, count), value

    return start, step


def sgd(lr, loss):
    @jax.jit
    def step(params, *data):
        value, g = jax.value_and_grad(loss)(params, *data)
        return jax.tree.map(lambda p, g: p - lr * g, params, g), value

    return lambda params: params, step


def trained(params, method, *data):
    start, step = method
    state = [start(params)]

    def run():
        state[0], value = step(state[0], *data)
        return value.item()

    return run


def cross_entropy(logits, y):
    return -np.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1).mean()


def mlp_loss(params, x, y):
    for i, (w, b) in enumerate(params):
        x = x @ w + b
        x = jax.nn.relu(x) if i < len(params) - 1 else x
    return cross_entropy(x, y)


def mlp_adam():
    x, y = jax.random.normal(KEY, (256, 784)), jax.random.randint(KEY, (256,), 0, 10)
    return trained(linear([784, 512, 512, 10]), adam(1e-3, mlp_loss), x, y)


def xor_loss(params, x, y):
    (a, b), (c, d) = params
    z = (np.tanh(x @ a + b) @ c + d)[:, 0]
    return (np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z)))).mean()


def xor(method):
    x = jax.random.normal(KEY, (128, 2))
    return trained(linear([2, 4, 1]), method, x, (x[:, 0] * x[:, 1] > 0).astype(np.float32))


def softmax():
    x, f = jax.random.normal(KEY, (4096, 1024)), jax.jit(jax.nn.softmax)
    return lambda: f(x)[0, 0].item()


def norm(x, w, b):
    centred = x - x.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt((centred * centred).mean(-1, keepdims=True) + 1e-5) * w + b


def layer_norm():
    x, w, b = jax.random.normal(KEY, (4096, 1024)), np.ones(1024), np.zeros(1024)

    f = jax.jit(norm)
    return lambda: f(x, w, b)[0, 0].item()


def lstm():
    x = jax.random.normal(KEY, (50, 32, 64))
    bound = 128**-0.5
    keys = jax.random.split(KEY, 3)
    w, u = (jax.random.uniform(k, (n, 512), minval=-bound, maxval=bound) for k, n in zip(keys, (64, 128)))
    b = jax.random.uniform(keys[2], (512,), minval=-bound, maxval=bound)

    def loss(params, x):
        w, u, b = params

        def cell(carry, z):
            h, c = carry
            i, f, g, o = np.split(z + h @ u, 4, -1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * np.tanh(g)
            h = jax.nn.sigmoid(o) * np.tanh(c)
            return (h, c), h

        zero = np.zeros((32, 128))
        return jax.lax.scan(cell, (zero, zero), x @ w + b)[1].sum()

    gradient = jax.jit(jax.grad(loss))
    return lambda: gradient((w, u, b), x)[0][0, 0].item()


def mnist_cnn():
    keys = jax.random.split(KEY, 6)
    a, c = jax.random.normal(keys[0], (32, 1, 3, 3)) / 3, jax.random.normal(keys[1], (64, 32, 3, 3)) / 17
    params = ((a, np.zeros(32)), (c, np.zeros(64)), *linear([9216, 128, 10]))
    x, y = jax.random.normal(keys[2], (64, 1, 28, 28)), jax.random.randint(keys[3], (64,), 0, 10)

    def loss(params, x, y, key):
        for w, b in params[:2]:
            x = jax.lax.conv(x, w, (1, 1), "VALID")
            x = jax.nn.relu(x + b[None, :, None, None])
        x = jax.lax.reduce_window(x, -np.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
        first, second = jax.random.split(key)
        x = np.where(jax.random.bernoulli(first, 0.75, x.shape), x / 0.75, 0.0).reshape(64, -1)
        (w, b), (v, d) = params[2:]
        x = jax.nn.relu(x @ w + b)
        x = np.where(jax.random.bernoulli(second, 0.5, x.shape), x / 0.5, 0.0)
        return cross_entropy(x @ v + d, y)

    @jax.jit
    def step(state, x, y, key):
        params, square, moved = state
        key, now = jax.random.split(key)
        value, g = jax.value_and_grad(loss)(params, x, y, now)
        square = jax.tree.map(lambda v, g: 0.9 * v + 0.1 * g * g, square, g)
        delta = jax.tree.map(lambda u, v, g: np.sqrt(u + 1e-6) / np.sqrt(v + 1e-6) * g, moved, square, g)
        moved = jax.tree.map(lambda u, d: 0.9 * u + 0.1 * d * d, moved, delta)
        return (jax.tree.map(lambda p, d: p - d, params, delta), square, moved), value, key

    zeros = jax.tree.map(np.zeros_like, params)
    state = [(params, zeros, zeros), KEY]

    def run():
        state[0], value, state[1] = step(state[0], x, y, state[1])
        return value.item()

    return run


def gpt_small():
    width, heads, layers, length, letters, texts = 128, 4, 4, 64, 65, 12
    keys = iter(jax.random.split(KEY, 64))

    def dense(n, m):
        return linear([n, m])[0]

    scale = np.ones(width), np.zeros(width)
    block = [dense(width, 3 * width), dense(width, width), dense(width, 4 * width), dense(4 * width, width)]
    tables = jax.random.normal(next(keys), (letters, width)), jax.random.normal(next(keys), (length, width))
    params = (*tables, [(scale, scale, *block) for _ in range(layers)], scale, dense(width, letters)[0])
    later = np.tril(np.ones((length, length), bool))

    def loss(params, x, y):
        tokens, places, blocks, last, head = params
        h = tokens[x] + places
        for first, second, (wa, ba), (wj, bj), (ww, bw), (wn, bn) in blocks:
            q, k, v = (z.reshape(texts, length, heads, -1) for z in np.split(norm(h, *first) @ wa + ba, 3, -1))
            scores = np.einsum("nqhd,nkhd->nhqk", q, k) * (width // heads) ** -0.5
            shares = jax.nn.softmax(np.where(later, scores, -np.inf))
            mixed = np.einsum("nhqk,nkhd->nqhd", shares, v).reshape(texts, length, width)
            h = h + mixed @ wj + bj
            h = h + jax.nn.gelu(norm(h, *second) @ ww + bw, approximate=False) @ wn + bn
        return cross_entropy((norm(h, *last) @ head).reshape(-1, letters), y.reshape(-1))

    x, y = (jax.random.randint(key, (texts, length), 0, letters) for key in (next(keys), next(keys)))
    return trained(params, adam(1e-3, loss, decay=0.01), x, y)


CASES = {
    "gpt_small": gpt_small,
    "mlp_adam": mlp_adam,
    "xor_sgd": lambda: xor(sgd(0.1, xor_loss)),
    "xor_adam": lambda: xor(adam(0.01, xor_loss)),
    "softmax": softmax,
    "layer_norm": layer_norm,
    "lstm": lstm,
    "mnist_cnn": mnist_cnn,
}
