"""ExponentialFamily: distributions given by their natural parameters and the normaliser."""

from __future__ import annotations

from typing import Any

import livegrad

from .distribution import Distribution

__all__ = ["ExponentialFamily"]


class ExponentialFamily(Distribution):
    """A distribution of density h(x) exp(⟨t(x), θ⟩ - F(θ)).

    A subclass states its natural parameters θ (``_natural_params``, a tuple of tensors), the log normaliser F
    (``_log_normalizer(*θ)``) and the mean of log h (``_mean_carrier_measure``, a number); its entropy follows by the
    gradient of F (Nielsen and Nock, 2010), and so does the divergence of two of one kind.
    """

    _mean_carrier_measure: Any = 0

    @property
    def _natural_params(self) -> tuple:
        raise NotImplementedError

    def _log_normalizer(self, *natural_params: Any) -> Any:
        raise NotImplementedError

    def entropy(self) -> Any:
        natural = [p.detach().requires_grad_() for p in self._natural_params]
        normaliser = self._log_normalizer(*natural)
        gradients = livegrad.autograd.grad(normaliser.sum(), natural, create_graph=True)
        result = normaliser - self._mean_carrier_measure
        for p, g in zip(natural, gradients):
            result = result - (p * g).reshape((*self._batch_shape, -1)).sum(-1)
        return result
