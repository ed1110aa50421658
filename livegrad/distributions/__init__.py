"""Probability distributions: drawing, densities, entropies and divergences, with gradients by their parameters.

>>> import livegrad
>>> from livegrad.distributions import Categorical
>>> policy = Categorical(logits=livegrad.zeros(4))
>>> policy.entropy()
tensor(1.3863)
"""

import importlib
import sys

from ..native import shown_in as _shown_in
from . import (
    constraints,
    kl,
    kl_moments,  # noqa: F401  enters pairs
    transforms,
)
from .circular import ContinuousBernoulli, VonMises
from .constraint_registry import biject_to, transform_to
from .continuous import Exponential, Laplace, MultivariateNormal, Normal, Uniform
from .counts import Binomial, Multinomial, NegativeBinomial
from .discrete import Bernoulli, Categorical, Geometric, OneHotCategorical, Poisson
from .distribution import Distribution
from .exp_family import ExponentialFamily
from .gamma import Beta, Chi2, Dirichlet, Gamma
from .heavy_tails import Cauchy, FisherSnedecor, GeneralizedPareto, StudentT
from .independent import Independent
from .kl import kl_divergence, register_kl
from .low_rank import LKJCholesky, LowRankMultivariateNormal
from .mixture import MixtureSameFamily
from .relaxed import OneHotCategoricalStraightThrough, RelaxedBernoulli, RelaxedOneHotCategorical
from .transformed import (
    Gumbel,
    HalfCauchy,
    HalfNormal,
    InverseGamma,
    Kumaraswamy,
    LogisticNormal,
    LogNormal,
    Pareto,
    TransformedDistribution,
    Weibull,
)  # fmt: skip
from .transforms import *  # noqa: F403
from .wishart import Wishart

__all__ = [  # noqa: PLE0604
    "Bernoulli", "Beta", "Binomial", "Categorical", "Cauchy", "Chi2", "ContinuousBernoulli", "Dirichlet",
    "Distribution", "Exponential", "ExponentialFamily", "FisherSnedecor",
    "Gamma", "GeneralizedPareto", "Geometric", "Gumbel", "HalfCauchy",
    "HalfNormal", "Independent", "InverseGamma", "Kumaraswamy", "LKJCholesky", "Laplace", "LogNormal",
    "LogisticNormal", "LowRankMultivariateNormal", "MixtureSameFamily", "Multinomial", "MultivariateNormal",
    "NegativeBinomial", "Normal", "OneHotCategorical", "OneHotCategoricalStraightThrough", "Pareto", "Poisson",
    "RelaxedBernoulli", "RelaxedOneHotCategorical", "StudentT", "TransformedDistribution", "Uniform", "VonMises",
    "Weibull", "Wishart", "biject_to", "constraints", "kl", "kl_divergence", "register_kl", "transform_to",
    *transforms.__all__,
]  # fmt: skip

# PyTorch has a file for each distribution; programs import from there, and mean the same classes.
_FILES = {
    "circular": ("continuous_bernoulli", "von_mises"),
    "continuous": ("exponential", "laplace", "multivariate_normal", "normal", "uniform"),
    "counts": ("binomial", "multinomial", "negative_binomial"),
    "discrete": ("bernoulli", "categorical", "geometric", "poisson"),
    "gamma": ("beta", "chi2", "dirichlet"),
    "heavy_tails": ("cauchy", "fishersnedecor", "generalized_pareto", "studentT"),
    "low_rank": ("lkj_cholesky", "lowrank_multivariate_normal"),
    "mixture": ("mixture_same_family",),
    "relaxed": ("one_hot_categorical", "relaxed_bernoulli", "relaxed_categorical"),
    "transformed": (
        "gumbel", "half_cauchy", "half_normal", "inverse_gamma", "kumaraswamy", "log_normal",
        "logistic_normal", "pareto",
        "transformed_distribution", "weibull",
    ),
}  # fmt: skip
for _home, _names in _FILES.items():
    for _name in _names:
        _module = sys.modules[f"{__name__}.{_name}"] = importlib.import_module(f"{__name__}.{_home}")
        globals()[_name] = _module

# A class says that it is of PyTorch's file, too.
_BY_FILE = {_name.replace("_", "").lower(): _name for _names in _FILES.values() for _name in _names}
_BY_FILE["relaxedonehotcategorical"] = "relaxed_categorical"
for _name in __all__:
    _class = globals()[_name]
    _file = "transforms" if _name in transforms.__all__ else _BY_FILE.get(_name.removesuffix("StraightThrough").lower())
    if _file is not None and isinstance(_class, type):
        _shown_in(f"{__name__}.{_file}", _class)
