"""Neighbouring whole numbers, so many for each row."""

from __future__ import annotations

import numpy as np


def ranges(firsts: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(rows, numbers): for each row its first number and those that follow, as many as it counts.

    >>> [part.tolist() for part in ranges(np.array([5, 0, 7]), np.array([2, 0, 3]))]
    [[0, 0, 2, 2, 2], [5, 6, 7, 8, 9]]
    """
    rows = np.repeat(np.arange(len(counts)), counts)
    before = np.cumsum(counts) - counts
    return rows, np.arange(len(rows)) + np.repeat(firsts - before, counts)
