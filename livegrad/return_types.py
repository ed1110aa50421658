"""The classes of results of several tensors, under their operators' names.

>>> import livegrad
>>> isinstance(livegrad.ones(2, 2).max(0), livegrad.return_types.max)
True
"""

from __future__ import annotations

from .ops.results import BY_NAME

all_return_types = list(BY_NAME.values())
globals().update(BY_NAME)
__all__ = ["all_return_types", *BY_NAME]  # noqa: PLE0605
