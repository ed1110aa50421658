"""What an environment variable holds that the library cannot use: one line that says so, and the program ends."""

from __future__ import annotations

import os


def switch(name: str, default: bool) -> bool:
    """Whether an environment variable, which may be 0 or 1, is on. Set to nothing is not set."""
    text = os.environ.get(name, "")
    if text not in ("", "0", "1"):
        raise unusable(name, "0 or 1", text)
    return text == "1" if text else default


def unusable(name: str, wanted: str, text: str) -> SystemExit:
    """What to raise: the traceback of an import says nothing about a variable that was set outside the program.

    >>> print(unusable("LIVEGRAD_QUEUE", "0 or 1", "later"))
    livegrad: LIVEGRAD_QUEUE must be 0 or 1, not 'later'
    """
    return SystemExit(f"livegrad: {name} must be {wanted}, not {text!r}")
