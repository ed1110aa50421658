"""The 32-bit words under everything: MT19937 as PyTorch seeds it and saves it.

The generator is Matsumoto and Nishimura's (2002); NumPy has it, with the same seeding by one 32-bit number (Knuth's
multiplier 1812433253) that PyTorch uses.  PyTorch keeps the seed as 64 bits but feeds only the low 32 to the generator.
"""

from __future__ import annotations

import os
import weakref

import numpy as np

from livegrad.native import hot
from livegrad.runtime.raw import peek
from livegrad.sampling import direct, twister

_N = 624

# PyTorch's saved state: what its older library kept (64 bits for each 32-bit word), followed by a float cache that is
# never filled on the CPU.
_STATE = np.dtype(
    {
        "names": ["seed", "left", "seeded", "next", "key", "x", "y", "rho", "valid", "float_y", "float_valid"],
        "formats": ["u8", "i4", "i4", "u8", ("u8", _N), "f8", "f8", "f8", "i4", "f4", "u1"],
        "offsets": [0, 8, 12, 16, 24, 5016, 5024, 5032, 5040, 5048, 5052],
        "itemsize": 5056,
    }
)
STATE_BYTES = _STATE.itemsize


class _Unseeded(np.random.bit_generator.ISeedSequence):
    """In place of the hash that NumPy seeds with, which costs more than all the rest of making a generator."""

    def generate_state(self, n_words: int, dtype: type = np.uint32) -> np.ndarray:
        return np.ones(n_words, dtype)


# NumPy locks a generator while it draws. A child that is forked by another thread meanwhile would wait for ever.
_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


def _unlock() -> None:
    for engine in list(_engines):
        engine._bits.lock._at_fork_reinit()  # type: ignore[attr-defined]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock)


class Engine:
    """A seeded sequence of 32-bit words."""

    def __init__(self, seed: int) -> None:
        self._bits = np.random.MT19937(_Unseeded())
        self._legacy = np.random.RandomState(self._bits)  # its `seed` is the 2002 seeding
        self._raw = self._bits.random_raw
        self._lock = self._bits.lock
        self._state = self._bits.ctypes.state_address
        _engines.add(self)
        self.reseed(seed)

    def reseed(self, seed: int) -> None:
        self.seed = seed
        self._legacy.seed(seed & 0xFFFFFFFF)
        self._fresh = True  # nothing drawn since: PyTorch saves such a state unlike a used-up one

    @hot
    def take(self, n: int) -> np.ndarray:
        """The next `n` words, as uint64."""
        if n:
            self._fresh = False
        return self._raw(n)

    @hot
    def take32(self, n: int) -> np.ndarray:
        """The next `n` words, as uint32: faster for many."""
        if n:
            self._fresh = False
        made = twister.words(self._bits, n)
        return self._raw(n).astype(np.uint32) if made is None else made

    @hot
    def fill_uniform(self, out: int, n: int, low: float, width: float, high: float) -> None:
        """Fill memory with float32 numbers from [low, high); only where `direct.ready` says so, like what follows."""
        self._fresh = False
        with self._lock:
            direct.uniform(self._state, out, n, low, width, high)

    @hot
    def fill_normal(self, out: int, n: int, mean: float, std: float) -> None:
        self._fresh = False
        with self._lock:
            direct.normal(self._state, out, n, mean, std)

    @hot
    def fill_mask(self, out: int, n: int, limit: int, value: float) -> None:
        self._fresh = False
        with self._lock:
            direct.mask(self._state, out, n, limit, value)

    def place(self) -> tuple[object, bool]:
        """The place in the sequence, for `replay`."""
        return self._bits.state, self._fresh

    def replay(self, place: tuple[object, bool], n: int) -> None:
        """Go back to `place` and then `n` words on."""
        self._bits.state, fresh = place
        self._fresh = fresh and n == 0
        self._raw(n, False)

    def to_bytes(self, cached: float | None) -> np.ndarray:
        """The state as PyTorch saves it, with the scalar normal's second value if one is waiting."""
        words = np.frombuffer(peek(self._state, 4 * (_N + 1)), np.uint32)  # NumPy's `state` takes ten times as long
        key, used = words[:_N], int(words[_N])
        saved = np.zeros((), _STATE)
        saved["seed"], saved["seeded"], saved["key"] = self.seed, 1, key
        saved["left"], saved["next"] = (1, 0) if self._fresh else (_N + 1 - used, used)
        if cached is not None:
            saved["valid"], saved["y"] = 1, cached
        return np.frombuffer(saved.tobytes(), np.uint8).copy()

    def from_bytes(self, data: np.ndarray) -> float | None:
        """Take up a saved state; returns the waiting normal, or None."""
        data = np.ascontiguousarray(data)
        if data.dtype != np.uint8:
            raise TypeError("RNG state must be a torch.ByteTensor")
        if data.size != STATE_BYTES:
            raise RuntimeError(
                f"Expected a CPUGeneratorImplState of size {STATE_BYTES} but found the input RNG state size to be "
                f"{data.size}"
            )
        saved = data.reshape(-1).view(_STATE)[0]
        left, used = int(saved["left"]), int(saved["next"])
        if not (saved["seeded"] and 0 < left <= _N and used <= _N):
            raise RuntimeError("Invalid mt19937 state")
        key = saved["key"].astype(np.uint32)
        self.seed = int(saved["seed"])
        self._bits.state = {"bit_generator": "MT19937", "state": {"key": key, "pos": _N if left == 1 else used}}
        self._fresh = left == 1 and used == 0
        return float(saved["y"]) if saved["valid"] else None
