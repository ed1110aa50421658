"""LLVM IR of functions that work on Python objects: references, calls of the C interface, constants, clean-up.

A module has two tables, filled when it is loaded: `@api`, addresses of the interpreter's functions, and `@constants`,
objects. So the machine code depends on no address and can be kept on disk. A third one, `@functions`, holds where its
own functions are: the code that others call, and what the interpreter calls.

What a function holds at any point is known when it is written, so whatever can fail there jumps to a block that
releases just that; these blocks form chains that share their ends. Variables stand in stack slots.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from . import layout

# The interpreter's functions: result and arguments.
API = {
    "PyObject_GetAttr": "ptr (ptr, ptr)",
    "PyObject_SetAttr": "i32 (ptr, ptr, ptr)",
    "PyObject_GetItem": "ptr (ptr, ptr)",
    "PyObject_SetItem": "i32 (ptr, ptr, ptr)",
    "PyObject_Vectorcall": "ptr (ptr, ptr, i64, ptr)",
    "PyObject_VectorcallMethod": "ptr (ptr, ptr, i64, ptr)",
    "PyObject_Call": "ptr (ptr, ptr, ptr)",
    "PyObject_RichCompare": "ptr (ptr, ptr, i32)",
    "PyObject_IsTrue": "i32 (ptr)",
    "PyObject_IsInstance": "i32 (ptr, ptr)",
    "PyObject_Size": "i64 (ptr)",
    "PyObject_GetIter": "ptr (ptr)",
    "PyIter_Next": "ptr (ptr)",
    "PyErr_Occurred": "ptr ()",
    "PyErr_CheckSignals": "i32 ()",
    "PyErr_ExceptionMatches": "i32 (ptr)",
    "PyErr_Clear": "void ()",
    "PyErr_Fetch": "void (ptr, ptr, ptr)",
    "PyErr_NormalizeException": "void (ptr, ptr, ptr)",
    "PyErr_Restore": "void (ptr, ptr, ptr)",
    "PyErr_SetString": "void (ptr, ptr)",
    "PyErr_SetObject": "void (ptr, ptr)",
    "PySequence_Contains": "i32 (ptr, ptr)",
    "PySequence_Tuple": "ptr (ptr)",
    "PySequence_List": "ptr (ptr)",
    "PyTuple_New": "ptr (i64)",
    "PyList_New": "ptr (i64)",
    "PyList_Append": "i32 (ptr, ptr)",
    "PyDict_New": "ptr ()",
    "PyDict_GetItemWithError": "ptr (ptr, ptr)",
    "PyDict_SetItem": "i32 (ptr, ptr, ptr)",
    "PyLong_FromSsize_t": "ptr (i64)",
    "PyLong_FromVoidPtr": "ptr (ptr)",
    "PyLong_AsSsize_t": "i64 (ptr)",
    "PyLong_AsVoidPtr": "ptr (ptr)",
    "PyBytes_FromStringAndSize": "ptr (ptr, i64)",
    "PyBytes_AsString": "ptr (ptr)",
    "PySlice_New": "ptr (ptr, ptr, ptr)",
    "PyObject_Repr": "ptr (ptr)",
    "PyObject_Format": "ptr (ptr, ptr)",
    "PyUnicode_Join": "ptr (ptr, ptr)",
    "PyType_GenericAlloc": "ptr (ptr, i64)",
    "PyType_IsSubtype": "i32 (ptr, ptr)",
    "PyWeakref_NewRef": "ptr (ptr, ptr)",
    "PyEval_GetFrame": "ptr ()",
    "PyEval_SaveThread": "ptr ()",
    "PyEval_RestoreThread": "void (ptr)",
    "PyFrame_GetCode": "ptr (ptr)",
    "PyFrame_GetBack": "ptr (ptr)",
    "PyFrame_GetLasti": "i32 (ptr)",
    "PyMethod_New": "ptr (ptr, ptr)",
    "PyNumber_Add": "ptr (ptr, ptr)",
    "PyNumber_Subtract": "ptr (ptr, ptr)",
    "PyNumber_Multiply": "ptr (ptr, ptr)",
    "PyNumber_TrueDivide": "ptr (ptr, ptr)",
    "PyNumber_Power": "ptr (ptr, ptr, ptr)",
    "PyNumber_FloorDivide": "ptr (ptr, ptr)",
    "PyNumber_Remainder": "ptr (ptr, ptr)",
    "PyNumber_And": "ptr (ptr, ptr)",
    "PyNumber_Or": "ptr (ptr, ptr)",
    "PyNumber_Lshift": "ptr (ptr, ptr)",
    "PyNumber_Rshift": "ptr (ptr, ptr)",
    "PyNumber_Negative": "ptr (ptr)",
    "PyNumber_InPlaceAdd": "ptr (ptr, ptr)",
    "PyNumber_InPlaceSubtract": "ptr (ptr, ptr)",
    "PyNumber_InPlaceMultiply": "ptr (ptr, ptr)",
    "PyNumber_InPlaceTrueDivide": "ptr (ptr, ptr)",
    "PyNumber_InPlaceFloorDivide": "ptr (ptr, ptr)",
    "PyNumber_InPlaceRemainder": "ptr (ptr, ptr)",
    "PyNumber_InPlacePower": "ptr (ptr, ptr, ptr)",
    "PyNumber_InPlaceAnd": "ptr (ptr, ptr)",
    "PyNumber_InPlaceOr": "ptr (ptr, ptr)",
    "PyNumber_InPlaceLshift": "ptr (ptr, ptr)",
    "PyNumber_InPlaceRshift": "ptr (ptr, ptr)",
    "Py_EnterRecursiveCall": "i32 (ptr)",
    "Py_LeaveRecursiveCall": "void ()",
    "_Py_Dealloc": "void (ptr)",
    # NumPy's:
    "PyArray_NewFromDescr": "ptr (ptr, ptr, i32, ptr, ptr, ptr, i32, ptr)",
    "PyArray_SetBaseObject": "i32 (ptr, ptr)",
}


def count_references() -> str:
    """Functions that count references, as this version of the interpreter does (Include/object.h)."""
    if sys.version_info >= (3, 12):
        # The low half counts; a number whose sign bit is set belongs to an object that lives for ever.
        up = """  %n = load i32, ptr %o
  %next = add i32 %n, 1
  %ever = icmp eq i32 %next, 0
  br i1 %ever, label %done, label %count
count:
  store i32 %next, ptr %o
  br label %done
done:
  ret void"""
        test = """  %low = load i32, ptr %o
  %ever = icmp slt i32 %low, 0
  br i1 %ever, label %done, label %count"""
    else:
        up = """  %n = load i64, ptr %o
  %next = add i64 %n, 1
  store i64 %next, ptr %o
  ret void"""
        test = "  br label %count"
    return f"""
define internal void @up(ptr %o) {{
{up}
}}
define internal void @down(ptr %o) {{
{test}
count:
  %n = load i64, ptr %o
  %left = sub i64 %n, 1
  store i64 %left, ptr %o
  %last = icmp eq i64 %left, 0
  br i1 %last, label %free, label %done, !prof !1
free:
  %f = load ptr, ptr getelementptr (i8, ptr @api, i64 DEALLOC), !invariant.load !0
  tail call void %f(ptr %o)
  br label %done
done:
  ret void
}}
define internal void @drop(ptr %o) {{
  %none = icmp eq ptr %o, null
  br i1 %none, label %done, label %some
some:
  tail call void @down(ptr %o)
  br label %done
done:
  ret void
}}
"""


_IN_CALL = " in a compiled function"  # the end of what a RecursionError says


class Unit:
    """One module: its functions' text, and what its tables must be filled with."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.text: list[str] = []
        self.written: set[tuple[str, str]] = set()  # the small functions that are in it already
        self.constants: list[tuple] = []
        self._known: dict[tuple, int] = {}
        self.api: list[str] = []
        self.functions: list[str] = []

    def constant(self, description: tuple) -> int:
        """The place of a constant (see `constants.resolve` for how they are described)."""
        place = self._known.get(description)
        if place is None:
            place = self._known[description] = len(self.constants)
            self.constants.append(description)
        return place

    def function(self, name: str) -> int:
        if name not in self.api:
            self.api.append(name)
        return self.api.index(name)

    def module(self) -> str:
        dealloc = self.function("_Py_Dealloc")
        places = ", ".join(f"ptr @{name}, ptr @enter.{name}" for name in self.functions)
        entries = f"[{places}]" if places else "zeroinitializer"
        return "\n".join(
            [
                count_references().replace("DEALLOC", str(8 * dealloc)),
                *self.text,
                f"@api = internal global [{len(self.api)} x ptr] zeroinitializer",
                f"@constants = internal global [{len(self.constants) + 1} x ptr] zeroinitializer",
                f"@functions = internal global [{2 * len(self.functions)} x ptr] {entries}",
                "@tables = internal global [3 x ptr] [ptr @api, ptr @constants, ptr @functions]",
                f'define ptr @"tables.{self.name}"() {{\n  ret ptr @tables\n}}',
                "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)",
                f'@in.call = internal constant [{len(_IN_CALL) + 1} x i8] c"{_IN_CALL}\\00"',
                '!0 = !{}\n!1 = !{!"branch_weights", i32 1, i32 1000}',
            ]
        )


class Val:
    """A value in a register: kind "obj", "int" (i64) or "bool" (i1). own: this function has to release it."""

    __slots__ = ("reg", "kind", "own")

    def __init__(self, reg: str, kind: str = "obj", own: bool = False):
        self.reg, self.kind, self.own = reg, kind, own


class Code:
    """Writes one function: blocks, registers, references."""

    def __init__(self, unit: Unit):
        self.unit = unit
        self.lines: list[str] = []
        self.entry: list[str] = []  # stack slots, at the function's head
        self.count = 0
        self.block = "entry"
        self.live: list[str] = []  # temporary references that are owned now, in the order in which they were had
        self.slots: list[str] = []  # places of variables
        # Where a failure goes, once what is held beyond `base` temporary references is released.
        self.catch, self.base = "error", 0
        self.exits: dict[tuple, str] = {}

    # --- text ---------------------------------------------------------------------------------------------------

    def fresh(self, hint: str = "r") -> str:
        self.count += 1
        return f"{hint}.{self.count}"

    def line(self, text: str) -> None:
        self.lines.append("  " + text)

    def reg(self, text: str) -> str:
        name = "%" + self.fresh()
        self.line(f"{name} = {text}")
        return name

    def label(self, name: str) -> None:
        self.lines.append(f"{name}:")
        self.block = name

    def jump(self, name: str) -> None:
        self.line(f"br label %{name}")

    def branch(self, condition: str, yes: str, no: str, unlikely: str = "") -> None:
        weights = {"": "", yes: ", !prof !1"}.get(unlikely, "")
        self.line(f"br i1 {condition}, label %{yes}, label %{no}{weights}")

    def call(self, name: str, *args: str, tail: bool = False) -> str:
        """Call one of the interpreter's functions; arguments as bare operands."""
        result, _, types = API[name].partition(" (")
        kinds = [t for t in types.rstrip(")").split(", ") if t]
        place = self.unit.function(name)
        f = self.reg(f"load ptr, ptr getelementptr (i8, ptr @api, i64 {8 * place}), !invariant.load !0")
        given = ", ".join(f"{k} {a}" for k, a in zip(kinds, args, strict=True))
        if result == "void":
            self.line(f"call void {f}({given})")
            return ""
        return self.reg(f"{'tail ' if tail else ''}call {result} {f}({given})")

    def format_error(self, kind: str, text: str, value: str) -> None:
        """Set an error whose text has one place for a value, as in `PyErr_Format`."""
        place = self.unit.function("PyErr_Format")
        f = self.reg(f"load ptr, ptr getelementptr (i8, ptr @api, i64 {8 * place}), !invariant.load !0")
        self.line(f"call ptr (ptr, ptr, ...) {f}(ptr {kind}, ptr {text}, {value})")

    def constant(self, description: tuple) -> Val:
        place = self.unit.constant(description)
        reg = self.reg(f"load ptr, ptr getelementptr (i8, ptr @constants, i64 {8 * place}), !invariant.load !0")
        return Val(reg)

    def none(self) -> str:
        return self.constant(("builtin", "None")).reg

    def at(self, base: str, offset: int) -> str:
        return self.reg(f"getelementptr i8, ptr {base}, i64 {offset}") if offset else base

    def load(self, base: str, offset: int, kind: str = "ptr") -> str:
        return self.reg(f"load {kind}, ptr {self.at(base, offset)}")

    def type_of(self, reg: str) -> str:
        return self.load(reg, layout.TYPE)

    # --- errors -------------------------------------------------------------------------------------------------

    def failure(self) -> str:
        """The block that releases what is held now and goes where failures go."""
        return self._exit(self.catch, self.base, tuple(self.live))

    def _exit(self, catch: str, base: int, live: tuple) -> str:
        if len(live) <= base:
            return catch
        label = self.exits.get((catch, live))
        if label is None:
            label = self.exits[catch, live] = self.fresh("exit")
            self._exit(catch, base, live[:-1])
        return label

    def write_exits(self) -> None:
        """The blocks that `failure` spoke of: each releases one reference and goes on to the next."""
        for (catch, live), label in list(self.exits.items()):
            self.label(label)
            self.down(live[-1])
            self.jump(self.exits.get((catch, live[:-1]), catch))

    def fail_if(self, condition: str) -> None:
        go, exit_ = self.fresh("ok"), self.failure()
        self.branch(condition, exit_, go, unlikely=exit_)
        self.label(go)

    def enter(self, refused: str) -> None:
        """Count a call that may be part of a recursion; where it is too deep an error is set."""
        go = self.fresh("counted")
        deep = self.reg(f"icmp ne i32 {self.call('Py_EnterRecursiveCall', '@in.call')}, 0")
        self.branch(deep, refused, go, unlikely=refused)
        self.label(go)

    def checked(self, reg: str) -> str:
        self.fail_if(self.reg(f"icmp eq ptr {reg}, null"))
        return reg

    def checked_int(self, reg: str) -> str:
        self.fail_if(self.reg(f"icmp slt i32 {reg}, 0"))
        return reg

    # --- references ---------------------------------------------------------------------------------------------

    def slot(self, name: str) -> str:
        """The place of a variable, empty at first."""
        self.entry.append(f"  {name} = alloca ptr")
        self.entry.append(f"  store ptr null, ptr {name}")
        self.slots.append(name)
        return name

    def owned(self, reg: str) -> Val:
        """A value whose reference is this function's to release."""
        self.live.append(reg)
        return Val(reg, "obj", True)

    def give(self, v: Val) -> str:
        """The register of a value whose reference goes to somebody else."""
        if v.own:
            self.live.remove(v.reg)
            v.own = False
        else:
            self.up(v.reg)
        return v.reg

    def release(self, *values: Val) -> None:
        for v in values:
            if v.own:
                self.live.remove(v.reg)
                v.own = False
                self.down(v.reg)

    def up(self, reg: str) -> None:
        if sys.version_info >= (3, 12):
            self.line(f"call void @up(ptr {reg})")
        else:
            n = self.reg(f"load i64, ptr {reg}")
            self.line(f"store i64 {self.reg(f'add i64 {n}, 1')}, ptr {reg}")

    def down(self, reg: str) -> None:
        self.line(f"call void @down(ptr {reg})")

    def replace(self, place: str, reg: str) -> None:
        """Store a reference where another one, or none, stands."""
        old = self.reg(f"load ptr, ptr {place}")
        self.line(f"store ptr {reg}, ptr {place}")
        self.line(f"call void @drop(ptr {old})")

    @contextmanager
    def either(self, condition: str, unlikely: bool = False) -> Iterator[Any]:
        """Two ways to one pointer: `with code.either(cond) as way: way.yes(reg); way.no(reg)`; then `way.reg`."""
        way = _Either(self, condition, unlikely)
        yield way
        way.join()


class _Either:
    def __init__(self, code: Code, condition: str, unlikely_no: bool):
        self.code = code
        self.names = code.fresh("yes"), code.fresh("no"), code.fresh("join")
        self.parts: list[tuple[str, str]] = []
        code.branch(condition, self.names[0], self.names[1])
        code.label(self.names[0])

    def yes(self, reg: str) -> None:
        self.parts.append((reg, self.code.block))
        self.code.jump(self.names[2])
        self.code.label(self.names[1])

    def no(self, reg: str) -> None:
        self.parts.append((reg, self.code.block))
        self.code.jump(self.names[2])

    def join(self) -> None:
        self.code.label(self.names[2])
        parts = ", ".join(f"[ {reg}, %{block} ]" for reg, block in self.parts)
        self.reg = self.code.reg(f"phi ptr {parts}")
