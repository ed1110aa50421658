"""Distributions of how often something happens: binomial, multinomial, negative binomial."""

from __future__ import annotations

import math
from typing import Any

import livegrad
from livegrad.nn import functional as F

from . import constraints
from .discrete import Categorical, OfCategorical, _ByProbability
from .distribution import broadcast_all
from .gamma import Gamma

__all__ = ["Binomial", "Multinomial", "NegativeBinomial"]


class _Trials(_ByProbability):
    """Of trials with a total and a probability, which broadcast together."""

    def __init__(self, total_count: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None):
        self._given(probs, logits)
        self.total_count, param = broadcast_all(total_count, self._param)
        self.total_count = self.total_count.type_as(param)
        setattr(self, self._given_as, param)
        super().__init__(param.shape, validate_args=validate_args)


class Binomial(_Trials):
    """How many of `total_count` trials succeed, each with probability `probs`."""

    arg_constraints = {
        "total_count": constraints.nonnegative_integer, "probs": constraints.unit_interval, "logits": constraints.real,
    }  # fmt: skip
    has_enumerate_support = True

    def __init__(self, total_count: Any = 1, probs: Any = None, logits: Any = None, validate_args: bool | None = None):
        super().__init__(total_count, probs, logits, validate_args)

    @property
    def support(self) -> Any:
        return constraints.integer_interval(0, self.total_count)

    @property
    def mean(self) -> Any:
        return self.total_count * self.probs

    @property
    def mode(self) -> Any:
        return ((self.total_count + 1) * self.probs).floor().clamp(max=self.total_count)

    @property
    def variance(self) -> Any:
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = ()) -> Any:
        shape = self._extended_shape(sample_shape)
        with livegrad.no_grad():
            return livegrad.binomial(self.total_count.expand(shape), self.probs.expand(shape))

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        n, logits = self.total_count, self.logits
        ways = (n + 1).lgamma() - (value + 1).lgamma() - (n - value + 1).lgamma()
        # n log(1 + exp(logits)), without exp's overflow; at zero the bound's gradient is a half, from both sides.
        positive = (logits.clamp(min=0) + logits - logits.clamp(max=0)) / 2
        softened = n * positive + n * (-logits.abs()).exp().log1p()
        return value * logits - softened + ways

    def entropy(self) -> Any:
        total = int(self.total_count.max())
        if bool(self.total_count.min() != total):
            raise NotImplementedError("Inhomogeneous total count not supported by `entropy`.")
        log_prob = self.log_prob(self.enumerate_support(False))
        return -(log_prob.exp() * log_prob).sum(0)

    def enumerate_support(self, expand: bool = True) -> Any:
        total = int(self.total_count.max())
        if bool(self.total_count.min() != total):
            raise NotImplementedError("Inhomogeneous total count not supported by `enumerate_support`.")
        values = livegrad.arange(1 + total, dtype=self._param.dtype).view((-1,) + (1,) * len(self._batch_shape))
        return values.expand((-1, *self._batch_shape)) if expand else values


class Multinomial(OfCategorical):
    """How often each of several choices comes up in `total_count` draws.

    >>> import livegrad
    >>> from livegrad.distributions import Multinomial
    >>> Multinomial(10, livegrad.tensor([1.0, 1.0, 2.0])).mean
    tensor([2.5000, 2.5000, 5.0000])
    """

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    total_count: int

    def __init__(self, total_count: int = 1, probs: Any = None, logits: Any = None, validate_args: bool | None = None):
        if not isinstance(total_count, int):
            raise NotImplementedError("inhomogeneous total_count is not supported")
        self.total_count = total_count
        self._categorical = Categorical(probs, logits)
        super().__init__(self._categorical.batch_shape, self._categorical.param_shape[-1:], validate_args=validate_args)

    @property
    def support(self) -> Any:
        return constraints.multinomial(self.total_count)

    @property
    def mean(self) -> Any:
        return self.probs * self.total_count

    @property
    def variance(self) -> Any:
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = ()) -> Any:
        drawn = self._categorical.sample((self.total_count, *sample_shape)).movedim(0, -1)
        counts = livegrad.zeros(self._extended_shape(sample_shape), dtype=drawn.dtype)
        return counts.scatter_add(-1, drawn, livegrad.ones_like(drawn)).type_as(self.probs)

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        impossible = (value == 0) & (logits == -math.inf)
        logits = logits.masked_fill(impossible, 0)
        return (value.sum(-1) + 1).lgamma() - (value + 1).lgamma().sum(-1) + (logits * value).sum(-1)

    def entropy(self) -> Any:
        n = livegrad.tensor(float(self.total_count), dtype=self.probs.dtype)
        values = Binomial(self.total_count, self.probs).enumerate_support(False)[1:]
        chance = Binomial(self.total_count, self.probs).log_prob(values).exp()
        choice = self._categorical.entropy()
        return n * choice - (n + 1).lgamma() + (chance * (values + 1).lgamma()).sum([0, -1])


class NegativeBinomial(_Trials):
    """How many trials succeed before `total_count` have failed, each succeeding with probability `probs`."""

    arg_constraints = {
        "total_count": constraints.greater_than_eq(0), "probs": constraints.half_open_interval(0.0, 1.0),
        "logits": constraints.real,
    }  # fmt: skip
    support = constraints.nonnegative_integer

    @property
    def mean(self) -> Any:
        return self.total_count * self.logits.exp()

    @property
    def mode(self) -> Any:
        return ((self.total_count - 1) * self.logits.exp()).floor().clamp(min=0.0)

    @property
    def variance(self) -> Any:
        return self.mean / (-self.logits).sigmoid()

    def sample(self, sample_shape: Any = ()) -> Any:
        with livegrad.no_grad():
            rate = Gamma(self.total_count, (-self.logits).exp(), validate_args=False).sample(sample_shape)
            return livegrad.poisson(rate)

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        n = self.total_count
        unnormalized = n * F.logsigmoid(-self.logits) + value * F.logsigmoid(self.logits)
        constant = -(n + value).lgamma() + (1.0 + value).lgamma() + n.lgamma()
        return unnormalized - constant.masked_fill(n + value == 0.0, 0.0)
