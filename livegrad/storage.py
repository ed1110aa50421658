"""``torch.storage``: the names of `storages` under which libraries import them."""

from __future__ import annotations

import io
from typing import Any

from .storages import TypedStorage, UntypedStorage

__all__ = ["TypedStorage", "UntypedStorage"]


def _load_from_bytes(b: bytes) -> Any:
    """A storage from what pickles hold of it: PyTorch's tensors are pickled so when it is not `save` that does it."""
    from . import dtypes
    from .from_data import frombuffer
    from .serialization import load

    found = load(io.BytesIO(b), weights_only=False)
    return frombuffer(bytearray(found.data), dtype=dtypes.BY_NAME[found.dtype]).storage()
