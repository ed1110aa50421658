"""Activation functions.

Most are one formula each: `elementwise` makes of it an operator that is deferred, fused and differentiable. The others
are methods that every tensor has, or a few tensor operations.
"""

import math

import numpy as np

import livegrad
from livegrad.lazy.value import Value
from livegrad.native import hot
from livegrad.ops.batch_rules import along
from livegrad.ops.casting import autocasts
from livegrad.ops.joining import CAT
from livegrad.ops.registry import elementwise, operator
from livegrad.ops.scalar import abs as abs_
from livegrad.ops.scalar import erf, exp, expm1, log1p, minimum, where
from livegrad.ops.scalar import sigmoid as sigmoid_
from livegrad.ops.scalar import tanh as tanh_
from livegrad.site import warn

__all__ = [
    "celu",
    "celu_",
    "elu",
    "elu_",
    "gelu",
    "glu",
    "gumbel_softmax",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hardtanh_",
    "leaky_relu",
    "leaky_relu_",
    "log_softmax",
    "logsigmoid",
    "mish",
    "prelu",
    "relu",
    "relu6",
    "relu_",
    "rrelu",
    "rrelu_",
    "selu",
    "selu_",
    "sigmoid",
    "silu",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
    "threshold_",
]

SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


def _negative(x):
    """x where it is not positive, else 0: for an exp that must not overflow where its result is not used."""
    return where(x <= 0, x, 0.0)


def _exponential(g, input, steepness, height):
    """The gradient of an exponential below 0 and a line above, whose own gradient is that of the line at 0."""
    return where(input <= 0, g * height * exp(where(input < 0, input, 0.0) * steepness), g)


def _softplus_formula(input, beta, threshold):
    """log(1 + exp(beta x)) / beta, and x itself where that is the same to rounding (so that exp cannot overflow)."""
    large = input * beta > threshold
    return where(large, input, log1p(exp(where(large, 0.0, input * beta))) / beta)


def _gelu_tanh(x):
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))
    return 0.5 * x * (1 + tanh_(inner))


_KEEP_INTEGERS = ("hardtanh", "threshold")  # which their functions below see to


def _activation(name, formula, node, torch_has_it=False, numbers=(), not_complex=None, **grads):
    """An activation as an operator: a method, its in-place form, and a function of the package if PyTorch has one.

    ``numbers`` are values of the formula's further parameters, for its samples.
    """

    def samples():
        for shape in ((2, 3), (4, 3), (0, 3)):
            yield (np.linspace(-3, 3, math.prod(shape)).reshape(shape), *numbers), {}

    reference = "" if name in _KEEP_INTEGERS else f"nn.functional.{name}"
    return elementwise(
        name, formula, node=node, grads=grads, function=torch_has_it, reference=reference, domain=(0.1, 3.0),
        rule="float" if name in _KEEP_INTEGERS else "floating", samples=samples if numbers else None,
        not_complex=not_complex,
    )  # fmt: skip


_celu = _activation(
    "celu",
    lambda input, alpha: where(input <= 0, expm1(_negative(input) / alpha) * alpha, input),
    "Celu",
    True,
    (1.5,),
    input=lambda g, input, alpha: _exponential(g, input, 1 / alpha, 1.0),
)
_elu = _activation(
    "elu",
    lambda input, alpha: where(input <= 0, expm1(_negative(input)) * alpha, input),
    "Elu",
    numbers=(1.5,),
    input=lambda g, input, alpha: _exponential(g, input, 1.0, alpha),
)
_gelu = _activation(
    "gelu", lambda input: input * 0.5 * (1 + erf(input * math.sqrt(0.5))), "Gelu", not_complex="GeluKernelImpl"
)
_gelu_tanh = elementwise("_gelu_tanh", _gelu_tanh, node="Gelu", function=False, inplace=False, reference="")
_hardshrink = _activation(
    "hardshrink",
    lambda input, lambd: where((input >= -lambd) & (input <= lambd), 0.0, input),
    "Hardshrink",
    True,
    (0.7,),
)
_hardsigmoid = _activation(
    "hardsigmoid",
    lambda input: where(input <= -3, 0.0, where(input >= 3, 1.0, (input + 3) / 6)),
    "Hardsigmoid",
    input=lambda g, input: where((input > -3) & (input < 3), g / 6, 0.0),
)
_hardswish = _activation(
    "hardswish",
    lambda input: input * where(input + 3 < 0, 0.0, where(input + 3 > 6, 6.0, input + 3)) / 6,
    "Hardswish",
    input=lambda g, input: where(input <= -3, 0.0, where(input < 3, g * (input / 3 + 0.5), g)),
)
_hardtanh = _activation(
    "hardtanh",
    lambda input, min_val, max_val: where(input <= min_val, min_val, where(input >= max_val, max_val, input)),
    "Hardtanh",
    numbers=(-1.5, 0.7),
)
_leaky_relu = _activation(
    "leaky_relu",
    lambda input, negative_slope: where(input > 0, input, input * negative_slope),
    "LeakyRelu",
    numbers=(0.2,),
)
_logsigmoid = _activation(
    "logsigmoid",
    lambda input: minimum(input, 0.0) - log1p(exp(-abs_(input))),
    "LogSigmoid",
    input=lambda g, input: g * sigmoid_(-input),
)
_mish = _activation("mish", lambda input: input * tanh_(_softplus_formula(input, 1.0, 20.0)), "Mish")
_prelu = _activation(
    "prelu", lambda input, weight: where(input > 0, input, weight * input), "PreluKernel", True,
    (np.array([0.2, -0.1, 0.5]),),
)  # fmt: skip
_selu = _activation(
    "selu",
    lambda input: where(input <= 0, expm1(_negative(input)) * (SELU_ALPHA * SELU_SCALE), input * SELU_SCALE),
    "Elu",
    True,
    input=lambda g, input: _exponential(g * SELU_SCALE, input, 1.0, SELU_ALPHA),
)
_silu = _activation("silu", lambda input: input * sigmoid_(input), "Silu")
_softplus = _activation(
    "softplus",
    _softplus_formula,
    "Softplus",
    numbers=(2.0, 4.0),
    input=lambda g, input, beta, threshold: where(input * beta > threshold, g, g * sigmoid_(input * beta)),
)
_softshrink = _activation(
    "softshrink",
    lambda input, lambd: where(input > lambd, input - lambd, where(input < -lambd, input + lambd, input - input)),
    "Softshrink",
    numbers=(0.7,),
    input=lambda g, input, lambd: where((input > lambd) | (input < -lambd), g, 0.0),
)
_threshold = _activation(
    "threshold",
    lambda input, threshold, value: where(input <= threshold, value, input),
    "Threshold",
    numbers=(0.5, 2.0),
)


@hot
def _apply(function, inplace, input, *numbers):
    """``function(input, *numbers)``, or the in-place method of that name."""
    if inplace:
        return getattr(input, function.__name__ + "_")(*numbers)
    return function(input, *numbers)


@hot
def relu(input, inplace=False):
    """max(x, 0)."""
    return input.relu_() if inplace else input.relu()


def relu_(input):
    """In-place `relu`."""
    return input.relu_()


def relu6(input, inplace=False):
    """x, cut off at 0 and 6."""
    return hardtanh(input, 0.0, 6.0, inplace)


@hot
def elu(input, alpha=1.0, inplace=False):
    """x for x > 0, else alpha (exp(x) - 1)."""
    return _apply(_elu, inplace, input, alpha)


def elu_(input, alpha=1.0):
    """In-place `elu`."""
    return elu(input, alpha, True)


def celu(input, alpha=1.0, inplace=False):
    """x for x > 0, else alpha (exp(x / alpha) - 1)."""
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    return _apply(_celu, inplace, input, alpha)


def celu_(input, alpha=1.0):
    """In-place `celu`."""
    return celu(input, alpha, True)


def selu(input, inplace=False):
    """`elu` with the scale and alpha that keep activations normalised  (Klambauer et al., 2017)."""
    return _apply(_selu, inplace, input)


def selu_(input):
    """In-place `selu`."""
    return selu(input, True)


@hot
def gelu(input, *, approximate="none"):
    """x Φ(x), where Φ is the normal distribution function; ``approximate="tanh"`` uses the tanh formula for it."""
    if approximate == "none":
        return _gelu(input)
    if approximate == "tanh":
        return _gelu_tanh(input)
    raise RuntimeError("approximate argument must be either none or tanh.")


@hot
def silu(input, inplace=False):
    """x sigmoid(x), also called swish."""
    return _apply(_silu, inplace, input)


def mish(input, inplace=False):
    """x tanh(softplus(x))."""
    return _apply(_mish, inplace, input)


@autocasts
@hot
def softplus(input, beta=1.0, threshold=20.0):
    """log(1 + exp(beta x)) / beta: a smooth relu. Linear where beta x exceeds ``threshold``."""
    return _softplus(input, beta, threshold)


@hot
def leaky_relu(input, negative_slope=0.01, inplace=False):
    """x for x > 0, else negative_slope x."""
    return _apply(_leaky_relu, inplace, input, negative_slope)


def leaky_relu_(input, negative_slope=0.01):
    """In-place `leaky_relu`."""
    return leaky_relu(input, negative_slope, True)


@autocasts
def prelu(input, weight):
    """`leaky_relu` whose slopes are learned: one for all, or one for each channel (dimension 1)."""
    if input.dtype is not weight.dtype:
        kinds = (t.type().rpartition(".")[2].removesuffix("Tensor") for t in (input, weight))
        raise RuntimeError(f"prelu: Type promoting not supported. Got {' and '.join(kinds)}")
    if weight.dim() > 1:
        raise RuntimeError(f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.dim()}")
    if weight.numel() != 1:
        if input.dim() == 0:
            raise RuntimeError("Not allow zero-dim input tensor.")
        channels = input.size(1) if input.dim() > 1 else 1
        if channels != weight.numel():
            raise RuntimeError(
                "Mismatch of parameter numbers and input channel size. Found parameter numbers = "
                f"{weight.numel()} and channel size = {channels}."
            )
        weight = weight.view(-1, *(1,) * (input.dim() - 2))
    elif weight.dim() > input.dim():
        weight = weight.view(())
    return _prelu(input, weight)


def rrelu(input, lower=1.0 / 8, upper=1.0 / 3, training=False, inplace=False):
    """`leaky_relu` whose slope is drawn from [lower, upper) for every element in training, else the mean of the two."""
    if lower > upper:
        raise RuntimeError(f"Lower bound should be less than or equal to the upper bound, got {lower} and {upper}")
    for which, bound in (("lower", lower), ("upper", upper)):
        if training and not math.isfinite(bound):
            raise RuntimeError(f"rrelu: {which} bound must be finite, got {bound}")
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    with livegrad.no_grad():
        negative = input <= 0
        draws = livegrad.empty(int(negative.sum()), dtype=livegrad.float64, device=input.device).uniform_(lower, upper)
        slopes = livegrad.ones_like(input).masked_scatter_(negative, draws.to(input.dtype))
    return input.mul_(slopes) if inplace else input * slopes


def rrelu_(input, lower=1.0 / 8, upper=1.0 / 3, training=False):
    """In-place `rrelu`."""
    return rrelu(input, lower, upper, training, True)


def hardtanh(input, min_val=-1.0, max_val=1.0, inplace=False):
    """x, cut off at ``min_val`` and ``max_val``."""
    if min_val > max_val:
        raise ValueError("min_val cannot be greater than max_val")
    if input.dtype is livegrad.bool:
        raise RuntimeError("Bool inputs not supported for hardtanh")
    if not input.is_floating_point():
        if min_val < 0 and input.dtype is livegrad.uint8:
            raise RuntimeError("cannot do hardtanh on an unsigned type with negative limits")
        min_val, max_val = int(min_val), int(max_val)
        return input.clamp_(min_val, max_val) if inplace else input.clamp(min_val, max_val)
    return _apply(_hardtanh, inplace, input, min_val, max_val)


def hardtanh_(input, min_val=-1.0, max_val=1.0):
    """In-place `hardtanh`."""
    return hardtanh(input, min_val, max_val, True)


def hardsigmoid(input, inplace=False):
    """x / 6 + 1/2, cut off at 0 and 1."""
    return _apply(_hardsigmoid, inplace, input)


def hardswish(input, inplace=False):
    """x hardsigmoid(x)."""
    return _apply(_hardswish, inplace, input)


def hardshrink(input, lambd=0.5):
    """x where |x| > lambd, else 0."""
    return _hardshrink(input, lambd)


def softshrink(input, lambd=0.5):
    """x moved towards 0 by lambd, and 0 where |x| <= lambd."""
    if lambd < 0:
        raise RuntimeError(
            f"lambda must be in range [0, {livegrad.finfo(input.dtype).max:g}] for input dtype "
            f"{input.type().rpartition('.')[2].removesuffix('Tensor')}, but found {lambd}"
        )
    return _softshrink(input, lambd)


def threshold(input, threshold, value, inplace=False):
    """x where x > threshold, else ``value``."""
    if not input.is_floating_point():
        low = input <= int(threshold)
        return input.masked_fill_(low, int(value)) if inplace else input.masked_fill(low, int(value))
    return _apply(_threshold, inplace, input, threshold, value)


def threshold_(input, *args, **kwargs):
    """In-place `threshold`."""
    return threshold(input, *args, **kwargs, inplace=True)


@hot
def sigmoid(input):
    """1 / (1 + exp(-x))."""
    return input.sigmoid()


@hot
def logsigmoid(input):
    """log(sigmoid(x)), without overflow."""
    return _logsigmoid(input)


@hot
def tanh(input):
    """The hyperbolic tangent."""
    return input.tanh()


def tanhshrink(input):
    """x - tanh(x)."""
    return input - input.tanh()


def softsign(input):
    """x / (1 + |x|)."""
    return input / (input.abs() + 1)


@hot
def _halves(x, dim):
    half = x.shape[dim] // 2
    return x.narrow_step(dim, 0, 1, half), x.narrow_step(dim, half, 1, half)


@hot
def _glu(x, dim):
    a, b = _halves(x, dim)
    return a * b.sigmoid()


def _glu_gradient(g, x, dim):
    a, b = _halves(x, dim)
    gate = b.sigmoid()
    parts = [g * gate, g * a * gate * (1 - gate)]
    return CAT.forward(parts, dim=dim) if g.__class__ is Value else CAT.apply(parts, dim=dim)


GLU = operator(
    "glu",
    _glu,
    tensors=("x",),
    grads={"x": _glu_gradient},
    anywhere=True,
    batch=along("dim"),
)


@hot
def glu(input, dim=-1):
    """a sigmoid(b), where a and b are the halves of the input along ``dim``."""
    if input.dim() == 0:
        raise RuntimeError("glu does not support 0-dimensional tensors")
    size = input.size(dim)
    if size % 2:
        raise RuntimeError(f"Halving dimension must be even, but dimension {dim % input.dim()} is size {size}")
    return GLU.apply((input,), dim=dim % input.dim())


def _implicit_dim(name, dimensions):
    warn(f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an argument.")
    return 0 if dimensions in (0, 1, 3) else 1


def softmax(input, dim=None, _stacklevel=3, dtype=None):
    """exp(x) divided by its sum along ``dim``; computed in ``dtype`` where one is given."""
    if dim is None:
        dim = _implicit_dim("softmax", input.dim())
    return input.softmax(dim) if dtype is None else input.softmax(dim, dtype=dtype)


def softmin(input, dim=None, _stacklevel=3, dtype=None):
    """softmax(-x) along ``dim``."""
    if dim is None:
        dim = _implicit_dim("softmin", input.dim())
    return softmax(-input, dim, dtype=dtype)


def log_softmax(input, dim=None, _stacklevel=3, dtype=None):
    """log(softmax(x)) along ``dim``, computed without overflow."""
    if dim is None:
        dim = _implicit_dim("log_softmax", input.dim())
    return input.log_softmax(dim) if dtype is None else input.log_softmax(dim, dtype=dtype)


def gumbel_softmax(logits, tau=1, hard=False, eps=1e-10, dim=-1):
    """A sample from the Gumbel-softmax distribution along ``dim``, which gradients can flow through.

    With ``hard`` the result is one-hot, and the gradient is that of the soft sample  (Jang et al., 2016).
    """
    noise = -livegrad.empty_like(logits).exponential_().log()
    soft = ((logits + noise) / tau).softmax(dim)
    if not hard:
        return soft
    index = soft.max(dim, keepdim=True)[1]
    one_hot = livegrad.zeros_like(logits).scatter_(dim, index, 1.0)
    return one_hot - soft.detach() + soft
