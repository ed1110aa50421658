"""In-place operators: where one may write, and the history of a tensor, its base and its views after it has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import dtypes
from ..autograd.mode import MODE, no_grad
from ..autograd.node import next_seq, retain_from_here
from ..lazy.turned import contiguous_copy
from ..lazy.value import from_array, pending
from ..native import hot
from ..observe import WATCH
from ..runtime.array import numel, overlapping
from ..tensor import Tensor
from . import batch_writes
from .batching import level_of
from .dispatch import call, cast
from .instruction import ElementwiseOp, Instruction

MOST_ATTEMPTS = 100  # at an in-place operator, while other threads change the same tensor


@hot
def check_in_place(t: Tensor, recording: bool, repeated: bool = False) -> None:
    """Raise where an in-place change is not allowed.

    repeated: it does not matter if an element is written more than once.
    """
    edge = t._edge
    a = t._s
    if recording:
        if edge is not None and edge.is_leaf:
            raise RuntimeError(
                "a leaf Variable that requires grad is being used in an in-place operation. "
                "Do it inside `with livegrad.no_grad():`, or on a copy made with .clone()."
            )
        base = None if a is None else a.base
        if base is not None and (edge is not None if base._edge is None else base._edge.is_leaf):
            check_view(t)
            raise RuntimeError("a view of a leaf Variable that requires grad is being used in an in-place operation.")
    if a is not None and a.layout is not None and not repeated:
        _, shape, strides = a.layout
        if 0 in strides and any(s == 0 and n > 1 for n, s in zip(shape, strides)) and 0 not in shape:
            raise RuntimeError(
                "unsupported operation: more than one element of the written-to tensor refers to a single memory "
                "location. Please clone() the tensor before performing the operation."
            )


@hot
def check_overlap(t: Tensor, other: Tensor, whole: bool = False) -> None:
    """Raise where an in-place operator would write `t` over part (if `whole`: any) of what it reads of `other`."""
    if t is other and not whole:
        return
    a, b = t._s, other._s
    if t is not other and (a is None or b is None or a.storage is not b.storage):
        return
    a, b = t._storage(), other._storage()
    mine, its = a.geometry(), b.geometry()
    if not (_dense(mine) and _dense(its)):
        return
    n, m = numel(mine[1]), numel(its[1])
    if mine[0] == its[0] and n == m:
        apart = mine[2] == its[2] and not whole
    else:
        apart = mine[0] >= its[0] + m or its[0] >= mine[0] + n
    if n and m and not apart:
        raise RuntimeError(
            "unsupported operation: some elements of the input tensor and the written-to tensor refer to a single "
            "memory location. Please clone() the tensor before performing the operation."
        )


@hot
def _dense(geometry: tuple) -> bool:
    """Whether a window shows each element of one stretch of memory once, in whatever order."""
    expected = 1
    for s, n in sorted((s, n) for n, s in zip(geometry[1], geometry[2]) if n != 1):
        if s != expected:
            return False
        expected *= n
    return True


def check_view(t: Tensor) -> None:
    """Raise where the history of a view that is changed in place could not be told."""
    a = t._s
    if a is not None and a.layout is not None and overlapping(a.layout[1], a.layout[2]):
        raise RuntimeError(
            "unsupported operation: more than one element of the written-to tensor refers to a single memory "
            "location, which is not recorded. Please clone() the tensor before performing the operation."
        )
    if a is None or a.made is None:
        return
    if t._edge is not None:
        output = 0 if a.made == "no_grad" else a.made
        operator = t._edge.name().removesuffix("0").replace("Backward", "")
        text = f"Output {output} of {operator} is a view and is being modified inplace."
    else:
        text = "A view was created in no_grad mode and is being modified inplace with grad mode enabled."
    if a.made != "no_grad":
        text += (
            " This view is the output of a function that returns multiple views. Such functions do not allow the "
            "output views to be modified inplace. You should replace the inplace operation by an out-of-place one."
        )
    else:
        text += (
            " Given that this use case is ambiguous and error-prone, it is forbidden. You can clarify your code by "
            "moving both the view and the inplace either both inside the no_grad block (if you don't want the inplace "
            "to be tracked) or both outside (if you want the inplace to be tracked)."
        )
    raise RuntimeError(text)


def check_cast(d: dtypes.dtype, wanted: dtypes.dtype) -> None:
    """RuntimeError where numbers would lose what they are: a fraction, an imaginary part."""
    if d.category > wanted.category:
        raise RuntimeError(f"result type {_type_name(d)} can't be cast to the desired output type {_type_name(wanted)}")


@hot
def assign_result(t: Tensor, result: Tensor, fresh: bool = True, since: int | None = None) -> Tensor:
    """Make `result` the new content and history of `t`, in place.

    fresh: `result` was made for this and nobody else has it, so its memory may become that of `t`.
    since: see `Tensor._assign`.
    """
    if result is t:
        return t
    if WATCH.batcher is not None and (level_of(t) or level_of(result)):
        return batch_writes.assign(t, result, since, assign_result, check_in_place)
    if result._shape != t._shape:
        raise RuntimeError(
            f"output with shape {list(t._shape)} doesn't match the broadcast shape {list(result._shape)}"
        )
    d = t.dtype
    if result.dtype is not d:
        check_cast(result.dtype, d)
        result = cast(result, d)
        fresh = True
    v = result._v
    if v is None:
        v = result._read()
    if fresh and v.owner is not None and v.owner() is result:
        v.owner = None
    a = t._s
    if a is not None:
        if result._s is not None and result._s.storage is a.storage:
            v = from_array(contiguous_copy(v.ready()))  # a value of its own, so that it does not stop the write
        if since is not None and a.storage.pinned and result._edge is not None:
            _keep_copies(result._edge, since, a.storage)
    if a is None or a.base is None:
        t._assign(v, since)
        if MODE.grad and (result._edge is not None or t._edge is not None):
            before = t._edge, t._nr
            t._edge = result._edge
            t._nr = result._nr
            if before[0] is not None and before[0].hooks is not None:
                retain_from_here(t, *before)
            if a is not None:
                rebase_views(t, a)
        return t
    recorded = MODE.grad and (result._edge is not None or a.base._edge is not None)
    if recorded:
        check_view(t)
    t._assign(v, since)
    if recorded:
        if fresh and v.kept:
            a.storage.watch(v)
        rebase_base(t, a, result)
    return t


def _keep_copies(edge: Any, since: int, storage: Any) -> None:
    """Let the nodes from `since` on, which belong to an in-place operator, keep copies of memory that cannot move."""
    block = storage.array.block
    open_nodes, seen = [edge], {edge}
    while open_nodes:
        node = open_nodes.pop()
        for _, v in node.held():
            if v.array is not None and v.array.block is block:
                v.array = contiguous_copy(v.array)
                v.lease = v.window = None
        for source in node.next:
            if source is not None and source.seq >= since and source not in seen:
                seen.add(source)
                open_nodes.append(source)


def _type_name(d: dtypes.dtype) -> str:
    from .instruction import SCALAR_TYPE_NAMES

    return SCALAR_TYPE_NAMES[d]


def rebase_base(t: Tensor, a: Any, result: Tensor) -> None:
    """A view was changed in place: its base's history becomes a copy of the result into the old base."""
    from .view_operators import record_copy_slices

    record_copy_slices(a.base, a.geometry(), result)
    rebase_views(a.base, a)


def rebase_views(base: Tensor, a: Any) -> None:
    """A base was changed in place: its views' histories start from its new one."""
    from .view_operators import record_as_strided

    for ref in a.storage.views:
        view = ref()
        if view is not None and view._s is not None and view._s.base is base and view._s.made != "no_grad":
            record_as_strided(view, base)


@hot
def update(t: Tensor, op: ElementwiseOp, others: tuple, numbers: tuple) -> None:
    """Replace `t` by an operator of it, other tensors and numbers, unrecorded: what optimizers do in every step."""
    if WATCH.batcher is not None:
        assign_result(t, call(op, (t, *others, *numbers)))
        return
    v = t._v if t._v is not None else t._read()
    dtype, shape = v.dtype, v.shape
    operands = [v]
    plain = t._s is None or t._s.layout is None
    for o in others:
        w = o._v if o._v is not None else o._read()
        plain = plain and w.dtype is dtype and w.shape == shape
        operands.append(w)
    if plain:
        instr = op.updates.get(dtype)
        if instr is None:
            instr = _update_instruction(op, dtype, len(operands), len(numbers))
        t._assign(pending(instr, tuple(operands), numbers, shape))
    else:
        assign_result(t, call(op, (t, *others, *numbers)))


def _update_instruction(op: ElementwiseOp, dtype: dtypes.dtype, tensors: int, numbers: int) -> Instruction:
    ranked = [(dtype, 2)] * tensors + [(dtypes.float64, 0)] * numbers
    made = op.updates[dtype] = op.instruction("t" * tensors + "s" * numbers, ranked)
    return made


def _anew(t: Tensor, function: Callable, args: tuple, kwargs: dict) -> Tensor:
    """An in-place operator again, as another thread has changed `t` since it was read: that change must not be lost."""
    for _ in range(MOST_ATTEMPTS):
        since = next_seq() if MODE.grad else None
        before = t._version  # type: ignore[attr-defined]
        result = function(t, *args, **kwargs)
        if t._version == before:  # type: ignore[attr-defined]
            break
    return assign_result(t, result, since=since)


def in_place(function: Callable, name: str) -> Callable:
    """The in-place form of an operator: `x.add_(y)` from `add`."""

    repeated = name == "masked_fill_"

    @hot
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        since = next_seq() if MODE.grad else None
        if self._edge is not None or self._s is not None:
            check_in_place(self, MODE.grad, repeated and not (MODE.grad and self._edge is not None))
            if self._s is not None:
                for other in args:
                    if isinstance(other, Tensor):
                        check_overlap(self, other)
        before = self._ver if self._s is None else self._s.counter.n
        result = function(self, *args, **kwargs)
        if result is NotImplemented:
            return result
        if result is not self and before != (self._ver if self._s is None else self._s.counter.n):
            return _anew(self, function, args, kwargs)
        return assign_result(self, result, since=since)

    method.__name__ = method.__qualname__ = name
    return method


def unrecorded(function: Callable, name: str) -> Callable:
    """The in-place form of an operator without a derivative that autograd does not see, as in PyTorch: a leaf may be
    changed by it, and a history stays as it was."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        since = next_seq() if MODE.grad else None
        with no_grad():
            if self._s is not None:
                check_in_place(self, False)
                for other in args:
                    if isinstance(other, Tensor):
                        check_overlap(self, other)
            return assign_result(self, function(self, *args, **kwargs), since=since)

    method.__name__ = method.__qualname__ = name
    return method
