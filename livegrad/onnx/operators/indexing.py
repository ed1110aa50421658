"""Reading and writing at places: `x[...]`, gather, scatter, embedding."""

from __future__ import annotations

import numpy as np

import livegrad

from ..writer import LAST, is_value
from .table import translates


@translates()
def embedding(w, input, weight, padding_idx=None, max_norm=None, norm_type=2.0, scale_grad_by_freq=False, sparse=False):
    return w("Gather", weight, input, axis=0)


@translates()
def index_select(w, input, dim, index):
    return w("Gather", input, index, axis=input.axis(dim))


@translates("gather", "take_along_dim")
def gather(w, input, dim, index, sparse_grad=False):
    return w("GatherElements", input, index, axis=input.axis(dim))


@translates()
def take(w, input, index):
    return w("Gather", w.reshape(input, [-1]), index, axis=0)


@translates()
def select(w, input, dim, index):
    return w("Gather", input, w.squeeze(index, 0) if is_value(index) else np.array(index), axis=input.axis(dim))


@translates()
def narrow(w, input, dim, start, length):
    stop = w("Add", w.whole(start), w.whole(length)) if is_value(start) or is_value(length) else start + length
    return w.cut(input, input.axis(dim), start, stop)


@translates()
def nonzero(w, input, as_tuple=False):
    if as_tuple:
        raise w.refuse("as_tuple=True")
    return w.transposed(w("NonZero", input), 0, 1, 2)


@translates("masked_select")
def masked_select(w, input, mask):
    return w("Compress", w.reshape(w("Expand", input, w("Shape", mask)), [-1]), w.reshape(mask, [-1]))


# --- x[...] -------------------------------------------------------------------------------------------------------


def _parts(w, x, index):
    """The index as one entry for each dimension and each None, with the ellipsis written out."""
    given = list(index) if isinstance(index, tuple) else [index]
    given = [np.array(i) if isinstance(i, list) else i for i in given]
    used = sum(_rank(i) for i in given if i is not None and i is not ...)
    rest = [slice(None)] * (x.rank - used)
    if any(i is ... for i in given):
        place = next(k for k, i in enumerate(given) if i is ...)
        return [*given[:place], *rest, *given[place + 1 :]]
    return [*given, *rest]


def _rank(i):
    """How many dimensions an entry of an index is of."""
    boolean = is_value(i) and i.dtype is livegrad.bool
    return i.rank if boolean else 1


def _is_tensor(i):
    return (is_value(i) and not i.size) or isinstance(i, np.ndarray)


@translates()
def getitem(w, input, index):
    if isinstance(input, (tuple, list)):
        return input[index]
    parts = _parts(w, input, index)
    x, axis = input, 0
    starts, stops, axes, steps, dropped, added, tensors = [], [], [], [], [], [], []
    place = 0  # in what has been made so far
    for part in parts:
        if part is None:
            added.append(place)
            place += 1
            continue
        if isinstance(part, slice):
            step = 1 if part.step is None else part.step
            if part.start not in (None, 0) or part.stop is not None or step != 1:
                starts.append(0 if part.start is None else part.start)
                stops.append(LAST if part.stop is None else part.stop)
                axes.append(axis)
                steps.append(step)
            place += 1
        elif _is_tensor(part):
            tensors.append((place, part))
            place += _rank(part)
            axis += _rank(part) - 1
        elif isinstance(part, bool):
            raise w.refuse("an index of True or False")
        else:
            dropped.append((axis, part))
        axis += 1
    if starts:
        x = w("Slice", x, w.sizes(starts), w.sizes(stops), np.array(axes), np.array(steps))
    for k, part in reversed(dropped):
        x = w("Gather", x, w.squeeze(part, 0) if is_value(part) else np.array(part), axis=k)
    if added:
        x = w.unsqueeze(x, *added)
    return _at_tensors(w, x, tensors, place) if tensors else (x if x is not input else w("Identity", x))


def _at_tensors(w, x, tensors, rank):
    """Elements at indices that are tensors: [(the dimension that one is of, the tensor), ...]."""
    (first, index), *others = tensors
    if not others and not (is_value(index) and index.dtype is livegrad.bool):
        return w("Gather", x, w.cast(index, livegrad.int64) if is_value(index) else index, axis=first)
    if not others:
        if first:
            raise w.refuse("a mask that is not of the first dimensions")
        return w("GatherND", x, w.transposed(w("NonZero", index), 0, 1, 2))
    if [d for d, _ in tensors] != list(range(len(tensors))):
        raise w.refuse("several tensors as indices that are not of the first dimensions")
    if any(is_value(i) and i.dtype is livegrad.bool for _, i in tensors):
        raise w.refuse("masks among several tensors as indices")
    widest = max((i.rank if is_value(i) else i.ndim) for _, i in tensors)
    shape = w("Shape", w("Max", *(i if is_value(i) else i.astype(np.int64) for _, i in tensors)))
    columns = [w.unsqueeze(w("Expand", i, shape), widest) for _, i in tensors]
    return w("GatherND", x, w("Concat", *columns, axis=widest))


# --- x[...] = ... -------------------------------------------------------------------------------------------------


@translates("assigned")
def assigned(w, x, index, value):
    if is_value(index) and index.dtype is livegrad.bool:
        mask = index
        for _ in range(x.rank - index.rank):
            mask = w.unsqueeze(mask, -1)
        if is_value(value) and value.rank > x.rank - index.rank:
            raise w.refuse("an assignment of several rows where a mask is set")
        return w("Where", mask, w.cast(value, x.dtype), x)
    places = _places(w, x, index)
    value = w("Expand", w.cast(value, x.dtype), np.array(places.shape, np.int64))
    flat = w("ScatterElements", w.reshape(x, [-1]), places.reshape(-1), w.reshape(value, [-1]), axis=0)
    return w.reshape(flat, list(x.shape))


def _places(w, x, index):
    """Where in the flat tensor the elements of an index lie, which does not depend on inputs."""
    parts = list(index) if isinstance(index, tuple) else [index]
    for part in parts:
        inside = (part.start, part.stop, part.step) if isinstance(part, slice) else (part,)
        if any(is_value(p) and p.constant is None for p in inside):
            raise w.refuse("an assignment to places that depend on inputs")
    known = tuple(p.constant if is_value(p) else p for p in parts)
    return np.arange(int(np.prod(w.fixed(x) if x.rank else ()))).reshape(x.shape)[known]


@translates()
def scatter(w, input, dim, index, src=None, value=None, reduce=None):
    src = value if src is None else src
    if reduce is not None:
        raise w.refuse("with reduce; scatter_reduce has a translation")
    updates = src if is_value(src) else w("Expand", w.number(src, input.dtype), w("Shape", index))
    return w("ScatterElements", input, index, _cut_to(w, updates, index), axis=input.axis(dim))


def _cut_to(w, src, index):
    """The part of the source that has an index."""
    if not src.rank or src.shape == index.shape:
        return src
    return w("Slice", src, np.zeros(src.rank, np.int64), w("Shape", index))


@translates()
def scatter_add(w, input, dim, index, src):
    return w("ScatterElements", input, index, _cut_to(w, src, index), axis=input.axis(dim), reduction="add")


@translates()
def scatter_reduce(w, input, dim, index, src, reduce, include_self=True):
    kinds = {"sum": "add", "prod": "mul", "amax": "max", "amin": "min"}
    if reduce not in kinds or not include_self:
        raise w.refuse("only sum, prod, amax and amin with include_self")
    return w("ScatterElements", input, index, _cut_to(w, src, index), axis=input.axis(dim), reduction=kinds[reduce])
