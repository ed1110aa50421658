"""The von Mises distribution of angles, and the continuous Bernoulli distribution of the unit interval."""

from __future__ import annotations

import math
from typing import Any

import livegrad

from . import constraints
from .discrete import _ByProbability, _clamped
from .distribution import Distribution, broadcast_all

__all__ = ["ContinuousBernoulli", "VonMises"]


class VonMises(Distribution):
    """The von Mises distribution on the circle, of angles in [-π, π) around `loc`."""

    arg_constraints = {"loc": constraints.real, "concentration": constraints.positive}
    support = constraints.real

    def __init__(self, loc: Any, concentration: Any, validate_args: bool | None = None):
        self.loc, self.concentration = broadcast_all(loc, concentration)
        super().__init__(self.loc.shape, validate_args=validate_args)

    def _log_bessel(self, order: int) -> Any:
        """log of the modified Bessel function of the concentration."""
        scaled = livegrad.special.i1e if order else livegrad.special.i0e
        return scaled(self.concentration).log() + self.concentration

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        return self.concentration * (value - self.loc).cos() - math.log(2 * math.pi) - self._log_bessel(0)

    def sample(self, sample_shape: Any = ()) -> Any:
        """Draws, by rejection from a wrapped Cauchy distribution (Best and Fisher, 1979)."""
        with livegrad.no_grad():
            shape = self._extended_shape(sample_shape)
            loc, k = (t.double().expand(shape) for t in (self.loc, self.concentration))
            tau = 1 + (1 + 4 * k**2).sqrt()
            rho = (tau - (2 * tau).sqrt()) / (2 * k)
            r = livegrad.where(k < 1e-5, 1 / k + k, (1 + rho**2) / (2 * rho))
            angle, done = livegrad.empty_like(loc), livegrad.zeros(shape, dtype=livegrad.bool)
            while not bool(done.all()):
                u1, u2, u3 = livegrad.rand((3, *shape), dtype=livegrad.float64).unbind()
                z = (math.pi * u1).cos()
                f = (1 + r * z) / (r + z)
                c = k * (r - f)
                accept = (c * (2 - c) - u2 > 0) | ((c / u2).log() + 1 - c >= 0)
                angle = livegrad.where(accept, (u3 - 0.5).sign() * f.acos(), angle)
                done = done | accept
            return ((angle + math.pi + loc) % (2 * math.pi) - math.pi).to(self.loc.dtype)

    @property
    def mean(self) -> Any:
        return self.loc

    @property
    def mode(self) -> Any:
        return self.loc

    @property
    def variance(self) -> Any:
        """The circular variance."""
        return 1 - (self._log_bessel(1) - self._log_bessel(0)).exp()


class ContinuousBernoulli(_ByProbability):
    """The distribution on the unit interval with density in proportion to p^x (1 - p)^(1 - x).

    (Loaiza-Ganem and Cunningham, 2019.) lims: between these probabilities formulas are replaced by their Taylor series.
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval
    has_rsample = True

    def __init__(
        self, probs: Any = None, logits: Any = None, lims: tuple = (0.499, 0.501), validate_args: bool | None = None
    ):
        given = self._given(probs, logits)
        self._lims = lims
        super().__init__(given.shape, validate_args=validate_args)
        if logits is None:
            self.probs = _clamped(given)

    def _unstable(self) -> Any:
        return (self.probs > self._lims[0]) & (self.probs <= self._lims[1])

    def _cut(self) -> Any:
        """The probabilities, those too near to a half replaced by one that is not."""
        return livegrad.where(self._unstable(), self._lims[0] * livegrad.ones_like(self.probs), self.probs)

    def _log_constant(self) -> Any:
        p = self._cut()
        below = livegrad.where(p <= 0.5, p, livegrad.zeros_like(p))
        above = livegrad.where(p >= 0.5, p, livegrad.ones_like(p))
        exact = ((-p).log1p() - p.log()).abs().log() - livegrad.where(
            p <= 0.5, (-2.0 * below).log1p(), (2.0 * above - 1.0).log()
        )
        x = (self.probs - 0.5).pow(2)
        return livegrad.where(self._unstable(), math.log(2.0) + (4.0 / 3.0 + 104.0 / 45.0 * x) * x, exact)

    @property
    def mean(self) -> Any:
        p = self._cut()
        exact = p / (2.0 * p - 1.0) + 1.0 / ((-p).log1p() - p.log())
        x = self.probs - 0.5
        return livegrad.where(self._unstable(), 0.5 + (1.0 / 3.0 + 16.0 / 45.0 * x.pow(2)) * x, exact)

    @property
    def variance(self) -> Any:
        p = self._cut()
        exact = p * (p - 1.0) / (1.0 - 2.0 * p).pow(2) + 1.0 / ((-p).log1p() - p.log()).pow(2)
        x = (self.probs - 0.5).pow(2)
        return livegrad.where(self._unstable(), 1.0 / 12.0 - (1.0 / 15.0 - 128.0 / 945.0 * x) * x, exact)

    def rsample(self, sample_shape: Any = ()) -> Any:
        return self.icdf(livegrad.rand(self._extended_shape(sample_shape), dtype=self.probs.dtype))

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        entropy = livegrad.nn.functional.binary_cross_entropy_with_logits(logits, value, reduction="none")
        return self._log_constant() - entropy

    def cdf(self, value: Any) -> Any:
        self._validate_sample(value)
        p = self._cut()
        exact = (p.pow(value) * (1.0 - p).pow(1.0 - value) + p - 1.0) / (2.0 * p - 1.0)
        inside = livegrad.where(self._unstable(), value, exact)
        return livegrad.where(value <= 0, 0.0, livegrad.where(value >= 1, 1.0, inside))

    def icdf(self, value: Any) -> Any:
        p = self._cut()
        exact = ((-p + value * (2.0 * p - 1.0)).log1p() - (-p).log1p()) / (p.log() - (-p).log1p())
        return livegrad.where(self._unstable(), value, exact)

    def entropy(self) -> Any:
        miss = (-self.probs).log1p()
        return self.mean * (miss - self.probs.log()) - self._log_constant() - miss
