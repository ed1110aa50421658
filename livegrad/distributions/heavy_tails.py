"""Distributions with heavy tails: Cauchy, Student's t, Fisher's F, the generalised Pareto."""

from __future__ import annotations

import math
from typing import Any

import livegrad

from . import constraints
from .continuous import _standard_normal
from .distribution import Distribution, broadcast_all
from .gamma import Chi2, Gamma

__all__ = ["Cauchy", "FisherSnedecor", "GeneralizedPareto", "StudentT"]


class Cauchy(Distribution):
    """The Cauchy distribution around `loc`, of half width `scale`: it has neither mean nor variance."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None):
        self.loc, self.scale = broadcast_all(loc, scale)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @property
    def mean(self) -> Any:
        return livegrad.full(self._extended_shape(), math.nan, dtype=self.loc.dtype)

    @property
    def mode(self) -> Any:
        return self.loc

    @property
    def variance(self) -> Any:
        return livegrad.full(self._extended_shape(), math.inf, dtype=self.loc.dtype)

    def rsample(self, sample_shape: Any = ()) -> Any:
        drawn = livegrad.empty(self._extended_shape(sample_shape), dtype=self.loc.dtype).cauchy_()
        return self.loc + drawn * self.scale

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        return -math.log(math.pi) - self.scale.log() - (((value - self.loc) / self.scale) ** 2).log1p()

    def cdf(self, value: Any) -> Any:
        self._validate_sample(value)
        return livegrad.atan((value - self.loc) / self.scale) / math.pi + 0.5

    def icdf(self, value: Any) -> Any:
        return livegrad.tan(math.pi * (value - 0.5)) * self.scale + self.loc

    def entropy(self) -> Any:
        return math.log(4 * math.pi) + self.scale.log()


class StudentT(Distribution):
    """Student's t distribution of `df` degrees of freedom, moved by `loc` and stretched by `scale`."""

    arg_constraints = {"df": constraints.positive, "loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True

    def __init__(self, df: Any, loc: Any = 0.0, scale: Any = 1.0, validate_args: bool | None = None):
        self.df, self.loc, self.scale = broadcast_all(df, loc, scale)
        self._chi2 = Chi2(self.df)
        super().__init__(self.df.shape, validate_args=validate_args)

    @property
    def mean(self) -> Any:
        return self.loc.masked_fill(self.df <= 1, math.nan)

    @property
    def mode(self) -> Any:
        return self.loc

    @property
    def variance(self) -> Any:
        df, squared = self.df, self.scale.pow(2)
        made = livegrad.where(df > 2, squared * df / (df - 2), math.inf)
        return made.masked_fill(df <= 1, math.nan)

    def rsample(self, sample_shape: Any = ()) -> Any:
        x = _standard_normal(self._extended_shape(sample_shape), self.df.dtype)
        z = self._chi2.rsample(sample_shape)
        return self.loc + self.scale * (x * livegrad.rsqrt(z / self.df))

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        y, df = (value - self.loc) / self.scale, self.df
        constant = (self.scale.log() + 0.5 * df.log() + 0.5 * math.log(math.pi) + (0.5 * df).lgamma()
                    - (0.5 * (df + 1.0)).lgamma())  # fmt: skip
        return -0.5 * (df + 1.0) * (y**2.0 / df).log1p() - constant

    def entropy(self) -> Any:
        df = self.df
        log_beta = (0.5 * df).lgamma() + math.lgamma(0.5) - (0.5 * (df + 1)).lgamma()
        return (self.scale.log() + 0.5 * (df + 1) * ((0.5 * (df + 1)).digamma() - (0.5 * df).digamma())
                + 0.5 * df.log() + log_beta)  # fmt: skip


class FisherSnedecor(Distribution):
    """The F distribution: of the ratio of two chi-squared variables, each over its degrees of freedom."""

    arg_constraints = {"df1": constraints.positive, "df2": constraints.positive}
    support = constraints.positive
    has_rsample = True

    def __init__(self, df1: Any, df2: Any, validate_args: bool | None = None):
        self.df1, self.df2 = broadcast_all(df1, df2)
        self._gamma1 = Gamma(self.df1 * 0.5, self.df1)
        self._gamma2 = Gamma(self.df2 * 0.5, self.df2)
        super().__init__(self.df1.shape, validate_args=validate_args)

    @property
    def mean(self) -> Any:
        df2 = self.df2.masked_fill(self.df2 <= 2, math.nan)
        return df2 / (df2 - 2)

    @property
    def mode(self) -> Any:
        made = (self.df1 - 2) / self.df1 * self.df2 / (self.df2 + 2)
        return made.masked_fill(self.df1 <= 2, math.nan)

    @property
    def variance(self) -> Any:
        df2 = self.df2.masked_fill(self.df2 <= 4, math.nan)
        return 2 * df2.pow(2) * (self.df1 + df2 - 2) / (self.df1 * (df2 - 2).pow(2) * (df2 - 4))

    def rsample(self, sample_shape: Any = ()) -> Any:
        tiny = livegrad.finfo(self.df1.dtype).tiny
        above = self._gamma1.rsample(sample_shape)
        below = self._gamma2.rsample(sample_shape).clamp(min=tiny)
        return (above / below).clamp(min=tiny)

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        half1, half2, ratio = self.df1 * 0.5, self.df2 * 0.5, self.df1 / self.df2
        first = (half1 + half2).lgamma() - half1.lgamma() - half2.lgamma()
        second = half1 * ratio.log() + (half1 - 1) * value.log()
        return first + second - (half1 + half2) * (ratio * value).log1p()


class GeneralizedPareto(Distribution):
    """The generalised Pareto distribution, of how far values go beyond a threshold `loc`."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive, "concentration": constraints.real}
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, concentration: Any, validate_args: bool | None = None):
        self.loc, self.scale, self.concentration = broadcast_all(loc, scale, concentration)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @property
    def support(self) -> Any:
        if bool((self.concentration < 0).any()):
            end = livegrad.where(self.concentration < 0, self.loc - self.scale / self.concentration, math.inf)
            return constraints.interval(self.loc, end)
        return constraints.greater_than_eq(self.loc)

    def _split(self) -> tuple:
        """Where the concentration counts as zero, and the concentration without zeros."""
        zero = livegrad.isclose(self.concentration, livegrad.zeros_like(self.concentration))
        return zero, livegrad.where(zero, livegrad.ones_like(self.concentration), self.concentration)

    def rsample(self, sample_shape: Any = ()) -> Any:
        return self.icdf(livegrad.rand(self._extended_shape(sample_shape), dtype=self.loc.dtype))

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        y, (zero, k) = (value - self.loc) / self.scale, self._split()
        return livegrad.where(zero, -y, -(1 / k + 1) * livegrad.log1p(k * y)) - self.scale.log()

    def _log_survival(self, value: Any) -> Any:
        y, (zero, k) = (value - self.loc) / self.scale, self._split()
        return livegrad.where(zero, -y, -livegrad.log1p(k * y) / k)

    def cdf(self, value: Any) -> Any:
        self._validate_sample(value)
        return -self._log_survival(value).expm1()

    def icdf(self, value: Any) -> Any:
        log_left, (zero, k) = livegrad.log1p(-value), self._split()
        return self.loc + self.scale * livegrad.where(zero, -log_left, (-k * log_left).expm1() / k)

    @property
    def mean(self) -> Any:
        k = self.concentration
        return livegrad.where(k < 1, self.loc + self.scale / (1 - k), math.inf)

    @property
    def mode(self) -> Any:
        return self.loc

    @property
    def variance(self) -> Any:
        k = self.concentration
        return livegrad.where(k < 0.5, self.scale**2 / ((1 - k) ** 2 * (1 - 2 * k)), math.inf)

    def entropy(self) -> Any:
        return self.scale.log() + self.concentration + 1
