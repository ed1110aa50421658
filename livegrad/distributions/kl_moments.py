"""Divergences between distributions of different kinds.

That of p from q is the mean, under p, of -log q less the entropy of p. For these kinds log q is a sum of a few
functions of x, so it takes their means under p: of x, x², log x, log(1 - x) and exp(-t x). Where p has values that q
does not, the divergence is infinite.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import livegrad

from .circular import ContinuousBernoulli
from .continuous import Exponential, Laplace, Normal, Uniform
from .counts import Binomial
from .discrete import Bernoulli, Poisson
from .gamma import Beta, Gamma
from .kl import register_kl
from .transformed import EULER, Gumbel, Pareto

__all__: list[str] = []


def _square(p: Any) -> Any:
    return p.variance + p.mean.pow(2)


def _beta_log(p: Any, own: Any, other: Any) -> Any:
    return own.digamma() - (own + other).digamma()


def _x_log_x(x: Any) -> Any:
    return livegrad.where(x == 0, 0.0, x * x.log())


# The mean of log x, of log(1 - x), and of exp(-t x), for those kinds that are asked for them.
_LOG: dict[type, Callable] = {
    Beta: lambda p: _beta_log(p, p.concentration1, p.concentration0),
    Exponential: lambda p: -(EULER + p.rate.log()),
    Gamma: lambda p: p.concentration.digamma() - p.rate.log(),
    Pareto: lambda p: p.scale.log() + p.alpha.reciprocal(),
    Uniform: lambda p: (_x_log_x(p.high) - _x_log_x(p.low)) / (p.high - p.low) - 1,
}
_LOG_REST: dict[type, Callable] = {
    Beta: lambda p: _beta_log(p, p.concentration0, p.concentration1),
    Uniform: lambda p: (_x_log_x(1 - p.low) - _x_log_x(1 - p.high)) / (p.high - p.low) - 1,
}
_EXP: dict[type, Callable] = {
    Exponential: lambda p, t: p.rate / (p.rate + t),
    Gamma: lambda p, t: (p.rate / (p.rate + t)).pow(p.concentration),
    Normal: lambda p, t: (0.5 * (p.scale * t).pow(2) - p.loc * t).exp(),
    Uniform: lambda p, t: ((-t * p.low).exp() - (-t * p.high).exp()) / (t * (p.high - p.low)),
}


def _exponential(p: Any, q: Any) -> Any:
    return q.rate.log() - q.rate * p.mean


def _gamma(p: Any, q: Any) -> Any:
    a, b = q.concentration, q.rate
    return a * b.log() - a.lgamma() + (a - 1) * _LOG[_kind(p)](p) - b * p.mean


def _normal(p: Any, q: Any) -> Any:
    away = _square(p) - 2 * q.loc * p.mean + q.loc.pow(2)
    return -0.5 * math.log(2 * math.pi) - q.scale.log() - away / (2 * q.scale.pow(2))


def _beta(p: Any, q: Any) -> Any:
    a, b = q.concentration1, q.concentration0
    own = (a - 1) * _LOG[_kind(p)](p) + (b - 1) * _LOG_REST[_kind(p)](p)
    return own + (a + b).lgamma() - a.lgamma() - b.lgamma()


def _continuous_bernoulli(p: Any, q: Any) -> Any:
    return p.mean * q.logits + (-q.probs).log1p() + q._log_constant()


def _gumbel(p: Any, q: Any) -> Any:
    t = q.scale.reciprocal()
    return -q.scale.log() - (p.mean - q.loc) * t - (q.loc * t).exp() * _EXP[_kind(p)](p, t)


def _uniform(p: Any, q: Any) -> Any:
    return -(q.high - q.low).log() + 0 * p.mean


def _pareto(p: Any, q: Any) -> Any:
    return q.alpha.log() + q.alpha * q.scale.log() - (q.alpha + 1) * _LOG[_kind(p)](p)


def _laplace(p: Any, q: Any) -> Any:
    """Of a normal distribution."""
    away = (p.loc - q.loc) / p.scale
    mean = p.scale * math.sqrt(2 / math.pi) * (-0.5 * away.pow(2)).exp()
    mean = mean + p.scale * away * (away / math.sqrt(2)).erf()
    return -(2 * q.scale).log() - mean / q.scale


def _poisson(p: Any, q: Any) -> Any:
    """Of a variable that is 0 or 1."""
    return p.mean * q.rate.log() - q.rate


_KINDS = (Beta, ContinuousBernoulli, Exponential, Gamma, Gumbel, Laplace, Normal, Pareto, Uniform, Bernoulli, Poisson)


def _kind(p: Any) -> type:
    return next(kind for kind in _KINDS if isinstance(p, kind))


def _enter(kind: type, other: type, expected: Callable, outside: Callable | None = None) -> None:
    """Enter a pair. outside: whether p has values that q has not, for parameters of which that depends."""

    @register_kl(kind, other)
    def divergence(p: Any, q: Any) -> Any:
        made = -p.entropy() - expected(p, q)
        return made if outside is None else livegrad.where(outside(p, q), math.inf, made)


def _infinite(p: Any, q: Any) -> Any:
    shape = livegrad.broadcast_shapes(tuple(p.batch_shape), tuple(q.batch_shape))
    return livegrad.full(shape, math.inf, dtype=p.mean.dtype)


def _below_zero(p: Any, q: Any) -> Any:
    return p.low < 0


def _beyond_one(p: Any, q: Any) -> Any:
    return (p.low < 0) | (p.high > 1)


def _without_mean(p: Any, q: Any) -> Any:
    return p.alpha <= 1


_enter(Bernoulli, Poisson, _poisson)
_of: Any
for _of in (Beta, ContinuousBernoulli):
    _enter(_of, Exponential, _exponential)
    _enter(_of, Normal, _normal)
    _enter(_of, Uniform, _uniform, lambda p, q: (q.low > 0) | (q.high < 1))
_enter(Beta, ContinuousBernoulli, _continuous_bernoulli)
_enter(Beta, Gamma, _gamma)
_enter(Exponential, Gamma, _gamma)
_enter(Gamma, Exponential, _exponential)
for _of in (Exponential, Gamma, Normal, Uniform):
    _enter(_of, Gumbel, _gumbel)
for _of in (Exponential, Gamma, Gumbel, Laplace, Uniform):
    _enter(_of, Normal, _normal)
_enter(Normal, Laplace, _laplace)
_enter(Pareto, Exponential, _exponential, _without_mean)
_enter(Pareto, Gamma, _gamma, _without_mean)
_enter(Pareto, Normal, _normal, lambda p, q: p.alpha <= 2)
_enter(Uniform, Beta, _beta, _beyond_one)
_enter(Uniform, ContinuousBernoulli, _continuous_bernoulli, lambda p, q: (p.low <= 0) | (p.high >= 1))  # as PyTorch
_enter(Uniform, Exponential, _exponential, _below_zero)
_enter(Uniform, Gamma, _gamma, _below_zero)
_enter(Uniform, Pareto, _pareto, lambda p, q: p.low < q.scale)
_NEVER_WITHIN = {
    Beta: (Pareto,),
    ContinuousBernoulli: (Pareto,),
    Exponential: (Beta, ContinuousBernoulli, Pareto, Uniform),
    Gamma: (Beta, ContinuousBernoulli, Pareto, Uniform),
    Gumbel: (Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform),
    Laplace: (Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform),
    Normal: (Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform),
    Pareto: (Beta, ContinuousBernoulli, Uniform),
    Poisson: (Bernoulli, Binomial),
}
for _of, _others in _NEVER_WITHIN.items():
    for _other in _others:
        register_kl(_of, _other)(_infinite)
