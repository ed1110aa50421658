"""Normalizations."""

from __future__ import annotations

import numpy as np

from .table import translates


def _vector(w, given, x, value):
    """Weights of channels, or a number for each."""
    return np.full(w.fixed(x, 1), value, str(x.dtype)[6:]) if given is None else given


@translates()
def batch_norm(w, input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    if training or running_mean is None:
        raise w.refuse("with the statistics of the batch; export the model in evaluation mode")
    return w("BatchNormalization", input, _vector(w, weight, input, 1), _vector(w, bias, input, 0), running_mean,
             running_var, epsilon=eps)  # fmt: skip


@translates()
def instance_norm(
    w, input, running_mean=None, running_var=None, weight=None, bias=None, use_input_stats=True, momentum=0.1,
    eps=1e-5,
):  # fmt: skip
    if not use_input_stats:
        return batch_norm(w, input, running_mean, running_var, weight, bias, False, momentum, eps)
    scale, shift = _vector(w, weight, input, 1), _vector(w, bias, input, 0)
    return w("InstanceNormalization", input, scale, shift, epsilon=eps)


@translates()
def layer_norm(w, input, normalized_shape, weight=None, bias=None, eps=1e-5):
    axis = -len(normalized_shape)
    if weight is None:
        weight = np.ones(w.fixed(input, *range(axis, 0)), str(input.dtype)[6:])
    return w("LayerNormalization", input, weight, bias, axis=axis, epsilon=eps)


@translates()
def rms_norm(w, input, normalized_shape, weight=None, eps=None):
    import livegrad

    axes = list(range(input.rank - len(normalized_shape), input.rank))
    mean = w.reduced("ReduceMean", w("Mul", input, input), axes, True)
    eps = livegrad.finfo(input.dtype).eps if eps is None else eps
    made = w("Div", input, w("Sqrt", w("Add", mean, w.number(eps, input.dtype))))
    return made if weight is None else w("Mul", made, weight)


@translates()
def group_norm(w, input, num_groups, weight=None, bias=None, eps=1e-5):
    sizes = [w.size(input, k) for k in range(input.rank)]
    x = w.reshape(input, [sizes[0], num_groups, -1])
    dtype = str(input.dtype)[6:]
    ones, zeros = np.ones(num_groups, dtype), np.zeros(num_groups, dtype)
    made = w.reshape(w("InstanceNormalization", x, ones, zeros, epsilon=eps), sizes)
    each = [-1] + [1] * (input.rank - 2)
    made = made if weight is None else w("Mul", made, w.reshape(weight, each))
    return made if bias is None else w("Add", made, w.reshape(bias, each))


@translates()
def local_response_norm(w, input, size, alpha=1e-4, beta=0.75, k=1.0):
    if size % 2 == 0:
        raise w.refuse("of an even number of channels, which ONNX counts from another one")
    return w("LRN", input, size=size, alpha=alpha, beta=beta, bias=k)
