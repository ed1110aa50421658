"""Linear algebra on CUDA devices: cuSOLVER, through CuPy."""

from __future__ import annotations

import importlib
from typing import Any

from ...devices import device
from . import driver, ledger


def call(name: str, where: device, arrays: list, options: dict) -> Any:
    """A function of CuPy's `linalg`. It waits, to see whether there is a result.

    Raises LinAlgError where there is none; CuPy would give numbers that mean nothing, unless told otherwise.
    """
    ledger.note("synchronize", 0, f"linalg.{name}, which looks whether it succeeded,")
    with driver.on(where.index or 0), importlib.import_module("cupyx").errstate(linalg="raise"):
        return getattr(driver.cupy().linalg, name)(*arrays, **options)
