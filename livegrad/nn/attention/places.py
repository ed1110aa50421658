"""A function of single places (batch, head, query, key), at every place at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import livegrad
from livegrad import Tensor


def at_every_place(function: Callable, shape: tuple[int, int, int, int], device: Any, *scores: Tensor) -> Tensor:
    """The tensor of this shape of what a function of numbers makes at each place.

    It is called once, with indices that broadcast against each other; elementwise work, and tables indexed by all their
    dimensions, then give what they give for numbers. A function that indexes a table step by step (``table[b][h]``), or
    branches on a number, does not: it is called for each batch and head, then for each place.
    """
    indices = [
        livegrad.arange(n, device=device).view([-1 if i == d else 1 for i in range(4)]) for d, n in enumerate(shape)
    ]
    try:
        made = function(*scores, *indices)
        if _fits(made.shape, shape):
            return made.expand(shape)
    except (RuntimeError, IndexError, ValueError, TypeError):
        pass  # what a number would not have raised; if it would, it does below
    rows = []
    for b in range(shape[0]):
        for h in range(shape[1]):
            numbers = [[livegrad.tensor(i, device=device) for i in range(n)] for n in shape[2:]]
            here = (indices[0][b, 0, 0, 0], indices[1][0, h, 0, 0])
            rows += [
                function(*(s[b, h, q, k] for s in scores), *here, i, j)
                for q, i in enumerate(numbers[0])
                for k, j in enumerate(numbers[1])
            ]
    return livegrad.stack(rows).view(shape)


def _fits(made: tuple, shape: tuple) -> bool:
    """Whether a shape broadcasts to another."""
    return len(made) <= len(shape) and all(m in (1, n) for m, n in zip(reversed(made), reversed(shape)))


__all__ = ["at_every_place"]
