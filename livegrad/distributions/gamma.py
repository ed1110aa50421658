"""Gamma distributions, and those made of gammas: chi-squared, beta, Dirichlet.

The gradient of a draw by its shape is implicit: that of the value at which the distribution function stays the same
(Figurnov, Mohamed and Mnih, 2018).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import livegrad

from ..lazy import backend
from ..lazy.value import Value
from ..ops.registry import operator
from ..random import default_generator
from ..tensor import wrap
from . import constraints
from .distribution import Distribution, broadcast_all

__all__ = ["Beta", "Chi2", "Dirichlet", "Gamma"]


def _draw(stream: Any, alpha: float) -> float:
    """One standard gamma, by Marsaglia and Tsang (2000); numbers are drawn one at a time, as PyTorch draws them."""
    if alpha == 0:
        return 0.0
    scale = 1.0
    if alpha < 1:
        scale = (1 - float(stream._unit64(1)[0])) ** (1 / alpha)
        alpha += 1
    d = alpha - 1 / 3
    c = 1 / math.sqrt(9 * d)
    while True:
        y = 0.0
        while y <= 0:
            x = float(stream._normals(1)[0])
            y = 1 + c * x
        v = y * y * y
        u = 1 - float(stream._unit64(1)[0])
        square = x * x
        if u < 1 - 0.0331 * square * square or math.log(u) < 0.5 * square + d * (1 - v + math.log(v)):
            return scale * d * v


def _lower(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The regularised lower incomplete gamma function: a series for small x, a continued fraction for large
    (Abramowitz and Stegun 6.5.29 and 6.5.31)."""
    with np.errstate(all="ignore"):
        scale = np.exp(a * np.log(x) - x - _log_gamma(a))
        term = total = 1 / a
        for k in range(1, 200):
            term = term * x / (a + k)
            total = total + term
        fraction = np.zeros_like(x)
        for k in range(100, 0, -1):
            fraction = k * (a - k) / (x + 2 * k + 1 - a + fraction)
        made = np.where(x < a + 1, scale * total, 1 - scale / (x + 1 - a + fraction))
    return np.where(x <= 0, 0.0, made)


_log_gamma = np.vectorize(math.lgamma, otypes=[np.float64])


def _by_shape(alpha: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The derivative of a standard gamma by its shape: minus the distribution function's over the density."""
    h = 1e-3 * alpha
    near, far = (_lower(alpha + k * h, x) - _lower(alpha - k * h, x) for k in (1, 2))
    slope = (8 * near - far) / (12 * h)
    with np.errstate(all="ignore"):
        return -slope / np.exp((alpha - 1) * np.log(x) - x - _log_gamma(alpha))


def _drawn(alpha: Value) -> Value:
    a = alpha.native().astype(np.float64)
    stream = default_generator._stream
    made = np.array([_draw(stream, each) for each in a.reshape(-1).tolist()]).reshape(a.shape).astype(alpha.dtype.np)
    return backend.copied(np.maximum(made, np.finfo(made.dtype).tiny))


def _gradient(g: Any, alpha: Any, result: Any) -> Any:
    bare = g.__class__ is Value
    a, x = (v.native() if bare else v.detach()._to_numpy() for v in (alpha, result))
    slope = backend.copied(_by_shape(a.astype(np.float64), x.astype(np.float64)).astype(a.dtype))
    return g * (slope if bare else wrap(slope))


_STANDARD = operator("standard_gamma", _drawn, tensors=("alpha",), grads={"alpha": _gradient}, node="StandardGamma")
_LOWER = operator(
    "gammainc",
    lambda a, x: backend.copied(
        _lower(a.native().astype(np.float64), x.native().astype(np.float64)).astype(x.dtype.np)
    ),
    tensors=("a", "x"),
    grads={"x": lambda g, a, x: g * ((a - 1) * x.log() - x - a.lgamma()).exp()},
)


def _standard_gamma(input: Any, generator: Any = None) -> Any:
    """A draw from the gamma distribution of each shape in `input`, of rate 1; gradients pass through to the shapes."""
    if generator is not None:
        raise NotImplementedError("_standard_gamma(): draws are made by the default generator only")
    return _STANDARD.apply((input,))


class Gamma(Distribution):
    """The gamma distribution of shape `concentration` and inverse scale `rate`.

    >>> from livegrad.distributions import Gamma
    >>> Gamma(2.0, 4.0).mean
    tensor(0.5000)
    """

    arg_constraints = {"concentration": constraints.positive, "rate": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None):
        self.concentration, self.rate = broadcast_all(concentration, rate)
        super().__init__(self.concentration.shape, validate_args=validate_args)

    @property
    def mean(self) -> Any:
        return self.concentration / self.rate

    @property
    def mode(self) -> Any:
        return ((self.concentration - 1) / self.rate).clamp(min=0)

    @property
    def variance(self) -> Any:
        return self.concentration / self.rate.pow(2)

    def rsample(self, sample_shape: Any = ()) -> Any:
        shape = self._extended_shape(sample_shape)
        drawn = _STANDARD.apply((self.concentration.expand(shape),)) / self.rate.expand(shape)
        drawn.detach().clamp_(min=livegrad.finfo(drawn.dtype).tiny)
        return drawn

    def log_prob(self, value: Any) -> Any:
        value = livegrad.as_tensor(value, dtype=self.rate.dtype)
        self._validate_sample(value)
        return (
            livegrad.xlogy(self.concentration, self.rate)
            + livegrad.xlogy(self.concentration - 1, value)
            - self.rate * value
            - self.concentration.lgamma()
        )

    def cdf(self, value: Any) -> Any:
        self._validate_sample(value)
        shape = livegrad.broadcast_shapes(self.concentration.shape, value.shape)
        return _LOWER.apply((self.concentration.expand(shape), (self.rate * value).expand(shape)))

    def entropy(self) -> Any:
        a = self.concentration
        return a - self.rate.log() + a.lgamma() + (1.0 - a) * a.digamma()


class Chi2(Gamma):
    """The chi-squared distribution of `df` degrees of freedom: a gamma of shape df/2 and rate 1/2."""

    arg_constraints = {"df": constraints.positive}

    def __init__(self, df: Any, validate_args: bool | None = None):
        half = 0.5 * df if isinstance(df, livegrad.Tensor) else livegrad.tensor(0.5 * df)
        super().__init__(half, 0.5, validate_args=validate_args)

    @property
    def df(self) -> Any:
        return self.concentration * 2


class Dirichlet(Distribution):
    """The Dirichlet distribution over points of the simplex, along the last dimension of `concentration`."""

    arg_constraints = {"concentration": constraints.independent(constraints.positive, 1)}
    support = constraints.simplex
    has_rsample = True

    def __init__(self, concentration: Any, validate_args: bool | None = None):
        if concentration.dim() < 1:
            raise ValueError("`concentration` parameter must be at least one-dimensional.")
        self.concentration = concentration
        super().__init__(concentration.shape[:-1], concentration.shape[-1:], validate_args=validate_args)

    @property
    def mean(self) -> Any:
        return self.concentration / self.concentration.sum(-1, keepdim=True)

    @property
    def mode(self) -> Any:
        less = (self.concentration - 1).clamp(min=0.0)
        mode = less / less.sum(-1, keepdim=True)
        flat = (self.concentration < 1).all(-1, keepdim=True)
        corner = livegrad.zeros_like(mode).scatter(-1, mode.nan_to_num().argmax(-1, keepdim=True), 1.0)
        return livegrad.where(flat, corner, mode)

    @property
    def variance(self) -> Any:
        total = self.concentration.sum(-1, keepdim=True)
        return self.concentration * (total - self.concentration) / (total.pow(2) * (total + 1))

    def rsample(self, sample_shape: Any = ()) -> Any:
        a = self.concentration.expand(self._extended_shape(sample_shape))
        drawn = _STANDARD.apply((a.double(),))
        part = (drawn / drawn.sum(-1, keepdim=True)).to(a.dtype)
        d = a.dtype.np
        return part.clamp(float(np.finfo(d).tiny), float(np.nextafter(d.type(1), d.type(0))))

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        a = self.concentration
        return livegrad.xlogy(a - 1.0, value).sum(-1) + a.sum(-1).lgamma() - a.lgamma().sum(-1)

    def entropy(self) -> Any:
        a, k = self.concentration, self.concentration.shape[-1]
        total = a.sum(-1)
        return a.lgamma().sum(-1) - total.lgamma() - (k - total) * total.digamma() - ((a - 1.0) * a.digamma()).sum(-1)


class Beta(Distribution):
    """The beta distribution on the unit interval, whose density is in proportion to x^(c1 - 1) (1 - x)^(c0 - 1).

    >>> from livegrad.distributions import Beta
    >>> Beta(2.0, 6.0).mean
    tensor(0.2500)
    """

    arg_constraints = {"concentration1": constraints.positive, "concentration0": constraints.positive}
    support = constraints.unit_interval
    has_rsample = True

    def __init__(self, concentration1: Any, concentration0: Any, validate_args: bool | None = None):
        one, zero = broadcast_all(concentration1, concentration0)
        self._dirichlet = Dirichlet(livegrad.stack([one, zero], -1), validate_args=validate_args)
        super().__init__(one.shape, validate_args=validate_args)

    @property
    def concentration1(self) -> Any:
        return self._dirichlet.concentration[..., 0]

    @property
    def concentration0(self) -> Any:
        return self._dirichlet.concentration[..., 1]

    @property
    def mean(self) -> Any:
        return self.concentration1 / (self.concentration1 + self.concentration0)

    @property
    def mode(self) -> Any:
        return self._dirichlet.mode[..., 0]

    @property
    def variance(self) -> Any:
        total = self.concentration1 + self.concentration0
        return self.concentration1 * self.concentration0 / (total.pow(2) * (total + 1))

    def rsample(self, sample_shape: Any = ()) -> Any:
        return self._dirichlet.rsample(sample_shape)[..., 0]

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        return self._dirichlet.log_prob(livegrad.stack([value, 1.0 - value], -1))

    def entropy(self) -> Any:
        return self._dirichlet.entropy()
