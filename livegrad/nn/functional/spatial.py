"""Sampling images at given places: affine_grid and grid_sample, which is arithmetic and a sum of a few pixels."""

import itertools
import math

import livegrad

from ...ops.picks import PICK
from ...site import warn

__all__ = ["affine_grid", "grid_sample"]


def _aligned(name, align_corners):
    if align_corners is None:
        warn(
            "Default grid_sample and affine_grid behavior has changed to align_corners=False since 1.3.0. Please "
            "specify align_corners=True if the old behavior is desired. See the documentation of grid_sample for "
            "details.",
        )
    return bool(align_corners)


def affine_grid(theta, size, align_corners=None):
    """The places (N, H, W, 2), or (N, D, H, W, 3), that matrices (N, 2, 3), or (N, 3, 4), map a regular grid to.

    Places run from -1 to 1 along each dimension, and are those of the centres of the pixels, or with align_corners=True
    begin and end with those of the first and the last one.

    >>> import livegrad
    >>> grid = livegrad.nn.functional.affine_grid(livegrad.eye(2, 3)[None], (1, 1, 2, 2), align_corners=True)
    >>> grid[0, :, :, 0]
    tensor([[-1.,  1.],
            [-1.,  1.]])
    """
    if not theta.is_floating_point():
        raise ValueError(f"Expected theta to have floating point type, but got {theta.dtype}")
    n = len(size) - 2
    if n not in (2, 3):
        raise NotImplementedError(
            "affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, respectively. Got size "
            f"{tuple(size)}"
        )
    if theta.dim() != 3 or tuple(theta.shape[-2:]) != (n, n + 1):
        raise ValueError(
            f"Expected a batch of {n}D affine matrices of shape Nx{n}x{n + 1} for size {tuple(size)}. Got "
            f"{theta.shape}."
        )
    aligned = _aligned("affine_grid", align_corners)
    steps = []
    for k in size[2:]:
        line = livegrad.linspace(-1, 1, k, dtype=theta.dtype, device=theta.device) if k > 1 else theta.new_zeros(1)
        steps.append(line if aligned else line * ((k - 1) / k))
    places = livegrad.meshgrid(*steps, indexing="ij")
    base = livegrad.stack([*reversed(places), livegrad.ones_like(places[0])], -1).reshape(1, -1, n + 1)
    return (base.expand(size[0], -1, -1) @ theta.transpose(1, 2)).reshape(size[0], *size[2:], n)


def grid_sample(input, grid, mode="bilinear", padding_mode="zeros", align_corners=None):
    """Pixels of (N, C, H, W), or (N, C, D, H, W), at the places that a grid (N, ..., 2), or (N, ..., 3), names.

    A place is (x, y) or (x, y, z), from -1 to 1 along each dimension: see `affine_grid`. mode: "bilinear" (in three
    dimensions as well), "nearest" or, in two dimensions, "bicubic". padding_mode, what is outside: "zeros", "border"
    or "reflection". Gradients flow to the input and to the grid (zeros for "nearest").

    >>> import livegrad
    >>> image = livegrad.tensor([[[[1.0, 3.0]]]])
    >>> livegrad.nn.functional.grid_sample(image, livegrad.zeros(1, 1, 1, 2), align_corners=True)
    tensor([[[[2.]]]])
    """
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ValueError(
            f"nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', but got: '{mode}'"
        )
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(
            "nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or 'reflection', but got: "
            f"'{padding_mode}'"
        )
    n = input.dim() - 2
    _check(input, grid, n)
    if mode == "bicubic" and n != 2:
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")
    aligned = _aligned("grid_sample", align_corners)
    sizes = input.shape[2:]
    batch, outputs = input.shape[0], grid.shape[1:-1]
    # The last dimension of the image is the first coordinate. Places are (N, 1, outputs), of taps (N, taps, outputs).
    flat = grid.reshape(batch, math.prod(outputs), n)
    places = [_pixels(flat[..., n - 1 - d], k, aligned).unsqueeze(1) for d, k in enumerate(sizes)]
    if mode != "bicubic":
        places = [_inside(p, k, padding_mode, aligned) for p, k in zip(places, sizes)]
    if mode == "nearest":
        at = [p.detach().round() for p in places]
        # The gradient of the grid is zero.
        nowhere = livegrad.zeros(1, dtype=livegrad.bool, device=grid.device)
        weight = livegrad.where(nowhere, flat.sum(-1).unsqueeze(1), 1.0)
    else:
        lows = [p.detach().floor() for p in places]
        weight = None
        at = []
        for p, low, step in zip(places, lows, _steps(mode, n, grid)):
            part = (_linear if mode == "bilinear" else _cubic)(p - low, step)
            weight = part if weight is None else weight * part
            at.append(low + step)
        if mode == "bicubic":
            at = [_inside(p, k, padding_mode, aligned) for p, k in zip(at, sizes)]
    channels = input.shape[1]
    made = PICK.apply((input.reshape(batch, channels, math.prod(sizes)), weight, _index(at, sizes)))
    return made.reshape(batch, channels, *outputs)


def _check(input, grid, n):
    if n not in (2, 3) or grid.dim() != n + 2:
        raise RuntimeError(
            "grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, but got input with sizes "
            f"{list(input.shape)} and grid with sizes {list(grid.shape)}"
        )
    if input.shape[0] != grid.shape[0]:
        raise RuntimeError(
            "grid_sampler(): expected grid and input to have same batch size, but got input with sizes "
            f"{list(input.shape)} and grid with sizes {list(grid.shape)}"
        )
    if grid.shape[-1] != n:
        raise RuntimeError(
            f"grid_sampler(): expected grid to have size {n} in last dimension, but got grid with sizes "
            f"{list(grid.shape)}"
        )
    for d, k in enumerate(input.shape[2:], 2):
        if k == 0:
            raise RuntimeError(
                f"grid_sampler(): expected input to have non-empty spatial dimensions, but input has sizes "
                f"{list(input.shape)} with dimension {d} being empty"
            )


def _pixels(place, size, aligned):
    """A place from -1 to 1 as a number of pixels from the first one."""
    return (place + 1) * ((size - 1) / 2) if aligned else ((place + 1) * size - 1) / 2


def _inside(place, size, padding_mode, aligned):
    if padding_mode == "zeros":
        return place
    if padding_mode == "reflection":
        low, span = (0.0, size - 1) if aligned else (-0.5, size)
        if span == 0:
            return place * 0
        distance = (place - low).abs()
        rest = distance.fmod(span)
        turned = (distance.detach() / span).floor() % 2 == 1
        place = livegrad.where(turned, span - rest, rest) + low
    return place.clamp(0, size - 1)


# The parameter of the cubic convolution kernel of Keys (1981), as PyTorch has it.
_KEYS = -0.75


def _steps(mode, n, grid):
    """For each dimension how far the taps around a place are from it, rounded down: (taps, 1)."""
    around = (0, 1) if mode == "bilinear" else (-1, 0, 1, 2)
    corners = itertools.product(around, repeat=n)
    return [livegrad.tensor(line, dtype=grid.dtype, device=grid.device).unsqueeze(1) for line in zip(*corners)]


def _linear(t, step):
    """The weight of a pixel `step` to the right of the last one before a place, which is t to the right of that."""
    return livegrad.where(step > 0, t, 1 - t)


def _cubic(t, step):
    distance = livegrad.where(step > 0, step - t, t - step)
    near = ((_KEYS + 2) * distance - (_KEYS + 3)) * distance * distance + 1
    far = ((_KEYS * distance - 5 * _KEYS) * distance + 8 * _KEYS) * distance - 4 * _KEYS
    return livegrad.where((step == 0) | (step == 1), near, far)


def _index(places, sizes):
    """The number of the pixel at whole places in an image; -1 outside."""
    index, inside = None, None
    for p, k in zip(places, sizes):
        valid = (p >= 0) & (p <= k - 1)
        whole = livegrad.where(valid, p.detach(), 0.0).long()
        index = whole if index is None else index * k + whole
        inside = valid if inside is None else inside & valid
    return livegrad.where(inside, index, -1)
