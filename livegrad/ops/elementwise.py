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
    "maximum",
    2,
    rule="same",
    inplace=False,
    tensors=2,
    not_complex=_refuses("maximum not implemented for complex tensors."),
)
_primitive(
    "minimum",
    2,
    rule="same",
    inplace=False,
    tensors=2,
    not_complex=_refuses("minimum not implemented for complex tensors."),
)
elementwise(
    "fmax",
    lambda input, other: scalar.where(scalar.or_(scalar.ge(input, other), scalar.ne(other, other)), input, other),
    rule="same",
    tensors=2,
    inplace=False,
    not_complex=_refuses("fmax not implemented for complex tensors."),
)
elementwise(
    "fmin",
    lambda input, other: scalar.where(scalar.or_(scalar.le(input, other), scalar.ne(other, other)), input, other),
    rule="same",
    tensors=2,
    inplace=False,
    not_complex=_refuses("fmin not implemented for complex tensors."),
)
floor_quotient, plain_floor_divide = (
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
trunc_divide = elementwise(
    "_trunc_divide", scalar.trunc_divide,
    not_complex="div_trunc_cpu", names=("input", "other"), rule="number", node="Div", reference="",
    method=False, function=False,
)  # fmt: skip
plain_remainder = elementwise(
    "_remainder", scalar.remainder,
    not_complex="remainder_cpu", names=("input", "other"), rule="number", node="Remainder", reference="",
    method=False, function=False, domain=POSITIVE,
)  # fmt: skip
elementwise(
    "_remainder_of_number", scalar.remainder,
    not_complex="remainder_cpu", names=("input", "other"), rule="number", node="Remainder", reference="",
    grads={"other": Refusal("remainder")}, method=False, function=False, domain=POSITIVE,
)  # fmt: skip
plain_fmod = elementwise(
    "_fmod", scalar.fmod, not_complex="fmod_cpu", names=("input", "other"), rule="number", node="Fmod", reference="",
    method=False, function=False, domain=POSITIVE,
)  # fmt: skip
_primitive("copysign", 2, tensors=1)
_primitive("hypot", 2, tensors=2)
_primitive("atan2", 2, aliases=("arctan2",), tensors=2)
_primitive("logaddexp", 2, inplace=False, tensors=2)
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
    tensors=2,
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

plain_pow = elementwise("_pow", scalar.pow, names=("input", "exponent"), rule="same", node="Pow", reference="pow",
                   method=False, function=False, domain=POSITIVE)  # fmt: skip


def _cube(x: Any) -> Any:
    return x * x * x


# Exponents that programs really use get formulas of their own, as exact and far cheaper. The gradients read the input,
# as that of any other power: the result may be changed in place (`d = x ** -0.5; d[d.isinf()] = 0`).
_FIXED_POWERS = {
    2.0: (lambda input: scalar.square(input), "same", None),
    3.0: (lambda input: _cube(input), "same", None),
    0.5: (lambda input: scalar.sqrt(input), "float", lambda g, input: g / (scalar.sqrt(input) * 2)),
    -0.5: (lambda input: scalar.rsqrt(input), "float", lambda g, input: g * (_cube(scalar.rsqrt(input)) * -0.5)),
    -1.0: (lambda input: scalar.reciprocal(input), "float",
           lambda g, input: scalar.neg(g) * scalar.square(scalar.reciprocal(input))),
    -2.0: (lambda input: scalar.reciprocal(input * input), "float",
           lambda g, input: g * (_cube(scalar.reciprocal(input)) * -2)),
}  # fmt: skip


def _fixed_power(e: float, formula: Any, rule: str, gradient: Any) -> Any:
    shown = int(e) if e == int(e) else e
    grads = None if gradient is None else {"input": gradient}
    elementwise(f"_pow_{e}", formula, rule=rule, node="Pow", fixed=(shown,), reference="", method=False,
                       function=False, grads=grads, domain=POSITIVE)  # fmt: skip
    op = ELEMENTWISE[f"_pow_{e}"]
    op.name = "pow"
    return dispatch.unary(op), op


_POWERS = {e: _fixed_power(e, *entry) for e, entry in _FIXED_POWERS.items()}


@public("pow", inplace=True, kind="elementwise", number_first=plain_pow)
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
    return plain_pow(input, exponent)


def value_pow(v: Value, exponent: Any) -> Value:
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
    grads={"input": lambda g, input: scalar.where(scalar.eq(input, 0), 0.0, g * (
        (scalar.cos(input * math.pi) - scalar.sin(input * math.pi) / (input * math.pi)) / input))},
    domain=POSITIVE)  # fmt: skip
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
plain_round = elementwise("_round", scalar.round, names=("input",), rule="number", node="Round", reference="round",
                     not_complex="round_vml_cpu", method=False, function=False)  # fmt: skip
elementwise("_round_places", lambda input, scale: scalar.round(input * scale) / scale, rule="float", node="Round",
            reference="", method=False, function=False, aside=("scale",))  # fmt: skip
elementwise("_round_tens", lambda input, scale: scalar.round(input / scale) * scale, rule="float", node="Round",
            reference="", method=False, function=False, aside=("scale",))  # fmt: skip
elementwise("frac", lambda input: input - scalar.trunc(input))

# --- comparison and choice --------------------------------------------------------------------------------------

_COMPARISONS = (("eq", "eq"), ("ne", "not_equal"), ("lt", "less"), ("le", "less_equal"), ("gt", "greater"),
                ("ge", "greater_equal"))  # fmt: skip
for _name, _long in _COMPARISONS:
    _primitive(_name, 2, rule="bool", aliases=() if _name == "eq" else (_long,), inplace=False, tensors=1)


def _comparing(name: str) -> Any:
    """The comparison that takes the place of its operand: what has a history keeps one, through which nothing flows."""
    plain, op = ELEMENTWISE[name], getattr(scalar, name)
    elementwise(f"_{name}", lambda input, other: scalar.where(op(input, other), 1.0, 0.0), rule="same",
                node=plain.node, reference="", method=False, function=False)  # fmt: skip
    recorded = ELEMENTWISE[f"_{name}"]

    def compared(input: Tensor, other: Any) -> Tensor:
        history = input._edge is not None or isinstance(other, Tensor) and other._edge is not None
        if MODE.grad and history and input.dtype.is_floating_point:
            return dispatch.call(recorded, (input, other))
        return dispatch.call(plain, (input, other))

    compared.__name__ = compared.__qualname__ = f"{name}_"
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
elementwise(
    "_nan_to_num",
    lambda input, nan, posinf, neginf: scalar.where(
        scalar.isnan(input), nan,
        scalar.where(scalar.isinf(input), scalar.where(input > 0, posinf, neginf), input),
    ),
    rule="same", node="NanToNum", reference="", method=False, function=False, aside=("nan", "posinf", "neginf"),
)  # fmt: skip
# Numbers that were drawn by what an input says: they are never NaN, so the gradient by it is 0.
for _name in ("bernoulli", "poisson", "normal"):
    elementwise(
        f"_{_name}", lambda numbers, input: scalar.where(scalar.eq(numbers, numbers), numbers, input), rule="same",
        node=_name.capitalize(), reference="", method=False, function=False, aside=("numbers",),
    )  # fmt: skip
    ELEMENTWISE[f"_{_name}"].name = _name
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
clamp_min, clamp_max = (
    elementwise(
        f"_{name}", **bound, rule="same", node=node, reference="", method=False, function=False, not_complex=_NO_CLAMP
    )  # fmt: skip
    for name, node, bound in (("clamp_min", "ClampMin", _FROM), ("clamp_max", "ClampMax", _UP_TO))
)
clamp_from, clamp_up_to = (
    elementwise(
        name, **bound, rule="same", node="Clamp", reference="", method=False, function=False, not_complex=_NO_CLAMP
    )  # fmt: skip
    for name, bound in (("_clamp_from", _FROM), ("_clamp_up_to", _UP_TO))
)


def _truth(x: Any) -> Any:
    return scalar.ne(x, 0)


elementwise(
    "logical_and", lambda input, other: scalar.and_(_truth(input), _truth(other)), rule="bool", inplace=False, tensors=2
)
elementwise(
    "logical_or", lambda input, other: scalar.or_(_truth(input), _truth(other)), rule="bool", inplace=False, tensors=2
)
elementwise(
    "logical_xor", lambda input, other: scalar.xor(_truth(input), _truth(other)), rule="bool", inplace=False, tensors=2
)
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
