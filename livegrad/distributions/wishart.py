"""The distribution of the scatter of normal vectors."""

from __future__ import annotations

import math
from typing import Any

import livegrad

from ..site import warn
from . import constraints
from .exp_family import ExponentialFamily
from .gamma import Chi2

__all__ = ["Wishart"]

TRIES = 10


def _given(covariance: Any, precision: Any, factor: Any) -> tuple[str, Any]:
    """Which of the three is given, and it. Raises AssertionError unless it is one."""
    given = {"covariance_matrix": covariance, "precision_matrix": precision, "scale_tril": factor}
    given = {name: matrix for name, matrix in given.items() if matrix is not None}
    if len(given) != 1:
        raise AssertionError("Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified.")
    return next(iter(given.items()))


def _multivariate_digamma(x: Any, p: int) -> Any:
    return (x.unsqueeze(-1) - livegrad.arange(p, dtype=x.dtype, device=x.device) / 2).digamma().sum(-1)


class Wishart(ExponentialFamily):
    """The sum of the outer products of `df` normal vectors, of a covariance, precision, or Cholesky factor.

    df may be any number above one less than the size. Drawn by Bartlett's decomposition.

    >>> import livegrad
    >>> from livegrad.distributions import Wishart
    >>> Wishart(5.0, covariance_matrix=livegrad.eye(2)).mean
    tensor([[5., 0.],
            [0., 5.]])
    """

    support = constraints.positive_definite
    has_rsample = True

    def __init__(
        self, df: Any, covariance_matrix: Any = None, precision_matrix: Any = None, scale_tril: Any = None,
        validate_args: bool | None = None,
    ):  # fmt: skip
        name, matrix = _given(covariance_matrix, precision_matrix, scale_tril)
        if matrix.dim() < 2:
            raise ValueError("scale_tril must be at least two-dimensional, with optional leading batch dimensions")
        batch, size = tuple(matrix.shape[:-2]), matrix.shape[-1]
        if isinstance(df, livegrad.Tensor):
            batch = livegrad.broadcast_shapes(batch, tuple(df.shape))
            self.df = df.expand(batch)
        else:
            self.df = livegrad.tensor(df, dtype=matrix.dtype, device=matrix.device).expand(batch)
        if bool((self.df <= size - 1).any()):
            raise ValueError(f"Value of df={df} expected to be greater than ndim - 1 = {size - 1}.")
        if bool((self.df < size).any()):
            warn(
                "Low df values detected. Singular samples are highly likely to occur for ndim - 1 < df < ndim.",
            )
        setattr(self, name, matrix.expand((*batch, size, size)))
        super().__init__(batch, (size, size), validate_args=validate_args)
        if name == "scale_tril":
            self._unbroadcasted_scale_tril = matrix
        elif name == "covariance_matrix":
            self._unbroadcasted_scale_tril = livegrad.linalg.cholesky(matrix)
        else:
            flipped = livegrad.linalg.cholesky(matrix.flip(-2, -1)).flip(-2, -1).mT
            one = livegrad.eye(size, dtype=matrix.dtype, device=matrix.device)
            self._unbroadcasted_scale_tril = livegrad.linalg.solve_triangular(flipped, one, upper=False)
        self._set_chi2()

    @property
    def arg_constraints(self) -> dict:  # type: ignore[override]
        return {
            "covariance_matrix": constraints.positive_definite, "precision_matrix": constraints.positive_definite,
            "scale_tril": constraints.lower_cholesky, "df": constraints.greater_than(self._event_shape[-1] - 1),
        }  # fmt: skip

    def _set_chi2(self) -> None:
        factor = self._unbroadcasted_scale_tril
        less = livegrad.arange(self._event_shape[-1], dtype=factor.dtype, device=factor.device)
        self._dist_chi2 = Chi2(self.df.unsqueeze(-1) - less)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distribution for each of a larger batch."""
        made = type(self).__new__(type(self)) if _instance is None else _instance
        shape = livegrad.Size(batch_shape)
        made.df = self.df.expand(shape)
        made._unbroadcasted_scale_tril = self._unbroadcasted_scale_tril.expand((*shape, *self._event_shape))
        for name in ("covariance_matrix", "precision_matrix", "scale_tril"):
            if name in self.__dict__:
                setattr(made, name, self.__dict__[name].expand((*shape, *self._event_shape)))
        ExponentialFamily.__init__(made, shape, self._event_shape, validate_args=False)
        made._validate_args = self._validate_args
        made._set_chi2()
        return made

    def __getattr__(self, name: str) -> Any:
        if name not in ("scale_tril", "covariance_matrix", "precision_matrix"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        factor = self._unbroadcasted_scale_tril
        if name == "covariance_matrix":
            factor = factor @ factor.mT
        elif name == "precision_matrix":
            factor = livegrad.linalg.inv(factor @ factor.mT)
        return factor.expand((*self._batch_shape, *self._event_shape))

    def _df(self) -> Any:
        return self.df.reshape((*self._batch_shape, 1, 1))

    @property
    def mean(self) -> Any:
        return self._df() * self.covariance_matrix

    @property
    def mode(self) -> Any:
        factor = self.df - self._event_shape[-1] - 1
        factor = livegrad.where(factor <= 0, float("nan"), factor)
        return factor.reshape((*self._batch_shape, 1, 1)) * self.covariance_matrix

    @property
    def variance(self) -> Any:
        v = self.covariance_matrix
        diagonal = v.diagonal(dim1=-2, dim2=-1)
        return self._df() * (v.pow(2) + diagonal.unsqueeze(-1) * diagonal.unsqueeze(-2))

    def _drawn(self, shape: Any) -> Any:
        p = self._event_shape[-1]
        root = self._dist_chi2.rsample(shape).sqrt()
        noise = root.clamp(min=livegrad.finfo(root.dtype).eps).diag_embed(dim1=-2, dim2=-1)
        rows, columns = livegrad.tril_indices(p, p, offset=-1)
        below = livegrad.randn((*shape, *self._batch_shape, p * (p - 1) // 2), dtype=noise.dtype)
        flat = noise.reshape(*noise.shape[:-2], p * p)
        flat = flat.index_copy(-1, rows * p + columns, below)
        factor = self._unbroadcasted_scale_tril @ flat.reshape(noise.shape)
        return factor @ factor.mT

    def _any(self, found: Any) -> Any:
        """Whether something holds for a matrix of a batch."""
        return found.flatten(found.dim() - len(self._batch_shape)).any(-1) if self._batch_shape else found

    def rsample(self, sample_shape: Any = (), max_try_correction: int | None = None) -> Any:
        """Matrices, with gradients by the parameters; singular ones are drawn again, `max_try_correction` times."""
        shape = livegrad.Size(sample_shape)
        sample = self._drawn(shape)
        # PyTorch draws a second time where the first draw was fine, and its numbers are those of that draw.
        again = self._any(self.support.check(sample))
        for _ in range(TRIES if max_try_correction is None else max_try_correction):
            if not bool(again.any()):
                break
            fresh = self._drawn(livegrad.Size((int(again.sum()),)))
            places = again.reshape(-1).nonzero().reshape(-1)
            own = sample.shape[len(shape) :]
            sample = sample.reshape(-1, *own).index_copy(0, places, fresh).reshape(sample.shape)
            singular = self._any(~self.support.check(fresh))
            again = (
                livegrad.zeros(again.numel(), dtype=livegrad.bool).index_copy(0, places, singular).reshape(again.shape)
            )
        return sample

    def log_prob(self, value: Any) -> Any:
        """The logarithm of the density, at positive definite matrices."""
        self._validate_sample(value)
        nu, p = self.df, self._event_shape[-1]
        solved = livegrad.cholesky_solve(value, self._unbroadcasted_scale_tril)
        return (
            -nu * (p * math.log(2) / 2 + self._log_diagonal())
            - livegrad.mvlgamma(nu / 2, p=p)
            + (nu - p - 1) / 2 * livegrad.linalg.slogdet(value)[1]
            - solved.diagonal(dim1=-2, dim2=-1).sum(dim=-1) / 2
        )

    def _log_diagonal(self) -> Any:
        return self._unbroadcasted_scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def entropy(self) -> Any:
        """The entropy."""
        nu, p = self.df, self._event_shape[-1]
        return (
            (p + 1) * (p * math.log(2) / 2 + self._log_diagonal())
            + livegrad.mvlgamma(nu / 2, p=p)
            - (nu - p - 1) / 2 * _multivariate_digamma(nu / 2, p)
            + nu * p / 2
        )

    @property
    def _natural_params(self) -> tuple:
        return -self.precision_matrix / 2, (self.df - self._event_shape[-1] - 1) / 2

    def _log_normalizer(self, x: Any, y: Any) -> Any:  # type: ignore[override]
        p = self._event_shape[-1]
        nu = y + (p + 1) / 2
        return nu * (-livegrad.linalg.slogdet(-2 * x)[1] + math.log(2) * p) + livegrad.mvlgamma(nu, p=p)
