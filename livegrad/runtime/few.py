"""What is found among a few Python numbers, without NumPy's arrays."""

from __future__ import annotations

from collections.abc import Sequence

from ..native import hot


@hot
def place_of_extreme(few: Sequence, largest: bool) -> int:
    """The index of the first extreme among a few Python numbers; NaN counts as extreme."""
    best = few[0]
    place = 0
    for k, x in enumerate(few):
        if best != best:
            break
        if x != x or (x > best if largest else x < best):
            best = x
            place = k
    return place
