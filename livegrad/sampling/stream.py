"""Every distribution of PyTorch's CPU generator, over the words of one engine.

A float32 uniform takes the low 24 bits of one word; a float64 uniform the low 53 bits of two (the first word is the
high one).  Half types are made from float32 and rounded.  Where PyTorch's kernel works in float64 whatever the dtype
(bernoulli, exponential, geometric, cauchy, log_normal, short normals), so does this.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterator

import ml_dtypes
import numpy as np
from numpy.typing import DTypeLike

from livegrad.native import hot
from livegrad.runtime.few import place_of_extreme
from livegrad.sampling import boxmuller, compiled, direct, libm, rejection, twister
from livegrad.sampling.engine import Engine
from livegrad.sampling.fused import fma64

DEFAULT_SEED = 67280421310721

_U32 = np.uint64(32)
_F32, _F64 = np.dtype(np.float32), np.dtype(np.float64)
_DIGITS = {
    np.dtype(np.float16): 11,
    np.dtype(ml_dtypes.bfloat16): 8,
    _F32: 24,
    _F64: 53,
}
_WIDE_RANGE = 1 << 28  # integer ranges from here on take 64 bits per number
_LONG_PERMUTATION = (2**32 - 1) // 20  # and permutations of this length
_MASK64 = 2**64 - 1
_LARGE = 1e38  # bounds beyond which float32 may be left
_MANY = 1 << 14  # draws that are worth loops of their own


_FEW = 16  # the largest of a row, looked for one after the other, cost less than to sort it


def _largest(rows: np.ndarray, count: int) -> np.ndarray:
    """The places of the largest numbers of each row, in order; of equal ones the first. No number is negative."""
    found, lines = np.empty((len(rows), count), np.int64), np.arange(len(rows))
    for k in range(count):
        found[:, k] = places = rows.argmax(-1)
        rows[lines, places] = -1
    return found


class Stream:
    """The state behind a CPU generator: `torch.Generator`'s methods, and the draws made with it."""

    def __init__(self, seed: int = DEFAULT_SEED) -> None:
        self._engine = Engine(_seed64(seed))
        self._waiting: list[float] = []  # the second normal of a pair, which one call alone may take: hence a list

    # ---- seed and state ----

    def manual_seed(self, seed: int) -> Stream:
        """Start again from `seed`: 64 bits, negative numbers as two's complement."""
        self._engine.reseed(_seed64(seed))
        self._waiting = []
        return self

    def seed(self) -> int:
        """Start again from a seed nobody chose, and return it."""
        seed = secrets.randbits(53)
        self.manual_seed(seed)
        return seed

    def initial_seed(self) -> int:
        return self._engine.seed

    @hot
    def get_state(self) -> np.ndarray:
        """The state as PyTorch's `get_state` gives it: 5056 bytes."""
        waiting = self._waiting[:1]
        return self._engine.to_bytes(waiting[0] if waiting else None)

    def set_state(self, state: np.ndarray) -> None:
        cached = self._engine.from_bytes(state)
        self._waiting = [] if cached is None else [cached]

    def _taken(self) -> list[float]:
        """The number that waits, if there is one, for the caller alone: other threads may draw from the same stream."""
        try:
            return [self._waiting.pop()]
        except IndexError:
            return []

    def clone(self) -> Stream:
        copy = Stream(0)
        copy.set_state(self.get_state())
        return copy

    def __reduce__(self) -> tuple:
        return _restore, (self.get_state(),)

    # ---- straight into memory ----

    @hot
    def fill_uniform(self, out: int, n: int, low: float = 0.0, high: float = 1.0) -> bool:
        """`uniform` of float32 into the memory at an address; False, with nothing done, without a compiler.

        A process that draws little does not compile: see `compiled.worth_it`.
        """
        if n == 0 or not low <= high or high > _LARGE or low < -_LARGE or not direct.ready(n):
            return False
        width = 1.0 if low == 0 and high == 1 else float(np.float32(high) - np.float32(low))
        self._engine.fill_uniform(out, n, low, width, high)
        return True

    @hot
    def fill_normal(self, out: int, n: int, mean: float, std: float) -> bool:
        """`normal` of float32, of 16 numbers and more, likewise."""
        if n < 16 or not std >= 0 or not direct.ready(n):
            return False
        self._engine.fill_normal(out, n, mean, std)
        return True

    @hot
    def fill_mask(self, out: int, n: int, p: float, value: float) -> bool:
        """`value` with probability p, else 0, as float32: what `bernoulli` draws."""
        if n == 0 or not 0 <= p <= 1 or not direct.ready(n):
            return False
        self._engine.fill_mask(out, n, math.ceil(p * 2.0**53), value)
        return True

    # ---- bits and uniforms ----

    @hot
    def words64(self, n: int) -> np.ndarray:
        """`n` numbers of 64 bits, two words each, the high one first."""
        if n < 1024:
            words = self._engine.take(2 * n)
            return words[0::2] << _U32 | words[1::2]
        pairs = self._engine.take32(2 * n).astype("<u4", copy=False).view("<u8").astype(np.uint64, copy=False)
        out = pairs >> _U32
        pairs <<= _U32
        out |= pairs
        return out

    @hot
    def _bits53(self, n: int) -> np.ndarray:
        bits = self.words64(n)
        bits &= np.uint64(2**53 - 1)
        return bits.view(np.int64)

    @hot
    def _unit64(self, n: int) -> np.ndarray:
        unit = self._bits53(n).astype(np.float64)
        unit *= 2.0**-53
        return unit

    @hot
    def _unit32(self, n: int) -> np.ndarray:
        words = self._engine.take32(n)
        words &= np.uint32(0xFFFFFF)
        unit = words.view(np.int32).astype(np.float32)
        unit *= np.float32(2.0**-24)
        return unit

    def uniform(self, n: int, dtype: DTypeLike = np.float32, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        """`rand`, `uniform_`: from `low` up to but not including `high`."""
        dtype = np.dtype(dtype)
        if not low <= high:
            raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={low} > to={high}")
        standard = low == 0 and high == 1
        if dtype == _F64:
            x = self._unit64(n)
            if standard:
                return x
            x = fma64(x, high - low, low)
        else:
            x = self._unit32(n)
            if not standard:
                start = float(np.float32(low))
                wide = x.astype(np.float64)  # the kernel fuses the product and the sum
                wide *= float(np.float32(high) - np.float32(low))
                wide += start
                x = wide.astype(np.float32)
            elif dtype == _F32:
                return x
            x = x.astype(dtype, copy=False)
        top = dtype.type(high)
        if n and x.max() == top:  # rounded up
            x[x == top] = low
        return x

    # ---- normals ----

    def normal(
        self, n: int, dtype: DTypeLike = np.float32, mean: float = 0.0, std: float = 1.0, contiguous: bool = True
    ) -> np.ndarray:
        """`randn`, `normal_`.  A tensor that is not contiguous takes the one-at-a-time path whatever its size."""
        dtype = np.dtype(dtype)
        if not std >= 0:
            raise RuntimeError(f"normal expects std >= 0.0, but found std {std:g}")
        if n < 16 or not contiguous:
            return _cast(fma64(self._normals(n), std, mean), dtype)
        whole, rest = n - n % 16, n % 16
        if dtype == _F64:
            out = np.empty(n)
            boxmuller.fill64(self._unit64(n)[:whole], out[:whole], mean, std)
            if rest:
                boxmuller.fill64(self._unit64(16), out[n - 16 :], mean, std)
            return out
        out = np.empty(n, np.float32)
        # The float32 kernel draws for every element and then makes the last sixteen anew; the half kernel draws blocks.
        words = self._engine.take(n if dtype == _F32 else whole)
        boxmuller.fill32(words[:whole], out[:whole], mean, std)
        if rest:
            boxmuller.fill32(self._engine.take(16), out[n - 16 :], mean, std)
        return out.astype(dtype, copy=False)

    @hot
    def few_uniforms(self, n: int, digits: int) -> list[float]:
        """`uniform` of [0, 1) for a few numbers, without NumPy's overhead. digits: 24 (float32) or 53 (float64)."""
        if digits == 24:
            return [(word & 0xFFFFFF) * 2.0**-24 for word in self._engine.take(n).tolist()]
        words = self._engine.take(2 * n).tolist()
        return [((words[i] & 0x1FFFFF) << 32 | words[i + 1]) * 2.0**-53 for i in range(0, 2 * n, 2)]

    @hot
    def few_normals(self, n: int) -> list[float]:
        """`normal` for fewer than 16 numbers, in float64, without NumPy's overhead."""
        out = self._taken() if n and self._waiting else []
        if len(out) < n:
            out += _pairs(self._engine.take(4 * ((n - len(out) + 1) // 2)).tolist())
            if len(out) > n:
                self._waiting = [out.pop()]
        return out

    @hot
    def few_integers(self, n: int, low: int, high: int) -> list[int] | None:
        """`random_int` for a few integers, without NumPy's overhead; None where the range is wide."""
        span = high - low
        if span >= _WIDE_RANGE:
            return None
        return [word % span + low for word in self._engine.take(n).tolist()]

    @hot
    def few_places(self, weights: list[float], columns: int, single: bool) -> list[int]:
        """`multinomial` of one sample a row, for a few weights that are known to be fine, without NumPy's overhead.

        single: whether they are float32.
        """
        n = len(weights)
        waits = [-math.log1p(-u) for u in self.few_uniforms(n, 53)]
        race = [w / wait if wait else w * math.inf for w, wait in zip(weights, _singles(waits) if single else waits)]
        if single:
            race = _singles(race)
        return [place_of_extreme(race[row : row + columns], True) for row in range(0, n, columns)]

    def _normals(self, n: int) -> np.ndarray:
        """Standard normals in float64, one by one: pairs by Box and Muller, the second of which may wait for a later
        call."""
        if n < 16:
            return np.array(self.few_normals(n))
        out = np.empty(n)
        start = 0
        for waiting in self._taken():
            out[0], start = waiting, 1
        pairs = (n - start + 1) // 2
        unit = self._unit64(2 * pairs)
        radius = np.sqrt(-2.0 * libm.log1p(-unit[1::2]))
        theta = (2.0 * math.pi) * unit[0::2]
        z = np.empty(2 * pairs)
        z[0::2] = radius * libm.cos(theta)
        z[1::2] = radius * libm.sin(theta)
        out[start:] = z[: n - start]
        if (n - start) % 2:
            self._waiting = [float(z[-1])]
        return out

    def log_normal(self, n: int, dtype: DTypeLike = np.float32, mean: float = 1.0, std: float = 2.0) -> np.ndarray:
        if not std > 0:
            raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std:g}")
        return _cast(libm.exp(fma64(self._normals(n), std, mean)), dtype)

    # ---- integers ----

    def random_int(self, low: int, high: int | None, n: int, np_dtype: DTypeLike = np.int64) -> np.ndarray:
        """`randint`, `random_(low, high)`: from `low` up to but not including `high`; to the dtype's end if None."""
        dtype = np.dtype(np_dtype)
        floating = dtype in _DIGITS
        if high is None:
            if low == -(2**63):
                return _from_int64(self.words64(n).view(np.int64), dtype)
            top = 1 << _DIGITS[dtype] if floating else 1 if dtype == np.bool_ else int(np.iinfo(dtype).max)
            low = _first_held(low, dtype) if floating else low
            span = top - low + 1
        else:
            if not low < high:
                raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
            if floating:
                low, high = _first_held(low, dtype), _last_held(high, dtype)
            span = high - low
        if not n:
            return np.empty(0, dtype)
        if span >= _WIDE_RANGE:
            span &= _MASK64
            value = self.words64(n)
            if span:
                value %= np.uint64(span)
            value = value.view(np.int64)
        else:
            words = self._engine.take32(n)
            quotient = words // np.uint32(span)
            quotient *= np.uint32(span)
            words -= quotient
            if low == 0 and dtype.kind in "iu":
                return words.astype(dtype)
            value = words.astype(np.int64)
        if low:
            value += np.int64(low)
        return _from_int64(value, dtype)

    def random_full(self, n: int, np_dtype: DTypeLike = np.int64) -> np.ndarray:
        """`random_()` without bounds: all non-negative integers of the dtype, or those a float type counts exactly."""
        dtype = np.dtype(np_dtype)
        if dtype == np.int64:
            return (self.words64(n) & np.uint64(2**63 - 1)).view(np.int64)
        if dtype == _F64:
            return (self.words64(n) % np.uint64(2**53 + 1)).astype(np.float64)
        words = self._engine.take(n)
        if dtype in _DIGITS:
            return _from_int64((words % np.uint64((1 << _DIGITS[dtype]) + 1)).view(np.int64), dtype)
        top = 1 if dtype == np.bool_ else int(np.iinfo(dtype).max)
        return (words & np.uint64(top)).astype(dtype)

    def draw_seed(self) -> int:
        """One `torch.empty((), dtype=torch.int64).random_()`: how samplers and loaders take a seed."""
        return int(self.random_full(1, np.int64)[0])

    @hot
    def permutation(self, n: int) -> np.ndarray:
        """`randperm`."""
        if n < 0:
            raise RuntimeError(f"Trying to create tensor with negative dimension {n}: [{n}]")
        if n >= _LONG_PERMUTATION:
            return self._long_permutation(n)
        words = self._engine.take(max(n - 1, 0))
        if compiled.worth_it(n):
            out = np.arange(n)
            if compiled.shuffle(words, out):
                return out
        steps = (words % np.arange(n, 1, -1, dtype=np.uint64)).tolist()
        order = list(range(n))
        for i, step in enumerate(steps):
            j = i + step
            order[i], order[j] = order[j], order[i]
        return np.array(order, np.int64)

    def _long_permutation(self, n: int, chunk: int = 1 << 20) -> np.ndarray:
        """The shuffle that fills as it goes, with 64 bits a step."""
        out = np.empty(n, np.int64)
        for start in range(0, n, chunk):
            places = np.arange(start, min(start + chunk, n), dtype=np.int64)
            targets = (self.words64(len(places)) % (places + 1).view(np.uint64)).tolist()
            for i, j in enumerate(targets, start):
                out[i] = out[j]
                out[j] = i
        return out

    # ---- other distributions ----

    def bernoulli(self, p: float, n: int, np_dtype: DTypeLike = np.bool_) -> np.ndarray:
        """`bernoulli_(p)`: ones with probability `p`; what dropout draws."""
        if not 0 <= p <= 1:
            raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p:g}")
        limit = math.ceil(p * 2.0**53)
        if n >= _MANY:
            words = self._engine.take32(2 * n)
            hits = twister.below(words, limit)
            if hits is None:
                pairs = words.reshape(-1, 2).astype(np.uint64)
                hits = ((pairs[:, 0] & np.uint64(2**21 - 1)) << _U32 | pairs[:, 1]) < limit
        else:
            hits = self._bits53(n) < limit
        return hits.astype(np_dtype, copy=False)

    def bernoulli_array(self, p: np.ndarray, np_dtype: DTypeLike = np.bool_) -> np.ndarray:
        """`bernoulli(tensor)`: ones with a probability for each element, in the shape of `p`."""
        p = np.asarray(p)
        if p.dtype == _F64:
            hits = self._unit64(p.size).reshape(p.shape) < p
        else:
            hits = self._unit32(p.size).reshape(p.shape) < p.astype(np.float32, copy=False)
        if not ((p >= 0) & (p <= 1)).all():
            raise RuntimeError("Expected p_in >= 0 && p_in <= 1 to be true, but got false.")
        return hits.astype(np_dtype, copy=False)

    def exponential(self, n: int, dtype: DTypeLike = np.float32, lambd: float = 1.0) -> np.ndarray:
        if not lambd > 0:
            raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd:g}")
        x = self._unit64(n)
        x = libm.log1p(np.negative(x, out=x))
        x *= -1.0 / lambd
        return _cast(x, dtype)

    def geometric(self, n: int, dtype: DTypeLike = np.float32, p: float = 0.5) -> np.ndarray:
        if not 0 < p < 1:
            raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p:g}")
        with np.errstate(divide="ignore", invalid="ignore"):
            x = libm.log(self._unit64(n))
            x /= math.log1p(-p)
            return _cast(np.ceil(x), dtype)

    def cauchy(self, n: int, dtype: DTypeLike = np.float32, median: float = 0.0, sigma: float = 1.0) -> np.ndarray:
        if not sigma > 0:
            raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma:g}")
        return _cast(fma64(libm.tan(math.pi * (self._unit64(n) - 0.5)), sigma, median), dtype)

    @hot
    def multinomial(self, probs: np.ndarray, num_samples: int, replacement: bool = False) -> np.ndarray:
        """Indices drawn by the weights in the last dimension of `probs` (one or two dimensions)."""
        probs = np.asarray(probs)
        if probs.ndim not in (1, 2):
            raise RuntimeError("prob_dist must be 1 or 2 dim")
        if num_samples <= 0:
            raise RuntimeError("cannot sample n_sample <= 0 samples")
        if not replacement and num_samples > probs.shape[-1]:
            raise RuntimeError("cannot sample n_sample > prob_dist.size(-1) samples without replacement")
        rows = probs.reshape(-1, probs.shape[-1])
        wide = rows.astype(np.float64)
        if not (np.isfinite(wide) & (wide >= 0)).all():
            raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
        if not (wide.sum(-1) > 0).all():
            raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
        draw = self._with_replacement if replacement and num_samples > 1 else self._without_replacement
        return draw(rows, num_samples).reshape(*probs.shape[:-1], num_samples)

    def _with_replacement(self, rows: np.ndarray, num_samples: int) -> np.ndarray:
        work = _F64 if rows.dtype == _F64 else _F32
        total = np.add.accumulate(rows.astype(work, copy=False), axis=-1, dtype=work)
        total /= total[:, -1:].copy()
        total[:, -1] = 1
        unit = self._unit64(len(rows) * num_samples).reshape(len(rows), num_samples)
        total = total.astype(np.float64, copy=False)
        return np.array([np.searchsorted(t, u) for t, u in zip(total, unit)], np.int64).reshape(unit.shape)

    def _without_replacement(self, rows: np.ndarray, num_samples: int) -> np.ndarray:
        """The largest of weight over exponential (the Gumbel trick without its logarithms)."""
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            race = rows / self.exponential(rows.size, rows.dtype).reshape(rows.shape)
        if num_samples == 1:
            return race.argmax(-1).reshape(-1, 1)
        if num_samples <= _FEW and not np.isnan(race).any():
            return _largest(race, num_samples)
        return np.argsort(-race, axis=-1, kind="stable")[:, :num_samples].copy()

    def poisson(self, rates: np.ndarray) -> np.ndarray:
        """Counts with a rate for each element, in the shape and dtype of `rates`.  Element by element in Python."""
        rates = np.asarray(rates)
        flat = rates.astype(np.float64).ravel().tolist()
        counts = self._draw_by_need(lambda uniform: [rejection.poisson(rate, uniform) for rate in flat])
        return np.array(counts, np.float64).reshape(rates.shape).astype(rates.dtype)

    def binomial(self, counts: np.ndarray, probs: np.ndarray) -> np.ndarray:
        """How many of `counts` trials succeed with `probs`, arrays of one shape, in the dtype of `probs`."""
        pairs = list(zip(counts.astype(np.float64).ravel().tolist(), probs.astype(np.float64).ravel().tolist()))
        made = self._draw_by_need(lambda uniform: [rejection.binomial(n, p, uniform) for n, p in pairs])
        return np.array(made, np.float64).reshape(probs.shape).astype(probs.dtype)

    def _draw_by_need(self, use: Callable[[rejection.Uniform], list], chunk: int = 1024) -> list:
        """Call `use` with a source of float64 uniforms, and leave the stream where the source was left."""
        place, drawn = self._engine.place(), 0

        def supply() -> Iterator[float]:
            nonlocal drawn
            while True:
                for unit in self._unit64(chunk).tolist():
                    drawn += 1
                    yield unit

        try:
            return use(supply().__next__)
        finally:
            self._engine.replay(place, 2 * drawn)


def _restore(state: np.ndarray) -> Stream:
    stream = Stream(0)
    stream.set_state(state)
    return stream


def _seed64(seed: int) -> int:
    seed = int(seed)
    if not -(2**63) <= seed < 2**64:
        raise ValueError("Overflow when unpacking long long")
    return seed & _MASK64


@hot
def _pairs(words: list[int]) -> list[float]:
    """Pairs of normals, each from two float64 uniforms: four words."""
    out = []
    for i in range(0, len(words), 4):
        h1, l1, h2, l2 = words[i : i + 4]
        u1, u2 = ((h1 & 0x1FFFFF) << 32 | l1) * 2.0**-53, ((h2 & 0x1FFFFF) << 32 | l2) * 2.0**-53
        radius = math.sqrt(-2.0 * math.log1p(-u2))
        theta = 2.0 * math.pi * u1
        out += (radius * math.cos(theta), radius * math.sin(theta))
    return out


def _singles(numbers: list[float]) -> list[float]:
    """Numbers rounded to float32."""
    return np.array(numbers, np.float32).tolist()


def _cast(x: np.ndarray, dtype: DTypeLike) -> np.ndarray:
    """From float64 to `dtype`; to half types by way of float32."""
    dtype = np.dtype(dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        if dtype.itemsize == 2 and dtype in _DIGITS:
            x = x.astype(np.float32)
        return x.astype(dtype, copy=False)


def _from_int64(value: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if dtype.itemsize == 2 and dtype in _DIGITS:
        value = value.astype(np.float32)  # half types are rounded from float32
    return value.astype(dtype, copy=False)


def _held(value: int, dtype: np.dtype) -> int:
    return int(_from_int64(np.array([value]), dtype)[0])


def _first_held(low: int, dtype: np.dtype) -> int:
    """The least bound from `low` up whose successor does not round below it."""
    after = _held(low + 1, dtype)
    if after < low:
        low = after + (1 << (abs(low + 1).bit_length() - _DIGITS[dtype]))
    return low


def _last_held(high: int, dtype: np.dtype) -> int:
    """The greatest bound up to `high` whose predecessor does not round up to it."""
    before = _held(high - 1, dtype)
    if before >= high:
        high = before - (1 << (abs(high - 1).bit_length() - _DIGITS[dtype]))
    return high
