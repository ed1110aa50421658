"""Elementwise functions whose arguments need arranging, and Python's operators."""

from __future__ import annotations

import math
from typing import Any

from .. import dtypes
from ..lazy.value import Value
from ..native import hot
from ..overriding import OVERRIDES, overrides
from ..precision import REGIONS
from ..tensor import Tensor
from . import dispatch, elementwise, writes
from .arguments import checked
from .copying import checked_number
from .elementwise import (
    clamp_from,
    clamp_up_to,
    floor_quotient,
    plain_floor_divide,
    plain_fmod,
    plain_pow,
    plain_remainder,
    plain_round,
    pow,
    trunc_divide,
    value_pow,
)
from .registry import ELEMENTWISE, FUNCTIONS, public


def _scaled(plain: str, scaled: str) -> Any:
    fast = ELEMENTWISE[plain]
    plain_call = dispatch.binary(fast)
    scaled_op = ELEMENTWISE[scaled]

    @hot
    def method(input: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
        plainly = alpha == 1 and alpha is not True
        if plainly or (not isinstance(other, Tensor) and plain != "rsub"):
            other = other if plainly else other * alpha
            made = plain_call(input, other)
            if made is NotImplemented:
                if hasattr(other, "to_dense"):  # a sparse tensor
                    return plain_call(input, other.to_dense())
                if OVERRIDES.on and overrides(other):
                    return dispatch.overridden_by(input, other, plain)
                raise TypeError(f"{plain}(): argument 'other' must be Tensor or number, not {type(other).__name__}")
            return made
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
        return div(dispatch.of_number(number), other, rounding_mode=rounding_mode)
    return div(other.new_tensor(number, dtype=dtypes.of_scalar(number)), other, rounding_mode=rounding_mode)


@public("div", kind="elementwise", inplace=True, aliases=("divide", "true_divide"), number_first=_number_by)
@hot
def div(input: Tensor, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """input / other; rounding_mode "floor" or "trunc" rounds the quotient."""
    if rounding_mode is None:
        made = _true_divide(input, other)
        return dispatch.call(ELEMENTWISE["div"], (input, other)) if made is NotImplemented else made
    if rounding_mode == "floor":
        _check_divisor(input, other)
        return floor_quotient(input, other)
    if rounding_mode == "trunc":
        _check_divisor(input, other)
        return trunc_divide(input, other)
    raise RuntimeError(f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{rounding_mode}'")


_true_divide = dispatch.binary(ELEMENTWISE["div"])


@hot
def _check_divisor(input: Any, other: Any) -> None:
    """Integer division by zero has no result; it raises, as in PyTorch, which means looking at the divisor now."""
    if other.__class__ is not int or other == 0:
        _look_at_divisor(input, other)


def _look_at_divisor(input: Any, other: Any) -> None:
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
@hot
def floor_divide(input: Tensor, other: Any) -> Tensor:
    """The quotient rounded down."""
    _check_divisor(input, other)
    return plain_floor_divide(input, other)


@public(
    "remainder", kind="elementwise", inplace=True, number_first=lambda x, y: _reflected("_remainder_of_number", x, y)
)
@hot
def remainder(input: Tensor, other: Any) -> Tensor:
    """The remainder with the sign of the divisor, as Python's %."""
    _check_divisor(input, other)
    return plain_remainder(input, other)


@public("fmod", kind="elementwise", inplace=True)
def fmod(input: Tensor, other: Any) -> Tensor:
    """The remainder with the sign of the dividend, as C's fmod."""
    _check_divisor(input, other)
    return plain_fmod(input, other)


@public("addcmul", kind="elementwise", inplace=True)
@hot
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
@hot
def lerp(input: Tensor, end: Tensor, weight: Any) -> Tensor:
    """input + weight * (end - input)"""
    for name, x in (("end", end), ("weight", weight)):
        if isinstance(x, Tensor) and x.dtype is not input.dtype:
            raise RuntimeError(f"expected dtype {input.dtype} for `{name}` but got dtype {x.dtype}")
    return dispatch.call(ELEMENTWISE["_lerp"], (input, end, weight))


@public("round", kind="elementwise", inplace=True)
@hot
def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """Round to the nearest integer, or to so many decimals; halves go to even."""
    if decimals == 0:
        return plain_round(input)
    scale = 10.0 ** builtin_abs(decimals)
    return dispatch.call(ELEMENTWISE["_round_places" if decimals > 0 else "_round_tens"], (input, scale))


builtin_abs = math.fabs


@public("logit", kind="elementwise", inplace=True)
def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)), with x clamped to [eps, 1 - eps] if eps is given."""
    if eps is not None:
        input = input.clamp(eps, 1 - eps)
    return dispatch.call(ELEMENTWISE["_logit"], (input,))


@hot
def _check_limit(input: Tensor, limit: Any) -> None:
    """RuntimeError for a whole number that integers of this dtype do not reach; OverflowError where none does."""
    if limit.__class__ is int and input.__class__ is Tensor and input.dtype.category == dtypes.INTEGRAL:
        most = dtypes.iinfo(input.dtype).max
        if not -most - 1 <= limit <= most:
            if not -(2**63) <= limit < 2**63:
                raise OverflowError(f"int too big to convert: {limit} has more than 64 bits")
            raise RuntimeError(f"value cannot be converted to type {input.dtype.name}_t without overflow: {limit}")


@public("clamp_min", kind="elementwise", inplace=True)
@hot
def clamp_min(input: Tensor, min: Any) -> Tensor:
    """Nothing below min, a number or a tensor."""
    _check_limit(input, min)
    return elementwise.clamp_min(input, min)


@public("clamp_max", kind="elementwise", inplace=True)
def clamp_max(input: Tensor, max: Any) -> Tensor:
    """Nothing above max, a number or a tensor."""
    _check_limit(input, max)
    return elementwise.clamp_max(input, max)


@public("clamp", kind="elementwise", inplace=True, aliases=("clip",))
@hot
def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """Limit to [min, max]; either may be a number, a tensor, or left out."""
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    _check_limit(input, min)
    _check_limit(input, max)
    if min is None:
        return clamp_up_to(input, max)
    if max is None:
        return clamp_from(input, min)
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
        from ..from_data import tensor

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
@hot
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
        if value.is_complex() and not input.is_complex():
            raise RuntimeError(f"value cannot be converted to type {input.dtype.name} without overflow")
        value = dispatch.cast(value, input.dtype)
    if isinstance(value, complex) and not input.is_complex():
        raise RuntimeError(f"value cannot be converted to type {input.dtype.name} without overflow")
    if isinstance(value, float) and input.dtype.category < dtypes.FLOATING:
        if not math.isfinite(value):
            raise RuntimeError(f"value cannot be converted to type {input.dtype.name} without overflow")
        value = value != 0 if input.dtype is dtypes.bool_ else int(value)
    if isinstance(value, (int, float)):
        value = checked_number(value, input.dtype)
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
        told = python if hasattr(Tensor, python) and python not in ("eq", "ne") else f"__{python}__"
        setattr(Tensor, f"__{python}__", dispatch.binary(op, told=told))
        setattr(Value, f"__{python}__", dispatch.value_function(op))
        if python in ("add", "mul", "and", "or", "xor", "lshift", "rshift"):
            setattr(Tensor, f"__r{python}__", dispatch.binary(op, python not in ("add", "mul"), told))
            setattr(Value, f"__r{python}__", dispatch.value_function(op, reflected=True))
        if python not in ("eq", "ne", "lt", "le", "gt", "ge"):
            setattr(Tensor, f"__i{python}__", writes.in_place(dispatch.binary(op), f"__i{python}__"))
    Tensor.__hash__ = lambda self: id(self)  # type: ignore[method-assign]
    Value.__hash__ = object.__hash__  # type: ignore[method-assign]
    Value.__eq__ = object.__eq__  # type: ignore[method-assign]
    Value.__ne__ = object.__ne__  # type: ignore[method-assign]
    T: Any = Tensor
    V: Any = Value
    rsub = dispatch.binary(ELEMENTWISE["rsub"], told="__rsub__")
    T.__rsub__ = rsub
    V.__rsub__ = dispatch.value_function(ELEMENTWISE["sub"], reflected=True)
    true_divide = dispatch.binary(ELEMENTWISE["div"], told="div")
    T.__truediv__ = true_divide
    T.__itruediv__ = writes.in_place(true_divide, "__itruediv__")
    T.__rtruediv__ = lambda self, other: self.reciprocal() * other
    T.__div__, T.__idiv__, T.__rdiv__ = T.__truediv__, T.__itruediv__, T.__rtruediv__  # of Python 2
    V.__truediv__ = dispatch.value_function(ELEMENTWISE["div"])
    V.__rtruediv__ = dispatch.value_function(ELEMENTWISE["div"], reflected=True)
    T.__neg__ = T.neg
    T.__pos__ = lambda self: self
    T.__abs__ = T.abs
    T.__invert__ = T.bitwise_not
    V.__neg__ = dispatch.value_function(ELEMENTWISE["neg"])
    T.__pow__ = pow
    T.__rpow__ = lambda self, other: plain_pow(*REGIONS.cast("pow", (other, self)) if REGIONS.open else (other, self))
    T.__ipow__ = writes.in_place(pow, "__ipow__")
    V.__pow__ = value_pow
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
