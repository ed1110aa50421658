"""The library lives in the main interpreter of a process: its threads and NumPy belong to that."""

from __future__ import annotations

import ctypes

__all__ = ["refuse"]


def refuse() -> None:
    """Raise ImportError in a sub-interpreter, whose end would wait for the library's threads for ever."""
    api = getattr(ctypes, "pythonapi", None)
    if api is None or not hasattr(api, "PyInterpreterState_Main"):  # another Python than CPython
        return
    current, main = api.PyInterpreterState_Get, api.PyInterpreterState_Main
    current.restype = main.restype = ctypes.c_void_p
    if current() != main():
        raise ImportError(
            "livegrad cannot be used in a sub-interpreter: NumPy and livegrad's threads belong to the main one. Use it "
            "from threads of the main interpreter, or from processes"
        )
