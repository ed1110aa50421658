"""Generators, the default ones and their seeds, and what decides which stream a draw comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import devices, dtypes
from ..counter import STATE_BYTES, Counter
from ..from_data import _from_numpy_copy
from ..llvm import service
from ..native import hot
from ..observe import WATCH
from ..ops.arguments import checked, type_name
from ..ops.batch_loops import look_at_draw
from ..tensor import Tensor

if TYPE_CHECKING:
    from ..ops.philox import Draw
    from ..sampling import Stream


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
    @hot
    def _stream(self) -> Stream:
        made = self._made.get("stream")
        return self._make_stream() if made is None else made

    def _make_stream(self) -> Stream:
        service.load("livegrad.sampling")
        from ..sampling import Stream

        # No lock (such as cached_property has): a child that is forked meanwhile would find it locked for ever.
        return self._made.setdefault("stream", Stream())

    @property
    @hot
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

    @hot
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
def counter_of(generator: Generator | None, where: devices.device) -> Counter | None:
    """The counter to draw with for a tensor on a device; None for the CPU's own stream."""
    if WATCH.batcher is not None:
        look_at_draw()
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
def draws_by_stream(where: devices.device) -> bool:
    """Whether tensors on a device take their random numbers from the CPU's own stream."""
    return where is devices.cpu and not PORTABLE.on


@hot
def draw_of(generator: Generator | None, where: devices.device, shape: tuple) -> Draw | None:
    """A draw for a tensor on a device, where numbers go by element index there."""
    if where.type == "meta":
        return _without_data(shape)
    counter = counter_of(generator, where)
    return None if counter is None else counter.draw(shape, where)


def _without_data(shape: tuple) -> Any:
    from .without_data import NoDraw

    return NoDraw(shape)


@hot
def stream_of(generator: Generator | None) -> Stream:
    if WATCH.batcher is not None:
        look_at_draw()
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


@hot
def get_rng_state() -> Tensor:
    """The state of the default generator, as bytes."""
    return default_generator.get_state()


@checked
def set_rng_state(new_state: Tensor) -> None:
    default_generator.set_state(new_state)


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
