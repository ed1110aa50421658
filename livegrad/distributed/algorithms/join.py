"""Uneven numbers of batches in the processes: not there, but for the names (see `absent`)."""

from ..absent import absent_class

__all__ = ["Join", "JoinHook", "Joinable"]

Join = absent_class("Join", __name__)
Joinable = absent_class("Joinable", __name__)
JoinHook = absent_class("JoinHook", __name__)
