"""The operators behind views, their adjoints, and the histories of views that were changed in place.

Each is declared by its geometry (see `geometry`) and by its gradient. On tensors a view is a window onto the same
storage; on values it is a window onto the same memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from ..autograd.mode import MODE
from ..autograd.node import OpNode, sequence
from ..devices import cpu
from ..lazy import backend
from ..lazy.value import Value, from_array, relabelled, reshaped
from ..native import held, hot, slotted
from ..runtime import array as arrays
from ..runtime import moves
from ..runtime.array import contiguous_strides, overlapping
from ..tensor import Tensor, wrap
from . import dispatch
from .batch_rules import embedded, permuted, views
from .geometry import (
    as_strided_geometry,
    diagonal_geometry,
    expand_geometry,
    permute_geometry,
    reshape_geometry,
    select_geometry,
    slice_geometry,
    squeeze_geometry,
    unfold_geometry,
    unsqueeze_geometry,
)
from .operator import Operator, Rule, on_either
from .registry import operator

_new = object.__new__


@slotted
class View(Operator):
    """An operator whose result is a window onto its input's memory.

    geometry: function of (offset, shape, strides, **arguments) giving the result's, or None where only a copy will do.
    relabels: whether all elements are shown, in the same order.
    """

    __slots__ = ("geometry", "relabels")

    def __init__(self, name: str, geometry: Callable, gradient: Callable, node: str, relabels: bool = False):
        super().__init__(name, self._on_value, ("x",), {}, node + "Backward", False)
        self.geometry = geometry
        held(self, "geometry")
        self.relabels = relabels
        self.grads = {"x": Rule(gradient)}
        self.batch = views

    @hot
    def _on_value(self, v: Value, **args: Any) -> Value:
        return self.of_value(v, args)

    @hot
    def of_value(self, v: Value, args: dict) -> Value:
        """The result of a bare value; pending if that is and it only takes another shape."""
        if self.relabels and v.array is None:
            return relabelled(v, self.geometry(0, v.shape, contiguous_strides(v.shape), **args)[1])
        array = v.ready()
        found = self.geometry(array.offset, array.shape, array.strides, **args)
        return self.copy(v, **args) if found is None else reshaped(v, *found)

    @hot
    def copy(self, v: Value, **args: Any) -> Value:
        """The result where no window will do (only reshaping comes to that)."""
        fresh = from_array(arrays.copied(v.ready())) if v.device.type == "meta" else backend.copied(v.native())
        found = self.geometry(0, fresh.shape, contiguous_strides(fresh.shape), **args)
        return reshaped(fresh, *found)

    @hot
    def _apply(self, tensors: Sequence[Tensor], label: str | None, args: dict) -> Tensor:
        t = tensors[0]
        found = self.geometry(*t._geometry(), **args)
        made = wrap(self.copy(t._value(), **args)) if found is None else t._window(*found)
        if t._edge is not None and (MODE.off == 0 or MODE.grad):
            self._record_view(made, t, label, args)
        return made

    @hot
    def _record_view(self, made: Tensor, t: Tensor, label: str | None, args: dict) -> None:
        """The same as `record` does, for an operator of one tensor, of whose data no gradient reads anything."""
        dtype = t.dtype
        if dtype.category < 2:
            return
        node = _new(OpNode)
        node.op = self
        node.label = label or self.label
        node.next = (t._edge,)
        node.nrs = (t._nr,) if t._nr else None
        node.seq = next(sequence)
        node.shape = made._shape
        node.dtype = dtype
        node.hooks = None
        node.args = args
        node.released = False
        node.outputs = 1
        node.metas = ((t._shape, dtype),)
        node.saved = None
        dispatch.record_site(node)
        made._edge = node
        made._nr = 0


@slotted
class Meta:
    """Shape and dtype of an input whose data no gradient reads."""

    __slots__ = ("shape", "dtype", "kept")

    @hot
    def __init__(self, shape: tuple, dtype: Any):
        self.shape, self.dtype, self.kept = shape, dtype, 0


@hot
def _inverse(dims: tuple) -> tuple:
    out = [0] * len(dims)
    for i, d in enumerate(dims):
        out[d] = i
    return tuple(out)


RESHAPE = View("reshape", reshape_geometry, hot(lambda g, x_shape: g.reshape(x_shape)), "View", True)
UNSQUEEZE = View("unsqueeze", unsqueeze_geometry, hot(lambda g, x_shape: g.reshape(x_shape)), "Unsqueeze", True)
SQUEEZE = View("squeeze", squeeze_geometry, hot(lambda g, x_shape: g.reshape(x_shape)), "Squeeze", True)
PERMUTE = View("permute", permute_geometry, hot(lambda g, dims: g.permute(_inverse(dims))), "Permute")
PERMUTE.batch = permuted
EXPAND = View("expand", expand_geometry, lambda g, x_shape: g.sum_to_size(x_shape), "Expand")
SELECT = View(
    "select", select_geometry, lambda g, x_shape, dim, index: embed(g, SELECT, x_shape, dim=dim, index=index), "Select"
)
SLICE = View(
    "slice",
    slice_geometry,
    lambda g, x_shape, dim, start, step, length: embed(
        g, SLICE, x_shape, dim=dim, start=start, step=step, length=length
    ),
    "Slice",
)
DIAGONAL = View(
    "diagonal",
    diagonal_geometry,
    lambda g, x_shape, shift, dim1, dim2: embed(g, DIAGONAL, x_shape, shift=shift, dim1=dim1, dim2=dim2),
    "Diagonal",
)
UNFOLD = View(
    "unfold",
    unfold_geometry,
    lambda g, x_shape, dim, size, step: embed(g, UNFOLD, x_shape, dim=dim, size=size, step=step),
    "Unfold",
)
AS_STRIDED = View(
    "as_strided",
    as_strided_geometry,
    lambda g, size, stride, start, base: on_either(INSERT, g, base=base, window=(start, size, stride)),
    "AsStrided",
)


@hot
def _embed(g: Value, view: View, shape: tuple, args: dict) -> Value:
    """The adjoint of a view: zeros with g added at the places that the view shows."""
    if g.device is not cpu or view is UNFOLD:
        return _embed_elsewhere(g, view, shape, args)
    whole = arrays.full_on(cpu, shape, g.dtype, 0)
    offset, window_shape, strides = view.geometry(0, shape, contiguous_strides(shape), **args)
    moves.assign(whole.view(whole.offset + offset, window_shape, strides).native(), g.native())
    return from_array(whole)


def _embed_elsewhere(g: Value, view: View, shape: tuple, args: dict) -> Value:
    with backend.on(g.device):
        whole = backend.fresh(backend.of(g).zeros(shape, g.dtype.np))
    offset, window_shape, strides = view.geometry(0, shape, contiguous_strides(shape), **args)
    array = whole.ready()
    window = array.view(array.offset + offset, window_shape, strides).native()
    if view is UNFOLD:
        _add(window, window_shape, strides, g.native())
    else:
        window[...] = g.native()
    return whole


def _add(window: Any, shape: tuple, strides: tuple, g: Any) -> None:
    """Add g to what a window shows, which may show a place several times.

    The dimensions that meet are gone through one after the other; along the rest, no place is met twice. So the sums
    are made in the same order every time, on every device.
    """
    apart: list[int] = []
    for d in sorted(range(len(shape)), key=lambda d: -shape[d]):
        tried = [*apart, d]
        if not overlapping(tuple(shape[k] for k in tried), tuple(strides[k] for k in tried)):
            apart = tried
    steps = [[slice(None)] if d in apart else range(n) for d, n in enumerate(shape)]
    for place in itertools.product(*steps):
        part = (..., *place)
        window[part] += g[part]


def _places(xp: Any, offset: int, shape: tuple, strides: tuple) -> Any:
    places = xp.full((1,) * len(shape), offset)
    for d, (n, s) in enumerate(zip(shape, strides)):
        along = xp.arange(n) * s
        places = places + along.reshape([-1 if k == d else 1 for k in range(len(shape))])
    return xp.broadcast_to(places, shape)


EMBED = operator(
    "embed",
    _embed,
    tensors=("x",),
    grads={"x": lambda g, view, args: on_either(view, g, **args)},
    node="Embed",
    anywhere=True,
    batch=embedded,
)


def embed(g: Any, view: View, shape: tuple, **args: Any) -> Any:
    return on_either(EMBED, g, view=view, shape=shape, args=args)


# --- histories of views that were changed in place --------------------------------------------------------------


def _copy_slices(x: Value, source: Value, base: tuple, window: tuple) -> Value:
    """x, laid out like the base, with the source in a window of it. (Calls write in place, and record this.)"""
    mine, part = _laid_out(backend.of(x), x.dtype.np, base, window)
    mine.native()[...] = x.native()
    part.native()[...] = source.native()
    return backend.copied(mine.native())


def _laid_out(xp: Any, dtype: Any, base: tuple, window: tuple) -> tuple:
    """Zeroed memory that two windows of one storage fit into, and the two windows onto it, as arrays."""
    low, high = [], []
    for offset, shape, strides in (base, window):
        low.append(offset)
        high.append(offset + sum((n - 1) * s for n, s in zip(shape, strides)) + 1 if 0 not in shape else offset)
    start = min(low)
    whole = backend.fresh(xp.zeros(max(high) - start, dtype)).ready()
    return tuple(whole.view(offset - start, shape, strides) for offset, shape, strides in (base, window))


def _clear(g: Value, base: tuple, window: tuple) -> Value:
    """g, which is laid out like the base, with a window of it cleared."""
    mine, part = _laid_out(backend.of(g), g.dtype.np, base, window)
    mine.native()[...] = g.native()
    part.native()[...] = 0
    return backend.copied(mine.native())


def _extract(x: Value, base: tuple, window: tuple) -> Value:
    """What a window shows of x, which is laid out like the base."""
    mine, part = _laid_out(backend.of(x), x.dtype.np, base, window)
    mine.native()[...] = x.native()
    return backend.copied(part.native())


def _insert(g: Value, base: tuple, window: tuple) -> Value:
    """The adjoint of `_extract`: what g adds to each element of the base."""
    xp = backend.of(g)
    mine, part = _laid_out(xp, g.dtype.np, base, window)
    start = min(base[0], window[0])
    flat = mine.view(0, (mine.block.nbytes // g.dtype.itemsize,), (1,)).native()
    if overlapping(window[1], window[2]):
        _add(part.native(), window[1], window[2], g.native())
    else:
        part.native()[...] = g.native()
    if overlapping(base[1], base[2]):  # an element that the base shows several times shares its gradient among them
        times = xp.bincount(_places(xp, base[0] - start, base[1], base[2]).reshape(-1), minlength=flat.size)
        flat /= xp.maximum(times, 1)
    return backend.copied(mine.native())


CLEAR = operator(
    "clear",
    _clear,
    tensors=("x",),
    grads={"x": lambda g, base, window: on_either(CLEAR, g, base=base, window=window)},
    node="Clear",
)
EXTRACT = operator(
    "extract",
    _extract,
    tensors=("x",),
    grads={"x": lambda g, base, window: on_either(INSERT, g, base=base, window=window)},
    node="Extract",
)
INSERT = operator(
    "insert",
    _insert,
    tensors=("x",),
    grads={"x": lambda g, base, window: on_either(EXTRACT, g, base=base, window=window)},
    node="Insert",
)
COPY_SLICES = operator(
    "copy_slices",
    _copy_slices,
    tensors=("x", "source"),
    grads={
        "x": lambda g, base, window: on_either(CLEAR, g, base=base, window=window),
        "source": lambda g, base, window: on_either(EXTRACT, g, base=base, window=window),
    },
    node="CopySlices",
)


def record_copy_slices(base: Tensor, window: tuple, source: Tensor) -> None:
    """The history of `base` after `source` was written into a window of it."""
    if source.dtype is not base.dtype:
        from .parts import record_part_slices  # it depends on this module

        record_part_slices(base, window, source)
        return
    metas = (Meta(base._shape, base.dtype), Meta(source._shape, source.dtype))
    args = {"base": base._geometry(), "window": window}
    node = COPY_SLICES.record((base,), metas, (base, source), None, args)
    if node is not None:
        node.label = "CopySlices"


def record_as_strided(view: Tensor, base: Tensor) -> None:
    """The history of a view of `base`, from the present one of `base`."""
    if base._edge is None:
        view._edge = None
        return
    if view.dtype is not base.dtype:
        from .parts import record_part_strided  # it depends on this module

        record_part_strided(view, base)
        return
    offset, shape, strides = view._geometry()
    args = {"size": shape, "stride": strides, "start": offset, "base": base._geometry()}
    AS_STRIDED.record((view,), (Meta(base._shape, base.dtype),), (base,), None, args)
