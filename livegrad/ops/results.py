"""Named results of operators that return several tensors, printed as PyTorch prints them."""

from __future__ import annotations

from collections import namedtuple
from typing import Any


def _named(name: str, fields: str) -> Any:
    made = namedtuple(name, fields)  # type: ignore[misc]

    def text(self: Any) -> str:
        parts = ",\n".join(f"{f}={v!r}" for f, v in zip(self._fields, self))
        return f"torch.return_types.{name}(\n{parts})"

    made.__repr__ = text  # type: ignore[method-assign,assignment]
    return made


Max = _named("max", "values indices")
Min = _named("min", "values indices")
Median = _named("median", "values indices")
Mode = _named("mode", "values indices")
Sort = _named("sort", "values indices")
TopK = _named("topk", "values indices")
KthValue = _named("kthvalue", "values indices")
CumMax = _named("cummax", "values indices")
CumMin = _named("cummin", "values indices")
AMinMax = _named("aminmax", "min max")
