"""Filling tensors with random numbers, in place."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from ..autograd.mode import MODE
from ..counter import of_any_dtype
from ..lazy.value import Value
from ..native import hot
from ..observe import WATCH
from ..ops import writes
from ..ops.batch_loops import filled
from ..tensor import Tensor, wrap
from .draws import few_of, floating, made_of, numbers_of
from .generators import Generator, draw_of, stream_of

if TYPE_CHECKING:
    from ..ops.philox import Draw


@hot
def _overwrite(t: Tensor, a: np.ndarray | Value) -> Tensor:
    writes.check_in_place(t, MODE.grad)
    return writes.assign_result(t, wrap(a) if isinstance(a, Value) else made_of(np.asarray(a), t._shape, t.dtype))


@hot
def _draw_into(t: Tensor, generator: Generator | None) -> Draw | None:
    return draw_of(generator, t.device, t._shape)


@hot
def uniform_(self: Tensor, a: float = 0.0, b: float = 1.0, *, generator: Any = None, **named: Any) -> Tensor:
    """Fill with uniform numbers from [a, b)."""
    a, b = named.get("from", a), named.get("to", b)
    if a > b:
        raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={a} > to={b}")
    floating(self.dtype)
    draw = _draw_into(self, generator)
    if draw is not None:
        return _overwrite(self, draw.uniform(self.dtype, float(a), float(b)))
    few = few_of(generator, self._shape, self.dtype, False) if a == 0 and b == 1 else None
    if few is not None:
        return _overwrite(self, few._value())
    return _overwrite(self, numbers_of(generator, self._shape, self.dtype, False, float(a), float(b))._value())


@hot
def normal_(self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> Tensor:
    """Fill with normal numbers."""
    if std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    floating(self.dtype)
    draw = _draw_into(self, generator)
    if draw is not None:
        return _overwrite(self, draw.normal(self.dtype, float(mean), float(std)))
    few = few_of(generator, self._shape, self.dtype, True) if mean == 0 and std == 1 else None
    if few is not None:
        return _overwrite(self, few._value())
    if self.is_contiguous():
        return _overwrite(self, numbers_of(generator, self._shape, self.dtype, True, float(mean), float(std))._value())
    stream = stream_of(generator)
    return _overwrite(self, stream.normal(self.numel(), self.dtype.np, float(mean), float(std), contiguous=False))


def random_(
    self: Tensor, low: int | None = None, high: int | None = None, *, generator: Any = None, **named: Any
) -> Tensor:
    """Fill with integers: from [low, high), [0, low), or over the dtype's whole range."""
    low, high = named.get("from", low), named.get("to", high)
    draw = _draw_into(self, generator)
    if low is None:
        if draw is not None:
            return _overwrite(self, of_any_dtype(draw, self.dtype))
        return _overwrite(self, stream_of(generator).random_full(self.numel(), self.dtype.np))
    if high is None:
        low, high = 0, low
    if draw is not None:
        if low >= high:
            raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
        return _overwrite(self, draw.integers(int(low), int(high), self.dtype))
    stream, n, d = stream_of(generator), self.numel(), self.dtype.np
    return _overwrite(self, stream.random_int(int(low), int(high), n, d))


@hot
def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Any = None) -> Tensor:
    """Fill with ones (probability p) and zeros."""
    if not isinstance(p, Tensor) and not 0 <= p <= 1:
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p}")
    draw = _draw_into(self, generator)
    if isinstance(p, Tensor):
        p = p.expand(self._shape)
        if draw is not None:
            return _overwrite(self, draw.bernoulli_of(p._value(), self.dtype))
        return _overwrite(self, stream_of(generator).bernoulli_array(p._to_numpy()).reshape(-1))
    if draw is not None:
        return _overwrite(self, draw.bernoulli(float(p), self.dtype))
    return _overwrite(self, stream_of(generator).bernoulli(float(p), self.numel()))


def exponential_(self: Tensor, lambd: float = 1.0, *, generator: Any = None) -> Tensor:
    """Fill with exponential numbers of rate lambd."""
    if not lambd > 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd:g}")
    draw = _draw_into(self, generator)
    if draw is not None:
        return _overwrite(self, draw.exponential(floating(self.dtype), float(lambd)))
    return _overwrite(self, stream_of(generator).exponential(self.numel(), self.dtype.np, float(lambd)))


def cauchy_(self: Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Any = None) -> Tensor:
    """Fill with Cauchy numbers."""
    if not sigma > 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma:g}")
    draw = _draw_into(self, generator)
    if draw is not None:
        return _overwrite(self, draw.cauchy(floating(self.dtype), float(median), float(sigma)))
    return _overwrite(self, stream_of(generator).cauchy(self.numel(), self.dtype.np, median, sigma))


def log_normal_(self: Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Any = None) -> Tensor:
    """Fill with log-normal numbers."""
    if not std > 0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std:g}")
    draw = _draw_into(self, generator)
    if draw is not None:
        return _overwrite(self, draw.log_normal(floating(self.dtype), float(mean), float(std)))
    return _overwrite(self, stream_of(generator).log_normal(self.numel(), self.dtype.np, mean, std))


def geometric_(self: Tensor, p: float, *, generator: Any = None) -> Tensor:
    """Fill with geometric numbers."""
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p:g}")
    draw = _draw_into(self, generator)
    if draw is not None:
        return _overwrite(self, draw.geometric(self.dtype, float(p)))
    return _overwrite(self, stream_of(generator).geometric(self.numel(), self.dtype.np, p))


def _fills(f: Any) -> Any:
    """A method that fills batches as well."""

    @functools.wraps(f)
    @hot
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if WATCH.batcher is not None:
            return filled(f, self, args, kwargs)
        return f(self, *args, **kwargs)

    return method


for _method in (uniform_, normal_, random_, bernoulli_, exponential_, cauchy_, log_normal_, geometric_):
    setattr(Tensor, _method.__name__, _fills(_method))
