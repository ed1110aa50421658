"""Calling elementwise operators on tensors: checking, recording, and the methods generated for them.

This is the hot path: an operator checks its operands, makes one pending value, and returns a tensor.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd import node as nodes
from ..autograd.mode import MODE
from ..autograd.node import ElementwiseNode, sequence
from ..autograd.saving import SAVING, pack_operands
from ..lazy import value as values
from ..lazy.value import OPERATOR, Bound, Value, pending
from ..native import hot, hottest
from ..overriding import COMPUTE, OVERRIDES, Unanswered, meet, overridden, overrides
from ..precision import REGIONS
from ..site import INTERNAL, MODULES, resolve
from ..tensor import Tensor
from .instruction import CASTS, ElementwiseOp, Instruction

_new = object.__new__
_ref = weakref.ref
_getframe = sys._getframe
_NUMBERS = (int, float, bool, complex)


def refuse_shapes(a: tuple, b: tuple) -> None:
    """Raise RuntimeError that names the last dimension in which two shapes differ, as PyTorch does."""
    n = max(len(a), len(b))
    pairs = list(zip((1,) * (n - len(a)) + tuple(a), (1,) * (n - len(b)) + tuple(b)))
    d = max(d for d, (x, y) in enumerate(pairs) if x != y and x != 1 and y != 1)
    x, y = pairs[d]
    raise RuntimeError(
        f"The size of tensor a ({x}) must match the size of tensor b ({y}) at non-singleton dimension {d}: "
        f"the shapes are {list(a)} and {list(b)}"
    )


@hot
def broadcast_shapes(a: tuple, b: tuple) -> tuple:
    """The common shape of two operands. Raises RuntimeError with PyTorch's text where there is none."""
    if len(a) < len(b):
        small, large = a, b
    else:
        small, large = b, a
    lead = len(large) - len(small)
    out = list(large)
    for d, n in enumerate(small):
        m = large[lead + d]
        if m != n:
            if m == 1:
                out[lead + d] = n
            elif n != 1:
                refuse_shapes(a, b)
    return tuple(out)


def check_devices(tensors: Any) -> None:
    """Raise RuntimeError where tensors are on different devices, with what is known of where each was made."""
    devices = dict.fromkeys(t.device for t in tensors)
    if len(devices) < 2:
        return
    first, second, *_ = devices
    lines = []
    for t in tensors:
        site = None if t.grad_fn is None else resolve(t.grad_fn.code, t.grad_fn.lasti)
        lines.append(f"\n  {list(t._shape)} on {t.device}" + ("" if site is None else f", made by {site}"))
    raise RuntimeError(
        f"Expected all tensors to be on the same device, but found at least two devices, {first} and {second}! "
        f"Move one with .to(device).{''.join(lines)}"
    )


def _device_of(operands: tuple, tensors: tuple) -> Any:
    """`common_device`; its error tells of the tensors."""
    try:
        return values.common_device(operands)
    except values.MixedDevices:
        check_devices(tensors)
        raise


@hot
def record_site(node: Any) -> None:
    """Note the user's line, and the module that is running."""
    frame = _getframe(1)
    while frame is not None and INTERNAL[frame.f_code.co_filename]:
        frame = frame.f_back
    if frame is None:
        node.code = None
        node.lasti = 0
    else:
        node.code = frame.f_code
        node.lasti = frame.f_lasti
    node.module = MODULES.path() if MODULES.running else None


@hottest
def emit(
    instr: Instruction, operands: tuple, params: tuple, shape: tuple, tensors: tuple, in_shapes: tuple | None
) -> Tensor:
    """The tensor of a new pending value, recorded if need be.

    This is the body of every elementwise operator, so it is written out in one piece: what `pending`, `wrap` and
    `record_site` do, without calling them.
    """
    v = Value()
    v.instr = instr
    v.operands = operands
    v.params = params
    v.shape = shape
    v.dtype = dtype = instr.dtype
    device = operands[0].device
    v.array = None
    v.uses = 0
    v.kept = 0
    v.stale = None
    v.lease = None
    v.window = None
    v.shared = False
    v.passed = False
    weight = OPERATOR
    for o in operands:
        o.uses += 1
        if o.device is not device:
            device = _device_of(operands, tensors)
        if o.lease is not None:
            v.window = o.lease.reader() if v.window is None else (v.window, o.lease.reader())
        if o.array is not None:
            weight += o.weight
        elif o.weight >= weight:
            weight = o.weight + OPERATOR
    v.device = device
    v.weight = weight
    t = _new(Tensor)
    t._v = v
    t._s = None
    t._nr = 0
    t._ver = 0
    v.owner = _ref(t)
    t._edge = None
    if instr.differentiable:
        for x in tensors:
            if x._edge is not None:
                break
        else:
            if weight > Bound.limit:
                values.evaluate_hook(v, "bound reached")
            return t
        if MODE.off == 0 or MODE.grad:
            node = _new(ElementwiseNode)
            node.instr = instr
            node.nrs = None
            if len(tensors) == 1:
                x = tensors[0]
                node.next = (x._edge,)
                if x._nr:
                    node.nrs = (x._nr,)
            else:
                node.next = edges = tuple([x._edge for x in tensors])
                for x in tensors:
                    if x._nr:
                        node.nrs = tuple([y._nr for y in tensors])
                        break
            node.seq = next(sequence)
            node.shape = shape
            node.dtype = dtype
            node.hooks = None
            node.params = params
            node.in_shapes = in_shapes
            node.released = False
            if instr.keeps_inputs:
                kept = operands if len(tensors) == 1 else _needed(instr, edges, operands)
                node.operands = kept
                for o in kept:
                    if o is not None:
                        o.kept += 1
            else:
                node.operands = None
            if instr.keeps_result:
                node.result = v
                v.kept = 1
            else:
                node.result = None
            frame = _getframe(1)
            while frame is not None and INTERNAL[frame.f_code.co_filename]:
                frame = frame.f_back
            if frame is None:
                node.code = None
                node.lasti = 0
            else:
                node.code = frame.f_code
                node.lasti = frame.f_lasti
            node.module = MODULES.path() if MODULES.running else None
            if SAVING.blocks:
                pack_operands(node)
            t._edge = node
    if weight > Bound.limit:
        values.evaluate_hook(v, "bound reached")
    return t


@hot
def _needed(instr: Instruction, edges: tuple, operands: tuple) -> tuple:
    """The operands that the gradients which will run do read; None for the others."""
    mask = tuple([edge is not None for edge in edges])
    wanted = instr.kept_operands.get(mask)
    if wanted is None:
        wanted = _wanted_operands(instr, mask)
    return tuple([operands[i] if w else None for i, w in enumerate(wanted)])


def _wanted_operands(instr: Instruction, mask: tuple) -> tuple:
    needed: set[int] = set()
    for i, has_edge in enumerate(mask):
        rule = instr.gradient(i) if has_edge else None
        if rule is not None:
            needed.update(rule.inputs)
    wanted = instr.kept_operands[mask] = tuple([i in needed for i in range(len(mask))])
    return wanted


@hot
def apply_instruction(instr: Instruction, tensors: tuple, params: tuple) -> Tensor:
    """Apply an instruction to tensors of just its dtypes, broadcasting, and record it."""
    operands = tuple([t._v if t._v is not None else t._read() for t in tensors])
    shape = operands[0].shape
    same = True
    for o in operands:
        if o.shape != shape:
            shape = broadcast_shapes(shape, o.shape)
            same = False
    return emit(instr, operands, params, shape, tensors, None if same else tuple([o.shape for o in operands]))


nodes.apply_instruction = apply_instruction


@hot
def as_operand(x: Any, like: Tensor) -> Any:
    """What an operator takes from a Python object: a tensor or number as it is, NumPy's as tensors and numbers."""
    if isinstance(x, (Tensor, int, float, complex)):
        return x
    if isinstance(x, np.generic):
        return _from_numpy_scalar(x)
    return _from_numpy(x) if isinstance(x, np.ndarray) else NotImplemented


def _from_numpy_scalar(x: np.generic) -> Any:
    n = x.item()
    if isinstance(n, _NUMBERS):
        return n
    # The item of a long double is that long double again.
    return float(x) if isinstance(x, np.floating) else NotImplemented


def _from_numpy(x: np.ndarray) -> Any:
    from ..from_data import from_numpy

    if x.dtype.kind not in "biufcV":  # text, dates, objects; what is left of "V" is bfloat16
        return NotImplemented
    if not x.dtype.isnative:
        x = x.astype(x.dtype.newbyteorder("="))
    return from_numpy(x.copy() if min(x.strides, default=0) < 0 else x)


@hot
def call(op: ElementwiseOp, args: tuple) -> Tensor:
    """Apply an elementwise operator to tensors and Python numbers, in any mixture."""
    if len(args) != len(op.names):
        _refuse_count(op, args)
    pattern = ""
    ranked: list = []
    tensors: list = []
    params: list = []
    for a in args:
        if isinstance(a, Tensor):
            pattern += "t"
            ranked.append((a.dtype, 2 if a._shape else 1))
            tensors.append(a)
        elif isinstance(a, (int, float, complex)):
            pattern += "s"
            ranked.append((_scalar_dtype(a), 0))
            params.append(a)
        else:
            other = as_operand(a, args[0])
            if other is NotImplemented:
                if OVERRIDES.on and overrides(a):
                    return overridden(getattr(Tensor, op.name), args, {})
                names = ", ".join(type(x).__name__ for x in args)
                raise TypeError(f"{op.name.lstrip('_')}() takes tensors and numbers, got ({names})")
            return call(op, tuple(other if x is a else x for x in args))
    if not tensors:
        if op.name in _OF_NUMBERS:
            return call(op, (of_number(args[0]), *args[1:]))
        raise TypeError(f"{op.name}(): at least one argument must be a tensor, got {args!r}")
    for x in params:
        if x.__class__ is int and not -(1 << 63) <= x < 1 << 63:
            _refuse_number(x, op.instruction(pattern, ranked).compute)
    return apply_instruction(op.instruction(pattern, ranked), tuple(tensors), tuple(params))


# What takes two Python numbers as well, and makes tensors of them, as in PyTorch.
_OF_NUMBERS = frozenset(("add", "sub", "mul", "div", "_add_scaled", "_sub_scaled", "_floor_divide"))


def of_number(number: Any) -> Tensor:
    """A Python number as a tensor without dimensions."""
    from ..from_data import tensor

    return tensor(number)


def _refuse_count(op: ElementwiseOp, args: tuple) -> None:
    given = ", ".join(type(x).__name__ for x in args)
    raise TypeError(f"{op.name}() takes {len(op.names)} arguments ({', '.join(op.names)}), got ({given})")


def _refuse_number(x: int, dtype: dtypes.dtype) -> None:
    """Raise for a number of more than 64 bits, or 65 if it is going to be a floating-point number."""
    if not -(1 << 63) <= x < 1 << 64:
        raise OverflowError(f"int too big to convert: {x if abs(x) < 1 << 100 else 'it'} does not fit 64 bits")
    if dtype.category < dtypes.FLOATING:
        raise OverflowError(f"int too big to convert: it does not fit 64 bits, which {dtype} operands need")


@hot
def _scalar_dtype(x: Any) -> dtypes.dtype:
    if x.__class__ is bool:
        return dtypes.bool_
    if isinstance(x, int):
        return dtypes.int64
    return dtypes.complex128 if isinstance(x, complex) else dtypes.float64


def _refuse_input(op: ElementwiseOp, given: Any) -> None:
    raise TypeError(f"{op.name}(): argument 'input' must be Tensor, not {type(given).__name__}")


def unary(op: ElementwiseOp) -> Callable:
    """The function of an operator of one tensor."""
    same = op.same_tt

    @hottest
    def function(self: Tensor) -> Tensor:
        if self.__class__ is not Tensor and not isinstance(self, Tensor):
            _refuse_input(op, self)
        if REGIONS.open:
            self = REGIONS.cast(op.name, (self,))[0]
        va = self._v
        if va is None:
            va = self._read()
        return emit(same[va.dtype], (va,), (), va.shape, (self,), None)

    return function


def binary(op: ElementwiseOp, reflected: bool = False, told: str = "") -> Callable:
    """The function of an operator of two operands; `reflected` swaps them.

    told: of Python's operators, the method that an operand which overrides functions is told of.
    """
    same = op.same_tt
    with_scalar = op.scalar_tables
    scalar_pattern = "st" if reflected else "ts"

    @hottest
    def function(self: Tensor, other: Any) -> Any:
        va = self._v
        if va is None:
            va = self._read()
        c = other.__class__
        if c is not Tensor:
            if c is float or c is int or c is bool or c is complex:
                if c is int and not -(1 << 63) <= other < 1 << 63:
                    _refuse_number(other, va.dtype)
                instr = with_scalar[c][scalar_pattern, va.dtype, va.shape != ()]
                return emit(instr, (va,), (other,), va.shape, (self,), None)
            if not isinstance(other, Tensor):
                given, other = other, as_operand(other, self)
                if other is NotImplemented:
                    return overridden_by(self, given, told) if told else NotImplemented
                return call(op, (other, self) if reflected else (self, other))
        vb = other._v
        if vb is None:
            vb = other._read()
        if reflected:
            self, other, va, vb = other, self, vb, va
        shape = va.shape
        if va.dtype is vb.dtype:
            instr = same[va.dtype]
        else:
            instr = op.instruction("tt", [(va.dtype, 2 if shape else 1), (vb.dtype, 2 if vb.shape else 1)])
        if shape == vb.shape:
            return emit(instr, (va, vb), (), shape, (self, other), None)
        common = broadcast_shapes(shape, vb.shape)
        return emit(instr, (va, vb), (), common, (self, other), (shape, vb.shape))

    return function


def overridden_by(self: Tensor, other: Any, told: str) -> Any:
    """What an operand that is no tensor makes of a Python operator; NotImplemented if it overrides no functions."""
    if not overrides(other):
        return NotImplemented
    meet()
    try:
        made = overridden(getattr(Tensor, told), (self, other), {})
    except Unanswered:
        return NotImplemented
    return NotImplemented if made is COMPUTE else made


@hot
def value_call(op: ElementwiseOp, args: tuple) -> Value:
    """Apply an elementwise operator to values and Python numbers, without recording (for gradient formulas)."""
    like = args[0]
    if like.__class__ is Value:
        for a in args:
            if a.__class__ is not Value or a.dtype is not like.dtype or a.shape != like.shape:
                break
        else:
            return pending(op.same_tt[like.dtype], args, (), like.shape)
    pattern = ""
    ranked: list = []
    operands: list = []
    params: list = []
    shape: tuple = ()
    for a in args:
        if a.__class__ is Value:
            pattern += "t"
            ranked.append((a.dtype, 2 if a.shape else 1))
            operands.append(a)
            if a.shape != shape:
                shape = broadcast_shapes(shape, a.shape)
        else:
            pattern += "s"
            ranked.append((_scalar_dtype(a), 0))
            params.append(a)
    return pending(op.instruction(pattern, ranked), tuple(operands), tuple(params), shape)


def value_function(op: ElementwiseOp, reflected: bool = False) -> Callable:
    """The method of values for an operator; `reflected` swaps two operands."""
    if len(op.names) != 2:

        @hot
        def method(self: Value, *others: Any) -> Value:
            return value_call(op, (self, *others))

        return method
    same, with_scalar = op.same_tt, op.scalar_tables
    pattern = "st" if reflected else "ts"

    @hottest
    def function(self: Value, other: Any) -> Value:
        c = other.__class__
        if c is Value:
            if self.dtype is other.dtype:
                shape = self.shape
                if shape != other.shape:
                    shape = broadcast_shapes(shape, other.shape)
                pair = (other, self) if reflected else (self, other)
                return pending(same[self.dtype], pair, (), shape)
        elif c is float or c is int:
            return pending(with_scalar[c][pattern, self.dtype, self.shape != ()], (self,), (other,), self.shape)
        return value_call(op, (other, self) if reflected else (self, other))

    return function


@hot
def cast(t: Tensor, dtype: dtypes.dtype) -> Tensor:
    """`t` in another dtype (itself if it has that already), recorded."""
    d = t.dtype
    if d is dtype:
        return t
    return apply_instruction(CASTS[d, dtype], (t,), ())
