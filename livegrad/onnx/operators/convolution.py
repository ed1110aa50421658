"""Convolutions, and what rearranges channels and pixels."""

from __future__ import annotations

from collections.abc import Callable

from .table import translates


def each(x, n):
    """A number for each of n spatial dimensions."""
    return list(x) if isinstance(x, (tuple, list)) else [x] * n


def _convolution(n: int) -> Callable:
    def translation(w, input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        strides, dilations = each(stride, n), each(dilation, n)
        if padding == "valid":
            padding = 0
        if padding == "same":
            whole = [d * (k - 1) for d, k in zip(dilations, w.fixed(weight)[2:])]
            pads = [p // 2 for p in whole] + [p - p // 2 for p in whole]
        else:
            pads = each(padding, n) * 2
        batched = input.rank == n + 2
        x = input if batched else w.unsqueeze(input, 0)
        made = w("Conv", x, weight, bias, kernel_shape=list(w.fixed(weight)[2:]), strides=strides, pads=pads,
                 dilations=dilations, group=groups)  # fmt: skip
        return made if batched else w.squeeze(made, 0)

    return translation


def _transposed(n: int) -> Callable:
    def translation(
        w, input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1,
    ):  # fmt: skip
        batched = input.rank == n + 2
        x = input if batched else w.unsqueeze(input, 0)
        made = w("ConvTranspose", x, weight, bias, kernel_shape=list(w.fixed(weight)[2:]), strides=each(stride, n),
                 pads=each(padding, n) * 2, output_padding=each(output_padding, n), group=groups,
                 dilations=each(dilation, n))  # fmt: skip
        return made if batched else w.squeeze(made, 0)

    return translation


for _n in (1, 2, 3):
    translates(f"conv{_n}d")(_convolution(_n))
    translates(f"conv_transpose{_n}d")(_transposed(_n))


@translates()
def pixel_shuffle(w, input, upscale_factor):
    if input.rank != 4:
        raise w.refuse("only for (N, C, H, W)")
    return w("DepthToSpace", input, blocksize=upscale_factor, mode="CRD")


@translates()
def pixel_unshuffle(w, input, downscale_factor):
    r = downscale_factor
    c, h, width = w.fixed(input, 1, 2, 3)
    x = w.reshape(input, [w.size(input, 0), c, h // r, r, width // r, r])
    return w.reshape(w("Transpose", x, perm=[0, 1, 3, 5, 2, 4]), [w.size(input, 0), c * r * r, h // r, width // r])


@translates("channel_shuffle")
def channel_shuffle(w, input, groups):
    sizes = [w.size(input, k) for k in range(input.rank)]
    (c,) = w.fixed(input, 1)
    x = w.reshape(input, [sizes[0], groups, c // groups, *sizes[2:]])
    return w.reshape(w("Transpose", x, perm=[0, 2, 1, *range(3, input.rank + 1)]), sizes)


@translates("interpolate", "upsample")
def interpolate(
    w, input, size=None, scale_factor=None, mode="nearest", align_corners=None, recompute_scale_factor=None,
    antialias=False,
):  # fmt: skip
    kinds = {"nearest": "nearest", "nearest-exact": "nearest", "linear": "linear", "bilinear": "linear",
             "trilinear": "linear", "bicubic": "cubic"}  # fmt: skip
    if mode not in kinds or (antialias and w.opset < 18):
        raise w.refuse(f"mode {mode!r} is not one of {', '.join(kinds)}")
    spatial = input.rank - 2
    where = "align_corners" if align_corners else "half_pixel" if mode != "nearest" else "asymmetric"
    options = {"mode": kinds[mode], "coordinate_transformation_mode": where}
    if mode == "nearest":
        options["nearest_mode"] = "floor"
    elif mode == "nearest-exact":
        options["nearest_mode"] = "round_prefer_ceil"
    elif mode == "bicubic":
        options["cubic_coeff_a"] = -0.5 if antialias else -0.75
    if antialias:
        options["antialias"] = 1
    if scale_factor is not None and not recompute_scale_factor:
        import numpy as np

        return w("Resize", input, None, np.array([1, 1, *each(scale_factor, spatial)], np.float32), **options)
    sizes = each(size, spatial) if size is not None else [
        int(n * f) for n, f in zip(w.fixed(input, *range(2, input.rank)), each(scale_factor, spatial))
    ]  # fmt: skip
    return w("Resize", input, None, None, w.sizes([w.size(input, 0), w.size(input, 1), *sizes]), **options)


@translates()
def grid_sample(w, input, grid, mode="bilinear", padding_mode="zeros", align_corners=None):
    if input.rank != 4:
        raise w.refuse("only for (N, C, H, W)")
    kinds = {"bilinear": "linear", "bicubic": "cubic"} if w.opset >= 20 else {}
    return w("GridSample", input, grid, mode=kinds.get(mode, mode), padding_mode=padding_mode,
             align_corners=int(bool(align_corners)))  # fmt: skip


@translates()
def pad(w, input, pad, mode="constant", value=None):
    kinds = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    if mode == "circular" and w.opset < 19:
        raise w.refuse("circular padding needs opset_version 19")
    free = input.rank - len(pad) // 2
    begins, ends = [0] * free + list(pad[-2::-2]), [0] * free + list(pad[-1::-2])
    number = w.number(value or 0, input.dtype) if mode == "constant" else None
    return w("Pad", input, w.sizes([*begins, *ends]), number, mode=kinds[mode])


@translates("constant_pad_nd")
def constant_pad_nd(w, input, pad_, value=0):
    return pad(w, input, pad_, "constant", value)
