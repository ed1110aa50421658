"""Pooling: the largest element or the mean of each window, and the largest ones put back."""

from livegrad.ops import pool_functions as pools
from livegrad.ops.casting import autocasts

__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d",
    "adaptive_max_pool1d_with_indices", "adaptive_max_pool2d", "adaptive_max_pool2d_with_indices",
    "adaptive_max_pool3d", "adaptive_max_pool3d_with_indices", "avg_pool1d", "avg_pool2d", "avg_pool3d", "lp_pool1d",
    "lp_pool2d", "lp_pool3d", "max_pool1d", "max_pool1d_with_indices", "max_pool2d", "max_pool2d_with_indices",
    "max_pool3d", "max_pool3d_with_indices", "max_unpool1d", "max_unpool2d", "max_unpool3d",
]  # fmt: skip


def _max(n):
    def pool(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
        return pools.max_pool(n, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)

    def with_indices(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
        return pools.max_pool(n, input, kernel_size, stride, padding, dilation, ceil_mode, True)

    pool.__name__, with_indices.__name__ = f"max_pool{n}d", f"max_pool{n}d_with_indices"
    pool.__doc__ = f"""The largest element of each window of (N, C, *) or (C, *), of {n} spatial dimensions.

    With ``return_indices`` also its position in the flattened plane. Padding counts as minus infinity; ``ceil_mode``
    takes windows that begin inside but end outside. Raises RuntimeError where there is no window.
    """
    with_indices.__doc__ = f"(largest elements, their positions): `max_pool{n}d` with ``return_indices``."
    return autocasts(pool), with_indices


max_pool1d, max_pool1d_with_indices = _max(1)
max_pool2d, max_pool2d_with_indices = _max(2)
max_pool3d, max_pool3d_with_indices = _max(3)


def avg_pool1d(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    """The mean of each window of (N, C, L) or (C, L); ``count_include_pad`` counts the zeros of the padding."""
    return pools.avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad)


def _avg(n):
    def pool(
        input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None
    ):
        return pools.avg_pool(
            n, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        )  # fmt: skip

    pool.__name__ = f"avg_pool{n}d"
    pool.__doc__ = f"""The mean of each window of (N, C, *) or (C, *), of {n} spatial dimensions.

    ``count_include_pad`` counts the zeros of the padding; ``divisor_override`` divides the sums by that instead.
    """
    return autocasts(pool)


avg_pool2d, avg_pool3d = _avg(2), _avg(3)


def _adaptive(n):
    def average(input, output_size):
        return pools.adaptive_avg_pool(n, input, output_size)

    def largest(input, output_size, return_indices=False):
        return pools.adaptive_max_pool(n, input, output_size, return_indices)

    def with_indices(input, output_size, return_indices=False):
        return pools.adaptive_max_pool(n, input, output_size, True)

    average.__name__, largest.__name__ = f"adaptive_avg_pool{n}d", f"adaptive_max_pool{n}d"
    with_indices.__name__ = f"adaptive_max_pool{n}d_with_indices"
    sizes = f"windows that share out the last {n} dimensions into ``output_size`` results (None: as many as there are)"
    average.__doc__ = f"The mean over {sizes}."
    largest.__doc__ = f"The largest element of {sizes}."
    with_indices.__doc__ = f"(largest elements, their positions): `adaptive_max_pool{n}d` with ``return_indices``."
    return autocasts(average), autocasts(largest), with_indices


adaptive_avg_pool1d, adaptive_max_pool1d, adaptive_max_pool1d_with_indices = _adaptive(1)
adaptive_avg_pool2d, adaptive_max_pool2d, adaptive_max_pool2d_with_indices = _adaptive(2)
adaptive_avg_pool3d, adaptive_max_pool3d, adaptive_max_pool3d_with_indices = _adaptive(3)


def _unpool(n):
    def unpool(input, indices, kernel_size, stride=None, padding=0, output_size=None):
        return pools.max_unpool(n, input, indices, kernel_size, stride, padding, output_size)

    unpool.__name__ = f"max_unpool{n}d"
    unpool.__doc__ = f"""Puts elements where `max_pool{n}d` with ``return_indices`` found them; zeros elsewhere.

    ``output_size`` chooses among the sizes that pool to that of ``input``. Raises ValueError for any other.
    """
    return unpool


max_unpool1d, max_unpool2d, max_unpool3d = (autocasts(_unpool(n)) for n in (1, 2, 3))


def _lp(n, average):
    def pool(input, norm_type, kernel_size, stride=None, ceil_mode=False):
        window = (kernel_size,) * n if isinstance(kernel_size, int) else tuple(kernel_size)
        count = 1
        for k in window:
            count *= k
        mean = average(input.pow(norm_type), window, stride, 0, ceil_mode)
        return (mean.sign() * mean.abs().relu()).mul(count).pow(1.0 / norm_type)

    pool.__name__ = f"lp_pool{n}d"
    pool.__doc__ = f"The ``norm_type``-norm of each window of (N, C, *) or (C, *), of {n} spatial dimensions."
    return pool


lp_pool1d, lp_pool2d, lp_pool3d = _lp(1, avg_pool1d), _lp(2, avg_pool2d), _lp(3, avg_pool3d)
