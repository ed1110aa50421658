"""The names of `livegrad.distributed` where PyTorch's programs also look for them, and what they ask of a group."""

from __future__ import annotations

from typing import Any

from . import *  # noqa: F403
from .group import GroupMember, ProcessGroup, checked
from .work import Work

__all__ = ["GroupMember", "ProcessGroup", "Work"]


def _get_default_group() -> Any:
    """The default group. Raises ValueError before `init_process_group`."""
    return checked(None)


def _rank_not_in_group(group: Any) -> bool:
    """Whether this process is not in a group."""
    return group == GroupMember.NON_GROUP_MEMBER


def _get_default_store() -> Any:
    """The store through which the processes met."""
    return checked(None).store
