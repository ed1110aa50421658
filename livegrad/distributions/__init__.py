"""Probability distributions: drawing, densities, entropies and divergences, with gradients by their parameters.

>>> import livegrad
>>> from livegrad.distributions import Categorical
>>> policy = Categorical(logits=livegrad.zeros(4))
>>> policy.entropy()
tensor(1.3863)
"""

from . import constraints, kl
from .continuous import Exponential, Laplace, LogNormal, MultivariateNormal, Normal, Uniform
from .discrete import Bernoulli, Categorical, Geometric, OneHotCategorical, Poisson
from .distribution import Distribution
from .gamma import Beta, Chi2, Dirichlet, Gamma
from .independent import Independent
from .kl import kl_divergence, register_kl

__all__ = [
    "Bernoulli", "Beta", "Categorical", "Chi2", "Dirichlet", "Distribution", "Exponential", "Gamma", "Geometric",
    "Independent", "Laplace", "LogNormal", "MultivariateNormal", "Normal", "OneHotCategorical", "Poisson", "Uniform",
    "constraints", "kl", "kl_divergence", "register_kl",
]  # fmt: skip
