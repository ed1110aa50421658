"""Where CPython keeps things: the offsets of slots in objects, found by asking the interpreter itself.

A slot's descriptor points to a `PyMemberDef`, which holds the offset (Include/descrobject.h, structmember.h). What
else the compiled code knows of the layout is that an object begins with its count of references and its type, that a
tuple holds its items in place behind its size, where a list keeps its items and a small whole number its digit, and
what follows from the version for counting references.
"""

from __future__ import annotations

import ctypes
import platform
import sys
import types

_DESCRIPTOR_MEMBER = 40  # behind the head (16 bytes), the type, the name and the qualified name
_OBJECT, _OBJECT_EX = 6, 16  # kinds of member that are a reference to an object
REFCOUNT, TYPE, TUPLE_SIZE, TUPLE_ITEMS = 0, 8, 16, 24
LIST_SIZE, LIST_ITEMS, LIST_ROOM = 16, 24, 32  # how many there are, where, and for how many there is room
# A whole number's digits of 30 bits (Include/cpython/longintrepr.h). Before them stands how many there are: with the
# sign up to 3.11, then in the bits from the fourth on, above 0 for positive, 1 for zero and 2 for negative numbers.
INT_HEAD, INT_DIGITS = 16, 24
INT_TAGGED = sys.version_info >= (3, 12)


def supported() -> bool:
    """Whether this interpreter is one whose layout is known: CPython 3.11 to 3.13 with its lock, on 64 bits."""
    return (
        platform.python_implementation() == "CPython"
        and (3, 11) <= sys.version_info[:2] <= (3, 13)
        and sys.maxsize > 2**32
        and sys.byteorder == "little"
        and getattr(sys, "_is_gil_enabled", lambda: True)()
        and not hasattr(sys, "gettotalrefcount")
    )


def slots(cls: type) -> dict[str, int]:
    """Name -> offset of every slot of a class, inherited ones included, that holds a plain reference."""
    found: dict[str, int] = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, types.MemberDescriptorType):
                place = _offset(value)
                if place is not None:
                    found[name] = place
            else:
                found.pop(name, None)
    return found


def _offset(descriptor: types.MemberDescriptorType) -> int | None:
    member = ctypes.c_void_p.from_address(id(descriptor) + _DESCRIPTOR_MEMBER).value
    if member is None:
        return None
    kind = ctypes.c_int.from_address(member + 8).value
    return ctypes.c_ssize_t.from_address(member + 16).value if kind in (_OBJECT, _OBJECT_EX) else None


def check() -> bool:
    """Whether the layout is what this module says, tried on objects made for it."""

    class Probe:
        __slots__ = ("first", "second")
        first: object
        second: object

    probe, a, b = Probe(), object(), object()
    probe.first, probe.second = a, b
    found = slots(Probe)
    pair = (a, b)

    def word(address: int) -> int:
        return ctypes.c_size_t.from_address(address).value

    def digit(n: int) -> int:
        head, first = word(id(n) + INT_HEAD), ctypes.c_uint32.from_address(id(n) + INT_DIGITS).value
        head -= 0 if head < 1 << 63 else 1 << 64
        return first * (1 - (head & 3) if INT_TAGGED else head) if head < (16 if INT_TAGGED else 2) else -1

    some = [a, b, a]
    some.pop()
    return (
        set(found) == {"first", "second"}
        and word(id(probe) + found["first"]) == id(a)
        and word(id(probe) + found["second"]) == id(b)
        and word(id(probe) + TYPE) == id(Probe)
        and word(id(pair) + TUPLE_SIZE) == 2
        and word(id(pair) + TUPLE_ITEMS) == id(a)
        and word(id(pair) + TUPLE_ITEMS + 8) == id(b)
        and word(id(some) + LIST_SIZE) == 2
        and word(word(id(some) + LIST_ITEMS) + 8) == id(b)
        and word(id(some) + LIST_ROOM) >= 3
        and [digit(n) for n in (0, 7, -7, (1 << 30) - 1, 1 << 31)] == [0, 7, -7, (1 << 30) - 1, -1]
        and word(id(a) + REFCOUNT) & 0xFFFFFFFF == sys.getrefcount(a) - 1
    )
