"""Random numbers. On the CPU they are PyTorch's, number for number; on CUDA devices they go by seed, number of the draw
and index of the element (`livegrad.ops.philox`), and so they do everywhere inside of `portable`.

Drawn when called, in program order, whatever is deferred.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from . import devices, dtypes
from .autograd.mode import MODE
from .autograd.node import cast_value
from .counter import STATE_BYTES, Counter, of_any_dtype
from .creation import _finish, _from_numpy_copy, _sizes, makes
from .lazy.value import Value, from_array
from .llvm import service
from .native import hot
from .ops import dispatch, writes
from .ops.arguments import checked, refuse_unknown, type_name
from .ops.registry import with_out
from .runtime.array import SMALL, Array, contiguous_strides, numel, row_of
from .tensor import Tensor, wrap

if TYPE_CHECKING:
    from .ops.philox import Draw
    from .sampling import Stream


class Generator:
    """A stream of random numbers with a state of its own.

    >>> import livegrad
    >>> g = livegrad.Generator().manual_seed(0)
    >>> livegrad.rand(2, generator=g)
    tensor([0.4963, 0.7682])
    """

    def __init__(self, device: Any = "cpu"):
        self.device = devices.available(device)
        self._made: dict[str, Stream] = {}
        self._counter = Counter(DEFAULT_SEED)

    @property
    def _stream(self) -> Stream:
        made = self._made.get("stream")
        return self._make_stream() if made is None else made

    def _make_stream(self) -> Stream:
        service.load("livegrad.sampling")
        from .sampling import Stream

        # No lock (such as cached_property has): a child that is forked meanwhile would find it locked for ever.
        return self._made.setdefault("stream", Stream())

    @property
    def _state(self) -> Any:
        """What is drawn from now."""
        return self._counter if self.device is not devices.cpu or PORTABLE.on else self._stream

    def manual_seed(self, seed: int) -> Generator:
        seed = int(seed)
        if self.device is devices.cpu:
            self._stream.manual_seed(seed)
        self._counter.manual_seed(seed)
        return self

    def seed(self) -> int:
        """Seed from the system's randomness; returns the seed."""
        seed = self._state.seed()
        self.manual_seed(seed)
        return seed

    def initial_seed(self) -> int:
        return self._state.initial if self._state is self._counter else self._stream.initial_seed()

    def get_state(self) -> Tensor:
        """The state, as bytes: 5056 of the CPU's, 16 of a CUDA device's and inside of `portable`."""
        return _from_numpy_copy(self._state.get_state(), dtypes.uint8)

    def set_state(self, state: Tensor) -> None:
        """Go on from a state that `get_state` gave."""
        array = np.array(state._to_numpy())
        if array.size == STATE_BYTES or self.device is not devices.cpu:
            self._counter.set_state(array)
        else:
            self._stream.set_state(array)

    def clone_state(self) -> Generator:
        """A generator of its own that goes on as this one would."""
        made = Generator(self.device)
        if self.device is devices.cpu:
            made._stream.set_state(self._stream.get_state())
        made._counter.set_state(self._counter.get_state())
        return made


class _Portable:
    """on: whether random numbers go by element index on the CPU as well."""

    on = False


PORTABLE = _Portable()


class portable:
    """From here on, or inside of a ``with``: the same random numbers on every device, and for any launch.

    They all come from one stream, the CPU's default generator's in its counter-based form, so that a program which
    draws on the CPU and on a CUDA device gives the numbers that it gives on the CPU alone. They are not PyTorch's.

    >>> import livegrad
    >>> with livegrad.random.portable():
    ...     g = livegrad.manual_seed(0)
    ...     x = livegrad.rand(2)
    >>> x
    tensor([0.8805, 0.3621])
    """

    def __init__(self, enabled: bool = True):
        self.enabled, self._before = bool(enabled), PORTABLE.on
        PORTABLE.on = self.enabled

    def __enter__(self) -> portable:
        PORTABLE.on = self.enabled
        return self

    def __exit__(self, *exc: Any) -> None:
        PORTABLE.on = self._before


DEFAULT_SEED = 67280421310721  # PyTorch's
default_generator = Generator()
_on_cuda: dict[int, Generator] = {}  # the default generators of CUDA devices, made when they are asked for
_seed_of_new = DEFAULT_SEED


def cuda_generator(index: int) -> Generator:
    """The default generator of a CUDA device."""
    found = _on_cuda.get(index)
    if found is None:
        made = Generator(devices.device("cuda", index))
        made._counter.manual_seed(_seed_of_new)
        found = _on_cuda.setdefault(index, made)
    return found


def seed_cuda(seed: int) -> None:
    """Seed the default generators of all CUDA devices, those that are not in use yet too."""
    global _seed_of_new
    _seed_of_new = int(seed)
    for generator in list(_on_cuda.values()):
        generator.manual_seed(seed)


@hot
def _counter(generator: Generator | None, where: devices.device) -> Counter | None:
    """The counter to draw with for a tensor on a device; None for the CPU's own stream."""
    if generator is not None and not isinstance(generator, Generator):
        raise TypeError(f"argument 'generator' must be torch.Generator, not {type_name(generator)}")
    if generator is not None and generator.device.type != where.type and not PORTABLE.on:
        raise RuntimeError(f"Expected a '{where.type}' device type for generator but found '{generator.device.type}'")
    if where is devices.cpu and not PORTABLE.on:
        return None
    if generator is None:
        generator = default_generator if PORTABLE.on else cuda_generator(where.index or 0)
    return generator._counter


@hot
def _draw(generator: Generator | None, where: devices.device, shape: tuple) -> Draw | None:
    """A draw for a tensor on a device, where numbers go by element index there."""
    counter = _counter(generator, where)
    return None if counter is None else counter.draw(shape, where)


@hot
def _stream(generator: Generator | None) -> Stream:
    return (default_generator if generator is None else generator)._stream


def manual_seed(seed: int) -> Generator:
    """Seed the default generators of all devices; returns the CPU's."""
    seed_cuda(seed)
    return default_generator.manual_seed(int(seed))


def seed() -> int:
    """Seed the default generators of all devices from the system's randomness; returns the seed."""
    chosen = default_generator.seed()
    seed_cuda(chosen)
    return chosen


def initial_seed() -> int:
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The state of the default generator, as bytes."""
    return default_generator.get_state()


@checked
def set_rng_state(new_state: Tensor) -> None:
    default_generator.set_state(new_state)


@hot
def _float(dtype: Any) -> dtypes.dtype:
    d = dtype or dtypes.get_default_dtype()
    if d.category != dtypes.FLOATING:
        raise RuntimeError(f"random numbers of this distribution need a floating-point dtype, got {d}")
    return d


@hot
def _made(a: np.ndarray, shape: tuple, d: dtypes.dtype, requires_grad: bool = False, where: Any = None) -> Tensor:
    return _finish(_from_numpy_copy(a.reshape(shape), d), requires_grad, where)


def _drawn(v: Value, requires_grad: bool = False) -> Tensor:
    return _finish(wrap(v), requires_grad)


def _of_parts(parts: Tensor, requires_grad: bool) -> Tensor:
    """Complex numbers from their parts, along the last dimension."""
    from .ops.parts import VIEW_AS_COMPLEX

    return _drawn(VIEW_AS_COMPLEX.of_value(parts._value(), {}), requires_grad)


_DIGITS = {dtypes.float32: 24, dtypes.float64: 53}


@hot
def _few(generator: Generator | None, shape: tuple, d: dtypes.dtype, normal: bool) -> Tensor | None:
    """A few standard normal or uniform numbers of the CPU's stream, without NumPy's arrays; None if they are more."""
    n = numel(shape)
    digits = _DIGITS.get(d)
    if digits is None or n >= SMALL or n == 0:
        return None
    stream = _stream(generator)
    if normal:
        numbers = [z + 0.0 for z in stream.few_normals(n)]  # no -0, as in a product of which the mean is added to
    else:
        numbers = stream.few_uniforms(n, digits)
    return _of_few(numbers, shape, d)


@hot
def _of_few(numbers: list, shape: tuple, d: dtypes.dtype) -> Tensor:
    row = row_of(numbers, d)
    return wrap(from_array(Array(row.block, 0, shape, contiguous_strides(shape), d, True)))  # type: ignore[union-attr]


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
    d = _float(dtype)
    draw = _draw(generator, where, shape)
    if draw is not None:
        return _drawn(draw.uniform(d), requires_grad)
    few = _few(generator, shape, d, False)
    if few is not None:
        return _finish(few, requires_grad)
    return _made(_stream(generator).uniform(numel(shape), d.np), shape, d, requires_grad)


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
    d = _float(dtype)
    draw = _draw(generator, where, shape)
    if draw is not None:
        return _drawn(draw.normal(d), requires_grad)
    few = _few(generator, shape, d, True)
    if few is not None:
        return _finish(few, requires_grad)
    return _made(_stream(generator).normal(numel(shape), d.np), shape, d, requires_grad)


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
    low, high = int(low), int(high)
    if low >= high:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    shape, d = _sizes((size,)), dtype or dtypes.int64
    if d.category == dtypes.INTEGRAL:
        limits = dtypes.iinfo(d)
        if low < limits.min or high - 1 > limits.max:
            raise RuntimeError(f"to - 1 is out of bounds for {d.name}: range [{low}, {high})")
    draw = _draw(generator, where, shape)
    if draw is not None:
        return _drawn(draw.integers(low, high, d), requires_grad)
    n = numel(shape)
    if (d is dtypes.int64 or d is dtypes.int32) and n <= SMALL and n > 0:
        numbers = _stream(generator).few_integers(n, low, high)
        if numbers is not None:
            return _finish(_of_few(numbers, shape, d), requires_grad)
    return _made(_stream(generator).random_int(low, high, n, d.np), shape, d, requires_grad)


@makes
def randperm(
    n: int, *, generator: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False, **ignored: Any
) -> Tensor:
    """The integers 0 to n - 1 in random order."""
    if ignored:
        refuse_unknown("randperm", ignored)
    where = devices.available(device)
    d = dtype or dtypes.int64
    counter = _counter(generator, where)
    if counter is not None:
        return _drawn(cast_value(counter.permutation(int(n), where), d), requires_grad)
    return _made(_stream(generator).permutation(int(n)), (int(n),), d, requires_grad)


@makes
def normal(
    mean: Any = 0.0,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Any = None,
    dtype: Any = None,
    device: Any = None,
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
        return randn(shape, generator=generator, dtype=like.dtype, device=like.device) * std + mean
    where = devices.available(device)
    shape, d = _sizes((size,)), _float(dtype)
    draw = _draw(generator, where, shape)
    if draw is not None:
        return _drawn(draw.normal(d, float(mean), float(std)))
    return _made(_stream(generator).normal(numel(shape), d.np, float(mean), float(std)), shape, d)


@with_out
def bernoulli(input: Tensor, p: float | None = None, *, generator: Any = None) -> Tensor:
    """Ones with the probability that each element states (or p for all), else zeros."""
    if p is not None:
        return input.new_empty(input._shape).bernoulli_(p, generator=generator)
    if input.dtype.category != dtypes.FLOATING:
        raise RuntimeError(f"bernoulli(): expected a floating-point tensor of probabilities, got {input.dtype}")
    draw = _draw(generator, input.device, input._shape)
    if draw is not None:
        return _drawn(draw.bernoulli_of(input._value(), input.dtype))
    a = input.detach()._to_numpy()
    if a.size and not bool(((a >= 0) & (a <= 1)).all()):
        raise RuntimeError("Expected p_in >= 0 && p_in <= 1 to be true, but got false.")
    return _made(_stream(generator).bernoulli_array(a), a.shape, input.dtype, where=input.device)


@with_out
def multinomial(input: Tensor, num_samples: int, replacement: bool = False, *, generator: Any = None) -> Tensor:
    """Indices drawn with the probabilities (up to a factor) in each row."""
    counter = _counter(generator, input.device)
    draw = _stream(generator) if counter is None else counter
    a = draw.multinomial(input.detach()._to_numpy(), num_samples, replacement)
    return _made(a, a.shape, dtypes.int64, where=input.device)


@with_out
def poisson(input: Tensor, generator: Any = None) -> Tensor:
    """Poisson numbers with the given rates."""
    a = input.detach()._to_numpy()
    counter = _counter(generator, input.device)
    draw = _stream(generator) if counter is None else counter
    return _made(np.asarray(draw.poisson(a)), a.shape, input.dtype, where=input.device)


@checked
def binomial(count: Tensor, prob: Tensor, generator: Any = None) -> Tensor:
    """How many of `count` trials succeed, each with probability `prob`; the two are broadcast against each other.

    >>> import livegrad
    >>> livegrad.binomial(livegrad.tensor([0.0, 5.0]), livegrad.tensor(1.0))
    tensor([0., 5.])
    """
    counts, probs = np.broadcast_arrays(count.detach()._to_numpy(), prob.detach()._to_numpy())
    counter = _counter(generator, prob.device)
    draw = _stream(generator) if counter is None else counter
    return _made(np.asarray(draw.binomial(counts, probs)), probs.shape, prob.dtype, where=prob.device)


@checked
def rand_like(
    input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, **ignored: Any
) -> Tensor:
    if ignored:
        refuse_unknown("rand_like", ignored)
    where = device or input.device
    return rand(input._shape, dtype=dtype or input.dtype, device=where, requires_grad=requires_grad)


@checked
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


# --- in place ---------------------------------------------------------------------------------------------------


@hot
def _overwrite(t: Tensor, a: np.ndarray | Value) -> Tensor:
    writes.check_in_place(t, MODE.grad)
    return writes.assign_result(t, wrap(a) if isinstance(a, Value) else _made(np.asarray(a), t._shape, t.dtype))


@hot
def _draw_into(t: Tensor, generator: Generator | None) -> Draw | None:
    return _draw(generator, t.device, t._shape)


@hot
def uniform_(self: Tensor, a: float = 0.0, b: float = 1.0, *, generator: Any = None, **named: Any) -> Tensor:
    """Fill with uniform numbers from [a, b)."""
    a, b = named.get("from", a), named.get("to", b)
    if a > b:
        raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={a} > to={b}")
    _float(self.dtype)
    draw = _draw_into(self, generator)
    if draw is not None:
        return _overwrite(self, draw.uniform(self.dtype, float(a), float(b)))
    few = _few(generator, self._shape, self.dtype, False) if a == 0 and b == 1 else None
    if few is not None:
        return _overwrite(self, few._value())
    return _overwrite(self, _stream(generator).uniform(self.numel(), self.dtype.np, float(a), float(b)))


@hot
def normal_(self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> Tensor:
    """Fill with normal numbers."""
    if std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    _float(self.dtype)
    draw = _draw_into(self, generator)
    if draw is not None:
        return _overwrite(self, draw.normal(self.dtype, float(mean), float(std)))
    few = _few(generator, self._shape, self.dtype, True) if mean == 0 and std == 1 else None
    if few is not None:
        return _overwrite(self, few._value())
    stream = _stream(generator)
    a = stream.normal(self.numel(), self.dtype.np, float(mean), float(std), contiguous=self.is_contiguous())
    return _overwrite(self, a)


def random_(
    self: Tensor, low: int | None = None, high: int | None = None, *, generator: Any = None, **named: Any
) -> Tensor:
    """Fill with integers: from [low, high), [0, low), or over the dtype's whole range."""
    low, high = named.get("from", low), named.get("to", high)
    draw = _draw_into(self, generator)
    if low is None:
        if draw is not None:
            return _overwrite(self, of_any_dtype(draw, self.dtype))
        return _overwrite(self, _stream(generator).random_full(self.numel(), self.dtype.np))
    if high is None:
        low, high = 0, low
    if draw is not None:
        if low >= high:
            raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
        return _overwrite(self, draw.integers(int(low), int(high), self.dtype))
    stream, n, d = _stream(generator), self.numel(), self.dtype.np
    return _overwrite(self, stream.random_int(int(low), int(high), n, d))


def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Any = None) -> Tensor:
    """Fill with ones (probability p) and zeros."""
    if not isinstance(p, Tensor) and not 0 <= p <= 1:
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p}")
    draw = _draw_into(self, generator)
    if isinstance(p, Tensor):
        p = p.expand(self._shape)
        if draw is not None:
            return _overwrite(self, draw.bernoulli_of(p._value(), self.dtype))
        return _overwrite(self, _stream(generator).bernoulli_array(p._to_numpy()).reshape(-1))
    if draw is not None:
        return _overwrite(self, draw.bernoulli(float(p), self.dtype))
    return _overwrite(self, _stream(generator).bernoulli(float(p), self.numel()))


def exponential_(self: Tensor, lambd: float = 1.0, *, generator: Any = None) -> Tensor:
    """Fill with exponential numbers of rate lambd."""
    if not lambd > 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd:g}")
    draw = _draw_into(self, generator)
    if draw is not None:
        return _overwrite(self, draw.exponential(_float(self.dtype), float(lambd)))
    return _overwrite(self, _stream(generator).exponential(self.numel(), self.dtype.np, float(lambd)))


def cauchy_(self: Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Any = None) -> Tensor:
    """Fill with Cauchy numbers."""
    if not sigma > 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma:g}")
    draw = _draw_into(self, generator)
    if draw is not None:
        return _overwrite(self, draw.cauchy(_float(self.dtype), float(median), float(sigma)))
    return _overwrite(self, _stream(generator).cauchy(self.numel(), self.dtype.np, median, sigma))


def log_normal_(self: Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Any = None) -> Tensor:
    """Fill with log-normal numbers."""
    if not std > 0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std:g}")
    draw = _draw_into(self, generator)
    if draw is not None:
        return _overwrite(self, draw.log_normal(_float(self.dtype), float(mean), float(std)))
    return _overwrite(self, _stream(generator).log_normal(self.numel(), self.dtype.np, mean, std))


def geometric_(self: Tensor, p: float, *, generator: Any = None) -> Tensor:
    """Fill with geometric numbers."""
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p:g}")
    draw = _draw_into(self, generator)
    if draw is not None:
        return _overwrite(self, draw.geometric(self.dtype, float(p)))
    return _overwrite(self, _stream(generator).geometric(self.numel(), self.dtype.np, p))


for _method in (uniform_, normal_, random_, bernoulli_, exponential_, cauchy_, log_normal_, geometric_):
    setattr(Tensor, _method.__name__, _method)
Tensor.bernoulli = bernoulli  # type: ignore[attr-defined]
Tensor.multinomial = multinomial  # type: ignore[attr-defined]


class fork_rng:
    """Context manager: what is drawn inside does not change the streams outside.

    devices: the CUDA devices whose streams are meant as well; all that have been drawn from unless given.
    """

    def __init__(self, devices: Any = None, enabled: bool = True, **ignored: Any):
        self.devices, self.enabled = devices, enabled

    def __enter__(self) -> None:
        if not self.enabled:
            return
        generators = [default_generator, *(_on_cuda.values() if self.devices is None else map(_of, self.devices))]
        self.before = [(g, g._counter.get_state()) for g in generators]
        self.state = default_generator._stream.get_state()

    def __exit__(self, *exc: Any) -> None:
        if self.enabled:
            default_generator._stream.set_state(self.state)
            for generator, state in self.before:
                generator._counter.set_state(state)


def _of(device: Any) -> Generator:
    """The default generator of a CUDA device that is given as a number, a name or a device."""
    return cuda_generator(devices.available(device).index or 0)
