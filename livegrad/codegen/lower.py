"""Lowering: each scalar primitive as instructions, for floats, integers and booleans."""

from __future__ import annotations

import functools
from collections.abc import Callable
from math import pi
from typing import Any

from .. import dtypes
from ..ops import scalar
from ..ops.scalar import Expr, postorder
from . import math
from .ir import Builder, Reg
from .parts import named_part, parts

FLOAT_KINDS = ("f32", "f64")


def lower_formula(b: Builder, expr: Any, inputs: dict[str, Reg], compute: dtypes.dtype) -> Reg:
    """Emit a scalar expression. `inputs` are registers of the compute kind (conditions may be i1)."""
    if compute.is_complex:
        return _lower_parts(b, expr, inputs, compute)
    return _lower_real(b, expr, inputs, compute, {})


def _lower_real(b: Builder, expr: Any, inputs: dict[str, Reg], compute: dtypes.dtype, made: dict[int, Reg]) -> Reg:
    """made: gets what each node became, and is not asked for one twice."""
    if expr.__class__ is not Expr:
        return _constant(b, compute.compute_kind, expr)
    for node in postorder(expr):
        if id(node) in made:
            continue
        if node.primitive is None:
            made[id(node)] = inputs[node.name]
            continue
        args = [made[id(a)] if a.__class__ is Expr else a for a in node.args]
        made[id(node)] = lower(b, node.primitive.name, args, compute)
    return made[id(expr)]


def _lower_parts(b: Builder, expr: Any, inputs: dict[str, Reg], compute: dtypes.dtype) -> Reg:
    """Emit an expression over complex numbers part by part; the result is complex only where the expression's is."""
    given: dict[str, Reg] = {}
    for name, reg in inputs.items():
        if name == "condition":
            given[name] = reg
        else:
            given[named_part(name, False)], given[named_part(name, True)] = b.parts(reg)
    found, of_parts, made = parts(expr), compute.to_real(), {}
    real = _lower_real(b, found.real, given, of_parts, made)
    if scalar.over_complex(expr) != "complex":
        return real
    return b.paired(real, _lower_real(b, found.imag, given, of_parts, made), compute.kind)


@functools.cache
def _applied(name: str, count: int) -> Expr:
    return Expr(getattr(scalar, name), tuple(Expr(None, (), str(k)) for k in range(count)))


def _constant(b: Builder, kind: str, value: Any) -> Reg:
    if value is True or value is False:
        return b.const("i1", value)
    if kind in FLOAT_KINDS:
        return b.const(kind, float(value))
    if kind == "i1":
        return b.const("i1", bool(value))
    return b.const(kind, int(value))


def lower(b: Builder, name: str, args: list, compute: dtypes.dtype) -> Reg:
    """Emit one primitive. Arguments are registers or Python numbers; numbers take the compute kind."""
    kind = compute.compute_kind
    if compute.is_complex:
        if name == "add":  # part by part: as the parts lie, nothing has to be taken apart
            return b.fadd(*args)
        return _lower_parts(b, _applied(name, len(args)), {str(k): a for k, a in enumerate(args)}, compute)
    regs = [a if isinstance(a, Reg) else _constant(b, kind, a) for a in args]
    if name == "where":
        c, x, y = regs
        if c.kind != "i1":
            c = b.convert(c, "i1")
        return b.select(c, x, y)
    first = regs[0].kind
    if name in ("and_", "or_", "xor", "not_") and any(r.kind == "i1" for r in regs):
        return getattr(b, name)(*(b.convert(r, "i1") for r in regs))
    if len(regs) == 2 and regs[0].kind != regs[1].kind:
        regs = [b.convert(r, kind) for r in regs]
        first = kind
    if first in FLOAT_KINDS:
        return _FLOAT[name](b, *regs)
    if first == "i1":
        return _BOOL[name](b, *regs)
    return _INTEGER[name](b, compute.is_signed, *regs)


def _compare_float(pred: str) -> Callable:
    return lambda b, x, y: b.fcmp(pred, x, y)


def _from_math(name: str) -> Callable:
    function = getattr(math, name)
    return lambda b, *xs: function(b, *xs)


def _infinite(b: Builder, x: Reg) -> Reg:
    return b.fcmp("oeq", b.fabs(x), b.like(x, float("inf")))


def _finite(b: Builder, x: Reg) -> Reg:
    return b.fcmp("olt", b.fabs(x), b.like(x, float("inf")))


def _sign_bit(b: Builder, x: Reg) -> Reg:
    bits = b.bitcast(x, "i32" if x.kind == "f32" else "i64")
    return b.icmp("slt", bits, b.like(bits, 0))


def _copy_sign(b: Builder, x: Reg, y: Reg) -> Reg:
    """By bits: LLVM narrows its own copysign through conversions, down to calls of functions that are not there."""
    kind = "i32" if x.kind == "f32" else "i64"
    bits = 32 if x.kind == "f32" else 64
    size, sign = b.bitcast(x, kind), b.bitcast(y, kind)
    mask = b.like(size, -(1 << (bits - 1)))
    return b.bitcast(b.or_(b.and_(size, b.not_(mask)), b.and_(sign, mask)), x.kind)


def _angle(b: Builder, x: Reg) -> Reg:
    """Of a real number: pi for a negative one, NaN for NaN, else 0."""
    turned = b.select(b.fcmp("olt", x, b.like(x, 0.0)), b.like(x, pi), b.like(x, 0.0))
    return b.select(b.fcmp("uno", x, x), x, turned)


def _itself(b: Builder, *args: Any) -> Reg:
    """The conjugate and the real part of a real number; the operand is the last argument, after an integer's sign."""
    return args[-1]


_FLOAT: dict[str, Callable] = {
    "conj": _itself,
    "real": _itself,
    "angle": _angle,
    "add": lambda b, x, y: b.fadd(x, y),
    "sub": lambda b, x, y: b.fsub(x, y),
    "mul": lambda b, x, y: b.fmul(x, y),
    "div": lambda b, x, y: b.fdiv(x, y),
    "neg": lambda b, x: b.fneg(x),
    "abs": lambda b, x: b.fabs(x),
    "reciprocal": lambda b, x: b.fdiv(b.like(x, 1.0), x),
    "square": lambda b, x: b.fmul(x, x),
    "sqrt": lambda b, x: b.sqrt(x),
    "rsqrt": lambda b, x: b.fdiv(b.like(x, 1.0), b.sqrt(x)),
    "larger": lambda b, x, y: b.fmax(y, x),  # x where y is NaN
    "smaller": lambda b, x, y: b.fmin(y, x),
    "floor": lambda b, x: b.floor(x),
    "ceil": lambda b, x: b.ceil(x),
    "trunc": lambda b, x: b.trunc(x),
    "round": lambda b, x: b.rint(x),
    "copysign": _copy_sign,
    "trunc_divide": lambda b, x, y: b.trunc(b.fdiv(x, y)),
    "eq": _compare_float("oeq"),
    "ne": _compare_float("une"),
    "lt": _compare_float("olt"),
    "le": _compare_float("ole"),
    "gt": _compare_float("ogt"),
    "ge": _compare_float("oge"),
    "isnan": lambda b, x: b.fcmp("uno", x, x),
    "isinf": _infinite,
    "isfinite": _finite,
    "signbit": _sign_bit,
}


class _Lazy(dict):
    """Functions of `codegen.math`, bound on first use."""

    def __missing__(self, name: str) -> Callable:
        found = self[name] = _from_math(name)
        return found


_FLOAT = _Lazy(_FLOAT)


# --- integers ---------------------------------------------------------------------------------------------------


def _divisor(b: Builder, signed: bool, x: Reg, y: Reg) -> Reg:
    """A divisor that cannot trap: zero (which the operator has refused) and -1 become 1."""
    zero = b.icmp("eq", y, b.like(y, 0))
    if signed:
        zero = b.or_(zero, b.icmp("eq", y, b.like(y, -1)))
    return b.select(zero, b.like(y, 1), y)


def _trunc_divide(b: Builder, signed: bool, x: Reg, y: Reg) -> Reg:
    safe = _divisor(b, signed, x, y)
    if not signed:
        return b.udiv(x, safe)
    return b.select(b.icmp("eq", y, b.like(y, -1)), b.neg(x), b.sdiv(x, safe))


def _int_fmod(b: Builder, signed: bool, x: Reg, y: Reg) -> Reg:
    safe = _divisor(b, signed, x, y)
    return b.srem(x, safe) if signed else b.urem(x, safe)


def _int_remainder(b: Builder, signed: bool, x: Reg, y: Reg) -> Reg:
    r = _int_fmod(b, signed, x, y)
    if not signed:
        return r
    zero = b.like(r, 0)
    differ = b.icmp("slt", b.xor(r, y), zero)
    return b.select(b.and_(b.icmp("ne", r, zero), differ), b.add(r, y), r)


def _int_floor_divide(b: Builder, signed: bool, x: Reg, y: Reg) -> Reg:
    q = _trunc_divide(b, signed, x, y)
    if not signed:
        return q
    r = _int_fmod(b, signed, x, y)
    zero = b.like(r, 0)
    inexact = b.and_(b.icmp("ne", r, zero), b.icmp("slt", b.xor(x, y), zero))
    return b.select(inexact, b.sub(q, b.like(q, 1)), q)


def _int_abs(b: Builder, signed: bool, x: Reg) -> Reg:
    return b.select(b.icmp("slt", x, b.like(x, 0)), b.neg(x), x) if signed else x


def _int_sign(b: Builder, signed: bool, x: Reg) -> Reg:
    zero, one = b.like(x, 0), b.like(x, 1)
    positive = b.select(b.icmp("ne", x, zero), one, zero)
    return b.select(b.icmp("slt", x, zero), b.like(x, -1), positive) if signed else positive


def _int_extreme(b: Builder, signed: bool, x: Reg, y: Reg, pred: str) -> Reg:
    return b.select(b.icmp(("s" if signed else "u") + pred, x, y), x, y)


def _int_compare(pred: str) -> Callable:
    if pred in ("eq", "ne"):
        return lambda b, signed, x, y: b.icmp(pred, x, y)
    return lambda b, signed, x, y: b.icmp(("s" if signed else "u") + pred, x, y)


def _int_pow(b: Builder, signed: bool, x: Reg, y: Reg) -> Reg:
    """Square and multiply over all bits; a negative exponent gives 1, -1 or 0 as integer division would."""
    bits = {"i8": 8, "i16": 16, "i32": 32, "i64": 64}[x.kind]
    one, zero = b.like(x, 1), b.like(x, 0)
    result, base, left = one, x, y
    for _ in range(bits):
        odd = b.icmp("ne", b.and_(left, one), zero)
        result = b.select(odd, b.mul(result, base), result)
        base = b.mul(base, base)
        left = b.lshr(left, one)
    if not signed:
        return result
    minus = b.like(x, -1)
    even = b.icmp("eq", b.and_(y, one), zero)
    inverse = b.select(b.icmp("eq", x, one), one, zero)
    inverse = b.select(b.icmp("eq", x, minus), b.select(even, one, minus), inverse)
    return b.select(b.icmp("slt", y, zero), inverse, result)


def _shift(name: str) -> Callable:
    def shift(b: Builder, signed: bool, x: Reg, y: Reg) -> Reg:
        bits = {"i8": 8, "i16": 16, "i32": 32, "i64": 64}[x.kind]
        inside = b.icmp("ult", y, b.like(y, bits))
        if name == "shr" and signed:
            return b.ashr(x, b.select(inside, y, b.like(y, bits - 1)))
        # Not selected between y and 0: LLVM takes that for what NVIDIA's shift does, which looks at 32 bits of y alone.
        amount = b.and_(y, b.like(y, bits - 1))
        return b.select(inside, b.shl(x, amount) if name == "shl" else b.lshr(x, amount), b.like(x, 0))

    return shift


_INTEGER: dict[str, Callable] = {
    "conj": _itself,
    "real": _itself,
    "add": lambda b, s, x, y: b.add(x, y),
    "sub": lambda b, s, x, y: b.sub(x, y),
    "mul": lambda b, s, x, y: b.mul(x, y),
    "square": lambda b, s, x: b.mul(x, x),
    "neg": lambda b, s, x: b.neg(x),
    "abs": _int_abs,
    "sign": _int_sign,
    "trunc_divide": _trunc_divide,
    "floor_divide": _int_floor_divide,
    "fmod": _int_fmod,
    "remainder": _int_remainder,
    "pow": _int_pow,
    "maximum": lambda b, s, x, y: _int_extreme(b, s, x, y, "gt"),
    "minimum": lambda b, s, x, y: _int_extreme(b, s, x, y, "lt"),
    "larger": lambda b, s, x, y: _int_extreme(b, s, x, y, "gt"),
    "smaller": lambda b, s, x, y: _int_extreme(b, s, x, y, "lt"),
    **{pred: _int_compare(pred) for pred in ("eq", "ne", "lt", "le", "gt", "ge")},
    "and_": lambda b, s, x, y: b.and_(x, y),
    "or_": lambda b, s, x, y: b.or_(x, y),
    "xor": lambda b, s, x, y: b.xor(x, y),
    "not_": lambda b, s, x: b.not_(x),
    "shl": _shift("shl"),
    "shr": _shift("shr"),
    "floor": lambda b, s, x: x,
    "ceil": lambda b, s, x: x,
    "trunc": lambda b, s, x: x,
    "round": lambda b, s, x: x,
    "isnan": lambda b, s, x: b.const("i1", False),
    "isinf": lambda b, s, x: b.const("i1", False),
    "isfinite": lambda b, s, x: b.const("i1", True),
    "signbit": lambda b, s, x: b.icmp("slt", x, b.like(x, 0)) if s else b.const("i1", False),
}

_BOOL: dict[str, Callable] = {
    "conj": _itself,
    "real": _itself,
    "add": lambda b, x, y: b.or_(x, y),
    "mul": lambda b, x, y: b.and_(x, y),
    "maximum": lambda b, x, y: b.or_(x, y),
    "minimum": lambda b, x, y: b.and_(x, y),
    "eq": lambda b, x, y: b.not_(b.xor(x, y)),
    "ne": lambda b, x, y: b.xor(x, y),
    "lt": lambda b, x, y: b.and_(b.not_(x), y),
    "le": lambda b, x, y: b.or_(b.not_(x), y),
    "gt": lambda b, x, y: b.and_(x, b.not_(y)),
    "ge": lambda b, x, y: b.or_(x, b.not_(y)),
    "and_": lambda b, x, y: b.and_(x, y),
    "or_": lambda b, x, y: b.or_(x, y),
    "xor": lambda b, x, y: b.xor(x, y),
    "not_": lambda b, x: b.not_(x),
    "abs": lambda b, x: x,
    "sign": lambda b, x: x,
    "square": lambda b, x: x,
    "isnan": lambda b, x: b.const("i1", False),
    "isinf": lambda b, x: b.const("i1", False),
    "isfinite": lambda b, x: b.const("i1", True),
    "signbit": lambda b, x: b.const("i1", False),
    "pow": lambda b, x, y: b.or_(x, b.not_(y)),
    "floor": lambda b, x: x,
    "ceil": lambda b, x: x,
    "trunc": lambda b, x: x,
    "round": lambda b, x: x,
}
