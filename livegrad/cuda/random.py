"""Random numbers on CUDA devices. Each device has a generator, which draws by element index; `livegrad.manual_seed`
seeds them all. Without a device, seeding does nothing, as in PyTorch.
"""

from __future__ import annotations

from typing import Any

from .. import random as _random
from ..counter import Counter
from ..runtime.cuda import driver as _driver
from ._which import index_of as _index

__all__ = [
    "get_rng_state", "get_rng_state_all", "initial_seed", "manual_seed", "manual_seed_all", "seed", "seed_all",
    "set_rng_state", "set_rng_state_all",
]  # fmt: skip


def _generator(device: Any = None) -> _random.Generator:
    return _random.cuda_generator(_index(device))


def manual_seed(seed: int) -> None:
    """Seed the current CUDA device's random numbers; nothing happens without one."""
    if _driver.available():
        _generator().manual_seed(seed)


def manual_seed_all(seed: int) -> None:
    """Seed all CUDA devices' random numbers."""
    _random.seed_cuda(seed)


def seed() -> None:
    """Seed the current CUDA device's random numbers from the system; nothing happens without one."""
    if _driver.available():
        _generator().seed()


def seed_all() -> None:
    """Seed all CUDA devices' random numbers from the system, alike."""
    _random.seed_cuda(Counter(0).seed())


def initial_seed() -> int:
    """What the current CUDA device's random numbers were seeded with."""
    return _generator().initial_seed()


def get_rng_state(device: Any = "cuda") -> Any:
    """The state of a CUDA device's random numbers: 16 bytes, a tensor on the CPU."""
    return _generator(device).get_state()


def set_rng_state(new_state: Any, device: Any = "cuda") -> None:
    """Go on from a state that `get_rng_state` gave. Raises TypeError or RuntimeError for something else."""
    _generator(device).set_state(new_state)


def get_rng_state_all() -> list:
    """The states of all CUDA devices' random numbers."""
    return [get_rng_state(i) for i in range(_driver.count())]


def set_rng_state_all(new_states: Any) -> None:
    """Go on from what `get_rng_state_all` gave."""
    for i, state in enumerate(new_states):
        set_rng_state(state, i)
