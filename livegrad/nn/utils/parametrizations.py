"""Parametrizations that are ready to use: orthogonal matrices, weight normalisation, spectral normalisation."""

from __future__ import annotations

from typing import Any

import livegrad

from .. import functional as F
from ..module import Module
from ..modules.conv import _ConvTransposeNd
from . import parametrize
from .weight_norm import _length

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]


def _tensor_of(module: Any, name: str) -> Any:
    found = getattr(module, name, None)
    if not isinstance(found, livegrad.Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    return found


# --- orthogonal ----------------------------------------------------------------------------------------------------


def _is_orthogonal(q: Any) -> bool:
    n, k = q.shape[-2:]
    identity = livegrad.eye(k, dtype=q.dtype, device=q.device)
    eps = 10.0 * n * livegrad.finfo(q.dtype).eps
    return bool((q.mT @ q - identity).abs().max() <= eps)


def _made_orthogonal(a: Any) -> Any:
    """The orthogonal factor of a QR decomposition whose triangular factor has a positive diagonal."""
    q, r = livegrad.linalg.qr(a)
    signs = r.diagonal(dim1=-2, dim2=-1).sgn()
    return q * signs.unsqueeze(-2)


class _Orthogonal(Module):
    """Makes an orthogonal matrix of any matrix, by a map from skew-symmetric ones or by reflections."""

    def __init__(self, weight: Any, orthogonal_map: str, use_trivialization: bool):
        super().__init__()
        self.shape = weight.shape
        self.orthogonal_map = orthogonal_map
        self.trivialized = use_trivialization
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, x: Any) -> Any:
        n, k = x.shape[-2:]
        transposed = n < k
        if transposed:
            x, n, k = x.mT, k, n
        if self.orthogonal_map == "householder":
            a = x.tril(-1)
            tau = 2.0 / (1.0 + (a * a).sum(-2))
            q = livegrad.linalg.householder_product(a, tau)
            q = q * x.diagonal(dim1=-2, dim2=-1).sgn().detach().unsqueeze(-2)
        else:
            x = x.tril()
            if n != k:
                x = livegrad.cat([x, x.new_zeros(*x.shape[:-1], n - k)], dim=-1)
            a = x - x.mT
            if self.orthogonal_map == "matrix_exp":
                q = livegrad.linalg.matrix_exp(a)
            else:
                identity = livegrad.eye(n, dtype=a.dtype, device=a.device)
                q = livegrad.linalg.solve(identity - 0.5 * a, identity + 0.5 * a)
            q = q[..., :k]
        if self.trivialized:
            q = self.base @ q
        return q.mT if transposed else q

    @livegrad.no_grad()
    def right_inverse(self, q: Any) -> Any:
        if q.shape != self.shape:
            raise ValueError(
                f"Expected a matrix or batch of matrices of shape {self.shape}. Got a tensor of shape {q.shape}."
            )
        start = q
        n, k = q.shape[-2:]
        transposed = n < k
        if transposed:
            q, n, k = q.mT, k, n
        if not self.trivialized:
            if self.orthogonal_map != "householder":
                raise NotImplementedError(
                    "It is not possible to assign to the matrix exponential or the Cayley parametrizations when "
                    "use_trivialization=False."
                )
            return self._reflections(q).mT if transposed else self._reflections(q)
        if n == k:
            q = q.clone() if _is_orthogonal(q) else _made_orthogonal(q)
        else:  # a basis of all the space that begins with these columns
            rest = livegrad.randn(*q.shape[:-2], n, n - k, dtype=q.dtype, device=q.device)
            q = _made_orthogonal(livegrad.cat([q, rest], dim=-1))
        self.base = q
        # Minus the identity: skew-symmetric part zero for the maps, reflections that do nothing but for signs.
        made = livegrad.zeros_like(start)
        made.diagonal(dim1=-2, dim2=-1).fill_(-1.0)
        return made

    @staticmethod
    def _reflections(q: Any) -> Any:
        """Reflections whose product is the orthogonal matrix q, below a diagonal of signs.

        Householder's elimination, column by column (Golub and Van Loan, Matrix Computations, 5.2).
        """
        r = q.clone()
        n, k = q.shape[-2:]
        made = livegrad.zeros_like(q)
        for j in range(k):
            x = r[..., j:, j]
            alpha = -livegrad.where(x[..., 0] >= 0, 1.0, -1.0).to(x.dtype) * x.norm(dim=-1)
            v = x.clone()
            v[..., 0] -= alpha
            v = v / v[..., :1]
            tau = 2.0 / (v * v).sum(-1)
            block = r[..., j:, j:]
            r[..., j:, j:] = block - tau[..., None, None] * v[..., :, None] * (v[..., None, :] @ block)
            made[..., j + 1 :, j] = v[..., 1:]
            made[..., j, j] = alpha.sign()
        return made


def orthogonal(
    module: Any, name: str = "weight", orthogonal_map: str | None = None, *, use_trivialization: bool = True
) -> Any:
    """Keeps a matrix orthogonal (its columns, or its rows where it is wider than tall); returns the module.

    orthogonal_map: "matrix_exp" or "cayley", maps from skew-symmetric matrices, or "householder", a product of
    reflections; the first one for square matrices and the last one for others, unless given. use_trivialization: the
    map goes around the matrix that was assigned last (Lezcano-Casado, 2019), so that any orthogonal matrix can be
    assigned. More than two dimensions are a batch of matrices.

    Raises ValueError where there is no such tensor or it has fewer than two dimensions, and for an unknown map.

    >>> import livegrad
    >>> layer = livegrad.nn.utils.parametrizations.orthogonal(livegrad.nn.Linear(4, 3))
    >>> bool(((layer.weight @ layer.weight.T) - livegrad.eye(3)).abs().max() < 1e-5)
    True
    """
    weight = _tensor_of(module, name)
    if weight.dim() < 2:
        raise ValueError(f"Expected a matrix or batch of matrices. Got a tensor of {weight.dim()} dimensions.")
    if orthogonal_map is None:
        orthogonal_map = "matrix_exp" if weight.shape[-2] == weight.shape[-1] else "householder"
    if orthogonal_map not in ("matrix_exp", "cayley", "householder"):
        raise ValueError(
            f'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: {orthogonal_map}'
        )
    made = _Orthogonal(weight, orthogonal_map, use_trivialization)
    return parametrize.register_parametrization(module, name, made, unsafe=True)


# --- weight normalisation ------------------------------------------------------------------------------------------


class _WeightNorm(Module):
    """A weight of a length and a direction."""

    def __init__(self, dim: int | None = 0):
        super().__init__()
        self.dim = None if dim is None or dim == -1 else dim

    def forward(self, weight_g: Any, weight_v: Any) -> Any:
        return weight_v * (weight_g / _length(weight_v, self.dim))

    def right_inverse(self, weight: Any) -> tuple:
        return _length(weight, self.dim), weight


def weight_norm(module: Any, name: str = "weight", dim: int | None = 0) -> Any:
    """Makes a weight of a length, ``original0``, and a direction, ``original1``; returns the module.

    There is a length for each index of `dim`, or one for all if dim is None (Salimans and Kingma, 2016). Loads state
    dictionaries of the older `nn.utils.weight_norm` too.

    >>> import livegrad
    >>> layer = livegrad.nn.utils.parametrizations.weight_norm(livegrad.nn.Linear(3, 2))
    >>> layer.parametrizations.weight.original0.shape
    torch.Size([2, 1])
    """
    parametrize.register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def older_names(state_dict: dict, prefix: str, *ignored: Any) -> None:
        for i, old in enumerate((f"{prefix}{name}_g", f"{prefix}{name}_v")):
            if old in state_dict:
                state_dict[f"{prefix}parametrizations.{name}.original{i}"] = state_dict.pop(old)

    module._register_load_state_dict_pre_hook(older_names)
    return module


# --- spectral normalisation ----------------------------------------------------------------------------------------


class _SpectralNorm(Module):
    """A weight divided by its largest singular value, which power iteration estimates."""

    def __init__(self, weight: Any, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12):
        super().__init__()
        if not -weight.dim() <= dim < weight.dim():
            raise IndexError(
                "Dimension out of range (expected to be in range of "
                f"[-{weight.dim()}, {weight.dim() - 1}] but got {dim})"
            )
        if n_power_iterations <= 0:
            raise ValueError(
                f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}"
            )
        self.dim = dim % weight.dim()
        self.eps = eps
        self.n_power_iterations = n_power_iterations
        if weight.dim() > 1:
            with livegrad.no_grad():
                matrix = self._matrix(weight)
                rows, columns = matrix.shape
                u, v = matrix.new_empty(rows).normal_(0, 1), matrix.new_empty(columns).normal_(0, 1)
                self.register_buffer("_u", F.normalize(u, dim=0, eps=eps))
                self.register_buffer("_v", F.normalize(v, dim=0, eps=eps))
                self._iterate(matrix, 15)

    def _matrix(self, weight: Any) -> Any:
        """The weight with one dimension as rows and all others as columns."""
        return weight.movedim(self.dim, 0).reshape(weight.shape[self.dim], -1)

    @livegrad.no_grad()
    def _iterate(self, matrix: Any, steps: int) -> None:
        for _ in range(steps):
            self._u.copy_(F.normalize(matrix.mv(self._v), dim=0, eps=self.eps))
            self._v.copy_(F.normalize(matrix.mT.mv(self._u), dim=0, eps=self.eps))

    def forward(self, weight: Any) -> Any:
        if weight.dim() == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = self._matrix(weight)
        if self.training:
            self._iterate(matrix, self.n_power_iterations)
        # The graph keeps what this call used, whatever the next one writes there.
        u, v = self._u.clone(), self._v.clone()
        return weight / u.dot(matrix.mv(v))

    def right_inverse(self, value: Any) -> Any:
        return value  # it may already be normalised, and is divided by its own largest singular value in any case


def spectral_norm(
    module: Any, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Any:
    """Keeps the largest singular value of a parameter at 1 (Miyato and others, 2018); returns the module.

    In training each read takes `n_power_iterations` steps of power iteration. dim: which dimension counts as rows: the
    outputs', unless given. A vector is divided by its norm.

    >>> import livegrad
    >>> layer = livegrad.nn.utils.parametrizations.spectral_norm(livegrad.nn.Linear(3, 2), n_power_iterations=30)
    >>> round(livegrad.linalg.matrix_norm(layer.weight, 2).item(), 3)
    1.0
    """
    weight = _tensor_of(module, name)
    if dim is None:
        dim = 1 if isinstance(module, _ConvTransposeNd) else 0
    return parametrize.register_parametrization(module, name, _SpectralNorm(weight, n_power_iterations, dim, eps))
