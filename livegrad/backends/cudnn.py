"""cuDNN's settings; cuDNN itself is not used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

enabled = True
benchmark = False
benchmark_limit = 10
deterministic = False
allow_tf32 = True


def is_available() -> bool:
    """Whether cuDNN is in use: never in this version."""
    return False


def version() -> int | None:
    """cuDNN's version: None, as it is not in use."""
    return None


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
