"""Whole modules: their class by name and their attributes, as a pickle whose tensors lie outside it.

A pickle is code that loading runs. So this is written for modules alone, and read only for a caller who says that the
file is trusted (``weights_only=False``); `objects` and plain containers never need it.
"""

from __future__ import annotations

import base64
import io
import pickle
from collections.abc import Callable
from typing import Any

from .objects import kind_of, library

__all__ = ["encode_module", "is_module", "restore_module"]


def is_module(obj: Any) -> bool:
    """Whether an object is an `nn.Module`."""
    return isinstance(obj, library().nn.Module)


def encode_module(module: Any, encode: Callable[[Any, str], Any], path: str) -> dict:
    """The description of a module. `encode` describes each tensor, which it gets with a name.

    Raises TypeError, naming the module, where something in it cannot be pickled.
    """
    named = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    names = {id(t): name for name, t in named}
    outside: list[Any] = []

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: Any) -> int | None:
            if kind_of(obj) is None:
                return None
            outside.append(encode(obj, names.get(id(obj), f"tensor{len(outside)}")))
            return len(outside) - 1

    file = io.BytesIO()
    try:
        Pickler(file, protocol=4).dump(module)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise TypeError(
            f"cannot save {path}: a module is saved as the name of its class and its attributes, and this "
            f"{type(module).__name__} cannot be ({error}). Save its state_dict() instead"
        ) from error
    text = base64.b64encode(file.getvalue()).decode("ascii")
    return {"module": text, "class": f"{type(module).__module__}.{type(module).__qualname__}", "tensors": outside}


def restore_module(text: str, tensors: list) -> Any:
    """The module again. Runs what the file says; raises what importing its classes raises."""

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, pid: Any) -> Any:
            return tensors[pid]

    return Unpickler(io.BytesIO(base64.b64decode(text, validate=True))).load()
