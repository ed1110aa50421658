"""Interpolation to another size."""

from livegrad.ops import resample as tables
from livegrad.ops.casting import autocasts

from ...native import hot
from ...site import warn
from .pooling import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d

__all__ = ["interpolate", "upsample", "upsample_bilinear", "upsample_nearest"]

_DIMENSIONS = {"linear": 3, "bilinear": 4, "bicubic": 4, "trilinear": 5}
_NAMES = {"nearest": "Nearest", "nearest-exact": "NearestExact", "linear": "Linear", "bilinear": "Bilinear",
          "bicubic": "Bicubic", "trilinear": "Trilinear"}  # fmt: skip


def _sizes(input, size, scale_factor, recompute):
    """(the sizes to make, the scales to measure with or None)."""
    spatial = input.dim() - 2
    if size is not None and scale_factor is not None:
        raise ValueError("only one of size or scale_factor should be defined")
    if size is not None:
        if isinstance(size, (list, tuple)):
            if len(size) != spatial:
                raise ValueError(
                    "Input and output must have the same number of spatial dimensions, but got input with spatial "
                    f"dimensions of {list(input.shape[2:])} and output size of {size}. Please provide input tensor in "
                    "(N, C, d1, d2, ...,dK) format and output size in (o1, o2, ...,oK) format."
                )
            return [int(n) for n in size], None
        return [int(size)] * spatial, None
    if scale_factor is None:
        raise ValueError("either size or scale_factor should be defined")
    if isinstance(scale_factor, (list, tuple)):
        if len(scale_factor) != spatial:
            raise ValueError(
                "Input and scale_factor must have the same number of spatial dimensions, but got input with spatial "
                f"dimensions of {list(input.shape[2:])} and scale_factor of shape {scale_factor}. Please provide input "
                "tensor in (N, C, d1, d2, ...,dK) format and scale_factor in (s1, s2, ...,sK) format."
            )
        scales = [float(s) for s in scale_factor]
    else:
        scales = [float(scale_factor)] * spatial
    made = [int(n * s) for n, s in zip(input.shape[2:], scales)]
    return made, None if recompute else scales


@autocasts
def interpolate(
    input, size=None, scale_factor=None, mode="nearest", align_corners=None, recompute_scale_factor=None,
    antialias=False,
):  # fmt: skip
    """Resizes the spatial dimensions of (N, C, *) to ``size``, or by ``scale_factor``.

    Modes: "nearest", "nearest-exact", "linear" (3 dimensions), "bilinear" and "bicubic" (4), "trilinear" (5) and
    "area". With ``align_corners`` the corner elements keep their places; ``antialias`` widens the filter where
    bilinear or bicubic results are smaller. Raises ValueError for options that do not go together, and
    NotImplementedError for a mode that does not fit the dimensions.

    >>> import livegrad
    >>> x = livegrad.tensor([[[1., 2.]]])
    >>> livegrad.nn.functional.interpolate(x, scale_factor=2, mode="linear").tolist()
    [[[1.0, 1.25, 1.75, 2.0]]]
    """
    if mode in ("nearest", "area", "nearest-exact"):
        if align_corners is not None:
            raise ValueError(
                "align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | "
                "trilinear"
            )
    elif align_corners is None:
        align_corners = False
    if recompute_scale_factor and size is not None:
        raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
    sizes, scales = _sizes(input, size, scale_factor, recompute_scale_factor)
    if antialias and not (mode in ("bilinear", "bicubic") and input.dim() == 4):
        raise ValueError(
            "Anti-alias option is restricted to bilinear, bicubic, and lanczos modes and requires a 4-D tensor as input"
        )
    n = input.dim() - 2
    if mode in _DIMENSIONS and 3 <= input.dim() <= 5 and input.dim() != _DIMENSIONS[mode]:
        raise NotImplementedError(f"Got {input.dim()}D input, but {mode} mode needs {_DIMENSIONS[mode]}D input")
    if not 3 <= input.dim() <= 5 or mode not in (*_NAMES, "area"):
        raise NotImplementedError(
            f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {input.dim()}D) for the modes: nearest | "
            f"linear | bilinear | bicubic | trilinear | lanczos | area | nearest-exact (got {mode})"
        )
    if mode == "area":
        return (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)[n - 1](input, sizes)
    _check_sizes(input.shape[2:], sizes)
    label = f"Upsample{_NAMES[mode]}{n}D{'Aa' if antialias else ''}Backward"
    made = [
        _table(mode, before, after, scale, bool(align_corners), antialias)
        for before, after, scale in zip(input.shape[2:], sizes, scales or [None] * n)
    ]
    return tables.RESAMPLE.apply((input,), label, tables=tuple(made))


@hot
def _check_sizes(before, after):
    if min(*before, *after) > 0:
        return
    names = ("D", "H", "W")[3 - len(before) :]
    told = [" ".join(f"{a}: {n}," for a, n in zip(names, sizes)).rstrip(",") for sizes in (before, after)]
    raise RuntimeError(f"Input and output sizes should be greater than 0, but got input ({told[0]}) output ({told[1]})")


@hot
def _table(mode, before, after, scale, align, antialias):
    if mode.startswith("nearest"):
        return tables.nearest(before, after, scale, mode == "nearest-exact")
    kind = "cubic" if mode == "bicubic" else "linear"
    if antialias:
        return tables.smooth(before, after, scale, align, kind)
    return (tables.cubic if kind == "cubic" else tables.linear)(before, after, scale, align)


def upsample(input, size=None, scale_factor=None, mode="nearest", align_corners=None):
    """The old name of `interpolate`."""
    warn("`nn.functional.upsample` is deprecated. Use `nn.functional.interpolate` instead.")
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input, size=None, scale_factor=None):
    """`interpolate` with mode "nearest"."""
    warn("`nn.functional.upsample_nearest` is deprecated. Use `nn.functional.interpolate` instead.")
    return interpolate(input, size, scale_factor, "nearest")


def upsample_bilinear(input, size=None, scale_factor=None):
    """`interpolate` with mode "bilinear" and ``align_corners``."""
    warn("`nn.functional.upsample_bilinear` is deprecated. Use `nn.functional.interpolate` instead.")
    return interpolate(input, size, scale_factor, "bilinear", True)
