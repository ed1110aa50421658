"""Pooling."""

from __future__ import annotations

from collections.abc import Callable

from .convolution import each
from .table import translates


def _batched(function: Callable, n: int) -> Callable:
    """A translation of inputs with a batch, for inputs without one as well."""

    def translation(w, input, *args, **options):
        if input.rank == n + 2:
            return function(w, input, *args, **options)
        x = w.unsqueeze(input, 0)
        x.shape, x.dtype, x.moving = (1, *input.shape), input.dtype, tuple(m + 1 for m in input.moving)
        made = function(w, x, *args, **options)
        if isinstance(made, tuple):
            return tuple(w.squeeze(m, 0) for m in made)
        return w.squeeze(made, 0)

    return translation


def _max(n: int) -> Callable:
    def translation(w, input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
        if return_indices:
            raise w.refuse("indices of maxima are counted otherwise there")
        kernel = each(kernel_size, n)
        strides = each(stride, n) if stride not in (None, (), []) else kernel
        return w("MaxPool", input, kernel_shape=kernel, strides=strides, pads=each(padding, n) * 2,
                 dilations=each(dilation, n), ceil_mode=int(ceil_mode))  # fmt: skip

    return _batched(translation, n)


def _average(n: int) -> Callable:
    def translation(
        w, input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None,
    ):  # fmt: skip
        if divisor_override is not None:
            raise w.refuse("divisor_override is not there")
        kernel = each(kernel_size, n)
        strides = each(stride, n) if stride not in (None, (), []) else kernel
        return w("AveragePool", input, kernel_shape=kernel, strides=strides, pads=each(padding, n) * 2,
                 ceil_mode=int(ceil_mode), count_include_pad=int(count_include_pad))  # fmt: skip

    return _batched(translation, n)


def _adaptive(n: int, kind: str) -> Callable:
    def translation(w, input, output_size, return_indices=False):
        wanted = [None] * n if output_size is None else each(output_size, n)
        if return_indices:
            raise w.refuse("indices of maxima are counted otherwise there")
        if all(size == 1 for size in wanted):
            return w(f"Global{kind}", input)
        sizes = w.fixed(input, *range(2, n + 2))
        kernel = []
        for have, want in zip(sizes, wanted):
            want = have if want is None else want
            if have % want:
                raise w.refuse(f"{have} elements cannot be shared among {want} windows of one size")
            kernel.append(have // want)
        return w(kind, input, kernel_shape=kernel, strides=kernel)

    return _batched(translation, n)


for _n in (1, 2, 3):
    translates(f"max_pool{_n}d")(_max(_n))
    translates(f"avg_pool{_n}d")(_average(_n))
    translates(f"adaptive_avg_pool{_n}d")(_adaptive(_n, "AveragePool"))
    translates(f"adaptive_max_pool{_n}d")(_adaptive(_n, "MaxPool"))


def _lp(n: int) -> Callable:
    def translation(w, input, norm_type, kernel_size, stride=None, ceil_mode=False):
        if int(norm_type) != norm_type:
            raise w.refuse("only for norms with a whole number")
        kernel = each(kernel_size, n)
        return w("LpPool", input, p=int(norm_type), kernel_shape=kernel,
                 strides=each(stride, n) if stride is not None else kernel, ceil_mode=int(ceil_mode))  # fmt: skip

    return _batched(translation, n)


for _n in (1, 2, 3):
    translates(f"lp_pool{_n}d")(_lp(_n))
