"""What is raised for files that cannot be read."""

from __future__ import annotations

from typing import Any

__all__ = ["CheckpointError", "Malformed", "need"]


class CheckpointError(RuntimeError):
    """A file is damaged, cut short, or not of a kind that :func:`load` reads.

    The message says what was expected, what was found and what to do about it.
    """


class Malformed(Exception):
    """The structure in a file is not what an :class:`Encoder` writes."""


def need(condition: Any, what: str) -> None:
    if not condition:
        raise Malformed(what)
