"""DLPack's capsules of bfloat16 numbers, which NumPy neither makes nor takes: it sees their bits.

From DLPack's header: a capsule points to a managed tensor, with a version before it or without; both hold a tensor,
whose dtype is a code (0: signed whole numbers, 4: bfloat16), the bits, and the lanes.
"""

from __future__ import annotations

from typing import Any

__all__ = ["BFLOAT", "SIGNED", "kind_of", "relabel"]

SIGNED, BFLOAT = 0, 4
# Where the code of the dtype is, by the name of the capsule.
_PLACES = {b"dltensor": 8 + 8 + 4, b"dltensor_versioned": 8 + 8 + 8 + 8 + 8 + 8 + 4}


def _code(capsule: Any) -> Any:
    """The byte that tells the kind of numbers in a capsule; None for one that is none, or was used."""
    import ctypes

    api = ctypes.pythonapi
    api.PyCapsule_IsValid.argtypes = [ctypes.py_object, ctypes.c_char_p]
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    for name, place in _PLACES.items():
        if api.PyCapsule_IsValid(capsule, name):
            return ctypes.c_uint8.from_address(api.PyCapsule_GetPointer(capsule, name) + place)
    return None


def kind_of(capsule: Any) -> int:
    """The code of the kind of numbers in a capsule; -1 where there is none."""
    code = _code(capsule)
    return -1 if code is None else code.value


def relabel(capsule: Any, kind: int) -> Any:
    """The same capsule, which says from now on that its numbers are of that kind."""
    _code(capsule).value = kind
    return capsule
