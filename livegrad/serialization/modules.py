"""Whole modules: their class by name and their attributes, as a pickle whose tensors lie outside it.

A pickle is code that loading runs. So this is written for modules alone, and read only for a caller who says that the
file is trusted (``weights_only=False``); `objects` and plain containers never need it.
"""

from __future__ import annotations

import base64
import importlib
import io
import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from .objects import kind_of, library
from .safe import safe_class

__all__ = ["encode_module", "is_module", "restore_module"]


def named_function(module: str, name: str) -> Any:
    """A function of the library. By name: the compiled form of one may have taken its place meanwhile."""
    if module.partition(".")[0] != library().__name__:
        raise pickle.UnpicklingError(f"{module}.{name} is no function of {library().__name__}")
    return getattr(importlib.import_module(module), name)


def _is_own_function(obj: Any) -> bool:
    if obj is named_function or isinstance(obj, type) or not callable(obj) or not hasattr(obj, "__name__"):
        return False
    module = getattr(obj, "__module__", None) or ""
    return module.partition(".")[0] == library().__name__ and hasattr(importlib.import_module(module), obj.__name__)


def _harmless(found: Any) -> bool:
    """Whether the library's own layers are made of it, or plain containers."""
    if found in (dict, list, set, frozenset, tuple, slice, OrderedDict, named_function):
        return True
    own = isinstance(found, type) and found.__module__.partition(".")[0] == library().__name__
    return own and issubclass(found, library().nn.Module)


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
        def reducer_override(self, obj: Any) -> Any:
            return (named_function, (obj.__module__, obj.__name__)) if _is_own_function(obj) else NotImplemented

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
    return {"module": text, "tensors": outside}


def restore_module(text: str, tensors: list, only_safe: bool) -> Any:
    """The module again. Runs what the file says; raises what importing its classes raises.

    only_safe: raise ``pickle.UnpicklingError`` for what is not the library's own and was not added as safe.
    """

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            if only_safe:
                safe = safe_class(module, name)
                if safe is not None:
                    return safe
                if module.partition(".")[0] not in (library().__name__, "builtins", "collections"):
                    raise pickle.UnpicklingError(_refusal(f"{module}.{name}"))
            found = super().find_class(module, name)
            if only_safe and not _harmless(found):
                raise pickle.UnpicklingError(_refusal(f"{module}.{name}"))
            return found

        def persistent_load(self, pid: Any) -> Any:
            return tensors[pid]

    return Unpickler(io.BytesIO(base64.b64decode(text, validate=True))).load()


def _refusal(name: str) -> str:
    return (
        f"Weights only load failed: the file holds a whole module with {name}, and making it again runs what the file "
        "says. If you trust where the file is from, pass weights_only=False, or name what it may use with "
        "livegrad.serialization.add_safe_globals; or save the module's state_dict() instead"
    )
