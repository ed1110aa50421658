"""Linear algebra: solving, decompositions and norms, through the backend's LAPACK.

All but `matrix_rank` are differentiable, where their results are smooth functions of what they are of.
"""

from __future__ import annotations

from ..native.holding import public as _are_public
from ..ops.decompositions import LinAlgError
from ..ops.registry import FUNCTIONS
from .elimination import lu, lu_factor, lu_factor_ex, lu_solve
from .factors import cholesky, cholesky_ex, eig, eigh, eigvals, eigvalsh, householder_product, qr, svd, svdvals
from .inexact import lstsq, matrix_rank, pinv
from .norms import cond, matrix_norm, norm, vector_norm
from .powers import cross, diagonal, matrix_exp, matrix_power, multi_dot, vander, vecdot
from .solving import det, inv, inv_ex, slogdet, solve, solve_ex, solve_triangular, tensorinv, tensorsolve
from .symmetric import ldl_factor, ldl_factor_ex, ldl_solve

matmul = FUNCTIONS["matmul"]  # the same function under both names

__all__ = [
    "LinAlgError", "cholesky", "cholesky_ex", "cond", "cross", "det", "diagonal", "eig", "eigh", "eigvals",
    "eigvalsh", "householder_product", "inv", "inv_ex", "ldl_factor", "ldl_factor_ex", "ldl_solve", "lstsq", "lu",
    "lu_factor", "lu_factor_ex", "lu_solve", "matmul", "matrix_exp", "matrix_norm", "matrix_power", "matrix_rank",
    "multi_dot", "norm", "pinv", "qr", "slogdet", "solve", "solve_ex", "solve_triangular", "svd", "svdvals",
    "tensorinv", "tensorsolve", "vander", "vecdot", "vector_norm",
]  # fmt: skip

_are_public(globals())
