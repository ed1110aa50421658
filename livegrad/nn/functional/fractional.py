"""Fractional max pooling: windows whose distances are drawn, so that sizes shrink by any ratio (Graham, 2015)."""

import numpy as np

import livegrad
from livegrad.ops.casting import autocasts
from livegrad.ops.operator import name_nodes

__all__ = [
    "fractional_max_pool2d", "fractional_max_pool2d_with_indices", "fractional_max_pool3d",
    "fractional_max_pool3d_with_indices",
]  # fmt: skip

_NAMES = {2: ("height", "width"), 3: ("time", "height", "width")}


def _starts(sample, size, count, width):
    """Where windows begin, for an array of drawn numbers: (..., count). The arithmetic is that of their dtype."""
    starts = np.full((*sample.shape, count), size - width, dtype=np.int64)
    if count > 1:
        alpha = sample.dtype.type(size - width) / sample.dtype.type(count - 1)
        k = np.arange(count - 1).astype(sample.dtype)
        starts[..., :-1] = ((k + sample[..., None]) * alpha).astype(np.int64)
        starts[..., :-1] -= (sample[..., None] * alpha).astype(np.int64)
    return starts


def _each(value, n):
    return (value,) * n if isinstance(value, int) else tuple(value)


def _pooled(n, input, kernel_size, output_size, output_ratio, _random_samples):
    """(largest elements, where they are in the flattened plane)."""
    name = f"fractional_max_pool{n}d"
    if output_size is None and output_ratio is None:
        raise ValueError(f"{name} requires specifying either an output_size or an output_ratio")
    if input.dim() not in (n + 1, n + 2):
        raise RuntimeError(f"{name}(): Expected {n + 1}D or {n + 2}D tensor, but got: {list(input.shape)}")
    sizes = tuple(input.shape[-n:])
    if output_size is None:
        ratios = (output_ratio,) * n if isinstance(output_ratio, (int, float)) else tuple(output_ratio)
        output_size = tuple(int(size * ratio) for size, ratio in zip(sizes, ratios))
    wanted, kernel = _each(output_size, n), _each(kernel_size, n)
    for what, size, count, width in zip(_NAMES[n], sizes, wanted, kernel):
        if count + width - 1 > size:
            raise RuntimeError(f"{name}(): pool {what} {width} too large relative to input {what} {size}")
    batched = input if input.dim() == n + 2 else input.unsqueeze(0)
    planes = tuple(batched.shape[:2])
    if _random_samples is None:
        _random_samples = livegrad.rand(*planes, n, dtype=input.dtype, device=input.device)
    if _random_samples.dtype is livegrad.bfloat16:  # which NumPy does not have
        _random_samples = _random_samples.float()
    drawn = _random_samples.detach().cpu().numpy().reshape(-1, _random_samples.shape[-2], n)[: planes[0]]
    places = np.zeros((), dtype=np.int64)
    for d in range(n):
        # In two dimensions the first number drawn is for the last one.
        sample = drawn[..., n - 1 - d if n == 2 else d]
        along = _starts(sample, sizes[d], wanted[d], kernel[d])[..., None] + np.arange(kernel[d])
        shape = [*planes, *([1] * (2 * n))]
        shape[2 + d], shape[2 + n + d] = wanted[d], kernel[d]
        places = places * sizes[d] + along.reshape(shape)
    flat = livegrad.from_numpy(np.ascontiguousarray(places.reshape(*planes, -1))).to(input.device)
    rows = batched.reshape(*planes, -1).gather(2, flat).reshape(*planes, *wanted, -1)
    largest, which = rows.max(-1)
    name_nodes(largest, f"FractionalMaxPool{n}DBackward")
    indices = flat.reshape(*planes, *wanted, -1).gather(-1, which.unsqueeze(-1)).squeeze(-1)
    if input.dim() == n + 2:
        return largest, indices
    return name_nodes(largest.squeeze(0), f"FractionalMaxPool{n}DBackward"), indices.squeeze(0)


def _pool(n):
    def pool(input, kernel_size, output_size=None, output_ratio=None, return_indices=False, _random_samples=None):
        made = _pooled(n, input, kernel_size, output_size, output_ratio, _random_samples)
        return made if return_indices else made[0]

    def with_indices(
        input, kernel_size, output_size=None, output_ratio=None, return_indices=False, _random_samples=None
    ):
        return _pooled(n, input, kernel_size, output_size, output_ratio, _random_samples)

    pool.__name__, with_indices.__name__ = f"fractional_max_pool{n}d", f"fractional_max_pool{n}d_with_indices"
    pool.__doc__ = f"""The largest element of windows at drawn distances, of (N, C, *) or (C, *) in {n} dimensions.

    ``output_size`` says how many windows there are, or ``output_ratio`` which part of the input's size.
    ``_random_samples`` (N, C, {n}), from 0 to 1, take the place of what is drawn. Raises ValueError without a size, and
    RuntimeError where windows do not fit.
    """
    with_indices.__doc__ = f"(largest elements, their positions): `fractional_max_pool{n}d` with ``return_indices``."
    return autocasts(pool), with_indices


fractional_max_pool2d, fractional_max_pool2d_with_indices = _pool(2)
fractional_max_pool3d, fractional_max_pool3d_with_indices = _pool(3)
