"""Activations."""

from __future__ import annotations

import math

import numpy as np

from .table import same, translates

for _kind, _names in {
    "Relu": "relu", "Sigmoid": "sigmoid expit", "Tanh": "tanh", "Softsign": "softsign", "HardSwish": "hardswish",
}.items():  # fmt: skip
    same(_kind, *_names.split())


@translates()
def leaky_relu(w, input, negative_slope=0.01, inplace=False):
    return w("LeakyRelu", input, alpha=float(negative_slope))


@translates()
def elu(w, input, alpha=1.0, inplace=False):
    return w("Elu", input, alpha=float(alpha))


@translates()
def selu(w, input, inplace=False):
    return w("Selu", input)


@translates()
def celu(w, input, alpha=1.0, inplace=False):
    return w("Celu", input, alpha=float(alpha))


@translates()
def prelu(w, input, weight):
    slopes = weight
    if weight.rank and input.rank > 2 and weight.shape[0] > 1:
        slopes = w.reshape(weight, [-1] + [1] * (input.rank - 2))
    return w("PRelu", input, slopes)


@translates()
def hardtanh(w, input, min_val=-1.0, max_val=1.0, inplace=False):
    return w("Clip", input, w.number(min_val, input.dtype), w.number(max_val, input.dtype))


@translates()
def relu6(w, input, inplace=False):
    return hardtanh(w, input, 0.0, 6.0)


@translates()
def hardsigmoid(w, input, inplace=False):
    return w("HardSigmoid", input, alpha=1 / 6, beta=0.5)


@translates("silu", "swish")
def silu(w, input, inplace=False):
    return w("Mul", input, w("Sigmoid", input))


@translates()
def mish(w, input, inplace=False):
    return w("Mul", input, w("Tanh", w("Softplus", input)))


@translates()
def gelu(w, input, approximate="none"):
    def number(x):
        return w.number(x, input.dtype)

    if approximate == "tanh":
        cubed = w("Mul", w("Mul", input, w("Mul", input, input)), number(0.044715))
        inner = w("Tanh", w("Mul", w("Add", input, cubed), number(math.sqrt(2 / math.pi))))
    else:
        inner = w("Erf", w("Div", input, number(math.sqrt(2))))
    return w("Mul", w("Mul", input, number(0.5)), w("Add", inner, number(1)))


@translates()
def softplus(w, input, beta=1.0, threshold=20.0):
    scaled = w("Mul", input, w.number(beta, input.dtype))
    soft = w("Div", w("Softplus", scaled), w.number(beta, input.dtype))
    return w("Where", w("Greater", scaled, w.number(threshold, input.dtype)), input, soft)


@translates("logsigmoid", "log_sigmoid")
def logsigmoid(w, input):
    return w("Neg", w("Softplus", w("Neg", input)))


@translates()
def tanhshrink(w, input):
    return w("Sub", input, w("Tanh", input))


@translates()
def hardshrink(w, input, lambd=0.5):
    return w("Shrink", input, lambd=float(lambd), bias=0.0)


@translates()
def softshrink(w, input, lambd=0.5):
    return w("Shrink", input, lambd=float(lambd), bias=float(lambd))


@translates()
def threshold(w, input, threshold, value, inplace=False):
    return w("Where", w("Greater", input, w.number(threshold, input.dtype)), input, w.number(value, input.dtype))


@translates()
def glu(w, input, dim=-1):
    (n,) = w.fixed(input, dim)
    a, b = w.split(input, [n // 2, n // 2], input.axis(dim))
    return w("Mul", a, w("Sigmoid", b))


def _softmax(kind):
    def translation(w, input, dim=None, _stacklevel=3, dtype=None):
        if dim is None:
            dim = 0 if input.rank in (0, 1, 3) else 1
        return w(kind, w.cast(input, w.out.dtype), axis=input.axis(dim))

    return translation


softmax = translates("softmax")(_softmax("Softmax"))
log_softmax = translates("log_softmax")(_softmax("LogSoftmax"))


@translates()
def softmin(w, input, dim=None, _stacklevel=3, dtype=None):
    negative = w("Neg", w.cast(input, w.out.dtype))
    negative.dtype, negative.shape = w.out.dtype, input.shape
    return softmax(w, negative, dim)


@translates()
def normalize(w, input, p=2.0, dim=1, eps=1e-12, out=None):
    if p not in (1, 2) or not isinstance(dim, int):
        raise w.refuse("only for p of 1 or 2 and one dimension")
    norm = w.reduced(f"ReduceL{int(p)}", input, [input.axis(dim)], True)
    return w("Div", input, w("Max", norm, w.number(eps, input.dtype)))


@translates()
def one_hot(w, tensor, num_classes=-1):
    if num_classes == -1:
        raise w.refuse("num_classes has to be given")
    return w("OneHot", tensor, np.array(num_classes), np.array([0, 1], np.int64), axis=-1)


@translates("rrelu")
def rrelu(w, input, lower=1 / 8, upper=1 / 3, training=False, inplace=False):
    if training:
        raise w.refuse("in training mode it draws numbers; export the model in evaluation mode")
    return leaky_relu(w, input, (lower + upper) / 2)
