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
from ..autograd.mode import MODE
from ..autograd.node import AccumulateGrad, ElementwiseNode, next_seq
from ..lazy.value import Value, pending
from ..site import INTERNAL
from ..tensor import Tensor, wrap
from .instruction import CAST, ElementwiseOp, Instruction

_new = object.__new__
_ref = weakref.ref
_getframe = sys._getframe
_NUMBERS = (int, float, bool)

# The dotted path of the nn.Module that is running, for the graph; set by `nn.Module` through `set_module_path`.
current_module: Callable[[], str | None] = lambda: None


def set_module_path(function: Callable[[], str | None]) -> None:
    global current_module
    current_module = function


def broadcast_shapes(a: tuple, b: tuple) -> tuple:
    """The common shape of two operands. Raises RuntimeError with PyTorch's text where there is none."""
    if len(a) < len(b):
        small, large, swapped = a, b, True
    else:
        small, large, swapped = b, a, False
    lead = len(large) - len(small)
    out = list(large)
    for d, n in enumerate(small):
        m = large[lead + d]
        if m != n:
            if m == 1:
                out[lead + d] = n
            elif n != 1:
                x, y = (n, m) if swapped else (m, n)
                raise RuntimeError(
                    f"The size of tensor a ({x}) must match the size of tensor b ({y}) at non-singleton dimension "
                    f"{lead + d}: the shapes are {list(a)} and {list(b)}"
                )
    return tuple(out)


def record_site(node: Any) -> None:
    """Note the user's line, and the module that is running."""
    frame = _getframe(2)
    while frame is not None and INTERNAL[frame.f_code.co_filename]:
        frame = frame.f_back
    if frame is None:
        node.code = None
        node.lasti = 0
    else:
        node.code = frame.f_code
        node.lasti = frame.f_lasti
    node.module = current_module()


def _record(t: Tensor, v: Value, instr: Instruction, tensors: tuple, in_shapes: tuple | None) -> None:
    """Add the node of `v`, whose tensor operands were `tensors`."""
    node = _new(ElementwiseNode)
    node.instr = instr
    node.next = tuple([x._edge for x in tensors])
    nrs = None
    for x in tensors:
        if x._nr:
            nrs = tuple([y._nr for y in tensors])
            break
    node.nrs = nrs
    node.seq = next_seq()
    node.shape = v.shape
    node.dtype = v.dtype
    node.hooks = None
    node.params = v.params
    node.in_shapes = in_shapes
    node.released = False
    if instr.keeps_inputs:
        operands = v.operands or t.__dict__.pop("_operands", ())
        if len(tensors) > 1:
            operands = _needed(instr, node.next, operands)
        node.operands = operands
        for o in operands:
            if o is not None:
                o.kept += 1
    else:
        node.operands = None
    if instr.keeps_result:
        node.result = v
        v.kept += 1
    else:
        node.result = None
    record_site(node)
    t._edge = node


def _needed(instr: Instruction, edges: tuple, operands: tuple) -> tuple:
    """The operands that the gradients which will run do read; None for the others."""
    needed: set[int] = set()
    for i, edge in enumerate(edges):
        if edge is not None:
            rule = instr.gradient(i)
            if rule is not None:
                needed.update(rule.inputs)
    return tuple([o if i in needed else None for i, o in enumerate(operands)])


def apply_instruction(instr: Instruction, tensors: tuple, params: tuple) -> Tensor:
    """Apply an instruction to tensors of just its dtypes, broadcasting, and record it."""
    operands = tuple([t._v if t._v is not None else t._read() for t in tensors])
    shape = operands[0].shape
    same = True
    for o in operands:
        if o.shape != shape:
            shape = broadcast_shapes(shape, o.shape)
            same = False
    v = pending(instr, operands, params, shape)
    t = wrap(v)
    if MODE.grad and instr.op.differentiable and instr.dtype.category == 2:
        for x in tensors:
            if x._edge is not None:
                if v.array is not None:  # evaluated already: it has dropped its operands
                    v_operands = operands
                    _record_ready(t, v, instr, tensors, None if same else tuple(o.shape for o in operands), v_operands,
                                  params)  # fmt: skip
                else:
                    _record(t, v, instr, tensors, None if same else tuple(o.shape for o in operands))
                break
    return t


def _record_ready(
    t: Tensor, v: Value, instr: Instruction, tensors: tuple, in_shapes: tuple | None, operands: tuple, params: tuple
) -> None:
    """Record a value that was evaluated at once."""
    t.__dict__["_operands"] = operands
    _record(t, v, instr, tensors, in_shapes)
    t.__dict__.pop("_operands", None)
    t._edge.params = params


def as_operand(x: Any, like: Tensor) -> Any:
    """What an operator takes from a Python object: a tensor or number as it is, NumPy's as tensors and numbers."""
    if isinstance(x, (Tensor, int, float)):
        return x
    if isinstance(x, np.generic):
        return x.item()
    if isinstance(x, np.ndarray):
        from ..creation import from_numpy

        return from_numpy(x)
    return NotImplemented


def call(op: ElementwiseOp, args: tuple) -> Tensor:
    """Apply an elementwise operator to tensors and Python numbers, in any mixture."""
    pattern = ""
    ranked: list = []
    tensors: list = []
    params: list = []
    for a in args:
        if isinstance(a, Tensor):
            pattern += "t"
            ranked.append((a.dtype, 2 if a._shape else 1))
            tensors.append(a)
        elif isinstance(a, (int, float)):
            pattern += "s"
            ranked.append((_scalar_dtype(a), 0))
            params.append(a)
        else:
            other = as_operand(a, args[0])
            if other is NotImplemented:
                names = ", ".join(type(x).__name__ for x in args)
                raise TypeError(f"{op.name}() takes tensors and numbers, got ({names})")
            return call(op, tuple(other if x is a else x for x in args))
    if not tensors:
        raise TypeError(f"{op.name}(): at least one argument must be a tensor, got {args!r}")
    return apply_instruction(op.instruction(pattern, ranked), tuple(tensors), tuple(params))


def _scalar_dtype(x: Any) -> dtypes.dtype:
    if x.__class__ is bool:
        return dtypes.bool_
    return dtypes.int64 if isinstance(x, int) else dtypes.float64


def unary(op: ElementwiseOp) -> Callable:
    """The function of an operator of one tensor."""
    same = op.same_tt
    differentiable = op.differentiable

    def function(self: Tensor) -> Tensor:
        if self.__class__ is not Tensor and not isinstance(self, Tensor):
            raise TypeError(f"{op.name}(): argument 'input' must be Tensor, not {type(self).__name__}")
        va = self._v
        if va is None:
            va = self._read()
        instr = same[va.dtype]
        v = pending(instr, (va,), (), va.shape)
        t = _new(Tensor)
        t._v = v
        t._s = None
        t._edge = None
        t._nr = 0
        t._ver = 0
        v.owner = _ref(t)
        if self._edge is not None and differentiable and MODE.grad and instr.dtype.category == 2:
            if v.array is None:
                _record(t, v, instr, (self,), None)
            else:
                _record_ready(t, v, instr, (self,), None, (va,), ())
        return t

    return function


def binary(op: ElementwiseOp, reflected: bool = False) -> Callable:
    """The function of an operator of two operands; `reflected` swaps them."""
    same = op.same_tt
    with_scalar = op.scalar_tables
    differentiable = op.differentiable
    scalar_pattern = "st" if reflected else "ts"

    def function(self: Tensor, other: Any) -> Any:
        va = self._v
        if va is None:
            va = self._read()
        c = other.__class__
        if c is float or c is int or c is bool:
            instr = with_scalar[c][scalar_pattern, va.dtype, va.shape != ()]
            v = pending(instr, (va,), (other,), va.shape)
            t = _new(Tensor)
            t._v = v
            t._s = None
            t._edge = None
            t._nr = 0
            t._ver = 0
            v.owner = _ref(t)
            if self._edge is not None and differentiable and MODE.grad and instr.dtype.category == 2:
                if v.array is None:
                    _record(t, v, instr, (self,), None)
                else:
                    _record_ready(t, v, instr, (self,), None, (va,), (other,))
            return t
        if c is not Tensor and not isinstance(other, Tensor):
            other = as_operand(other, self)
            if other is NotImplemented:
                return NotImplemented
            return call(op, (other, self) if reflected else (self, other))
        vb = other._v
        if vb is None:
            vb = other._read()
        if reflected:
            self, other, va, vb = other, self, vb, va
        shape = va.shape
        if shape == vb.shape and va.dtype is vb.dtype:
            in_shapes = None
            instr = same[va.dtype]
        else:
            if va.dtype is vb.dtype:
                instr = same[va.dtype]
            else:
                ranked = [(va.dtype, 2 if shape else 1), (vb.dtype, 2 if vb.shape else 1)]
                instr = op.instruction("tt", ranked)
            if shape != vb.shape:
                in_shapes = (shape, vb.shape)
                shape = broadcast_shapes(shape, vb.shape)
            else:
                in_shapes = None
        v = pending(instr, (va, vb), (), shape)
        t = _new(Tensor)
        t._v = v
        t._s = None
        t._edge = None
        t._nr = 0
        t._ver = 0
        v.owner = _ref(t)
        if (self._edge is not None or other._edge is not None) and differentiable and MODE.grad:
            if instr.dtype.category == 2:
                if v.array is None:
                    _record(t, v, instr, (self, other), in_shapes)
                else:
                    _record_ready(t, v, instr, (self, other), in_shapes, (va, vb), ())
        return t

    return function


def value_call(op: ElementwiseOp, args: tuple) -> Value:
    """Apply an elementwise operator to values and Python numbers, without recording (for gradient formulas)."""
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
    if reflected:
        return lambda self, other: value_call(op, (other, self))
    return lambda self, *others: value_call(op, (self, *others))


# --- conversion -------------------------------------------------------------------------------------------------


def cast(t: Tensor, dtype: dtypes.dtype) -> Tensor:
    """`t` in another dtype (itself if it has that already), recorded."""
    d = t.dtype
    if d is dtype:
        return t
    return apply_instruction(CAST.specialise("t", (d,), dtype, dtype), (t,), ())


# --- in place ---------------------------------------------------------------------------------------------------


def check_in_place(t: Tensor, recording: bool) -> None:
    """Raise where an in-place change is not allowed."""
    edge = t._edge
    a = t._s
    if recording:
        if edge is not None and edge.is_leaf:
            raise RuntimeError(
                "a leaf Variable that requires grad is being used in an in-place operation. "
                "Do it inside `with livegrad.no_grad():`, or on a copy made with .clone()."
            )
        if a is not None and a.base is not None and a.base._edge is not None and a.base._edge.is_leaf:
            raise RuntimeError("a view of a leaf Variable that requires grad is being used in an in-place operation.")
    if a is not None and a.layout is not None:
        _, shape, strides = a.layout
        if any(s == 0 and n > 1 for n, s in zip(shape, strides)):
            raise RuntimeError(
                "unsupported operation: more than one element of the written-to tensor refers to a single memory "
                "location. Please clone() the tensor before performing the operation."
            )


def assign_result(t: Tensor, result: Tensor, fresh: bool = True, since: int | None = None) -> Tensor:
    """Make `result` the new content and history of `t`, in place.

    fresh: `result` was made for this and nobody else has it, so its memory may become that of `t`.
    since: see `Tensor._assign`.
    """
    if result is t:
        return t
    if result._shape != t._shape:
        raise RuntimeError(
            f"output with shape {list(t._shape)} doesn't match the broadcast shape {list(result._shape)}"
        )
    d = t.dtype
    if result.dtype is not d:
        if result.dtype.category > d.category:
            raise RuntimeError(
                f"result type {_type_name(result.dtype)} can't be cast to the desired output type {_type_name(d)}"
            )
        result = cast(result, d)
        fresh = True
    v = result._v
    if v is None:
        v = result._read()
    if fresh and v.owner is not None and v.owner() is result:
        v.owner = None
    a = t._s
    if a is None or a.base is None:
        t._assign(v, since)
        if MODE.grad and (result._edge is not None or t._edge is not None):
            t._edge = result._edge
            t._nr = result._nr
            if a is not None:
                rebase_views(t, a)
        return t
    t._assign(v, since)
    if MODE.grad and (result._edge is not None or a.base._edge is not None):
        rebase_base(t, a, result)
    return t


def _type_name(d: dtypes.dtype) -> str:
    from .instruction import SCALAR_TYPE_NAMES

    return SCALAR_TYPE_NAMES[d]


def rebase_base(t: Tensor, a: Any, result: Tensor) -> None:
    """A view was changed in place: its base's history becomes a copy of the result into the old base."""
    from .view import record_as_strided, record_copy_slices

    base = a.base
    record_copy_slices(base, a.geometry(), result)
    for ref in a.storage.views:
        view = ref()
        if view is not None and view._s is not None and view._s.base is base:
            record_as_strided(view, base)


def rebase_views(base: Tensor, a: Any) -> None:
    """A base was changed in place: its views' histories start from its new one."""
    from .view import record_as_strided

    for ref in a.storage.views:
        view = ref()
        if view is not None and view._s is not None and view._s.base is base:
            record_as_strided(view, base)


def in_place(function: Callable, name: str) -> Callable:
    """The in-place form of an operator: `x.add_(y)` from `add`."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        since = None
        if self._edge is not None or self._s is not None:
            check_in_place(self, MODE.grad)
            since = next_seq()
        result = function(self, *args, **kwargs)
        if result is NotImplemented:
            return result
        return assign_result(self, result, since=since)

    method.__name__ = method.__qualname__ = name
    return method


__all__ = ["AccumulateGrad", "apply_instruction", "binary", "call", "in_place", "unary", "value_call"]
