"""Named results of operators that return several tensors, printed as PyTorch prints them."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

BY_NAME: dict[str, Any] = {}


def named(name: str, fields: str) -> Any:
    made = namedtuple(name, fields)  # type: ignore[misc]

    def text(self: Any) -> str:
        parts = ",\n".join(f"{f}={v!r}" for f, v in zip(self._fields, self))
        return f"torch.return_types.{name}(\n{parts})"

    made.__repr__ = text  # type: ignore[method-assign,assignment]
    made.__module__ = "livegrad.return_types"  # where pickles look it up
    BY_NAME[name] = made
    return made


Max = named("max", "values indices")
Min = named("min", "values indices")
Median = named("median", "values indices")
NanMedian = named("nanmedian", "values indices")
Mode = named("mode", "values indices")
Sort = named("sort", "values indices")
TopK = named("topk", "values indices")
KthValue = named("kthvalue", "values indices")
CumMax = named("cummax", "values indices")
CumMin = named("cummin", "values indices")
AMinMax = named("aminmax", "min max")
