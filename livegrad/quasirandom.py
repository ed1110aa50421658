"""Points that fill a cube more evenly than random ones do: Sobol's sequence, with PyTorch's numbers."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

import livegrad

from .tensor import Tensor

__all__ = ["SobolEngine"]

_BITS = 30


@functools.cache
def _table() -> tuple[np.ndarray, np.ndarray]:
    """(polynomials, first numbers) of every dimension: the table of Joe and Kuo, which SciPy carries.

    A polynomial over the field of two elements is the number that its coefficients make. Source: S. Joe and F. Y. Kuo,
    Constructing Sobol sequences with better two-dimensional projections, 2008 (new-joe-kuo-6.21201).
    """
    found = importlib.util.find_spec("scipy")
    path = Path(found.origin).parent / "stats" / "_sobol_direction_numbers.npz" if found and found.origin else None
    if path is None or not path.exists():
        raise ImportError(
            "SobolEngine reads the table of direction numbers that comes with SciPy: install scipy (1.7 or newer)"
        )
    with np.load(path) as table:
        return table["poly"].astype(np.int64), table["vinit"].astype(np.int64)


def _directions(dimension: int) -> np.ndarray:
    """What each bit of a point's Gray code adds to a coordinate: (dimension, 30), as whole numbers below 2**30."""
    polynomials, first = _table()
    polynomials, first = polynomials[:dimension], first[:dimension]
    made = np.ones((dimension, _BITS), np.int64)
    degrees = np.array([int(p).bit_length() - 1 for p in polynomials])
    degrees[0] = 0  # the first dimension has no polynomial: its numbers are all ones
    for degree in range(1, degrees.max(initial=0) + 1):
        rows = degrees == degree
        v = made[rows]
        v[:, :degree] = first[rows, :degree]
        p = polynomials[rows]
        for j in range(degree, _BITS):
            v[:, j] = v[:, j - degree]
            for k in range(1, degree + 1):
                v[:, j] ^= ((p >> (degree - k)) & 1) * (v[:, j - k] << k)
        made[rows] = v
    return made << np.arange(_BITS - 1, -1, -1)


def _lowest_zeros(numbers: np.ndarray) -> np.ndarray:
    """The place of the lowest bit of each number that is 0."""
    lowest = ~numbers & (numbers + 1)
    return np.round(np.log2(lowest)).astype(np.int64)


class SobolEngine:
    """Draws points of Sobol's sequence in `dimension` dimensions (1 to 21201), in [0, 1).

    scramble: the digits are mixed by random matrices and shifted (Owen's scrambling, by matrices), which makes the
    points random and keeps them even. seed: what the random matrices come from; without it, the default generator.
    The direction numbers are those of Joe and Kuo; they are read from SciPy, which has to be installed.
    Raises ValueError for a dimension that there is not.
    Source: I. M. Sobol, The distribution of points in a cube, 1967; A. B. Owen, Randomly permuted (t,m,s)-nets, 1995.

    >>> import livegrad
    >>> livegrad.quasirandom.SobolEngine(2).draw(3)
    tensor([[0.0000, 0.0000],
            [0.5000, 0.5000],
            [0.7500, 0.2500]])
    """

    MAXBIT = _BITS
    MAXDIM = 21201

    def __init__(self, dimension: int, scramble: bool = False, seed: int | None = None) -> None:
        if not 1 <= dimension <= self.MAXDIM:
            raise ValueError(
                f"Supported range of dimensionality for SobolEngine is [1, {self.MAXDIM}], but got {dimension}"
            )
        self.seed, self.scramble, self.dimension = seed, scramble, dimension
        self.sobolstate = livegrad.from_numpy(_directions(dimension))
        self.shift = livegrad.zeros(dimension, dtype=livegrad.int64)
        if scramble:
            self._scramble()
        self.quasi = self.shift.clone()  # type: ignore[attr-defined]
        self._first_point = (self.quasi / 2**_BITS).reshape(1, -1)
        self.num_generated = 0

    def _scramble(self) -> None:
        """Multiplies the digits of every direction by a random lower triangle, and draws what is added to them."""
        generator = None
        if self.seed is not None:
            generator = livegrad.Generator()
            generator.manual_seed(self.seed)
        added = livegrad.randint(2, (self.dimension, _BITS), generator=generator)
        self.shift = added @ 2 ** livegrad.arange(_BITS)
        drawn = livegrad.randint(2, (self.dimension, _BITS, _BITS), generator=generator)
        matrices = np.tril(drawn.numpy(), -1) + np.eye(_BITS, dtype=np.int64)  # type: ignore[attr-defined]
        places = np.arange(_BITS - 1, -1, -1)  # of the digits, the highest first, as the matrices have them
        digits = (self.sobolstate.numpy()[:, None, :] >> places[:, None]) & 1  # (dimension, digit, direction)
        mixed = (matrices @ digits) & 1
        self.sobolstate = livegrad.from_numpy((mixed << places[:, None]).sum(1))

    def _next(self, n: int) -> np.ndarray:
        """The n points after the one that `quasi` holds, as whole numbers: (n, dimension)."""
        drawn = self.num_generated - 1  # the first point is the shift alone
        places = _lowest_zeros(np.arange(drawn, drawn + n, dtype=np.int64))
        steps = self.sobolstate.numpy()[:, places].T
        return np.bitwise_xor.accumulate(np.concatenate([self.quasi.numpy()[None], steps]))[1:]

    def draw(self, n: int = 1, out: Tensor | None = None, dtype: Any = None) -> Tensor:
        """The next n points, (n, dimension), in `dtype`, the default one if it is not given.

        out: a tensor that takes the points, and whose shape becomes theirs.
        """
        if n < 0:
            raise RuntimeError(f"draw: the number of points may not be negative, but is {n}")
        dtype = livegrad.get_default_dtype() if dtype is None else dtype
        points = np.zeros((0, self.dimension), np.int64)
        ahead = n
        if n and not self.num_generated:
            points, ahead, self.num_generated = self.quasi.numpy()[None].copy(), n - 1, 1
        if ahead:
            points = np.concatenate([points, self._next(ahead)])
            self.quasi = livegrad.from_numpy(points[-1].copy())
            self.num_generated += ahead
        made = livegrad.from_numpy(points).to(dtype) * 2.0**-_BITS
        if out is None:
            return made
        return out.resize_(made.shape).copy_(made)  # type: ignore[attr-defined]

    def draw_base2(self, m: int, out: Tensor | None = None, dtype: Any = None) -> Tensor:
        """The next 2**m points. Raises ValueError where that does not make 2**k points in all, which are balanced."""
        n = 2**m
        total = self.num_generated + n
        if m < 0 or total & (total - 1):
            raise ValueError(
                "The balance properties of Sobol' points require n to be a power of 2. "
                f"{self.num_generated} points have been previously generated, then: n={self.num_generated}+2**{m}="
                f"{total}. If you still want to do this, please use 'SobolEngine.draw()' instead."
            )
        return self.draw(n, out, dtype)

    def reset(self) -> SobolEngine:
        """Begins again with the first point."""
        self.quasi = self.shift.clone()  # type: ignore[attr-defined]
        self.num_generated = 0
        return self

    def fast_forward(self, n: int) -> SobolEngine:
        """Leaves out n points."""
        self.draw(n)
        return self

    def __repr__(self) -> str:
        text = f"dimension={self.dimension}"
        if self.scramble:
            text += ", scramble=True"
        if self.seed is not None:
            text += f", seed={self.seed}"
        return f"SobolEngine({text})"
