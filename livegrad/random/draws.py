"""Drawing new tensors of random numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import devices, dtypes
from ..autograd.mode import MODE
from ..autograd.node import cast_value
from ..creation import _sizes, makes
from ..from_data import _finish, _from_numpy_copy, of_few
from ..lazy.value import Value, from_array
from ..native import hot
from ..observe import WATCH
from ..ops import dispatch
from ..ops.arguments import checked, refuse_unknown
from ..ops.batch_loops import DRAWS, drawn
from ..ops.instruction import SCALAR_TYPE_NAMES
from ..ops.registry import ELEMENTWISE, with_out
from ..runtime import array as arrays
from ..runtime.array import SMALL, numel
from ..tensor import Tensor, wrap
from .generators import Generator, counter_of, draw_of, stream_of


@hot
def floating(dtype: Any) -> dtypes.dtype:
    d = dtype or dtypes.get_default_dtype()
    if d.category != dtypes.FLOATING:
        raise RuntimeError(f"random numbers of this distribution need a floating-point dtype, got {d}")
    return d


@hot
def made_of(a: np.ndarray, shape: tuple, d: dtypes.dtype, requires_grad: bool = False, where: Any = None) -> Tensor:
    return _finish(_from_numpy_copy(a.reshape(shape), d), requires_grad, where)


@hot
def scaled_mask(shape: tuple, d: dtypes.dtype, p: float) -> Tensor:
    """1 / p with probability p, else 0: the numbers of the CPU's own stream that ``bernoulli_(p)`` draws, over p."""
    if WATCH.batcher is not None:
        return drawn(_scaled_mask, shape, d, p)
    return _scaled_mask(shape, d, p)


@hot
def _scaled_mask(shape: tuple, d: dtypes.dtype, p: float) -> Tensor:
    number = d.np.type
    made = arrays.empty(shape, d)
    stream = stream_of(None)
    n = numel(shape)
    if d is dtypes.float32 and stream.fill_mask(made.ptr, n, p, float(number(1) / number(p))):
        return wrap(from_array(made))
    hits = stream.bernoulli(p, n)
    np.multiply(hits.reshape(shape), number(1) / number(p), out=made.native())
    return wrap(from_array(made))


def _drawn(v: Value, requires_grad: bool = False) -> Tensor:
    return _finish(wrap(v), requires_grad)


@hot
def _recorded(name: str, made: Tensor, input: Tensor) -> Tensor:
    """What was drawn, as a step of the graph where a gradient is wanted: it is 0."""
    if not (MODE.grad and input.requires_grad):
        return made
    return dispatch.call(ELEMENTWISE[f"_{name}"], (made, input))


def _of_parts(parts: Tensor, requires_grad: bool) -> Tensor:
    """Complex numbers from their parts, along the last dimension."""
    from ..ops.parts import VIEW_AS_COMPLEX

    return _drawn(VIEW_AS_COMPLEX.of_value(parts._value(), {}), requires_grad)


_DIGITS = {dtypes.float32: 24, dtypes.float64: 53}


@hot
def few_of(generator: Generator | None, shape: tuple, d: dtypes.dtype, normal: bool) -> Tensor | None:
    """A few standard normal or uniform numbers of the CPU's stream, without NumPy's arrays; None if they are more."""
    n = numel(shape)
    digits = _DIGITS.get(d)
    if digits is None or n >= SMALL or n == 0:
        return None
    stream = stream_of(generator)
    if normal:
        numbers = [z + 0.0 for z in stream.few_normals(n)]  # no -0, as in a product of which the mean is added to
    else:
        numbers = stream.few_uniforms(n, digits)
    return of_few(numbers, shape, d)


@hot
def numbers_of(generator: Generator | None, shape: tuple, d: dtypes.dtype, normal: bool, a: float, b: float) -> Tensor:
    """Numbers of the CPU's stream, in row-major order: normal ones of mean a and deviation b, or uniform in [a, b)."""
    stream = stream_of(generator)
    n = numel(shape)
    if d is dtypes.float32:
        made = arrays.empty(shape, d)
        if stream.fill_normal(made.ptr, n, a, b) if normal else stream.fill_uniform(made.ptr, n, a, b):
            return wrap(from_array(made))
    return made_of(stream.normal(n, d.np, a, b) if normal else stream.uniform(n, d.np, a, b), shape, d)


@makes
@hot
def rand(
    *size: Any,
    generator: Any = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    **ignored: Any,
) -> Tensor:
    """Uniform numbers from [0, 1); of a complex dtype both parts are."""
    if ignored:
        refuse_unknown("rand", ignored)
    where = devices.available(device)
    shape = _sizes((ignored["size"],) if "size" in ignored else size)
    if dtype is not None and dtype.is_complex:
        return _of_parts(rand((*shape, 2), generator=generator, dtype=dtype.to_real(), device=device), requires_grad)
    d = floating(dtype)
    draw = draw_of(generator, where, shape)
    if draw is not None:
        return _drawn(draw.uniform(d), requires_grad)
    few = few_of(generator, shape, d, False)
    if few is not None:
        return _finish(few, requires_grad)
    return _finish(numbers_of(generator, shape, d, False, 0.0, 1.0), requires_grad)


@makes
@hot
def randn(
    *size: Any,
    generator: Any = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    **ignored: Any,
) -> Tensor:
    """Standard normal numbers. Complex ones have variance 1 too, so each part has 1/2."""
    if ignored:
        refuse_unknown("randn", ignored)
    where = devices.available(device)
    shape = _sizes((ignored["size"],) if "size" in ignored else size)
    if dtype is not None and dtype.is_complex:
        parts = normal(0.0, 1 / math.sqrt(2), (*shape, 2), generator=generator, dtype=dtype.to_real(), device=device)
        return _of_parts(parts, requires_grad)
    d = floating(dtype)
    draw = draw_of(generator, where, shape)
    if draw is not None:
        return _drawn(draw.normal(d), requires_grad)
    few = few_of(generator, shape, d, True)
    if few is not None:
        return _finish(few, requires_grad)
    return _finish(numbers_of(generator, shape, d, True, 0.0, 1.0), requires_grad)


@makes
@hot
def randint(
    *args: Any,
    generator: Any = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    low: Any = None,
    high: Any = None,
    size: Any = None,
    **ignored: Any,
) -> Tensor:
    """Integers from [low, high); ``randint(high, size)`` or ``randint(low, high, size)``."""
    if ignored:
        refuse_unknown("randint", ignored)
    where = devices.available(device)
    given = list(args)
    if size is None:
        size = given.pop()
    if high is None:
        high = given.pop()
    if low is None:
        low = given.pop() if given else 0
    for name, bound in (("low", low), ("high", high)):
        if isinstance(bound, float) or not hasattr(bound, "__index__"):
            raise TypeError(f"randint(): argument '{name}' must be int, not {type(bound).__name__}")
    if not isinstance(size, (tuple, list)):
        raise TypeError(f"randint(): argument 'size' must be tuple of ints, not {type(size).__name__}")
    low, high = int(low), int(high)
    if low >= high:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    shape, d = _sizes((size,)), dtype or dtypes.int64
    if d.category == dtypes.INTEGRAL:
        limits = dtypes.iinfo(d)
        if low < limits.min or high - 1 > limits.max:
            raise RuntimeError(f"to - 1 is out of bounds for {d.name}: range [{low}, {high})")
    draw = draw_of(generator, where, shape)
    if draw is not None:
        return _drawn(draw.integers(low, high, d), requires_grad)
    n = numel(shape)
    if (d is dtypes.int64 or d is dtypes.int32) and n <= SMALL and n > 0:
        numbers = stream_of(generator).few_integers(n, low, high)
        few = None if numbers is None else of_few(numbers, shape, d)
        if few is not None:
            return _finish(few, requires_grad)
    return made_of(stream_of(generator).random_int(low, high, n, d.np), shape, d, requires_grad)


@hot
def _check_range(n: int, d: dtypes.dtype) -> None:
    """Raise where the integers 0 to n - 1 are not all numbers of a dtype."""
    if d is dtypes.bool_ or d.is_complex:
        raise NotImplementedError(f"\"randperm\" not implemented for '{SCALAR_TYPE_NAMES[d]}'")
    if d.is_floating_point:
        whole = 1 << {"f16": 11, "f32": 24}.get(d.kind, 53)  # and all below it; PyTorch rounds for bfloat16
        if n > whole + 1:
            raise RuntimeError(f"n cannot be greater than {whole + 1} for {SCALAR_TYPE_NAMES[d]} type.")
    elif n - 1 > np.iinfo(d.np).max:
        raise RuntimeError(f"value cannot be converted to type {d.name}_t without overflow: n is {n}")


@makes
@hot
def randperm(
    n: int, *, generator: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False, **ignored: Any
) -> Tensor:
    """The integers 0 to n - 1 in random order. Raises RuntimeError where the dtype does not have all of them."""
    if ignored:
        refuse_unknown("randperm", ignored)
    if isinstance(n, float):
        raise TypeError("randperm(): argument 'n' (position 1) must be int, not float")
    _check_range(n, dtype or dtypes.int64)
    where = devices.available(device)
    d = dtype or dtypes.int64
    counter = counter_of(generator, where)
    if counter is not None:
        return _drawn(cast_value(counter.permutation(int(n), where), d), requires_grad)
    return made_of(stream_of(generator).permutation(int(n)), (int(n),), d, requires_grad)


@makes
@hot
def normal(
    mean: Any = 0.0,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Any = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    **ignored: Any,
) -> Tensor:
    """Normal numbers; mean and std are numbers (with a size) or tensors."""
    if ignored:
        refuse_unknown("normal", ignored)
    if isinstance(mean, Tensor) or isinstance(std, Tensor):
        like = mean if isinstance(mean, Tensor) else std
        shape = like._shape
        if isinstance(mean, Tensor) and isinstance(std, Tensor):
            shape = dispatch.broadcast_shapes(mean._shape, std._shape)
        if isinstance(std, Tensor):
            if std.numel() and bool((std.detach() < 0).any()):
                raise RuntimeError("normal expects all elements of std >= 0.0")
        elif std < 0:
            raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
        drawn = randn(shape, generator=generator, dtype=like.dtype, device=like.device)
        made = drawn * (std.detach() if isinstance(std, Tensor) else std)
        made = made + (mean.detach() if isinstance(mean, Tensor) else mean)
        for t in (mean, std):
            made = _recorded("normal", made, t) if isinstance(t, Tensor) else made
        return made
    if std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    if size is None:
        raise TypeError("normal() takes a tensor as mean or std, or a size, but got two numbers")
    where = devices.available(device)
    shape, d = _sizes((size,)), floating(dtype)
    draw = draw_of(generator, where, shape)
    if draw is not None:
        return _drawn(draw.normal(d, float(mean), float(std)), requires_grad)
    return _finish(numbers_of(generator, shape, d, True, float(mean), float(std)), requires_grad)


@with_out
@hot
def bernoulli(input: Tensor, p: float | None = None, *, generator: Any = None) -> Tensor:
    """Ones with the probability that each element states (or p for all), else zeros."""
    if p is not None:
        return input.new_empty(input._shape).bernoulli_(p, generator=generator)
    if input.dtype.category != dtypes.FLOATING:
        raise RuntimeError(f"bernoulli(): expected a floating-point tensor of probabilities, got {input.dtype}")
    draw = draw_of(generator, input.device, input._shape)
    if draw is not None:
        return _recorded("bernoulli", _drawn(draw.bernoulli_of(input._value(), input.dtype)), input)
    a = input.detach()._to_numpy()
    if a.size and not bool(((a >= 0) & (a <= 1)).all()):
        raise RuntimeError("Expected p_in >= 0 && p_in <= 1 to be true, but got false.")
    made = made_of(stream_of(generator).bernoulli_array(a), a.shape, input.dtype, where=input.device)
    return _recorded("bernoulli", made, input)


_FEW_WEIGHTS = 128
_LARGE = 1e20  # of weights that, over the least there is, are still in the range of float32


@hot
def _few_places(input: Tensor, stream: Any) -> Tensor | None:
    """One sample a row of a few weights; None where they are more, or have to be refused."""
    shape = input._shape
    n = numel(shape)
    single = input.dtype is dtypes.float32
    if n == 0 or n > _FEW_WEIGHTS or len(shape) > 2 or not (single or input.dtype is dtypes.float64):
        return None
    weights = input._value().native().reshape(-1).tolist()
    columns = shape[-1]
    for row in range(0, n, columns):
        total = 0.0
        for k in range(row, row + columns):
            w = weights[k]
            if not w >= 0:
                return None
            total += w
        if not total > 0 or total > _LARGE:
            return None
    made = np.array(stream.few_places(weights, columns, single), np.int64)
    return made_of(made, (*shape[:-1], 1), dtypes.int64)


@with_out
@hot
def multinomial(input: Tensor, num_samples: int, replacement: bool = False, *, generator: Any = None) -> Tensor:
    """Indices drawn with the probabilities (up to a factor) in each row."""
    counter = counter_of(generator, input.device)
    draw = stream_of(generator) if counter is None else counter
    few = _few_places(input, draw) if num_samples == 1 and counter is None else None
    if few is not None:
        return few
    a = draw.multinomial(input.detach()._to_numpy(), num_samples, replacement)
    return made_of(a, a.shape, dtypes.int64, where=input.device)


@with_out
def poisson(input: Tensor, generator: Any = None) -> Tensor:
    """Poisson numbers with the given rates."""
    a = input.detach()._to_numpy()
    counter = counter_of(generator, input.device)
    draw = stream_of(generator) if counter is None else counter
    return _recorded("poisson", made_of(np.asarray(draw.poisson(a)), a.shape, input.dtype, where=input.device), input)


@checked
def binomial(count: Tensor, prob: Tensor, generator: Any = None) -> Tensor:
    """How many of `count` trials succeed, each with probability `prob`; the two are broadcast against each other.

    >>> import livegrad
    >>> livegrad.binomial(livegrad.tensor([0.0, 5.0]), livegrad.tensor(1.0))
    tensor([0., 5.])
    """
    counts, probs = np.broadcast_arrays(count.detach()._to_numpy(), prob.detach()._to_numpy())
    counter = counter_of(generator, prob.device)
    draw = stream_of(generator) if counter is None else counter
    return made_of(np.asarray(draw.binomial(counts, probs)), probs.shape, prob.dtype, where=prob.device)


@checked
@hot
def rand_like(
    input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, **ignored: Any
) -> Tensor:
    if ignored:
        refuse_unknown("rand_like", ignored)
    where = device or input.device
    return rand(input._shape, dtype=dtype or input.dtype, device=where, requires_grad=requires_grad)


@checked
@hot
def randn_like(
    input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, **ignored: Any
) -> Tensor:
    if ignored:
        refuse_unknown("randn_like", ignored)
    where = device or input.device
    return randn(input._shape, dtype=dtype or input.dtype, device=where, requires_grad=requires_grad)


@checked
def randint_like(
    input: Tensor, low: int, high: int | None = None, *, dtype: Any = None, device: Any = None, **ignored: Any
) -> Tensor:
    if ignored:
        refuse_unknown("randint_like", ignored)
    if high is None:
        low, high = 0, low
    return randint(low, high, input._shape, dtype=dtype or input.dtype, device=device or input.device)


def _sized_first(draw: Any, lead: tuple, args: tuple, kwargs: dict) -> Tensor:
    shape = _sizes((kwargs.pop("size"),) if "size" in kwargs else args)
    return draw((*lead, *shape), **kwargs)


def _sized_last(draw: Any, lead: tuple, args: tuple, kwargs: dict) -> Tensor:
    if "size" in kwargs:
        return draw(*args, **{**kwargs, "size": (*lead, *_sizes((kwargs["size"],)))})
    return draw(*args[:-1], (*lead, *_sizes((args[-1],))), **kwargs)


# How they draw for whole batches at once.
DRAWS.update(rand=_sized_first, randn=_sized_first, randint=_sized_last, normal=_sized_last)

Tensor.bernoulli = bernoulli  # type: ignore[attr-defined]
Tensor.multinomial = multinomial  # type: ignore[attr-defined]
