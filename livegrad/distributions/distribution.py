"""What all distributions share."""

from __future__ import annotations

from typing import Any

import livegrad

from . import constraints

__all__ = ["Distribution", "broadcast_all"]


def broadcast_all(*values: Any) -> tuple:
    """Tensors and numbers as tensors of one shape; numbers take the dtype of the tensors."""
    tensors = [v for v in values if isinstance(v, livegrad.Tensor)]
    for v in values:
        if not isinstance(v, (livegrad.Tensor, int, float)):
            raise ValueError("Input arguments must all be instances of Number, torch.Tensor or objects implementing "
                             "__torch_function__.")  # fmt: skip
    dtype = tensors[0].dtype if tensors else livegrad.get_default_dtype()
    made = [v if isinstance(v, livegrad.Tensor) else livegrad.tensor(v, dtype=dtype) for v in values]
    return livegrad.broadcast_tensors(*made)


def sum_rightmost(x: Any, count: int) -> Any:
    """Summed over the last dimensions."""
    return x if count == 0 else x.reshape(*x.shape[: x.dim() - count], -1).sum(-1)


class Distribution:
    """A probability distribution over events; a batch of them has parameters of shape `batch_shape`.

    `sample(shape)` draws without a gradient, `rsample(shape)` with one where `has_rsample`; results have the shape
    sample_shape + batch_shape + event_shape. `log_prob(value)`, `entropy()`, `mean`, `variance`, `stddev`, and for some
    `cdf` and `icdf`. Parameters and values are checked (ValueError) unless `validate_args` is False.
    """

    has_rsample = False
    has_enumerate_support = False
    arg_constraints: dict = {}
    _validate_args = __debug__

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Whether distributions check parameters and values unless told otherwise."""
        if value not in (True, False):
            raise ValueError("set_default_validate_args() takes True or False")
        Distribution._validate_args = value

    def __init__(self, batch_shape: Any = (), event_shape: Any = (), validate_args: bool | None = None):
        self._batch_shape, self._event_shape = livegrad.Size(batch_shape), livegrad.Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args:
            for name, constraint in self.arg_constraints.items():
                if constraint is constraints.dependent or name not in self.__dict__:
                    continue
                value = getattr(self, name)
                if not bool(constraint.check(value).all()):
                    raise ValueError(
                        f"Expected parameter {name} ({type(value).__name__} of shape {tuple(value.shape)}) of "
                        f"distribution {self!r} to satisfy the constraint {constraint!r}, but found invalid "
                        f"values:\n{value}"
                    )

    @property
    def batch_shape(self) -> Any:
        return self._batch_shape

    @property
    def event_shape(self) -> Any:
        return self._event_shape

    @property
    def support(self) -> Any:
        """The constraint that samples satisfy."""
        raise NotImplementedError

    @property
    def mean(self) -> Any:
        raise NotImplementedError

    @property
    def mode(self) -> Any:
        raise NotImplementedError(f"{type(self)} does not implement mode")

    @property
    def variance(self) -> Any:
        raise NotImplementedError

    @property
    def stddev(self) -> Any:
        """The standard deviation."""
        return self.variance.sqrt()

    def sample(self, sample_shape: Any = ()) -> Any:
        """Draw, without a gradient."""
        with livegrad.no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Any = ()) -> Any:
        """Draw, with the gradient by the parameters."""
        raise NotImplementedError

    def log_prob(self, value: Any) -> Any:
        """The logarithm of the density, or probability, at a value."""
        raise NotImplementedError

    def cdf(self, value: Any) -> Any:
        """The probability of what is not above a value."""
        raise NotImplementedError

    def icdf(self, value: Any) -> Any:
        """The value that is not exceeded with a probability."""
        raise NotImplementedError

    def entropy(self) -> Any:
        """The entropy, in nats."""
        raise NotImplementedError

    def enumerate_support(self, expand: bool = True) -> Any:
        """All values, along the first dimension."""
        raise NotImplementedError

    def perplexity(self) -> Any:
        """exp(entropy)"""
        return self.entropy().exp()

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distribution with a larger batch, its parameters broadcast.

        _instance: what to fill, for subclasses: what they have set there stays.
        """
        made = object.__new__(type(self)) if _instance is None else _instance
        batch = livegrad.Size(batch_shape)
        for name, value in self.__dict__.items():
            if _instance is not None and name in _instance.__dict__:
                continue
            if isinstance(value, livegrad.Tensor):
                value = value.expand((*batch, *value.shape[len(self._batch_shape) :]))
            elif isinstance(value, Distribution):
                value = value.expand((*batch, *value.batch_shape[len(self._batch_shape) :]))
            made.__dict__[name] = value
        made._batch_shape = batch
        return made

    def _get_checked_instance(self, cls: type, _instance: Any = None) -> Any:
        """What `expand` of a subclass fills: `_instance`, or a new one if the class has not made `__init__` its own."""
        if _instance is None and type(self).__init__ is not cls.__init__:  # type: ignore[misc]
            raise NotImplementedError(
                f"Subclass {type(self).__name__} of {cls.__name__} that defines a custom __init__ method "
                "must also define a custom .expand() method."
            )
        return object.__new__(type(self)) if _instance is None else _instance

    def _extended_shape(self, sample_shape: Any = ()) -> Any:
        return livegrad.Size((*sample_shape, *self._batch_shape, *self._event_shape))

    def _validate_sample(self, value: Any) -> None:
        if not self._validate_args:
            return
        if not isinstance(value, livegrad.Tensor):
            raise ValueError("The value argument to log_prob must be a Tensor")
        first = value.dim() - len(self._event_shape)
        if tuple(value.shape[max(first, 0) :]) != tuple(self._event_shape):
            raise ValueError(
                f"The right-most size of value must match event_shape: {value.size()} vs {self._event_shape}."
            )
        actual, expected = value.size(), self._batch_shape + self._event_shape
        for i, j in zip(reversed(actual), reversed(expected)):
            if i != 1 and j != 1 and i != j:
                raise ValueError(f"Value is not broadcastable with batch_shape+event_shape: {actual} vs {expected}.")
        try:
            support = self.support
        except NotImplementedError:
            return
        if not bool(support.check(value).all()):
            raise ValueError(
                f"Expected value argument ({type(value).__name__} of shape {tuple(value.shape)}) to be within the "
                f"support ({support!r}) of the distribution {self!r}, but found invalid values:\n{value}"
            )

    def __repr__(self) -> str:
        found = {k: self.__dict__[k] for k in self.arg_constraints if k in self.__dict__}
        texts = [f"{k}: {v if v.numel() == 1 else v.size()}" for k, v in found.items()]
        return f"{type(self).__name__}({', '.join(texts)})"
