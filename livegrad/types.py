"""Types for annotations, under PyTorch's names."""

from __future__ import annotations

import builtins
import os
from collections.abc import Sequence
from typing import Any, TypeAlias

from .devices import device
from .dtypes import Size, dtype
from .tensor import Tensor

__all__ = ["Device", "FileLike", "Number", "Storage"]

Number: TypeAlias = builtins.int | builtins.float | builtins.bool
Device: TypeAlias = device | str | builtins.int | None
FileLike: TypeAlias = str | os.PathLike
Storage: TypeAlias = Any
_TensorOrTensors: TypeAlias = Tensor | Sequence[Tensor]
_dtype, _device, _size = dtype, device, Size | list[builtins.int] | tuple[builtins.int, ...]
_int, _float, _bool = builtins.int, builtins.float, builtins.bool
