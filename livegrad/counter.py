"""The state of a counter-based stream of random numbers, and what is drawn from it besides plain distributions.

The state is a seed and how many draws there were. What a draw gives is `livegrad.ops.philox`'s business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from . import devices, dtypes
from .lazy import backend
from .lazy.value import Value
from .llvm import service

if TYPE_CHECKING:
    from .ops.philox import Draw

STATE_BYTES = 16
_MASK64 = (1 << 64) - 1


class Counter:
    """A seed and the number of the next draw."""

    def __init__(self, seed: int):
        self.manual_seed(seed)

    def manual_seed(self, seed: int) -> None:
        """Start again from `seed`: 64 bits, negative numbers as two's complement."""
        if not -(2**63) <= seed < 2**64:
            raise RuntimeError("Overflow when unpacking long long")
        self.initial = seed & _MASK64
        self.number = 0

    def seed(self) -> int:
        """Start again from a seed nobody chose, and return it."""
        from secrets import randbits

        self.manual_seed(randbits(53))
        return self.initial

    def get_state(self) -> np.ndarray:
        """Seed and number, 16 bytes: as PyTorch's states of CUDA generators."""
        return np.frombuffer(np.array([self.initial, self.number], "<u8").tobytes(), np.uint8).copy()

    def set_state(self, state: np.ndarray) -> None:
        """Raises what PyTorch raises for something that is no such state."""
        if state.dtype != np.uint8:
            raise TypeError("RNG state must be a torch.ByteTensor")
        if state.size != STATE_BYTES:
            raise RuntimeError("RNG state is wrong size")
        self.initial, self.number = (int(x) for x in np.ascontiguousarray(state).reshape(-1).view("<u8"))

    def draw(self, shape: tuple, device: devices.device) -> Draw:
        """The next draw."""
        service.load("livegrad.ops.philox")
        from .ops.philox import Draw

        number = self.number
        self.number = (number + 1) & _MASK64
        return Draw(self.initial, number, shape, device)

    # --- what takes more than a formula -------------------------------------------------------------------------

    def permutation(self, n: int, device: devices.device) -> Value:
        """The numbers below n, sorted by random bits."""
        if n < 0:
            raise RuntimeError(f"n must be non-negative, got {n}")
        keys = self.draw((n,), device).bits()
        return backend.through(backend.of(keys).argsort, keys, kind="stable")

    def units(self, shape: tuple) -> np.ndarray:
        """float64 numbers from [0, 1), on the CPU."""
        return self.draw(shape, devices.cpu).uniform(dtypes.float64).native()

    def multinomial(self, probabilities: np.ndarray, count: int, replacement: bool) -> np.ndarray:
        """On the CPU: `sampling.Stream.multinomial` with these numbers."""
        from .sampling import Stream

        counter = self

        class Drawn(Stream):
            def _unit64(self, n: int) -> np.ndarray:
                return counter.units((n,)).copy()

        return Drawn().multinomial(probabilities, count, replacement)

    def poisson(self, rates: np.ndarray) -> np.ndarray:
        """On the CPU, by rejection."""
        from .sampling import rejection

        return self._by_need(rejection.poisson, rates)

    def binomial(self, counts: np.ndarray, probs: np.ndarray) -> np.ndarray:
        """On the CPU, by rejection, for arrays of one shape."""
        from .sampling import rejection

        return self._by_need(rejection.binomial, counts, probs)

    def _by_need(self, draw: Callable, *parameters: np.ndarray) -> np.ndarray:
        """``draw(*parameters, uniform)`` of each element, which takes its numbers from as many draws as it needs."""
        drawn: list[list[float]] = []
        like = parameters[-1]

        def numbers(i: int) -> Iterator[float]:
            for k in range(1 << 30):
                if k == len(drawn):
                    drawn.append(self.units((like.size,)).tolist())
                yield drawn[k][i]

        each = zip(*(p.astype(np.float64).ravel().tolist() for p in parameters))
        made = [draw(*given, numbers(i).__next__) for i, given in enumerate(each)]
        return np.array(made, np.float64).reshape(like.shape).astype(like.dtype)


def of_any_dtype(draw: Draw, d: Any) -> Value:
    """Integers from 0 to the greatest of a dtype, or to the last up to which a floating-point one counts exactly."""
    if d.category == dtypes.FLOATING:
        digits = {dtypes.float16: 11, dtypes.bfloat16: 8, dtypes.float32: 24, dtypes.float64: 53}[d]
        return draw.integers(0, (1 << digits) + 1, d)
    return draw.integers(0, 2 if d is dtypes.bool_ else dtypes.iinfo(d).max + 1, d)
