"""cuDNN's settings. It is used for convolutions on CUDA devices where `nvidia-cudnn-frontend` is installed.

enabled: whether to use it at all. benchmark: whether to time its ways of doing a convolution for each new shape,
at most benchmark_limit of them (0: all); the first convolution of a shape then waits for the device.
deterministic: only ways that give the same result each time. allow_tf32: whether float32 convolutions may round their
operands to TF32, which PyTorch allows by default and so does this.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

enabled = True
benchmark = False
benchmark_limit = 10
deterministic = False
allow_tf32 = True


def is_available() -> bool:
    """Whether cuDNN can be used: there is a CUDA device, and cuDNN and its frontend are installed."""
    from ..runtime.cuda import cudnn

    return cudnn.available()


def version() -> int | None:
    """cuDNN's version, such as 90800, or None where it cannot be used."""
    from ..runtime.cuda import cudnn

    return cudnn.version()


@contextmanager
def flags(**settings: bool | int | None) -> Iterator[None]:
    """Change settings for a while: ``flags(enabled=False, deterministic=True)``.

    Raises TypeError for a setting that cuDNN does not have.
    """
    unknown = set(settings) - {"enabled", "benchmark", "benchmark_limit", "deterministic", "allow_tf32"}
    if unknown:
        raise TypeError(f"flags() got an unexpected keyword argument '{min(unknown)}'")
    changed = {name: value for name, value in settings.items() if value is not None}
    before = {name: globals()[name] for name in changed}
    globals().update(changed)
    try:
        yield
    finally:
        globals().update(before)
