"""Devices: where a tensor's memory is and its kernels run."""

from __future__ import annotations

import threading
from typing import Any

from .blocks import Exit, opened, over
from .native import hot


class device:
    """A place for tensors: ``device("cpu")``, ``device("cuda")``, ``device("cuda:1")``, ``device("cuda", 1)``.

    ``device("meta")`` is that of tensors without data: they have a shape and a dtype and take no memory, what writes to
    them does nothing, and what reads them raises NotImplementedError.
    As a context manager it is where this thread makes tensors that no device is named for.
    Raises RuntimeError for an unknown type or a malformed index.

    >>> device("cuda", 1)
    device(type='cuda', index=1)
    """

    __slots__ = ("type", "index")
    type: str
    index: int | None
    _known: dict = {}

    def __new__(cls, spec: Any = "cpu", index: int | None = None) -> device:
        if isinstance(spec, device):
            return spec
        if isinstance(spec, int) and not isinstance(spec, bool):
            spec, index = "cuda", spec
        key = (spec, index)
        found = cls._known.get(key)
        if found is None:
            kind, found_index = _parse(spec, index)
            canonical = cls._known.get((kind, found_index))
            if canonical is None:
                canonical = object.__new__(cls)
                object.__setattr__(canonical, "type", kind)
                object.__setattr__(canonical, "index", found_index)
                cls._known[kind, found_index] = canonical
            found = cls._known[key] = canonical
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"attribute '{name}' of 'device' objects is not writable")

    def __repr__(self) -> str:
        return (
            f"device(type='{self.type}')" if self.index is None else f"device(type='{self.type}', index={self.index})"
        )

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __reduce__(self) -> tuple:
        return device, (str(self),)

    __exit__ = Exit()

    def __enter__(self) -> device:
        where = _available(self)
        block = opened(self)
        BLOCKS[0] += 1
        _blocks.stack.append((where, block))
        return self


def _parse(spec: Any, index: int | None) -> tuple[str, int | None]:
    if not isinstance(spec, str):
        raise TypeError(f"device(): argument 'type' must be str, not {type(spec).__name__}")
    kind, colon, number = spec.partition(":")
    if kind not in ("cpu", "cuda", "meta"):
        raise RuntimeError(f"Expected one of cpu, cuda, meta device type at start of device string: {spec}")
    if colon:
        if index is not None:
            raise RuntimeError(f"type (string) must not include an index because index was passed explicitly: {spec}")
        if not number.isdigit():
            raise RuntimeError(f"Invalid device string: '{spec}'")
        index = int(number)
    return kind, index


cpu = device("cpu")
SEVERAL = [False]  # whether there is more than one CUDA device, so that the current one may be another one
DEFAULT = [cpu]  # where tensors are made that no device is named for
BLOCKS = [0]  # how many blocks of a device are open, in all threads, or more: what lies behind is not looked at if 0


class _Blocks(threading.local):
    """stack: the device of each block that this thread is in, or has left since somebody last looked; and the block."""

    def __init__(self) -> None:
        self.stack: list[tuple[device, Any]] = []


_blocks = _Blocks()


def default() -> device:
    """Where this thread makes tensors that no device is named for."""
    stack = _blocks.stack if BLOCKS[0] else ()
    while stack:
        where, block = stack[-1]
        if not over(block):
            return where
        stack.pop()  # type: ignore[union-attr]
        BLOCKS[0] -= 1
    return DEFAULT[0]


@hot
def available(d: Any) -> device:
    """The device that ``d`` names, for making a tensor there.

    Raises RuntimeError where this process cannot use that device, saying what is missing.
    """
    if d is None:
        return default() if BLOCKS[0] else DEFAULT[0]
    return cpu if d is cpu else _available(d)


def _available(d: Any) -> device:
    found = device(d)
    if found.type == "cpu":
        return cpu
    if found.type == "meta":
        return device("meta")
    from .runtime.cuda import driver

    driver.quiet()  # raises where there is none
    index = driver.current() if found.index is None else found.index
    if index >= driver.count():
        raise RuntimeError(f"invalid device ordinal: {found}; {driver.count()} CUDA devices can be used here")
    return device("cuda", index)
