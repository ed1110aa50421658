"""Views: operators that only change how memory is walked. The result shares memory with the input.

Each is declared by its geometry, a function from (offset, shape, strides) and arguments to the new ones, and by its
gradient. On tensors a view is a window onto the same storage; on values it is a window onto the same memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from .. import dtypes
from ..autograd.mode import MODE
from ..lazy import backend
from ..lazy.value import Value, pending, relabelled, reshaped
from ..native import held, hot, slotted
from ..runtime.array import contiguous_strides, numel, view_strides
from ..tensor import Tensor
from . import dispatch, scalar
from .instruction import ElementwiseOp
from .registry import Operator, Rule, operator, public


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

    def copy(self, v: Value, **args: Any) -> Value:
        """The result where no window will do (only reshaping comes to that)."""
        fresh = backend.copied(v.native())
        found = self.geometry(0, fresh.shape, contiguous_strides(fresh.shape), **args)
        return reshaped(fresh, *found)

    @hot
    def _apply(self, tensors: Sequence[Tensor], label: str | None, args: dict) -> Tensor:
        t = tensors[0]
        found = self.geometry(*t._geometry(), **args)
        made = _wrap(self.copy(t._value(), **args)) if found is None else t._window(*found)
        if t._edge is not None and (MODE.off == 0 or MODE.grad):
            # The node needs the input's shape only, never its data.
            self.record((made,), (_Meta(t._shape, t.dtype),), tensors, label, args)
        return made


@slotted
class _Meta:
    """Shape and dtype of an input whose data no gradient reads."""

    __slots__ = ("shape", "dtype", "kept")

    @hot
    def __init__(self, shape: tuple, dtype: Any):
        self.shape, self.dtype, self.kept = shape, dtype, 0


def _wrap(v: Value) -> Tensor:
    from ..tensor import wrap

    return wrap(v)


@hot
def normal_dim(dim: int, n: int) -> int:
    """A dimension counted from the front. Raises IndexError with PyTorch's text."""
    if not -max(n, 1) <= dim < max(n, 1):
        m = max(n, 1)
        raise IndexError(f"Dimension out of range (expected to be in range of [{-m}, {m - 1}], but got {dim})")
    return dim + max(n, 1) if dim < 0 else dim


@hot
def sizes_of(args: tuple) -> tuple:
    """A shape given as numbers or as one sequence."""
    if len(args) == 1 and not isinstance(args[0], (int, Tensor)):
        args = tuple(args[0])
    return tuple([a if a.__class__ is int else int(a) for a in args])


# --- geometry ---------------------------------------------------------------------------------------------------


@hot
def infer_shape(shape: tuple, n: int) -> tuple:
    """Fill in a -1. Raises RuntimeError where the sizes do not multiply to n."""
    known = 1
    free = None
    for d, s in enumerate(shape):
        if s == -1:
            if free is not None:
                raise RuntimeError("only one dimension can be inferred")
            free = d
        elif s < 0:
            raise RuntimeError(f"invalid shape dimension {s} at index {d} of shape {list(shape)}")
        else:
            known *= s
    if free is None:
        if known != n:
            raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {n}")
        return shape
    if known == 0:
        raise RuntimeError(
            f"cannot reshape tensor of 0 elements into shape {list(shape)} because the unspecified dimension size -1 "
            "can be any value and is ambiguous"
        )
    if n % known:
        raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {n}")
    return shape[:free] + (n // known,) + shape[free + 1 :]


@hot
def _reshape_geometry(offset: int, shape: tuple, strides: tuple, new: tuple) -> tuple | None:
    found = view_strides(shape, strides, new)
    return None if found is None else (offset, new, found)


@hot
def _unsqueeze_geometry(offset: int, shape: tuple, strides: tuple, dim: int) -> tuple:
    step = shape[dim] * strides[dim] if dim < len(shape) else 1
    return offset, shape[:dim] + (1,) + shape[dim:], strides[:dim] + (step,) + strides[dim:]


@hot
def _squeeze_geometry(offset: int, shape: tuple, strides: tuple, dims: Any) -> tuple:
    left = [d for d, n in enumerate(shape) if n != 1 or d not in dims]
    return offset, tuple([shape[d] for d in left]), tuple([strides[d] for d in left])


@hot
def _permute_geometry(offset: int, shape: tuple, strides: tuple, dims: tuple) -> tuple:
    return offset, tuple([shape[d] for d in dims]), tuple([strides[d] for d in dims])


@hot
def _expand_geometry(offset: int, shape: tuple, strides: tuple, size: tuple) -> tuple:
    lead = len(size) - len(shape)
    own = (0,) * lead + tuple([0 if n == 1 and m != 1 else s for n, m, s in zip(shape, size[lead:], strides)])
    return offset, size, own


@hot
def _select_geometry(offset: int, shape: tuple, strides: tuple, dim: int, index: int) -> tuple:
    return offset + index * strides[dim], shape[:dim] + shape[dim + 1 :], strides[:dim] + strides[dim + 1 :]


@hot
def _slice_geometry(offset: int, shape: tuple, strides: tuple, dim: int, start: int, step: int, length: int) -> tuple:
    new_shape = shape[:dim] + (length,) + shape[dim + 1 :]
    new_strides = strides[:dim] + (strides[dim] * step,) + strides[dim + 1 :]
    return offset + start * strides[dim], new_shape, new_strides


def _diagonal_geometry(offset: int, shape: tuple, strides: tuple, shift: int, dim1: int, dim2: int) -> tuple:
    n, m = shape[dim1], shape[dim2]
    length = max(min(n, m - shift) if shift >= 0 else min(n + shift, m), 0)
    if length:
        offset += shift * strides[dim2] if shift >= 0 else -shift * strides[dim1]
    rest = [d for d in range(len(shape)) if d not in (dim1, dim2)]
    return (
        offset,
        tuple([shape[d] for d in rest]) + (length,),
        tuple([strides[d] for d in rest]) + (strides[dim1] + strides[dim2],),
    )


def _unfold_geometry(offset: int, shape: tuple, strides: tuple, dim: int, size: int, step: int) -> tuple:
    if not shape:
        return offset, (size,), (1,)
    count = (shape[dim] - size) // step + 1
    new_shape = shape[:dim] + (count,) + shape[dim + 1 :] + (size,)
    return offset, new_shape, strides[:dim] + (strides[dim] * step,) + strides[dim + 1 :] + (strides[dim],)


def _as_strided_geometry(
    offset: int, shape: tuple, strides: tuple, size: tuple, stride: tuple, start: int, base: tuple
) -> tuple:
    return start, size, stride


# --- the operators ----------------------------------------------------------------------------------------------


@hot
def _inverse(dims: tuple) -> tuple:
    out = [0] * len(dims)
    for i, d in enumerate(dims):
        out[d] = i
    return tuple(out)


RESHAPE = View("reshape", _reshape_geometry, hot(lambda g, x_shape: g.reshape(x_shape)), "View", True)
UNSQUEEZE = View("unsqueeze", _unsqueeze_geometry, hot(lambda g, x_shape: g.reshape(x_shape)), "Unsqueeze", True)
SQUEEZE = View("squeeze", _squeeze_geometry, hot(lambda g, x_shape: g.reshape(x_shape)), "Squeeze", True)
PERMUTE = View("permute", _permute_geometry, hot(lambda g, dims: g.permute(_inverse(dims))), "Permute")
EXPAND = View("expand", _expand_geometry, lambda g, x_shape: g.sum_to_size(x_shape), "Expand")
SELECT = View(
    "select", _select_geometry, lambda g, x_shape, dim, index: embed(g, SELECT, x_shape, dim=dim, index=index), "Select"
)
SLICE = View(
    "slice",
    _slice_geometry,
    lambda g, x_shape, dim, start, step, length: embed(
        g, SLICE, x_shape, dim=dim, start=start, step=step, length=length
    ),
    "Slice",
)
DIAGONAL = View(
    "diagonal",
    _diagonal_geometry,
    lambda g, x_shape, shift, dim1, dim2: embed(g, DIAGONAL, x_shape, shift=shift, dim1=dim1, dim2=dim2),
    "Diagonal",
)
UNFOLD = View(
    "unfold",
    _unfold_geometry,
    lambda g, x_shape, dim, size, step: embed(g, UNFOLD, x_shape, dim=dim, size=size, step=step),
    "Unfold",
)
AS_STRIDED = View(
    "as_strided",
    _as_strided_geometry,
    lambda g, size, stride, start, base: on_either(INSERT, g, base=base, window=(start, size, stride)),
    "AsStrided",
)


def _embed(g: Value, view: View, shape: tuple, args: dict) -> Value:
    """The adjoint of a view: zeros with g added at the places that the view shows."""
    xp = backend.of(g)
    whole = backend.fresh(xp.zeros(shape, g.dtype.np))
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
        if not _overlapping((0, tuple(shape[k] for k in tried), tuple(strides[k] for k in tried))):
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
)


def on_either(op: Operator, x: Any, **args: Any) -> Any:
    """Apply a one-tensor operator to a tensor or to a bare value, whichever it is."""
    return op.forward(x, **args) if x.__class__ is Value else op.apply((x,), **args)


def embed(g: Any, view: View, shape: tuple, **args: Any) -> Any:
    return on_either(EMBED, g, view=view, shape=shape, args=args)


# --- broadcasting a value ---------------------------------------------------------------------------------------

# Expanding as an elementwise copy into a larger shape, which stays pending and fuses. It shares no memory.
_SPREAD = ElementwiseOp("expand", scalar.Expr(None, (), "x"), names=("x",))
_SPREADS = {d: _SPREAD.specialise("t", (d,), d, d) for d in dtypes.ALL}


@hot
def spread(x: Any, shape: tuple) -> Any:
    """A value or a tensor broadcast to a shape, pending."""
    if x.__class__ is Value:
        return x if x.shape == shape else pending(_SPREADS[x.dtype], (x,), (), shape)
    v = x._value()
    if v.shape == shape:
        return x
    return dispatch.emit(_SPREADS[v.dtype], (v,), (), shape, (x,), (v.shape,))


@hot
def sum_to_size(x: Any, *size: Any) -> Any:
    """Sum over the dimensions along which `size` was broadcast to the shape of `x`."""
    shape = sizes_of(size)
    own = tuple(x.shape)
    if own == shape:
        return x
    lead = len(own) - len(shape)
    if lead < 0 or any(m not in (1, n) for n, m in zip(own[lead:], shape)):
        raise RuntimeError(f"size {list(shape)} is not expandable to size {list(own)}.")
    dims = tuple(range(lead)) + tuple(d + lead for d, m in enumerate(shape) if m == 1 and own[d + lead] != 1)
    total = x.sum(dims, keepdim=False) if dims else x
    return total.reshape(shape)


# --- methods of values, for gradient formulas -------------------------------------------------------------------


@hot
def _reshape_value(v: Value, *shape: Any) -> Value:
    new = infer_shape(sizes_of(shape), numel(v.shape))
    if new == v.shape:
        return v
    return relabelled(v, new) if v.array is None else RESHAPE.of_value(v, {"new": new})


@hot
def _permute_value(v: Value, *dims: Any) -> Value:
    return PERMUTE.of_value(v, {"dims": tuple([d % len(v.shape) for d in sizes_of(dims)])})


@hot
def _transpose_value(v: Value, a: int, b: int) -> Value:
    dims = list(range(len(v.shape)))
    dims[a], dims[b] = dims[b], dims[a]
    return PERMUTE.of_value(v, {"dims": tuple(dims)})


@hot
def _unsqueeze_value(v: Value, dim: int) -> Value:
    dim = normal_dim(dim, len(v.shape) + 1)
    return _reshape_value(v, v.shape[:dim] + (1,) + v.shape[dim:])


def _slice_value(v: Value, dim: int, start: int, step: int, length: int) -> Value:
    return SLICE.forward(v, dim=dim, start=start, step=step, length=length)


for _name, _function in {
    "reshape": _reshape_value,
    "permute": _permute_value,
    "transpose": _transpose_value,
    "unsqueeze": _unsqueeze_value,
    "expand": hot(lambda v, *shape: spread(v, sizes_of(shape))),
    "sum_to_size": sum_to_size,
    "narrow_step": _slice_value,
    "mT": property(hot(lambda v: _transpose_value(v, -1, -2))),
}.items():
    setattr(Value, _name, _function)

# --- functions on tensors ---------------------------------------------------------------------------------------


@hot
def _narrow_step(t: Tensor, dim: int, start: int, step: int, length: int) -> Tensor:
    return SLICE.apply((t,), dim=dim, start=start, step=step, length=length)


Tensor.narrow_step = _narrow_step  # type: ignore[attr-defined]


@public("view", kind="view", function=False)
@hot
def view(x: Tensor, *shape: Any) -> Tensor:
    """The same elements in another shape, sharing memory.

    One size may be -1. Raises RuntimeError where the memory cannot be walked that way (use `reshape`), or sizes do
    not fit.
    """
    if len(shape) == 1 and isinstance(shape[0], dtypes.dtype):
        return view_dtype(x, shape[0])
    new = infer_shape(sizes_of(shape), x.numel())
    offset, own, strides = x._geometry()
    found = view_strides(own, strides, new)
    if found is None:
        raise RuntimeError(
            "view size is not compatible with input tensor's size and stride (at least one dimension spans across two "
            "contiguous subspaces). Use .reshape(...) instead."
        )
    if x._edge is None:  # nothing to record
        return x._window(offset, new, found)
    return RESHAPE.apply((x,), new=new)


def view_dtype(x: Tensor, dtype: Any) -> Tensor:
    """The same bytes read as another dtype (a copy: changes are not shared)."""
    from ..tensor import from_native

    bits = x.detach()._to_numpy()
    if not x.is_contiguous():
        bits = bits.copy()
    return from_native(bits.view(dtype.np).copy()).to(x.device)  # type: ignore[attr-defined]


@public("reshape", kind="view")
@hot
def reshape(x: Tensor, *shape: Any) -> Tensor:
    """The same elements in another shape; a view where possible, else a copy."""
    new = infer_shape(sizes_of(shape), x.numel())
    offset, own, strides = x._geometry()
    found = view_strides(own, strides, new)
    label = None
    if x._edge is not None:
        if not x.is_contiguous():
            label = "UnsafeViewBackward" if found is None else "ReshapeAliasBackward"
    elif found is not None:  # nothing to record
        return x._window(offset, new, found)
    return RESHAPE.apply((x,), label=label, new=new)


@public("view_as", kind="view", function=False)
def view_as(x: Tensor, other: Tensor) -> Tensor:
    """`x.view(other.size())`"""
    return view(x, other.shape)


@public("reshape_as", kind="view", function=False)
def reshape_as(x: Tensor, other: Tensor) -> Tensor:
    """`x.reshape(other.shape)`"""
    return reshape(x, other.shape)


@public("flatten", kind="view")
@hot
def flatten(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Merge the dimensions from start_dim to end_dim into one."""
    shape = x._shape
    n = len(shape)
    start, end = normal_dim(start_dim, n), normal_dim(end_dim, n)
    if start > end:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if n == 0:
        return reshape(x, (1,))
    if start == end:
        return x
    return reshape(x, shape[:start] + (numel(shape[start : end + 1]),) + shape[end + 1 :])


@public("ravel", kind="view")
def ravel(x: Tensor) -> Tensor:
    """All elements in one dimension."""
    return reshape(x, (-1,)) if x.numel() else reshape(x, (0,))


@public("unflatten", kind="view")
def unflatten(x: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """Split one dimension into several."""
    dim = normal_dim(dim, x.dim())
    if not x._shape:
        raise RuntimeError("unflatten: a tensor without dimensions has none to split")
    shape = x._shape
    sizes = infer_shape(tuple(sizes), shape[dim])
    return view(x, shape[:dim] + sizes + shape[dim + 1 :])


@public("permute", kind="view")
@hot
def permute(x: Tensor, *dims: Any) -> Tensor:
    """Reorder the dimensions."""
    wanted = sizes_of(dims)
    n = x.dim()
    if len(wanted) != n:
        raise RuntimeError(
            f"permute(sparse_coo): number of dimensions in the tensor input does not match the length of the desired "
            f"ordering of dimensions i.e. input.dim() = {n} is not equal to len(dims) = {len(wanted)}"
        )
    order = tuple(normal_dim(d, n) for d in wanted)
    if len(set(order)) != n:
        raise RuntimeError("permute(): duplicate dims are not allowed.")
    return PERMUTE.apply((x,), dims=order)


@public("transpose", kind="view", aliases=("swapaxes", "swapdims"))
@hot
def transpose(x: Tensor, dim0: int, dim1: int) -> Tensor:
    """Swap two dimensions."""
    n = x.dim()
    a, b = normal_dim(dim0, n), normal_dim(dim1, n)
    order = list(range(n))
    if n:
        order[a], order[b] = order[b], order[a]
    return PERMUTE.apply((x,), label="TransposeBackward", dims=tuple(order))


@public("t", kind="view")
@hot
def t(x: Tensor) -> Tensor:
    """The transpose of a matrix; a tensor of fewer dimensions as it is."""
    n = x.dim()
    if n > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {n}D")
    return PERMUTE.apply((x,), label="TBackward", dims=(1, 0) if n == 2 else tuple(range(n)))


@public("movedim", kind="view", aliases=("moveaxis",))
def movedim(x: Tensor, source: Any, destination: Any) -> Tensor:
    """Move dimensions to other places."""
    n = x.dim()
    src = [normal_dim(d, n) for d in ([source] if isinstance(source, int) else source)]
    dst = [normal_dim(d, n) for d in ([destination] if isinstance(destination, int) else destination)]
    if len(src) != len(dst):
        raise RuntimeError(
            "movedim: Invalid source or destination dims: source ("
            f"{src} dims) should contain the same number of dims as destination ({dst} dims)"
        )
    for which, dims in (("source", src), ("destination", dst)):
        if len(set(dims)) < len(dims):
            raise RuntimeError(f"movedim: repeated dim in `{which}` ({dims})")
    if n == 0:
        return x.view_as(x)
    rest = [d for d in range(n) if d not in src]
    order: list[int] = [-1] * n
    for s, d in zip(src, dst):
        order[d] = s
    remaining = iter(rest)
    return permute(x, tuple(o if o >= 0 else next(remaining) for o in order))


@public("squeeze", kind="view")
@hot
def squeeze(x: Tensor, dim: Any = None) -> Tensor:
    """Drop dimensions of size 1: all of them, or those named."""
    n = x.dim()
    if dim is None:
        return SQUEEZE.apply((x,), label="SqueezeBackward0", dims=range(n))
    dims = tuple([normal_dim(d, n) for d in ((dim,) if isinstance(dim, int) else dim)])
    return SQUEEZE.apply((x,), label="SqueezeBackward1" if isinstance(dim, int) else "SqueezeBackward2", dims=dims)


@public("unsqueeze", kind="view")
@hot
def unsqueeze(x: Tensor, dim: int) -> Tensor:
    """Insert a dimension of size 1."""
    return UNSQUEEZE.apply((x,), dim=normal_dim(dim, x.dim() + 1))


@public("expand", kind="view", function=False)
@hot
def expand(x: Tensor, *size: Any) -> Tensor:
    """Broadcast to a shape without copying; -1 keeps a size."""
    wanted, shape = sizes_of(size), x._shape
    lead = len(wanted) - len(shape)
    if lead < 0:
        raise RuntimeError(
            f"expand({list(shape)}, size={list(wanted)}): the number of sizes provided ({len(wanted)}) must be greater "
            f"or equal to the number of dimensions in the tensor ({len(shape)})"
        )
    full = []
    for d, n in enumerate(wanted):
        own = shape[d - lead] if d >= lead else None
        if n == -1:
            if own is None:
                raise RuntimeError(f"The expanded size of the tensor (-1) isn't allowed in a leading dimension {d}")
            n = own
        elif own not in (None, 1, n):
            raise RuntimeError(
                f"The expanded size of the tensor ({n}) must match the existing size ({own}) at non-singleton "
                f"dimension {d}.  Target sizes: {list(wanted)}.  Tensor sizes: {list(shape)}"
            )
        full.append(n)
    return EXPAND.apply((x,), size=tuple(full))


@public("expand_as", kind="view", function=False)
def expand_as(x: Tensor, other: Tensor) -> Tensor:
    """`x.expand(other.size())`"""
    return expand(x, other.shape)


@public("broadcast_to", kind="view")
def broadcast_to(x: Tensor, *size: Any) -> Tensor:
    """Broadcast to a shape without copying."""
    return expand(x, *size)


@public("select", kind="view")
@hot
def select(x: Tensor, dim: int, index: int) -> Tensor:
    """One index of a dimension, which is dropped. Raises IndexError if it is out of range."""
    shape = x._shape
    if not shape:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    dim = normal_dim(dim, len(shape))
    n = shape[dim]
    if not -n <= index < n:
        raise IndexError(f"index {index} is out of bounds for dimension {dim} with size {n}")
    return SELECT.apply((x,), dim=dim, index=index + n if index < 0 else index)


@public("narrow", kind="view")
@hot
def narrow(x: Tensor, dim: int, start: int, length: int) -> Tensor:
    """A stretch of one dimension."""
    if not x._shape:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    dim = normal_dim(dim, x.dim())
    n = x._shape[dim]
    start = int(start)
    if not -n <= start <= n:
        raise IndexError(f"start out of range (expected to be in range of [{-n}, {n}], but got {start})")
    if start < 0:
        start += n
    if start + length > n:
        raise RuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({n}).")
    return SLICE.apply((x,), dim=dim, start=start, step=1, length=length)


@public("diagonal", kind="view")
def diagonal(x: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """A diagonal of two dimensions, as the last dimension."""
    n = x.dim()
    a, b = normal_dim(dim1, n), normal_dim(dim2, n)
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return DIAGONAL.apply((x,), shift=offset, dim1=a, dim2=b)


@public("unfold", kind="view", function=False)
def unfold(x: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Windows of `size` every `step` along a dimension; the window is the last dimension."""
    dim = normal_dim(dimension, x.dim())
    n = x._shape[dim] if x._shape else 1
    if size > n:
        raise RuntimeError(f"maximum size for tensor at dimension {dim} is {n} but size is {size}")
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    return UNFOLD.apply((x,), dim=dim, size=size, step=step)


@public("as_strided", kind="view")
def as_strided(x: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """Any window onto the storage. Raises RuntimeError where it would reach outside."""
    size, stride = tuple(size), tuple(stride)
    start = x.storage_offset() if storage_offset is None else storage_offset
    extent = start + sum((n - 1) * s for n, s in zip(size, stride)) + 1 if 0 not in size else start
    held = numel(x._storage().storage.shape)
    if len(size) != len(stride) or min((*size, *stride, start), default=0) < 0 or extent > held:
        raise RuntimeError(
            f"setStorage: sizes {list(size)}, strides {list(stride)}, storage offset {start} are out of bounds for "
            f"storage of {held} elements"
        )
    return AS_STRIDED.apply((x,), size=size, stride=stride, start=start, base=x._geometry())


def _mT(x: Tensor) -> Tensor:
    if x.dim() < 2:
        raise RuntimeError("tensor.mT is only supported on matrices or batches of matrices. Got a tensor of fewer dims")
    return transpose(x, -2, -1)


def _T(x: Tensor) -> Tensor:
    return permute(x, tuple(range(x.dim()))[::-1])


Tensor.mT = property(_mT)  # type: ignore[attr-defined]
Tensor.T = property(_T)  # type: ignore[attr-defined]
Tensor.sum_to_size = sum_to_size  # type: ignore[attr-defined]


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
    if _overlapping(window):
        _add(part.native(), window[1], window[2], g.native())
    else:
        part.native()[...] = g.native()
    if _overlapping(base):  # an element that the base shows several times shares its gradient among them
        times = xp.bincount(_places(xp, base[0] - start, base[1], base[2]).reshape(-1), minlength=flat.size)
        flat /= xp.maximum(times, 1)
    return backend.copied(mine.native())


def _overlapping(window: tuple) -> bool:
    """Whether a window may show an element more than once."""
    reach = 1
    for s, n in sorted((s, n) for n, s in zip(window[1], window[2]) if n != 1):
        if s < reach:
            return True
        reach = s * (n - 1) + reach
    return False


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
    metas = (_Meta(base._shape, base.dtype), _Meta(source._shape, source.dtype))
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
    AS_STRIDED.record((view,), (_Meta(base._shape, base.dtype),), (base,), None, args)
