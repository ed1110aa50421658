"""Scalar primitives of complex numbers, as formulas over their real and imaginary parts.

Kernels know real numbers only: `parts` turns a formula over complex numbers into one for the real and one for the
imaginary part of the result. Infinities and NaN come out as in PyTorch, whose product and quotient are those of the
textbook, without C's exceptions for them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from ..ops import scalar as s
from ..ops.scalar import Expr, is_const, postorder


class Parts(NamedTuple):
    """A complex number; or where `imag` is 0.0, not an expression, a real one."""

    real: Any
    imag: Any

    @property
    def is_real(self) -> bool:
        return is_const(self.imag, 0)


def _real(x: Any) -> Parts:
    return Parts(x, 0.0)


def _add(x: Parts, y: Parts) -> Parts:
    return Parts(s.add(x.real, y.real), s.add(x.imag, y.imag))


def _sub(x: Parts, y: Parts) -> Parts:
    return Parts(s.sub(x.real, y.real), s.sub(x.imag, y.imag))


def _neg(x: Parts) -> Parts:
    return Parts(s.neg(x.real), s.neg(x.imag))


def _mul(x: Parts, y: Parts) -> Parts:
    return Parts(
        s.sub(s.mul(x.real, y.real), s.mul(x.imag, y.imag)), s.add(s.mul(x.real, y.imag), s.mul(x.imag, y.real))
    )


def _div(x: Parts, y: Parts) -> Parts:
    """By Smith's algorithm (1962): the smaller part of the divisor over the larger one."""
    if y.is_real:
        return Parts(s.div(x.real, y.real), s.div(x.imag, y.real))
    real_size, imag_size = s.abs(y.real), s.abs(y.imag)
    flat = s.ge(real_size, imag_size)
    ratio = s.div(s.where(flat, y.imag, y.real), s.where(flat, y.real, y.imag))
    scale = s.div(1.0, s.add(s.where(flat, y.real, y.imag), s.mul(s.where(flat, y.imag, y.real), ratio)))
    first, second = s.where(flat, x.real, x.imag), s.where(flat, x.imag, x.real)
    along = s.mul(s.add(first, s.mul(second, ratio)), scale)
    across = s.sub(second, s.mul(first, ratio))
    across = s.mul(s.where(flat, across, s.neg(across)), scale)
    by_zero = s.and_(s.eq(real_size, 0.0), s.eq(imag_size, 0.0))
    return Parts(s.where(by_zero, s.div(x.real, real_size), along), s.where(by_zero, s.div(x.imag, real_size), across))


def _abs(x: Parts) -> Parts:
    return _real(s.hypot(x.real, x.imag))


def _sign(x: Parts) -> Parts:
    size = s.hypot(x.real, x.imag)
    nothing = s.eq(size, 0.0)
    return Parts(s.where(nothing, 0.0, s.div(x.real, size)), s.where(nothing, 0.0, s.div(x.imag, size)))


def _exp(x: Parts) -> Parts:
    """exp(a) (cos b + i sin b), a large exponent in two steps: the product may be finite where exp(a) is not."""
    large = s.gt(x.real, _SHIFT)
    size = s.exp(s.sub(x.real, s.where(large, _SHIFT, 0.0)))
    scale = s.where(large, math.exp(_SHIFT), 1.0)
    real = s.mul(s.mul(s.cos(x.imag), scale), size)
    imag = s.mul(s.mul(s.sin(x.imag), scale), size)
    # An infinite exponent counts even where the angle is none.
    lost = s.not_(s.isfinite(x.imag))
    gone = s.and_(s.eq(x.real, -math.inf), lost)
    real = s.where(gone, 0.0, s.where(s.and_(s.eq(x.real, math.inf), lost), math.inf, real))
    return Parts(real, s.where(gone, 0.0, s.where(s.eq(x.imag, 0.0), x.imag, imag)))


_SHIFT = 80.0


def _log(x: Parts) -> Parts:
    """Where |z| is near 1, by log1p of |z|^2 - 1, of which the larger part's share is (m - 1)(m + 1)."""
    a, b = s.abs(x.real), s.abs(x.imag)
    larger = s.gt(a, b)
    most, least = s.where(larger, a, b), s.where(larger, b, a)
    near = s.and_(s.and_(s.gt(most, 0.5), s.lt(most, 2.0)), s.lt(least, 2.0))
    excess = s.add(s.mul(s.sub(most, 1.0), s.add(most, 1.0)), s.mul(least, least))
    far = s.log(s.hypot(x.real, x.imag))
    return Parts(s.where(near, s.mul(s.log1p(excess), 0.5), far), s.atan2(x.imag, x.real))


def _sqrt(x: Parts) -> Parts:
    """The root with a real part that is not negative, without cancellation or overflow."""
    half_size = s.hypot(s.mul(x.real, 0.5), s.mul(x.imag, 0.5))
    root = s.sqrt(s.add(s.mul(s.abs(x.real), 0.5), half_size))
    other = s.div(s.mul(x.imag, 0.5), root)
    left = s.lt(x.real, 0.0)
    real = s.where(left, s.abs(other), root)
    imag = s.where(left, s.copysign(root, x.imag), other)
    nothing = s.and_(s.eq(x.real, 0.0), s.eq(x.imag, 0.0))
    endless = s.isinf(x.imag)
    real = s.where(endless, math.inf, s.where(nothing, 0.0, real))
    return Parts(real, s.where(s.or_(endless, nothing), x.imag, imag))


def _times(x: Any, y: Any) -> Any:
    """x * y, and 0 where one of them is 0 and the other one infinite or NaN."""
    product = s.mul(x, y)
    nothing = s.or_(s.eq(x, 0.0), s.eq(y, 0.0))
    return s.where(s.and_(nothing, s.isnan(product)), 0.0, product)


def _endless(x: Parts, real: Any) -> Any:
    """The real part of sinh and cosh, which is infinite where the exponent is, even where the angle is none."""
    return s.where(s.and_(s.isinf(x.real), s.not_(s.isfinite(x.imag))), math.inf, real)


def _sinh(x: Parts) -> Parts:
    a, b = x
    return Parts(_endless(x, _times(s.sinh(a), s.cos(b))), _times(s.cosh(a), s.sin(b)))


def _cosh(x: Parts) -> Parts:
    a, b = x
    return Parts(_endless(x, s.mul(s.cosh(a), s.cos(b))), _times(s.sinh(a), s.sin(b)))


def _tanh(x: Parts) -> Parts:
    """(sinh a cosh a + i sin b cos b) / (sinh^2 a + cos^2 b), which is 1 + 4 i sin b cos b exp(-2 a) for large a."""
    sine, cosine = s.sin(x.imag), s.cos(x.imag)
    a = s.minimum(s.abs(x.real), _FLAT)
    h = s.sinh(a)
    size = s.add(s.mul(h, h), s.mul(cosine, cosine))
    tail = s.mul(s.mul(s.mul(sine, cosine), 4.0), s.exp(s.mul(s.abs(x.real), -2.0)))
    tail = s.where(s.isinf(x.real), 0.0, tail)
    flat = s.gt(s.abs(x.real), _FLAT)
    real = s.where(flat, 1.0, s.div(s.mul(h, s.cosh(a)), size))
    imag = s.where(flat, tail, s.div(s.mul(sine, cosine), size))
    return Parts(s.copysign(real, x.real), imag)


_FLAT = 22.0


def _times_i(x: Parts) -> Parts:
    return Parts(s.neg(x.imag), x.real)


def _over_i(x: Parts) -> Parts:
    return Parts(x.imag, s.neg(x.real))


def _turned(function: Callable) -> Callable:
    """sin z = sinh(i z) / i, and tan as well."""
    return lambda x: _over_i(function(_times_i(x)))


def _scaled(x: Parts, factor: float) -> Parts:
    return Parts(s.mul(x.real, factor), s.mul(x.imag, factor))


def _pow(x: Parts, y: Parts) -> Parts:
    """exp(y log x); 0 to a power with a positive real part is 0, and anything to the power 0 is 1."""
    made = _exp(_mul(y, _log(x)))
    zero = s.and_(s.eq(x.real, 0.0), s.eq(x.imag, 0.0))
    none = s.and_(s.eq(y.real, 0.0), s.eq(y.imag, 0.0))
    gone = s.and_(zero, s.gt(y.real, 0.0))
    return Parts(s.where(none, 1.0, s.where(gone, 0.0, made.real)), s.where(s.or_(none, gone), 0.0, made.imag))


def _both(test: Any, join: Any) -> Callable:
    return lambda x: _real(join(test(x.real), test(x.imag)))


_ONE = _real(1.0)
# By the primitive's name: the parts of its result, as a function of the parts of its operands. What is not among them
# has no kernel of complex numbers.
PARTS: dict[str, Callable] = {
    "add": _add,
    "sub": _sub,
    "neg": _neg,
    "mul": _mul,
    "div": _div,
    "square": lambda x: _mul(x, x),
    "reciprocal": lambda x: _div(_ONE, x),
    "abs": _abs,
    "sign": _sign,
    "pow": _pow,
    "complex": lambda x, y: Parts(x.real, y.real),
    "conj": lambda x: Parts(x.real, s.neg(x.imag)),
    "real": lambda x: _real(x.real),
    "imag": lambda x: _real(x.imag),
    "angle": lambda x: _real(s.atan2(x.imag, x.real)),
    "exp": _exp,
    "exp2": lambda x: _exp(_scaled(x, s.LN2)),
    "log": _log,
    "log2": lambda x: _scaled(_log(x), 1 / s.LN2),
    "log10": lambda x: _scaled(_log(x), 1 / s.LN10),
    "sqrt": _sqrt,
    "rsqrt": lambda x: _div(_ONE, _sqrt(x)),
    "sinh": _sinh,
    "cosh": _cosh,
    "tanh": _tanh,
    "sin": _turned(_sinh),
    "cos": lambda x: _cosh(_times_i(x)),
    "tan": _turned(_tanh),
    "sigmoid": lambda x: _div(_ONE, _add(_ONE, _exp(_neg(x)))),
    "eq": lambda x, y: _real(s.and_(s.eq(x.real, y.real), s.eq(x.imag, y.imag))),
    "ne": lambda x, y: _real(s.or_(s.ne(x.real, y.real), s.ne(x.imag, y.imag))),
    "isnan": _both(s.isnan, s.or_),
    "isinf": _both(s.isinf, s.or_),
    "isfinite": _both(s.isfinite, s.and_),
}


class NoParts(ValueError):
    """A primitive has no formula over parts."""


def _parts_of(primitive: s.Primitive, args: list[Parts]) -> Parts:
    if primitive is s.where:
        condition, x, y = args
        imag = 0.0 if x.is_real and y.is_real else s.where(condition.real, x.imag, y.imag)
        return Parts(s.where(condition.real, x.real, y.real), imag)
    if primitive.name != "complex" and all(a.is_real for a in args):
        return _real(primitive(*(a.real for a in args)))
    made = PARTS.get(primitive.name)
    if made is None:
        raise NoParts(f"{primitive.name} of complex numbers has no kernel")
    return made(*args)


def named_part(name: str, imag: bool) -> str:
    """What the part of an input is called."""
    return f"{name}.imag" if imag else f"{name}.real"


@functools.cache
def parts(expr: Any) -> Parts:
    """The parts of what an expression gives, as expressions over the parts of its inputs (see `named_part`).

    Raises NoParts.
    """
    made: dict[int, Parts] = {}

    def of(x: Any) -> Parts:
        if x.__class__ is Expr:
            return made[id(x)]
        return Parts(x.real, x.imag) if isinstance(x, complex) else _real(x)

    for node in postorder(expr):
        if node.primitive is None:
            names = (named_part(node.name, False), named_part(node.name, True))
            made[id(node)] = _real(node) if node.name == "condition" else Parts(*(Expr(None, (), n) for n in names))
        else:
            made[id(node)] = _parts_of(node.primitive, [of(a) for a in node.args])
    return of(expr)


def has_parts(expr: Any) -> bool:
    """Whether `parts` has formulas for an expression."""
    try:
        parts(expr)
    except NoParts:
        return False
    return True
