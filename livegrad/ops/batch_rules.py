"""How operators are applied to batches: rules that their entries state (see `batching`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..lazy.places import shape_of
from .batching import Call, one_by_one, shown


def later(dims: Any) -> Any:
    """Dimensions of an example, counted from the front, as those of the batch."""
    return dims + 1 if isinstance(dims, int) else tuple([d + 1 for d in dims])


def along(*names: str) -> Callable:
    """Arguments of these names are dimensions, counted from the front; what is along others is worked on by itself.

    All tensors have the dimensions of the first.
    """

    def rule(call: Call) -> Any:
        if call.ranks[0]:
            return call.apply(call.wholes(), **{n: later(call.args[n]) for n in names})
        # One number is a row of one, as everywhere.
        dims = {n: 1 if isinstance(call.args[n], int) else (1,) for n in names}
        made = call.apply([t.unsqueeze(1) for t in call.wholes()], **dims)
        several = made if made.__class__ is tuple else (made,)
        flat = tuple([t.reshape(call.size) for t in several])
        return flat if made.__class__ is tuple else flat[0]

    return rule


def sized(*names: str) -> Callable:
    """Arguments of these names are the whole shape of a tensor."""

    def rule(call: Call) -> Any:
        return call.apply(call.wholes(), **{n: (call.size, *call.args[n]) for n in names})

    return rule


def trailing(call: Call) -> Any:
    """The operator works on the last dimensions, and takes any in front of them, as many for each tensor."""
    return call.apply(call.wholes())


def broadcasting(call: Call) -> Any:
    """The operator works on one element of each tensor, which broadcast, or on the last dimensions of each."""
    rank = max(call.ranks)
    return call.apply([call.aligned(i, rank) for i in range(len(call.tensors))])


_DIMS, _SHAPES = frozenset(("dim", "dims", "dim1", "dim2")), frozenset(("new", "size"))


def views(call: Call) -> Any:
    """The rule of views: what their arguments are follows from the names."""
    args = call.args
    if "start" in args and "base" in args:  # places in memory
        return one_by_one(call)
    t = call.tensors[0]
    if not call.ranks[0] and call.op.name == "unfold":
        return one_by_one(call)
    changed: dict[str, Any] = {}
    for name, given in args.items():
        if name in _DIMS:
            changed[name] = later(given)
        elif name in _SHAPES and given.__class__ is tuple:
            changed[name] = (call.size, *given)
            t = call.aligned(0, len(given)) if name == "size" else t
    return call.apply((t,), **changed)


def permuted(call: Call) -> Any:
    return call.apply(call.tensors, dims=(0, *later(call.args["dims"])))


def joined(call: Call) -> Any:
    """The tensors are put together along a dimension that is counted from the front."""
    return call.apply(call.wholes(), dim=call.args["dim"] + 1)


def merged(call: Call) -> Any:
    """What is along the first dimension is worked on one by one: the batch becomes a part of it.

    Other tensors than the first have to be the same for all.
    """
    if not call.batched[0] or any(call.batched[1:]):
        return one_by_one(call)
    x = call.tensors[0]
    made = call.apply([x.flatten(0, 1), *call.tensors[1:]])
    if made.__class__ is tuple:
        return tuple([t.unflatten(0, x._shape[:2]) for t in made])
    return made.unflatten(0, x._shape[:2])


def composed(function: Callable) -> Callable:
    """The operator is also this function of tensors, and of its arguments by name, made of other operators."""

    def rule(call: Call) -> Any:
        made = function(*call.examples(), **call.args)
        return shown(made, call.level, call.size)

    return rule


def product(call: Call) -> Any:
    """The rule of `matmul`."""
    (a, b), (ra, rb) = call.tensors, call.ranks
    of_a, of_b = call.batched
    if ra == 1 and rb == 1:
        return (a * b).sum(-1) if of_a and of_b else call.apply((a, b) if of_a else (b, a))
    if rb == 1:
        if not of_b:
            return call.apply((a, b))
        if ra == 2 and not of_a:
            return call.apply((b, a.mT))
        a = call.aligned(0, ra) if of_a else a
        return call.apply((a, b.reshape((call.size, *(1,) * (ra - 2), b._shape[1], 1)))).squeeze(-1)
    if ra == 1:
        if rb == 2 and of_a and not of_b:
            return call.apply((a, b))
        row = a.reshape((call.size, *(1,) * (rb - 1), a._shape[1])) if of_a else a.unsqueeze(0)
        return call.apply((row, b)).squeeze(-2)
    rank = max(ra, rb)
    return call.apply((call.aligned(0, rank), call.aligned(1, rank)))


def repeated(call: Call) -> Any:
    reps, between = call.args["reps"], call.args["between"]
    t = call.aligned(0, len(reps))
    return call.apply((t,), reps=(1, *reps), between=(1, call.size, *between))


def bordered(call: Call) -> Any:
    return call.apply(call.tensors, before=(0, *call.args["before"]), shape=(call.size, *call.args["shape"]))


def embedded(call: Call) -> Any:
    """The adjoint of a view."""
    args = call.args["args"]
    if not all(n in _DIMS or n in ("index", "start", "step", "length", "shift") for n in args):
        return one_by_one(call)
    moved = {n: later(given) if n in _DIMS else given for n, given in args.items()}
    return call.apply(call.tensors, shape=(call.size, *call.args["shape"]), args=moved)


def picked_along(call: Call) -> Any:
    """Arguments: an array of places along the dimension `dim`, as `gather` takes it; `shape`, of a result."""
    index = call.args["index"]
    if index.__class__ is not np.ndarray:
        return one_by_one(call)
    changed: dict[str, Any] = {"index": np.broadcast_to(index, (call.size, *index.shape)), "dim": call.args["dim"] + 1}
    if "shape" in call.args:
        changed["shape"] = (call.size, *call.args["shape"])
    return call.apply(call.wholes(), **changed)


def indexed(call: Call) -> Any:
    """Arguments: an index of NumPy's; `shape`, of a result. The first tensor is indexed, unless it has that shape."""
    index = call.args["index"]
    if not isinstance(index, tuple) or hasattr(index, "_fields"):
        return one_by_one(call)
    at = [d for d, i in enumerate(index) if i.__class__ is not slice]
    if at != list(range(at[0], at[0] + len(at))) or any(index[d].__class__ is not np.ndarray for d in at):
        return one_by_one(call)  # what is picked would come before the batch
    moved = type(index)((slice(None), *index))
    changed: dict[str, Any] = {"index": moved}
    if "shape" in call.args:
        changed["shape"] = (call.size, *call.args["shape"])
    if len(call.tensors) == 1:
        return call.apply(call.wholes(), **changed)
    whole = call.whole(0)
    rank = len(shape_of(whole._shape[1:], index))
    return call.apply((whole, call.aligned(1, rank)), **changed)


def rows_by_weight(call: Call) -> Any:
    """The rule of `linear`, whose tensors are a bias or none, x and the weight."""
    if not call.batched[-1] and not (len(call.tensors) == 3 and call.batched[0]):
        return call.apply(call.tensors)
    *bias, x, weight = call.examples()
    made = x @ weight.mT
    return shown(made + bias[0] if bias else made, call.level, call.size)
