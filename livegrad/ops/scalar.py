"""Scalar primitives: the closed set from which every elementwise formula is made.

A primitive states how it is emitted as LLVM IR, its NumPy function, and its derivative. Everything else in the
library is a formula over these, so nothing else generates code. A formula is an ordinary Python function; called
with `Expr` operands it builds an expression, called with arrays it computes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..native import hot
from .scalar_numpy import NUMPY


class Primitive:
    """One scalar function.

    name: also the name of its emitter (a method of the IR builder or a function of `codegen.math`).
    derivative: function of (g, *args, result) giving one expression per argument (None: no gradient).
    result: "same" as the operands, "bool", or "real" or "complex" numbers whatever the operands are.
    complex_derivative: the derivative by complex arguments (see `differentiate`) of what is not holomorphic.
    """

    __slots__ = ("name", "derivative", "result", "wants_result", "complex_derivative")

    def __init__(
        self,
        name: str,
        derivative: Callable | None = None,
        result: str = "same",
        wants_result: bool = False,
        complex_derivative: Callable | None = None,
    ):
        self.name = name
        self.derivative = derivative
        self.result = result
        self.wants_result = wants_result
        self.complex_derivative = complex_derivative

    def __call__(self, *args: Any) -> Any:
        for a in args:
            if a.__class__ is Expr:
                return simplified(self, args)
        return NUMPY[self.name](*args)

    def __repr__(self) -> str:
        return self.name


class Expr:
    """A node of a scalar expression: a primitive and its arguments, or a named input."""

    __slots__ = ("primitive", "args", "name")

    def __init__(self, primitive: Primitive | None, args: tuple = (), name: str = ""):
        self.primitive = primitive
        self.args = args
        self.name = name

    def __repr__(self) -> str:
        if self.primitive is None:
            return self.name
        return f"{self.primitive.name}({', '.join(map(repr, self.args))})"

    def __add__(self, y):
        return add(self, y)  # noqa: E704

    def __radd__(self, y):
        return add(y, self)  # noqa: E704

    def __sub__(self, y):
        return sub(self, y)  # noqa: E704

    def __rsub__(self, y):
        return sub(y, self)  # noqa: E704

    def __mul__(self, y):
        return mul(self, y)  # noqa: E704

    def __rmul__(self, y):
        return mul(y, self)  # noqa: E704

    def __truediv__(self, y):
        return div(self, y)  # noqa: E704

    def __rtruediv__(self, y):
        return div(y, self)  # noqa: E704

    def __pow__(self, y):
        return pow(self, y)  # noqa: E704

    def __rpow__(self, y):
        return pow(y, self)  # noqa: E704

    def __neg__(self):
        return neg(self)  # noqa: E704

    def __abs__(self):
        return abs(self)  # noqa: E704

    def __lt__(self, y):
        return lt(self, y)  # noqa: E704

    def __le__(self, y):
        return le(self, y)  # noqa: E704

    def __gt__(self, y):
        return gt(self, y)  # noqa: E704

    def __ge__(self, y):
        return ge(self, y)  # noqa: E704

    def __and__(self, y):
        return and_(self, y)  # noqa: E704

    def __or__(self, y):
        return or_(self, y)  # noqa: E704

    def __invert__(self):
        return not_(self)  # noqa: E704


def is_const(x: Any, value: float) -> bool:
    return x.__class__ is not Expr and not isinstance(x, bool) and x == value


def simplified(primitive: Primitive, args: tuple) -> Any:
    """An expression with the identities removed that hold for every IEEE value (x*1, x+0 for gradients, x/1)."""
    name = primitive.name
    if name == "mul":
        a, b = args
        if is_const(a, 1):
            return b
        if is_const(b, 1):
            return a
        # A derivative that is the constant zero contributes nothing, whatever g is.
        if is_const(a, 0) or is_const(b, 0):
            return 0.0
    elif name == "add":
        a, b = args
        if is_const(a, 0):
            return b
        if is_const(b, 0):
            return a
    elif name == "sub":
        a, b = args
        if is_const(b, 0):
            return a
        if is_const(a, 0):
            return neg(b)
    elif name == "div" and is_const(args[1], 1) or name == "pow" and is_const(args[1], 1):
        return args[0]
    elif name == "neg" and args[0].__class__ is Expr and args[0].primitive is neg:
        return args[0].args[0]
    elif name == "conj":
        (x,) = args
        if x.__class__ is not Expr:
            return x.conjugate()
        if x.primitive is conj:
            return x.args[0]
        if x.primitive is not None and x.primitive.result in ("real", "bool"):
            return x
    return Expr(primitive, args)


LN2 = math.log(2.0)
LN10 = math.log(10.0)

# --- arithmetic -------------------------------------------------------------------------------------------------
add = Primitive("add", lambda g, x, y: (g, g))
sub = Primitive("sub", lambda g, x, y: (g, neg(g)))
mul = Primitive("mul", lambda g, x, y: (g * y, g * x))
div = Primitive("div", lambda g, x, y: (g / y, neg(g) * ((x / y) / y)))
neg = Primitive("neg", lambda g, x: (neg(g),))
abs = Primitive("abs", lambda g, x: (g * sign(x),), "real", complex_derivative=lambda g, x: (real(g) * sign(x),))
# x / |x|, and 0 at 0.
sign = Primitive("sign", complex_derivative=lambda g, x: (_across(g, x, sign(x)),))
reciprocal = Primitive("reciprocal", lambda g, x, r: (neg(g) * (r * r),), wants_result=True)
square = Primitive("square", lambda g, x: (g * (x * 2),))
fmod = Primitive("fmod", lambda g, x, y: (g, neg(g) * trunc(x / y)))
remainder = Primitive("remainder", lambda g, x, y: (g, neg(g) * floor_divide(x, y)))
floor_divide = Primitive("floor_divide")
trunc_divide = Primitive("trunc_divide")
maximum = Primitive("maximum", lambda g, x, y: (_share(g, x < y, eq(x, y)), _share(g, x > y, eq(x, y))))
minimum = Primitive("minimum", lambda g, x, y: (_share(g, x > y, eq(x, y)), _share(g, x < y, eq(x, y))))
pow = Primitive(
    "pow",
    lambda g, x, y, r: (
        where(eq(y, 0), 0.0, g * (y * pow(x, y - 1))),
        where(and_(eq(x, 0), ge(y, 0)), 0.0, g * (r * log(x))),
    ),
    wants_result=True,
    complex_derivative=lambda g, x, y: (
        where(eq(y, 0), 0.0, g * conj(y * pow(x, y - 1))),
        where(and_(eq(x, 0), ge(real(y), 0)), 0.0, g * conj(pow(x, y) * log(x))),
    ),
)
# --- parts of complex numbers -----------------------------------------------------------------------------------
conj = Primitive("conj", lambda g, x: (g,), complex_derivative=lambda g, x: (conj(g),))
real = Primitive("real", lambda g, x: (g,), "real", complex_derivative=lambda g, x: (real(g),))
imag = Primitive("imag", None, "real", complex_derivative=lambda g, x: (real(g) * 1j,))
# Of two real numbers, the parts.
complex_ = Primitive("complex", None, "complex", complex_derivative=lambda g, x, y: (real(g), imag(g)))
angle = Primitive("angle", None, "real", complex_derivative=lambda g, x: (_over_size(real(g) * (x * 1j), x),))


def _across(g: Any, x: Any, direction: Any) -> Any:
    """What of g is at right angles to x, over |x|; nothing at 0."""
    return where(eq(x, 0), 0.0, (g - real(g * conj(direction)) * direction) / abs(x))


def _over_size(part: Any, x: Any) -> Any:
    """part / |x|^2, and 0 at 0."""
    size = abs(x)
    return where(eq(x, 0), 0.0, part / (size * size))


copysign = Primitive("copysign", lambda g, x, y, r: (g * where(eq(x, 0), 0.0, r / x), 0.0), wants_result=True)


def _share(g: Any, lost: Any, tie: Any) -> Any:
    """Nothing for the operand that was not taken, half at a tie; all of it for both where one is NaN, as in PyTorch."""
    return where(lost, 0.0, where(tie, g / 2, g))


# --- exponentials and logarithms --------------------------------------------------------------------------------
exp = Primitive("exp", lambda g, x, r: (g * r,), wants_result=True)
exp2 = Primitive("exp2", lambda g, x, r: (g * (r * LN2),), wants_result=True)
expm1 = Primitive("expm1", lambda g, x, r: (g * (r + 1),), wants_result=True)
log = Primitive("log", lambda g, x: (g / x,))
log2 = Primitive("log2", lambda g, x: (g / (x * LN2),))
log10 = Primitive("log10", lambda g, x: (g / (x * LN10),))
log1p = Primitive("log1p", lambda g, x: (g / (x + 1),))
sqrt = Primitive("sqrt", lambda g, x, r: (g / (r * 2),), wants_result=True)
rsqrt = Primitive("rsqrt", lambda g, x, r: (g * (r * r * r) * -0.5,), wants_result=True)
logaddexp = Primitive("logaddexp", lambda g, x, y: (g / (exp(y - x) + 1), g / (exp(x - y) + 1)))
hypot = Primitive("hypot", lambda g, x, y, r: (g * (x / r), g * (y / r)), wants_result=True)

# --- trigonometry and its hyperbolic kin ------------------------------------------------------------------------
sin = Primitive("sin", lambda g, x: (g * cos(x),))
cos = Primitive("cos", lambda g, x: (neg(g) * sin(x),))
tan = Primitive("tan", lambda g, x, r: (g * (r * r + 1),), wants_result=True)
asin = Primitive("asin", lambda g, x: (g * rsqrt(1 - x * x),))
acos = Primitive("acos", lambda g, x: (neg(g) * rsqrt(1 - x * x),))
atan = Primitive("atan", lambda g, x: (g / (x * x + 1),))


def _over_square(part: Any, x: Any, y: Any) -> Any:
    """part / (x² + y²), and 0 at the origin, where an angle has no derivative."""
    square = x * x + y * y
    return where(eq(square, 0), 0.0, part / square)


atan2 = Primitive("atan2", lambda g, x, y: (g * _over_square(y, x, y), neg(g) * _over_square(x, x, y)))
sinh = Primitive("sinh", lambda g, x: (g * cosh(x),))
cosh = Primitive("cosh", lambda g, x: (g * sinh(x),))
tanh = Primitive("tanh", lambda g, x, r: (g * (1 - r * r),), wants_result=True)
asinh = Primitive("asinh", lambda g, x: (g * rsqrt(x * x + 1),))
acosh = Primitive(
    "acosh",
    lambda g, x: (g * rsqrt(x * x - 1),),
    complex_derivative=lambda g, x: (g * conj(rsqrt(x - 1) * rsqrt(x + 1)),),
)
atanh = Primitive("atanh", lambda g, x: (g / (1 - x * x),))
sigmoid = Primitive("sigmoid", lambda g, x, r: (g * ((1 - r) * r),), wants_result=True)

# --- special functions ------------------------------------------------------------------------------------------
erf = Primitive("erf", lambda g, x: (g * (exp(neg(x * x)) * (2 / math.sqrt(math.pi))),))
erfc = Primitive("erfc", lambda g, x: (neg(g) * (exp(neg(x * x)) * (2 / math.sqrt(math.pi))),))
erfinv = Primitive("erfinv", lambda g, x, r: (g * (exp(r * r) * (math.sqrt(math.pi) / 2)),), wants_result=True)
lgamma = Primitive("lgamma", lambda g, x: (g * digamma(x),))
digamma = Primitive("digamma", lambda g, x: (g * trigamma(x),))


def trigamma(x: Any) -> Any:
    """The derivative of digamma: recurrence up by eight, then the asymptotic series (Abramowitz and Stegun 6.4.12);
    the reflection formula for x < 1/2 (6.4.7)."""
    left = x < 0.5
    y = where(left, 1 - x, x)
    total = 0.0
    for k in range(8):
        total = total + 1 / ((y + k) * (y + k))
    z = y + 8.0
    inv = 1 / z
    i2 = inv * inv
    series = inv + i2 / 2 + i2 * inv * (1 / 6 - i2 * (1 / 30 - i2 * (1 / 42 - i2 * (1 / 30 - i2 * (5 / 66)))))
    total = total + series
    s = sin((x - floor(x)) * math.pi)
    return where(left, (math.pi * math.pi) / (s * s) - total, total)


# --- rounding ---------------------------------------------------------------------------------------------------
floor = Primitive("floor")
ceil = Primitive("ceil")
trunc = Primitive("trunc")
round = Primitive("round")

# --- comparison and choice --------------------------------------------------------------------------------------
eq = Primitive("eq", result="bool")
ne = Primitive("ne", result="bool")
lt = Primitive("lt", result="bool")
le = Primitive("le", result="bool")
gt = Primitive("gt", result="bool")
ge = Primitive("ge", result="bool")
where = Primitive("where")  # its derivative: `_of_choice`
isnan = Primitive("isnan", result="bool")
isinf = Primitive("isinf", result="bool")
isfinite = Primitive("isfinite", result="bool")
signbit = Primitive("signbit", result="bool")

# --- bits -------------------------------------------------------------------------------------------------------
and_ = Primitive("and_")
or_ = Primitive("or_")
xor = Primitive("xor")
not_ = Primitive("not_")
shl = Primitive("shl")
shr = Primitive("shr")


@hot
def postorder(expr: Any) -> list[Expr]:
    """The nodes of an expression, arguments before what uses them, each once."""
    order: list[Expr] = []
    seen: set[int] = set()
    stack = [(expr, False)]
    while stack:
        node, done = stack.pop()
        if node.__class__ is not Expr or (not done and id(node) in seen):
            continue
        if done:
            order.append(node)
            continue
        seen.add(id(node))
        stack.append((node, True))
        stack.extend((a, False) for a in node.args)
    return order


def differentiate(expr: Any, inputs: list[Expr], g: Any, result: Expr | None, over_complex: bool = False) -> list:
    """Reverse-mode derivative of a scalar expression: for each input, g times the derivative by it.

    `result`, where given, stands for the value of the whole expression where the outermost primitive's derivative is
    stated by it.
    over_complex: the inputs are complex numbers. The gradient by z is then that by the conjugate of z, which points
    where a real loss grows (Kreutz-Delgado, "The complex gradient operator and the CR-calculus", 2009): for a
    holomorphic f it is g times the conjugate of f', and as f' commutes with conjugation, that is the derivative over
    conjugated operands.
    Returns the gradients (None where the input does not matter).
    """
    gradient: dict[int, Any] = {id(expr): g} if expr.__class__ is Expr else {}

    def add_to(arg: Any, part: Any) -> None:
        if arg.__class__ is Expr and part is not None and not is_const(part, 0):
            held = gradient.get(id(arg))
            gradient[id(arg)] = part if held is None else held + part

    for node in reversed(postorder(expr)):
        flowing = gradient.get(id(node))
        p = node.primitive
        if flowing is None or p is None:
            continue
        if p is where:
            for input, part in zip(inputs, _of_choice(node, inputs, flowing, over_complex)):
                add_to(input, part)
            continue
        if p.derivative is None and not (over_complex and p.complex_derivative):
            continue
        if over_complex and p.complex_derivative is not None:
            parts = p.complex_derivative(flowing, *node.args)
        else:
            operands = node.args
            if p.wants_result:
                operands = (*operands, result if node is expr and result is not None else node)
            if over_complex:
                operands = tuple([conj(a) for a in operands])
            parts = p.derivative(flowing, *operands)
        for arg, part in zip(node.args, parts):
            add_to(arg, part)
    return [gradient.get(id(i)) for i in inputs]


def _of_choice(node: Expr, inputs: list[Expr], g: Any, over_complex: bool) -> list:
    """The gradient by each input of a choice: the choice of the gradients.

    To let 0 flow into the branch not taken would not do: times a derivative that is infinite there it is NaN.
    """
    condition, *branches = node.args
    taken, other = [differentiate(b, inputs, g, None, over_complex) for b in branches]
    return [
        None if x is y is None else where(condition, 0.0 if x is None else x, 0.0 if y is None else y)
        for x, y in zip(taken, other)
    ]


# What is defined for complex operands (comparisons in order, rounding and bits are not).
_OF_COMPLEX = frozenset((
    "add", "sub", "mul", "div", "neg", "abs", "sign", "reciprocal", "square", "pow", "conj", "real", "imag", "angle",
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "rsqrt", "logaddexp", "sin", "cos", "tan", "asin",
    "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "sigmoid", "eq", "ne", "where", "isnan", "isinf",
    "isfinite", "and_", "or_", "xor", "not_", "complex",
))  # fmt: skip


def over_complex(expr: Any) -> str | None:
    """What an expression over complex inputs gives: "complex", "real" or "bool"; None where it is not defined."""
    found: dict[int, str] = {}

    def of(a: Any) -> str:
        if a.__class__ is Expr:
            return found[id(a)]
        return "bool" if isinstance(a, bool) else "complex" if isinstance(a, complex) else "real"

    for node in postorder(expr):
        p = node.primitive
        if p is None:
            found[id(node)] = "bool" if node.name == "condition" else "complex"
            continue
        kinds = [of(a) for a in (node.args[1:] if p is where else node.args)]
        if p.name not in _OF_COMPLEX and "complex" in kinds:
            return None
        kind = "complex" if "complex" in kinds else "real" if "real" in kinds else "bool"
        if p.name in ("and_", "or_", "xor", "not_") and kind != "bool":
            return None
        found[id(node)] = kind if p.result == "same" else p.result
    return of(expr)


def inputs_of(expr: Any) -> set[str]:
    """Names of the inputs that an expression reads."""
    return {node.name for node in postorder(expr) if node.primitive is None}
