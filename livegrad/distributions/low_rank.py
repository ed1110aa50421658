"""Normal vectors with a covariance of low rank plus a diagonal, and Cholesky factors of random correlations."""

from __future__ import annotations

import math
from typing import Any

import livegrad

from . import constraints
from .continuous import _standard_normal
from .distribution import Distribution
from .gamma import Beta

__all__ = ["LKJCholesky", "LowRankMultivariateNormal"]


class LowRankMultivariateNormal(Distribution):
    """Normal vectors of covariance W Wᵀ + D: W is `cov_factor`, of few columns, and D has the diagonal `cov_diag`.

    Nothing larger than W is factorised: with the capacitance C = I + Wᵀ D⁻¹ W, the inverse is
    D⁻¹ - D⁻¹ W C⁻¹ Wᵀ D⁻¹ and the determinant |C| |D|.
    """

    arg_constraints = {
        "loc": constraints.real_vector, "cov_factor": constraints.independent(constraints.real, 2),
        "cov_diag": constraints.independent(constraints.positive, 1),
    }  # fmt: skip
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc: Any, cov_factor: Any, cov_diag: Any, validate_args: bool | None = None):
        if loc.dim() < 1:
            raise ValueError("loc must be at least one-dimensional.")
        size = loc.shape[-1]
        if cov_factor.dim() < 2:
            raise ValueError("cov_factor must be at least two-dimensional, with optional leading batch dimensions")
        if cov_factor.shape[-2] != size:
            raise ValueError(f"cov_factor must be a batch of matrices with shape {size} x m")
        if cov_diag.shape[-1] != size:
            raise ValueError(f"cov_diag must be a batch of vectors with shape {(size,)}")
        batch = livegrad.broadcast_shapes(
            tuple(loc.shape[:-1]), tuple(cov_factor.shape[:-2]), tuple(cov_diag.shape[:-1])
        )
        self.loc = loc.expand((*batch, size))
        self.cov_factor = cov_factor.expand((*batch, *cov_factor.shape[-2:]))
        self.cov_diag = cov_diag.expand((*batch, size))
        super().__init__(batch, (size,), validate_args=validate_args)

    def _solve(self, x: Any) -> Any:
        """Wᵀ D⁻¹ x, with the lower factor of the capacitance taken off."""
        weighed = self.cov_factor / self.cov_diag.unsqueeze(-1)
        capacitance = self.cov_factor.mT @ weighed
        capacitance = capacitance + livegrad.eye(capacitance.shape[-1], dtype=capacitance.dtype)
        factor = livegrad.linalg.cholesky(capacitance)
        return factor, livegrad.linalg.solve_triangular(factor, weighed.mT @ x.unsqueeze(-1), upper=False).squeeze(-1)

    def _log_determinant(self, factor: Any) -> Any:
        return 2 * factor.diagonal(0, -2, -1).log().sum(-1) + self.cov_diag.log().sum(-1)

    @property
    def mean(self) -> Any:
        return self.loc

    @property
    def mode(self) -> Any:
        return self.loc

    @property
    def variance(self) -> Any:
        return self.cov_factor.pow(2).sum(-1) + self.cov_diag

    @property
    def covariance_matrix(self) -> Any:
        return self.cov_factor @ self.cov_factor.mT + self.cov_diag.diag_embed()

    @property
    def scale_tril(self) -> Any:
        return livegrad.linalg.cholesky(self.covariance_matrix)

    @property
    def precision_matrix(self) -> Any:
        return livegrad.linalg.inv(self.covariance_matrix)

    def rsample(self, sample_shape: Any = ()) -> Any:
        shape = self._extended_shape(sample_shape)
        factors = _standard_normal((*shape[:-1], self.cov_factor.shape[-1]), self.loc.dtype)
        rest = _standard_normal(shape, self.loc.dtype)
        return self.loc + (self.cov_factor @ factors.unsqueeze(-1)).squeeze(-1) + self.cov_diag.sqrt() * rest

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        away = value - self.loc
        factor, solved = self._solve(away)
        distance = (away.pow(2) / self.cov_diag).sum(-1) - solved.pow(2).sum(-1)
        return -0.5 * (self._event_shape[0] * math.log(2 * math.pi) + self._log_determinant(factor) + distance)

    def entropy(self) -> Any:
        factor, _ = self._solve(self.loc)
        return 0.5 * (self._event_shape[0] * (1.0 + math.log(2 * math.pi)) + self._log_determinant(factor))


class LKJCholesky(Distribution):
    """Lower Cholesky factors of random correlation matrices, with density in proportion to |M| ^ (concentration - 1).

    Drawn by the onion method (Lewandowski, Kurowicka and Joe, 2009). Raises ValueError for fewer than two variables.
    """

    arg_constraints = {"concentration": constraints.positive}
    support = constraints.corr_cholesky

    def __init__(self, dim: int, concentration: Any = 1.0, validate_args: bool | None = None):
        if dim < 2:
            raise ValueError(f"Expected dim to be an integer greater than or equal to 2. Found dim={dim}.")
        self.dim = dim
        self.concentration = livegrad.as_tensor(concentration, dtype=None if isinstance(concentration, livegrad.Tensor)
                                                else livegrad.get_default_dtype())  # fmt: skip
        marginal = self.concentration + 0.5 * (dim - 2)
        offset = livegrad.arange(dim - 1, dtype=self.concentration.dtype)
        offset = livegrad.cat([offset.new_zeros((1,)), offset])
        self._beta = Beta(offset + 0.5, marginal.unsqueeze(-1) - 0.5 * offset)
        super().__init__(self.concentration.size(), (dim, dim), validate_args=validate_args)

    def sample(self, sample_shape: Any = ()) -> Any:
        with livegrad.no_grad():
            y = self._beta.sample(sample_shape).unsqueeze(-1)
            direction = livegrad.randn(self._extended_shape(sample_shape), dtype=y.dtype).tril(-1)
            direction = direction / direction.norm(dim=-1, keepdim=True)
            direction[..., 0, :] = 0.0
            rows = y.sqrt() * direction
            left = (1 - (rows**2).sum(-1)).clamp(min=livegrad.finfo(rows.dtype).tiny)
            return rows + left.sqrt().diag_embed()

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        diagonal = value.diagonal(dim1=-1, dim2=-2)[..., 1:]
        order = livegrad.arange(2, self.dim + 1, dtype=diagonal.dtype)
        order = 2 * (self.concentration - 1).unsqueeze(-1) + self.dim - order
        n = self.dim - 1
        alpha = self.concentration + 0.5 * n
        constant = 0.5 * n * math.log(math.pi) + livegrad.mvlgamma(alpha - 0.5, n) - alpha.lgamma() * n
        return (order * diagonal.log()).sum(-1) - constant
