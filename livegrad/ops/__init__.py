"""The one place where operators are declared. Importing this package registers all of them.

``ops.namespace.name`` is an operator that a program has made with `livegrad.library`; ``ops.aten`` has functions under
the names of PyTorch's dispatcher; ``ops.profiler`` has the two ends of what `profiler.record_function` names.
"""

import sys
from typing import Any


def __getattr__(name: str) -> Any:
    if name == "load_library":
        from ..library import load_library

        return load_library
    if name == "profiler":
        from ..fx import ranges

        return ranges
    if name == "aten":
        from .._ops import aten

        return aten
    made = sys.modules.get("livegrad.library")
    found = None if made is None else made.namespace(name)
    if found is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return found
