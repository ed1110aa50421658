"""Batches whose dimension is hidden: what functions called by `func.vmap` see, and how operators are applied to them.

Such a tensor has the shape of one example. Its value is marked (`BATCHED`) and holds another tensor, with the whole
batch along its first dimension. An operator of it is one of that tensor: for elementwise operators and views that
follows from what they are, others state a rule (see `batch_rules`), and what has none is applied to one example after
the other. All that is recorded is recorded of whole batches, so going backward knows nothing of this.

Nested batches have levels: the innermost `vmap` has the highest, and a tensor of several levels shows its highest
first. Operators meet the mark by being made pending, in `batch_hook`, or by `WATCH.batcher`; programs without `vmap`
meet neither.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .. import tensor as tensors
from ..lazy import value as values
from ..lazy.value import BATCHED, Unbatched, Value
from ..observe import WATCH
from ..tensor import Tensor, wrap
from . import dispatch
from .instruction import ElementwiseOp, Instruction
from .scalar import Expr

# What the values of batches have for an instruction. It is never run.
_MARK = ElementwiseOp("batch", Expr(None, (), "x"), names=("x",))
_marks: dict[Any, Instruction] = {}
_levels = itertools.count(1)


class Batch:
    """What the value of a batch holds. tensor: the batch along its first dimension."""

    __slots__ = ("tensor", "level")

    def __init__(self, tensor: Tensor, level: int):
        self.tensor, self.level = tensor, level


class Level:
    """One `vmap` that is running.

    randomness: what drawing random numbers is to do. alone: whether it is at one example now, or what is drawn is for
    all: a draw has not to care for it.
    """

    __slots__ = ("number", "size", "randomness", "alone")

    def __init__(self, size: int, randomness: str):
        self.number, self.size, self.randomness, self.alone = next(_levels), size, randomness, False


class _Running(threading.local):
    """The levels that are open in this thread, the innermost last."""

    def __init__(self) -> None:
        self.levels: list[Level] = []


RUNNING = _Running()
_lock = threading.Lock()


class running:
    """Context manager: operators look for batches, in a new level."""

    def __init__(self, size: int, randomness: str = "error"):
        self.level = Level(size, randomness)

    def __enter__(self) -> Level:
        RUNNING.levels.append(self.level)
        with _lock:
            BATCHER.running += 1
            WATCH.batcher = BATCHER
        return self.level

    def __exit__(self, *exc: Any) -> None:
        with _lock:
            BATCHER.running -= 1
            if not BATCHER.running:
                WATCH.batcher = None
        RUNNING.levels.remove(self.level)


# --- hiding a dimension, and showing it -------------------------------------------------------------------------


def batch_of(t: Tensor) -> Batch | None:
    """What a tensor stands for, if that is a batch: of its highest level."""
    v = t._v
    return v.params[0] if v is not None and v.weight == BATCHED else None


def level_of(t: Any) -> int:
    """The highest level of a tensor; 0 where it is no batch, or no tensor."""
    if isinstance(t, Tensor):
        v = t._v
        if v is not None and v.weight == BATCHED:
            return v.params[0].level
    return 0


def _become(v: Value, whole: Tensor, level: int) -> None:
    """Make a value that of a batch."""
    d = whole.dtype
    v.instr = _marks[d] if d in _marks else _marks.setdefault(d, _MARK.specialise("t", (d,), d, d))
    v.operands = ()
    v.params = (Batch(whole, level),)
    v.dtype, v.device = d, whole.device
    v.array = v.lease = v.window = None
    v.weight = BATCHED


def _standing_for(whole: Tensor, level: int) -> Tensor:
    v = Value()
    v.shape = whole._shape[1:]
    v.uses = v.kept = 0
    v.owner = v.stale = None
    v.shared = v.passed = False
    _become(v, whole, level)
    t = wrap(v)
    t._edge, t._nr = whole._edge, whole._nr
    return t


def hide(t: Tensor, level: int, dim: int = 0) -> Tensor:
    """A tensor of one dimension less, which is the batch's at this level."""
    batch = batch_of(t)
    if batch is not None and batch.level > level:
        return _standing_for(hide(batch.tensor, level, dim + 1), batch.level)
    return _standing_for(t if dim == 0 else t.movedim(dim, 0), level)  # type: ignore[attr-defined]


def show(t: Tensor, level: int) -> Tensor | None:
    """The tensor with the batch's dimension at this level as its first; None if it has no batch there."""
    batch = batch_of(t)
    if batch is None or batch.level < level:
        return None
    if batch.level == level:
        return batch.tensor
    inner = show(batch.tensor, level)
    return None if inner is None else _standing_for(inner.transpose(0, 1), batch.level)  # type: ignore[attr-defined]


def shown(t: Tensor, level: int, size: int) -> Tensor:
    """The same, where all examples are the same if it has no batch there."""
    found = show(t, level)
    return t.expand(size, *t._shape) if found is None else found  # type: ignore[attr-defined]


def levels_of(t: Any) -> list[int]:
    """All levels at which a tensor has a batch, the highest first."""
    found = []
    batch = batch_of(t) if isinstance(t, Tensor) else None
    while batch is not None:
        found.append(batch.level)
        batch = batch_of(batch.tensor)
    return found


def lift(t: Tensor, levels: Iterable[Level]) -> Tensor:
    """A tensor with a batch at each of these levels: of equal examples where it had none."""
    for level in levels:
        if show(t, level.number) is None:
            t = hide(t.expand(level.size, *t._shape), level.number)  # type: ignore[attr-defined]
    return t


def show_all(t: Tensor, levels: Sequence[int]) -> Tensor:
    """A tensor that has batches at these levels, the lowest first, with their dimensions in front, in this order."""
    for level in reversed(levels):
        found = show(t, level)
        assert found is not None
        t = found
    return t


def hide_all(t: Tensor, levels: Iterable[int]) -> Tensor:
    """The reverse of `show_all`."""
    for level in levels:
        t = hide(t, level)
    return t


def follow(t: Tensor) -> None:
    """The batch that a tensor stands for has another history."""
    batch = batch_of(t)
    if batch is not None:
        follow(batch.tensor)
        t._edge, t._nr = batch.tensor._edge, batch.tensor._nr


# --- elementwise operators ----------------------------------------------------------------------------------------


def _pending(v: Value) -> None:
    """A pending value that was just made of batches: apply its instruction to whole batches, and be their result."""
    if v.weight == BATCHED:
        raise Unbatched
    level = max([o.params[0].level for o in v.operands if o.weight == BATCHED])
    owner = None if v.owner is None else v.owner()
    node = None if owner is None else owner._edge
    rank, size = len(v.shape), 1
    given: list[Any] = []
    for i, o in enumerate(v.operands):
        if o.weight != BATCHED or o.params[0].level != level:
            t = wrap(o)
            if o.weight == BATCHED:
                follow(t)
            elif node is not None:
                t._edge, t._nr = node.next[i], node.nrs[i] if node.nrs else 0
        else:
            t = o.params[0].tensor
            size = t._shape[0]
            if v.instr.relabels:
                t = t.reshape((size, *v.shape))
            elif len(o.shape) < rank:
                t = t.reshape((size, *(1,) * (rank - len(o.shape)), *o.shape))
        given.append(t)
    if v.instr.relabels:
        made = given[0]
    else:
        shape = (size, *v.shape)
        own = tuple([t._shape for t in given])
        same = all(s == shape for s in own)
        operands = tuple([t._value() for t in given])
        made = dispatch.emit(v.instr, operands, v.params, shape, tuple(given), None if same else own)
    if node is not None:
        node.release()
    v.kept = 0
    _become(v, made, level)
    if owner is not None:
        owner._edge, owner._nr = made._edge, made._nr


def _alias(t: Tensor, silent: bool) -> Tensor:
    batch = batch_of(t)
    assert batch is not None
    return _standing_for(batch.tensor._alias(silent), batch.level)


values.batch_hook = _pending
tensors.batch_alias = _alias


# --- other operators ----------------------------------------------------------------------------------------------


class Call:
    """An operator that is to be applied to batches of one level.

    tensors: those that have a batch there with its dimension in front, others as they are. batched: which have.
    rank: the dimensions that each has within an example. size: of the batch.
    """

    __slots__ = ("op", "label", "args", "tensors", "batched", "ranks", "size", "level")

    def __init__(self, op: Any, tensors: Sequence[Tensor], label: str | None, args: dict, level: int):
        self.op, self.label, self.args, self.level = op, label, args, level
        self.ranks = [len(t._shape) for t in tensors]
        self.tensors: list[Any] = []
        self.batched = []
        self.size = 0
        for t in tensors:
            whole = show(t, level)
            self.batched.append(whole is not None)
            self.tensors.append(t if whole is None else whole)
            if whole is not None:
                self.size = whole._shape[0]

    def whole(self, i: int) -> Tensor:
        """A tensor with the batch's dimension in front, in any case."""
        t = self.tensors[i]
        return t if self.batched[i] else t.expand(self.size, *t._shape)

    def wholes(self) -> list[Tensor]:
        return [self.whole(i) for i in range(len(self.tensors))]

    def aligned(self, i: int, rank: int) -> Tensor:
        """A tensor that broadcasts with others of so many dimensions within an example."""
        t, own = self.tensors[i], self.ranks[i]
        if not self.batched[i] or own >= rank:
            return t
        return t.reshape((self.size, *(1,) * (rank - own), *t._shape[1:]))

    def examples(self) -> list[Tensor]:
        """The tensors as they were, of an example's shapes."""
        return [hide(t, self.level) if b else t for t, b in zip(self.tensors, self.batched)]

    def apply(self, tensors: Sequence[Tensor], **changed: Any) -> Any:
        """The operator's result for tensors with the batch's dimension in front."""
        return self.op.apply(tensors, self.label, **{**self.args, **changed})


class Batcher:
    """What is told of each operator while a `vmap` runs. running: how many do."""

    def __init__(self) -> None:
        self.running = 0

    def operator(self, op: Any, tensors: Sequence[Tensor], label: str | None, args: dict) -> Any:
        """Apply an operator to tensors, of which some may be batches."""
        level = 0
        for t in tensors:
            v = t._v
            if v is not None and v.weight == BATCHED and v.params[0].level > level:
                level = v.params[0].level
        if not level:
            if WATCH.observer is not None:
                return WATCH.observer.operator(op, tensors, label, args)
            return op._apply(tensors, label, args)
        call = Call(op, tensors, label, args, level)
        made = (one_by_one if op.batch is None else op.batch)(call)
        if made.__class__ is tuple:
            return tuple([hide(t, level) for t in made])
        return hide(made, level)


BATCHER = Batcher()


def one_by_one(call: Call) -> Any:
    """The rule of operators without one: each example by itself."""
    examples = [
        t.unbind(0) if b else (t,) * call.size  # type: ignore[attr-defined]
        for t, b in zip(call.tensors, call.batched)
    ]
    made = [call.op.apply(one, call.label, **call.args) for one in zip(*examples)]
    if made[0].__class__ is tuple:
        return tuple([stacked(parts) for parts in zip(*made)])
    return stacked(made)


def of_whole(x: Tensor, function: Callable, *args: Any, **options: Any) -> Any:
    """What a function makes of the batch that a tensor stands for, at its highest level: results with that in front."""
    batch = batch_of(x)
    assert batch is not None
    made = function(batch.tensor, *args, **options)
    if isinstance(made, Tensor):
        return hide(made, batch.level)
    parts = [hide(t, batch.level) for t in made]
    return type(made)(*parts) if hasattr(made, "_fields") else type(made)(parts)


def of_wholes(tensors: Sequence[Tensor], function: Callable) -> Any:
    """The same of several tensors, some of which are batches."""
    level = max(map(level_of, tensors))
    wholes = [show(t, level) for t in tensors]
    size = next(w._shape[0] for w in wholes if w is not None)
    return hide(function(*[shown(t, level, size) for t in tensors]), level)


def as_batch(x: Tensor, others: Iterable) -> Tensor:
    """A tensor as a batch of the highest level of others: to be changed by them in place."""
    level = max(map(level_of, others), default=0)
    if not level or show(x, level) is not None:
        return x
    size = next(w._shape[0] for t in others if level_of(t) == level and (w := show(t, level)) is not None)
    return hide(x.expand(size, *x._shape), level)  # type: ignore[attr-defined]


def batch_like(made: Tensor, like: Tensor) -> Tensor:
    """A new tensor as a batch at all levels where another one is: each example may then be changed by itself."""
    levels = levels_of(like)
    if not levels or made._edge is not None:
        return made
    for level in reversed(levels):
        whole = show(like, level)
        assert whole is not None
        made = hide(made.expand(whole._shape[0], *made._shape), level)  # type: ignore[attr-defined]
    return made.clone()  # type: ignore[attr-defined]


def stacked(examples: Sequence[Tensor]) -> Tensor:
    """Results of the examples as a batch. Raises RuntimeError where their shapes differ."""
    from .joining import stack

    first = examples[0]
    if any(t._shape != first._shape for t in examples):
        raise RuntimeError(
            "vmap: We do not support batching operators that can output dynamic shape: the results for the examples "
            f"have shapes {sorted({tuple(t._shape) for t in examples})}"
        )
    return stack(examples)
