"""pad: adds a border to a tensor."""

import functools

import numpy as np

import livegrad
from livegrad.devices import cpu
from livegrad.lazy.places import Strict
from livegrad.native import hot
from livegrad.ops.index import INDEX
from livegrad.ops.indices import EVERY
from livegrad.ops.joining import bordered
from livegrad.ops.operator import name_nodes

__all__ = ["pad"]


@hot
def pad(input, pad, mode="constant", value=None):
    """Adds (or, where negative, removes) elements at both ends of the last dimensions.

    ``pad`` is (left, right) of the last dimension, then of the one before, and so on. Modes: "constant" fills with
    ``value`` (0 unless given), "reflect" mirrors without repeating the edge, "replicate" repeats the edge, "circular"
    wraps around.

    >>> import livegrad
    >>> import livegrad.nn.functional as F
    >>> F.pad(livegrad.tensor([[1., 2., 3.]]), (2, 1), mode="reflect").tolist()
    [[3.0, 2.0, 1.0, 2.0, 3.0, 2.0]]
    """
    pad = tuple(pad)
    if len(pad) % 2:
        raise RuntimeError("Padding length must be divisible by 2")
    if len(pad) > 2 * input.dim():
        raise RuntimeError(
            "Padding length should be less than or equal to two times the input dimension but got padding length "
            f"{len(pad)} and input of dimension {input.dim()}"
        )
    ends = [(input.dim() - 1 - i, pad[2 * i], pad[2 * i + 1]) for i in range(len(pad) // 2)]
    if mode == "constant":
        return _constant(input, ends, 0 if value is None else value)
    if mode not in _INDICES:
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    if value is not None and value != 0:
        raise RuntimeError(f'Padding mode "{mode}" doesn\'t take in value argument')
    padded = len(ends)
    if not (1 <= padded <= 3 and input.dim() - padded in (1, 2)):
        raise NotImplementedError(
            f"Padding size {len(pad)} is not supported for {input.dim()}D input tensor.\n"
            "Supported combinations for non-constant padding:\n"
            "  - 2D or 3D input: padding size = 2 (pads last dimension)\n"
            "  - 3D or 4D input: padding size = 4 (pads last 2 dimensions)\n"
            "  - 4D or 5D input: padding size = 6 (pads last 3 dimensions)"
        )
    result = input
    for dim, left, right in ends:
        if left or right:
            result = _repeated(result, dim, mode, *_INDICES[mode](input, dim, left, right))
    label = _LABELS.get(mode)
    return name_nodes(result, f"{label}{len(ends)}DBackward", input) if label else result


@hot
def _constant(input, ends, value):
    for dim, left, right in ends:  # what is removed
        if left < 0 or right < 0:
            start = max(-left, 0)
            length = input.size(dim) - start - max(-right, 0)
            if length < 0:
                raise RuntimeError("narrow(): length must be non-negative.")
            input = input.narrow(dim, start, length)
    before, shape = [0] * input.dim(), list(input.shape)
    for dim, left, right in ends:
        before[dim] = max(left, 0)
        shape[dim] += max(left, 0) + max(right, 0)
    if shape == list(input.shape):
        return input.clone()
    return bordered(input, before, shape, value)


@hot
def _reflected(input, dim, left, right):
    size = input.size(dim)
    if left >= size or right >= size:
        raise RuntimeError(
            "Argument #4: Padding size should be less than the corresponding input dimension, but got: "
            f"padding ({left}, {right}) at dimension {dim} of input {list(input.shape)}"
        )
    return size, left, right


@hot
def _replicated(input, dim, left, right):
    return input.size(dim), left, right


@hot
def _wrapped(input, dim, left, right):
    size = input.size(dim)
    if left > size or right > size:
        raise RuntimeError("Padding value causes wrapping around more than once.")
    return size, left, right


@functools.lru_cache(256)
def _places(mode, size, left, right):
    """Where the elements of a padded dimension come from, to be read only."""
    if mode == "circular":
        kept = np.arange(max(-left, 0), size - max(-right, 0))  # what negative padding leaves is what is repeated
        return kept[np.arange(-max(left, 0), len(kept) + max(right, 0)) % len(kept)] if len(kept) else kept
    places = np.arange(-left, size + right)
    if mode == "reflect":
        places = np.abs(places)
        return np.where(places < size, places, 2 * (size - 1) - places)
    return np.clip(places, 0, size - 1)


@hot
def _repeated(input, dim, mode, size, left, right):
    places = _places(mode, size, left, right)
    if input.device is not cpu:
        return input.index_select(dim, livegrad.from_numpy(places).to(input.device))
    return INDEX.apply((input,), "IndexSelectBackward", index=Strict((*[EVERY] * dim, places)))


_LABELS = {"reflect": "ReflectionPad", "replicate": "ReplicationPad"}
_INDICES = {"reflect": _reflected, "replicate": _replicated, "circular": _wrapped}
