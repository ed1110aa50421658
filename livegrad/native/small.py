"""Whole numbers of one digit, compared and computed in place; what is of another kind takes the interpreter's way.

Each operation is a function of the unit that uses it: `@truth.OP(a, b)` gives 1, 0, or -1 for an error, and
`@number.OP(a, b)` a new reference, or null.
"""

from __future__ import annotations

from . import layout
from .emit import Code, Unit

# What `PyObject_RichCompare` calls them, and LLVM.
COMPARISONS = {"slt": 0, "sle": 1, "eq": 2, "ne": 3, "sgt": 4, "sge": 5}
# What is computed here. Products of two digits fit 64 bits.
OPERATIONS = {"Add": "add", "Subtract": "sub", "Multiply": "mul"}


def whole(c: Code, reg: str, other: str) -> str:
    """The number (i64) that an object is; control goes to `other` where it is no `int` of one digit."""
    exact, go = c.fresh("exact"), c.fresh("digit")
    c.branch(c.reg(f"icmp eq ptr {c.type_of(reg)}, {c.constant(('builtin', 'int')).reg}"), exact, other)
    c.label(exact)
    head = c.load(reg, layout.INT_HEAD, "i64")
    if layout.INT_TAGGED:
        small, sign = f"icmp ult i64 {head}, 16", f"sub i64 1, {c.reg(f'and i64 {head}, 3')}"
    else:  # the number of digits, with the sign of the whole
        small, sign = f"icmp ult i64 {c.reg(f'add i64 {head}, 1')}, 3", f"add i64 {head}, 0"
    c.branch(c.reg(small), go, other)
    c.label(go)
    digit = c.reg(f"zext i32 {c.load(reg, layout.INT_DIGITS, 'i32')} to i64")
    return c.reg(f"mul i64 {c.reg(sign)}, {digit}")


def truth_function(unit: Unit, comparison: str) -> str:
    """Whether a comparison of two objects is true."""
    c = Code(unit)
    objects, ask, answer, failed, known, odd = (
        c.fresh(n) for n in ("objects", "ask", "answer", "failed", "known", "odd")
    )
    a = whole(c, "%a", objects)
    b = whole(c, "%b", objects)
    fits = c.reg(f"icmp {comparison} i64 {a}, {b}")
    c.line(f"ret i32 {c.reg(f'zext i1 {fits} to i32')}")
    c.label(objects)
    if comparison in ("eq", "ne"):
        # A text or a tuple is equal to itself, whatever is in it: items are compared by identity first.
        kind = c.type_of("%a")
        tests = [c.reg(f"icmp eq ptr {kind}, {c.constant(('builtin', n)).reg}") for n in ("tuple", "str")]
        same = c.reg(f"and i1 {c.reg('icmp eq ptr %a, %b')}, {c.reg(f'or i1 {tests[0]}, {tests[1]}')}")
        itself = c.fresh("itself")
        c.branch(same, itself, ask)
        c.label(itself)
        c.line(f"ret i32 {int(comparison == 'eq')}")
    else:
        c.jump(ask)
    c.label(ask)
    made = c.call("PyObject_RichCompare", "%a", "%b", str(COMPARISONS[comparison]))
    c.branch(c.reg(f"icmp eq ptr {made}, null"), failed, answer, unlikely=failed)
    c.label(failed)
    c.line("ret i32 -1")
    c.label(answer)
    true, false = c.constant(("builtin", "True")).reg, c.constant(("builtin", "False")).reg
    is_true = c.reg(f"icmp eq ptr {made}, {true}")
    c.branch(c.reg(f"or i1 {is_true}, {c.reg(f'icmp eq ptr {made}, {false}')}"), known, odd)
    c.label(known)
    c.down(made)
    c.line(f"ret i32 {c.reg(f'zext i1 {is_true} to i32')}")
    c.label(odd)
    asked = c.call("PyObject_IsTrue", made)
    c.down(made)
    c.line(f"ret i32 {asked}")
    return "\n".join([f"define internal i32 @truth.{comparison}(ptr %a, ptr %b) {{", "entry:", *c.lines, "}"])


def number_function(unit: Unit, name: str, otherwise: str) -> str:
    """The result of an operation on two objects. otherwise: the interpreter's function for it."""
    c = Code(unit)
    objects = c.fresh("objects")
    a = whole(c, "%a", objects)
    b = whole(c, "%b", objects)
    c.line(f"ret ptr {c.call('PyLong_FromSsize_t', c.reg(f'{OPERATIONS[name]} i64 {a}, {b}'))}")
    c.label(objects)
    c.line(f"ret ptr {c.call(otherwise, '%a', '%b', tail=True)}")
    return "\n".join([f"define internal ptr @number.{otherwise}(ptr %a, ptr %b) {{", "entry:", *c.lines, "}"])
