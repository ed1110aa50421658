"""Random numbers: PyTorch's CPU stream, number for number.

Drawn when called, in program order, whatever is deferred.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import devices, dtypes
from .autograd.mode import MODE
from .creation import _finish, _from_numpy_copy, _sizes
from .ops import dispatch
from .runtime import service
from .runtime.array import numel
from .tensor import Tensor

if TYPE_CHECKING:
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

    @property
    def _stream(self) -> Stream:
        made = self._made.get("stream")
        if made is None:
            service.load("livegrad.sampling")
            from .sampling import Stream

            # No lock (such as cached_property has): a child that is forked meanwhile would find it locked for ever.
            made = self._made.setdefault("stream", Stream())
        return made

    def manual_seed(self, seed: int) -> Generator:
        self._stream.manual_seed(seed)
        return self

    def seed(self) -> int:
        """Seed from the system's randomness; returns the seed."""
        return self._stream.seed()

    def initial_seed(self) -> int:
        return self._stream.initial_seed()

    def get_state(self) -> Tensor:
        return _from_numpy_copy(self._stream.get_state(), dtypes.uint8)

    def set_state(self, state: Tensor) -> None:
        self._stream.set_state(np.array(state._to_numpy()))


default_generator = Generator()


def _stream(generator: Generator | None) -> Stream:
    return (default_generator if generator is None else generator)._stream


def manual_seed(seed: int) -> Generator:
    """Seed the default generator; returns it."""
    return default_generator.manual_seed(int(seed))


def seed() -> int:
    """Seed the default generator from the system's randomness; returns the seed."""
    return default_generator.seed()


def initial_seed() -> int:
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The state of the default generator, as bytes."""
    return default_generator.get_state()


def set_rng_state(state: Tensor) -> None:
    default_generator.set_state(state)


def _float(dtype: Any) -> dtypes.dtype:
    d = dtype or dtypes.get_default_dtype()
    if d.category != dtypes.FLOATING:
        raise RuntimeError(f"random numbers of this distribution need a floating-point dtype, got {d}")
    return d


def _made(a: np.ndarray, shape: tuple, d: dtypes.dtype, requires_grad: bool = False, where: Any = None) -> Tensor:
    return _finish(_from_numpy_copy(a.reshape(shape), d), requires_grad, where)


def rand(
    *size: Any,
    generator: Any = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    **ignored: Any,
) -> Tensor:
    """Uniform numbers from [0, 1)."""
    where = devices.available(device)
    shape, d = _sizes((ignored["size"],) if "size" in ignored else size), _float(dtype)
    return _made(_stream(generator).uniform(numel(shape), d.np), shape, d, requires_grad, where)


def randn(
    *size: Any,
    generator: Any = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    **ignored: Any,
) -> Tensor:
    """Standard normal numbers."""
    where = devices.available(device)
    shape, d = _sizes((ignored["size"],) if "size" in ignored else size), _float(dtype)
    return _made(_stream(generator).normal(numel(shape), d.np), shape, d, requires_grad, where)


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
    a = _stream(generator).random_int(low, high, numel(shape), d.np)
    return _made(a, shape, d, requires_grad, where)


def randperm(
    n: int, *, generator: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False, **ignored: Any
) -> Tensor:
    """The integers 0 to n - 1 in random order."""
    where = devices.available(device)
    d = dtype or dtypes.int64
    return _made(_stream(generator).permutation(int(n)), (int(n),), d, requires_grad, where)


def normal(
    mean: Any = 0.0,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Any = None,
    dtype: Any = None,
    out: Any = None,
    **ignored: Any,
) -> Tensor:
    """Normal numbers; mean and std are numbers (with a size) or tensors."""
    if isinstance(mean, Tensor) or isinstance(std, Tensor):
        like = mean if isinstance(mean, Tensor) else std
        shape = like._shape
        if isinstance(mean, Tensor) and isinstance(std, Tensor):
            shape = dispatch.broadcast_shapes(mean._shape, std._shape)
        return randn(shape, generator=generator, dtype=like.dtype) * std + mean
    shape, d = _sizes((size,)), _float(dtype)
    return _made(_stream(generator).normal(numel(shape), d.np, float(mean), float(std)), shape, d)


def bernoulli(input: Tensor, p: float | None = None, *, generator: Any = None, out: Any = None) -> Tensor:
    """Ones with the probability that each element states (or p for all), else zeros."""
    if p is not None:
        return input.new_empty(input._shape).bernoulli_(p, generator=generator)
    a = input.detach()._to_numpy()
    if input.dtype.category != dtypes.FLOATING:
        raise RuntimeError(f"bernoulli(): expected a floating-point tensor of probabilities, got {input.dtype}")
    if a.size and not bool(((a >= 0) & (a <= 1)).all()):
        raise RuntimeError("Expected p_in >= 0 && p_in <= 1 to be true, but got false.")
    return _made(_stream(generator).bernoulli_array(a), a.shape, input.dtype, where=input.device)


def multinomial(input: Tensor, num_samples: int, replacement: bool = False, *, generator: Any = None) -> Tensor:
    """Indices drawn with the probabilities (up to a factor) in each row."""
    a = _stream(generator).multinomial(input.detach()._to_numpy(), num_samples, replacement)
    return _made(a, a.shape, dtypes.int64, where=input.device)


def poisson(input: Tensor, generator: Any = None) -> Tensor:
    """Poisson numbers with the given rates."""
    a = input.detach()._to_numpy()
    return _made(np.asarray(_stream(generator).poisson(a)), a.shape, input.dtype, where=input.device)


def rand_like(
    input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, **ignored: Any
) -> Tensor:
    where = device or input.device
    return rand(input._shape, dtype=dtype or input.dtype, device=where, requires_grad=requires_grad)


def randn_like(
    input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, **ignored: Any
) -> Tensor:
    where = device or input.device
    return randn(input._shape, dtype=dtype or input.dtype, device=where, requires_grad=requires_grad)


def randint_like(
    input: Tensor, low: int, high: int | None = None, *, dtype: Any = None, device: Any = None, **ignored: Any
) -> Tensor:
    if high is None:
        low, high = 0, low
    return randint(low, high, input._shape, dtype=dtype or input.dtype, device=device or input.device)


# --- in place ---------------------------------------------------------------------------------------------------


def _overwrite(t: Tensor, a: np.ndarray) -> Tensor:
    dispatch.check_in_place(t, MODE.grad)
    return dispatch.assign_result(t, _made(np.asarray(a), t._shape, t.dtype, where=t.device))


def uniform_(self: Tensor, a: float = 0.0, b: float = 1.0, *, generator: Any = None, **named: Any) -> Tensor:
    """Fill with uniform numbers from [a, b)."""
    a, b = named.get("from", a), named.get("to", b)
    if a > b:
        raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={a} > to={b}")
    _float(self.dtype)
    return _overwrite(self, _stream(generator).uniform(self.numel(), self.dtype.np, float(a), float(b)))


def normal_(self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> Tensor:
    """Fill with normal numbers."""
    if std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    _float(self.dtype)
    stream = _stream(generator)
    a = stream.normal(self.numel(), self.dtype.np, float(mean), float(std), contiguous=self.is_contiguous())
    return _overwrite(self, a)


def random_(
    self: Tensor, low: int | None = None, high: int | None = None, *, generator: Any = None, **named: Any
) -> Tensor:
    """Fill with integers: from [low, high), [0, low), or over the dtype's whole range."""
    low, high = named.get("from", low), named.get("to", high)
    stream, n, d = _stream(generator), self.numel(), self.dtype.np
    if low is None:
        return _overwrite(self, stream.random_full(n, d))
    if high is None:
        low, high = 0, low
    return _overwrite(self, stream.random_int(int(low), int(high), n, d))


def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Any = None) -> Tensor:
    """Fill with ones (probability p) and zeros."""
    stream = _stream(generator)
    if isinstance(p, Tensor):
        return _overwrite(self, stream.bernoulli_array(p.expand(self._shape)._to_numpy()).reshape(-1))
    if not 0 <= p <= 1:
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p}")
    return _overwrite(self, stream.bernoulli(float(p), self.numel()))


def exponential_(self: Tensor, lambd: float = 1.0, *, generator: Any = None) -> Tensor:
    """Fill with exponential numbers of rate lambd."""
    return _overwrite(self, _stream(generator).exponential(self.numel(), self.dtype.np, float(lambd)))


def cauchy_(self: Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Any = None) -> Tensor:
    """Fill with Cauchy numbers."""
    return _overwrite(self, _stream(generator).cauchy(self.numel(), self.dtype.np, median, sigma))


def log_normal_(self: Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Any = None) -> Tensor:
    """Fill with log-normal numbers."""
    return _overwrite(self, _stream(generator).log_normal(self.numel(), self.dtype.np, mean, std))


def geometric_(self: Tensor, p: float, *, generator: Any = None) -> Tensor:
    """Fill with geometric numbers."""
    return _overwrite(self, _stream(generator).geometric(self.numel(), self.dtype.np, p))


for _method in (uniform_, normal_, random_, bernoulli_, exponential_, cauchy_, log_normal_, geometric_):
    setattr(Tensor, _method.__name__, _method)
Tensor.bernoulli = bernoulli  # type: ignore[attr-defined]
Tensor.multinomial = multinomial  # type: ignore[attr-defined]


class fork_rng:
    """Context manager: what is drawn inside does not change the stream outside."""

    def __init__(self, devices: Any = None, enabled: bool = True):
        self.enabled = enabled

    def __enter__(self) -> None:
        if self.enabled:
            self.state = default_generator._stream.get_state()

    def __exit__(self, *exc: Any) -> None:
        if self.enabled:
            default_generator._stream.set_state(self.state)
