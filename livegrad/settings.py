"""What an environment variable holds that the library cannot use: one line that says so, and the program ends."""

from __future__ import annotations


def unusable(name: str, wanted: str, text: str) -> SystemExit:
    """What to raise: the traceback of an import says nothing about a variable that was set outside the program.

    >>> print(unusable("LIVEGRAD_QUEUE", "0 or 1", "later"))
    livegrad: LIVEGRAD_QUEUE must be 0 or 1, not 'later'
    """
    return SystemExit(f"livegrad: {name} must be {wanted}, not {text!r}")
