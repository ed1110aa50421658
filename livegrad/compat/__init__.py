"""Running PyTorch programs unchanged: after `install()`, ``import torch`` gives livegrad.

``livegrad run program.py`` does it for a whole program. Names that livegrad does not have are missing from ``torch``
too: importing or using them raises the usual error.

>>> import livegrad.compat
>>> livegrad.compat.install()
>>> import torch.nn.functional as F
>>> F is livegrad.nn.functional
True
>>> livegrad.compat.uninstall()
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
from types import ModuleType
from typing import Any

NAME, OWN = "torch", "livegrad"


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds ``torch.x`` as the module ``livegrad.x`` itself, so that each thing exists once under both names."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        top, _, rest = fullname.partition(".")
        if top != NAME:
            return None
        own = f"{OWN}.{rest}" if rest else OWN
        try:
            module = importlib.import_module(own)
        except ModuleNotFoundError as missing:
            if missing.name is not None and (own == missing.name or own.startswith(missing.name + ".")):
                # The import system would look on: for a real PyTorch beside this.
                raise ModuleNotFoundError(f"No module named {fullname!r} (there is no {own})", name=fullname) from None
            raise
        spec = importlib.machinery.ModuleSpec(fullname, self, is_package=hasattr(module, "__path__"))
        spec.loader_state = (module, module.__spec__)
        return spec

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return spec.loader_state[0]

    def exec_module(self, module: ModuleType) -> None:
        """Give the module back its own specification, which the import system has just replaced."""
        spec = module.__spec__
        assert spec is not None
        module.__spec__ = spec.loader_state[1]


_FINDER = _Finder()


def install() -> None:
    """From now on ``import torch`` gives livegrad. Raises RuntimeError where PyTorch has been imported already."""
    there = sys.modules.get(NAME)
    if there is not None and there is not sys.modules[OWN]:
        raise RuntimeError(
            "PyTorch has been imported already; call livegrad.compat.install() before anything imports it"
        )
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)


def uninstall() -> None:
    """Undo `install`: what a program has imported under PyTorch's names stays with it."""
    if _FINDER in sys.meta_path:
        sys.meta_path.remove(_FINDER)
        for name in [n for n in sys.modules if n == NAME or n.startswith(NAME + ".")]:
            del sys.modules[name]


__all__ = ["install", "uninstall"]
