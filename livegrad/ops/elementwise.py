"""Elementwise operators: one formula each."""

from __future__ import annotations

import math
from typing import Any

from .. import dtypes
from ..autograd.mode import MODE
from ..lazy.value import Value
from ..native import hot
from ..precision import REGIONS
from ..tensor import Tensor
from . import dispatch, scalar, writes
from .arguments import checked
from .instruction import Refusal
from .registry import ELEMENTWISE, FUNCTIONS, elementwise, public

POSITIVE, UNIT = (0.1, 4.0), (-0.9, 0.9)


_refuses = RuntimeError  # what says why complex operands are refused, where PyTorch has words of its own for it


def _primitive(name: str, n: int = 1, **options: Any) -> Any:
    names = ("input", "other")[:n]
    return elementwise(name, getattr(scalar, name), names=names, **options)


# --- arithmetic -------------------------------------------------------------------------------------------------

_SUB_BOOL = (
    "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or `logical_xor()` operator "
    "instead."
)
_NEG_BOOL = (
    "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a mask, use the `~` "
    "or `logical_not()` operator instead."
)
_primitive("add", 2, rule="same")
_primitive("sub", 2, rule="same", bool_error=_SUB_BOOL)
_primitive("mul", 2, rule="same", aliases=("multiply",))
_primitive("div", 2, aliases=("divide", "true_divide"))
elementwise("rsub", lambda input, other: other - input, rule="same", bool_error=_SUB_BOOL, method=False,
            function=False, reference="")  # fmt: skip
_primitive("neg", rule="same", bool_error=_NEG_BOOL, aliases=("negative",))
_primitive("abs", rule="same", aliases=("absolute",))
_primitive(
    "sign",
    rule="same",
    not_complex=NotImplementedError(
        "Unlike NumPy, torch.sign is not intended to support complex numbers. Please use torch.sgn instead."
    ),
)
elementwise("sgn", scalar.sign, names=("input",), rule="same")
_primitive("square", rule="count", node="Pow")
_primitive("reciprocal")
elementwise("_conj", scalar.conj, names=("input",), rule="same", node="Conj", reference="", method=False,
            function=False)  # fmt: skip
_primitive("angle", inplace=False)
_primitive(
    "maximum", 2, rule="same", inplace=False, not_complex=_refuses("maximum not implemented for complex tensors.")
)
_primitive(
    "minimum", 2, rule="same", inplace=False, not_complex=_refuses("minimum not implemented for complex tensors.")
)
elementwise(
    "fmax",
    lambda input, other: scalar.where(scalar.or_(scalar.ge(input, other), scalar.ne(other, other)), input, other),
    rule="same",
    inplace=False,
    not_complex=_refuses("fmax not implemented for complex tensors."),
)
elementwise(
    "fmin",
    lambda input, other: scalar.where(scalar.or_(scalar.le(input, other), scalar.ne(other, other)), input, other),
    rule="same",
    inplace=False,
    not_complex=_refuses("fmin not implemented for complex tensors."),
)
_floor_quotient, _floor_divide = (
    elementwise(
        name, scalar.floor_divide, names=("input", "other"), rule="number", node=node, reference="", grads=grads,
        not_complex="div_floor_cpu",
        method=False, function=False,
    )
    for name, node, grads in (
        ("_floor_quotient", "Div", {}),
        ("_floor_divide", "FloorDivide", dict.fromkeys(("input", "other"), Refusal("floor_divide"))),
    )
)  # fmt: skip
_trunc_divide = elementwise(
    "_trunc_divide", scalar.trunc_divide,
    not_complex="div_trunc_cpu", names=("input", "other"), rule="number", node="TruncDivide", reference="",
    method=False, function=False,
)  # fmt: skip
_remainder = elementwise(
    "_remainder", scalar.remainder,
    not_complex="remainder_cpu", names=("input", "other"), rule="number", node="Remainder", reference="",
    method=False, function=False, domain=POSITIVE,
)  # fmt: skip
elementwise(
    "_remainder_of_number", scalar.remainder,
    not_complex="remainder_cpu", names=("input", "other"), rule="number", node="Remainder", reference="",
    grads={"other": Refusal("remainder")}, method=False, function=False, domain=POSITIVE,
)  # fmt: skip
_fmod = elementwise(
    "_fmod", scalar.fmod, not_complex="fmod_cpu", names=("input", "other"), rule="number", node="Fmod", reference="",
    method=False, function=False, domain=POSITIVE,
)  # fmt: skip
_primitive("copysign", 2)
_primitive("hypot", 2)
_primitive("atan2", 2, aliases=("arctan2",))
_primitive("logaddexp", 2, inplace=False)
elementwise(
    "logaddexp2",
    lambda input, other: scalar.where(
        scalar.and_(scalar.isinf(input), scalar.eq(input, other)),
        input,
        scalar.maximum(input, other) + scalar.log1p(scalar.exp2(-scalar.abs(input - other))) * (1 / scalar.LN2),
    ),
    grads={
        "input": lambda g, input, other: g / (scalar.exp2(other - input) + 1),
        "other": lambda g, input, other: g / (scalar.exp2(input - other) + 1),
    },
    inplace=False,
)
elementwise("_add_scaled", lambda input, other, alpha: input + other * alpha, rule="same", node="Add", reference="",
            method=False, function=False, aside=("alpha",))  # fmt: skip
elementwise("_sub_scaled", lambda input, other, alpha: input - other * alpha, rule="same", node="Sub", reference="",
            method=False, function=False, bool_error=_SUB_BOOL, aside=("alpha",))  # fmt: skip
elementwise("_rsub_scaled", lambda input, other, alpha: other - input * alpha, rule="same", node="Rsub", reference="",
            method=False, function=False, bool_error=_SUB_BOOL, aside=("alpha",))  # fmt: skip
elementwise("_addcmul", lambda input, tensor1, tensor2, value: input + tensor1 * value * tensor2, rule="same",
            node="Addcmul", reference="", method=False, function=False, aside=("value",))  # fmt: skip
elementwise("_addcdiv", lambda input, tensor1, tensor2, value: input + tensor1 * value / tensor2, rule="float",
            node="Addcdiv", reference="", method=False, function=False, aside=("value",))  # fmt: skip
elementwise(
    "_lerp",
    lambda input, end, weight: scalar.where(
        scalar.abs(weight) < 0.5, input + weight * (end - input), end - (end - input) * (1 - weight)
    ),
    node="Lerp", reference="", method=False, function=False,
)  # fmt: skip

# --- powers -----------------------------------------------------------------------------------------------------

_pow = elementwise("_pow", scalar.pow, names=("input", "exponent"), rule="same", node="Pow", reference="pow",
                   method=False, function=False, domain=POSITIVE)  # fmt: skip
# Exponents that programs really use get formulas of their own, as exact and far cheaper.
_FIXED_POWERS = {
    2.0: (lambda input: scalar.square(input), "same"),
    3.0: (lambda input: input * input * input, "same"),
    0.5: (lambda input: scalar.sqrt(input), "float"),
    -0.5: (lambda input: scalar.rsqrt(input), "float"),
    -1.0: (lambda input: scalar.reciprocal(input), "float"),
    -2.0: (lambda input: scalar.reciprocal(input * input), "float"),
}


def _fixed_power(e: float, formula: Any, rule: str) -> Any:
    shown = int(e) if e == int(e) else e
    elementwise(f"_pow_{e}", formula, rule=rule, node="Pow", fixed=(shown,), reference="", method=False,
                       function=False, domain=POSITIVE)  # fmt: skip
    op = ELEMENTWISE[f"_pow_{e}"]
    op.name = "pow"
    return dispatch.unary(op), op


_POWERS = {e: _fixed_power(e, *entry) for e, entry in _FIXED_POWERS.items()}


@public("pow", inplace=True, kind="elementwise", number_first=_pow)
@hot
def pow(input: Tensor, exponent: Any) -> Tensor:
    """Elementwise power; the exponent is a number or a tensor.

    Raises RuntimeError for an integer tensor to a negative integer power.
    """
    if REGIONS.open:
        input, exponent = REGIONS.cast("pow", (input, exponent))
    c = exponent.__class__
    if c is int or c is float:
        d = input.dtype
        if d.category >= dtypes.FLOATING:
            found = _POWERS.get(exponent)
            if found is not None:
                return found[0](input)
        elif c is int and exponent < 0:
            raise RuntimeError("Integers to negative integer powers are not allowed.")
    return _pow(input, exponent)


def _value_pow(v: Value, exponent: Any) -> Value:
    if exponent.__class__ in (int, float) and v.dtype.category >= dtypes.FLOATING and exponent in _POWERS:
        return dispatch.value_call(_POWERS[exponent][1], (v,))
    return dispatch.value_call(ELEMENTWISE["_pow"], (v, exponent))


# --- exponentials, logarithms, trigonometry ---------------------------------------------------------------------

for _name in ("exp", "exp2", "expm1", "sin", "cos", "tanh", "sinh", "cosh", "sigmoid", "atan", "asinh"):
    _primitive(_name)
for _name in ("erf", "erfc"):
    _primitive(_name, not_complex=_name + "_vml_cpu")
for _name in ("log", "log2", "log10", "log1p", "sqrt", "rsqrt"):
    _primitive(_name, domain=POSITIVE)
for _name in ("asin", "acos", "atanh"):
    _primitive(_name, domain=UNIT)
_primitive("lgamma", domain=POSITIVE, not_complex="lgamma_vml_cpu")
_primitive("digamma", domain=POSITIVE, not_complex="digamma")
_primitive("erfinv", domain=UNIT, not_complex="erfinv_vml_cpu")
_primitive("tan", domain=UNIT)
_primitive("acosh", domain=(1.1, 4.0))
for _short, _long in (("asin", "arcsin"), ("acos", "arccos"), ("atan", "arctan"), ("asinh", "arcsinh"),
                      ("acosh", "arccosh"), ("atanh", "arctanh")):  # fmt: skip
    for _suffix in ("", "_"):
        setattr(Tensor, _long + _suffix, getattr(Tensor, _short + _suffix))
    FUNCTIONS[_long] = FUNCTIONS[_short]
elementwise("_logit", lambda input: scalar.log(input / (1 - input)), grads={"input": lambda g, input: scalar.where(
                scalar.or_(input < 0, input > 1), math.nan, g / scalar.abs(input * (1 - input)))},
            node="Logit", reference="logit", not_complex="logit_cpu", method=False, function=False,
            domain=(0.05, 0.95))  # fmt: skip
elementwise("xlogy", lambda input, other: scalar.where(
    scalar.ne(other, other), other, scalar.where(scalar.eq(input, 0), 0.0, input * scalar.log(other))),
    grads={"input": lambda g, input, other: scalar.where(
               scalar.and_(scalar.eq(input, 0), other <= 0), 0.0, g * scalar.log(other)),
           "other": lambda g, input, other: g * (input / other)},
    domain=POSITIVE, not_complex="xlogy_cpu")  # fmt: skip
elementwise("sinc", lambda input: scalar.where(
    scalar.eq(input, 0), 1.0, scalar.sin(input * math.pi) / (input * math.pi)),
    grads={"input": lambda g, input, result: scalar.where(
        scalar.eq(input, 0), 0.0, g * ((scalar.cos(input * math.pi) - result) / input))}, domain=POSITIVE)  # fmt: skip
elementwise("_heaviside", lambda input, values: scalar.where(
    scalar.eq(input, 0), values, scalar.where(input > 0, 1.0, 0.0)), rule="same", node="NotImplemented",
    grads=dict.fromkeys(("input", "values"), Refusal("heaviside")), reference="", method=False,
    function=False, not_complex=_refuses("heaviside is not yet implemented for complex tensors."))  # fmt: skip
elementwise("deg2rad", lambda input: input * (math.pi / 180),
            not_complex=_refuses("deg2rad is not supported for complex tensors."))  # fmt: skip
elementwise("rad2deg", lambda input: input * (180 / math.pi),
            not_complex=_refuses("rad2deg is not supported for complex tensors."))  # fmt: skip

_NO_CLAMP = NotImplementedError("clamp is not supported for complex types")

# --- activations that PyTorch has as methods --------------------------------------------------------------------

elementwise(
    "relu",
    lambda input: scalar.where(input <= 0, 0.0, input),
    rule="number",
    grads={"input": lambda g, result: scalar.where(result <= 0, 0.0, g)},
    not_complex=_NO_CLAMP,
)

# --- rounding ---------------------------------------------------------------------------------------------------

for _name in ("floor", "ceil", "trunc"):
    _primitive(_name, rule="number", aliases=("fix",) if _name == "trunc" else (),
               not_complex=NotImplementedError(f"{_name} is not supported for complex inputs"))  # fmt: skip
_round = elementwise("_round", scalar.round, names=("input",), rule="number", node="Round", reference="round",
                     not_complex="round_vml_cpu", method=False, function=False)  # fmt: skip
elementwise("frac", lambda input: input - scalar.trunc(input))

# --- comparison and choice --------------------------------------------------------------------------------------

_COMPARISONS = (("eq", "eq"), ("ne", "not_equal"), ("lt", "less"), ("le", "less_equal"), ("gt", "greater"),
                ("ge", "greater_equal"))  # fmt: skip
for _name, _long in _COMPARISONS:
    _primitive(_name, 2, rule="bool", aliases=() if _name == "eq" else (_long,), inplace=False)


def _comparing(name: str) -> Any:
    """The comparison that takes the place of its operand: what has a history keeps one, through which nothing flows."""
    plain, op = ELEMENTWISE[name], getattr(scalar, name)
    elementwise(f"_{name}", lambda input, other: scalar.where(op(input, other), 1.0, 0.0), rule="same",
                node=plain.node, reference="", method=False, function=False)  # fmt: skip
    recorded = ELEMENTWISE[f"_{name}"]

    def compared(input: Tensor, other: Any) -> Tensor:
        if MODE.grad and (input._edge is not None or isinstance(other, Tensor) and other._edge is not None):
            return dispatch.call(recorded, (input, other))
        return dispatch.call(plain, (input, other))

    return compared


for _name, _long in _COMPARISONS:
    _compared = _comparing(_name)
    for _each in (_name, _long):
        setattr(Tensor, f"{_each}_", writes.in_place(_compared, f"{_each}_"))
for _name in ("isnan", "isinf", "isfinite"):
    _primitive(_name, rule="bool", inplace=False)
_primitive("signbit", rule="bool", inplace=False,
           not_complex=NotImplementedError("signbit is not implemented for complex tensors."))  # fmt: skip
_where = elementwise("_where", scalar.where, names=("condition", "input", "other"), rule="same", node="Where",
                     reference="where", aside=("condition",), method=False, function=False)  # fmt: skip
_masked_fill = elementwise(
    "_masked_fill", lambda condition, value, input: scalar.where(condition, value, input), rule="same",
    node="MaskedFill", reference="", method=False, function=False, aside=("condition", "value"),
)  # fmt: skip
for _name in ("_where", "_masked_fill"):
    ELEMENTWISE[_name].name = "where" if _name == "_where" else "masked_fill"
_clamp = elementwise(
    "_clamp",
    lambda input, min, max: scalar.minimum(scalar.maximum(input, min), max),
    rule="same",
    grads={
        "input": lambda g, input, min, max: scalar.where(scalar.and_(input >= min, input <= max), g, 0.0),
        "min": lambda g, input, min, max: scalar.where(scalar.and_(min < max, input < min), g, 0.0),
        "max": lambda g, input, min, max: scalar.where(scalar.or_(max < min, input > max), g, 0.0),
    },
    node="Clamp", reference="clamp", method=False, function=False, not_complex=_NO_CLAMP,
)  # fmt: skip
_FROM: dict = {
    "formula": lambda input, min: scalar.maximum(input, min),
    "grads": {
        "input": lambda g, input, min: scalar.where(input >= min, g, 0.0),
        "min": lambda g, input, min: scalar.where(input < min, g, 0.0),
    },
}
_UP_TO: dict = {
    "formula": lambda input, max: scalar.minimum(input, max),
    "grads": {
        "input": lambda g, input, max: scalar.where(input <= max, g, 0.0),
        "max": lambda g, input, max: scalar.where(input > max, g, 0.0),
    },
}
elementwise("clamp_min", **_FROM, rule="same", not_complex=_NO_CLAMP)
elementwise("clamp_max", **_UP_TO, rule="same", not_complex=_NO_CLAMP)
_clamp_from, _clamp_up_to = (
    elementwise(
        name, **bound, rule="same", node="Clamp", reference="", method=False, function=False, not_complex=_NO_CLAMP
    )  # fmt: skip
    for name, bound in (("_clamp_from", _FROM), ("_clamp_up_to", _UP_TO))
)


def _truth(x: Any) -> Any:
    return scalar.ne(x, 0)


elementwise("logical_and", lambda input, other: scalar.and_(_truth(input), _truth(other)), rule="bool", inplace=False)
elementwise("logical_or", lambda input, other: scalar.or_(_truth(input), _truth(other)), rule="bool", inplace=False)
elementwise("logical_xor", lambda input, other: scalar.xor(_truth(input), _truth(other)), rule="bool", inplace=False)
elementwise("logical_not", lambda input: scalar.eq(input, 0), rule="bool", inplace=False)

for _name in ("and", "or", "xor", "not"):
    setattr(Tensor, f"logical_{_name}_", writes.unrecorded(getattr(Tensor, f"logical_{_name}"), f"logical_{_name}_"))

elementwise("_one_unless_zero", lambda input: scalar.where(scalar.ne(input, 0), 1.0, 0.0), node="Ne", reference="",
            method=False, function=False)  # fmt: skip

# --- bits -------------------------------------------------------------------------------------------------------

for _name, _primitive_of in (("bitwise_and", scalar.and_), ("bitwise_or", scalar.or_), ("bitwise_xor", scalar.xor)):
    elementwise(_name, _primitive_of, names=("input", "other"), rule="bits")
elementwise("bitwise_not", scalar.not_, names=("input",), rule="bits")
elementwise("bitwise_left_shift", scalar.shl, names=("input", "other"), rule="integer")
elementwise("bitwise_right_shift", scalar.shr, names=("input", "other"), rule="integer")


# --- functions whose arguments need arranging -------------------------------------------------------------------


def _scaled(plain: str, scaled: str) -> Any:
    fast = ELEMENTWISE[plain]
    plain_call = dispatch.binary(fast)
    scaled_op = ELEMENTWISE[scaled]

    @hot
    def method(input: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
        if alpha == 1 and alpha is not True:
            made = plain_call(input, other)
            if made is NotImplemented:
                raise TypeError(f"{plain}(): argument 'other' must be Tensor or number, not {type(other).__name__}")
            return made
        if not isinstance(other, Tensor) and plain != "rsub":
            return plain_call(input, other * alpha)
        return dispatch.call(scaled_op, (input, other, alpha))

    return method


def _of_number(plain: str, scaled: str) -> Any:
    def function(number: Any, other: Any, *, alpha: Any = 1) -> Tensor:
        if alpha == 1:
            return dispatch.call(ELEMENTWISE[plain], (number, other))
        return dispatch.call(ELEMENTWISE[scaled], (number, other, alpha))

    return function


for _name, _scaled_name in (("add", "_add_scaled"), ("sub", "_sub_scaled"), ("rsub", "_rsub_scaled")):
    _method = _scaled(_name, _scaled_name)
    _method.__name__ = _name
    _short = {"sub": ("subtract",)}.get(_name, ())
    public(
        _name, kind="elementwise", inplace=_name != "rsub", aliases=_short,
        number_first=None if _name == "rsub" else _of_number(_name, _scaled_name),
    )(_method)  # fmt: skip


def _number_by(number: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    if not isinstance(other, Tensor):
        raise TypeError(f"div(): one of the operands must be a Tensor, got {number!r} and {other!r}")
    return div(other.new_tensor(number, dtype=dtypes.of_scalar(number)), other, rounding_mode=rounding_mode)


@public("div", kind="elementwise", inplace=True, aliases=("divide", "true_divide"), number_first=_number_by)
def div(input: Tensor, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """input / other; rounding_mode "floor" or "trunc" rounds the quotient."""
    if rounding_mode is None:
        return _true_divide(input, other)
    if rounding_mode == "floor":
        _check_divisor(input, other)
        return _floor_quotient(input, other)
    if rounding_mode == "trunc":
        _check_divisor(input, other)
        return _trunc_divide(input, other)
    raise RuntimeError(f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{rounding_mode}'")


_true_divide = dispatch.binary(ELEMENTWISE["div"])


def _check_divisor(input: Any, other: Any) -> None:
    """Integer division by zero has no result; it raises, as in PyTorch, which means looking at the divisor now."""
    for x in (input, other):
        if x.dtype.category >= dtypes.FLOATING if isinstance(x, Tensor) else isinstance(x, (float, complex)):
            return
    kinds = [x.dtype if isinstance(x, Tensor) else dtypes.of_scalar(x) for x in (input, other)]
    if kinds[0] is kinds[1] is dtypes.bool_:
        return  # which the operator refuses
    if any(isinstance(x, Tensor) and not x.numel() for x in (input, other)):
        return
    zero = bool((other == 0).any().item()) if isinstance(other, Tensor) else other == 0
    if zero:
        raise RuntimeError("ZeroDivisionError: an integer tensor is divided by zero")


@public("floor_divide", kind="elementwise", inplace=True, number_first=lambda x, y: _reflected("_floor_divide", x, y))
def floor_divide(input: Tensor, other: Any) -> Tensor:
    """The quotient rounded down."""
    _check_divisor(input, other)
    return _floor_divide(input, other)


@public(
    "remainder", kind="elementwise", inplace=True, number_first=lambda x, y: _reflected("_remainder_of_number", x, y)
)
def remainder(input: Tensor, other: Any) -> Tensor:
    """The remainder with the sign of the divisor, as Python's %."""
    _check_divisor(input, other)
    return _remainder(input, other)


@public("fmod", kind="elementwise", inplace=True)
def fmod(input: Tensor, other: Any) -> Tensor:
    """The remainder with the sign of the dividend, as C's fmod."""
    _check_divisor(input, other)
    return _fmod(input, other)


@public("addcmul", kind="elementwise", inplace=True)
def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """input + value * tensor1 * tensor2"""
    return dispatch.call(ELEMENTWISE["_addcmul"], (input, tensor1, tensor2, value))


@public("addcdiv", kind="elementwise", inplace=True)
def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """input + value * tensor1 / tensor2"""
    if not any(t.dtype.category >= dtypes.FLOATING for t in (tensor1, tensor2)):
        raise RuntimeError(
            "Integer division with addcdiv is no longer supported: it would truncate. Use input + value * "
            "livegrad.div(tensor1, tensor2, rounding_mode='trunc') for that, or convert the tensors to floats."
        )
    return dispatch.call(ELEMENTWISE["_addcdiv"], (input, tensor1, tensor2, value))


@public("lerp", kind="elementwise", inplace=True)
def lerp(input: Tensor, end: Tensor, weight: Any) -> Tensor:
    """input + weight * (end - input)"""
    for name, x in (("end", end), ("weight", weight)):
        if isinstance(x, Tensor) and x.dtype is not input.dtype:
            raise RuntimeError(f"expected dtype {input.dtype} for `{name}` but got dtype {x.dtype}")
    return dispatch.call(ELEMENTWISE["_lerp"], (input, end, weight))


@public("round", kind="elementwise", inplace=True)
def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """Round to the nearest integer, or to so many decimals; halves go to even."""
    if decimals == 0:
        return _round(input)
    scale = 10.0 ** builtin_abs(decimals)
    return _round(input * scale) / scale if decimals > 0 else _round(input / scale) * scale


builtin_abs = math.fabs


@public("logit", kind="elementwise", inplace=True)
def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)), with x clamped to [eps, 1 - eps] if eps is given."""
    if eps is not None:
        input = input.clamp(eps, 1 - eps)
    return dispatch.call(ELEMENTWISE["_logit"], (input,))


@public("clamp", kind="elementwise", inplace=True, aliases=("clip",))
def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """Limit to [min, max]; either may be a number, a tensor, or left out."""
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    if min is None:
        return _clamp_up_to(input, max)
    if max is None:
        return _clamp_from(input, min)
    return dispatch.call(ELEMENTWISE["_clamp"], (input, min, max))


def _condition(t: Any) -> Tensor:
    if not isinstance(t, Tensor):
        raise TypeError(f"where(): argument 'condition' must be Tensor, not {type(t).__name__}")
    if t.dtype is not dtypes.bool_:
        if t.dtype is dtypes.uint8:
            return dispatch.cast(t, dtypes.bool_)
        raise RuntimeError(f"where expected condition to be a boolean tensor, but got a tensor with dtype {t.dtype}")
    return t


def where(condition: Tensor, input: Any = None, other: Any = None, *, out: Tensor | None = None) -> Any:
    """`input` where the condition holds, `other` elsewhere; with the condition alone, the indices where it holds."""
    if input is None and other is None:
        return condition.nonzero(as_tuple=True)
    condition = _condition(condition)
    if isinstance(input, Tensor) or isinstance(other, Tensor):
        made = dispatch.call(ELEMENTWISE["_where"], (condition, input, other))
    else:
        from ..creation import tensor

        common = dtypes.promote_types(dtypes.of_scalar(input), dtypes.of_scalar(other))
        made = dispatch.call(
            ELEMENTWISE["_where"], (condition, tensor(input, dtype=common), tensor(other, dtype=common))
        )
    if out is not None:
        from .registry import write_out

        return write_out(out, made)
    return made


FUNCTIONS["where"] = checked(where)
Tensor.where = lambda self, condition, other: where(condition, self, other)  # type: ignore[attr-defined]


@public("masked_fill", kind="elementwise", inplace=True)
def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """`input` with `value` (a number or a zero-dimensional tensor) where the mask holds."""
    if not isinstance(mask, Tensor) or mask.dtype is not dtypes.bool_:
        got = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise RuntimeError(f"masked_fill_ only supports boolean masks, but got mask with dtype {got}")
    if isinstance(value, Tensor) and value._shape != ():
        raise RuntimeError(
            f"masked_fill_ only supports a 0-dimensional value tensor, but got tensor with {value.dim()} dimension(s)."
        )
    if isinstance(value, Tensor) and value.dtype is not input.dtype:
        value = dispatch.cast(value, input.dtype)
    if isinstance(value, complex) and not input.is_complex():
        raise RuntimeError(f"value cannot be converted to type {input.dtype.name} without overflow")
    if isinstance(value, float) and input.dtype.category < dtypes.FLOATING:
        if not math.isfinite(value):
            raise RuntimeError(f"value cannot be converted to type {input.dtype.name} without overflow")
        value = value != 0 if input.dtype is dtypes.bool_ else int(value)
    return dispatch.call(ELEMENTWISE["_masked_fill"], (mask, value, input))


@hot
def _masked_zero(x: Any, mask: Any) -> Any:
    """x with zeros where the mask holds, whatever x is there."""
    op = ELEMENTWISE["_masked_fill"]
    return dispatch.value_call(op, (mask, 0, x)) if x.__class__ is Value else dispatch.call(op, (mask, 0, x))


Value.masked_zero = _masked_zero  # type: ignore[attr-defined]
Tensor.masked_zero = _masked_zero  # type: ignore[attr-defined]


# --- Python's operators -----------------------------------------------------------------------------------------


def _install_python_operators() -> None:
    table = {"add": "add", "sub": "sub", "mul": "mul", "eq": "eq", "ne": "ne", "lt": "lt", "le": "le", "gt": "gt",
             "ge": "ge", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor",
             "lshift": "bitwise_left_shift", "rshift": "bitwise_right_shift"}  # fmt: skip
    for python, name in table.items():
        op = ELEMENTWISE[name]
        setattr(Tensor, f"__{python}__", dispatch.binary(op))
        setattr(Value, f"__{python}__", dispatch.value_function(op))
        if python in ("add", "mul", "and", "or", "xor"):
            setattr(Tensor, f"__r{python}__", dispatch.binary(op, reflected=python not in ("add", "mul")))
            setattr(Value, f"__r{python}__", dispatch.value_function(op, reflected=True))
        if python not in ("eq", "ne", "lt", "le", "gt", "ge"):
            setattr(Tensor, f"__i{python}__", writes.in_place(dispatch.binary(op), f"__i{python}__"))
    Tensor.__hash__ = lambda self: id(self)  # type: ignore[method-assign]
    Value.__hash__ = object.__hash__  # type: ignore[method-assign]
    Value.__eq__ = object.__eq__  # type: ignore[method-assign]
    Value.__ne__ = object.__ne__  # type: ignore[method-assign]
    T: Any = Tensor
    V: Any = Value
    rsub = dispatch.binary(ELEMENTWISE["rsub"])
    T.__rsub__ = rsub
    V.__rsub__ = dispatch.value_function(ELEMENTWISE["sub"], reflected=True)
    true_divide = dispatch.binary(ELEMENTWISE["div"])
    T.__truediv__ = true_divide
    T.__itruediv__ = writes.in_place(true_divide, "__itruediv__")
    T.__rtruediv__ = lambda self, other: self.reciprocal() * other
    V.__truediv__ = dispatch.value_function(ELEMENTWISE["div"])
    V.__rtruediv__ = dispatch.value_function(ELEMENTWISE["div"], reflected=True)
    T.__neg__ = T.neg
    T.__pos__ = lambda self: self
    T.__abs__ = T.abs
    T.__invert__ = T.bitwise_not
    V.__neg__ = dispatch.value_function(ELEMENTWISE["neg"])
    T.__pow__ = pow
    T.__rpow__ = lambda self, other: _pow(*REGIONS.cast("pow", (other, self)) if REGIONS.open else (other, self))
    T.__ipow__ = writes.in_place(pow, "__ipow__")
    V.__pow__ = _value_pow
    T.__floordiv__ = floor_divide
    T.__rfloordiv__ = lambda self, other: _reflected("_floor_divide", other, self)
    T.__ifloordiv__ = writes.in_place(floor_divide, "__ifloordiv__")
    T.__mod__ = remainder
    T.__rmod__ = lambda self, other: _reflected("_remainder_of_number", other, self)
    T.__imod__ = writes.in_place(remainder, "__imod__")


def _reflected(name: str, number: Any, t: Tensor) -> Tensor:
    """`number // t` or `number % t`."""
    _check_divisor(number, t)
    return dispatch.call(ELEMENTWISE[name], (number, t))


_install_python_operators()
