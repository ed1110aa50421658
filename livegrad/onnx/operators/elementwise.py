"""Elementwise operators: arithmetic, comparisons, logic, powers and logarithms, rounding, casts, choices."""

from __future__ import annotations

import math

import livegrad

from ..writer import is_value
from .table import TABLE, same, translates

for _kind, _names in {
    "Abs": "abs absolute", "Neg": "neg negative", "Exp": "exp", "Log": "log", "Sqrt": "sqrt", "Sin": "sin",
    "Cos": "cos", "Tan": "tan", "Asin": "asin arcsin", "Acos": "acos arccos", "Atan": "atan arctan", "Sinh": "sinh",
    "Cosh": "cosh",
    "Asinh": "asinh arcsinh", "Acosh": "acosh arccosh", "Atanh": "atanh arctanh", "Floor": "floor", "Ceil": "ceil",
    "Sign": "sign sgn", "Reciprocal": "reciprocal", "Erf": "erf",
    "Identity": "contiguous clone detach alias positive requires_grad requires_grad_ cpu",
}.items():  # fmt: skip
    same(_kind, *_names.split())


# --- arithmetic ---------------------------------------------------------------------------------------------------


def _pair(w, a, b):
    return w.cast(a, w.out.dtype), w.cast(b, w.out.dtype)


@translates()
def add(w, input, other, alpha=1):
    a, b = _pair(w, input, other)
    return w("Add", a, b if alpha == 1 else w("Mul", b, w.number(alpha, w.out.dtype)))


@translates("sub", "subtract")
def sub(w, input, other, alpha=1):
    a, b = _pair(w, input, other)
    return w("Sub", a, b if alpha == 1 else w("Mul", b, w.number(alpha, w.out.dtype)))


@translates()
def rsub(w, input, other, alpha=1):
    return sub(w, other, input, alpha)


@translates("mul", "multiply")
def mul(w, input, other):
    a, b = _pair(w, input, other)
    return w("And", a, b) if w.out.dtype is livegrad.bool else w("Mul", a, b)


@translates("div", "divide", "true_divide", "truediv")
def div(w, input, other, rounding_mode=None):
    a, b = _pair(w, input, other)
    made = w("Div", a, b)
    if rounding_mode is None:
        return made
    if w.out.dtype.is_floating_point:
        return w("Floor", made) if rounding_mode == "floor" else _truncated(w, made)
    return _floored(w, a, b) if rounding_mode == "floor" else made  # ONNX's division of whole numbers truncates


def _truncated(w, x):
    return w("Mul", w("Sign", x), w("Floor", w("Abs", x)))


def _floored(w, a, b):
    """The quotient of whole numbers, rounded down."""
    return w("Div", w("Sub", a, w("Mod", a, b)), b)


@translates("floordiv", "floor_divide")
def floordiv(w, input, other):
    return div(w, input, other, "floor")


@translates("remainder", "mod")
def remainder(w, input, other):
    a, b = _pair(w, input, other)
    if not w.out.dtype.is_floating_point:
        return w("Mod", a, b)
    return w("Sub", a, w("Mul", w("Floor", w("Div", a, b)), b))


@translates()
def fmod(w, input, other):
    return w("Mod", *_pair(w, input, other), fmod=1)


@translates("pow", "float_power")
def pow_(w, input, exponent):
    return w("Pow", *_pair(w, input, exponent))


for _kind, _names in {"Max": "maximum", "Min": "minimum"}.items():
    TABLE[_names] = lambda w, input, other, kind=_kind: w(kind, *_pair(w, input, other))


@translates()
def square(w, input):
    return w("Mul", *_pair(w, input, input))


@translates()
def rsqrt(w, input):
    return w("Reciprocal", w("Sqrt", w.cast(input, w.out.dtype)))


@translates()
def exp2(w, input):
    return w("Pow", w.number(2, w.out.dtype), w.cast(input, w.out.dtype))


@translates()
def expm1(w, input):
    return w("Sub", w("Exp", w.cast(input, w.out.dtype)), w.number(1, w.out.dtype))


@translates()
def log1p(w, input):
    return w("Log", w("Add", w.cast(input, w.out.dtype), w.number(1, w.out.dtype)))


for _name, _base in {"log2": math.log(2), "log10": math.log(10)}.items():
    TABLE[_name] = lambda w, input, base=_base: w(
        "Div", w("Log", w.cast(input, w.out.dtype)), w.number(base, w.out.dtype)
    )


@translates()
def lerp(w, input, end, weight):
    return w("Add", input, w("Mul", w.cast(weight, w.out.dtype), w("Sub", end, input)))


@translates()
def addcmul(w, input, tensor1, tensor2, value=1):
    return w("Add", input, w("Mul", w.number(value, w.out.dtype), w("Mul", tensor1, tensor2)))


@translates()
def addcdiv(w, input, tensor1, tensor2, value=1):
    return w("Add", input, w("Mul", w.number(value, w.out.dtype), w("Div", tensor1, tensor2)))


# --- rounding and bounds ------------------------------------------------------------------------------------------


@translates("round")
def round_(w, input, decimals=0):
    if not decimals:
        return w("Round", input)
    scale = w.number(10.0**decimals, input.dtype)
    return w("Div", w("Round", w("Mul", input, scale)), scale)


@translates("trunc", "fix")
def trunc(w, input):
    return _truncated(w, input)


@translates()
def frac(w, input):
    return w("Sub", input, _truncated(w, input))


@translates("clamp", "clip")
def clamp(w, input, min=None, max=None):
    x = w.cast(input, w.out.dtype)
    if is_value(min) or is_value(max):
        x = x if min is None else w("Max", x, w.cast(min, w.out.dtype))
        return x if max is None else w("Min", x, w.cast(max, w.out.dtype))
    return w("Clip", x, *(None if v is None else w.number(v, w.out.dtype) for v in (min, max)))


@translates()
def clamp_min(w, input, min):
    return clamp(w, input, min)


@translates()
def clamp_max(w, input, max):
    return clamp(w, input, None, max)


@translates()
def nan_to_num(w, input, nan=None, posinf=None, neginf=None):
    bounds = livegrad.finfo(input.dtype)
    x = w("Where", w("IsNaN", input), w.number(nan or 0.0, input.dtype), input)
    for sign, value in ((1, bounds.max if posinf is None else posinf), (0, bounds.min if neginf is None else neginf)):
        infinite = w("IsInf", x, detect_positive=sign, detect_negative=1 - sign)
        x = w("Where", infinite, w.number(value, input.dtype), x)
    return x


# --- comparisons and logic ----------------------------------------------------------------------------------------

for _kind, _names in {
    "Equal": "eq", "Less": "lt less", "LessOrEqual": "le less_equal", "Greater": "gt greater",
    "GreaterOrEqual": "ge greater_equal",
}.items():  # fmt: skip
    for _name in _names.split():
        TABLE[_name] = lambda w, input, other, kind=_kind: w(kind, *w.together(input, other))


@translates("ne", "not_equal")
def ne(w, input, other):
    return w("Not", w("Equal", *w.together(input, other)))


for _name, _kind in {"logical_and": "And", "logical_or": "Or", "logical_xor": "Xor"}.items():
    TABLE[_name] = lambda w, input, other, kind=_kind: w(
        kind, w.cast(input, livegrad.bool), w.cast(other, livegrad.bool)
    )


@translates()
def logical_not(w, input):
    return w("Not", w.cast(input, livegrad.bool))


for _name, _kind in {"and": "And", "or": "Or", "xor": "Xor"}.items():
    for _each in (_name, f"bitwise_{_name}"):
        TABLE[_each] = lambda w, input, other, kind=_kind: w(
            kind if w.out.dtype is livegrad.bool else f"Bitwise{kind}", *_pair(w, input, other)
        )


@translates("invert", "bitwise_not")
def invert(w, input):
    return w("Not" if input.dtype is livegrad.bool else "BitwiseNot", input)


@translates()
def isnan(w, input):
    return w("IsNaN", w.cast(input, input.dtype if input.dtype.is_floating_point else livegrad.float32))


@translates()
def isinf(w, input):
    return w("IsInf", w.cast(input, input.dtype if input.dtype.is_floating_point else livegrad.float32))


@translates()
def isfinite(w, input):
    return w("Not", w("Or", isnan(w, input), isinf(w, input)))


@translates()
def where(w, condition, input, other):
    return w("Where", w.cast(condition, livegrad.bool), *_pair(w, input, other))


@translates()
def masked_fill(w, input, mask, value):
    return w("Where", mask, w.cast(value, input.dtype), input)


# --- casts --------------------------------------------------------------------------------------------------------


@translates(
    "to", "type", "type_as", "float", "double", "half", "bfloat16", "int", "long", "short", "bool", "char", "byte"
)
def to(w, input, *args, **options):
    return w("Identity", input) if input.dtype is w.out.dtype else w.cast(input, w.out.dtype)


@translates("attribute_data")
def data(w, input):
    return w("Identity", input)


@translates("copy")
def copy(w, input, src, non_blocking=False):
    return w("Expand", w.cast(src, input.dtype), w("Shape", input))


@translates("fill", "zero")
def fill(w, input, value=0):
    return w("Expand", w.cast(value, input.dtype), w("Shape", input))


@translates("identity", "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")
def dropout(w, input, p=0.5, training=False, inplace=False, train=None):
    if training or train:
        raise w.refuse("in training mode it draws numbers; export the model in evaluation mode")
    return w("Identity", input)
