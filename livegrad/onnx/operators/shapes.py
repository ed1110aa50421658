"""Shapes: views, joining, splitting, repeating."""

from __future__ import annotations

import numpy as np

from ..writer import LAST, is_value
from .table import translates


def listed(args):
    """Sizes or dimensions given one by one or as one sequence."""
    return list(args[0]) if len(args) == 1 and isinstance(args[0], (tuple, list)) else list(args)


@translates("view", "reshape", "_unsafe_view")
def reshape(w, input, *shape, size=None):
    wanted = listed(shape) if shape else list(size)
    if wanted and not isinstance(wanted[0], int) and not is_value(wanted[0]):
        raise w.refuse("a view as another dtype")
    return w.reshape(input, wanted)


@translates("view_as", "reshape_as")
def view_as(w, input, other):
    return w("Reshape", input, w("Shape", other))


@translates()
def flatten(w, input, start_dim=0, end_dim=-1):
    if not input.rank:
        return w.reshape(input, [1])
    a, b = input.axis(start_dim), input.axis(end_dim)
    sizes = [w.size(input, k) for k in range(input.rank)]
    return w.reshape(input, [*sizes[:a], -1, *sizes[b + 1 :]])


@translates()
def unflatten(w, input, dim, sizes):
    axis = input.axis(dim)
    around = [w.size(input, k) for k in range(input.rank)]
    return w.reshape(input, [*around[:axis], *sizes, *around[axis + 1 :]])


@translates()
def unsqueeze(w, input, dim):
    return w.unsqueeze(input, dim % (input.rank + 1))


@translates()
def squeeze(w, input, *dim):
    dims = range(input.rank) if not dim else [input.axis(d) for d in listed(dim)]
    axes = [d for d in dims if input.shape[d] == 1 and d not in input.moving]
    return w.squeeze(input, *axes) if axes else w("Identity", input)


@translates("transpose", "swapaxes", "swapdims")
def transpose(w, input, dim0, dim1):
    return w.transposed(input, dim0, dim1, input.rank) if input.rank else w("Identity", input)


@translates()
def permute(w, input, *dims):
    return w("Transpose", input, perm=[input.axis(d) for d in listed(dims)])


@translates("movedim", "moveaxis")
def movedim(w, input, source, destination):
    sources = [input.axis(d) for d in listed([source])]
    targets = [input.axis(d) for d in listed([destination])]
    rest = iter(d for d in range(input.rank) if d not in sources)
    places = dict(zip(targets, sources))
    return w("Transpose", input, perm=[places[k] if k in places else next(rest) for k in range(input.rank)])


@translates("t", "attribute_T", "adjoint", "attribute_mT", "attribute_H", "attribute_mH")
def turned(w, input):
    return w.transposed(input, -1, -2, input.rank) if input.rank > 1 else w("Identity", input)


@translates("expand", "broadcast_to")
def expand(w, input, *sizes, size=None):
    wanted = listed(sizes) if sizes else list(size)
    return w("Expand", input, w.sizes([1 if not is_value(n) and n == -1 else n for n in wanted]))


@translates()
def expand_as(w, input, other):
    return w("Expand", input, w("Shape", other))


@translates("repeat", "tile")
def repeat(w, input, *repeats):
    counts = listed(repeats)
    if len(counts) < input.rank:
        counts = [1] * (input.rank - len(counts)) + counts
    x = input if len(counts) == input.rank else w.unsqueeze(input, *range(len(counts) - input.rank))
    return w("Tile", x, w.sizes(counts))


@translates()
def repeat_interleave(w, input, repeats, dim=None, output_size=None):
    if is_value(repeats) and not repeats.size:
        raise w.refuse("with a tensor of repeats")
    axis = 0 if dim is None else input.axis(dim)
    x = w.reshape(input, [-1]) if dim is None else input
    shape = [-1] if dim is None else [w.size(input, k) for k in range(input.rank)]
    counts = [1] * (len(shape) + 1)
    counts[axis + 1] = repeats
    made = w("Tile", w.unsqueeze(x, axis + 1), w.sizes(counts))
    return w.reshape(made, [*shape[:axis], -1, *shape[axis + 1 :]])


# --- joining and splitting ----------------------------------------------------------------------------------------


@translates("cat", "concat", "concatenate")
def cat(w, tensors, dim=0):
    parts = [t for t in tensors if not (t.rank == 1 and t.shape[0] == 0)]
    return w("Concat", *(w.cast(t, w.out.dtype) for t in parts), axis=parts[0].axis(dim))


@translates()
def stack(w, tensors, dim=0):
    axis = dim % (tensors[0].rank + 1)
    return w("Concat", *(w.unsqueeze(w.cast(t, w.out.dtype), axis) for t in tensors), axis=axis)


@translates("split", "split_with_sizes")
def split(w, tensor, split_size_or_sections, dim=0):
    axis, each = tensor.axis(dim), split_size_or_sections
    if isinstance(each, (tuple, list)):
        return tuple(w.split(tensor, each, axis))
    if is_value(each):
        raise w.refuse("with a size of parts that may change")
    (n,) = w.fixed(tensor, axis)
    return tuple(w.split(tensor, [min(each, n - k) for k in range(0, n, each)], axis))


@translates()
def chunk(w, input, chunks, dim=0):
    (n,) = w.fixed(input, dim)
    return split(w, input, max(-(-n // chunks), 1), dim)


@translates()
def tensor_split(w, input, indices_or_sections, dim=0):
    (n,) = w.fixed(input, dim)
    if isinstance(indices_or_sections, int):
        k = indices_or_sections
        sizes = [n // k + (i < n % k) for i in range(k)]
    else:
        ends = [min(e, n) for e in indices_or_sections]
        sizes = [b - a for a, b in zip([0, *ends], [*ends, n])]
    return tuple(w.split(input, sizes, input.axis(dim)))


@translates()
def unbind(w, input, dim=0):
    (n,) = w.fixed(input, dim)
    return tuple(w.squeeze(part, input.axis(dim)) for part in w.split(input, [1] * n, input.axis(dim)))


@translates()
def flip(w, input, *dims):
    x = input
    for d in map(input.axis, listed(dims)):
        x = w.cut(x, d, -1, -LAST, -1)
    return x


@translates()
def roll(w, input, shifts, dims=None):
    if dims is None:
        raise w.refuse("dims has to be given")
    x = input
    for shift, d in zip(listed([shifts]), listed([dims])):
        axis = input.axis(d)
        (n,) = w.fixed(input, axis)
        shift %= n
        x = w("Concat", w.cut(x, axis, n - shift, LAST), w.cut(x, axis, 0, n - shift), axis=axis)
    return x


def _triangle(upper):
    def translation(w, input, diagonal=0):
        return w("Trilu", input, np.array(diagonal), upper=int(upper))

    return translation


translates("triu")(_triangle(True))
translates("tril")(_triangle(False))


@translates()
def meshgrid(w, *tensors, indexing="ij"):
    given = listed(tensors)
    n = len(given)
    order = list(range(n))
    if indexing == "xy" and n > 1:
        order[:2] = [1, 0]
    shape = w.sizes([w.size(given[order[k]], 0) for k in range(n)])
    return tuple(
        w("Expand", w.reshape(t, [-1 if order[d] == k else 1 for d in range(n)]), shape) for k, t in enumerate(given)
    )
