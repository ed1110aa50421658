"""Reading pickles: by the small interpreter of `machine`, or for trusted files by Python's own unpickler.

The latter, for ``weights_only=False``, runs what the pickle says. What stands in the file under PyTorch's names is
looked up in this library.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Callable
from typing import Any

from .machine import Machine
from .names import NAME, find
from .objects import dtype_named
from .reader import Reader
from .torchfile import STORAGES, TorchPickle

__all__ = ["References", "Unpickler", "run"]


def run(reader: Reader, machine: Machine, weights_only: bool = True) -> Any:
    """What a pickle of this file stands for."""
    try:
        return machine.load() if weights_only else trusted(machine)
    except pickle.UnpicklingError as error:
        raise pickle.UnpicklingError(f"cannot load {reader.source}: {error}") from None
    except (struct.error, IndexError, UnicodeDecodeError, RecursionError) as error:
        if not weights_only:
            raise  # about the caller's classes, as likely as about the file
        raise pickle.UnpicklingError(f"cannot load {reader.source}: its pickle is damaged ({error!r})") from None


class Unpickler(pickle.Unpickler):
    """Makes whatever the pickle names; tensors, parameters and the like as `TorchPickle` does, with its checks."""

    def __init__(self, file: Any, plain: TorchPickle):
        super().__init__(file, encoding="utf-8")
        self.plain = plain

    def find_class(self, module: str, name: str) -> Any:
        known: dict[tuple[str, str], Callable[..., Any]] = self.plain.tensor_functions()
        if (module, name) in known:
            return known[module, name]
        if module in (NAME, f"{NAME}.storage") and name in STORAGES:
            return self.plain.named(NAME, name)
        if module.partition(".")[0] == NAME:
            found = dtype_named(name) if module == NAME else None
            return find(module, name) if found is None else found
        return super().find_class(module, name)

    def persistent_load(self, pid: Any) -> Any:
        # The old format notes the source of classes beside them.
        return pid[1] if pid[0] == "module" else self.plain.persistent(pid)


def trusted(plain: Any) -> Any:
    """What the pickle of a trusted file stands for."""
    return Unpickler(_from(plain), plain).load()


def _from(plain: TorchPickle) -> io.BytesIO:
    file = io.BytesIO(plain.data)
    file.seek(plain.position)
    return file


class _Anything:
    """Stands for whatever a pickle would make, and does nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> _Anything:
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __call__(self, *args: Any) -> Any:
        return _Anything()

    def ignored(self, *args: Any) -> None:
        """What fills an object."""

    __setstate__ = __setitem__ = append = extend = add = update = ignored


class References(pickle.Unpickler):
    """Goes through a pickle without making its objects, for the storages that it refers to and for its end."""

    def __init__(self, plain: TorchPickle, seen: Callable[[Any], None]):
        self.file = _from(plain)
        super().__init__(self.file, encoding="utf-8")
        self.plain, self.seen = plain, seen

    def find_class(self, module: str, name: str) -> Any:
        is_storage = module in (NAME, f"{NAME}.storage") and name in STORAGES
        return self.plain.named(NAME, name) if is_storage else _Anything

    def persistent_load(self, pid: Any) -> Any:
        if pid[0] == "storage":
            self.seen(pid)
        return _Anything

    def end(self) -> int:
        """Read it; where the next object begins."""
        self.load()
        return self.file.tell()
