"""Under which names the library's classes and functions stand in PyTorch's files: PyTorch's.

A pickle names classes and functions by their module. So that a file can be read by both libraries, ours are written as
``torch.nn.modules.linear.Linear`` and looked up here as ``livegrad.nn.modules.linear.Linear``.
"""

from __future__ import annotations

import importlib
import pickle
from typing import Any

from .objects import library

__all__ = ["NAME", "find", "torch_name"]

NAME = "torch"
_FUNCTIONAL = "nn.functional"
_LAYERS = "nn.modules"


def _home(module: str, name: str) -> str:
    """The module, without the library's name, where PyTorch has a class of ours."""
    if name == "MultiheadAttention":
        return f".{_LAYERS}.activation"
    if module == f".{_LAYERS}.lazy":
        kinds = {"Conv": "conv", "BatchNorm": "batchnorm", "InstanceNorm": "instancenorm", "Linear": "linear"}
        return f".{_LAYERS}." + next((home for kind, home in kinds.items() if kind in name), "lazy")
    return {".nn.module": f".{_LAYERS}.module", ".tensor": "", ".dtypes": ""}.get(module, module)


def torch_name(obj: Any) -> tuple[str, str] | None:
    """PyTorch's module and name of one of the library's classes or functions; None for others."""
    own = library().__name__
    module, name = getattr(obj, "__module__", None) or "", getattr(obj, "__qualname__", None) or ""
    if module == f"{own}.native.originals":  # the Python form of a function, held since before there was a compiled one
        module, _, path = name.partition(":")
        module, name = module.replace("/", "."), path.replace("/", ".")
    if module.partition(".")[0] != own or not name:
        return None
    if isinstance(obj, type):
        return NAME + _home(module[len(own) :], name), name
    if module.startswith(f"{own}.{_FUNCTIONAL}") and hasattr(library().nn.functional, name):
        return f"{NAME}.{_FUNCTIONAL}", name
    if hasattr(library(), name):
        return NAME, name
    return NAME + module[len(own) :], name


def find(module: str, name: str) -> Any:
    """The library's class or function of that name in PyTorch's files.

    Raises ``pickle.UnpicklingError`` where there is none.
    """
    own = library().__name__
    if module == f"{NAME}._C._nn":  # where some of nn.functional's functions live
        module = f"{NAME}.{_FUNCTIONAL}"
    if module.startswith(f"{NAME}._C"):
        module = NAME
    home = own + module[len(NAME) :]
    while True:  # a class that PyTorch has in a file of its own stands in the package around that
        try:
            found: Any = importlib.import_module(home)
            for part in name.split("."):
                found = getattr(found, part)
            return found
        except (ImportError, AttributeError):
            home = home.rpartition(".")[0]
            if not home:
                raise pickle.UnpicklingError(f"it holds {module}.{name}, which livegrad has not") from None
