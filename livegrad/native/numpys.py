"""Arrays of NumPy's, made by its C interface: a table of functions at places that do not change between versions.

`@array.at(address, dtype, shape, byte strides or None, keeper)` gives a new array on memory that the keeper keeps.
"""

from __future__ import annotations

import ctypes

import numpy as np

from . import layout
from .emit import Code, Unit

# Where in the table they are (numpy/__multiarray_api.h).
PLACES = {"PyArray_NewFromDescr": 94, "PyArray_SetBaseObject": 282}
_TYPE = 2  # where NumPy's class of arrays is
_MOST_DIMENSIONS = 64  # NumPy refuses more
_FLAGS = 0x0100 | 0x0400  # aligned, and may be written to; NumPy adds what follows from the strides


def function(name: str) -> int:
    """The address of one of NumPy's functions."""
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    table = pointer(np._core._multiarray_umath._ARRAY_API, None)  # type: ignore[attr-defined]
    words = (ctypes.c_size_t * (max(PLACES.values()) + 1)).from_address(table)
    if words[_TYPE] != id(np.ndarray):
        raise RuntimeError(f"the C interface of NumPy {np.__version__} is not the one that is known")
    return words[PLACES[name]]


def array_function(unit: Unit) -> str:
    """The text of `@array.at`."""
    c = Code(unit)
    room = f"[{_MOST_DIMENSIONS} x i64]"
    c.line(f"%sizes = alloca {room}")
    c.line(f"%steps = alloca {room}")
    rank = c.load("%shape", layout.TUPLE_SIZE, "i64")
    _words(c, "%shape", rank, "%sizes")
    none = c.reg(f"icmp eq ptr %strides, {c.none()}")
    given, make, refused, made_one, failed = (c.fresh(n) for n in ("given", "make", "refused", "made", "failed"))
    before = c.block
    c.branch(none, make, given)
    c.label(given)
    _words(c, "%strides", rank, "%steps")
    last = c.block
    c.jump(make)
    c.label(make)
    steps = c.reg(f"phi ptr [ null, %{before} ], [ %steps, %{last} ]")
    address = c.call("PyLong_AsVoidPtr", "%address")
    kind = c.constant(("global", "numpy", "ndarray")).reg
    c.up("%dtype")
    count = c.reg(f"trunc i64 {rank} to i32")
    made = c.call("PyArray_NewFromDescr", kind, "%dtype", count, "%sizes", steps, address, str(_FLAGS), "null")
    c.branch(c.reg(f"icmp eq ptr {made}, null"), refused, made_one, unlikely=refused)
    c.label(made_one)
    c.up("%keeper")
    kept = c.call("PyArray_SetBaseObject", made, "%keeper")
    done = c.fresh("done")
    c.branch(c.reg(f"icmp slt i32 {kept}, 0"), failed, done, unlikely=failed)
    c.label(failed)
    c.down(made)
    c.jump(refused)
    c.label(refused)
    c.line("ret ptr null")
    c.label(done)
    c.line(f"ret ptr {made}")
    arguments = "ptr %address, ptr %dtype, ptr %shape, ptr %strides, ptr %keeper"
    return "\n".join([f"define internal ptr @array.at({arguments}) {{", "entry:", *c.lines, "}"])


def _words(c: Code, numbers: str, rank: str, room: str) -> None:
    """Write the whole numbers of a tuple, of so many as an array may have, into memory."""
    before, test, body, end = c.block, c.fresh("test"), c.fresh("word"), c.fresh("end")
    few = c.reg(f"icmp ult i64 {rank}, {_MOST_DIMENSIONS}")
    count = c.reg(f"select i1 {few}, i64 {rank}, i64 {_MOST_DIMENSIONS}")
    c.jump(test)
    c.label(test)
    k, following = "%" + c.fresh("k"), "%" + c.fresh("next")
    c.line(f"{k} = phi i64 [ 0, %{before} ], [ {following}, %{body} ]")
    c.branch(c.reg(f"icmp ult i64 {k}, {count}"), body, end)
    c.label(body)
    items = c.at(numbers, layout.TUPLE_ITEMS)
    item = c.reg(f"load ptr, ptr {c.reg(f'getelementptr ptr, ptr {items}, i64 {k}')}")
    word = c.call("PyLong_AsSsize_t", item)
    c.line(f"store i64 {word}, ptr {c.reg(f'getelementptr i64, ptr {room}, i64 {k}')}")
    c.line(f"{following} = add i64 {k}, 1")
    c.jump(test)
    c.label(end)
