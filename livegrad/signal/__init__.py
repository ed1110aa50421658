"""Signals: `windows`, by which pieces of them are multiplied."""

from . import windows

__all__ = ["windows"]
