"""A mixture of distributions of one kind."""

from __future__ import annotations

from typing import Any

import livegrad

from . import constraints
from .discrete import Categorical
from .distribution import Distribution

__all__ = ["MixtureSameFamily"]


class _Mixed(constraints.Constraint):
    """The constraint of each component, asked for all of them."""

    def __init__(self, base: Any):
        self.base_constraint, self.is_discrete, self.event_dim = base, base.is_discrete, base.event_dim

    def check(self, value: Any) -> Any:
        place = value.dim() - self.event_dim
        return self.base_constraint.check(value.unsqueeze(place)).all(-1)


class MixtureSameFamily(Distribution):
    """Draws from one of several components, the last dimension of a batch, which a `Categorical` chooses.

    Raises ValueError where the numbers of choices and of components differ.

    >>> import livegrad
    >>> from livegrad.distributions import Categorical, MixtureSameFamily, Normal
    >>> two = MixtureSameFamily(Categorical(livegrad.tensor([0.5, 0.5])), Normal(livegrad.tensor([-1.0, 1.0]), 1.0))
    >>> two.variance
    tensor(2.)
    """

    arg_constraints: dict = {}
    has_rsample = False

    def __init__(
        self, mixture_distribution: Categorical, component_distribution: Distribution, validate_args: bool | None = None
    ):
        if not isinstance(mixture_distribution, Categorical):
            raise ValueError(" The Mixture distribution needs to be an  instance of torch.distributions.Categorical")
        if not isinstance(component_distribution, Distribution):
            raise ValueError("The Component distribution need to be an instance of torch.distributions.Distribution")
        self._mixture_distribution, self._component_distribution = mixture_distribution, component_distribution
        batch = component_distribution.batch_shape[:-1]
        for a, b in zip(reversed(mixture_distribution.batch_shape), reversed(batch)):
            if a != 1 and b != 1 and a != b:
                raise ValueError(
                    f"`mixture_distribution.batch_shape` ({mixture_distribution.batch_shape}) is not compatible with "
                    f"`component_distribution.batch_shape`({batch})"
                )
        choices, components = mixture_distribution.logits.shape[-1], component_distribution.batch_shape[-1]
        if choices != components:
            raise ValueError(
                f"`mixture_distribution component` ({choices}) does not equal `component_distribution.batch_shape[-1]` "
                f"({components})"
            )
        super().__init__(batch, component_distribution.event_shape, validate_args=validate_args)

    @property
    def support(self) -> Any:
        return _Mixed(self._component_distribution.support)

    @property
    def mixture_distribution(self) -> Categorical:
        return self._mixture_distribution

    @property
    def component_distribution(self) -> Distribution:
        return self._component_distribution

    def _padded(self, x: Any) -> Any:
        """With a dimension for the components."""
        return x.unsqueeze(x.dim() - len(self._event_shape))

    def _averaged(self, x: Any) -> Any:
        probs = self._mixture_distribution.probs
        dims = (1,) * len(self._event_shape)
        return (probs.reshape(*probs.shape, *dims) * x).sum(-1 - len(dims))

    @property
    def mean(self) -> Any:
        return self._averaged(self._component_distribution.mean)

    @property
    def variance(self) -> Any:
        within = self._averaged(self._component_distribution.variance)
        away = self._component_distribution.mean - self._padded(self.mean)
        return within + self._averaged(away.pow(2.0))

    def cdf(self, value: Any) -> Any:
        inner = self._component_distribution.cdf(self._padded(value))
        return (inner * self._mixture_distribution.probs).sum(-1)

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        inner = self._component_distribution.log_prob(self._padded(value))
        return (inner + self._mixture_distribution.logits.log_softmax(-1)).logsumexp(-1)

    def sample(self, sample_shape: Any = ()) -> Any:
        with livegrad.no_grad():
            place = len(sample_shape) + len(self._batch_shape)
            chosen = self._mixture_distribution.sample(sample_shape)
            drawn = self._component_distribution.sample(sample_shape)
            events = tuple(self._event_shape)
            chosen = chosen.reshape(*chosen.shape, *(1,) * (len(events) + 1))
            chosen = chosen.expand(*chosen.shape[: chosen.dim() - len(events)], *events)
            return drawn.gather(place, chosen).squeeze(place)

    def __repr__(self) -> str:
        return f"MixtureSameFamily(\n  {self._mixture_distribution},\n  {self._component_distribution})"
