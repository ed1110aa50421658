"""The Kullback-Leibler divergence of one distribution from another, by pairs of their kinds."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import livegrad

from .circular import ContinuousBernoulli
from .continuous import Exponential, Laplace, MultivariateNormal, Normal, Uniform
from .counts import Binomial
from .discrete import Bernoulli, Categorical, Geometric, OneHotCategorical, Poisson
from .distribution import Distribution, sum_rightmost
from .exp_family import ExponentialFamily
from .gamma import Beta, Dirichlet, Gamma
from .heavy_tails import Cauchy
from .independent import Independent
from .low_rank import LowRankMultivariateNormal
from .transformed import EULER, Gumbel, HalfNormal, Pareto, TransformedDistribution

__all__ = ["kl_divergence", "register_kl"]

_FORMULAS: dict[tuple, Callable] = {}


def register_kl(type_p: type, type_q: type) -> Callable:
    """Decorator: a function of (p, q) as the divergence for these kinds and those derived from them.

    A kind may be any class that distributions are derived from. Raises TypeError for what is no class.
    """
    for which, kind in (("p", type_p), ("q", type_q)):
        if not isinstance(kind, type):
            raise TypeError(f"Expected type_{which} to be a Distribution subclass but got {kind}")

    def enter(function: Callable) -> Callable:
        _FORMULAS[type_p, type_q] = function
        return function

    return enter


def kl_divergence(p: Distribution, q: Distribution) -> Any:
    """KL(p || q). Raises NotImplementedError for kinds that have no formula.

    >>> from livegrad.distributions import Normal, kl_divergence
    >>> kl_divergence(Normal(0.0, 1.0), Normal(1.0, 1.0))
    tensor(0.5000)
    """
    for a in type(p).__mro__:
        for b in type(q).__mro__:
            if (a, b) in _FORMULAS:
                return _FORMULAS[a, b](p, q)
    raise NotImplementedError(
        f"No KL(p || q) is implemented for p type {type(p).__name__} and q type {type(q).__name__}"
    )


@register_kl(Normal, Normal)
def _normal(p: Any, q: Any) -> Any:
    ratio = (p.scale / q.scale).pow(2)
    return 0.5 * (ratio + ((p.loc - q.loc) / q.scale).pow(2) - 1 - ratio.log())


@register_kl(Laplace, Laplace)
def _laplace(p: Any, q: Any) -> Any:
    ratio, away = p.scale / q.scale, (p.loc - q.loc).abs()
    return -ratio.log() + away / q.scale + ratio * (-away / p.scale).exp() - 1


@register_kl(Exponential, Exponential)
def _exponential(p: Any, q: Any) -> Any:
    ratio = q.rate / p.rate
    return -ratio.log() + ratio - 1


@register_kl(Uniform, Uniform)
def _uniform(p: Any, q: Any) -> Any:
    found = ((q.high - q.low) / (p.high - p.low)).log()
    return livegrad.where((q.low > p.low) | (q.high < p.high), float("inf"), found)


@register_kl(Bernoulli, Bernoulli)
def _bernoulli(p: Any, q: Any) -> Any:
    soft = livegrad.nn.functional.softplus
    t1 = p.probs * (soft(-q.logits) - soft(-p.logits))
    t1 = livegrad.where(q.probs == 0, float("inf"), t1)
    t1 = livegrad.where(p.probs == 0, 0.0, t1)
    t2 = (1 - p.probs) * (soft(q.logits) - soft(p.logits))
    t2 = livegrad.where(q.probs == 1, float("inf"), t2)
    return t1 + livegrad.where(p.probs == 1, 0.0, t2)


@register_kl(Categorical, Categorical)
def _categorical(p: Any, q: Any) -> Any:
    t = p.probs * (p.logits - q.logits)
    t = livegrad.where((q.probs == 0).expand_as(t), float("inf"), t)
    return livegrad.where((p.probs == 0).expand_as(t), 0.0, t).sum(-1)


@register_kl(OneHotCategorical, OneHotCategorical)
def _one_hot(p: Any, q: Any) -> Any:
    return _categorical(p._categorical, q._categorical)


@register_kl(Geometric, Geometric)
def _geometric(p: Any, q: Any) -> Any:
    return -p.entropy() - (-q.probs).log1p() / p.probs - q.logits


@register_kl(Poisson, Poisson)
def _poisson(p: Any, q: Any) -> Any:
    return p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)


@register_kl(MultivariateNormal, MultivariateNormal)
def _multivariate_normal(p: Any, q: Any) -> Any:
    if p.event_shape != q.event_shape:
        raise ValueError(
            "KL-divergence between two Multivariate Normals with different event shapes cannot be computed"
        )
    solve = livegrad.linalg.solve_triangular
    ratio = solve(q._unbroadcasted_scale_tril, p._unbroadcasted_scale_tril, upper=False).pow(2).sum((-2, -1))
    away = solve(q._unbroadcasted_scale_tril, (q.loc - p.loc).unsqueeze(-1), upper=False).pow(2).sum((-2, -1))
    return q._log_determinant() - p._log_determinant() + 0.5 * (ratio + away - p.event_shape[0])


@register_kl(ExponentialFamily, ExponentialFamily)
def _exponential_families(p: Any, q: Any) -> Any:
    """The Bregman divergence of the log normaliser."""
    if type(p) is not type(q):
        raise NotImplementedError(
            "The cross KL-divergence between different exponential families cannot be computed using Bregman "
            "divergences"
        )
    own, other = [n.detach().requires_grad_() for n in p._natural_params], q._natural_params
    normaliser = p._log_normalizer(*own)
    gradients = livegrad.autograd.grad(normaliser.sum(), own, create_graph=True)
    result = q._log_normalizer(*other) - normaliser
    for a, b, g in zip(own, other, gradients):
        result = result - sum_rightmost((b - a) * g, len(q.event_shape) if g.dim() > result.dim() else 0)
    return result


@register_kl(Independent, Independent)
def _independent(p: Any, q: Any) -> Any:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError
    return sum_rightmost(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)


@register_kl(Gamma, Gamma)
def _gammas(p: Gamma, q: Gamma) -> Any:
    rates = q.rate / p.rate
    a, b = p.concentration, q.concentration
    return b * -rates.log() + b.lgamma() - a.lgamma() + (a - b) * a.digamma() + (rates - 1) * a


def _dirichlet(a: Any, b: Any) -> Any:
    total = a.sum(-1)
    constant = total.lgamma() - b.sum(-1).lgamma() - (a.lgamma() - b.lgamma()).sum(-1)
    return constant + ((a - b) * (a.digamma() - total.digamma().unsqueeze(-1))).sum(-1)


@register_kl(Dirichlet, Dirichlet)
def _dirichlets(p: Dirichlet, q: Dirichlet) -> Any:
    return _dirichlet(p.concentration, q.concentration)


@register_kl(Beta, Beta)
def _betas(p: Beta, q: Beta) -> Any:
    return _dirichlet(p._dirichlet.concentration, q._dirichlet.concentration)


@register_kl(TransformedDistribution, TransformedDistribution)
def _transformed(p: Any, q: Any) -> Any:
    """The same, one-to-one transforms change nothing."""
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise NotImplementedError
    return kl_divergence(p.base_dist, q.base_dist)


@register_kl(HalfNormal, HalfNormal)
def _half_normals(p: Any, q: Any) -> Any:
    return _normal(p.base_dist, q.base_dist)


@register_kl(Cauchy, Cauchy)
def _cauchy(p: Any, q: Any) -> Any:
    return ((p.scale + q.scale).pow(2) + (p.loc - q.loc).pow(2)).log() - (4 * p.scale * q.scale).log()


@register_kl(Gumbel, Gumbel)
def _gumbel(p: Any, q: Any) -> Any:
    ratio, away = p.scale / q.scale, q.loc / q.scale
    moved = p.loc / q.scale
    return -ratio.log() - away + moved + ratio * EULER + (away + (1 + ratio).lgamma() - moved).exp() - (1 + EULER)


@register_kl(Pareto, Pareto)
def _pareto(p: Any, q: Any) -> Any:
    ratio = p.alpha.reciprocal() * q.alpha
    made = q.alpha * (p.scale / q.scale).log() - ratio.log() + ratio - 1
    return livegrad.where(p.support.lower_bound < q.support.lower_bound, math.inf, made)


@register_kl(Binomial, Binomial)
def _binomials(p: Any, q: Any) -> Any:
    if bool((p.total_count < q.total_count).any()):
        raise NotImplementedError("KL between Binomials where q.total_count > p.total_count is not implemented")
    made = p.total_count * (p.probs * (p.logits - q.logits) + (-p.probs).log1p() - (-q.probs).log1p())
    return livegrad.where(p.total_count > q.total_count, math.inf, made)


@register_kl(ContinuousBernoulli, ContinuousBernoulli)
def _continuous_bernoullis(p: Any, q: Any) -> Any:
    own = p._log_constant() + (-p.probs).log1p() + p.mean * (p.logits - q.logits)
    return own - q._log_constant() - (-q.probs).log1p()


def _dense(d: Any) -> Any:
    """A normal distribution of vectors with its covariance written out."""
    return MultivariateNormal(d.loc, scale_tril=d.scale_tril) if isinstance(d, LowRankMultivariateNormal) else d


@register_kl(LowRankMultivariateNormal, LowRankMultivariateNormal)
@register_kl(LowRankMultivariateNormal, MultivariateNormal)
@register_kl(MultivariateNormal, LowRankMultivariateNormal)
def _low_rank_normals(p: Any, q: Any) -> Any:
    return _multivariate_normal(_dense(p), _dense(q))
