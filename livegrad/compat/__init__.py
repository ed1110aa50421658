"""Running PyTorch programs unchanged: after `install()`, ``import torch`` gives livegrad.

``livegrad run program.py`` does it for a whole program. Names that livegrad does not have are missing from ``torch``
too: importing or using them raises the usual error. Processes that the program starts with `multiprocessing` do the
same. ``torch.__version__`` is that of the PyTorch whose behaviour is followed.

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
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from ..native import show_as
from ..version import __version__

NAME, OWN = "torch", "livegrad"
CHILD = str(Path(__file__).with_name("child"))


class Version(str):
    """A version that is compared by its numbers, with others and with text and tuples, as PyTorch's is."""

    def _numbers(self, other: Any = None) -> tuple:
        if isinstance(other, tuple):
            return other
        return tuple(map(int, re.findall(r"\d+", (self if other is None else str(other)).partition("+")[0])))

    def __lt__(self, other: Any) -> bool:
        return self._numbers() < self._numbers(other)

    def __le__(self, other: Any) -> bool:
        return self._numbers() <= self._numbers(other)

    def __gt__(self, other: Any) -> bool:
        return self._numbers() > self._numbers(other)

    def __ge__(self, other: Any) -> bool:
        return self._numbers() >= self._numbers(other)


PYTORCH = Version("2.13.0+livegrad")


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
        if CHILD not in sys.path:
            sys.path.insert(0, CHILD)
        sys.modules[OWN].__version__ = PYTORCH  # type: ignore[attr-defined]
        sys.modules[OWN].__name__ = NAME  # which libraries compare with the beginnings of dotted names
        show_as(NAME)  # by which libraries tell whose tensors they were given
        sys.modules[OWN].torch = sys.modules[OWN]  # type: ignore[attr-defined]  # PyTorch imports itself by its name


def uninstall() -> None:
    """Undo `install`: what a program has imported under PyTorch's names stays with it."""
    if _FINDER in sys.meta_path:
        sys.meta_path.remove(_FINDER)
        if CHILD in sys.path:
            sys.path.remove(CHILD)
        sys.modules[OWN].__version__ = __version__  # type: ignore[attr-defined]
        sys.modules[OWN].__name__ = OWN
        show_as(OWN)
        del sys.modules[OWN].torch  # type: ignore[attr-defined]
        for name in [n for n in sys.modules if n == NAME or n.startswith(NAME + ".")]:
            del sys.modules[name]


__all__ = ["install", "uninstall"]
