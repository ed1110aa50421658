"""Second derivatives through activations, norms and losses equal PyTorch's."""

import numpy as np
import pytest
from against_torch import pair, same, torch

import livegrad

F, TF = livegrad.nn.functional, torch.nn.functional
rng = np.random.default_rng(4)
X = rng.standard_normal((4, 6))
Y = rng.standard_normal((4, 6))
P = rng.uniform(0.1, 0.9, (4, 6))
T = np.array([0, 5, 2, 2])

CASES = {
    **{name: (lambda f, x, name=name: getattr(f, name)(x), [X]) for name in (
        "relu", "elu", "selu", "celu", "gelu", "silu", "mish", "softplus", "leaky_relu", "hardtanh", "hardswish",
        "logsigmoid", "softsign", "tanhshrink", "glu", "sigmoid",
    )},
    "gelu by tanh": (lambda f, x: f.gelu(x, approximate="tanh"), [X]),
    "log_softmax": (lambda f, x: f.log_softmax(x, 1), [X]),
    "linear": (lambda f, x, w: f.linear(x, w), [X, Y]),
    "layer_norm": (lambda f, x: f.layer_norm(x, (6,)), [X]),
    "rms_norm": (lambda f, x: f.rms_norm(x, (6,)), [X]),
    "batch_norm": (lambda f, x: f.batch_norm(x, None, None, training=True), [X]),
    "group_norm": (lambda f, x: f.group_norm(x, 2), [X]),
    "normalize": (lambda f, x: f.normalize(x), [X]),
    "mse_loss": (lambda f, x, y: f.mse_loss(x, y), [X, Y]),
    "smooth_l1_loss": (lambda f, x, y: f.smooth_l1_loss(x, y), [X, Y]),
    "huber_loss": (lambda f, x, y: f.huber_loss(x, y, delta=0.5), [X, Y]),
    "binary_cross_entropy": (lambda f, x, y: f.binary_cross_entropy(x, y), [P, P[::-1].copy()]),
    "bce with logits": (lambda f, x, y: f.binary_cross_entropy_with_logits(x, y), [X, P]),
    "kl_div": (lambda f, x, y: f.kl_div(x, y, reduction="sum"), [X, P]),
    "soft cross_entropy": (lambda f, x, y: f.cross_entropy(x, y), [X, P]),
    "pad": (lambda f, x: f.pad(x, (1, 2), mode="reflect") ** 2, [X]),
    "cosine_similarity": (lambda f, x, y: f.cosine_similarity(x, y), [X, Y]),
}  # fmt: skip


def second(library, functional, function, tensors):
    result = (function(functional, *tensors) ** 2).sum()
    first = library.autograd.grad(result, tensors, create_graph=True)
    sum((g * g).sum() for g in first).backward()
    return [*first, *(t.grad for t in tensors)]


@pytest.mark.parametrize("name", CASES)
def test_second_derivatives(name):
    function, arrays = CASES[name]
    pairs = [pair(array, requires_grad=True) for array in arrays]
    mine = second(livegrad, F, function, [a for a, _ in pairs])
    theirs = second(torch, TF, function, [b for _, b in pairs])
    same(mine, theirs, rtol=1e-9, atol=1e-11)


def test_second_derivatives_of_cross_entropy():
    results = []
    target = dict(zip((livegrad, torch), pair(T)))
    for library, functional, x in zip((livegrad, torch), (F, TF), pair(X, requires_grad=True)):
        results.append(
            second(library, functional, lambda f, x, t=target[library]: f.cross_entropy(x, t, label_smoothing=0.1), [x])
        )
    same(*results, rtol=1e-9, atol=1e-11)
