"""Compiled functions as objects of the interpreter, and putting them where the Python ones are.

Their class is made through the C interface: an instance holds the address of its machine code, the objects that it
closes over, and the original function, to which it hands every call that is out of the ordinary (keyword arguments,
a wrong number of them). As an attribute of a class it is a method, like a Python function.
"""

from __future__ import annotations

import copyreg
import ctypes
import functools
import sys
import types
from typing import Any

from . import HOLDERS
from .holding import OURS

# Include/typeslots.h, structmember.h and object.h
_TP_CALL, _TP_DESCR_GET, _TP_HASH, _TP_RICHCOMPARE, _TP_MEMBERS, _TP_GETSET = 50, 54, 59, 67, 72, 73
_EQUAL, _UNEQUAL = 2, 3
_SSIZE, _READ_ONLY = 19, 1
_FLAGS = 1 << 18 | 1 << 17 | 1 << 11 | 1 << 7  # version tag, method descriptor, vectorcall, no instances from outside
_CODE, _CLOSURE, _ORIGINAL, _DICT, _SIZE = 16, 24, 32, 40, 48

PACKAGE = __name__.partition(".")[0]


class _Slot(ctypes.Structure):
    _fields_ = [("id", ctypes.c_int), ("value", ctypes.c_void_p)]


class _Member(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p), ("kind", ctypes.c_int), ("offset", ctypes.c_ssize_t), ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    ]  # fmt: skip


class _GetSet(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p), ("get", ctypes.c_void_p), ("set", ctypes.c_void_p), ("doc", ctypes.c_char_p),
        ("closure", ctypes.c_void_p),
    ]  # fmt: skip


class _Spec(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p), ("size", ctypes.c_int), ("item", ctypes.c_int), ("flags", ctypes.c_uint),
        ("slots", ctypes.POINTER(_Slot)),
    ]  # fmt: skip


# What must stay where it is as long as the process runs.
_kept: list = []
# What compiled functions close over: the addresses that their code reads, and the objects.
_closures: list[tuple[Any, list]] = []


# The Python form that each compiled function stands for, by its id; in tuples, where `replace` does not find it.
_stands_for: dict[int, tuple] = {}


def _hash(f: Any) -> int:
    return hash(_stands_for[id(f)][0])


def _compare(f: Any, other: Any, how: int) -> Any:
    """A compiled function equals the one that it stands for: a table of functions may have been made before it was."""
    if how not in (_EQUAL, _UNEQUAL):
        return NotImplemented
    (own,) = _stands_for[id(f)]
    same = own is other or own is _stands_for.get(id(other), (None,))[0]
    if not same and not isinstance(other, (types.FunctionType, type(f))):
        return NotImplemented
    return same is (how == _EQUAL)


def _address(name: str) -> int | None:
    return ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value


def make_class(get: int) -> type:
    """The class of compiled functions. get: address of its `tp_descr_get`."""
    api = ctypes.pythonapi
    members = (_Member * 3)(
        _Member(b"__vectorcalloffset__", _SSIZE, _CODE, _READ_ONLY, None),
        _Member(b"__dictoffset__", _SSIZE, _DICT, _READ_ONLY, None),
    )
    getset = (_GetSet * 2)(
        _GetSet(b"__dict__", _address("PyObject_GenericGetDict"), _address("PyObject_GenericSetDict"))
    )
    hashes = ctypes.PYFUNCTYPE(ctypes.c_ssize_t, ctypes.py_object)(_hash)
    compares = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object, ctypes.py_object, ctypes.c_int)(_compare)
    slots = (_Slot * 7)(
        _Slot(_TP_HASH, ctypes.cast(hashes, ctypes.c_void_p)),
        _Slot(_TP_RICHCOMPARE, ctypes.cast(compares, ctypes.c_void_p)),
        _Slot(_TP_CALL, _address("PyVectorcall_Call")),
        _Slot(_TP_DESCR_GET, get),
        _Slot(_TP_MEMBERS, ctypes.addressof(members)),
        _Slot(_TP_GETSET, ctypes.addressof(getset)),
    )
    spec = _Spec(f"{PACKAGE}.native.compiled_function".encode(), _SIZE, 0, _FLAGS, slots)
    _kept.extend((members, getset, slots, spec, hashes, compares))
    from_spec = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.POINTER(_Spec))(("PyType_FromSpec", api))
    made = from_spec(ctypes.byref(spec))
    # A function is pickled by its name.
    copyreg.pickle(made, lambda f: f.__qualname__)  # type: ignore[arg-type, return-value]
    return made


def make(cls: type, address: int, function: Any, original: Any = None) -> Any:
    """The compiled form of a function. original: what takes the calls that do not fit, if not the function itself."""
    stands_for = (function if original is None else original,)
    original = _copy(function if original is None else original)  # which changes its name (see `originals`)
    alloc = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object, ctypes.c_ssize_t)(
        ("PyType_GenericAlloc", ctypes.pythonapi)
    )
    made = alloc(cls, 0)
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    closure = (ctypes.c_void_p * max(len(cells), 1))(*[id(x) for x in cells])
    _kept.extend((made, function, original, closure))
    _stands_for[id(made)] = _stands_for.get(id(stands_for[0]), stands_for)
    _closures.append((closure, cells))
    OURS.update(map(id, cells))
    words = (ctypes.c_void_p * (_SIZE // 8)).from_address(id(made))
    words[_CODE // 8] = address
    words[_CLOSURE // 8] = ctypes.addressof(closure)
    words[_ORIGINAL // 8] = id(original)
    functools.update_wrapper(made, original)
    made.__defaults__, made.__kwdefaults__ = original.__defaults__, original.__kwdefaults__  # which libraries look at
    return made


def aim(made: Any, address: int) -> None:
    """Let a compiled function run other machine code."""
    (ctypes.c_void_p * (_SIZE // 8)).from_address(id(made))[_CODE // 8] = address


def _copy(f: Any) -> Any:
    new: Any = types.FunctionType(f.__code__, f.__globals__, f.__name__, f.__defaults__, f.__closure__)
    new.__kwdefaults__ = f.__kwdefaults__
    functools.update_wrapper(new, f)
    del new.__wrapped__
    if "__wrapped__" in f.__dict__:
        new.__wrapped__ = f.__wrapped__
    return new


def replace(made: dict[int, Any], held: set[int] | frozenset = frozenset()) -> None:
    """Put compiled functions where the originals are (`made` is by their id).

    That is in modules, classes and closures, and in what `HOLDERS` lists. held: ids of those that stay in modules and
    in what is listed, see `holding`.
    """
    seen: set[int] = set()

    def visit_function(f: Any) -> None:
        if id(f) in seen:
            return
        seen.add(id(f))
        for cell in f.__closure__ or ():
            try:
                inner = cell.cell_contents
            except ValueError:  # still empty
                continue
            new = made.get(id(inner))
            if new is not None:
                cell.cell_contents = new
            elif isinstance(inner, types.FunctionType):
                visit_function(inner)
        if f.__dict__ and isinstance(f.__dict__.get("__wrapped__"), types.FunctionType):
            visit_function(f.__wrapped__)

    def visit(owner: Any) -> None:
        if id(owner) in seen:
            return
        seen.add(id(owner))
        stays = held if isinstance(owner, types.ModuleType) else frozenset()
        for name, value in list(vars(owner).items()):
            new = None if id(value) in stays else made.get(id(value))
            if vars(owner).get(name) is not value:  # another thread has put something else there, as overrides do
                continue
            if new is not None:
                setattr(owner, name, new)
            elif isinstance(value, types.FunctionType):
                visit_function(value)
            elif isinstance(value, property) and (id(value.fget) in made or id(value.fset) in made):
                get, set_ = made.get(id(value.fget), value.fget), made.get(id(value.fset), value.fset)
                setattr(owner, name, property(get, set_, value.fdel, value.__doc__))
            elif isinstance(value, type) and value.__module__.startswith(PACKAGE):
                visit(value)
            elif isinstance(value, dict) and isinstance(owner, types.ModuleType) and id(value) not in seen:
                seen.add(id(value))
                for key, item in list(value.items()):
                    new = made.get(id(item))
                    if new is not None:
                        value[key] = new
                    elif isinstance(item, types.FunctionType):
                        visit_function(item)

    for closure, cells in _closures:
        for k, value in enumerate(cells):
            new = made.get(id(value))
            if new is not None:
                closure[k], cells[k] = id(new), new
            elif isinstance(value, types.FunctionType):
                visit_function(value)
    for owner, name in HOLDERS:
        value = getattr(owner, name)
        new = None if id(value) in held else made.get(id(value))
        if new is not None:
            setattr(owner, name, new)
        elif isinstance(value, types.FunctionType):
            visit_function(value)
    for name, module in list(sys.modules.items()):
        if name == PACKAGE or name.startswith(PACKAGE + "."):
            visit(module)
