"""Special functions: `torch.special`'s names, as far as they are here."""

from __future__ import annotations

import math
from typing import Any

import livegrad

from . import special_functions
from .native.holding import public as _are_public
from .ops import scalar
from .ops.bessel import i0, i0e, i1, i1e
from .ops.names import mvlgamma, polygamma
from .ops.registry import elementwise
from .overriding import ANNOUNCED, asks
from .special_functions import *  # noqa: F403
from .tensor import Tensor

__all__ = [  # noqa: PLE0604
    "digamma", "entr", "erf", "erfc", "erfinv", "exp2", "expit", "expm1", "gammaln", "i0", "i0e", "i1", "i1e", "log1p",
    "log_ndtr", "log_softmax", "logit", "logsumexp", "multigammaln", "ndtr", "ndtri", "polygamma", "psi", "round",
    "sinc", "softmax", "xlog1py", "xlogy", *special_functions.__all__,
]  # fmt: skip

_ROOT = math.sqrt(0.5)


def _method(name: str, *, of: str) -> Any:
    function = getattr(livegrad, of)

    def special(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    special.__name__ = special.__qualname__ = name
    special.__doc__ = f"`livegrad.{of}`."
    return asks(special)


_entr = elementwise(
    "_entr",
    lambda input: scalar.where(
        scalar.isnan(input),
        input,
        scalar.where(input > 0, -input * scalar.log(input), scalar.where(scalar.eq(input, 0), 0.0, -math.inf)),
    ),
    grads={"input": lambda g, input: g * scalar.where(scalar.isnan(input), input, -scalar.log(input) - 1)},
    node="SpecialEntr", method=False, function=False, inplace=False, reference="special.entr", domain=(0.1, 4.0),
)  # fmt: skip
_ndtr = elementwise(
    "_ndtr",
    lambda input: 0.5 * scalar.where(
        input * _ROOT < -1, scalar.erfc(-input * _ROOT), 1 + scalar.erf(input * _ROOT)
    ),
    grads={"input": lambda g, input: g * (scalar.exp(-0.5 * input * input) * (1 / math.sqrt(2 * math.pi)))},
    node="SpecialNdtr", method=False, function=False, inplace=False, reference="",
)  # fmt: skip
_xlog1py = elementwise(
    "_xlog1py",
    lambda input, other: scalar.where(
        scalar.ne(other, other), other, scalar.where(scalar.eq(input, 0), 0.0, input * scalar.log1p(other))
    ),
    grads={
        "input": lambda g, input, other: scalar.where(
            scalar.eq(input, 0) & (other <= -1), 0.0, g * scalar.log1p(other)
        ),
        "other": lambda g, input, other: g * (input / (other + 1)),
    },
    node="SpecialXlog1Py", method=False, function=False, inplace=False, reference="special.xlog1py", domain=(0.1, 4.0),
)  # fmt: skip

digamma = psi = _method("digamma", of="digamma")
gammaln = _method("gammaln", of="lgamma")
expit = _method("expit", of="sigmoid")
multigammaln = mvlgamma
erf, erfc, log1p = (_method(name, of=name) for name in ("erf", "erfc", "log1p"))
erfinv, exp2, expm1, logit, round, sinc, xlogy = (
    _method(name, of=name) for name in ("erfinv", "exp2", "expm1", "logit", "round", "sinc", "xlogy")
)
logsumexp, softmax, log_softmax = (_method(name, of=name) for name in ("logsumexp", "softmax", "log_softmax"))


def entr(input: Tensor) -> Tensor:
    """-x log x, 0 at 0, and -infinity below it."""
    return _entr(input)


def ndtr(input: Tensor) -> Tensor:
    """The distribution function of the standard normal distribution."""
    return _ndtr(input)


def _floating(x: Tensor) -> Tensor:
    return x if x.is_floating_point() else x.to(livegrad.get_default_dtype())


def log_ndtr(input: Tensor) -> Tensor:
    """log(`ndtr`(x)), also where that underflows: from -5 down by the series of Mills's ratio."""
    input = _floating(input)
    tail = input < -5
    near = livegrad.where(tail, 0.0, input)
    inner = livegrad.where(near > 0, (-ndtr(-near)).log1p(), ndtr(near).log())
    x = livegrad.where(tail, input, -5.0)
    # Laplace's continued fraction of Mills's ratio (Abramowitz and Stegun 26.2.14).
    fraction = -x
    for k in range(24, 0, -1):
        fraction = -x + k / fraction
    outer = -0.5 * x * x - 0.5 * math.log(2 * math.pi) - fraction.log()
    return livegrad.where(tail, outer, inner)


def ndtri(input: Tensor) -> Tensor:
    """The inverse of `ndtr`."""
    return (2 * _floating(input) - 1).erfinv() * math.sqrt(2)


def xlog1py(input: Any, other: Any) -> Tensor:
    """x log(1 + y), and 0 where x is 0."""
    return _xlog1py(input, other)


for _name in __all__:
    if globals()[_name] not in ANNOUNCED:
        globals()[_name] = asks(globals()[_name])

_are_public(globals())
