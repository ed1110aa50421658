"""Switches of the whole program: the same bits every time, and what PyTorch lets be set besides threads and dtypes."""

from __future__ import annotations

from .codegen.kernels import Policy
from .runtime.pool import get_num_threads

__all__ = [
    "are_deterministic_algorithms_enabled", "get_deterministic_debug_mode", "get_num_interop_threads",
    "is_deterministic_algorithms_warn_only_enabled", "is_warn_always_enabled", "set_deterministic_debug_mode",
    "set_flush_denormal", "set_num_interop_threads", "set_warn_always", "use_deterministic_algorithms",
]  # fmt: skip

_compiling_before: list[str] = []  # the policy to return to, while algorithms are deterministic
_warn_only = [False]


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Make every run of a program give the same bits.

    Kernels do so, on any number of threads. But a program runs on NumPy until its kernel is there, the two agree only
    to rounding, and how soon a kernel is there is a matter of chance. So kernels are waited for: as with
    ``compiling("always")``. warn_only: nothing is refused here in either case.

    >>> import livegrad
    >>> livegrad.use_deterministic_algorithms(True)
    >>> livegrad.are_deterministic_algorithms_enabled()
    True
    >>> livegrad.use_deterministic_algorithms(False)
    """
    _warn_only[0] = warn_only
    if mode and not _compiling_before:
        _compiling_before.append(Policy.mode)
        if Policy.mode == "auto":
            Policy.mode = "always"
    elif not mode and _compiling_before:
        Policy.mode = _compiling_before.pop()


def are_deterministic_algorithms_enabled() -> bool:
    """What `use_deterministic_algorithms` was last told."""
    return bool(_compiling_before)


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """Whether `use_deterministic_algorithms` was last told to warn only."""
    return bool(_compiling_before) and _warn_only[0]


_DEBUG_MODES = ("default", "warn", "error")


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """`use_deterministic_algorithms` by another name: off for "default" or 0, on for "warn" or 1 and "error" or 2.

    Raises RuntimeError for other values.
    """
    if isinstance(debug_mode, str):
        if debug_mode not in _DEBUG_MODES:
            raise RuntimeError(
                "invalid value of debug_mode, expected one of `default`, `warn`, `error`, but got " + debug_mode
            )
        debug_mode = _DEBUG_MODES.index(debug_mode)
    if debug_mode not in (0, 1, 2):
        raise RuntimeError(f"invalid value of debug_mode, expected 0, 1, or 2, but got {debug_mode}")
    use_deterministic_algorithms(debug_mode > 0, warn_only=debug_mode == 1)


def get_deterministic_debug_mode() -> int:
    """0, 1 or 2, as `set_deterministic_debug_mode` has them."""
    if not are_deterministic_algorithms_enabled():
        return 0
    return 1 if is_deterministic_algorithms_warn_only_enabled() else 2


_warn_always = [False]


def set_warn_always(enabled: bool, /) -> None:
    """Remembered for `is_warn_always_enabled`: how often a warning is shown is up to Python's filters."""
    _warn_always[0] = bool(enabled)


def is_warn_always_enabled() -> bool:
    """What `set_warn_always` was last told."""
    return _warn_always[0]


def set_flush_denormal(mode: bool, /) -> bool:
    """False, which says that it has not been done: numbers too small for full precision are kept."""
    return False


_interop_threads: list[int] = []


def get_num_interop_threads() -> int:
    """What `set_num_interop_threads` was last told, or else `get_num_threads()`."""
    return _interop_threads[0] if _interop_threads else get_num_threads()


def set_num_interop_threads(count: int, /) -> None:
    """Remembered: here operators run one after another, each on as many threads as its work is worth."""
    if count < 1:
        raise RuntimeError(f"set_num_interop_threads expects a positive integer, but got {count}")
    _interop_threads[:] = [count]
