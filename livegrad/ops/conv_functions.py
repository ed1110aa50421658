"""The public functions of convolution: arguments checked, samples without a batch, padding by name."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..native import hot
from ..precision import REGIONS
from ..tensor import Tensor
from . import conv_batches  # noqa: F401 (the rules of batches)
from .arguments import settled
from .conv import BIASED_TRANSPOSED, CONVOLUTION, PLAIN, TRANSPOSED
from .instruction import SCALAR_TYPE_NAMES
from .registry import public

_C_NAMES = {
    "Half": "c10::Half",
    "BFloat16": "c10::BFloat16",
    "Long": "long int",
    "Short": "short int",
    "Char": "signed char",
    "Byte": "unsigned char",
}


def numbers(name: str, value: Any, n: int) -> tuple:
    """One whole number per spatial dimension. Raises RuntimeError with PyTorch's text."""
    given = (value,) if isinstance(value, int) else tuple(int(v) for v in value)
    if len(given) == 1:
        return given * n
    if len(given) != n:
        raise RuntimeError(
            f"expected {name} to be a single integer value or a list of {n} values to match the convolution "
            f"dimensions, but got {name}={list(given)}"
        )
    return given


def _check_numbers(stride: tuple, padding: tuple, dilation: tuple, groups: int, output_padding: tuple = ()) -> None:
    if any(p < 0 for p in padding):
        raise RuntimeError("negative padding is not supported")
    if any(p < 0 for p in output_padding):
        raise RuntimeError("negative output_padding is not supported")
    if any(s <= 0 for s in stride):
        raise RuntimeError("non-positive stride is not supported")
    if any(d <= 0 for d in dilation):
        raise RuntimeError("non-positive dilation is not supported")
    if groups <= 0:
        raise RuntimeError("non-positive groups is not supported")


@hot
def _check_dtypes(x: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    if x.dtype is not weight.dtype:
        raise RuntimeError(
            f"Input type ({x.type()}) and weight type ({weight.type()}) should be the same or input should be a MKLDNN "
            "tensor and weight is a dense tensor"
        )
    if bias is not None and bias.dtype is not x.dtype:
        a, b = (SCALAR_TYPE_NAMES[d] for d in (x.dtype, bias.dtype))
        a, b = (_C_NAMES.get(n, n.lower()) for n in (a, b))
        raise RuntimeError(f"Input type ({a}) and bias type ({b}) should be the same")


def _check_shapes(x: tuple, weight: tuple, bias: tuple | None, groups: int, transposed: bool) -> None:
    shape = list(weight)
    if shape[0] < groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be at least {groups} at dimension 0, but got weight of size "
            f"{shape} instead"
        )
    if shape[0] % groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, but got weight of "
            f"size [{shape}] instead"
        )
    # What the weight says of the channels that come in and go out.
    channels, outputs = (shape[0], shape[1] * groups) if transposed else (shape[1] * groups, shape[0])
    if x[1] != channels:
        given = "transposed=1" if transposed else f"groups={groups}"
        raise RuntimeError(
            f"Given {given}, weight of size {shape}, expected input{list(x)} to have {channels} channels, but "
            f"got {x[1]} channels instead"
        )
    if bias is not None and bias != (outputs,):
        given = "transposed=1, " if transposed else ""
        raise RuntimeError(
            f"Given {given}weight of size {shape}, expected bias to be 1-dimensional with {outputs} elements, but got "
            f"bias of size {list(bias)} instead"
        )


@hot
def _batched(name: str, x: Tensor, n: int) -> tuple[Tensor, bool]:
    """The input with a batch dimension, and whether it had one."""
    if x.dim() == n + 2:
        return x, True
    if x.dim() != n + 1:
        raise RuntimeError(
            f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to {name}, but got input of size: "
            f"{list(x.shape)}"
        )
    return x.unsqueeze(0), False


def _paddings(padding: Any, window: tuple, stride: tuple, dilation: tuple) -> tuple[tuple, tuple]:
    """What is added before and after each dimension."""
    n = len(window)
    if not isinstance(padding, str):
        both = numbers("padding", padding, n)
        return both, both
    if padding == "valid":
        return (0,) * n, (0,) * n
    if padding != "same":
        raise RuntimeError(f"Invalid padding string: '{padding}'")
    if any(s != 1 for s in stride):
        raise RuntimeError("padding='same' is not supported for strided convolutions")
    total = [d * (k - 1) for k, d in zip(window, dilation)]
    return tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)


def _geometry(
    name: str, n: int, x: tuple, weight: tuple, bias: tuple | None, stride: Any, padding: Any, dilation: Any,
    groups: int,
) -> tuple:  # fmt: skip
    """(out, stride, padding before, dilation) of a convolution of these shapes, with all checks of them."""
    spatial = len(weight) - 2
    stride, dilation = numbers("stride", stride, spatial), numbers("dilation", dilation, spatial)
    window = weight[2:]
    before, after = _paddings(padding, window, stride, dilation)
    _check_numbers(stride, before, dilation, groups)
    if spatial != n:
        raise RuntimeError(
            f"expected stride to be a single integer value or a list of {spatial} values to match the convolution "
            f"dimensions, but got stride={[1] * n}"
        )
    _check_shapes(x, weight, bias, groups, False)
    size = [s + a + b for s, a, b in zip(x[2:], before, after)]
    reach = [d * (k - 1) + 1 for k, d in zip(window, dilation)]
    if any(r > s for r, s in zip(reach, size)):
        raise RuntimeError(
            f"Calculated padded input size per channel: ({' x '.join(map(str, size))}). "
            f"Kernel size: ({' x '.join(map(str, reach))}). Kernel size can't be greater than actual input size"
        )
    if 0 in window:
        raise RuntimeError(f"{name}: a kernel of size {list(window)} has no elements")
    out = tuple((s - r) // t + 1 for s, r, t in zip(size, reach, stride))
    return out, stride, before, dilation


# By type as well, as 2.0 is not a stride but equal to one.
_kept_geometry = functools.lru_cache(4096, typed=True)(_geometry)


@hot
def convolution(
    name: str, n: int, input: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, dilation: Any,
    groups: int,
) -> Tensor:  # fmt: skip
    """A convolution over `n` spatial dimensions, with all of its checks."""
    if REGIONS.open:
        input, weight, bias = REGIONS.cast(name, (input, weight, bias))
    x, batched = _batched(name, input, n)
    plain = settled(stride) and settled(padding) and settled(dilation) and groups.__class__ is int
    out, stride, before, dilation = (_kept_geometry if plain else _geometry)(
        name, n, x._shape, weight._shape, None if bias is None else bias._shape, stride, padding, dilation, groups
    )
    _check_dtypes(x, weight, bias)
    options = {"out": out, "stride": stride, "padding": before, "dilation": dilation, "groups": groups}
    made = PLAIN.apply((x, weight), **options) if bias is None else CONVOLUTION.apply((x, weight, bias), **options)
    return made if batched else made.squeeze(0)


def transposed(
    name: str, n: int, input: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any,
    output_padding: Any, groups: int, dilation: Any,
) -> Tensor:  # fmt: skip
    """A transposed convolution over `n` spatial dimensions, with all of its checks."""
    if REGIONS.open:
        input, weight, bias = REGIONS.cast(name, (input, weight, bias))
    x, batched = _batched(name, input, n)
    if weight.dim() != n + 2:
        raise RuntimeError(f"expected {n + 2}D weight in {name}, but got a weight of size {list(weight.shape)}")
    given = (("stride", stride), ("padding", padding), ("dilation", dilation), ("output_padding", output_padding))
    stride, padding, dilation, extra = (numbers(what, value, n) for what, value in given)
    _check_numbers(stride, padding, dilation, groups, extra)
    _check_shapes(x._shape, weight._shape, None if bias is None else bias._shape, groups, True)
    if any(e >= s and e >= d for e, s, d in zip(extra, stride, dilation)):
        names = ("depth", "height", "width")[3 - n :]
        told = " ".join(
            f"{what}_{axis}: {v}"
            for what, values in (("output_padding", extra), ("stride", stride), ("dilation", dilation))
            for axis, v in zip(names, values)
        )
        raise RuntimeError(f"output padding must be smaller than either stride or dilation, but got {told}")
    window = tuple(weight.shape[2:])
    size = tuple(
        (m - 1) * s - 2 * p + d * (k - 1) + e + 1
        for m, s, p, d, k, e in zip(x.shape[2:], stride, padding, dilation, window, extra)
    )
    if any(s < 0 for s in size):
        raise RuntimeError(
            f"Given input size per channel: {list(x.shape[2:])}. Calculated output size per channel: {list(size)}. "
            "Output size is too small"
        )
    _check_dtypes(x, weight, bias)
    options = {"size": size, "stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    if bias is None:
        made = TRANSPOSED.apply((x, weight), **options)
    else:
        made = BIASED_TRANSPOSED.apply((x, weight, bias), **options)
    return made if batched else made.squeeze(0)


def _samples(n: int, by_input: bool) -> Callable[[], Iterator[tuple]]:
    """Samples of a convolution over n dimensions: (arguments, options)."""

    def samples() -> Iterator[tuple]:
        rng = np.random.default_rng(n)
        small = {1: (5,), 2: (3, 4), 3: (2, 3, 2)}[n]
        window = (2,) * n

        def data(*shape: int) -> np.ndarray:
            return rng.standard_normal(shape)

        yield (data(1, 2, *small), data(2, 3, *window) if by_input else data(3, 2, *window)), {}
        yield (data(2, 2, *small), data(2, 1, *window), data(2), 2, 1), {"groups": 2}
        yield (data(1, *small), data(1, 1, *window), data(1)), {"dilation": 2, "padding": 1}
        yield (data(0, 2, *small), data(2, 2, *window), data(2)), {}
        yield (data(3, 2, *(9,) * n), data(2, 2, *window), data(2)), {"padding": 1}
        if by_input:
            yield (data(1, 2, *small), data(2, 1, *window), None, 3, 0, 1), {}
        else:
            yield (data(1, 2, *small), data(1, 2, *window)), {"padding": "same"}

    return samples


def _forward(n: int) -> Callable:
    name = f"conv{n}d"

    def function(
        input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:  # fmt: skip
        return convolution(name, n, input, weight, bias, stride, padding, dilation, groups)

    function.__name__ = name
    function.__doc__ = f"""Convolves (N, C, *) or (C, *), of {n} spatial dimensions, with weight (O, C / groups, *).

    padding: zeros added at both ends of each dimension, or "valid" (none), or "same" (the result is as large as the
    input; stride 1). Raises RuntimeError where shapes, dtypes or numbers do not go together.
    """
    return public(name, kind="library", method=False, op=CONVOLUTION, samples=_samples(n, False))(function)


def _backward(n: int) -> Callable:
    name = f"conv_transpose{n}d"

    def function(
        input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
        output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
    ) -> Tensor:  # fmt: skip
        return transposed(name, n, input, weight, bias, stride, padding, output_padding, groups, dilation)

    function.__name__ = name
    function.__doc__ = f"""The transposed convolution of (N, C, *) or (C, *), of {n} spatial dimensions.

    weight is (C, O / groups, *). It maps shapes as the gradient of `conv{n}d` does; output_padding chooses among the
    sizes that a stride leaves open. Raises RuntimeError where shapes, dtypes or numbers do not go together.
    """
    return public(name, kind="library", method=False, op=TRANSPOSED, samples=_samples(n, True))(function)


conv1d, conv2d, conv3d = (_forward(n) for n in (1, 2, 3))
conv_transpose1d, conv_transpose2d, conv_transpose3d = (_backward(n) for n in (1, 2, 3))
