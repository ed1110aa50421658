"""Samples of the operators: for each name the calls that its tests are made from.

A sample is (arguments, keyword arguments). float64 arrays in it are data, converted to every dtype that is tested;
other arrays are indices and masks and stay as they are. Elementwise operators declared by a formula need none: their
operands follow from the number of arguments and from the entry's domain.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import livegrad.nn.functional  # noqa: F401  (its activations and losses are entries too)
import livegrad.special  # noqa: F401  (as are special functions)
from livegrad.ops.registry import FUNCTIONS, REGISTRY, Entry

_seeds = np.random.SeedSequence(20240701)


def data(*shape: int, low: float = -3.0, high: float = 3.0, seed: int = 0) -> np.ndarray:
    """Distinct numbers in random order, so that no two elements tie and none is close to zero by chance."""
    n = int(np.prod(shape))
    rng = np.random.default_rng(seed + n)
    values = low + (high - low) * (np.arange(n) + 0.5 + 0.3 * rng.uniform(-1, 1, n)) / max(n, 1)
    return rng.permutation(values).reshape(shape)


def ints(values: Any) -> np.ndarray:
    return np.array(values, np.int64)


def call(*args: Any, **kwargs: Any) -> tuple:
    return args, kwargs


MASK = np.array([[True, False, True], [False, False, True]])
X = data(2, 3)
Y = data(2, 3, seed=5)
POSITIVE = data(2, 3, low=0.2, high=3.0, seed=3)
UNIT = data(2, 3, low=0.1, high=0.9, seed=4)
CUBE = data(2, 3, 4)
VECTOR = data(3)
SCALAR = data()

# --- elementwise operators whose arguments need arranging -------------------------------------------------------

SAMPLES: dict[str, list] = {
    "add": [call(X, Y), call(X, 2), call(X, Y, alpha=2), call(X, VECTOR), call(X, 1.5), call(X, SCALAR)],
    "sub": [call(X, Y), call(X, 2), call(X, Y, alpha=2), call(VECTOR, X)],
    "rsub": [call(X, Y), call(X, 2), call(X, Y, alpha=2), call(X, 2, alpha=1.5)],
    "div": [call(X, POSITIVE), call(X, 2), call(X, VECTOR), call(X, POSITIVE, rounding_mode="floor"),
            call(X, POSITIVE, rounding_mode="trunc"), call(X, 2, rounding_mode="trunc")],
    "pow": [call(POSITIVE, Y), call(POSITIVE, 2), call(X, 2), call(X, 3), call(POSITIVE, 0.5), call(POSITIVE, -0.5),
            call(POSITIVE, -1), call(POSITIVE, -2.0), call(POSITIVE, 2.5), call(X, 0), call(X, 1), call(2.0, X),
            call(3, POSITIVE)],
    "floor_divide": [call(X, POSITIVE), call(X, 2), call(X, 1.5)],
    "remainder": [call(X, POSITIVE), call(X, 2), call(X, 1.5), call(X, -2), call(7, POSITIVE)],
    "fmod": [call(X, POSITIVE), call(X, 2), call(X, 1.5), call(X, -2)],
    "addcmul": [call(X, Y, POSITIVE), call(X, Y, POSITIVE, value=2), call(X, VECTOR, SCALAR)],
    "addcdiv": [call(X, Y, POSITIVE), call(X, Y, POSITIVE, value=2)],
    "lerp": [call(X, Y, 0.25), call(X, Y, 0.75), call(X, Y, UNIT)],
    "round": [call(X), call(X, decimals=1), call(X, decimals=-1)],
    "logit": [call(UNIT), call(X, eps=0.1), call(UNIT, 0.2)],
    "clamp_min": [call(X, -1), call(X, 0.5), call(X, Y), call(X, Y[0]), call(X, min=Y)],
    "clamp_max": [call(X, 1), call(X, 0.5), call(X, Y), call(X, Y[0]), call(X, max=Y)],
    "clamp": [call(X, -1, 1), call(X, min=-1), call(X, max=1.0), call(X, -1.5, 1), call(X, Y, POSITIVE),
              call(X, max=VECTOR), call(X, 1, -1)],
    "masked_fill": [call(X, MASK, 2), call(X, MASK, SCALAR), call(X, MASK[:, :1], 0), call(VECTOR, MASK, 1)],
}  # fmt: skip

# --- reductions -------------------------------------------------------------------------------------------------

_DIMS = [call(X), call(CUBE, 1), call(CUBE, -1, True), call(CUBE, 0), call(SCALAR)]
_MANY_DIMS = [*_DIMS, call(CUBE, (0, 2)), call(CUBE, dim=(1, 2), keepdim=True), call(SCALAR, 0)]
SAMPLES |= {
    "sum": [*_MANY_DIMS, call(X, axis=1), call(data(0, 3)), call(data(0, 3), 0)],
    "mean": [*_MANY_DIMS, call(data(0, 3)), call(data(0, 3), 0)],
    "prod": [*_DIMS, call(data(0, 3)), call(data(0, 3), 0)],
    "amax": _MANY_DIMS,
    "amin": _MANY_DIMS,
    "aminmax": [call(X), call(CUBE, dim=1), call(CUBE, dim=0, keepdim=True)],
    "argmax": [*_DIMS, call(SCALAR, 0)],
    "argmin": [*_DIMS, call(SCALAR, 0)],
    "max": [*_DIMS, call(X, Y), call(SCALAR, 0)],
    "min": [*_DIMS, call(X, Y)],
    "all": [*_DIMS, call(CUBE, (0, 2)), call(data(0, 3))],
    "any": [*_DIMS, call(CUBE, (0, 2)), call(data(0, 3))],
    "count_nonzero": [call(X), call(CUBE, 1), call(CUBE, (0, 2))],
    "var": [*_MANY_DIMS, call(CUBE, 1, False), call(X, unbiased=False), call(CUBE, 2, correction=2), call(X, False),
            call(data(0, 3)), call(data(1, 3), 0)],
    "std": [*_MANY_DIMS, call(CUBE, 1, False), call(X, unbiased=False), call(CUBE, 2, correction=2),
            call(data(0, 3)), call(data(1, 3), 0)],
    "var_mean": [call(X), call(CUBE, 1), call(CUBE, (0, 2), keepdim=True)],
    "std_mean": [call(X), call(CUBE, 1), call(CUBE, (0, 2), correction=0)],
    "logsumexp": [call(X, 0), call(CUBE, (0, 2)), call(CUBE, -1, True), call(SCALAR, 0), call(data(0, 3), 0)],
    "norm": [call(X), call(CUBE, 2, 1), call(CUBE, 1, (0, 2)), call(X, float("inf")), call(X, float("-inf")),
             call(X, 3), call(CUBE, 2, -1, True), call(X, 0), call(X, 0.5, 1)],
    "softmax": [call(X, 1), call(CUBE, 0), call(CUBE, -1), call(SCALAR, 0), call(data(0, 3), 1)],
    "log_softmax": [call(X, 1), call(CUBE, 0), call(CUBE, -1), call(SCALAR, 0), call(data(0, 3), 1)],
}  # fmt: skip

# --- views ------------------------------------------------------------------------------------------------------

SAMPLES |= {
    "view": [call(CUBE, 6, 4), call(CUBE, -1), call(CUBE, (2, 12)), call(SCALAR, 1), call(data(0, 3), 3, 0)],
    "reshape": [call(CUBE, (6, 4)), call(CUBE, (-1,)), call(SCALAR, (1, 1)), call(data(0, 3), (0,))],
    "view_as": [call(X, data(3, 2))],
    "reshape_as": [call(X, data(3, 2))],
    "flatten": [call(CUBE), call(CUBE, 1), call(CUBE, 0, 1), call(SCALAR)],
    "ravel": [call(CUBE), call(SCALAR), call(data(0, 3))],
    "unflatten": [call(CUBE, 2, (2, 2)), call(CUBE, -1, (-1, 2))],
    "permute": [call(CUBE, (2, 0, 1)), call(CUBE, (-1, 0, 1)), call(SCALAR, ())],
    "transpose": [call(CUBE, 0, 2), call(X, -1, 0), call(SCALAR, 0, 0)],
    "t": [call(X), call(VECTOR), call(SCALAR)],
    "movedim": [call(CUBE, 0, 2), call(CUBE, (0, 1), (2, 0))],
    "squeeze": [call(data(1, 3, 1)), call(data(1, 3, 1), 0), call(X, 0), call(data(1, 3, 1), (0, 2)), call(SCALAR)],
    "unsqueeze": [call(X, 0), call(X, -1), call(SCALAR, 0)],
    "expand": [call(data(3, 1), 2, 3, 4), call(data(3, 1), -1, 4), call(SCALAR, (2, 2))],
    "expand_as": [call(data(3, 1), data(2, 3, 4))],
    "broadcast_to": [call(data(3, 1), (2, 3, 4))],
    "select": [call(CUBE, 1, 2), call(CUBE, -1, -1)],
    "narrow": [call(CUBE, 2, 1, 2), call(CUBE, 1, -2, 2), call(CUBE, 0, 2, 0)],
    "diagonal": [call(X), call(CUBE, 1), call(CUBE, -1, 1, 2), call(X, 5)],
    "unfold": [call(data(7), 0, 3, 2), call(CUBE, 2, 2, 1), call(SCALAR, 0, 1, 1)],
    "as_strided": [call(CUBE, (2, 2), (1, 2)), call(CUBE, (2, 3), (0, 1), 2)],
    "split": [call(CUBE, 2, 1), call(CUBE, [1, 3], 2), call(VECTOR, 2)],
    "split_with_sizes": [call(CUBE, [1, 3], 2)],
    "chunk": [call(CUBE, 2, 2), call(VECTOR, 5), call(data(7), 3)],
    "tensor_split": [call(data(7), 3), call(CUBE, [1, 2], 1), call(CUBE, (1,), 2)],
    "unbind": [call(CUBE, 1), call(VECTOR)],
    "tile": [call(X, (2,)), call(X, (2, 1, 2)), call(VECTOR, (2, 2))],
}

# --- indexing, joining, order -----------------------------------------------------------------------------------

_INDEX = ints([[0, 1, 1], [1, 0, 1]])
SAMPLES |= {
    "clone": [call(X), call(SCALAR), call(data(0, 3))],
    "gather": [call(X, 0, _INDEX), call(X, 1, ints([[2], [0]])), call(SCALAR, 0, ints(0))],
    "scatter": [call(X, 0, _INDEX[:, :2] * 0 + ints([[0, 1], [1, 0]]), Y), call(X, 1, ints([[2], [0]]), 5),
                call(X, 1, ints([[2], [0]]), value=3)],
    "scatter_add": [call(X, 0, _INDEX, Y), call(X, 1, ints([[2, 2], [0, 1]]), Y)],
    "index_put": [call(X, (ints([0, 1]), ints([2, 2])), data(2)),
                  call(X, (ints([0, 0]), ints([2, 2])), data(2), accumulate=True), call(X, (ints([0, 0]),), VECTOR, True)],
    "take_along_dim": [call(X, ints([[0], [1]]), 1), call(X, ints([5, 0]))],
    "index_select": [call(X, 1, ints([2, 0, 2])), call(CUBE, -2, ints([1])), call(X, 0, ints([]))],
    "index_add": [call(X, 1, ints([2, 0]), data(2, 2)), call(X, 0, ints([1, 1]), Y), call(X, 0, ints([1]), data(1, 3), alpha=2)],
    "index_copy": [call(X, 1, ints([2, 0]), data(2, 2))],
    "index_fill": [call(X, 1, ints([2, 0]), 4)],
    "masked_select": [call(X, MASK), call(X, MASK[:1])],
    "masked_scatter": [call(X, MASK, Y)],
    "take": [call(X, ints([[5, 0], [1, 1]]))],
    "nonzero": [call(X), call(SCALAR), call(X, as_tuple=True)],
    "argwhere": [call(X)],
    "nonzero_static": [call(X, size=3), call(X, size=9, fill_value=7)],
    "repeat_interleave": [call(X, 2), call(X, 2, 1), call(X, ints([1, 0, 2]), 1)],
    "flip": [call(CUBE, (0, 2)), call(X, (1,)), call(data(0, 3), (0,))],
    "roll": [call(X, 1), call(X, 1, 1), call(CUBE, (1, -2), (0, 2))],
    "tril": [call(X), call(data(3, 3), -1), call(CUBE, 1)],
    "triu": [call(X), call(data(3, 3), -1), call(CUBE, 1)],
    "diag": [call(VECTOR), call(VECTOR, 1), call(X), call(X, -1)],
    "diag_embed": [call(X), call(VECTOR, -1)],
    "sort": [call(X), call(CUBE, 1), call(CUBE, 0, True), call(SCALAR), call(data(0, 3), 0)],
    "argsort": [call(X), call(CUBE, 1, True)],
    "topk": [call(X, 2), call(CUBE, 1, 0, False), call(SCALAR, 1)],
    "kthvalue": [call(X, 2), call(CUBE, 1, 1, True)],
    "median": [call(X), call(CUBE, 1), call(data(4)), call(X, 1, True), call(SCALAR)],
    "bincount": [call(ints([0, 3, 1, 3])), call(ints([0, 1, 1]), minlength=5), call(ints([0, 1, 1]), np.array([1., 2, 4], np.float32))],
    "cumsum": [call(X, 0), call(CUBE, -1), call(SCALAR, 0), call(data(0, 3), 0)],
    "cumprod": [call(X, 0), call(CUBE, -1), call(SCALAR, 0)],
    "logcumsumexp": [call(X, 0), call(CUBE, -1), call(SCALAR, 0)],
    "cummax": [call(X, 0), call(CUBE, -1), call(SCALAR, 0)],
    "cummin": [call(X, 0), call(CUBE, -1)],
    "cat": [call([X, Y]), call([X, data(2, 1)], 1), call([X, data(0)]), call((CUBE, CUBE), dim=-1)],
    "stack": [call([X, Y]), call([X, Y], -1), call([SCALAR, SCALAR])],
    "vstack": [call([X, VECTOR])],
    "hstack": [call([VECTOR, VECTOR]), call([X, Y])],
    "where": [call(MASK, X, Y), call(MASK, X, 1.0), call(MASK, 0, X), call(MASK, VECTOR, SCALAR)],
    "unique": [call(X), call(ints([3, 1, 3]), return_inverse=True, return_counts=True)],
    "searchsorted": [call(np.sort(data(5)), X), call(np.sort(data(5)), X, right=True),
                     call(np.sort(CUBE), CUBE[:, :, :2].copy(), side="right")],
    "bucketize": [call(X, np.sort(data(5)))],
    "histc": [call(X, 4), call(X, 5, -2, 2)],
}  # fmt: skip

# --- products, composites ---------------------------------------------------------------------------------------

_SQUARE = data(3, 3)
SAMPLES |= {
    "matmul": [call(X, data(3, 4)), call(VECTOR, VECTOR), call(X, VECTOR), call(data(2), X), call(CUBE, data(4, 2)),
               call(CUBE, data(2, 4, 3)), call(data(2, 1, 2, 3), data(4, 3, 2)), call(VECTOR, data(2, 3, 2)),
               call(CUBE, data(4)), call(data(0, 3), data(3, 2)), call(data(2, 0), data(0, 3))],
    "mm": [call(X, data(3, 4))],
    "bmm": [call(CUBE, data(2, 4, 3))],
    "mv": [call(X, VECTOR)],
    "dot": [call(VECTOR, data(3, seed=1))],
    "addmm": [call(data(2, 4), X, data(3, 4)), call(data(4), X, data(3, 4), beta=2, alpha=3),
              call(data(2, 4), X, data(3, 4), beta=0)],
    "addmv": [call(data(2), X, VECTOR), call(data(2), X, VECTOR, beta=2, alpha=3)],
    "baddbmm": [call(data(2, 3, 3), CUBE, data(2, 4, 3)), call(data(2, 3, 3), CUBE, data(2, 4, 3), beta=2, alpha=3)],
    "outer": [call(VECTOR, data(2))],
    "inner": [call(X, VECTOR), call(X, Y), call(SCALAR, X)],
    "tensordot": [call(CUBE, data(3, 4, 2), 2), call(CUBE, data(4, 3), ([1, 2], [1, 0]))],
    "isclose": [call(X, Y), call(X, X), call(X, Y, 0.5, 0.1)],
    "allclose": [call(X, Y), call(X, X)],
    "equal": [call(X, Y), call(X, X), call(X, VECTOR)],
    "nan_to_num": [call(X), call(X, 1.0), call(np.array([np.nan, np.inf, -np.inf, 1.0])),
                   call(np.array([np.nan, np.inf, -np.inf, 1.0]), 1.0, 2.0, 3.0)],
    "diff": [call(X), call(CUBE, 2, 1), call(CUBE, 1, 0)],
    "trace": [call(X)],
    "cov": [call(X), call(X, correction=0), call(VECTOR)],
    "cross": [call(X, Y), call(VECTOR, VECTOR[::-1].copy())],
    "dist": [call(X, Y), call(X, Y, 1)],
    "renorm": [call(X, 2, 0, 1.5)],
    "quantile": [call(X, 0.4), call(X, 0.4, 1), call(CUBE, np.array([0.1, 0.6]), 1, True),
                 call(X, 0.3, interpolation="nearest"), call(X, 0.3, interpolation="lower")],
    "einsum": [call("ij,jk->ik", X, data(3, 4)), call("ij->ji", X), call("ii->", _SQUARE), call("ij,ij->", X, Y),
               call("bij,bjk->bik", CUBE, data(2, 4, 3)), call("...ij,j->...i", CUBE, data(4)), call("ij,j", X, VECTOR),
               call("ii->i", _SQUARE), call("i,j->ij", VECTOR, data(2)), call("bi,bj,bk->ijk", X, Y, X)],
    "cdist": [call(X, data(4, 3)), call(X, data(4, 3), 1.0)],
    "broadcast_tensors": [call(X, VECTOR)],
    "column_stack": [call([VECTOR, X.T.copy()])],
    "atleast_1d": [call(SCALAR), call(X)],
    "atleast_2d": [call(SCALAR), call(VECTOR)],
}  # fmt: skip

# Functions of the package that are tested by other names, or that are no operators on data.
ALIASES = {
    "swapaxes", "swapdims", "moveaxis", "multiply", "divide", "true_divide", "negative", "absolute", "arctan2", "arcsin",
    "arccos", "arctan", "arcsinh", "arccosh", "arctanh", "fix", "not_equal", "less", "less_equal", "greater",
    "greater_equal", "subtract", "clip", "concat", "concatenate", "row_stack", "ger",
}  # fmt: skip
NO_DATA = {
    "is_complex",
    "is_nonzero",
    "conj",
    "resolve_conj",
    "resolve_neg",
    "broadcast_shapes",
    "numel",
    "is_tensor",
    "is_floating_point",
    "result_type",
    "can_cast",
    # Tested one by one in test_ops_scatter.py:
    "slogdet", "cholesky", "cholesky_solve", "cholesky_inverse", "pinverse", "qr", "svd", "matrix_power", "matrix_exp", "orgqr", "addr",
    "addbmm", "trapezoid", "trapz", "cumulative_trapezoid", "vander", "hsplit", "vsplit", "dsplit", "dstack",
    "block_diag", "chain_matmul", "cartesian_prod", "combinations", "index_reduce", "put", "mode", "unique_consecutive",
    "gcd", "lcm", "heaviside", "nextafter",
    # In tests/complex:
    "view_as_real", "view_as_complex", "imag", "complex", "polar", "conj_physical", "is_conj", "is_neg",
    # In test_ops_edges.py and test_special.py:
    "is_same_size", "fill", "atleast_3d", "unravel_index", "gradient", "real", "isreal", "frexp", "polygamma",
    "mvlgamma", "i0", "detach", "is_signed", "is_inference", "narrow_copy", "get_device",
    *(name for name in FUNCTIONS if name.endswith("_")), "select_scatter", "slice_scatter", "diagonal_scatter",
    # In test_view_copies.py and test_histograms.py:
    *(name for name in FUNCTIONS if name.endswith("_copy") and name != "index_copy"), "as_strided_scatter",
    "unsafe_chunk", "unsafe_split", "unsafe_split_with_sizes", "histogram", "histogramdd",
}  # fmt: skip

# --- what follows from the entries ------------------------------------------------------------------------------


class Case:
    """An operator under test: its name, its functions here and in PyTorch, its samples."""

    def __init__(self, name: str, entry: Entry | None):
        self.name = name
        self.entry = entry
        self.function = entry.function if entry is not None else FUNCTIONS[name]
        self.formula = entry.op if entry is not None and entry.kind == "elementwise" else None

    def __repr__(self) -> str:
        return self.name

    @property
    def torch_function(self) -> Any:
        """PyTorch's function, or None where it has none by that name."""
        import torch

        path = self.name if self.entry is None else self.entry.reference
        if not path:
            return None
        found: Any = torch
        for part in path.split("."):
            found = getattr(found, part, None) or getattr(torch.Tensor, part, None)
            if found is None:
                return None
        return found

    def samples(self) -> list:
        stated = self.entry.samples if self.entry is not None else None
        if stated is not None:
            return list(stated())
        if self.name in SAMPLES:
            return SAMPLES[self.name]
        return self._from_formula() if self.formula is not None else []

    def _from_formula(self) -> list:
        low, high = self.entry.domain
        names = self.formula.names

        def operand(k: int, *shape: int) -> np.ndarray:
            if names[k] == "condition":
                return np.resize(np.array([True, False, False, True, True]), shape)
            return data(*shape, low=low, high=high, seed=k)

        n = len(names)
        found = [call(*[operand(k, 2, 3) for k in range(n)]), call(*[operand(k) for k in range(n)]),
                 call(*[operand(k, 0, 3) for k in range(n)])]  # fmt: skip
        if n == 2:
            found += [call(operand(0, 2, 3), operand(1, 3)), call(operand(0, 2, 1), operand(1, 3)),
                      call(operand(0, 3), operand(1)), call(operand(0, 2, 3), 2), call(operand(0, 2, 3), 1.5)]  # fmt: skip
        elif n == 3:
            found += [
                call(operand(0, 2, 3), operand(1, 3), operand(2, 2, 1)),
                call(operand(0, 2, 3), operand(1, 2, 3), 2),
            ]
        return found


def all_cases() -> list[Case]:
    found = [Case(name, entry) for name, entry in REGISTRY.items()]
    found += [Case(name, None) for name in FUNCTIONS if name not in REGISTRY and name not in ALIASES | NO_DATA]
    return found


CASES = {c.name: c for c in all_cases()}
FORMULAS = [n for n, c in CASES.items() if c.formula is not None]
